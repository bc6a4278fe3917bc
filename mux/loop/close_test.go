package loop_test

import (
	"cmp"
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-multierror"

	"iomux/mux"
	"iomux/mux/loop"
	"iomux/mux/muxtest"
)

// closer is an io.Closer that is a function.
type closer func() error

func (c closer) Close() error { return c() }

// brittle is a Mux whose Remove and Close fail once they have done their work.
type brittle struct {
	mux.Mux
	remove, close error
}

func (b *brittle) Remove(fd int) error { return cmp.Or(b.Mux.Remove(fd), b.remove) }
func (b *brittle) Close() error        { return cmp.Or(b.Mux.Close(), b.close) }

func TestCloseClosesTheLastFirstAndTheMuxLast(t *testing.T) {
	var d diary
	m := mux.Trace(muxtest.NewFake(time.Now()), func(c mux.Call) {
		if c.Op == "remove" || c.Op == "close" {
			d.note("%s", c)()
		}
	})
	l := loop.New(m)
	for i := range 3 {
		l.Own(closer(func() error { d.note("resource %d", i)(); return nil }))
	}
	for fd := range 3 {
		w := watch(t, l, fd, mux.Readable, func(mux.Event) {})
		if fd == 1 {
			must(t, w.Stop())
		}
	}
	must(t, l.Close())
	d.expect(t, "fake remove(descriptor 1) = ok",
		"fake remove(descriptor 0) = ok", "fake remove(descriptor 2) = ok",
		"resource 2", "resource 1", "resource 0", "fake close() = ok")
}

func TestCloseReportsEverythingThatFails(t *testing.T) {
	var failures []error
	for _, name := range []string{"remove", "resource 0", "resource 1", "resource 2", "close"} {
		failures = append(failures, errors.New(name))
	}
	fake := muxtest.NewFake(time.Now())
	l := loop.New(&brittle{fake, failures[0], failures[4]})
	closed := 0
	for _, err := range []error{failures[1], nil, failures[2], failures[3]} {
		l.Own(closer(func() error { closed++; return err }))
	}
	watch(t, l, 1, mux.Readable, func(mux.Event) {})
	err := l.Close()
	var all *multierror.Error
	if !errors.As(err, &all) || len(all.Errors) != len(failures) {
		t.Fatalf("Close: %v, want %d failures", err, len(failures))
	}
	for _, want := range failures {
		if !errors.Is(err, want) {
			t.Errorf("%v is missing in %v", want, err)
		}
	}
	if closed != 4 {
		t.Errorf("%d resources were closed, want 4", closed)
	}
	if err := fake.Close(); err != os.ErrClosed {
		t.Errorf("the Mux was not closed: %v", err)
	}
}

func TestCloseReportsASingleFailureAsItself(t *testing.T) {
	failure := errors.New("failure")
	for name, b := range map[string]brittle{
		"watch":    {remove: failure},
		"resource": {},
		"Mux":      {close: failure},
	} {
		t.Run(name, func(t *testing.T) {
			b.Mux = muxtest.NewFake(time.Now())
			l := loop.New(&b)
			watch(t, l, 1, mux.Readable, func(mux.Event) {})
			l.Own(closer(func() error {
				if name == "resource" {
					return failure
				}
				return nil
			}))
			if err := l.Close(); err != failure {
				t.Errorf("Close: %#v, want the failure itself", err)
			}
			if err := l.Close(); err != os.ErrClosed {
				t.Errorf("second Close: %v", err)
			}
		})
	}
}

func TestCloseLeavesDescriptorsToTheirOwners(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		r, w := pipe(t)
		watch(t, l, r, mux.Readable, func(mux.Event) {})
		l.Own(closer(func() error {
			// The watch is gone by now, so that closing is in order.
			write(t, w)
			read(t, r)
			return nil
		}))
		must(t, l.Close())
		write(t, w)
		read(t, r)
	})
}

func TestCloseInACallbackEndsTheTurnAndRun(t *testing.T) {
	kinds := []string{"ready", "timer", "posted"}
	for at, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, l *loop.Loop) {
				ran := 0
				callback := func(of int) func() {
					return func() {
						switch {
						case of > at:
							t.Errorf("%s runs after Close", kinds[of])
						case of == at:
							if ran++; ran > 1 {
								t.Errorf("a second %s runs after Close", kind)
								return
							}
							must(t, l.Close())
							l.Post(func() { t.Error("what was posted after Close runs") })
						}
					}
				}
				var timers []*loop.Timer
				for range 2 {
					ready := callback(0)
					watch(t, l, readable(t), mux.Readable, func(mux.Event) { ready() })
					timers = append(timers, l.AfterFunc(0, callback(1)), l.AfterFunc(time.Hour, callback(1)))
				}
				l.AfterFunc(0, func() {
					l.Post(callback(2))
					l.Post(callback(2))
				})
				if err := l.Run(context.Background()); err != os.ErrClosed {
					t.Errorf("Run: %v", err)
				}
				for i, timer := range timers {
					if timer.Stop() {
						t.Errorf("timer %d is armed after Close", i)
					}
				}
				if err := l.Run(context.Background()); err != os.ErrClosed {
					t.Errorf("second Run: %v", err)
				}
			})
		})
	}
}

func TestAnOwnedResourceMayUseTheLoopWhileItIsClosed(t *testing.T) {
	l, _ := simulated(t)
	var late []error
	l.Own(closer(func() error {
		_, err := l.Watch(1, mux.Readable, func(mux.Event) {})
		l.Post(func() { t.Error("posted work runs") })
		l.Stop()
		late = append(late, err, l.Close(), l.Run(context.Background()))
		return nil
	}))
	must(t, l.Close())
	for i, err := range late {
		if err != os.ErrClosed {
			t.Errorf("%d: %v", i, err)
		}
	}
}
