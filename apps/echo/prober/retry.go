package prober

import (
	"net/netip"
	"strconv"
	"time"
)

// maxRetrying is how many wait for their retry before no further targets are probed.
const maxRetrying = 1 << 18

// retry is a probe that is to be tried again.
type retry struct {
	addr   [16]byte
	target uint64
	due    time.Duration
	number uint64
	zone   uint32
	try    uint8
	is4    bool
}

// retries are queues, one for each try: all of the same try wait equally long, so
// that each queue is in the order in which they are due.
type retries struct {
	queues [][]retry
	first  []int
	waits  []time.Duration // before each try
	n      int
}

// newRetries returns the queues for a number of tries. The first retry begins
// a Timeout after the first try did, and each further one Backoff times as long after
// the one before, of which a Timeout has passed when that has timed out.
func newRetries(n int, timeout time.Duration, backoff float64) retries {
	r := retries{queues: make([][]retry, n), first: make([]int, n), waits: make([]time.Duration, n)}
	longest := float64(24 * time.Hour)
	for i, factor := 0, 1.0; i < n; i++ {
		r.waits[i] = time.Duration(min(float64(timeout)*(factor-1), longest))
		factor *= backoff
	}
	return r
}

func (r *retry) address() netip.Addr {
	a := netip.AddrFrom16(r.addr)
	switch {
	case r.is4:
		return a.Unmap()
	case r.zone != 0:
		return a.WithZone(strconv.FormatUint(uint64(r.zone), 10))
	}
	return a
}

func (r *retries) push(p *probe, now time.Duration) {
	q := p.try
	r.queues[q] = append(r.queues[q], retry{p.addr, p.target, now + r.waits[q], p.number, p.zone, p.try + 1, p.is4})
	r.n++
}

// next returns the time when the first retry is due, and its queue; ok is whether
// there is one.
func (r *retries) next() (due time.Duration, queue int, ok bool) {
	for i, q := range r.queues {
		if r.first[i] < len(q) && (!ok || q[r.first[i]].due < due) {
			due, queue, ok = q[r.first[i]].due, i, true
		}
	}
	return due, queue, ok
}

func (r *retries) pop(queue int) retry {
	t := r.queues[queue][r.first[queue]]
	r.n--
	if r.first[queue]++; r.first[queue] == len(r.queues[queue]) {
		r.queues[queue], r.first[queue] = r.queues[queue][:0], 0
	} else if f := r.first[queue]; f >= 1024 && f >= len(r.queues[queue])/2 {
		r.queues[queue] = append(r.queues[queue][:0], r.queues[queue][f:]...)
		r.first[queue] = 0
	}
	return t
}
