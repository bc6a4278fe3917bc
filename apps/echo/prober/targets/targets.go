// Package targets says which hosts to probe: one, or sixteen million, or all of
// IPv4. It reads addresses, names, blocks and ranges, takes excludes away, and gives
// the targets one at a time by number, in the order in which they were added or in
// a random one. Blocks are never expanded: a /8 takes as much memory as a single
// address.
//
//	hosts, err := targets.Parse("192.0.2.0/24", "host.example")
//
// A [Builder] takes files and excludes as well:
//
//	var b targets.Builder
//	err := b.Add("192.0.2.0/24")
//	err = b.Add("host.example")
//	err = b.Exclude("192.0.2.1-9")
//	hosts, err := b.List()
//	hosts = hosts.Shuffle(rand.Uint64())
//	for i := range hosts.Len() {
//		probe(hosts.At(i))
//	}
//
// [Builder.Add] lists what may be written.
package targets

import (
	"fmt"
	"net/netip"
)

// Target is one host to probe: an address, or a name that has still to be resolved.
type Target struct {
	// Addr is zero if only the name is known. It may have a zone, such as
	// fe80::1%eth0, and is never an IPv4 address mapped into IPv6.
	Addr netip.Addr
	// Name is the name as it was given, "" for addresses.
	Name string
}

// String returns the address, or else the name.
func (t Target) String() string {
	if t.Addr.IsValid() {
		return t.Addr.String()
	}
	return t.Name
}

// List holds different targets in an order. [Builder.List] makes it. It does not
// change, and may be used by several goroutines at a time.
//
// It takes 16 bytes for each block, range or run of IPv4 addresses, a single address
// being the shortest, 28 for each of IPv6 and about 40 for each name besides its
// text, or zoned address; excludes take 8 and 32 bytes for each range.
type List struct {
	*table
	order permutation
}

// Counts says what a [List] holds and what it left out. IPv4, IPv6 and Names add up
// to [List.Len].
type Counts struct {
	IPv4  uint64
	IPv6  uint64 // including those with a zone
	Names uint64
	// Duplicates is how many targets were added again, each time they were.
	Duplicates uint64
	// Excluded is how many different targets were added and excluded. Like
	// Duplicates it stays at the largest value that fits.
	Excluded uint64
}

// Len is the number of targets, from 1 to 1<<63-1.
func (l *List) Len() uint64 { return l.n }

// Counts says what the list holds and what it left out.
func (l *List) Counts() Counts { return l.counts }

// At returns the target of a number below Len, in time logarithmic in the number of
// blocks, without allocation. Any other number panics, as the index of a slice does.
func (l *List) At(i uint64) Target {
	if i >= l.n {
		outOfRange(i, l.n)
	}
	return l.at(l.order.of(i))
}

//go:noinline
func outOfRange(i, n uint64) {
	panic(fmt.Sprintf("targets: index out of range [%d] with length %d", i, n))
}

// Index returns the number of an address, as At takes it, and whether it is in the
// list, in time logarithmic in the number of blocks, without allocation. The zone
// matters; an IPv4 address mapped into IPv6 is taken as IPv4.
func (l *List) Index(a netip.Addr) (uint64, bool) {
	i, ok := l.index(a.Unmap())
	if !ok {
		return 0, false
	}
	return l.order.inverse(i), true
}

// Excluded tells whether an address was excluded, be it added or not: ask it about
// the addresses that a name stands for. An exclude without a zone holds for every
// zone, and an IPv4 address mapped into IPv6 is taken as IPv4. It takes logarithmic
// time and does not allocate.
func (l *List) Excluded(a netip.Addr) bool { return l.excludes.addr(a.Unmap()) }

// Shuffle returns the same targets in a random order, at once and without memory,
// however many they are. A seed always gives the same order of the same targets. The
// list may be a shuffled one, which makes no difference: it is the original order
// that is shuffled.
//
// The order is a keyed permutation of the numbers below Len: a Feistel network that
// is repeated while its result is too large (Black and Rogaway, Ciphers with
// Arbitrary Finite Domains, 2002, section 3 and 4). It spreads load; it is no
// protection against somebody who wants to foresee it.
func (l *List) Shuffle(seed uint64) *List {
	return &List{l.table, newPermutation(l.n, seed)}
}
