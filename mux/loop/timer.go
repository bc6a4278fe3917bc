package loop

import "time"

// Timer calls a function on the loop, once or at intervals.
type Timer struct {
	ts    *timers
	fn    func()
	every *interval // nil: once
	seq   uint32    // of those due at the same time, the first is the one that was armed first
	index int32     // in the heap, or one of the following
}

// interval is what Every needs besides.
type interval struct {
	period int64
	due    int64 // of one that is detached: when it was due, in nanoseconds since the loop was made
}

const (
	idle     = -1 // stopped, or has fired
	detached = -2 // due in this turn
)

// AfterFunc calls fn on the loop once d has passed, never earlier. In a callback
// d counts from the end of the turn, when the loop looks at the clock once for
// all timers: a timer that is armed there is not due before the next turn,
// however short d is. After Close no timer can be armed.
func (l *Loop) AfterFunc(d time.Duration, fn func()) *Timer {
	needFunc(fn != nil, "AfterFunc")
	t := &Timer{ts: &l.timers, fn: fn, index: idle}
	l.timers.start(t, d)
	return t
}

// Every calls fn on the loop at intervals of d, the first time after d as for
// AfterFunc. The intervals are counted from there, so that they do not drift. A
// time that the loop misses is left out. It panics if d is not positive.
func (l *Loop) Every(d time.Duration, fn func()) *Timer {
	needFunc(fn != nil, "Every")
	checkInterval(d)
	t := &Timer{ts: &l.timers, fn: fn, every: &interval{period: int64(d)}, index: idle}
	l.timers.start(t, d)
	return t
}

func checkInterval(d time.Duration) {
	if d <= 0 {
		panic("loop: interval of Every must be positive")
	}
}

// Stop disarms the timer and reports whether it was armed. Its function does
// not run after that, not even if it is due in this turn.
func (t *Timer) Stop() bool {
	armed := t.index != idle
	if t.index >= 0 {
		t.ts.heap.remove(int(t.index))
		if !t.ts.turning {
			t.ts.heap.tidy()
		}
	}
	t.index = idle
	return armed
}

// Reset arms the timer anew to be due once d has passed, as AfterFunc does, and
// reports whether it was armed. The intervals of Every become d, and it panics if
// that is not positive.
func (t *Timer) Reset(d time.Duration) bool {
	if t.every != nil {
		checkInterval(d)
		t.every.period = int64(d)
	}
	if t.ts.heap.waits(t) {
		t.ts.number(t)
		t.ts.heap.items[t.index].when = max(int64(d), 0)
		return true
	}
	armed := t.Stop()
	t.ts.start(t, d)
	return armed
}

// fire runs a timer that was detached, unless it has been stopped or reset
// since.
func (t *Timer) fire() {
	if t.index != detached {
		return
	}
	t.index = idle
	if e := t.every; e != nil {
		t.ts.look()
		missed := (t.ts.now - e.due) / e.period
		t.ts.number(t)
		t.ts.heap.insert(t, e.due+(missed+1)*e.period)
	}
	t.fn()
}

// timers are those that are armed.
type timers struct {
	clock   func() time.Time
	base    time.Time // when the loop was made
	now     int64     // nanoseconds since base
	read    bool      // now is of this turn
	turning bool      // a turn goes on: what is armed waits for its end
	closed  bool
	heap    heap
	seq     uint32
}

func (ts *timers) init(clock func() time.Time) {
	ts.clock, ts.base = clock, clock()
	ts.heap.init()
}

// turn begins a new turn.
func (ts *timers) turn() { ts.read, ts.turning = false, true }

// time is the time of this turn, or else the time.
func (ts *timers) time() time.Time {
	if !ts.turning {
		return ts.clock()
	}
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

// start arms an idle timer to be due d from now.
func (ts *timers) start(t *Timer, d time.Duration) {
	if ts.closed {
		return
	}
	ts.number(t)
	ts.heap.wait(t, max(int64(d), 0))
	if !ts.turning {
		ts.heap.settle(ts.elapsed())
	}
}

// number makes t the last of those that are due at the same time. Vacancies stay
// before all timers, wherever the numbers have got to.
func (ts *timers) number(t *Timer) {
	ts.seq++
	t.seq = ts.seq
	ts.heap.nobody.seq = ts.seq + 1<<31 + 1
}

// timeout ends a turn and is the time until the next timer is due, negative if
// there is none.
func (ts *timers) timeout() time.Duration {
	ts.turning = false
	if ts.heap.count() == 0 {
		ts.heap.tidy()
		return -1
	}
	now := ts.elapsed()
	ts.heap.settle(now)
	return time.Duration(max(ts.heap.first().when-now, 0))
}

// detach takes what is due off the heap, in order. The turn has just begun: no
// timer waits.
func (ts *timers) detach(due []*Timer) []*Timer {
	if ts.heap.count() == 0 {
		return due
	}
	ts.look()
	for it := ts.heap.first(); it != nil && it.when <= ts.now; it = ts.heap.first() {
		it.t.index = detached
		if it.t.every != nil {
			it.t.every.due = it.when
		}
		due = append(due, it.t)
		ts.heap.pop()
	}
	return due
}

// close disarms every timer and lets none be armed.
func (ts *timers) close() {
	for _, it := range ts.heap.items[root:] {
		it.t.index = idle
	}
	ts.heap.init()
	ts.closed = true
}
