package mux_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"strings"
	"syscall"
	"time"

	"iomux/mux"
)

// pipe returns a non-blocking pipe, for the examples.
func pipe() (r, w int) {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		log.Fatal(err)
	}
	return fds[0], fds[1]
}

// open opens a backend, for the examples.
func open(name string) mux.Mux {
	m, err := mux.Open(name)
	if err != nil {
		log.Fatal(err)
	}
	return m
}

func ExampleOpen() {
	r, w := pipe()
	defer syscall.Close(r)
	defer syscall.Close(w)

	m, err := mux.Open("")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	if err := m.Add(r, mux.Readable, 7); err != nil {
		log.Fatal(err)
	}

	syscall.Write(w, []byte("x"))
	events := make([]mux.Event, 64)
	n, err := m.Wait(events, -1)
	if err != nil {
		log.Fatal(err)
	}
	for _, ev := range events[:n] {
		fmt.Println(ev.Token, "is", ev.Ready)
	}
	// Output: 7 is readable
}

// The error for a backend that does not exist tells those that do.
func ExampleOpen_unknown() {
	_, err := mux.Open("kqueue")
	fmt.Println(strings.Contains(err.Error(), "epoll"))
	// Output: true
}

// Whoever compares backends goes through all of them.
func ExampleBackends() {
	for _, name := range mux.Backends()[:3] {
		m, err := mux.Open(name)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.Name())
		m.Close()
	}
	// Output:
	// epoll
	// poll
	// select
}

// A hang-up makes a descriptor readable, so that a reader need not look at the
// hint.
func ExampleMux() {
	r, w := pipe()
	defer syscall.Close(r)
	m := open("")
	defer m.Close()
	m.Add(r, mux.Readable, 1)

	events, buf := make([]mux.Event, 64), make([]byte, 64)
	for _, do := range []func(){
		func() { syscall.Write(w, []byte("hello")) },
		func() { syscall.Close(w) },
	} {
		do()
		n, err := m.Wait(events, time.Second)
		if err != nil {
			log.Fatal(err)
		}
		for _, ev := range events[:n] {
			got, err := syscall.Read(r, buf)
			fmt.Printf("%v: read %q, %v\n", ev.Ready, buf[:got], err)
		}
	}
	m.Remove(r) // before it is closed
	// Output:
	// readable: read "hello", <nil>
	// readable|hangup: read "", <nil>
}

// Wake makes a Wait return without an event, from any goroutine.
func ExampleMux_wake() {
	m := open("")
	defer m.Close()
	var work []string // would have a mutex of its own
	ready := make(chan struct{})
	go func() {
		work = append(work, "something to do")
		close(ready)
		m.Wake()
	}()
	n, err := m.Wait(make([]mux.Event, 1), -1)
	<-ready
	fmt.Println(n, err, work)
	// Output: 0 <nil> [something to do]
}

// A descriptor under Oneshot is reported once for each Modify: whoever took the
// event has it alone until he gives it back.
func ExampleInterest_oneshot() {
	r, w := pipe()
	defer syscall.Close(r)
	defer syscall.Close(w)
	m := open("")
	defer m.Close()
	syscall.Write(w, []byte("never read"))

	events := make([]mux.Event, 64)
	wait := func() int {
		n, err := m.Wait(events, 0)
		if err != nil {
			log.Fatal(err)
		}
		return n
	}
	m.Add(r, mux.Readable|mux.Oneshot, 1)
	fmt.Println(wait(), wait())
	m.Modify(r, mux.Readable|mux.Oneshot, 1)
	fmt.Println(wait(), wait())
	// Output:
	// 1 0
	// 1 0
}

func ExampleInterest_String() {
	fmt.Println(mux.Readable|mux.Writable|mux.Edge, mux.Interest(0))
	// Output: readable|writable|edge none
}

// The token is the caller's: an index, an identifier, whatever tells what the
// event is about.
func ExampleEvent() {
	names := []string{"left", "right"}
	m := open("")
	defer m.Close()
	for i := range names {
		r, w := pipe()
		defer syscall.Close(r)
		defer syscall.Close(w)
		m.Add(w, mux.Writable, uint64(i))
	}
	events := make([]mux.Event, 64)
	n, err := m.Wait(events, -1)
	if err != nil {
		log.Fatal(err)
	}
	ready := make(map[string]mux.Interest)
	for _, ev := range events[:n] {
		ready[names[ev.Token]] = ev.Ready
	}
	fmt.Println(ready)
	// Output: map[left:writable right:writable]
}

// An error tells what failed, where and why, and what would be right.
func ExampleOpError() {
	m := open("poll")
	defer m.Close()
	err := m.Remove(5)
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	var op *mux.OpError
	if errors.As(err, &op) {
		fmt.Println(op.Op, op.Backend, op.FD)
	}
	// Output:
	// true
	// remove poll 5
}

// Wait after Close, or during it, returns os.ErrClosed.
func ExampleMux_close() {
	m := open("")
	go m.Close()
	_, err := m.Wait(make([]mux.Event, 1), -1)
	fmt.Println(errors.Is(err, os.ErrClosed), errors.Is(m.Close(), os.ErrClosed))
	// Output: true true
}

func ExampleTrace() {
	m := mux.Trace(open("poll"), func(c mux.Call) { fmt.Println(c) })

	events := make([]mux.Event, 64)
	m.Add(0, mux.Readable|mux.Hangup, 7)
	m.Wait(events, time.Millisecond)
	m.Wake()
	m.Wait(events, -1)
	m.Close()
	// Output:
	// poll add(descriptor 0, readable|hangup, token 7) = invalid argument
	// poll wait(64 events, 1ms) = 0
	// poll wake() = ok
	// poll wait(64 events, no timeout) = 0
	// poll close() = ok
}
