package rules

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// key is an address as a number of 128 bits. An IPv4 address is in the highest 32,
// so that a prefix has the same length in both families.
type key struct{ hi, lo uint64 }

// keyOf returns the key of an address, and whether it is IPv6. Zones do not count,
// and an IPv4 address mapped into IPv6 is IPv4.
func keyOf(a netip.Addr) (k key, v6 bool) {
	b := a.As16()
	k = key{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
	if k.hi == 0 && k.lo>>32 == 0xffff {
		return key{hi: k.lo << 32}, false
	}
	return k, true
}

func (k key) less(l key) bool { return k.hi < l.hi || k.hi == l.hi && k.lo < l.lo }

// next returns the key after k, 0 after the highest.
func (k key) next() key {
	lo, carry := bits.Add64(k.lo, 1, 0)
	return key{k.hi + carry, lo}
}

// shift returns the 64 bits of k after its first n bits.
func (k key) shift(n uint) uint64 {
	if n >= 64 {
		return k.lo << (n - 64)
	}
	return k.hi<<n | k.lo>>(64-n)
}

// common returns how many of the first bits are the same in both.
func (k key) common(l key) int {
	if n := bits.LeadingZeros64(k.hi ^ l.hi); n < 64 {
		return n
	}
	return 64 + bits.LeadingZeros64(k.lo^l.lo)
}

// block is the keys that begin with the first bits of one.
type block struct {
	first key
	bits  int
}

// blockOf returns the keys of a prefix without host bits, and whether it is IPv6.
func blockOf(p netip.Prefix) (block, bool) {
	k, v6 := keyOf(p.Addr())
	return block{k, p.Bits()}, v6
}

func (b block) last() key {
	if b.bits >= 64 {
		return key{b.first.hi, b.first.lo | ^uint64(0)>>(b.bits-64)}
	}
	return key{b.first.hi | ^uint64(0)>>b.bits, ^uint64(0)}
}

// compare orders blocks by their first key, and those around others before them.
func (b block) compare(c block) int {
	switch {
	case b.first.less(c.first):
		return -1
	case c.first.less(b.first):
		return 1
	}
	return b.bits - c.bits
}
