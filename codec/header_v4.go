package codec

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

const (
	ipv4          = "IPv4"
	ipv4HeaderLen = 20 // without options
	maxOptionsLen = 40
	// Offsets in the header.
	ipv4Length, ipv4Flags, ipv4TTL, ipv4Checksum, ipv4Source, ipv4Destination = 2, 6, 8, 10, 12, 16
	// Types of options that are a single byte (RFC 791, 3.1).
	endOfOptions, noOperation = 0, 1
	// Types of options that are source routes, loose and strict.
	looseRoute, strictRoute = 131, 137
	// fragmentBits are those of More and Offset in the word at ipv4Flags.
	fragmentBits = 0x3FFF
)

// measureV4 returns the length in bytes of the IPv4 header that src begins with,
// or sets the error if it does not.
func measureV4(src []byte, e *DecodeError) (n int, ok bool) {
	if len(src) > 0 && src[0]>>4 != 4 {
		*e = DecodeError{Message: ipv4, Kind: ErrVersion, Found: uint32(src[0] >> 4), Want: 4}
		return 0, false
	}
	if len(src) < ipv4HeaderLen {
		*e = tooShort(ipv4, len(src), ipv4HeaderLen)
		return 0, false
	}
	n = 4 * int(src[0]&0xF)
	if n < ipv4HeaderLen {
		*e = DecodeError{Message: ipv4, Kind: ErrLength, Found: uint32(n), Want: ipv4HeaderLen, want: "at least %s"}
		return 0, false
	}
	if n > len(src) {
		*e = tooShort(ipv4, len(src), n)
		return 0, false
	}
	return n, true
}

// headerV4 parses headers.
type headerV4 struct {
	layer layers.IPv4
	fixed [ipv4HeaderLen]byte
}

// parse parses src, the first n bytes of which are the header, into v.
func (h *headerV4) parse(src []byte, n int, v *Packet) error {
	// gopacket gets the fixed part only: it has errors, which cost allocations, for
	// options that are cut off, for those of 2 bytes, which are right, and for
	// lengths that a quote may have.
	h.fixed = [ipv4HeaderLen]byte(src)
	h.fixed[0] = 4<<4 | ipv4HeaderLen/4
	h.fixed[ipv4Length], h.fixed[ipv4Length+1] = 0, ipv4HeaderLen
	if err := h.layer.DecodeFromBytes(h.fixed[:], gopacket.NilDecodeFeedback); err != nil {
		return err
	}
	v.Source = netip.AddrFrom4([4]byte(h.layer.SrcIP))
	v.Destination = netip.AddrFrom4([4]byte(h.layer.DstIP))
	v.Protocol = uint8(h.layer.Protocol)
	v.TTL, v.TOS = h.layer.TTL, h.layer.TOS
	v.ID = uint32(h.layer.Id)
	v.DontFragment = h.layer.Flags&layers.IPv4DontFragment != 0
	v.More = h.layer.Flags&layers.IPv4MoreFragments != 0
	v.Offset = 8 * int(h.layer.FragOffset)
	switch {
	case v.Offset > 0:
		v.Fragment = Later
	case v.More:
		v.Fragment = First
	}
	v.Options = slices.Clip(src[ipv4HeaderLen:n])
	v.Payload = slices.Clip(src[n:])
	return nil
}

// checkOptions tells whether the options end before b does (RFC 791, 3.1). If
// not, it is the option at that offset, with so many bytes left, that does not.
func checkOptions(b []byte) (at, left int, ok bool) {
	for n := optionSize(b); n != 0; n = optionSize(b[at:]) {
		if n < 0 {
			return at, len(b) - at, false
		}
		at += n
	}
	return 0, 0, true
}

// optionSize returns how many bytes the option at the beginning of b has, 0 if
// there is none, and -1 if it does not end before b does.
func optionSize(b []byte) int {
	switch {
	case len(b) == 0 || b[0] == endOfOptions:
		return 0
	case b[0] == noOperation:
		return 1
	}
	if n := int(optionLen(b)); n >= 2 && n <= len(b) {
		return n
	}
	return -1
}

// badOption is the error of that option.
func badOption(b []byte, at, left int) DecodeError {
	return DecodeError{Message: ipv4, Kind: ErrLength, Offset: ipv4HeaderLen + at + 1,
		Found: optionLen(b[at:]), Want: uint32(left), want: "an option of 2 to %s bytes"}
}

// answerableV4 tells whether the packet with this header can be turned round in
// place, and sets the error if not.
func answerableV4(header []byte, e *DecodeError) bool {
	if word := binary.BigEndian.Uint16(header[ipv4Flags:]) & fragmentBits; word != 0 {
		*e = DecodeError{Message: ipv4, Kind: ErrType, Offset: ipv4Flags, Found: uint32(word), want: "%s: no fragment"}
		return false
	}
	options := header[ipv4HeaderLen:]
	if at, left, ok := checkOptions(options); !ok {
		*e = badOption(options, at, left)
		return false
	}
	for n := optionSize(options); n != 0; n = optionSize(options) {
		if t := options[0]; t == looseRoute || t == strictRoute {
			*e = DecodeError{Message: ipv4, Kind: ErrType, Offset: len(header) - len(options), Found: uint32(t), want: "no source route"}
			return false
		}
		options = options[n:]
	}
	return true
}

// optionLen is the length that the option at the beginning of b says it has, 0 if
// that is cut off.
func optionLen(b []byte) uint32 {
	if len(b) < 2 {
		return 0
	}
	return uint32(b[1])
}
