package loop_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"iomux/mux"
	"iomux/mux/loop"
)

func TestATurnRunsReadinessThenTimersThenPostedWork(t *testing.T) {
	l, fake := simulated(t)
	var d diary
	watch(t, l, 1, mux.Readable|mux.Oneshot, func(mux.Event) {
		d.note("ready")()
		l.Post(d.note("posted by ready"))
	})
	l.AfterFunc(time.Second, func() {
		d.note("timer")()
		l.Post(d.note("posted by timer"))
	})
	fake.At(time.Second, func() {
		l.Post(d.note("posted"))
		fake.Set(1, mux.Readable)
	})
	l.AfterFunc(2*time.Second, func() {
		d.note("next turn")()
		l.Stop()
	})
	run(t, l)
	d.expect(t, "ready", "timer", "posted", "posted by ready", "posted by timer", "next turn")
}

func TestPostWakesTheLoop(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		go func() {
			defer l.Stop()
			for range 500 {
				done := make(chan struct{})
				l.Post(func() { close(done) })
				<-done
			}
		}()
		run(t, l)
	})
}

func TestPostKeepsOrder(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		const posters, posts = 4, 500
		var next [posters]int
		left := posters
		for p := range posters {
			go func() {
				for i := range posts {
					l.Post(func() {
						if next[p] != i {
							t.Errorf("poster %d: post %d ran in place %d", p, i, next[p])
						}
						if next[p]++; next[p] < posts {
							return
						}
						if left--; left == 0 {
							l.Stop()
						}
					})
				}
			}()
		}
		run(t, l)
	})
}

func TestPostFromPostedWorkIsForTheNextTurn(t *testing.T) {
	l, _ := simulated(t)
	var d diary
	l.Post(func() {
		d.note("first")()
		l.AfterFunc(0, d.note("timer of first"))
		l.Post(func() {
			d.note("third")()
			l.AfterFunc(0, d.note("timer of third"))
			l.Post(func() {
				d.note("fourth")()
				l.Stop()
			})
		})
	})
	l.Post(d.note("second"))
	run(t, l)
	d.expect(t, "first", "second", "timer of first", "third", "timer of third", "fourth")
}

func TestEndlessPostsDoNotKeepIOAndTimersFromRunning(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		var again func()
		again = func() { l.Post(again) }
		again()
		ready, due := false, false
		watch(t, l, readable(t), mux.Readable, func(mux.Event) {
			if ready = true; due {
				l.Stop()
			}
		})
		l.AfterFunc(time.Millisecond, func() { due = true })
		run(t, l)
		if !ready || !due {
			t.Errorf("ready %v, due %v", ready, due)
		}
	})
}

func TestPostBeforeRunAndBetweenRuns(t *testing.T) {
	l, _ := simulated(t)
	var d diary
	l.Post(d.note("before"))
	l.Post(l.Stop)
	run(t, l)
	l.Post(d.note("between"))
	l.Post(l.Stop)
	run(t, l)
	d.expect(t, "before", "between")
}

func TestStopEndsRunAtTheEndOfTheTurn(t *testing.T) {
	l, fake := simulated(t)
	var d diary
	for fd := range 2 {
		fake.Set(fd, mux.Readable)
		watch(t, l, fd, mux.Readable, func(mux.Event) {
			d.note("ready")()
			l.Stop()
		})
	}
	l.AfterFunc(0, d.note("timer"))
	l.AfterFunc(time.Second, func() { t.Error("the loop went on") })
	run(t, l)
	d.expect(t, "ready", "ready", "timer")
}

func TestWhatIsPostedBeforeStopRunsBeforeRunReturns(t *testing.T) {
	t.Run("from posted work", func(t *testing.T) {
		l, _ := simulated(t)
		var d diary
		l.Post(func() {
			l.Post(d.note("posted"))
			l.Stop()
		})
		run(t, l)
		d.expect(t, "posted")
	})
	t.Run("from elsewhere", func(t *testing.T) {
		eachBackend(t, func(t *testing.T, l *loop.Loop) {
			for i := range 300 {
				ran := false
				go func() {
					l.Post(func() { ran = true })
					l.Stop()
				}()
				if run(t, l); !ran {
					t.Fatalf("run %d returned first", i)
				}
			}
		})
	})
}

func TestEndlessPostsDoNotKeepStopFromEndingRun(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		var again func()
		again = func() { l.Post(again) }
		again()
		go l.Stop()
		run(t, l)
	})
}

func TestStopFromElsewhere(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		for range 100 {
			go l.Stop()
			run(t, l)
		}
	})
}

func TestStopBeforeRunEndsOneRun(t *testing.T) {
	l, _ := simulated(t)
	l.Stop()
	l.Stop()
	fired := false
	l.AfterFunc(time.Second, func() { fired = true; l.Stop() })
	run(t, l)
	if fired {
		t.Error("Run did not return at once")
	}
	run(t, l)
	if !fired {
		t.Error("two calls of Stop ended two runs")
	}
}

func TestContextThatIsDoneEndsRunWithItsError(t *testing.T) {
	t.Run("before Run", func(t *testing.T) {
		l, _ := simulated(t)
		l.Post(func() { t.Error("posted work ran") })
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := l.Run(ctx); err != context.Canceled {
			t.Errorf("Run: %v", err)
		}
	})
	t.Run("in a callback", func(t *testing.T) {
		l, _ := simulated(t)
		ctx, cancel := context.WithCancel(context.Background())
		var d diary
		l.AfterFunc(time.Second, cancel)
		l.AfterFunc(time.Second, d.note("rest of the turn"))
		l.AfterFunc(2*time.Second, d.note("next turn"))
		if err := l.Run(ctx); err != context.Canceled {
			t.Errorf("Run: %v", err)
		}
		d.expect(t, "rest of the turn")
	})
	t.Run("from elsewhere", func(t *testing.T) {
		eachBackend(t, func(t *testing.T, l *loop.Loop) {
			for range 100 {
				ctx, cancel := context.WithCancel(context.Background())
				go cancel()
				if err := l.Run(ctx); err != context.Canceled {
					t.Errorf("Run: %v", err)
				}
			}
		})
	})
	t.Run("by its deadline", func(t *testing.T) {
		eachBackend(t, func(t *testing.T, l *loop.Loop) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			if err := l.Run(ctx); err != context.DeadlineExceeded {
				t.Errorf("Run: %v", err)
			}
		})
	})
	t.Run("with a cause", func(t *testing.T) {
		l, _ := simulated(t)
		ctx, cancel := context.WithCancelCause(context.Background())
		l.AfterFunc(time.Second, func() { cancel(errors.New("enough")) })
		if err := l.Run(ctx); err != context.Canceled {
			t.Errorf("Run: %v", err)
		}
	})
	t.Run("of a type that cannot be compared", func(t *testing.T) {
		l, _ := simulated(t)
		parent, cancel := context.WithCancel(context.Background())
		l.AfterFunc(time.Second, cancel)
		ctx := struct {
			context.Context
			_ []int
		}{Context: parent}
		if err := l.Run(ctx); err != context.Canceled {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestContextOfAnEarlierRunEndsNoLaterOne(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		for range 100 {
			ctx, cancel := context.WithCancel(context.Background())
			l.Stop()
			go cancel()
			if err := l.Run(ctx); err != nil && err != context.Canceled {
				t.Fatalf("Run: %v", err)
			} else if err != nil {
				turn(t, l) // takes back the Stop that came second
			}
			l.Post(l.Stop)
			run(t, l)
		}
	})
}

// patient is a context that tells when a function is taken back that was to be
// called when it is done.
type patient struct {
	context.Context
	done      chan struct{}
	takenBack bool
}

func (p *patient) Done() <-chan struct{} { return p.done }

func (p *patient) AfterFunc(func()) (stop func() bool) {
	return func() bool { p.takenBack = true; return true }
}

func TestRunLeavesNothingBehindInItsContext(t *testing.T) {
	l, _ := simulated(t)
	ctx := &patient{Context: context.Background(), done: make(chan struct{})}
	l.Stop()
	must(t, l.Run(ctx))
	if !ctx.takenBack {
		t.Error("the context still calls the loop when it is done")
	}
}

func TestWhatHasRunIsLetGo(t *testing.T) {
	l, _ := simulated(t)
	const count = 3
	collected := make(chan struct{}, 2*count)
	heavy := func() func() {
		data := new([1 << 10]byte)
		runtime.AddCleanup(data, func(struct{}) { collected <- struct{}{} }, struct{}{})
		return func() { data[0]++ }
	}
	for range count {
		l.AfterFunc(time.Second, heavy())
		l.Post(heavy())
	}
	l.AfterFunc(2*time.Second, l.Stop)
	run(t, l)
	for range 2 * count {
		runtime.GC()
		select {
		case <-collected:
		case <-time.After(20 * time.Second):
			t.Fatal("the loop keeps a callback that has run")
		}
	}
	runtime.KeepAlive(l)
}

func TestRunWhileRunning(t *testing.T) {
	l, _ := simulated(t)
	var d diary
	l.Post(func() {
		if err := l.Run(context.Background()); err != loop.ErrRunning {
			t.Errorf("Run in a callback: %v", err)
		}
	})
	l.AfterFunc(time.Second, d.note("it goes on"))
	l.AfterFunc(2*time.Second, l.Stop)
	run(t, l)
	d.expect(t, "it goes on")
}

func TestRunReturnsTheErrorOfTheMux(t *testing.T) {
	l, _ := simulated(t)
	var d diary
	if err := l.Run(context.Background()); !errors.Is(err, syscall.EDEADLK) {
		t.Fatalf("Run: %v", err)
	}
	l.AfterFunc(time.Second, d.note("it goes on"))
	l.AfterFunc(time.Second, l.Stop)
	run(t, l)
	d.expect(t, "it goes on")
}

// A panic in any kind of callback leaves Run; everything else that the turn has
// found runs when Run is called again, once.
func TestAPanicLosesNothingAndRepeatsNothing(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		const each = 3
		runs := make(map[string]int)
		callback := func(name string) func() {
			return func() {
				runs[name]++
				panic(name)
			}
		}
		names := func(kind string, i int) string { return kind + " " + string(rune('0'+i)) }
		for i := range each {
			ready := callback(names("ready", i))
			watch(t, l, readable(t), mux.Readable|mux.Oneshot, func(mux.Event) { ready() })
			l.AfterFunc(0, callback(names("timer", i)))
			l.Post(callback(names("posted", i)))
		}
		every := 0
		var timer *loop.Timer
		timer = l.Every(time.Millisecond, func() {
			if every++; every == 3 {
				timer.Stop()
			}
			panic("every")
		})
		more := 0
		for range 3*each + 3 {
			l.Post(func() { more++ })
			panics(t, func() { l.Run(context.Background()) })
		}
		turn(t, l)
		if more != 3*each+3 {
			t.Errorf("%d of %d posts in between ran", more, 3*each+3)
		}
		for _, kind := range []string{"ready", "timer", "posted"} {
			for i := range each {
				if name := names(kind, i); runs[name] != 1 {
					t.Errorf("%s ran %d times: %v", name, runs[name], runs)
				}
			}
		}
		if every != 3 {
			t.Errorf("the timer of Every ran %d times", every)
		}

		// The Mux is usable, too.
		fd := readable(t)
		watch(t, l, fd, mux.Readable, func(mux.Event) { l.Stop() })
		run(t, l)
		must(t, l.Close())
	})
}

func TestGoexitInACallbackEndsRunLikeAPanic(t *testing.T) {
	l, _ := simulated(t)
	var d diary
	l.Post(runtime.Goexit)
	l.Post(d.note("posted"))
	l.Post(l.Stop)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		l.Run(context.Background())
	}()
	<-gone
	run(t, l)
	d.expect(t, "posted")
}

func TestBatchSizeMustBePositive(t *testing.T) {
	for _, n := range []int{0, -1} {
		if got := panics(t, func() { loop.BatchSize(n) }); got != "loop: BatchSize must be positive" {
			t.Errorf("BatchSize(%d): panic %v", n, got)
		}
	}
}

// counting is a Mux that counts its waits by kind.
type counting struct {
	mux.Mux
	room          int
	polls, blocks int
	blocking      func() // called before each wait that may block
}

func (c *counting) Wait(events []mux.Event, timeout time.Duration) (int, error) {
	c.room = len(events)
	if timeout == 0 {
		c.polls++
	} else {
		c.blocks++
		if c.blocking != nil {
			c.blocking()
		}
	}
	return c.Mux.Wait(events, timeout)
}

func eachCounting(t *testing.T, test func(t *testing.T, l *loop.Loop, c *counting), opts ...loop.Option) {
	for _, name := range mux.Backends() {
		t.Run(name, func(t *testing.T) {
			m, err := mux.Open(name)
			must(t, err)
			c := &counting{Mux: m}
			test(t, newLoop(t, c, opts...), c)
		})
	}
}

func TestBatchSizeIsTheRoomOfAWait(t *testing.T) {
	for opt, want := range map[int]int{0: 128, 1: 1, 1000: 1000} {
		var opts []loop.Option
		if opt > 0 {
			opts = append(opts, loop.BatchSize(opt))
		}
		eachCounting(t, func(t *testing.T, l *loop.Loop, c *counting) {
			l.AfterFunc(0, l.Stop)
			if run(t, l); c.room != want {
				t.Errorf("a batch has %d events, want %d", c.room, want)
			}
		}, opts...)
	}
}

func TestASmallBatchServesEveryDescriptor(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		served := make(map[int]bool)
		const count = 20
		for range count {
			fd := readable(t)
			watch(t, l, fd, mux.Readable, func(mux.Event) {
				if served[fd] = true; len(served) == count {
					l.Stop()
				}
			})
		}
		run(t, l)
	}, loop.BatchSize(3))
}

func TestWithoutSpinALoopOnlyBlocks(t *testing.T) {
	eachCounting(t, func(t *testing.T, l *loop.Loop, c *counting) {
		c.blocking = func() { l.Stop() }
		run(t, l)
		if c.polls != 0 || c.blocks != 1 {
			t.Errorf("%d polls and %d waits that may block, want 0 and 1", c.polls, c.blocks)
		}
	})
}

func TestSpinDelaysNoTimer(t *testing.T) {
	eachCounting(t, func(t *testing.T, l *loop.Loop, c *counting) {
		l.AfterFunc(2*time.Millisecond, l.Stop)
		run(t, l) // would take an hour
		if c.blocks != 0 || c.polls < 2 {
			t.Errorf("%d polls and %d waits that may block: it did not spin", c.polls, c.blocks)
		}
	}, loop.Spin(time.Hour))
}

func TestSpinBlocksWhenNothingHappens(t *testing.T) {
	const spin = 500 * time.Microsecond
	eachCounting(t, func(t *testing.T, l *loop.Loop, c *counting) {
		start := time.Now()
		c.blocking = func() {
			if took := time.Since(start); took < spin {
				t.Errorf("blocked after %v, want no less than %v", took, spin)
			}
			l.Stop()
		}
		run(t, l) // would never end
		if c.polls == 0 || c.blocks != 1 {
			t.Errorf("%d polls and %d waits that may block", c.polls, c.blocks)
		}
	}, loop.Spin(spin))
}

func TestSpinHearsEverything(t *testing.T) {
	stir := map[string]func(l *loop.Loop, write, cancel func()){
		"descriptor": func(l *loop.Loop, write, cancel func()) { write() },
		"Post":       func(l *loop.Loop, write, cancel func()) { l.Post(l.Stop) },
		"Stop":       func(l *loop.Loop, write, cancel func()) { l.Stop() },
		"context":    func(l *loop.Loop, write, cancel func()) { cancel() },
	}
	for name, stir := range stir {
		t.Run(name, func(t *testing.T) {
			eachCounting(t, func(t *testing.T, l *loop.Loop, c *counting) {
				r, w := pipe(t)
				watch(t, l, r, mux.Readable, func(mux.Event) {
					read(t, r)
					l.Stop()
				})
				for range 20 {
					ctx, cancel := context.WithCancel(context.Background())
					go stir(l, func() { write(t, w) }, cancel)
					if err := l.Run(ctx); err != nil && err != context.Canceled {
						t.Fatal(err)
					}
					cancel()
				}
				if c.blocks != 0 {
					t.Errorf("%d waits that may block", c.blocks)
				}
			}, loop.Spin(time.Hour))
		})
	}
}

func TestPostAndStopFromManyGoroutines(t *testing.T) {
	for name, opts := range map[string][]loop.Option{
		"blocking": nil,
		"spinning": {loop.Spin(50 * time.Microsecond)},
	} {
		t.Run(name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, l *loop.Loop) {
				const goroutines, posts = 8, 200
				ran := 0
				var all sync.WaitGroup
				for g := range goroutines {
					all.Go(func() {
						for i := range posts {
							l.Post(func() { ran++ })
							if (g+i)%16 == 0 {
								l.Stop()
							}
						}
					})
				}
				over := false
				go func() {
					all.Wait()
					l.Post(func() { over = true })
					l.Stop()
				}()
				for !over {
					run(t, l)
				}
				if ran != goroutines*posts {
					t.Errorf("%d posts ran, want %d", ran, goroutines*posts)
				}
			}, opts...)
		})
	}
}

func TestATurnAllocatesNothing(t *testing.T) {
	for name, opts := range map[string][]loop.Option{
		"blocking": nil,
		"spinning": {loop.Spin(time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, l *loop.Loop) {
				turns := 0
				posted := func() {
					if turns--; turns == 0 {
						l.Stop()
					}
				}
				var timer *loop.Timer
				timer = l.AfterFunc(0, func() {
					timer.Reset(0)
					l.Post(posted)
				})
				l.Every(time.Microsecond, func() {})
				var w *loop.Watch
				w = watch(t, l, readable(t), mux.Readable|mux.Oneshot, func(mux.Event) { w.Set(mux.Readable | mux.Oneshot) })
				for range 20 {
					watch(t, l, readable(t), mux.Readable, func(mux.Event) {})
				}
				ctx := context.Background()
				cost := func(n int) float64 {
					return testing.AllocsPerRun(10, func() {
						turns = n
						if err := l.Run(ctx); err != nil {
							t.Error(err)
						}
					})
				}
				if few, many := cost(1), cost(500); many != few {
					t.Errorf("a run of 1 turn allocates %v times and one of 500 turns %v times", few, many)
				}
			}, opts...)
		})
	}
}

func TestAfterCloseTheLoopRefusesAndForgets(t *testing.T) {
	l, _ := simulated(t)
	timer := l.AfterFunc(time.Second, func() { t.Error("the timer fired") })
	l.Post(func() { t.Error("posted work ran") })
	w := watch(t, l, 1, mux.Readable, func(mux.Event) {})
	must(t, l.Close())
	l.Post(func() { t.Error("posted work ran") })
	l.Stop()
	if timer.Stop() {
		t.Error("the timer is still armed")
	}
	if err := l.Run(context.Background()); err != os.ErrClosed {
		t.Errorf("Run: %v", err)
	}
	if _, err := l.Watch(2, mux.Readable, func(mux.Event) {}); err != os.ErrClosed {
		t.Errorf("Watch: %v", err)
	}
	if err := w.Set(mux.Readable); err != os.ErrClosed {
		t.Errorf("Set: %v", err)
	}
	must(t, w.Stop())
	before := runtime.NumGoroutine()
	l.Notify(func(os.Signal) {}, syscall.SIGUSR1)
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("Notify starts %d goroutines", n-before)
	}
	if err := l.Close(); err != os.ErrClosed {
		t.Errorf("Close: %v", err)
	}
}
