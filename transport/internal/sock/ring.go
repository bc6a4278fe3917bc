package sock

// ring keeps what came in, up to a number of entries, until somebody takes it.
type ring[T any] struct {
	entries     []T // nil keeps nothing
	first, held int
	lost        uint64 // entries that found no room
}

// next is the entry to fill, which becomes the last one; nil if there is no room.
func (r *ring[T]) next() *T {
	if r.held == len(r.entries) {
		r.lost++
		return nil
	}
	r.held++
	return &r.entries[(r.first+r.held-1)%len(r.entries)]
}

// take moves the first entries to dst and returns how many.
func (r *ring[T]) take(dst []T) int {
	n := min(len(dst), r.held)
	for i := range dst[:n] {
		dst[i] = r.entries[(r.first+i)%len(r.entries)]
	}
	if n > 0 {
		r.first, r.held = (r.first+n)%len(r.entries), r.held-n
	}
	return n
}
