package muxtest

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"iomux/mux"
)

// concurrency: wakeups, and what other goroutines do while one waits.
var concurrency = []testCase{
	{"wake_sticky_and_coalesced", wakeStickyAndCoalesced},
	{"wake_concurrent", wakeConcurrent},
	{"add_while_waiting", addWhileWaiting},
	{"modify_while_waiting", modifyWhileWaiting},
	{"remove_while_waiting", removeWhileWaiting},
	{"second_waiter_refused", secondWaiterRefused},
	{"close_unblocks_wait", closeUnblocksWait},
	{"after_close_errclosed", afterCloseErrClosed},
	{"race_hammer", raceHammer},
}

// rounds is how often a case is repeated that two goroutines can run through in
// more than one order.
const rounds = 50

func wakeStickyAndCoalesced(e *env) {
	r, w := e.pipe()
	e.add(r, mux.Readable, 1)
	for range rounds {
		for range 3 {
			e.wake()
		}
		e.compare(e.wait(forever), ready{}, 0)
		e.pause()

		e.wake()
		e.expect(ready{})
		e.pause()

		// A Wake takes no room from what is ready, and the Wait that reports it
		// is the one that was woken.
		e.write(w, "x")
		e.wake()
		if token := e.one(); token != 1 {
			e.fatalf("token %d is reported, want 1", token)
		}
		e.drain(r)
		e.pause()

		result := e.start(e.m, forever)
		for range 3 {
			e.wake()
		}
		e.compare(e.finish(result), ready{}, 0)
		// The Wait may have returned between two of them.
		e.wake()
		e.expect(ready{})
		e.pause()
	}
}

// wakeConcurrent has goroutines wake one waiter, each anew when the waiter has
// seen its last wakeup: none may be lost, and none made up. One alone has nobody
// whose wakeup would hide the loss of its own.
func wakeConcurrent(e *env) {
	const each = 300
	for _, wakers := range []int{1, 4} {
		asked := make([]atomic.Int64, wakers)
		seen := make([]chan struct{}, wakers)
		stop := make(chan struct{})
		defer close(stop)
		var running sync.WaitGroup
		for i := range wakers {
			seen[i] = make(chan struct{}, 1)
			running.Go(func() {
				for n := range int64(each) {
					asked[i].Store(n + 1)
					if err := e.m.Wake(); err != nil {
						e.failf("Wake: %v", err)
						return
					}
					select {
					case <-seen[i]:
					case <-stop:
						return
					}
				}
			})
		}
		answered := make([]int64, wakers)
		waits := 0
		for left := wakers * each; left > 0; {
			if waits++; waits > wakers*each {
				e.fatalf("Wait returned %d times, after %d Wakes", waits, wakers*each)
			}
			e.compare(e.wait(forever), ready{}, 0)
			for i := range wakers {
				if n := asked[i].Load(); n > answered[i] {
					answered[i] = n
					left--
					seen[i] <- struct{}{}
				}
			}
		}
		running.Wait()
		e.wake() // a waker that was answered before its Wake has left one
		e.expect(ready{})
		e.pause()
	}
}

func addWhileWaiting(e *env) {
	pipe, _ := e.fullPipe()
	a, _ := e.sockets()
	file := e.regular()
	for range rounds {
		for _, c := range []struct {
			fd   int
			want mux.Interest
		}{{pipe, mux.Readable}, {a, mux.Writable}, {file, mux.Readable}, {file, mux.Readable | mux.Oneshot}} {
			result := e.start(e.m, forever)
			e.add(c.fd, c.want, 1)
			e.compare(e.finish(result), ready{1: c.want &^ mux.Oneshot}, 0)
			e.remove(c.fd)
		}
	}

	// What is not ready yet is watched from then on.
	r, w := e.pipe()
	for range rounds {
		result := e.start(e.m, forever)
		e.add(r, mux.Readable, 2)
		e.write(w, "x")
		e.compare(e.finish(result), ready{2: mux.Readable}, 0)
		e.drain(r)
		e.pause()
		e.remove(r)
	}
}

func modifyWhileWaiting(e *env) {
	a, b := e.sockets()
	file := e.regular()
	e.add(a, mux.Readable, 1)
	e.add(file, 0, 2)
	for range rounds {
		result := e.start(e.m, forever) // more interest
		e.modify(a, mux.Readable|mux.Writable, 3)
		e.compare(e.finish(result), ready{3: mux.Writable}, 0)
		e.modify(a, mux.Readable, 1)

		result = e.start(e.m, forever)
		e.modify(file, mux.Readable, 4)
		e.compare(e.finish(result), ready{4: mux.Readable}, 0)
		e.modify(file, 0, 2)

		result = e.start(e.m, forever) // another token
		e.modify(a, mux.Readable, 5)
		e.write(b, "x")
		e.compare(e.finish(result), ready{5: mux.Readable}, 0)

		e.modify(a, mux.Readable|mux.Oneshot, 6) // armed again
		e.expect(ready{6: mux.Readable})
		result = e.start(e.m, forever)
		e.modify(a, mux.Readable|mux.Oneshot, 7)
		e.compare(e.finish(result), ready{7: mux.Readable}, 0)
		e.drain(a)

		e.modify(a, mux.Readable, 8)
		result = e.start(e.m, forever) // no interest: only the Wake ends the Wait
		e.modify(a, 0, 9)
		e.write(b, "x")
		e.wake()
		e.compare(e.finish(result), ready{}, 0)
		e.pause()
		e.drain(a)
		e.modify(a, mux.Readable, 1)
	}
}

func removeWhileWaiting(e *env) {
	r, w := e.pipe()
	idle, _ := e.pipe()
	other, _ := e.pipe()
	number := e.dupAbove(other, reserved)
	for range rounds {
		e.add(r, mux.Readable, 1)
		e.add(number, mux.Readable, 2)
		result := e.start(e.m, forever)
		e.remove(r)
		e.remove(number)
		e.close(number)
		e.write(w, "x")
		e.wake()
		e.compare(e.finish(result), ready{}, 0)
		e.pause()

		// Removed and registered again: it is another registration.
		e.reuse(number, e.dup(r))
		e.add(number, mux.Readable|mux.Oneshot, 3)
		e.expect(ready{3: mux.Readable})
		result = e.start(e.m, forever)
		e.remove(number)
		e.add(number, mux.Readable, 4)
		e.compare(e.finish(result), ready{4: mux.Readable}, 0)
		e.remove(number)
		e.drain(r)
	}

	// Removed while the Wait returns with its event, which must not become that
	// of a neighbour.
	defer oneAtATime()()
	for round := range rounds {
		e.add(r, mux.Readable, 5)
		e.add(idle, mux.Readable, 6)
		result := e.start(e.m, forever)
		e.write(w, "x")
		linger(round)
		e.remove(r)
		e.wake()
		e.finishEither(result, ready{5: mux.Readable})
		e.remove(idle)
		e.drain(r)
	}
}

// secondWaiterRefused tries until the first waiter is surely inside; before
// that, the second one is the first.
func secondWaiterRefused(e *env) {
	for range rounds {
		result := e.start(e.m, forever)
		var events [1]mux.Event
		for {
			n, err := e.m.Wait(events[:], 0)
			if errors.Is(err, mux.ErrWaiting) {
				break
			}
			e.compare(e.checked(events[:], n, err), ready{}, 0)
			runtime.Gosched()
		}
		if _, err := e.m.Wait(events[:], forever); !errors.Is(err, mux.ErrWaiting) {
			e.fatalf("a second Wait without a timeout: %v, want %v", err, mux.ErrWaiting)
		}
		e.wake()
		e.compare(e.finish(result), ready{}, 0)
		e.pause()
	}
}

func closeUnblocksWait(e *env) {
	r, _ := e.pipe()
	for range rounds {
		for _, timeout := range []time.Duration{forever, time.Hour} {
			m := e.open()
			if err := m.Add(r, mux.Readable, 1); err != nil {
				e.fatalf("Add: %v", err)
			}
			result := e.start(m, timeout)
			if err := m.Close(); err != nil {
				e.fatalf("Close while another goroutine waits: %v", err)
			}
			if got := <-result; got.n != 0 || !isClosed(got.err) {
				e.fatalf("the Wait that Close ended returned %d, %v, want 0, %v", got.n, got.err, os.ErrClosed)
			}
		}
	}
}

func afterCloseErrClosed(e *env) {
	a, b := e.sockets()
	e.add(a, mux.Readable, 1)
	e.write(b, "x")
	e.expect(ready{1: mux.Readable})
	e.wake()
	name := e.m.Name()
	if name == "" {
		e.fatalf("Name is empty")
	}
	if err := e.m.Close(); err != nil {
		e.fatalf("Close: %v", err)
	}
	for range 2 {
		_, noWait := e.m.Wait(make([]mux.Event, 1), 0)
		_, wait := e.m.Wait(make([]mux.Event, 1), forever)
		for op, err := range map[string]error{
			"Add":                      e.m.Add(b, mux.Readable, 2),
			"Modify":                   e.m.Modify(a, mux.Readable, 2),
			"Modify of an unknown":     e.m.Modify(b, mux.Readable, 2),
			"Remove":                   e.m.Remove(a),
			"Remove of an unknown":     e.m.Remove(b),
			"Wait that must not block": noWait,
			"Wait that may block":      wait,
			"Wake":                     e.m.Wake(),
			"Close":                    e.m.Close(),
		} {
			if !isClosed(err) {
				e.fatalf("%s after Close: %v, want %v", op, err, os.ErrClosed)
			}
		}
	}
	if after := e.m.Name(); after != name {
		e.fatalf("Name is %q after Close, was %q", after, name)
	}
	var buf [2]byte
	if n, err := unix.Read(a, buf[:]); n != 1 || err != nil {
		e.fatalf("what the registered descriptor had to read is gone: %d, %v", n, err)
	}
}
