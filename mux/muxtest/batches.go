package muxtest

import (
	"syscall"
	"testing"
	"time"

	"iomux/mux"
)

// batches: more that is ready than fits, and what a Wait costs.
var batches = []testCase{
	{"more_ready_than_batch", moreReadyThanBatch},
	{"fairness_with_small_batch", fairnessWithSmallBatch},
	{"empty_event_slice_invalid", emptyEventSliceInvalid},
	{"zero_allocs", zeroAllocs},
}

func moreReadyThanBatch(e *env) {
	const n, room = 10, 3
	var fds, writers []int
	for token := range uint64(n) {
		r, w := e.fullPipe()
		e.add(r, mux.Readable, token)
		fds, writers = append(fds, r), append(writers, w)
	}
	for range 3 {
		// Everything once before anything twice.
		seen := make(map[uint64]bool)
		for left := n; left > 0; {
			events := e.waitFor(room, 0)
			if len(events) != room {
				e.fatalf("Wait with room for %d events reported %d of %d", room, len(events), n)
			}
			fresh := 0
			for _, ev := range events {
				if !seen[ev.Token] {
					seen[ev.Token] = true
					fresh++
				}
			}
			if fresh < min(left, room) {
				e.fatalf("Wait repeated events while %d others had not been reported", left)
			}
			left -= fresh
		}
		for _, fd := range fds {
			e.drain(fd)
		}
		e.pause()
		for _, w := range writers {
			e.write(w, "x")
		}
	}

	// A Oneshot that did not fit is not spent.
	for token, fd := range fds {
		e.modify(fd, mux.Readable|mux.Oneshot, uint64(token))
	}
	seen := make(map[uint64]bool)
	for range (n + room - 1) / room {
		for _, ev := range e.waitFor(room, 0) {
			if seen[ev.Token] {
				e.fatalf("the Oneshot of token %d is reported twice", ev.Token)
			}
			seen[ev.Token] = true
		}
	}
	if len(seen) != n {
		e.fatalf("%d of %d Oneshots are reported", len(seen), n)
	}
	e.pause()
}

// fairnessWithSmallBatch keeps many descriptors ready, of every kind. Each must
// be reported again within the time that two rounds take.
func fairnessWithSmallBatch(e *env) {
	var token uint64
	add := func(fd int, want mux.Interest) {
		e.add(fd, want, token)
		token++
	}
	for range 8 {
		r, _ := e.fullPipe()
		add(r, mux.Readable)
		_, w := e.pipe()
		add(w, mux.Writable)
		a, b := e.sockets()
		e.write(b, "x")
		add(a, mux.Readable|mux.Writable)
		add(e.regular(), mux.Readable)
	}
	e.fair(token, func() {})
	// Nor does a Wake, which is ready too, take the place of anything.
	e.fair(token, e.wake)
}

// fair demands that each of n descriptors is reported in turn. It calls before
// before each Wait.
func (e *env) fair(n uint64, before func()) {
	e.t.Helper()
	for _, room := range []int{1, 2, 7} {
		last := make([]int, n) // the Wait that reported it last
		limit := 2 * ((int(n) + room - 1) / room)
		for wait := 1; wait <= 5*limit; wait++ {
			before()
			events := e.waitFor(room, 0)
			if len(events) == 0 {
				e.fatalf("Wait reported nothing of %d descriptors that are ready", n)
			}
			for _, ev := range events {
				last[ev.Token] = wait
			}
			for token := range last {
				if wait-last[token] > limit {
					e.fatalf("with room for %d events, token %d was not reported by %d Waits, although %d descriptors are ready", room, token, limit, n)
				}
			}
		}
	}
}

func emptyEventSliceInvalid(e *env) {
	r, _ := e.fullPipe()
	for range 2 {
		for _, events := range [][]mux.Event{nil, {}, make([]mux.Event, 0, 8)} {
			for _, timeout := range []time.Duration{0, time.Millisecond, forever} {
				n, err := e.m.Wait(events, timeout)
				if n != 0 {
					e.fatalf("Wait without room returned %d", n)
				}
				e.refused(err, syscall.EINVAL, "wait", -1)
			}
		}
		e.add(r, mux.Readable, 1)
		e.expect(ready{1: mux.Readable})
		e.remove(r)
	}
}

func zeroAllocs(e *env) {
	events := make([]mux.Event, 64)
	r, _ := e.fullPipe()
	idle, _ := e.pipe()
	a, _ := e.sockets()
	file := e.regular()
	wait := func(timeout time.Duration) {
		if _, err := e.m.Wait(events, timeout); err != nil {
			e.fatalf("Wait: %v", err)
		}
	}
	measure := func(what string, f func()) {
		e.t.Helper()
		if n := testing.AllocsPerRun(100, f); n != 0 {
			e.fatalf("%s allocates %v times", what, n)
		}
	}
	modify := func(fd int, want mux.Interest, token uint64) {
		if err := e.m.Modify(fd, want, token); err != nil {
			e.fatalf("Modify: %v", err)
		}
	}
	e.add(idle, mux.Readable, 1)
	measure("Wait of nothing, with timeout 0,", func() { wait(0) })
	measure("Wait that times out", func() { wait(50 * time.Microsecond) })
	measure("Wake", func() {
		if err := e.m.Wake(); err != nil {
			e.fatalf("Wake: %v", err)
		}
		wait(forever)
	})
	e.add(r, mux.Readable, 2)
	e.add(a, mux.Writable|mux.Oneshot, 3)
	e.add(file, mux.Readable, 4)
	measure("Wait with events, with timeout 0,", func() { wait(0) })
	measure("Wait with events", func() { wait(forever) })
	measure("Modify", func() {
		modify(r, 0, 5)
		modify(a, mux.Readable|mux.Writable, 6)
		modify(file, mux.Writable, 7)
		wait(0)
		modify(r, mux.Readable, 2)
		modify(a, mux.Writable|mux.Oneshot, 3)
		modify(file, mux.Readable, 4)
		wait(0)
	})
}
