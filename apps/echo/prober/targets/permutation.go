package targets

import "math/bits"

// permutation is a permutation of the numbers below n. The zero value is the
// identity.
//
// A number is split into two parts that take turns: each round changes one part by
// a keyed function of the other, which the same round undoes. That permutes the
// numbers of a whole number of bits; results of n and above are permuted again until
// one is below n, which takes less than two turns on average from n = 32 on.
type permutation struct {
	n     uint64
	low   uint // bits of the lower part
	masks [2]uint64
	keys  [rounds]uint64 // none if n is 0
}

const (
	rounds = 8
	// minBits keeps the parts long enough that every order of a few targets can
	// come up.
	minBits = 6
)

func newPermutation(n, seed uint64) permutation {
	width := uint(max(bits.Len64(n-1), minBits))
	low := (width + 1) / 2
	p := permutation{n: n, low: low, masks: [2]uint64{1<<low - 1, 1<<(width-low) - 1}}
	for i := range p.keys {
		seed += 0x9e3779b97f4a7c15 // SplitMix64 (Steele, Lea and Flood, 2014)
		p.keys[i] = scramble(seed)
	}
	return p
}

func (p *permutation) of(i uint64) uint64 {
	if p.n == 0 {
		return i
	}
	for {
		part := [2]uint64{i & p.masks[0], i >> p.low}
		for r := range rounds {
			part[r&1] ^= scramble(part[r&1^1]^p.keys[r]) & p.masks[r&1]
		}
		if i = part[1]<<p.low | part[0]; i < p.n {
			return i
		}
	}
}

func (p *permutation) inverse(i uint64) uint64 {
	if p.n == 0 {
		return i
	}
	for {
		part := [2]uint64{i & p.masks[0], i >> p.low}
		for r := rounds - 1; r >= 0; r-- {
			part[r&1] ^= scramble(part[r&1^1]^p.keys[r]) & p.masks[r&1]
		}
		if i = part[1]<<p.low | part[0]; i < p.n {
			return i
		}
	}
}

// scramble is the finalizer of SplitMix64.
func scramble(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
