package rules

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/bits"
	"net/netip"
)

// Packet is an echo request as far as it matters here.
type Packet struct {
	From, To netip.Addr // who asked, and whom
	ID, Seq  uint16     // the identifier and the sequence number
	Data     []byte     // what comes after them; it is not kept
}

// hasher numbers packets. The number depends on the seed and on everything in the
// packet, and is the same on every machine.
//
// Of the data it takes two checksums of different polynomials, which are one of 64
// bits: packets that differ in nothing but up to 64 adjacent bits of data never have
// the same. It is no secret which data has the same, and of no use: what such packets
// have in common is luck.
type hasher uint64

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newHasher(seed uint64) hasher { return hasher(mix(seed + gamma)) }

func (h hasher) sum(p *Packet) uint64 {
	from, to := p.From.As16(), p.To.As16()
	n := uint64(h)
	n = mix(n ^ binary.BigEndian.Uint64(from[:]))
	n = mix(n + binary.BigEndian.Uint64(from[8:]))
	n = mix(n ^ binary.BigEndian.Uint64(to[:]))
	n = mix(n + binary.BigEndian.Uint64(to[8:]))
	n = mix(n ^ uint64(p.ID)<<16 ^ uint64(p.Seq) ^ uint64(len(p.Data))<<32)
	n = mix(n + (uint64(crc32.ChecksumIEEE(p.Data))<<32 | uint64(crc32.Checksum(p.Data, castagnoli))))
	return mix(n ^ uint64(h))
}

// kind is what is drawn. Each kind has luck of its own.
type kind uint64

const (
	ofLoss kind = 1 + iota
	ofDelay
	ofJitter
	ofReorder
	ofDuplicate
	ofError
	ofChecksum
	ofChecksumMask
	ofFlip
	ofFlipPlace
	ofFlipMask
	ofLength
	ofLengthAmount
	ofPadding
)

// luck is what all that is drawn for a packet is made of.
type luck uint64

func newLuck(packet uint64, repetition uint32) luck {
	return luck(mix(packet + uint64(repetition)*gamma))
}

// draw returns 64 bits, the same for the same kind.
func (l luck) draw(k kind) uint64 { return mix(uint64(l) ^ uint64(k)*delta) }

// below returns a number from 0 to n-1, all equally likely.
func (l luck) below(k kind, n uint64) uint64 {
	hi, _ := bits.Mul64(l.draw(k), n)
	return hi
}

// share returns a number above 0 and below 1, all of 2^53 equally likely.
func (l luck) share(k kind) float64 {
	return (float64(l.draw(k)>>11) + 0.5) / (1 << 53)
}

// hits tells whether what has the probability happens.
func (l luck) hits(k kind, p probability) bool { return p.has(l.draw(k)) }

// mix is the finalizer of splitmix64, a bijection of which each bit of the result
// depends on all bits (Steele, Lea, Flood: Fast splittable pseudorandom number
// generators, 2014), and gamma its increment.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

const (
	gamma = 0x9e3779b97f4a7c15
	delta = 0xd1342543de82ef95
)

// probability counts in units of 2^-63.
type probability uint64

const certain probability = 1 << 63

func probabilityOf(p float64) probability {
	return probability(math.Round(p * (1 << 63)))
}

// has tells whether what is drawn is within the probability.
func (p probability) has(drawn uint64) bool { return drawn>>1 < uint64(p) }
