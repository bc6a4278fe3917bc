package loop_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"syscall"
	"time"

	"github.com/hashicorp/go-multierror"

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

// newPipe returns a non-blocking pipe, for the examples.
func newPipe() (r, w int) {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		log.Fatal(err)
	}
	return fds[0], fds[1]
}

// One goroutine reads a pipe and runs a timer that writes to it.
func Example() {
	r, w := newPipe()
	defer syscall.Close(r)

	l := open()
	defer l.Close()
	_, err := l.Watch(r, mux.Readable, func(mux.Event) {
		buf := make([]byte, 64)
		n, err := syscall.Read(r, buf)
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
		syscall.Write(w, []byte("hello"))
		syscall.Close(w)
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

// A loop belongs to one goroutine, and has everything that belongs to it.
func ExampleNew() {
	m, err := mux.Open("poll")
	if err != nil {
		log.Fatal(err)
	}
	l := loop.New(m, loop.BatchSize(512))
	defer l.Close() // closes m too
	l.AfterFunc(0, l.Stop)
	fmt.Println(l.Run(context.Background()))
	// Output: <nil>
}

// Two loops that answer each other at once need not be put to sleep between.
func ExampleSpin() {
	m, err := mux.Open("")
	if err != nil {
		log.Fatal(err)
	}
	l := loop.New(m, loop.Spin(50*time.Microsecond))
	defer l.Close()
	l.AfterFunc(time.Millisecond, l.Stop) // is not delayed by that
	fmt.Println(l.Run(context.Background()))
	// Output: <nil>
}

// One event a turn lets timers and posted work have their say between any two
// callbacks.
func ExampleBatchSize() {
	m, err := mux.Open("")
	if err != nil {
		log.Fatal(err)
	}
	l := loop.New(m, loop.BatchSize(1))
	defer l.Close()
	done := 0
	for range 2 {
		r, w := newPipe()
		defer syscall.Close(r)
		defer syscall.Close(w)
		var writer *loop.Watch
		writer, err = l.Watch(w, mux.Writable, func(mux.Event) {
			fmt.Println("callback")
			writer.Stop()
			l.Post(func() {
				fmt.Println("posted")
				if done++; done == 2 {
					l.Stop()
				}
			})
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	l.Run(context.Background())
	// Output:
	// callback
	// posted
	// callback
	// posted
}

// A writer is watched for room while there is something to write, and no longer.
func ExampleWatch_Set() {
	r, w := newPipe()
	defer syscall.Close(r)
	defer syscall.Close(w)
	l := open()
	defer l.Close()
	pending := make([]byte, 100_000) // more than a pipe holds
	var writer *loop.Watch
	writer, err := l.Watch(w, mux.Writable, func(mux.Event) {
		if n, err := syscall.Write(w, pending); err == nil {
			pending = pending[n:]
		}
		if len(pending) == 0 {
			writer.Set(0)
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	received, buf := 0, make([]byte, 4096)
	_, err = l.Watch(r, mux.Readable, func(mux.Event) {
		n, _ := syscall.Read(r, buf)
		if received += n; received == 100_000 {
			l.Stop()
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	l.Run(context.Background())
	fmt.Println(received)
	// Output: 100000
}

// A callback may stop any watch, its own too, even of a descriptor that is ready
// in the same turn.
func ExampleWatch_Stop() {
	l := open()
	defer l.Close()
	var writers [2]*loop.Watch
	for i := range writers {
		r, w := newPipe()
		defer syscall.Close(r)
		defer syscall.Close(w)
		var err error
		writers[i], err = l.Watch(w, mux.Writable, func(mux.Event) {
			fmt.Println("one of the two")
			writers[0].Stop()
			writers[1].Stop()
			l.Stop()
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	l.Run(context.Background())
	// Output: one of the two
}

// A watchdog is a timer that is reset as long as all is well.
func ExampleTimer_Reset() {
	fake := muxtest.NewFake(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	l := loop.New(fake, loop.Clock(fake.Clock))
	defer l.Close()
	watchdog := l.AfterFunc(10*time.Second, func() {
		fmt.Println("silence at", l.Now().Format(time.TimeOnly))
		l.Stop()
	})
	signs := 0
	var life *loop.Timer
	life = l.Every(time.Second, func() {
		watchdog.Reset(10 * time.Second)
		if signs++; signs == 3 {
			life.Stop()
		}
	})
	l.Run(context.Background())
	// Output: silence at 12:00:13
}

// A context ends a loop from outside, as Stop does.
func ExampleLoop_Run() {
	l := open()
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	fmt.Println(errors.Is(l.Run(ctx), context.DeadlineExceeded))
	// Output: true
}

// All callbacks of a turn see the same time.
func ExampleLoop_Now() {
	fake := muxtest.NewFake(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	l := loop.New(fake, loop.Clock(fake.Clock))
	defer l.Close()
	for range 2 {
		l.AfterFunc(time.Minute, func() { fmt.Println(l.Now().Format(time.TimeOnly)) })
	}
	l.AfterFunc(time.Hour, l.Stop)
	l.Run(context.Background())
	// Output:
	// 12:01:00
	// 12:01:00
}

// conn is something to own.
type conn struct {
	name string
	err  error
}

func (c conn) Close() error {
	fmt.Println("closing", c.name)
	return c.err
}

// What is owned is closed with the loop, the last first, and after its watches.
func ExampleLoop_Own() {
	l := open()
	l.Own(conn{name: "the log"})
	l.Own(conn{name: "the socket"})
	fmt.Println(l.Close())
	// Output:
	// closing the socket
	// closing the log
	// <nil>
}

// Close goes on when something fails, and reports all that did.
func ExampleLoop_Close() {
	l := open()
	l.Own(conn{"the log", errors.New("disk full")})
	l.Own(conn{"the socket", errors.New("already closed")})
	var all *multierror.Error
	if err := l.Close(); errors.As(err, &all) {
		for _, err := range all.Errors {
			fmt.Println(err)
		}
	}
	// Output:
	// closing the socket
	// closing the log
	// already closed
	// disk full
}
