package loop_test

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/mux"
	"iomux/mux/loop"
)

func TestWatchCallsWhenReadyUntilDrained(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		r, w := pipe(t)
		calls := 0
		watch(t, l, r, mux.Readable, func(ev mux.Event) {
			if ev.Ready != mux.Readable {
				t.Errorf("ready: %v", ev.Ready)
			}
			if calls++; calls == 3 {
				read(t, r)
			}
		})
		turn(t, l)
		if calls != 0 {
			t.Errorf("called %d times for an empty pipe", calls)
		}
		write(t, w)
		for range 5 {
			l.AfterFunc(0, l.Stop) // so that the turn has a Wait
			run(t, l)
		}
		if calls != 3 {
			t.Errorf("called %d times, want 3", calls)
		}
	})
}

func TestAHandlerStoppedByASiblingInTheSameBatchIsNotCalled(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		var watches [5]*loop.Watch
		calls := 0
		for i := range watches {
			watches[i] = watch(t, l, readable(t), mux.Readable, func(mux.Event) {
				calls++
				for other, w := range watches {
					if other != i {
						must(t, w.Stop())
					}
				}
				l.Stop()
			})
		}
		run(t, l)
		if calls != 1 {
			t.Errorf("%d handlers were called, want one", calls)
		}
	})
}

func TestANumberClosedAndReusedInACallbackGetsNoStaleEvent(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		// Two are ready in one batch; whichever is called replaces the other.
		var fds [2]int
		var watches [2]*loop.Watch
		var second *loop.Watch
		calls, fresh := 0, 0
		r, w := pipe(t)
		for i := range fds {
			fds[i] = readable(t)
			watches[i] = watch(t, l, fds[i], mux.Readable, func(mux.Event) {
				calls++
				other := 1 - i
				must(t, watches[other].Stop())
				must(t, unix.Close(fds[other]))
				must(t, unix.Dup3(r, fds[other], unix.O_CLOEXEC))
				second = watch(t, l, fds[other], mux.Readable, func(mux.Event) { fresh++; l.Stop() })
				must(t, watches[i].Stop())
				l.Stop()
			})
		}
		run(t, l)
		l.AfterFunc(0, l.Stop)
		run(t, l)
		if calls != 1 || fresh != 0 {
			t.Fatalf("%d of the old handlers were called, want one; the new one %d times, want none", calls, fresh)
		}
		must(t, watches[0].Stop()) // neither has anything to do with the new one,
		must(t, watches[1].Stop()) // though it has the place of one of them
		write(t, w)
		run(t, l)
		if fresh != 1 {
			t.Errorf("the new handler was called %d times, want once", fresh)
		}
		must(t, second.Stop())
	})
}

func TestWatchInsideACallback(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		depth := 0
		var descend func(mux.Event)
		descend = func(mux.Event) {
			if depth++; depth == 50 {
				l.Stop()
				return
			}
			watch(t, l, readable(t), mux.Readable|mux.Oneshot, descend)
		}
		watch(t, l, readable(t), mux.Readable|mux.Oneshot, descend)
		run(t, l)
		if depth != 50 {
			t.Errorf("%d handlers were called, want 50", depth)
		}
	})
}

func TestAWatchMayStopItself(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		calls := 0
		fd := readable(t)
		var w *loop.Watch
		w = watch(t, l, fd, mux.Readable, func(mux.Event) {
			calls++
			must(t, w.Stop())
			must(t, w.Stop())
		})
		for range 3 {
			l.AfterFunc(0, l.Stop)
			run(t, l)
		}
		if calls != 1 {
			t.Errorf("called %d times, want once", calls)
		}
		if err := w.Set(mux.Readable); err != os.ErrClosed {
			t.Errorf("Set after Stop: %v", err)
		}
		watch(t, l, fd, mux.Readable, func(mux.Event) { l.Stop() })
		run(t, l)
	})
}

func TestWatchSet(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		s, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(s[0])
		defer unix.Close(s[1])
		write(t, s[1])
		var got []mux.Interest
		w := watch(t, l, s[0], mux.Readable|mux.Oneshot, func(ev mux.Event) { got = append(got, ev.Ready) })
		step := func(want ...mux.Interest) {
			t.Helper()
			got = nil
			for range 3 {
				l.AfterFunc(0, l.Stop)
				run(t, l)
			}
			for i := range want {
				if len(got) != len(want) || got[i] != want[i] {
					t.Fatalf("called with %v, want %v", got, want)
				}
			}
		}
		step(mux.Readable)
		must(t, w.Set(mux.Writable))
		step(mux.Writable, mux.Writable, mux.Writable)
		must(t, w.Set(mux.Readable|mux.Writable|mux.Oneshot))
		step(mux.Readable | mux.Writable)
		must(t, w.Set(0))
		step()
		if err := w.Set(mux.Hangup); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("Set(Hangup): %v", err)
		}
		step()
		must(t, w.Set(mux.Readable|mux.Oneshot))
		step(mux.Readable)
	})
}

func TestWatchThatIsRefusedLeavesNothing(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		fd := readable(t)
		watch(t, l, fd, mux.Readable, func(mux.Event) { l.Stop() })
		for range 3 {
			if w, err := l.Watch(fd, mux.Readable, func(mux.Event) { t.Error("called") }); !errors.Is(err, fs.ErrExist) || w != nil {
				t.Errorf("second Watch of a descriptor: %v, %v", w, err)
			}
			if w, err := l.Watch(-1, mux.Readable, func(mux.Event) { t.Error("called") }); !errors.Is(err, syscall.EBADF) || w != nil {
				t.Errorf("Watch of -1: %v, %v", w, err)
			}
		}
		run(t, l)
		must(t, l.Close()) // would report what cannot be removed
	})
}

func TestManyWatchesComeAndGo(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		fd := readable(t)
		var old []*loop.Watch
		for range 1000 {
			w := watch(t, l, fd, mux.Readable, func(mux.Event) { l.Stop() })
			for _, w := range old[max(0, len(old)-3):] {
				must(t, w.Stop()) // of those who had the place before
			}
			run(t, l)
			must(t, w.Stop())
			old = append(old, w)
		}
	})
}
