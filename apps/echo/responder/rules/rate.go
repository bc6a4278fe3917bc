package rules

import (
	"sync/atomic"
	"time"
)

// limit is how many replies there may be: a bucket holds burst of them, and gets a
// new one every interval.
type limit struct {
	interval time.Duration // 0 for no limit
	burst    int64
}

// bucket is the state of a limit: the time at which it is full again, which is all
// that the generic cell rate algorithm (ITU-T I.371) needs. Several loops may share
// it.
type bucket struct{ full atomic.Int64 }

// take takes n replies out of the bucket, or as many as there are, and returns how
// many these were.
func (b *bucket) take(l limit, n int64, now time.Duration) int64 {
	for {
		old := b.full.Load()
		full := max(old, int64(now))
		got := min(n, l.burst-ceil(full-int64(now), int64(l.interval)))
		if got <= 0 {
			return 0
		}
		if b.full.CompareAndSwap(old, full+got*int64(l.interval)) {
			return got
		}
	}
}

// ceil returns a/b, rounded up, where a is not negative.
func ceil(a, b int64) int64 {
	n := a / b
	if a%b > 0 {
		n++
	}
	return n
}

// window is a time in which there is no reply: from <= t < to, where t is the time
// since the beginning, or since the last multiple of every.
type window struct {
	from, to time.Duration
	every    time.Duration // 0 for once
}

func (w window) has(t time.Duration) bool {
	if w.every > 0 {
		t %= w.every
	}
	return w.from <= t && t < w.to
}
