package loop

import (
	"math"
	"time"
)

// Timer calls a function on the loop, once or at intervals.
type Timer struct {
	ts     *timers
	fn     func()
	when   int64 // nanoseconds since the loop was made
	period int64 // 0: once
	index  int32 // in the heap, or one of the following
}

const (
	idle     = -1 // stopped, or has fired
	detached = -2 // due in this turn
)

// AfterFunc calls fn on the loop once d has passed, never earlier. A timer that
// is armed in a callback is not due before the next turn, however short d is.
func (l *Loop) AfterFunc(d time.Duration, fn func()) *Timer {
	t := &Timer{ts: &l.timers, fn: fn, index: idle}
	l.timers.arm(t, l.timers.after(d))
	return t
}

// Every calls fn on the loop at intervals of d, the first time after d. The
// intervals are counted from the call of Every, so that they do not drift. A
// time that the loop misses is left out. It panics if d is not positive.
func (l *Loop) Every(d time.Duration, fn func()) *Timer {
	if d <= 0 {
		panic("loop: interval of Every must be positive")
	}
	t := &Timer{ts: &l.timers, fn: fn, period: int64(d), index: idle}
	l.timers.arm(t, l.timers.after(d))
	return t
}

// Stop disarms the timer and reports whether it was armed. Its function does
// not run after that, not even if it is due in this turn.
func (t *Timer) Stop() bool {
	armed := t.index != idle
	if t.index >= 0 {
		t.ts.remove(int(t.index))
	}
	t.index = idle
	return armed
}

// Reset arms the timer anew to be due once d has passed, and reports whether it
// was armed. The intervals of Every become d, and it panics if that is not
// positive.
func (t *Timer) Reset(d time.Duration) bool {
	if t.period > 0 {
		if d <= 0 {
			panic("loop: interval of Every must be positive")
		}
		t.period = int64(d)
	}
	armed := t.Stop()
	t.ts.arm(t, t.ts.after(d))
	return armed
}

// fire runs a timer that was detached, unless it has been stopped or reset
// since.
func (t *Timer) fire() {
	if t.index != detached {
		return
	}
	t.index = idle
	if t.period > 0 {
		missed := (t.ts.now - t.when) / t.period
		t.ts.arm(t, t.when+(missed+1)*t.period)
	}
	t.fn()
}

// timers is a 4-ary heap of what is armed: shallower than a binary one, and
// four neighbours share a cache line or two.
type timers struct {
	clock func() time.Time
	base  time.Time // when the loop was made
	now   int64     // nanoseconds since base
	read  bool      // now is of this turn
	seq   uint64
	heap  []item
}

// item is a timer in the heap, with what it is compared by.
type item struct {
	when int64
	seq  uint64 // ties are first in, first out
	t    *Timer
}

func (a *item) less(b *item) bool {
	return a.when < b.when || a.when == b.when && a.seq < b.seq
}

func (ts *timers) init(clock func() time.Time) {
	ts.clock, ts.base = clock, clock()
}

// turn begins a new turn.
func (ts *timers) turn() { ts.read = false }

// time is the time of this turn.
func (ts *timers) time() time.Time {
	ts.look()
	return ts.base.Add(time.Duration(ts.now))
}

func (ts *timers) look() {
	if !ts.read {
		ts.now, ts.read = ts.elapsed(), true
	}
}

// elapsed reads the clock.
func (ts *timers) elapsed() int64 { return int64(ts.clock().Sub(ts.base)) }

// after is the instant d from now, by the clock: the time of the turn lies in
// the past and would make timers early.
func (ts *timers) after(d time.Duration) int64 {
	now := ts.elapsed()
	if d > time.Duration(math.MaxInt64-now) {
		return math.MaxInt64
	}
	return now + max(int64(d), 0)
}

// timeout is the time until the next timer is due, negative if there is none.
func (ts *timers) timeout() time.Duration {
	if len(ts.heap) == 0 {
		return -1
	}
	return time.Duration(max(ts.heap[0].when-ts.elapsed(), 0))
}

// detach takes what is due off the heap, in order.
func (ts *timers) detach(due []*Timer) []*Timer {
	if len(ts.heap) == 0 {
		return due
	}
	ts.look()
	for len(ts.heap) > 0 && ts.heap[0].when <= ts.now {
		t := ts.heap[0].t
		ts.remove(0)
		t.index = detached
		due = append(due, t)
	}
	return due
}

// arm puts an idle timer on the heap.
func (ts *timers) arm(t *Timer, when int64) {
	t.when = when
	ts.seq++
	ts.heap = append(ts.heap, item{})
	ts.up(len(ts.heap)-1, item{when, ts.seq, t})
}

// remove takes the timer at i off the heap.
func (ts *timers) remove(i int) {
	last := len(ts.heap) - 1
	it := ts.heap[last]
	ts.heap[last] = item{}
	ts.heap = ts.heap[:last]
	if i == last {
		return
	}
	if i > 0 && it.less(&ts.heap[(i-1)/4]) {
		ts.up(i, it)
	} else {
		ts.down(i, it)
	}
}

func (ts *timers) put(i int, it item) {
	ts.heap[i] = it
	it.t.index = int32(i)
}

// up moves it from the vacant place i towards the root.
func (ts *timers) up(i int, it item) {
	for i > 0 {
		parent := (i - 1) / 4
		if !it.less(&ts.heap[parent]) {
			break
		}
		ts.put(i, ts.heap[parent])
		i = parent
	}
	ts.put(i, it)
}

// down moves it from the vacant place i towards the leaves.
func (ts *timers) down(i int, it item) {
	for {
		first := 4*i + 1
		if first >= len(ts.heap) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(ts.heap)); c++ {
			if ts.heap[c].less(&ts.heap[least]) {
				least = c
			}
		}
		if !ts.heap[least].less(&it) {
			break
		}
		ts.put(i, ts.heap[least])
		i = least
	}
	ts.put(i, it)
}

// clear forgets every timer.
func (ts *timers) clear() {
	for _, it := range ts.heap {
		it.t.index = idle
	}
	ts.heap = nil
}
