package loop

import "math"

// heap holds timers by deadline. It is 4-ary, and thus shallower than a binary
// one; as it begins at root, four siblings share a cache line on 64-bit machines.
//
// Behind it wait the timers whose deadlines are not known yet. Those that are
// stopped leave a vacancy, wherever they are, until it comes to the top or half
// of the heap is vacant: most timers never fire, and to close the gap at once
// costs more than all the rest.
type heap struct {
	items   []item
	ordered int   // where the heap ends and those that wait begin
	vacant  int   // how many of the items are vacancies
	nobody  Timer // whose items they are
}

// item is a timer with what it is compared by.
type item struct {
	when int64 // of one that waits: the time from settle to its deadline
	t    *Timer
}

const (
	arity = 4
	root  = arity - 1 // what comes before is empty
)

func parent(i int) int     { return (i-root-1)/arity + root }
func firstChild(i int) int { return (i-root)*arity + root + 1 }

func (h *heap) init() { h.items, h.ordered, h.vacant = make([]item, root), root, 0 }

// count is how many timers there are.
func (h *heap) count() int { return len(h.items) - root - h.vacant }

// wait puts a timer behind the heap.
func (h *heap) wait(t *Timer, after int64) {
	t.index = int32(len(h.items))
	h.items = append(h.items, item{after, t})
}

// insert puts a timer with its deadline into the heap.
func (h *heap) insert(t *Timer, when int64) {
	h.items = append(h.items, item{})
	if last := len(h.items) - 1; h.ordered < last {
		h.put(last, h.items[h.ordered])
	}
	h.ordered++
	h.up(h.ordered-1, item{when, t})
}

// remove takes the item at i away from its timer.
func (h *heap) remove(i int) {
	h.items[i].t = &h.nobody
	h.vacant++
}

// waits reports whether a timer waits behind the heap.
func (h *heap) waits(t *Timer) bool { return int(t.index) >= h.ordered }

// settle takes those that wait into the heap: their deadlines count from now.
func (h *heap) settle(now int64) {
	for ; h.ordered < len(h.items); h.ordered++ {
		i := h.ordered
		it := &h.items[i]
		it.when += min(now, math.MaxInt64-it.when)
		if i > root && it.less(&h.items[parent(i)]) {
			h.up(i, *it)
		}
	}
	h.tidy()
}

// tidy makes a heap of all timers, without a vacancy, if the vacancies are half
// of it or more. None must wait for its deadline.
func (h *heap) tidy() {
	if h.vacant == 0 || h.vacant < h.count() {
		return
	}
	live := h.items[:root]
	for _, it := range h.items[root:] {
		if it.t != &h.nobody {
			it.t.index = int32(len(live))
			live = append(live, it)
		}
	}
	clear(h.items[len(live):])
	h.items, h.ordered, h.vacant = live, len(live), 0
	if len(live) > root {
		for i := parent(len(live) - 1); i >= root; i-- {
			h.down(i, live[i])
		}
	}
}

// first returns the item that is due first, or nil. None must wait.
func (h *heap) first() *item {
	for h.ordered > root {
		if first := &h.items[root]; first.t != &h.nobody {
			return first
		}
		h.vacant--
		h.pop()
	}
	return nil
}

// pop takes the top off.
func (h *heap) pop() {
	last := len(h.items) - 1
	it := h.items[last]
	h.items[last] = item{}
	h.items, h.ordered = h.items[:last], last
	if last > root {
		h.down(root, it)
	}
}

func (a *item) less(b *item) bool {
	return a.when < b.when || a.when == b.when && int32(a.t.seq-b.t.seq) < 0
}

func (h *heap) put(i int, it item) {
	h.items[i] = it
	it.t.index = int32(i)
}

// up moves it from the vacant place i towards the root.
func (h *heap) up(i int, it item) {
	for i > root {
		p := parent(i)
		if !it.less(&h.items[p]) {
			break
		}
		h.put(i, h.items[p])
		i = p
	}
	h.put(i, it)
}

// down moves it from the vacant place i towards the leaves.
func (h *heap) down(i int, it item) {
	items := h.items[:h.ordered]
	for {
		first := firstChild(i)
		if first >= len(items) {
			break
		}
		children := items[first:min(first+arity, len(items))]
		least := 0
		for c := 1; c < len(children); c++ {
			if children[c].less(&children[least]) {
				least = c
			}
		}
		child := children[least]
		if !child.less(&it) {
			break
		}
		items[i] = child
		child.t.index = int32(i)
		i = first + least
	}
	items[i] = it
	it.t.index = int32(i)
}
