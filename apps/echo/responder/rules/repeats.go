package rules

import "math/bits"

// repeats counts how often each packet was seen, in memory of a fixed size. The
// number of a packet says in which set its count is; of those in a set, the one that
// was seen least recently makes room for a new one, and is forgotten: if it comes
// again, it counts from 0.
type repeats struct {
	sets []repeatSet
	mask uint64
}

const ways = 4

// repeatSet has the packets seen last in front.
type repeatSet struct {
	packet [ways]uint64
	seen   [ways]uint32 // 0: there is none, nor behind it
}

// newRepeats returns the memory for that many packets at least.
func newRepeats(packets int) *repeats {
	n := (max(packets, 1) + ways - 1) / ways
	n = 1 << bits.Len(uint(n-1))
	return &repeats{sets: make([]repeatSet, n), mask: uint64(n - 1)}
}

// count returns how often a packet was seen before.
func (r *repeats) count(packet uint64) uint32 {
	s := &r.sets[packet&r.mask]
	i := 0
	for i < ways-1 && s.seen[i] > 0 && s.packet[i] != packet {
		i++
	}
	var before uint32
	if s.seen[i] > 0 && s.packet[i] == packet {
		before = s.seen[i]
	}
	copy(s.packet[1:i+1], s.packet[:i])
	copy(s.seen[1:i+1], s.seen[:i])
	s.packet[0], s.seen[0] = packet, max(before+1, before)
	return before
}
