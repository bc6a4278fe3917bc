package mux_test

import (
	"fmt"
	"log"
	"syscall"
	"time"

	"iomux/mux"
)

func ExampleOpen() {
	var pipe [2]int
	if err := syscall.Pipe2(pipe[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		log.Fatal(err)
	}
	defer syscall.Close(pipe[0])
	defer syscall.Close(pipe[1])

	m, err := mux.Open("")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	if err := m.Add(pipe[0], mux.Readable, 7); err != nil {
		log.Fatal(err)
	}

	syscall.Write(pipe[1], []byte("x"))
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

func ExampleTrace() {
	m, err := mux.Open("poll")
	if err != nil {
		log.Fatal(err)
	}
	m = mux.Trace(m, func(c mux.Call) { fmt.Println(c) })

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
