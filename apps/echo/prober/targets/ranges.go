package targets

import (
	"cmp"
	"slices"
)

// interval is the addresses from first to last, both included.
type interval[K key[K]] struct{ first, last K }

func (r interval[K]) size() uint128 { return r.last.minus(r.first).next() }

// followedBy tells whether an address comes right after the interval.
func (r interval[K]) followedBy(a K) bool {
	return r.last.compare(a) < 0 && r.last.next().compare(a) == 0
}

// span is an interval with its place in the order of being added.
type span[K key[K]] struct {
	interval[K]
	seq uint32
}

func total[K key[K]](spans []span[K]) (n uint128) {
	for _, s := range spans {
		n = n.add(s.size())
	}
	return n
}

// disjoint returns the same addresses as intervals by address that neither overlap
// nor touch.
func disjoint[K key[K]](given []interval[K]) []interval[K] {
	all := slices.Clone(given)
	slices.SortFunc(all, func(a, b interval[K]) int { return a.first.compare(b.first) })
	n := 0
	for _, r := range all {
		switch {
		case n == 0, r.first.compare(all[n-1].last) > 0 && !all[n-1].followedBy(r.first):
			all[n] = r
			n++
		case r.last.compare(all[n-1].last) > 0:
			all[n-1].last = r.last
		}
	}
	return exact(all[:n])
}

// contains tells whether an address is in one of the disjoint intervals by address.
func contains[K key[K]](all []interval[K], a K) bool {
	low, high := 0, len(all)
	for low < high { // the first that ends at a or later
		if mid := int(uint(low+high) / 2); all[mid].last.compare(a) < 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low < len(all) && all[low].first.compare(a) <= 0
}

// distinct returns spans by address that do not overlap: an address that several
// spans have stays in the one that was added first. It sorts what it is given.
//
// It goes through the addresses from boundary to boundary and keeps the spans that
// reach there in a heap, the one added first at its root. Spans that have ended stay
// in it until they come up.
func distinct[K key[K]](given []span[K]) []span[K] {
	slices.SortFunc(given, func(a, b span[K]) int { return a.first.compare(b.first) })
	out := make([]span[K], 0, len(given))
	var open earliest[K]
	var at K
	for len(given) > 0 || len(open) > 0 {
		if len(open) == 0 {
			at = given[0].first
		}
		for len(given) > 0 && given[0].first.compare(at) <= 0 {
			open.push(given[0])
			given = given[1:]
		}
		owner := open[0]
		if owner.last.compare(at) < 0 {
			open.pop()
			continue
		}
		piece := owner
		piece.first = at
		if len(given) > 0 && given[0].first.compare(owner.last) <= 0 {
			piece.last = given[0].first.prev()
		} else {
			open.pop()
		}
		if n := len(out); n > 0 && out[n-1].seq == piece.seq && out[n-1].followedBy(at) {
			out[n-1].last = piece.last
		} else {
			out = append(out, piece)
		}
		if at = piece.last.next(); at.compare(piece.last) < 0 {
			break // that was the highest address
		}
	}
	return out
}

// earliest is a binary heap of spans, the one that was added first at its root.
type earliest[K key[K]] []span[K]

func (h *earliest[K]) push(s span[K]) {
	*h = append(*h, s)
	a := *h
	for i := len(a) - 1; i > 0; {
		parent := (i - 1) / 2
		if a[parent].seq < a[i].seq {
			break
		}
		a[parent], a[i] = a[i], a[parent]
		i = parent
	}
}

func (h *earliest[K]) pop() {
	a := *h
	n := len(a) - 1
	a[0] = a[n]
	a = a[:n]
	*h = a
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && a[child+1].seq < a[child].seq {
			child++
		}
		if a[i].seq < a[child].seq {
			break
		}
		a[i], a[child] = a[child], a[i]
		i = child
	}
}

// subtract returns what is left of the spans without the intervals; both are
// disjoint and by address.
func subtract[K key[K]](spans []span[K], without []interval[K]) []span[K] {
	if len(without) == 0 {
		return spans
	}
	out := make([]span[K], 0, len(spans))
	for _, s := range spans {
		for len(without) > 0 && without[0].last.compare(s.first) < 0 {
			without = without[1:]
		}
		left := true
		for _, w := range without {
			if w.first.compare(s.last) > 0 {
				break
			}
			if w.first.compare(s.first) > 0 {
				before := s
				before.last = w.first.prev()
				out = append(out, before)
			}
			if left = w.last.compare(s.last) < 0; !left {
				break
			}
			s.first = w.last.next()
		}
		if left {
			out = append(out, s)
		}
	}
	return out
}

// bySeq sorts disjoint spans by the order of being added, and by address where they
// were added together.
func bySeq[K key[K]](spans []span[K]) {
	slices.SortFunc(spans, func(a, b span[K]) int {
		if a.seq != b.seq {
			return cmp.Compare(a.seq, b.seq)
		}
		return a.first.compare(b.first)
	})
}

// exact returns the slice without spare capacity.
func exact[E any](s []E) []E {
	if len(s) == cap(s) {
		return s
	}
	return append(make([]E, 0, len(s)), s...)
}
