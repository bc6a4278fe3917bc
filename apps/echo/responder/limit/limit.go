// Package limit limits how many replies each source of requests gets.
//
//	l := limit.New(1000, 1000) // replies a second, and at once
//	...
//	if l.Take(source, 1, now) == 0 {
//		return // that was enough for now
//	}
//	if dropped {
//		l.Give(source, 1, now)
//	}
//
// A source is an IPv4 address or an IPv6 network of 64 bits, since whoever has one
// address of such a network has all of them (RFC 4291, 2.5.1). The memory is of a
// fixed size, whoever sends: a source whose bucket is full again is as good as one
// that was never seen, so forgetting it loses nothing.
package limit

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"
)

// Sources is how many sources that have lately got replies are told apart. With a
// rate of 1,000 a second one that got a reply is forgotten a millisecond later.
const Sources = 1 << 16

const (
	ways    = 4 // sources in a set, which are a cache line
	sets    = Sources / ways
	stripes = 256
)

// Limiter limits the replies to each source. It may be used by several goroutines.
//
// Each source has a bucket, which is a time: that at which it is full again (the
// generic cell rate algorithm, ITU-T I.371). A source is looked for in one set of
// four, by a hash with a key that nobody outside can know. If the buckets of all
// four are in use, a fifth source takes the place of the one that is full first, and
// has what was taken out of that: so nobody gets more than he should by making the
// limiter forget, and all together not either.
type Limiter struct {
	interval int64 // nanoseconds until a bucket gets another reply; 0 for no limit
	depth    int64 // how far ahead of now a bucket may be full again
	seed     maphash.Seed
	sets     []set
	locks    [stripes]lock
}

type set [ways]bucket

type bucket struct {
	source uint64
	full   int64 // when, in nanoseconds
}

// lock has a cache line of its own, so that loops do not wait for each other's.
type lock struct {
	sync.Mutex
	_ [56]byte
}

// New returns a Limiter of so many replies a second to each source, at most a
// billion, and burst of them at once. In t seconds a source gets rate*t + burst at
// most. A rate of 0 or less is no limit; a burst of less than 1 is 1.
func New(rate, burst int) *Limiter {
	l := &Limiter{}
	if rate <= 0 {
		return l
	}
	rate = min(rate, int(time.Second))
	l.interval = int64((time.Second + time.Duration(rate) - 1) / time.Duration(rate))
	l.depth = l.interval
	if b := int64(max(burst, 1)); b <= math.MaxInt64/4/l.interval {
		l.depth = b * l.interval
	} else {
		l.depth = math.MaxInt64 / 4
	}
	l.seed = maphash.MakeSeed()
	l.sets = make([]set, sets)
	return l
}

// Take takes n replies out of the bucket of a source, or as many as there are, and
// returns how many these were. now is the time since whatever moment the caller
// chooses, the same for all loops. The zero Addr is a source too.
func (l *Limiter) Take(source netip.Addr, n int, now time.Duration) int {
	if l.interval == 0 {
		return n
	}
	key := keyOf(source)
	s, mu := l.find(key)
	mu.Lock()
	b := s.look(key, int64(now))
	got := int64(n)
	if most := (int64(now) + l.depth - b.full) / l.interval; most < got {
		got = max(most, 0)
	}
	b.full += got * l.interval
	mu.Unlock()
	return int(got)
}

// Give puts back n replies that were taken and are not sent.
func (l *Limiter) Give(source netip.Addr, n int, now time.Duration) {
	if l.interval == 0 {
		return
	}
	key := keyOf(source)
	s, mu := l.find(key)
	mu.Lock()
	for i := range s {
		if b := &s[i]; b.source == key && b.full > int64(now) {
			b.full -= int64(n) * l.interval
		}
	}
	mu.Unlock()
}

func (l *Limiter) find(key uint64) (*set, *sync.Mutex) {
	h := maphash.Comparable(l.seed, key)
	i := h % sets
	return &l.sets[i], &l.locks[i%stripes].Mutex
}

// look returns the bucket of a source, of which nothing is to be gained by waiting: it
// is full now at the earliest.
func (s *set) look(key uint64, now int64) *bucket {
	first := &s[0]
	for i := range s {
		b := &s[i]
		if b.source == key {
			first = b
			break
		}
		if b.full < first.full {
			first = b
		}
	}
	first.source = key
	first.full = max(first.full, now)
	return first
}

// keyOf returns the number of a source. IPv4 addresses are where IPv6 has multicast
// addresses, which are no source.
func keyOf(a netip.Addr) uint64 {
	if a.Is4() || a.Is4In6() {
		b := a.As4()
		return 0xffffffff<<32 | uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16() // of the zero Addr all zeros
	return binary.BigEndian.Uint64(b[:])
}
