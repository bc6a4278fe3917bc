package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// baseline is what the process has when nothing is going on.
type baseline struct {
	descriptors int
	goroutines  int
	heap        uint64 // bytes
}

// takeBaseline first has the runtime start what it keeps from then on: a
// goroutine for signals, and an epoll instance with the first timer.
func takeBaseline() baseline {
	time.Sleep(time.Nanosecond)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGUSR1)
	signal.Stop(ch)
	return current()
}

func current() baseline {
	runtime.GC()
	runtime.GC() // finalizers have run
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return baseline{openDescriptors(), runtime.NumGoroutine(), mem.HeapAlloc}
}

// mostHeap is how much more memory may be in use, for what the runtime keeps.
const mostHeap = 4 << 20

// compare waits until everything is as it was, and returns how many descriptors
// and goroutines are left over if that does not come about.
func (b baseline) compare(patience int) (leaks int, err error) {
	for looks := 0; ; looks++ {
		now := current()
		switch {
		case now.descriptors != b.descriptors:
			leaks, err = now.descriptors-b.descriptors, fmt.Errorf("%d descriptors are open after the end, %d before", now.descriptors, b.descriptors)
		case now.goroutines > b.goroutines:
			leaks, err = now.goroutines-b.goroutines, fmt.Errorf("%d goroutines run after the end, %d before", now.goroutines, b.goroutines)
		case now.heap > b.heap+mostHeap:
			leaks, err = 0, fmt.Errorf("%d bytes of memory are in use after the end, %d before", now.heap, b.heap)
		default:
			return 0, nil
		}
		if looks == patience {
			return leaks, err
		}
		time.Sleep(time.Millisecond)
	}
}

// openDescriptors counts the descriptors of the process, or returns -1 without
// proc(5).
func openDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries) - 1 // the directory itself
}

// processorTime returns what the process has used so far.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
