package targets

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"net/netip"
)

// key is an address of one family as a number. Arithmetic wraps around.
type key[K any] interface {
	compare(K) int
	next() K
	prev() K
	plus(uint64) K
	minus(K) uint128
}

// ipv4 is an IPv4 address.
type ipv4 uint32

func ipv4Of(a netip.Addr) ipv4 {
	b := a.As4()
	return ipv4(binary.BigEndian.Uint32(b[:]))
}

func (k ipv4) addr() netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(k))
	return netip.AddrFrom4(b)
}

func (k ipv4) compare(o ipv4) int   { return cmp.Compare(k, o) }
func (k ipv4) next() ipv4           { return k + 1 }
func (k ipv4) prev() ipv4           { return k - 1 }
func (k ipv4) plus(n uint64) ipv4   { return k + ipv4(n) }
func (k ipv4) minus(o ipv4) uint128 { return uint128{lo: uint64(k - o)} }

// uint128 is an IPv6 address without a zone, or a number of addresses.
type uint128 struct{ hi, lo uint64 }

func ipv6Of(a netip.Addr) uint128 {
	b := a.As16()
	return uint128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (k uint128) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], k.hi)
	binary.BigEndian.PutUint64(b[8:], k.lo)
	return netip.AddrFrom16(b)
}

func (k uint128) compare(o uint128) int {
	if k.hi != o.hi {
		return cmp.Compare(k.hi, o.hi)
	}
	return cmp.Compare(k.lo, o.lo)
}

func (k uint128) next() uint128 { return k.plus(1) }
func (k uint128) prev() uint128 { return k.minus(uint128{lo: 1}) }

func (k uint128) plus(n uint64) uint128 { return k.add(uint128{lo: n}) }

func (k uint128) add(o uint128) uint128 {
	lo, carry := bits.Add64(k.lo, o.lo, 0)
	hi, _ := bits.Add64(k.hi, o.hi, carry)
	return uint128{hi, lo}
}

func (k uint128) minus(o uint128) uint128 {
	lo, borrow := bits.Sub64(k.lo, o.lo, 0)
	hi, _ := bits.Sub64(k.hi, o.hi, borrow)
	return uint128{hi, lo}
}

// uint64 returns the number, or the largest that fits.
func (k uint128) uint64() uint64 {
	if k.hi != 0 {
		return math.MaxUint64
	}
	return k.lo
}

// tooMany tells whether there are more than a List can number.
func (k uint128) tooMany() bool { return k.hi != 0 || k.lo > maxLen }

// maxLen is the largest length of a List, so that differences of numbers are int64.
const maxLen = math.MaxInt64

// size returns how many numbers there are from 0 to last, in digits, or as a power
// of two if it is a large one.
func size(last uint128) string {
	b := new(big.Int).SetUint64(last.hi)
	b.Lsh(b, 64).Or(b, new(big.Int).SetUint64(last.lo)).Add(b, big.NewInt(1))
	if zeros := b.TrailingZeroBits(); zeros >= 32 && b.BitLen() == int(zeros)+1 {
		return "2^" + big.NewInt(int64(zeros)).String()
	}
	return b.String()
}
