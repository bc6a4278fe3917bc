package codec

import (
	"encoding/binary"
	"math/bits"
)

// Checksum returns the Internet checksum of b (RFC 1071): the complement of
// the one's complement sum of its big-endian 16-bit words, an odd last byte
// counting as the upper half of a word. Over a message whose checksum field is
// zero it is what belongs there; over a message with its checksum it is 0 if
// that is right.
//
// Only bytes that are all zero have the checksum 0xFFFF, all others that sum to
// zero have 0x0000. In the checksum field of a message that has a bit set, both
// mean the same.
func Checksum(b []byte) uint16 { return ^sum(b) }

// sum returns the one's complement sum of b. It is 0 only if all of b is;
// otherwise zero is 0xFFFF.
//
// A one's complement sum does not depend on the byte order in which the words
// are read, apart from the order of its own bytes, nor on the width of the
// words as long as carries come back in at the bottom (RFC 1071, 2). So this
// adds 64 bits at a time, little-endian since that costs nothing on most
// machines and is right on all.
func sum(b []byte) uint16 {
	var s, carry uint64
	for len(b) >= 32 {
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b), 0)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[8:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[16:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[24:]), carry)
		s += carry // cannot overflow: a sum that carried is not all ones
		b = b[32:]
	}
	// What is left, by halves, cannot overflow: s stays below 1<<36.
	s = s>>32 + s&0xFFFFFFFF
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		s += w>>32 + w&0xFFFFFFFF
		b = b[8:]
	}
	if len(b) >= 4 {
		s += uint64(binary.LittleEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		s += uint64(binary.LittleEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0])
	}
	return bits.ReverseBytes16(fold(s))
}

// fold adds up the 16-bit words of s, which is below 1<<36, and the carries of
// that. It is 0 only if s is.
func fold(s uint64) uint16 {
	s = s>>16 + s&0xFFFF // at most 0x10FFFE
	s = s>>16 + s&0xFFFF // at most 0x1000F
	return uint16(s>>16 + s)
}

// updated returns the checksum of a message that had the checksum hc, one word
// of which has changed from m to m2 (RFC 1624, equation 3). It is 0x0000 where
// it should be 0xFFFF if all of the message is now zero.
func updated(hc, m, m2 uint16) uint16 {
	return ^fold(uint64(^hc) + uint64(^m) + uint64(m2))
}

// The checksum stands at the same place in every ICMP message.
const (
	checksumStart = 2
	checksumEnd   = 4
)

// verify tells whether the checksum of src, an ICMP message of at least 4 bytes,
// is good together with the sum of what else it covers, and sets the error if
// it is not.
func verify(message string, src []byte, more uint64, e *DecodeError) bool {
	if fold(more+uint64(sum(src))) == 0xFFFF {
		return true
	}
	want := ^fold(more + uint64(sum(src[:checksumStart])) + uint64(sum(src[checksumEnd:])))
	*e = DecodeError{Message: message, Kind: ErrChecksum, Offset: checksumStart,
		Found: uint32(binary.BigEndian.Uint16(src[checksumStart:])), Want: uint32(want)}
	return false
}
