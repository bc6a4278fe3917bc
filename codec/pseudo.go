package codec

import (
	"encoding/binary"
	"net/netip"
)

// PseudoHeader is how an ICMPv6 codec comes by the part of the checksum that is
// not in the message: the checksum covers the addresses of the IPv6 packet too
// (RFC 4443, 2.3; RFC 8200, 8.1). Set it before Decode and Append, for every
// packet whose addresses are others. Its zero value is an error, so that no
// message is left unverified by oversight.
type PseudoHeader struct {
	// Source and Destination are the addresses of the packet. The destination is
	// the final one where a routing header has others. Zones do not count.
	Source, Destination netip.Addr
	// KernelChecksum says that the kernel verifies the checksum of what is
	// received and fills in that of what is sent, as it does on raw ICMPv6 sockets
	// (RFC 3542, 3.1) and on ping sockets. Decode then does not look at the
	// checksum, and Append leaves it zero. Source and Destination are not needed.
	KernelChecksum bool
}

// wrong returns the field whose address does not serve, with the IP version of
// that address or 0, or "" if both do.
func (h *PseudoHeader) wrong() (field string, version int) {
	switch {
	case h.KernelChecksum:
		return "", 0
	case !h.Source.Is6():
		return "Source", versionOf(h.Source)
	case !h.Destination.Is6():
		return "Destination", versionOf(h.Destination)
	}
	return "", 0
}

// verify tells whether the checksum of src is good, or is the kernel's affair,
// and sets the error if not.
func (h *PseudoHeader) verify(message string, src []byte, e *DecodeError) bool {
	if h.KernelChecksum {
		return true
	}
	return verify(message, src, h.sum(len(src)), e)
}

// sum returns the sum of the pseudo header of a message of n bytes, in 32-bit words
// and below 1<<36. It does not change when the addresses are swapped.
func (h *PseudoHeader) sum(n int) uint64 {
	addresses := [2][16]byte{h.Source.As16(), h.Destination.As16()}
	var s uint64
	for i := range addresses {
		a := &addresses[i]
		hi, lo := binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(a[8:])
		s += hi>>32 + hi&0xFFFFFFFF + lo>>32 + lo&0xFFFFFFFF
	}
	return s + uint64(n) + ProtocolICMPv6
}

// versionOf returns the IP version of an address, 0 for none.
func versionOf(a netip.Addr) int {
	switch {
	case a.Is4():
		return 4
	case a.Is6():
		return 6
	}
	return 0
}

const wantPseudoHeader = "6: an IPv6 address in both Source and Destination, or KernelChecksum"

// noPseudoHeader is the error of a message whose checksum cannot be verified for
// want of that field, which has an address of another version, or none.
func noPseudoHeader(message, field string, version int) DecodeError {
	e := DecodeError{Message: message, Kind: ErrAddress, Offset: checksumStart, Found: uint32(version), Want: 6}
	e.want = "IP version %s in PseudoHeader.Source, or KernelChecksum"
	if field == "Destination" {
		e.want = "IP version %s in PseudoHeader.Destination, or KernelChecksum"
	}
	return e
}
