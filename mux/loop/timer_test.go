package loop_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"iomux/mux"
	"iomux/mux/loop"
)

func TestTimersFireInOrderOfTheirDeadlinesAndNeverEarly(t *testing.T) {
	l, fake := simulated(t)
	start, last, fired := fake.Clock(), time.Duration(0), 0
	const count = 1000
	for range count {
		d := time.Duration(rand.Int64N(int64(time.Hour)))
		l.AfterFunc(d, func() {
			if d < last {
				t.Errorf("the timer of %v fired after that of %v", d, last)
			}
			if now := l.Now().Sub(start); now != d {
				t.Errorf("the timer of %v fired at %v", d, now)
			}
			last = d
			fired++
		})
	}
	l.AfterFunc(time.Hour, l.Stop)
	run(t, l)
	if fired != count {
		t.Errorf("%d timers fired, want %d", fired, count)
	}
}

func TestTimersThatAreDueTogetherFireInTheOrderOfArming(t *testing.T) {
	l, _ := simulated(t)
	var got []int
	const count = 300
	again := l.AfterFunc(time.Second, func() { got = append(got, count) })
	for i := range count {
		l.AfterFunc(time.Duration(1+i%3)*time.Millisecond, func() {}) // to stir the heap
		l.AfterFunc(time.Second, func() { got = append(got, i) })
	}
	again.Reset(time.Second) // to the end of the queue
	l.AfterFunc(time.Second, l.Stop)
	run(t, l)
	for i, n := range got {
		if i != n {
			t.Fatalf("timer %d fired in place %d", n, i)
		}
	}
	if len(got) != count+1 {
		t.Fatalf("%d timers fired, want %d", len(got), count+1)
	}
}

func TestTimersAreNeverEarlyByTheRealClock(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		left := 0
		for _, d := range []time.Duration{0, 1, 100 * time.Microsecond, 1500 * time.Microsecond, 5 * time.Millisecond} {
			var armed time.Time
			again := 3
			var timer *loop.Timer
			left++
			timer = l.AfterFunc(d, func() {
				if took := time.Since(armed); took < d {
					t.Errorf("the timer of %v fired after %v", d, took)
				}
				if now := l.Now(); now.Sub(armed) < d {
					t.Errorf("the timer of %v fired when Now was %v after its arming", d, now.Sub(armed))
				}
				if again--; again > 0 {
					armed = time.Now()
					timer.Reset(d)
				} else if left--; left == 0 {
					l.Stop()
				}
			})
			armed = time.Now()
			timer.Reset(d)
		}
		run(t, l)
	})
}

// busy is a clock that runs on while a callback works.
type busy struct {
	now  func() time.Time
	late time.Duration
}

func (b *busy) clock() time.Time                   { return b.now().Add(b.late) }
func (b *busy) work(d time.Duration)               { b.late += d }
func since(b *busy, start time.Time) time.Duration { return b.clock().Sub(start) }

func TestATimerThatIsArmedInACallbackCountsFromTheEndOfTheTurn(t *testing.T) {
	_, fake := simulated(t)
	b := &busy{now: fake.Clock}
	l := newLoop(t, fake, loop.Clock(b.clock))
	start := b.clock()
	var fired []time.Duration
	arm := func(d time.Duration) {
		l.AfterFunc(d, func() { fired = append(fired, since(b, start)) })
	}
	l.AfterFunc(time.Second, func() {
		b.work(10 * time.Second)
		arm(2 * time.Second)
		b.work(5 * time.Second)
		arm(time.Second)
	})
	l.AfterFunc(time.Minute, l.Stop)
	run(t, l)
	if want := []time.Duration{17 * time.Second, 18 * time.Second}; !slices.Equal(fired, want) {
		t.Errorf("fired after %v, want %v", fired, want)
	}
}

func TestAMillionResetsInACallbackTakeNoMemory(t *testing.T) {
	l, _ := simulated(t)
	timer := l.AfterFunc(time.Hour, func() { t.Error("fired") })
	again := func() {
		for range 1_000_000 {
			timer.Reset(time.Hour)
		}
	}
	l.Post(again)
	turn(t, l)
	if n := testing.AllocsPerRun(3, func() {
		l.Post(again)
		turn(t, l)
	}); n > 10 { // those of Run
		t.Errorf("%v allocations", n)
	}
	timer.Stop()
}

func TestNilFunctionsAreRefusedAtOnce(t *testing.T) {
	l, _ := simulated(t)
	for name, call := range map[string]func(){
		"AfterFunc": func() { l.AfterFunc(0, nil) },
		"Every":     func() { l.Every(1, nil) },
		"Watch":     func() { l.Watch(0, mux.Readable, nil) },
		"Post":      func() { l.Post(nil) },
		"Notify":    func() { l.Notify(nil) },
	} {
		func() {
			defer func() {
				if got, want := recover(), "loop: "+name+" of a nil function"; got != want {
					t.Errorf("%s panics with %v, want %q", name, got, want)
				}
			}()
			call()
		}()
	}
}

func TestNoTimerIsArmedAfterClose(t *testing.T) {
	l, _ := simulated(t)
	before := l.AfterFunc(time.Hour, func() {})
	must(t, l.Close())
	after := l.AfterFunc(time.Hour, func() {})
	for name, timer := range map[string]*loop.Timer{"armed before": before, "armed after": after} {
		if timer.Reset(time.Hour) || timer.Stop() {
			t.Errorf("the timer that was %s Close is armed", name)
		}
	}
}

func TestBetweenRunsNowIsTheTime(t *testing.T) {
	_, fake := simulated(t)
	b := &busy{now: fake.Clock}
	l := newLoop(t, fake, loop.Clock(b.clock))
	for range 2 {
		b.work(time.Minute)
		if got := l.Now(); !got.Equal(b.clock()) {
			t.Errorf("Now is %v at %v", got, b.clock())
		}
		turn(t, l)
	}
}

func TestEveryLeavesOutWhatItMissesAfterAPanicToo(t *testing.T) {
	_, fake := simulated(t)
	b := &busy{now: fake.Clock}
	l := newLoop(t, fake, loop.Clock(b.clock))
	start := b.clock()
	var ticks []time.Duration
	l.AfterFunc(10*time.Second, func() { panic("in the same turn, before the first tick") })
	l.Every(10*time.Second, func() { ticks = append(ticks, since(b, start)) })
	func() {
		defer func() { recover() }()
		l.Run(context.Background())
	}()
	b.work(95 * time.Second)
	l.AfterFunc(10*time.Second, l.Stop)
	run(t, l)
	if want := []time.Duration{105 * time.Second, 110 * time.Second}; !slices.Equal(ticks, want) {
		t.Errorf("ticks after %v, want %v", ticks, want)
	}
}

func TestOutsideRunATimerCountsFromItsArming(t *testing.T) {
	_, fake := simulated(t)
	b := &busy{now: fake.Clock}
	l := newLoop(t, fake, loop.Clock(b.clock))
	start := b.clock()
	for range 2 { // before the first Run and after one
		armed := b.clock()
		l.AfterFunc(10*time.Second, func() {
			if got, want := since(b, start), armed.Sub(start)+10*time.Second; got != want {
				t.Errorf("fired after %v, want %v", got, want)
			}
			l.Stop()
		})
		b.work(7 * time.Second)
		run(t, l)
	}
}

func TestATurnLooksAtTheClockOnceForAllTimersThatAreArmed(t *testing.T) {
	_, fake := simulated(t)
	looks := 0
	l := newLoop(t, fake, loop.Clock(func() time.Time { looks++; return fake.Clock() }))
	cost := func(timers int) int {
		before := looks
		l.Post(func() {
			for range timers {
				l.AfterFunc(time.Second, func() {}).Reset(time.Hour)
			}
		})
		turn(t, l)
		return looks - before
	}
	if one, many := cost(1), cost(1000); one != many {
		t.Errorf("a turn that arms a timer looks %d times, one that arms 1,000 looks %d times", one, many)
	}
}

func TestAZeroDelayInACallbackIsForTheNextTurn(t *testing.T) {
	for _, d := range []time.Duration{0, -1, math.MinInt64} {
		l, fake := simulated(t)
		var d_ diary
		fake.Set(1, mux.Readable)
		w := watch(t, l, 1, mux.Readable, func(mux.Event) {
			d_.note("ready")()
			if len(d_) == 1 {
				l.AfterFunc(d, d_.note("armed by ready"))
			}
		})
		l.AfterFunc(0, func() {
			d_.note("first")()
			l.AfterFunc(d, func() {
				d_.note("armed by first")()
				w.Stop()
				l.AfterFunc(d, func() {
					d_.note("armed by second")()
					l.Stop()
				})
			})
		})
		l.AfterFunc(0, d_.note("sibling of first"))
		run(t, l)
		d_.expect(t, "ready", "first", "sibling of first",
			"ready", "armed by ready", "armed by first",
			"armed by second")
	}
}

func TestDelaysBelowZeroAreZero(t *testing.T) {
	l, _ := simulated(t)
	var d diary
	for _, delay := range []time.Duration{0, -time.Hour, math.MinInt64, 0} {
		l.AfterFunc(delay, d.note("%d", delay))
	}
	l.AfterFunc(0, l.Stop)
	run(t, l)
	d.expect(t, "0", "-3600000000000", "-9223372036854775808", "0")
}

func TestZeroDelaysDoNotKeepIOFromRunning(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		var again func()
		again = func() { l.AfterFunc(0, again) }
		again()
		watch(t, l, readable(t), mux.Readable, func(mux.Event) { l.Stop() })
		run(t, l)
	})
}

func TestTimerStop(t *testing.T) {
	stop := func(t *testing.T, timer *loop.Timer, want bool) {
		t.Helper()
		if got := timer.Stop(); got != want {
			t.Errorf("Stop() = %v, want %v", got, want)
		}
	}
	t.Run("before it is due", func(t *testing.T) {
		l, _ := simulated(t)
		timer := l.AfterFunc(time.Second, func() { t.Error("it fired") })
		stop(t, timer, true)
		stop(t, timer, false)
		l.AfterFunc(time.Hour, l.Stop)
		run(t, l)
	})
	t.Run("by a sibling that is due with it", func(t *testing.T) {
		l, _ := simulated(t)
		var timer *loop.Timer
		l.AfterFunc(time.Second, func() { stop(t, timer, true); stop(t, timer, false) })
		timer = l.AfterFunc(time.Second, func() { t.Error("it fired") })
		l.AfterFunc(time.Hour, l.Stop)
		run(t, l)
	})
	t.Run("by a descriptor that is ready in the turn", func(t *testing.T) {
		l, fake := simulated(t)
		timer := l.AfterFunc(time.Second, func() { t.Error("it fired") })
		watch(t, l, 1, mux.Readable|mux.Oneshot, func(mux.Event) { stop(t, timer, true) })
		fake.At(time.Second, func() { fake.Set(1, mux.Readable) })
		l.AfterFunc(time.Hour, l.Stop)
		run(t, l)
	})
	t.Run("in its own callback", func(t *testing.T) {
		l, _ := simulated(t)
		var timer *loop.Timer
		timer = l.AfterFunc(time.Second, func() { stop(t, timer, false); l.Stop() })
		run(t, l)
	})
	t.Run("after it has fired", func(t *testing.T) {
		l, _ := simulated(t)
		timer := l.AfterFunc(time.Second, l.Stop)
		run(t, l)
		stop(t, timer, false)
	})
}

func TestTimerReset(t *testing.T) {
	reset := func(t *testing.T, timer *loop.Timer, d time.Duration, want bool) {
		t.Helper()
		if got := timer.Reset(d); got != want {
			t.Errorf("Reset(%v) = %v, want %v", d, got, want)
		}
	}
	firesAt := func(t *testing.T, d ...time.Duration) (*loop.Loop, func()) {
		l, fake := simulated(t)
		start := fake.Clock()
		t.Cleanup(func() {
			if len(d) != 0 {
				t.Errorf("did not fire at %v", d)
			}
		})
		l.AfterFunc(time.Hour, l.Stop)
		return l, func() {
			now := l.Now().Sub(start)
			if len(d) == 0 {
				t.Fatalf("fired at %v too", now)
			}
			if now != d[0] {
				t.Errorf("fired at %v, want %v", now, d[0])
			}
			d = d[1:]
		}
	}
	t.Run("to later", func(t *testing.T) {
		l, fire := firesAt(t, 3*time.Second)
		timer := l.AfterFunc(time.Second, fire)
		reset(t, timer, 3*time.Second, true)
		run(t, l)
	})
	t.Run("to sooner", func(t *testing.T) {
		l, fire := firesAt(t, time.Second)
		timer := l.AfterFunc(3*time.Second, fire)
		reset(t, timer, time.Second, true)
		run(t, l)
	})
	t.Run("by a sibling that is due with it", func(t *testing.T) {
		l, fire := firesAt(t, 3*time.Second)
		var timer *loop.Timer
		l.AfterFunc(time.Second, func() { reset(t, timer, 2*time.Second, true) })
		timer = l.AfterFunc(time.Second, fire)
		run(t, l)
	})
	t.Run("to nothing by a sibling that is due with it, once more", func(t *testing.T) {
		l, fire := firesAt(t, time.Second)
		var timer *loop.Timer
		l.AfterFunc(time.Second, func() {
			reset(t, timer, 0, true)
			reset(t, timer, 0, true)
		})
		timer = l.AfterFunc(time.Second, fire)
		run(t, l)
	})
	t.Run("in its own callback", func(t *testing.T) {
		l, fire := firesAt(t, time.Second, 3*time.Second)
		var timer *loop.Timer
		again := true
		timer = l.AfterFunc(time.Second, func() {
			fire()
			if again {
				again = false
				reset(t, timer, 2*time.Second, false)
			}
		})
		run(t, l)
	})
	t.Run("after it has fired, and after Stop", func(t *testing.T) {
		l, fire := firesAt(t, time.Second, 3*time.Second, 5*time.Second)
		timer := l.AfterFunc(time.Second, fire)
		l.AfterFunc(2*time.Second, func() { reset(t, timer, time.Second, false) })
		l.AfterFunc(4*time.Second, func() {
			timer.Reset(2 * time.Second)
			timer.Stop()
			reset(t, timer, time.Second, false)
		})
		run(t, l)
	})
}

func TestAMillionTimers(t *testing.T) {
	l, fake := simulated(t)
	start := fake.Clock()
	const count = 1_000_000
	timers := make([]*loop.Timer, count)
	fired, last := 0, time.Duration(0)
	for i := range timers {
		d := time.Duration(rand.Int64N(1000)) * time.Second
		timers[i] = l.AfterFunc(d, func() {
			if d < last || l.Now().Sub(start) != d {
				t.Fatalf("the timer of %v fired at %v after that of %v", d, l.Now().Sub(start), last)
			}
			last = d
			fired++
		})
	}
	stopped := 0
	for i := 0; i < count; i += 3 {
		if !timers[i].Stop() {
			t.Fatal("an armed timer was not")
		}
		stopped++
	}
	l.AfterFunc(1000*time.Second, l.Stop)
	run(t, l)
	if fired != count-stopped {
		t.Errorf("%d timers fired, want %d", fired, count-stopped)
	}
}

func TestAnEndlessDelayIsNeverOver(t *testing.T) {
	l, fake := simulated(t)
	fake.Set(1, mux.Readable)
	l.AfterFunc(time.Hour, func() {
		l.AfterFunc(math.MaxInt64, func() { t.Error("it fired") })
		l.AfterFunc(math.MaxInt64-1, func() { t.Error("it fired") })
		l.AfterFunc(time.Hour, l.Stop)
	})
	run(t, l)
}

func TestEveryKeepsItsIntervalForAnHour(t *testing.T) {
	l, fake := simulated(t)
	start := fake.Clock()
	const period = 77 * time.Millisecond
	calls := 0
	l.Every(period, func() {
		calls++
		if got, want := l.Now().Sub(start), time.Duration(calls)*period; got != want {
			t.Fatalf("call %d at %v, want %v", calls, got, want)
		}
	})
	l.Every(50*time.Millisecond, func() {}) // turns in between
	l.AfterFunc(time.Hour, l.Stop)
	run(t, l)
	if want := int(time.Hour / period); calls != want {
		t.Errorf("%d calls, want %d", calls, want)
	}
}

func TestEveryLeavesOutWhatItMissesAndKeepsItsBeat(t *testing.T) {
	_, fake := simulated(t)
	b := &busy{now: fake.Clock}
	l := newLoop(t, fake, loop.Clock(b.clock))
	start := b.clock()
	var calls []time.Duration
	l.Every(10*time.Millisecond, func() {
		calls = append(calls, since(b, start))
		switch len(calls) {
		case 1:
			b.work(25 * time.Millisecond) // past the beats at 20 and 30
		case 3:
			b.work(time.Hour)
		case 6:
			l.Stop()
		}
	})
	run(t, l)
	const ms = time.Millisecond
	want := []time.Duration{10 * ms, 35 * ms, 40 * ms, time.Hour + 40*ms, time.Hour + 50*ms, time.Hour + 60*ms}
	for i := range want {
		if calls[i] != want[i] {
			t.Fatalf("calls at %v\nwant     %v", calls, want)
		}
	}
}

func TestEveryStopAndReset(t *testing.T) {
	l, fake := simulated(t)
	start := fake.Clock()
	var calls []time.Duration
	var timer *loop.Timer
	timer = l.Every(time.Second, func() {
		calls = append(calls, l.Now().Sub(start))
		switch len(calls) {
		case 2:
			if !timer.Reset(10 * time.Second) {
				t.Error("Reset in a callback of Every says that it was not armed")
			}
		case 4:
			if !timer.Stop() || timer.Stop() {
				t.Error("Stop in a callback of Every does not say that it was armed until then")
			}
		}
	})
	l.AfterFunc(time.Minute, func() { timer.Reset(5 * time.Second) })
	l.AfterFunc(71*time.Second, l.Stop)
	run(t, l)
	want := []time.Duration{1, 2, 12, 22, 65, 70}
	for i := range want {
		if len(calls) != len(want) || calls[i] != want[i]*time.Second {
			t.Fatalf("calls at %v, want seconds %d", calls, want)
		}
	}
}

func TestEveryRefusesAnIntervalThatIsNotPositive(t *testing.T) {
	l, _ := simulated(t)
	const message = "loop: interval of Every must be positive"
	timer := l.Every(time.Second, l.Stop)
	for _, d := range []time.Duration{0, -1} {
		if got := panics(t, func() { l.Every(d, func() {}) }); got != message {
			t.Errorf("Every(%v): panic %v", d, got)
		}
		if got := panics(t, func() { timer.Reset(d) }); got != message {
			t.Errorf("Reset(%v): panic %v", d, got)
		}
	}
	run(t, l) // the timer is as it was
}

func TestNowIsReadOnceATurn(t *testing.T) {
	_, fake := simulated(t)
	b := &busy{now: fake.Clock}
	l := newLoop(t, fake, loop.Clock(b.clock))
	start := b.clock()
	fake.Set(1, mux.Readable)
	turns := 0
	watch(t, l, 1, mux.Readable, func(mux.Event) {
		if got, want := l.Now().Sub(start), time.Duration(turns)*time.Minute; got != want {
			t.Errorf("turn %d: Now is %v, want %v", turns, got, want)
		}
		b.work(time.Minute)
		if got, want := l.Now().Sub(start), time.Duration(turns)*time.Minute; got != want {
			t.Errorf("turn %d: Now is %v after work, want %v still", turns, got, want)
		}
		if turns++; turns == 3 {
			l.Stop()
		}
	})
	run(t, l)
}

func TestTimersOfManyRunsGoOn(t *testing.T) {
	l, _ := simulated(t)
	var d diary
	l.AfterFunc(2*time.Second, d.note("timer"))
	l.AfterFunc(time.Second, l.Stop)
	run(t, l)
	d.expect(t)
	l.AfterFunc(2*time.Second, l.Stop)
	must(t, l.Run(context.Background()))
	d.expect(t, "timer")
}
