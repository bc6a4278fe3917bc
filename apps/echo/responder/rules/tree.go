package rules

import (
	"math/bits"
	"slices"
	"sort"
)

// none is the number of no rule; it is above all others.
const none = ^uint32(0)

// tree tells for a key the innermost of the blocks around it. Blocks are either
// disjoint or one in the other, so they divide the keys into at most twice as many
// intervals, and each block has one parent.
type tree struct {
	blocks []block  // by compare, each once
	parent []int32  // of each block the next one around it; -1 for none
	min    []uint32 // of each block the first rule of it and of those around it

	starts intervals
	inner  []int32  // of each interval its innermost block; -1 for none
	firsts []uint32 // and the first rule of that, or none
}

// member is a rule with one of its blocks.
type member struct {
	block
	rule uint32 // none for a block that is to be in the tree without a rule
}

// newTree returns the tree of the members. It sorts what it is given.
func newTree(members []member) *tree {
	slices.SortFunc(members, func(a, b member) int { return a.compare(b.block) })
	t := &tree{}
	t.begin(key{}, -1)
	open := int32(-1) // the innermost block around the last key
	for _, m := range members {
		if n := len(t.blocks); n > 0 && t.blocks[n-1] == m.block {
			t.min[n-1] = min(t.min[n-1], m.rule)
			continue
		}
		for open >= 0 && t.blocks[open].last().less(m.first) {
			open = t.end(open)
		}
		first := m.rule
		if open >= 0 {
			first = min(first, t.min[open])
		}
		t.blocks = append(t.blocks, m.block)
		t.parent = append(t.parent, open)
		t.min = append(t.min, first)
		open = int32(len(t.blocks) - 1)
		t.begin(m.first, open)
	}
	for open >= 0 {
		open = t.end(open)
	}
	t.starts.finish()
	t.firsts = make([]uint32, len(t.inner))
	for i, inner := range t.inner {
		t.firsts[i] = none
		if inner >= 0 {
			t.firsts[i] = t.min[inner]
		}
	}
	return t
}

// begin begins an interval.
func (t *tree) begin(at key, inner int32) {
	if n := len(t.inner); n > 0 && t.starts.at(n-1) == at {
		t.inner[n-1] = inner
		return
	}
	t.starts.hi = append(t.starts.hi, at.hi)
	t.starts.lo = append(t.starts.lo, at.lo)
	t.inner = append(t.inner, inner)
}

// end ends a block and returns its parent.
func (t *tree) end(block int32) int32 {
	parent := t.parent[block]
	if after := t.blocks[block].last().next(); after != (key{}) {
		t.begin(after, parent)
	}
	return parent
}

// first returns the first rule with a block around a key, or none.
func (t *tree) first(k key) uint32 { return t.firsts[t.starts.find(k)] }

// around returns the innermost block that has all of b, which may be b itself, or -1.
func (t *tree) around(b block) int32 {
	i := t.inner[t.starts.find(b.first)]
	for i >= 0 && t.blocks[i].bits > b.bits {
		i = t.parent[i]
	}
	return i
}

// intervals are ascending keys, from 0 on, at each of which an interval begins. An
// index by the bits in which they differ makes it one step or two to the right one,
// where they are spread evenly, however many there are.
type intervals struct {
	hi, lo []uint64 // lo is nil if there is nothing in it
	index  []uint32 // of each value of the bits the first interval that has it or a higher one
	skip   uint     // the bits before
	shift  uint     // the bits after, of 64 from skip on
}

// maxIndex is the most bits that are looked up at once. The index then takes 1 MiB.
const maxIndex = 18

func (s *intervals) at(i int) key {
	if s.lo == nil {
		return key{hi: s.hi[i]}
	}
	return key{s.hi[i], s.lo[i]}
}

func (s *intervals) finish() {
	if slices.Max(s.lo) == 0 { // IPv4, and prefixes up to /64
		s.lo = nil
	}
	n := len(s.hi)
	if n < 8 {
		return
	}
	// Keys below the first and from the last on are not looked up in the index.
	s.skip = uint(s.at(1).common(s.at(n - 1)))
	width := uint(min(bits.Len(uint(n)), maxIndex))
	s.shift = 64 - width
	s.index = make([]uint32, 1<<width+1)
	at := uint32(1)
	for i := range s.index {
		for at < uint32(n) && s.at(int(at)).shift(s.skip)>>s.shift < uint64(i) {
			at++
		}
		s.index[i] = at
	}
}

// find returns the interval that has the key.
func (s *intervals) find(k key) int {
	n := len(s.hi)
	low, high := 1, n // the first that begins after k is not below low and not above high
	if s.index != nil {
		switch {
		case k.less(s.at(1)):
			return 0
		case !k.less(s.at(n - 1)):
			return n - 1
		}
		i := k.shift(s.skip) >> s.shift
		low, high = int(s.index[i]), int(s.index[i+1])
	}
	for low < high {
		mid := int(uint(low+high) / 2)
		if s.hi[mid] < k.hi || s.hi[mid] == k.hi && (s.lo == nil || s.lo[mid] <= k.lo) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low - 1
}

// matcher tells the first rule for the addresses of one family.
type matcher struct {
	to     *tree   // with the rules that have no condition on the asker
	asked  []int32 // of each block of it, where in conds its conditions begin; -1 for none
	conds  []condition
	leaves []leaf // of each interval
}

// leaf is all there is to know of an asked address, at one place in memory.
type leaf struct {
	first uint32 // the first rule without a condition, or none
	asked int32  // where in conds the conditions begin; -1 for none
}

// condition is the rules of one block of asked addresses that are only for some
// askers.
type condition struct {
	from *tree
	min  uint32 // the first of the rules
	next int32  // the conditions of the blocks around this one; -1 for none
}

// pair is one combination of prefixes of a rule.
type pair struct {
	to, from block // from has no bits if any asker will do
	rule     uint32
}

func newMatcher(pairs []pair) *matcher {
	m := &matcher{}
	members := make([]member, len(pairs))
	for i, p := range pairs {
		members[i] = member{p.to, none}
		if p.from.bits == 0 {
			members[i].rule = p.rule
		}
	}
	m.to = newTree(members)
	m.asked = make([]int32, len(m.to.blocks))

	conditional := slices.DeleteFunc(slices.Clone(pairs), func(p pair) bool { return p.from.bits == 0 })
	slices.SortFunc(conditional, func(a, b pair) int { return a.to.compare(b.to) })
	for i, b := range m.to.blocks {
		m.asked[i] = -1
		if parent := m.to.parent[i]; parent >= 0 {
			m.asked[i] = m.asked[parent]
		}
		n := sort.Search(len(conditional), func(j int) bool { return conditional[j].to != b })
		if n == 0 {
			continue
		}
		c := condition{min: none, next: m.asked[i]}
		froms := make([]member, n)
		for j, p := range conditional[:n] {
			froms[j] = member{p.from, p.rule}
			c.min = min(c.min, p.rule)
		}
		c.from = newTree(froms)
		conditional = conditional[n:]
		m.asked[i] = int32(len(m.conds))
		m.conds = append(m.conds, c)
	}
	m.leaves = make([]leaf, len(m.to.inner))
	for i, inner := range m.to.inner {
		m.leaves[i] = leaf{m.to.firsts[i], -1}
		if inner >= 0 {
			m.leaves[i].asked = m.asked[inner]
		}
	}
	return m
}

// match returns the first rule for two addresses, or none. sameFamily is whether the
// asker's address is of the family of the asked one.
func (m *matcher) match(from, to key, sameFamily bool) uint32 {
	l := m.leaves[m.to.starts.find(to)]
	first := l.first
	if !sameFamily {
		return first
	}
	for c := l.asked; c >= 0; c = m.conds[c].next {
		if cond := &m.conds[c]; cond.min < first {
			first = min(first, cond.from.first(from))
		}
	}
	return first
}

// before returns the first rule that one pair of makes all of p its own, or none.
func (m *matcher) before(p pair) uint32 {
	i := m.to.around(p.to)
	if i < 0 {
		return none
	}
	first := m.to.min[i]
	if p.from.bits == 0 {
		return first
	}
	for c := m.asked[i]; c >= 0; c = m.conds[c].next {
		if cond := &m.conds[c]; cond.min < first {
			if j := cond.from.around(p.from); j >= 0 {
				first = min(first, cond.from.min[j])
			}
		}
	}
	return first
}
