package loop

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// reference is what timers must do, written down without regard to speed: a
// list that is sorted anew at every step.
type reference struct {
	now   int64
	armed []armed // in the order of arming
}

type armed struct {
	id           int
	when, period int64
}

func (r *reference) stop(id int) bool {
	before := len(r.armed)
	r.armed = slices.DeleteFunc(r.armed, func(a armed) bool { return a.id == id })
	return len(r.armed) < before
}

// advance returns which timers fire when the clock moves on by d.
func (r *reference) advance(d int64) (fired []int) {
	r.now += d
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
				ref.armed = append(ref.armed, armed{id, ref.now + d, d})
			} else {
				timers = append(timers, l.AfterFunc(time.Duration(d), fire))
				ref.armed = append(ref.armed, armed{id, ref.now + d, 0})
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
			a := armed{id, ref.now + d, 0}
			if timers[id].period > 0 {
				a.period = d
			}
			ref.armed = append(ref.armed, a)
		default: // a turn
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
	if len(ts.heap) != count {
		t.Fatalf("%d timers are armed, want %d", len(ts.heap), count)
	}
	for i := range ts.heap {
		if it := &ts.heap[i]; int(it.t.index) != i || it.t.when != it.when {
			t.Fatalf("the timer at %d believes to be at %d", i, it.t.index)
		}
		if i > 0 && ts.heap[i].less(&ts.heap[(i-1)/4]) {
			t.Fatalf("the timer at %d is due before its parent", i)
		}
	}
	for _, it := range ts.heap[len(ts.heap):cap(ts.heap)] {
		if it.t != nil {
			t.Fatal("the heap holds on to a timer that has left")
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
	f.Add([]byte{0, 5, 0, 5, 1, 3, 6, 4, 6, 4})          // ties, and one before them
	f.Add([]byte{2, 3, 6, 15, 6, 1, 4, 10, 6, 10, 3, 0}) // every, missed, reset, stopped
	f.Fuzz(func(t *testing.T, script []byte) {
		followTimers(t, script[:min(len(script), 2000)])
	})
}
