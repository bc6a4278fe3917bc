package muxtest

import (
	"errors"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"iomux/mux"
)

const (
	conditions = mux.Readable | mux.Writable | mux.Priority
	hints      = mux.Hangup | mux.Error
)

// forever is a timeout that only the watchdog limits.
const forever = -1

// quiet is how long silence is measured.
const quiet = 100 * time.Millisecond

func isClosed(err error) bool { return errors.Is(err, os.ErrClosed) }

func (e *env) add(fd int, want mux.Interest, token uint64) {
	e.t.Helper()
	if err := e.m.Add(fd, want, token); err != nil {
		e.fatalf("Add(%d, %v): %v", fd, want, err)
	}
	e.wants[token] = want
}

func (e *env) modify(fd int, want mux.Interest, token uint64) {
	e.t.Helper()
	if err := e.m.Modify(fd, want, token); err != nil {
		e.fatalf("Modify(%d, %v): %v", fd, want, err)
	}
	e.wants[token] = want
}

func (e *env) remove(fd int) {
	e.t.Helper()
	if err := e.m.Remove(fd); err != nil {
		e.fatalf("Remove(%d): %v", fd, err)
	}
}

func (e *env) wake() {
	e.t.Helper()
	if err := e.m.Wake(); err != nil {
		e.fatalf("Wake: %v", err)
	}
}

// refused demands that an operation failed as the contract has it.
func (e *env) refused(err, want error, op string, fd int) {
	e.t.Helper()
	if !errors.Is(err, want) {
		e.fatalf("%s of descriptor %d: error %v, want one that is %v", op, fd, err, want)
	}
	var opErr *mux.OpError
	if !errors.As(err, &opErr) {
		e.fatalf("%s of descriptor %d: error %v is a %T, want a *mux.OpError", op, fd, err, err)
	}
	if opErr.Op != op || opErr.FD != fd {
		e.fatalf("error %v says Op %q and FD %d, want %q and %d", err, opErr.Op, opErr.FD, op, fd)
	}
}

// wait is Wait with room for whatever a case registers.
func (e *env) wait(timeout time.Duration) []mux.Event {
	e.t.Helper()
	return e.waitFor(64, timeout)
}

// waitFor is Wait with room for some events. It checks them.
func (e *env) waitFor(room int, timeout time.Duration) []mux.Event {
	e.t.Helper()
	events := make([]mux.Event, room)
	n, err := e.m.Wait(events, timeout)
	return e.checked(events, n, err)
}

// one demands that a Wait with room for one event reports one, and returns its
// token.
func (e *env) one() uint64 {
	e.t.Helper()
	events := e.waitFor(1, 0)
	if len(events) == 0 {
		e.fatalf("Wait with room for one event reported none")
	}
	return events[0].Token
}

// checked demands what holds of the events of every Wait.
func (e *env) checked(events []mux.Event, n int, err error) []mux.Event {
	e.t.Helper()
	if err != nil {
		e.fatalf("Wait: %v", err)
	}
	if n < 0 || n > len(events) {
		e.fatalf("Wait returned %d, with room for %d events", n, len(events))
	}
	events = events[:n]
	for i, ev := range events {
		want, known := e.wants[ev.Token]
		if !known {
			e.fatalf("event %+v: no such token was registered", ev)
		}
		if extra := ev.Ready &^ (want | hints); extra != 0 {
			e.fatalf("token %d is reported %v, although only %v was asked for", ev.Token, ev.Ready, want)
		}
		if ev.Ready == 0 || ev.Ready&(mux.Oneshot|mux.Edge) != 0 {
			e.fatalf("token %d is reported %v", ev.Token, ev.Ready)
		}
		if asked := want & (mux.Readable | mux.Writable); ev.Ready&hints != 0 && ev.Ready&asked != asked {
			e.fatalf("token %d is reported %v: a hang-up or an error must set all of %v", ev.Token, ev.Ready, asked)
		}
		for _, other := range events[:i] {
			if other.Token == ev.Token {
				e.fatalf("token %d is reported twice in one Wait", ev.Token)
			}
		}
	}
	return events
}

// ready is what a Wait is to report: conditions by token.
type ready map[uint64]mux.Interest

// expect demands that a Wait that must not block reports just this, without
// hints.
func (e *env) expect(want ready) {
	e.t.Helper()
	e.compare(e.wait(0), want, 0)
}

// expectHangup is expect for descriptors that have hung up or have an error,
// which a backend may tell.
func (e *env) expectHangup(want ready) {
	e.t.Helper()
	e.compare(e.wait(0), want, hints)
}

// compare demands that events are as wanted, apart from what is ignored.
func (e *env) compare(events []mux.Event, want ready, ignore mux.Interest) {
	e.t.Helper()
	for _, ev := range events {
		if want[ev.Token] != ev.Ready&^ignore {
			e.fatalf("token %d is reported %v, want %v", ev.Token, ev.Ready, want[ev.Token])
		}
	}
	if len(events) != len(want) {
		e.fatalf("Wait reported %v, want %v", events, want)
	}
}

// await waits until one descriptor is reported with all of some conditions,
// where the kernel takes its time.
func (e *env) await(token uint64, want mux.Interest) {
	e.t.Helper()
	for {
		for _, ev := range e.wait(forever) {
			if ev.Token == token && ev.Ready&want == want {
				return
			}
		}
	}
}

// pause demands that nothing is reported for a moment, and that the Wait lasts
// for all of it: no earlier wakeup is left over.
func (e *env) pause() {
	e.t.Helper()
	e.sleep(2 * time.Millisecond)
	e.expect(ready{})
}

// sleep demands that a Wait times out, and not early.
func (e *env) sleep(timeout time.Duration) {
	e.t.Helper()
	start := time.Now()
	if events := e.wait(timeout); len(events) > 0 {
		e.fatalf("Wait reported %v, want silence", events)
	}
	if took := time.Since(start); took < timeout {
		e.fatalf("Wait returned after %v, before its timeout of %v", took, timeout)
	}
}

// silent demands that nothing is reported, and that waiting for nothing costs
// next to nothing: to the thread that waits, whose share of a busy machine may
// be small, and to the process. Something else in the process may use the
// processor meanwhile, but not every time; a busy loop does.
func (e *env) silent() {
	e.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var thread, process time.Duration
	for range 3 {
		t, p := processorTime(unix.RUSAGE_THREAD), processorTime(unix.RUSAGE_SELF)
		e.sleep(quiet)
		thread = processorTime(unix.RUSAGE_THREAD) - t
		process = processorTime(unix.RUSAGE_SELF) - p
		if thread < quiet/50 && process < quiet/2 {
			return
		}
	}
	e.fatalf("a silent Wait of %v used %v of processor time, and the process %v", quiet, thread, process)
}

// settle lets a Mux find out that a registered descriptor was closed: it may
// report it a bounded number of times, once with Error, and nothing after that.
func (e *env) settle() {
	e.t.Helper()
	const limit = 100
	errs := 0
	for range limit {
		events := e.wait(0)
		for _, ev := range events {
			if ev.Ready&mux.Error != 0 {
				errs++
			}
		}
		if errs > 1 {
			e.fatalf("a closed descriptor is reported more than once with Error")
		}
		if len(events) == 0 {
			e.silent()
			return
		}
	}
	e.fatalf("a closed descriptor is reported %d times and more", limit)
}

// waited is what a Wait in another goroutine returned.
type waited struct {
	events []mux.Event
	n      int
	err    error
	took   time.Duration
}

// waitOnce is a Wait that is not put off by a probe being first.
func waitOnce(m mux.Mux, timeout time.Duration) waited {
	events := make([]mux.Event, 64)
	for {
		start := time.Now()
		n, err := m.Wait(events, timeout)
		took := time.Since(start)
		if !errors.Is(err, mux.ErrWaiting) {
			return waited{events, n, err, took}
		}
		runtime.Gosched()
	}
}

// start begins a Wait in another goroutine. When start returns, that Wait is
// most likely under way, and nothing may depend on it.
func (e *env) start(m mux.Mux, timeout time.Duration) <-chan waited {
	result := make(chan waited, 1)
	go func() { result <- waitOnce(m, timeout) }()
	probe(m)
	return result
}

// probe returns when another goroutine waits, which its own Wait being refused
// tells, or after a number of tries. Nothing may be ready or woken yet.
func probe(m mux.Mux) {
	var events [1]mux.Event
	for range 1000 {
		if _, err := m.Wait(events[:], 0); err != nil {
			return
		}
		runtime.Gosched()
	}
}

// finish returns the events of a Wait in another goroutine.
func (e *env) finish(result <-chan waited) []mux.Event {
	e.t.Helper()
	r := <-result
	return e.checked(r.events, r.n, r.err)
}

// finishEither is finish for a Wait that a Wake has ended, unless it was ended
// before by what is the only other right answer. It takes back such a Wake.
func (e *env) finishEither(result <-chan waited, other ready) {
	e.t.Helper()
	if events := e.finish(result); len(events) > 0 {
		e.compare(events, other, 0)
		e.expect(ready{})
	}
	e.pause()
}

// linger takes a little longer in each round, for two goroutines to meet in
// many orders. None of them may be wrong.
func linger(round int) {
	for range 50 * round {
		unix.Getppid()
	}
}

// oneAtATime keeps goroutines from running at the same time until the function
// it returns is called. A Wait that returns meanwhile finds out late what has
// changed.
func oneAtATime() (restore func()) {
	procs := runtime.GOMAXPROCS(1)
	return func() { runtime.GOMAXPROCS(procs) }
}
