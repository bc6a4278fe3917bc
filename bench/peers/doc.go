// Package peers compares iomux's loop with what one would take instead: libev,
// and a loop over epoll(7) written by hand, in Go (bare-go) and in C (bare-c).
//
//	go test -C bench/peers -bench Chain -benchtime 25x     # three minutes
//	go test -C bench/peers -bench Timers -benchtime 9x     # two minutes
//
// It is a module of its own, for it compiles the programs in c/ with gcc.
// What is not installed is left out and named with its Debian packages; all
// comes with
//
//	apt-get install gcc libc6-dev libev-dev
//
// A line is a contestant, and the number behind its name is of pairs of rounds,
// one of the contestant beside one of libev, so that what slows the machine
// down for a while slows down both:
//
//		libev: 4.33, gcc 12.2.0 -std=gnu11 -O2 -pthread -DLIBEV -lev
//		bare-c: epoll, gcc 12.2.0 -std=gnu11 -O2 -pthread
//		BenchmarkChain/n=100/active=1/loop=iomux/calls=raw-2       50  2146 cpu-ns/event  2146 ns/event   1.022 x-libev   1.020 x-libev-cpu  0.9159 x-libev-p10   1.111 x-libev-p90
//		BenchmarkChain/n=100/active=1/loop=bare-go/calls=raw-2     50  2038 cpu-ns/event  2010 ns/event  0.9791 x-libev  0.9963 x-libev-cpu  0.8726 x-libev-p10   1.147 x-libev-p90
//		BenchmarkChain/n=100/active=1/loop=libev-2                 25  2180 cpu-ns/event  2212 ns/event   1.002 x-libev  0.9997 x-libev-cpu  0.8595 x-libev-p10   1.145 x-libev-p90
//		BenchmarkTimers/job=stop/loop=iomux-2                       7  11.33 cpu-ns/timer  11.29 ns/timer  0.2032 x-libev  0.2044 x-libev-cpu  0.1911 x-libev-p10  0.2227 x-libev-p90
//
//	  - ns/event: the median round, divided by its events; cpu-ns/event: the time
//	    on processors of the whole process, garbage collection included.
//	  - x-libev: the median of the ratios of the pairs, below 1 where the
//	    contestant is the faster; x-libev-p10 and x-libev-p90: their spread.
//	  - x-libev-cpu: the same of processor time, which other processes disturb
//	    less.
//
// The lines of loop=libev compare libev with itself in a second process: how far
// they are from 1 is what the machine makes of equals.
//
// # Chain
//
// A byte in some of n pipes; the callback of a readable pipe takes the byte and
// writes one into the next pipe, 50,000 times in a round. An event is a wait's
// share, a dispatch, a read and nearly always a write. In Go the two calls are
// either raw (right for descriptors that do not block) or plain (unix.Read,
// unix.Write). What is set up, and the first bytes, are outside the clock.
//
// The goroutines are not locked to threads, as they would not be in use. The
// programs in C have a second, idle thread, because in a process with one thread
// the kernel looks descriptors up faster, and libc's read and write skip their
// checks for cancellation; no Go process has one. With a single thread libev takes
// 2 to 10 % less.
//
// # Timers
//
// A million timers, due at random within a second, the same for both loops.
//
//   - new: they are allocated and armed: AfterFunc, and malloc with
//     ev_timer_start.
//   - arm: those that exist are armed: Reset, and ev_timer_start.
//   - fire: the loop runs when all are due.
//   - reset: all that are armed are moved to other times: Reset, and
//     ev_timer_again.
//   - stop: all are stopped, in the order in which they were armed.
//
// All but fire is done in a callback of iomux's loop, and the time goes on until
// the loop is ready to wait, as it puts off some of the work until then. It looks
// at the clock once at the end of the turn and is never early. libev counts from
// the time at which its turn began and is early by what the turn has taken since;
// the line of loop=libev-now asks it to look at the clock before each timer
// (ev_now_update), which is what never being early costs there.
package peers
