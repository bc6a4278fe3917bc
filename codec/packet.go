package codec

import (
	"net/netip"
	"strconv"
)

// Protocols that an IP packet can carry (Assigned Internet Protocol Numbers,
// IANA).
const (
	ProtocolICMPv4 = 1
	ProtocolTCP    = 6
	ProtocolUDP    = 17
	ProtocolICMPv6 = 58
)

// Packet is an IP packet of either version. Fields that only the other version
// has are zero after Decode, and Append does not look at them.
type Packet struct {
	Source, Destination netip.Addr
	// Protocol is what Payload is of. In IPv6 it is the first next header that is
	// none of those in ExtensionHeaders.
	Protocol uint8
	// TTL is the time to live, or hop limit. TOS is the type of service, or traffic
	// class.
	TTL, TOS uint8
	// FlowLabel is IPv6's, of 20 bits.
	FlowLabel uint32

	// ID identifies the packet that fragments are of; IPv4's has 16 bits and is
	// there without them, too.
	ID uint32
	// DontFragment forbids routers to fragment the packet, which in IPv6 they never
	// do.
	DontFragment bool
	// Fragment is which part of a packet this is. Decode finds it out; Append does
	// not look at it.
	Fragment Fragment
	// Offset is where this fragment belongs, in bytes from the start of what was
	// fragmented, a multiple of 8; More is whether there is more to follow. What was
	// fragmented is the payload in IPv4, and in IPv6 all that follows the fragment
	// header: in the first fragment, extension headers may stand before Payload.
	Offset int
	More   bool

	// Options are those of IPv4, at most 40 bytes.
	Options []byte
	// ExtensionHeaders are those of IPv6 as they are on the wire, and NextHeader is
	// the type of the first. ID, Offset and More of an IPv6 packet are what the
	// fragment header there says, and zero without one.
	NextHeader       uint8
	ExtensionHeaders []byte

	Payload []byte
}

// Fragment is a part of a packet.
type Fragment uint8

const (
	// Whole is a packet that is in one piece.
	Whole Fragment = iota
	// Atomic is an IPv6 packet that has a fragment header and is whole all the same
	// (RFC 6946).
	Atomic
	// First is the one that the payload begins in.
	First
	// Later is any other. Its payload does not begin with a header, and extension
	// headers after the fragment header are not told from it.
	Later
)

// String returns "whole", "atomic fragment", "first fragment" or "later
// fragment".
func (f Fragment) String() string {
	switch f {
	case Whole:
		return "whole"
	case Atomic:
		return "atomic fragment"
	case First:
		return "first fragment"
	case Later:
		return "later fragment"
	}
	return "Fragment(" + strconv.Itoa(int(f)) + ")"
}

// maxPacketLen is how long an IPv4 packet, and the payload of an IPv6 packet, can
// be, whole.
const maxPacketLen = 65535

// maxOffset is that of the last fragment there can be: 13 bits, in units of 8
// bytes.
const maxOffset = 0x1FFF * 8

// checkFragment returns the kind of error of a packet with size bytes of what is
// fragmented, behind n bytes that count with it, or nil. Every fragment but the
// last is a multiple of 8 bytes long, and none reaches beyond the longest packet
// (RFC 791, 3.2; RFC 8200, 4.5).
func checkFragment(v *Packet, n, size int) error {
	switch {
	case v.More && size%8 != 0:
		return ErrLength
	case size > maxPacketLen-n-v.Offset:
		return ErrTooLong
	}
	return nil
}

// badFragment is that error, of a fragment whose offset stands at byte at.
func badFragment(message string, kind error, at int, v *Packet, size int) DecodeError {
	if kind == ErrLength {
		return DecodeError{Message: message, Kind: kind, Offset: at,
			Found: uint32(size), Want: uint32(size / 8 * 8), want: "a fragment of a multiple of 8, as more follows"}
	}
	return DecodeError{Message: message, Kind: kind, Offset: at,
		Found: uint32(v.Offset + size), Want: maxPacketLen, want: "a fragment that ends at %s with its header"}
}

// swap exchanges the bytes of two addresses.
func swap(a, b []byte) {
	for i := range a {
		a[i], b[i] = b[i], a[i]
	}
}
