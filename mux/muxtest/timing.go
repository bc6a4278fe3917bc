package muxtest

import (
	"math"
	"os"
	"os/signal"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"iomux/mux"
)

// timing: timeouts, and what must not disturb them.
var timing = []testCase{
	{"timeout_never_early", timeoutNeverEarly},
	{"timeout_max_no_overflow", timeoutMaxNoOverflow},
	{"zero_timeout_still_polls", zeroTimeoutStillPolls},
	{"eintr_invisible", eintrInvisible},
}

func timeoutNeverEarly(e *env) {
	for _, registered := range []bool{false, true} {
		if registered {
			r, _ := e.pipe()
			e.add(r, mux.Readable, 1)
		}
		for range 20 {
			for _, timeout := range []time.Duration{1, 999, 100 * time.Microsecond, 1500 * time.Microsecond, 11 * time.Millisecond} {
				e.sleep(timeout)
			}
		}
	}
}

// timeoutMaxNoOverflow has each Wait ended by an event, since none of these
// timeouts will pass.
func timeoutMaxNoOverflow(e *env) {
	r, w := e.pipe()
	e.add(r, mux.Readable, 1)
	for _, timeout := range []time.Duration{
		math.MaxInt64, math.MaxInt64 - 1, math.MaxInt64/2 + 1,
		1 << 31 * time.Second, 1 << 32 * time.Second, // 32 bits of seconds
		1 << 31 * time.Millisecond, 1 << 32 * time.Millisecond, // 32 bits of milliseconds
		1 << 31 * time.Microsecond, 1 << 32 * time.Microsecond,
		-1, -time.Hour, math.MinInt64, // no limit
	} {
		for range 3 {
			result := e.start(e.m, timeout)
			e.write(w, "x")
			e.compare(e.finish(result), ready{1: mux.Readable}, 0)
			e.drain(r)
		}
	}
}

func zeroTimeoutStillPolls(e *env) {
	a, b := e.sockets()
	e.add(a, mux.Readable, 1)
	for range 50 {
		e.expect(ready{})
		e.expect(ready{})
		e.write(b, "x")
		e.expect(ready{1: mux.Readable})
		e.expect(ready{1: mux.Readable})
		e.drain(a)
	}
}

// eintrInvisible sends signals to the thread that waits, each after the one
// before has arrived.
func eintrInvisible(e *env) {
	arrived := make(chan os.Signal, 1)
	signal.Notify(arrived, unix.SIGWINCH)
	defer signal.Stop(arrived)
	r, w := e.pipe()
	e.add(r, mux.Readable, 1)

	// A Wait without a limit goes on until there is an event.
	thread, result := e.startOnThread(forever)
	for range 200 {
		e.must(unix.Tgkill(os.Getpid(), thread, unix.SIGWINCH))
		select {
		case <-arrived:
		case early := <-result:
			e.fatalf("a signal ended Wait: %d, %v", early.n, early.err)
		}
	}
	e.write(w, "x")
	e.compare(e.finish(result), ready{1: mux.Readable}, 0)
	e.drain(r)

	// A Wait with a limit ends when its time has passed, not before. Signals keep
	// coming for much longer.
	const timeout = 200 * time.Millisecond
	began := time.Now()
	thread, result = e.startOnThread(timeout)
	for late := 0; late < 100 || time.Since(began) < 10*timeout; {
		if time.Since(began) > 2*timeout {
			late++
		}
		e.must(unix.Tgkill(os.Getpid(), thread, unix.SIGWINCH))
		<-arrived
		select {
		case r := <-result:
			if events := e.checked(r.events, r.n, r.err); len(events) > 0 {
				e.fatalf("Wait reported %v, want a time-out", events)
			}
			if r.took < timeout {
				e.fatalf("Wait returned after %v, before its timeout of %v", r.took, timeout)
			}
			return
		default:
		}
	}
	e.fatalf("Wait goes on past its timeout of %v while signals arrive", timeout)
}

// startOnThread is [env.start] on a thread of its own, which it returns.
func (e *env) startOnThread(timeout time.Duration) (thread int, result <-chan waited) {
	threads := make(chan int)
	results := make(chan waited, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		threads <- unix.Gettid()
		results <- waitOnce(e.m, timeout)
	}()
	thread = <-threads
	probe(e.m)
	return thread, results
}
