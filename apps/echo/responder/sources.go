package responder

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"slices"
)

// sources counts requests by prefix, in memory of a fixed size (Metwally, Agrawal, El
// Abbadi: Efficient computation of frequent and top-k elements in data streams, 2005:
// the algorithm Space-Saving), with a table of a few places for each of many classes of
// prefixes. A new prefix takes the place of the one with the fewest requests in its
// class, and its number.
type sources struct {
	seed    maphash.Seed
	classes [sourceClasses]sourceClass
	unknown sourceCount
	last    uint64 // whose requests were counted last
	at      *sourceCount
}

const (
	sourceClasses = 256
	sourcePlaces  = 8
)

type sourceClass struct {
	keys   [sourcePlaces]uint64 // 0 for none, nor behind it
	counts [sourcePlaces]sourceCount
}

type sourceCount struct {
	requests, inherited, answered, throttled uint64
}

func newSources() *sources { return &sources{seed: maphash.MakeSeed()} }

// A key has the bits of the prefix, and one that says of which family it is.
const (
	key4 = 1 << 62
	key6 = 1 << 63
)

// find returns the place of the prefix that an address is in.
func (s *sources) find(a netip.Addr) *sourceCount {
	var key uint64
	switch {
	case a.Is4():
		b := a.As4()
		key = key4 | uint64(binary.BigEndian.Uint32(b[:])>>8)
	case a.IsValid():
		b := a.As16()
		key = key6 | binary.BigEndian.Uint64(b[:])>>16
	default:
		return &s.unknown
	}
	if key == s.last {
		return s.at
	}
	c := &s.classes[maphash.Comparable(s.seed, key)%sourceClasses]
	least := 0
	for i, k := range &c.keys {
		if k == key {
			least = i
			break
		}
		if k == 0 {
			least = i
			c.keys[i] = key
			break
		}
		if c.counts[i].requests < c.counts[least].requests {
			least = i
		}
	}
	n := &c.counts[least]
	if c.keys[least] != key {
		c.keys[least] = key
		*n = sourceCount{requests: n.requests, inherited: n.requests}
	}
	s.last, s.at = key, n
	return n
}

// Sources returns the n prefixes with the most requests, the one with the most first.
func (r *Responder) Sources(n int) []Source {
	var all []Source
	for i := range r.sources.classes {
		c := &r.sources.classes[i]
		for j, k := range &c.keys {
			if k == 0 {
				break
			}
			x := &c.counts[j]
			all = append(all, Source{prefixOf(k), x.requests, x.inherited, x.answered, x.throttled})
		}
	}
	slices.SortFunc(all, func(a, b Source) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), a.Prefix.Addr().Compare(b.Prefix.Addr()))
	})
	return all[:min(max(n, 0), len(all))]
}

func prefixOf(key uint64) netip.Prefix {
	if key&key4 != 0 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(key<<8))
		return netip.PrefixFrom(netip.AddrFrom4(b), 24)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], key<<16)
	return netip.PrefixFrom(netip.AddrFrom16(b), 48)
}
