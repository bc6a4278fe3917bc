package loop

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"
)

// reference is what timers must do, written down without regard to speed: a
// list that is sorted anew at every step.
type reference struct {
	now     int64
	turning bool
	armed   []armed // in the order of arming
}

type armed struct {
	id           int
	when, period int64
	fresh        bool // when counts from the end of the turn
}

func (r *reference) arm(id int, d, period int64) {
	a := armed{id: id, when: d, period: period, fresh: r.turning}
	if !r.turning {
		a.when += r.now
	}
	r.armed = append(r.armed, a)
}

// timeout ends a turn and returns the time until the next one.
func (r *reference) timeout() time.Duration {
	r.turning = false
	next := int64(-1)
	for i := range r.armed {
		a := &r.armed[i]
		if a.fresh {
			a.fresh = false
			a.when += r.now
		}
		if left := max(a.when-r.now, 0); next < 0 || left < next {
			next = left
		}
	}
	return time.Duration(next)
}

func (r *reference) stop(id int) bool {
	before := len(r.armed)
	r.armed = slices.DeleteFunc(r.armed, func(a armed) bool { return a.id == id })
	return len(r.armed) < before
}

// advance returns which timers fire when the clock moves on by d.
func (r *reference) advance(d int64) (fired []int) {
	r.now += d
	r.turning = true
	due := slices.Clone(r.armed)
	due = slices.DeleteFunc(due, func(a armed) bool { return a.when > r.now })
	slices.SortStableFunc(due, func(a, b armed) int { return cmp.Compare(a.when, b.when) })
	for _, a := range due {
		fired = append(fired, a.id)
		r.stop(a.id)
		if a.period > 0 {
			for a.when <= r.now {
				a.when += a.period
			}
			r.armed = append(r.armed, a)
		}
	}
	return fired
}

// followTimers makes the same operations, two bytes each, on the heap and on
// the reference, and compares.
func followTimers(t *testing.T, script []byte) {
	start := time.Unix(0, 0)
	now := start
	l := &Loop{}
	l.timers.init(func() time.Time { return now })
	if len(script) > 0 { // the numbers begin anywhere, and pass the end of their range
		l.timers.seq = uint32(script[0])<<24 - uint32(len(script))/4
	}
	var ref reference
	var timers []*Timer
	var got []int
	for step := 0; step+1 < len(script); step += 2 {
		op, arg := script[step], script[step+1]
		id := -1
		if len(timers) > 0 {
			id = int(op>>3) * len(timers) / 32
		}
		switch op %= 8; {
		case op <= 2 || op <= 5 && id < 0: // arm
			id := len(timers)
			d := int64(arg % 64)
			fire := func() { got = append(got, id) }
			if op == 2 && d > 0 {
				timers = append(timers, l.Every(time.Duration(d), fire))
				ref.arm(id, d, d)
			} else {
				timers = append(timers, l.AfterFunc(time.Duration(d), fire))
				ref.arm(id, d, 0)
			}
		case op == 3:
			if got, want := timers[id].Stop(), ref.stop(id); got != want {
				t.Fatalf("step %d: Stop of timer %d is %v, want %v", step/2, id, got, want)
			}
		case op <= 5:
			d := int64(1 + arg%64)
			if got, want := timers[id].Reset(time.Duration(d)), ref.stop(id); got != want {
				t.Fatalf("step %d: Reset of timer %d is %v, want %v", step/2, id, got, want)
			}
			period := int64(0)
			if timers[id].every != nil {
				period = d
			}
			ref.arm(id, d, period)
		case op == 6: // time passes
			now = now.Add(time.Duration(arg % 16))
			ref.now += int64(arg % 16)
		default: // a turn ends, and the next one begins
			if got, want := l.timers.timeout(), ref.timeout(); got != want {
				t.Fatalf("step %d: %v until the next timer, want %v", step/2, got, want)
			}
			checkHeap(t, &l.timers, len(ref.armed))
			now = now.Add(time.Duration(arg % 16))
			got = nil
			l.timers.turn()
			for _, timer := range l.timers.detach(nil) {
				timer.fire()
			}
			if want := ref.advance(int64(arg % 16)); !slices.Equal(got, want) {
				t.Fatalf("step %d, at %d: timers %v fire, want %v", step/2, ref.now, got, want)
			}
		}
		checkHeap(t, &l.timers, len(ref.armed))
	}
}

// checkHeap checks the order of the heap and that each timer knows its place.
func checkHeap(t *testing.T, ts *timers, count int) {
	t.Helper()
	if armed := ts.heap.count(); armed != count {
		t.Fatalf("%d timers are armed, want %d", armed, count)
	}
	items := ts.heap.items
	if !ts.turning && ts.heap.ordered != len(items) {
		t.Fatalf("%d timers wait without a turn", len(items)-ts.heap.ordered)
	}
	vacant := 0
	for i := root; i < len(items); i++ {
		if items[i].t == &ts.heap.nobody {
			vacant++
			continue
		}
		if int(items[i].t.index) != i {
			t.Fatalf("the timer at %d believes to be at %d", i, items[i].t.index)
		}
		for above := i; i < ts.heap.ordered && above > root; {
			if above = parent(above); items[i].less(&items[above]) {
				t.Fatalf("the timer at %d is due before what is above it at %d", i, above)
			}
		}
	}
	if !ts.turning && vacant > 0 && vacant >= count {
		t.Fatalf("%d vacancies among %d timers", vacant, count)
	}
	if vacant != ts.heap.vacant {
		t.Fatalf("%d vacancies, %d counted", vacant, ts.heap.vacant)
	}
	for _, it := range items[len(items):cap(items)] {
		if it.t != nil {
			t.Fatal("the heap holds on to a timer that has left")
		}
	}
}

func TestSiblingsShareACacheLine(t *testing.T) {
	items := make([]item, 10_000) // fewer are in the cache as it is
	for i := root; firstChild(i)+arity <= len(items); i++ {
		for c := firstChild(i); c < firstChild(i)+arity; c++ {
			if parent(c) != i {
				t.Fatalf("the parent of %d is %d, want %d", c, parent(c), i)
			}
		}
		first, last := uintptr(unsafe.Pointer(&items[firstChild(i)])), uintptr(unsafe.Pointer(&items[firstChild(i)+arity-1]))
		if unsafe.Sizeof(first) == 8 && first/64 != last/64 {
			t.Fatalf("the children of %d are on two lines", i)
		}
	}
}

func TestTheHeapFollowsTheReference(t *testing.T) {
	for range 20 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			script := make([]byte, 2*600)
			for i := range script {
				script[i] = byte(rng.Uint32())
			}
			followTimers(t, script)
		})
	}
}

func FuzzTimers(f *testing.F) {
	f.Add([]byte{0, 5, 0, 5, 1, 3, 7, 4, 7, 4})          // ties, and one before them
	f.Add([]byte{2, 3, 7, 15, 7, 1, 4, 10, 7, 10, 3, 0}) // every, missed, reset, stopped
	f.Add([]byte{7, 0, 0, 5, 1, 3, 0, 5, 6, 2, 7, 9})    // armed in a turn, which takes a while
	f.Fuzz(func(t *testing.T, script []byte) {
		followTimers(t, script[:min(len(script), 2000)])
	})
}
