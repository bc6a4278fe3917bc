package codec

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

const (
	ipv6          = "IPv6"
	ipv6HeaderLen = 40 // without extension headers
	// Offsets in the header.
	ipv6Length, ipv6NextHeader, ipv6HopLimit, ipv6Source, ipv6Destination = 4, 6, 7, 8, 24
)

// MaxExtensionHeaders is how many extension headers an IPv6 packet can have
// here. RFC 8200, 4.1 has an order for six of them.
const MaxExtensionHeaders = 8

// Extension headers that are skipped (RFC 8200, 4; RFC 4302). All others, ESP
// among them, are what a packet carries.
const (
	hopByHop           = 0
	routing            = 43
	fragment           = 44
	authentication     = 51
	noNextHeader       = 59
	destinationOptions = 60

	minExtensionLen = 8
)

// measureV6 tells whether src begins with an IPv6 header, and sets the error if
// not.
func measureV6(src []byte, e *DecodeError) bool {
	if len(src) > 0 && src[0]>>4 != 6 {
		*e = DecodeError{Message: ipv6, Kind: ErrVersion, Found: uint32(src[0] >> 4), Want: 6}
		return false
	}
	if len(src) < ipv6HeaderLen {
		*e = tooShort(ipv6, len(src), ipv6HeaderLen)
		return false
	}
	return true
}

// headerV6 parses headers.
type headerV6 struct {
	layer layers.IPv6
	fixed [ipv6HeaderLen]byte
}

// parse parses src, which begins with a header, into v. Extension headers are
// still in v.Payload then, and v.Protocol is v.NextHeader.
func (h *headerV6) parse(src []byte, v *Packet) error {
	// gopacket gets the fixed part only, without what leads it on: it allocates
	// for hop-by-hop options and for errors, and leaves the options in the length.
	h.fixed = [ipv6HeaderLen]byte(src)
	h.fixed[ipv6NextHeader] = noNextHeader
	h.fixed[ipv6Length], h.fixed[ipv6Length+1] = 0, 1
	if err := h.layer.DecodeFromBytes(h.fixed[:], gopacket.NilDecodeFeedback); err != nil {
		return err
	}
	v.Source = netip.AddrFrom16([16]byte(h.layer.SrcIP))
	v.Destination = netip.AddrFrom16([16]byte(h.layer.DstIP))
	v.TTL, v.TOS = h.layer.HopLimit, h.layer.TrafficClass
	v.FlowLabel = h.layer.FlowLabel
	v.NextHeader = src[ipv6NextHeader]
	v.Protocol = v.NextHeader
	v.Payload = slices.Clip(src[ipv6HeaderLen:])
	return nil
}

// skipExtensions moves the extension headers from the beginning of v.Payload to
// v.ExtensionHeaders, and sets the fields that are in them. If they cannot be
// right it sets the error, and v is as far as it came. Offsets, that of the
// fragment header's own offset too, are from the beginning of the packet.
func (v *Packet) skipExtensions(e *DecodeError) (fragmentAt int, ok bool) {
	all := v.Payload
	for count := 0; v.atExtension() && v.Fragment != Later; count++ {
		b, at := v.Payload, ipv6HeaderLen+len(v.ExtensionHeaders)
		if count == MaxExtensionHeaders {
			*e = DecodeError{Message: ipv6, Kind: ErrTooLong, Offset: at,
				Found: MaxExtensionHeaders + 1, Want: MaxExtensionHeaders, want: "at most %s extension headers"}
			return 0, false
		}
		if len(b) < minExtensionLen {
			*e = tooShort(ipv6, at+len(b), at+minExtensionLen)
			return 0, false
		}
		size := minExtensionLen + 8*int(b[1])
		switch v.Protocol {
		case authentication:
			size = 8 + 4*int(b[1])
		case fragment:
			size, fragmentAt = minExtensionLen, at+2
			v.ID = binary.BigEndian.Uint32(b[4:])
			v.setFragment(binary.BigEndian.Uint16(b[2:]))
		}
		if size > len(b) {
			*e = tooShort(ipv6, at+len(b), at+size)
			return 0, false
		}
		v.Protocol = b[0]
		n := len(v.ExtensionHeaders) + size
		v.ExtensionHeaders, v.Payload = all[:n:n], all[n:]
	}
	return fragmentAt, true
}

// fragmentSize returns how many bytes follow the fragment header, whose offset is
// at byte fragmentAt of the packet, or all if it has none.
func (v *Packet) fragmentSize(fragmentAt int) int {
	n := len(v.ExtensionHeaders) + len(v.Payload)
	if fragmentAt == 0 {
		return n
	}
	return n - (fragmentAt - 2 + minExtensionLen - ipv6HeaderLen)
}

// atExtension tells whether v.Protocol is an extension header. Hop-by-hop options
// are one in the first place only, and a second fragment header is none (RFC
// 8200, 4.1).
func (v *Packet) atExtension() bool {
	switch v.Protocol {
	case hopByHop:
		return len(v.ExtensionHeaders) == 0
	case fragment:
		return v.Fragment == Whole
	case routing, authentication, destinationOptions:
		return true
	}
	return false
}

// setFragment decodes the offset and the flag of a fragment header (RFC 8200,
// 4.5).
func (v *Packet) setFragment(word uint16) {
	v.Offset, v.More = int(word&^7), word&1 != 0
	switch {
	case v.Offset > 0:
		v.Fragment = Later
	case v.More:
		v.Fragment = First
	default:
		v.Fragment = Atomic
	}
}
