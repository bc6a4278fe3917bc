package queue

// arity of the heap. Four siblings are compared where a binary heap compares two, in
// half as many levels.
const arity = 4

func (a *entry) before(b *entry) bool {
	return a.due < b.due || a.due == b.due && a.seq < b.seq
}

// up moves e from the vacant place i towards the root.
func (q *Queue[T]) up(i int, e entry) {
	for i > 0 {
		parent := (i - 1) / arity
		if !e.before(&q.order[parent]) {
			break
		}
		q.order[i] = q.order[parent]
		i = parent
	}
	q.order[i] = e
}

// down moves e from the vacant root to its place.
func (q *Queue[T]) down(e entry) {
	i := 0
	for {
		child := i*arity + 1
		if child >= len(q.order) {
			break
		}
		first := child
		for c := child + 1; c < min(child+arity, len(q.order)); c++ {
			if q.order[c].before(&q.order[first]) {
				first = c
			}
		}
		if !q.order[first].before(&e) {
			break
		}
		q.order[i] = q.order[first]
		i = first
	}
	q.order[i] = e
}
