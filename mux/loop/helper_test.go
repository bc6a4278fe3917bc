package loop_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/mux"
	"iomux/mux/loop"
	"iomux/mux/muxtest"
)

// eachBackend runs test on a fresh loop on every backend.
func eachBackend(t *testing.T, test func(t *testing.T, l *loop.Loop), opts ...loop.Option) {
	for _, name := range mux.Backends() {
		t.Run(name, func(t *testing.T) {
			m, err := mux.Open(name)
			must(t, err)
			test(t, newLoop(t, m, opts...))
		})
	}
}

// simulated returns a loop in simulated time.
func simulated(t *testing.T, opts ...loop.Option) (*loop.Loop, *muxtest.Fake) {
	fake := muxtest.NewFake(time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC))
	return newLoop(t, fake, append(opts, loop.Clock(fake.Clock))...), fake
}

func newLoop(t *testing.T, m mux.Mux, opts ...loop.Option) *loop.Loop {
	l := loop.New(m, opts...)
	t.Cleanup(func() { l.Close() })
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs the loop until something stops it.
func run(t testing.TB, l *loop.Loop) {
	t.Helper()
	must(t, l.Run(context.Background()))
}

// watch is Watch, which must succeed.
func watch(t testing.TB, l *loop.Loop, fd int, want mux.Interest, fn func(mux.Event)) *loop.Watch {
	t.Helper()
	w, err := l.Watch(fd, want, fn)
	must(t, err)
	return w
}

// turn runs a single turn.
func turn(t testing.TB, l *loop.Loop) {
	t.Helper()
	l.Stop()
	run(t, l)
}

// diary is what has happened, in order.
type diary []string

// note returns a function that writes a line.
func (d *diary) note(format string, args ...any) func() {
	line := fmt.Sprintf(format, args...)
	return func() { *d = append(*d, line) }
}

func (d *diary) expect(t testing.TB, want ...string) {
	t.Helper()
	if !slices.Equal(*d, want) {
		t.Errorf("what happened: %q\nwant:          %q", *d, want)
	}
}

// pipe returns the ends of a pipe, which do not block.
func pipe(t testing.TB) (r, w int) {
	t.Helper()
	var p [2]int
	must(t, unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p[0], p[1]
}

// readable returns the reading end of a pipe that holds one byte.
func readable(t testing.TB) (r int) {
	t.Helper()
	r, w := pipe(t)
	write(t, w)
	return r
}

func write(t testing.TB, fd int) {
	t.Helper()
	_, err := unix.Write(fd, []byte{'x'})
	must(t, err)
}

func read(t testing.TB, fd int) {
	t.Helper()
	_, err := unix.Read(fd, make([]byte, 1))
	must(t, err)
}

// panics calls fn and returns the value of its panic.
func panics(t testing.TB, fn func()) (value any) {
	t.Helper()
	defer func() {
		t.Helper()
		if value = recover(); value == nil {
			t.Error("there is no panic")
		}
	}()
	fn()
	return nil
}
