package loop_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"syscall"
	"time"

	"iomux/mux"
	"iomux/mux/loop"
	"iomux/mux/muxtest"
)

// Open a loop on the preferred backend.
func open() *loop.Loop {
	m, err := mux.Open("")
	if err != nil {
		log.Fatal(err)
	}
	return loop.New(m)
}

// One goroutine reads a pipe and runs a timer that writes to it.
func Example() {
	var pipe [2]int
	if err := syscall.Pipe2(pipe[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		log.Fatal(err)
	}
	defer syscall.Close(pipe[0])

	l := open()
	defer l.Close()
	_, err := l.Watch(pipe[0], mux.Readable, func(mux.Event) {
		buf := make([]byte, 64)
		n, err := syscall.Read(pipe[0], buf)
		switch {
		case n > 0:
			fmt.Printf("read %q\n", buf[:n])
		case err == nil: // the writing end is closed
			l.Stop()
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	l.AfterFunc(time.Millisecond, func() {
		syscall.Write(pipe[1], []byte("hello"))
		syscall.Close(pipe[1])
	})
	if err := l.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: read "hello"
}

func ExampleLoop_AfterFunc() {
	l := open()
	defer l.Close()
	timeout := l.AfterFunc(time.Hour, func() { fmt.Println("too late") })
	l.AfterFunc(time.Millisecond, func() {
		fmt.Println("in time:", timeout.Stop())
		l.Stop()
	})
	l.Run(context.Background())
	// Output: in time: true
}

func ExampleLoop_Every() {
	l := open()
	defer l.Close()
	ticks := 0
	l.Every(time.Millisecond, func() {
		ticks++
		fmt.Println("tick", ticks)
		if ticks == 3 {
			l.Stop()
		}
	})
	l.Run(context.Background())
	// Output:
	// tick 1
	// tick 2
	// tick 3
}

func ExampleLoop_Post() {
	l := open()
	defer l.Close()
	count := 0 // belongs to the loop and needs no lock
	for range 3 {
		go l.Post(func() {
			if count++; count == 3 {
				l.Stop()
			}
		})
	}
	l.Run(context.Background())
	fmt.Println(count)
	// Output: 3
}

func ExampleLoop_Notify() {
	l := open()
	defer l.Close()
	l.Notify(func(sig os.Signal) {
		fmt.Println("got", sig)
		l.Stop()
	}, syscall.SIGWINCH)
	syscall.Kill(os.Getpid(), syscall.SIGWINCH)
	l.Run(context.Background())
	// Output: got window changed
}

// A day passes in no time.
func ExampleClock() {
	fake := muxtest.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	l := loop.New(fake, loop.Clock(fake.Clock))
	defer l.Close()
	l.Every(8*time.Hour, func() { fmt.Println(l.Now().Format(time.DateTime)) })
	l.AfterFunc(24*time.Hour, l.Stop)
	l.Run(context.Background())
	// Output:
	// 2026-01-01 08:00:00
	// 2026-01-01 16:00:00
	// 2026-01-02 00:00:00
}
