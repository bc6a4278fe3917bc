package targets

import (
	"net/netip"
	"slices"
)

// table holds the targets of a List in the order in which they were added. There are
// three families: IPv4, IPv6 without zones, and hosts, which are names and addresses
// with a zone. The targets of each are in blocks, and the blocks of all families
// together cover the numbers from 0 to n.
type table struct {
	n      uint64
	counts Counts
	v4     blocks[ipv4]
	v6     blocks[uint128]

	hosts      []Target
	hostFirsts []uint32 // of each block of hosts: the first of its hosts
	hostStarts []uint64 // and its number
	zoned      []uint32 // the hosts with an address, by address

	excludes excludes
}

// blocks are runs of addresses of one family. A block ends where the next block of
// any family starts.
type blocks[K key[K]] struct {
	firsts []K      // the lowest address of each
	starts []uint64 // its number
	order  []uint32 // the blocks by address
}

// upTo returns the last of the ascending numbers that is not above i, or -1.
func upTo[N uint32 | uint64](ascending []N, i N) int {
	low, high := 0, len(ascending)
	for low < high {
		if mid := int(uint(low+high) / 2); ascending[mid] <= i {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low - 1
}

// at returns the target of a number below n.
func (t *table) at(i uint64) Target {
	b4, b6, bh := upTo(t.v4.starts, i), upTo(t.v6.starts, i), upTo(t.hostStarts, i)
	var s4, s6, sh uint64 // where the blocks start, counted from 1, or 0
	if b4 >= 0 {
		s4 = t.v4.starts[b4] + 1
	}
	if b6 >= 0 {
		s6 = t.v6.starts[b6] + 1
	}
	if bh >= 0 {
		sh = t.hostStarts[bh] + 1
	}
	switch offset := i + 1 - max(s4, s6, sh); {
	case s4 > s6 && s4 > sh:
		return Target{Addr: t.v4.firsts[b4].plus(offset).addr()}
	case s6 > sh:
		return Target{Addr: t.v6.firsts[b6].plus(offset).addr()}
	default:
		return t.hosts[uint64(t.hostFirsts[bh])+offset]
	}
}

// index returns the number of an address that is not mapped.
func (t *table) index(a netip.Addr) (uint64, bool) {
	var i uint64
	var ok bool
	switch {
	case a.Is4():
		i, ok = t.v4.candidate(ipv4Of(a), t.n)
	case a.Zone() != "":
		return t.zonedIndex(a)
	case a.Is6():
		i, ok = t.v6.candidate(ipv6Of(a), t.n)
	}
	// Whether the block is that long is easiest to see from the other side.
	return i, ok && t.at(i).Addr == a
}

// candidate returns the number below n that an address has if it is in a block.
func (b *blocks[K]) candidate(a K, n uint64) (uint64, bool) {
	low, high := 0, len(b.order)
	for low < high {
		if mid := int(uint(low+high) / 2); b.firsts[b.order[mid]].compare(a) <= 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == 0 {
		return 0, false
	}
	block := b.order[low-1]
	offset, start := a.minus(b.firsts[block]), b.starts[block]
	return start + offset.lo, offset.hi == 0 && offset.lo < n-start
}

func (t *table) zonedIndex(a netip.Addr) (uint64, bool) {
	k, found := slices.BinarySearchFunc(t.zoned, a, func(host uint32, a netip.Addr) int {
		return t.hosts[host].Addr.Compare(a)
	})
	if !found {
		return 0, false
	}
	block := upTo(t.hostFirsts, t.zoned[k])
	return t.hostStarts[block] + uint64(t.zoned[k]-t.hostFirsts[block]), true
}

// fill numbers the targets, which are different and by order of being added.
func (t *table) fill(v4 []span[ipv4], v6 []span[uint128], hosts []host) {
	t.v4.reserve(len(v4))
	t.v6.reserve(len(v6))
	t.hosts = make([]Target, 0, len(hosts))
	var last4 []span[ipv4] // the span before, if it is the last target so far
	var last6 []span[uint128]
	inHosts := false
	for len(v4)+len(v6)+len(hosts) > 0 {
		var seq4, seq6, seqh uint64 = 1 << 32, 1 << 32, 1 << 32 // after all others
		if len(v4) > 0 {
			seq4 = uint64(v4[0].seq)
		}
		if len(v6) > 0 {
			seq6 = uint64(v6[0].seq)
		}
		if len(hosts) > 0 {
			seqh = uint64(hosts[0].seq)
		}
		switch min(seq4, seq6, seqh) {
		case seq4:
			t.n = t.v4.add(v4[0], last4, t.n)
			last4, last6, inHosts = v4[:1], nil, false
			v4 = v4[1:]
		case seq6:
			t.n = t.v6.add(v6[0], last6, t.n)
			last4, last6, inHosts = nil, v6[:1], false
			v6 = v6[1:]
		default:
			if !inHosts {
				t.hostFirsts = append(t.hostFirsts, uint32(len(t.hosts)))
				t.hostStarts = append(t.hostStarts, t.n)
			}
			if hosts[0].Addr.IsValid() {
				t.zoned = append(t.zoned, uint32(len(t.hosts)))
			}
			t.hosts = append(t.hosts, hosts[0].Target)
			t.n++
			last4, last6, inHosts = nil, nil, true
			hosts = hosts[1:]
		}
	}
	t.v4.finish()
	t.v6.finish()
	t.hostFirsts, t.hostStarts, t.zoned = exact(t.hostFirsts), exact(t.hostStarts), exact(t.zoned)
	slices.SortFunc(t.zoned, func(a, b uint32) int { return t.hosts[a].Addr.Compare(t.hosts[b].Addr) })
}

func (b *blocks[K]) reserve(n int) {
	b.firsts = make([]K, 0, n)
	b.starts = make([]uint64, 0, n)
}

// add adds a span as a block from number n on, or to the block of the span before it
// if its addresses follow. It returns the number after it.
func (b *blocks[K]) add(s span[K], before []span[K], n uint64) uint64 {
	if len(before) == 0 || !before[0].followedBy(s.first) {
		b.firsts = append(b.firsts, s.first)
		b.starts = append(b.starts, n)
	}
	return n + s.size().lo
}

func (b *blocks[K]) finish() {
	b.firsts, b.starts = exact(b.firsts), exact(b.starts)
	b.order = make([]uint32, len(b.firsts))
	for i := range b.order {
		b.order[i] = uint32(i)
	}
	slices.SortFunc(b.order, func(i, j uint32) int { return b.firsts[i].compare(b.firsts[j]) })
}

// excludes say what is no target.
type excludes struct {
	v4    []interval[ipv4] // disjoint, by address
	v6    []interval[uint128]
	zoned map[netip.Addr]bool
	names map[string]bool // by nameKey
}

// addr tells whether an address that is not mapped is excluded.
func (e *excludes) addr(a netip.Addr) bool {
	switch {
	case a.Is4():
		return contains(e.v4, ipv4Of(a))
	case a.Is6():
		return e.zoned[a] || contains(e.v6, ipv6Of(a))
	}
	return false
}
