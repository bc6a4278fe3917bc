package bench

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"iomux/mux"
	"iomux/mux/loop"
)

// BenchmarkChain passes bytes along a chain of n pipes: some of them hold one at
// first, and whoever finds his pipe readable reads the byte and writes one into
// the next pipe, until enough has been written (libevent's test/bench.c
// describes it). ns/event is for a callback with its read and its write.
func BenchmarkChain(b *testing.B) {
	eachChain(b, func(b *testing.B, c *chain) {
		eachBackend(b, func(b *testing.B, m mux.Mux) {
			d := newOnLoop(b, m, c)
			d.attach()
			rounds := 0
			for b.Loop() {
				c.round(d)
				rounds++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rounds*c.total), "ns/event")
		})
	})
}

// BenchmarkOverhead runs the chain on a loop over epoll and on a bare loop
// written by hand, round about, with the same pipes. x-bare is the median of the
// ratios of the processor time of rounds that follow each other, x-bare-p10 and
// x-bare-p90 are their spread.
func BenchmarkOverhead(b *testing.B) {
	eachChain(b, func(b *testing.B, c *chain) {
		m, err := mux.Open("epoll")
		if err != nil {
			b.Fatal(err)
		}
		both := [2]dispatcher{newOnLoop(b, m, c), newOnBare(b, c)}
		var ratios []float64
		for b.Loop() {
			var took [2]time.Duration
			for i := range both {
				who := (i + len(ratios)) % 2 // each is first half of the time
				both[who].attach()
				c.round(both[who]) // what the other one left in the caches is gone
				took[who] = c.round(both[who])
				both[who].detach()
			}
			ratios = append(ratios, took[0].Seconds()/took[1].Seconds())
		}
		slices.Sort(ratios)
		for name, at := range map[string]float64{"x-bare": 0.5, "x-bare-p10": 0.1, "x-bare-p90": 0.9} {
			b.ReportMetric(ratios[int(at*float64(len(ratios)-1)+0.5)], name)
		}
	})
}

func eachChain(b *testing.B, run func(b *testing.B, c *chain)) {
	for _, calls := range []calls{raw, plain} {
		for _, size := range []struct{ n, active int }{{100, 1}, {100, 100}, {1000, 100}, {9900, 100}} {
			b.Run(fmt.Sprintf("calls=%s/n=%d/active=%d", calls.name, size.n, size.active), func(b *testing.B) {
				run(b, newChain(b, size.n, size.active, calls))
			})
		}
	}
}

// calls is how the callbacks read and write. Raw system calls are right for what
// cannot block, and show the more what the loop costs; plain ones tell Go's
// scheduler.
type calls struct {
	name        string
	read, write func(fd int, p []byte) (int, error)
}

var (
	raw = calls{"raw",
		func(fd int, p []byte) (int, error) { return rawCall(syscall.SYS_READ, fd, p) },
		func(fd int, p []byte) (int, error) { return rawCall(syscall.SYS_WRITE, fd, p) },
	}
	plain = calls{"plain", unix.Read, unix.Write}
)

func rawCall(trap uintptr, fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// chain is the job, whoever dispatches.
type chain struct {
	pipes  [][2]int
	active int
	total  int // writes in a round, the first ones included
	calls  calls

	b             *testing.B
	reads, writes int
	buf           [1]byte
}

func newChain(b *testing.B, n, active int, calls calls) *chain {
	return &chain{b: b, pipes: pipes(b, n), active: active, total: max(5000, 2*n), calls: calls}
}

// dispatcher calls step of each pipe that is readable.
type dispatcher interface {
	attach() // watches the pipes
	detach()
	run() // until a step says that the round is over
}

// round runs one round and returns the processor time that it took: nothing in it
// sleeps, and what else the machine does is left out.
func (c *chain) round(d dispatcher) time.Duration {
	c.reads, c.writes = 0, 0
	for i := range c.active {
		c.write(i * len(c.pipes) / c.active)
	}
	start := cpuTime(c.b)
	d.run()
	took := cpuTime(c.b) - start
	if c.reads != c.total || c.writes != c.total {
		c.b.Fatalf("%d reads, %d writes; want %d of each", c.reads, c.writes, c.total)
	}
	return took
}

// cpuTime is the processor time of the process so far.
func cpuTime(b *testing.B) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// step is the callback of pipe i. It reports whether the round is over.
func (c *chain) step(i int) (done bool) {
	if n, err := c.calls.read(c.pipes[i][0], c.buf[:]); n != 1 {
		c.b.Fatalf("read: %d, %v", n, err)
	}
	c.reads++
	if c.writes < c.total {
		c.write((i + 1) % len(c.pipes))
	}
	return c.reads == c.total
}

func (c *chain) write(i int) {
	if n, err := c.calls.write(c.pipes[i][1], c.buf[:]); n != 1 {
		c.b.Fatalf("write: %d, %v", n, err)
	}
	c.writes++
}

// onLoop dispatches by a loop on a multiplexer.
type onLoop struct {
	b       *testing.B
	l       *loop.Loop
	watches []*loop.Watch
}

func newOnLoop(b *testing.B, m mux.Mux, c *chain) *onLoop {
	d := &onLoop{b: b, l: loop.New(m)}
	b.Cleanup(func() { d.l.Close() })
	for i := range c.pipes {
		d.watches = append(d.watches, watch(b, d.l, c.pipes[i][0], 0, func(mux.Event) {
			if c.step(i) {
				d.l.Stop()
			}
		}))
	}
	return d
}

func (d *onLoop) attach() { d.set(mux.Readable) }
func (d *onLoop) detach() { d.set(0) }

func (d *onLoop) set(want mux.Interest) {
	for _, w := range d.watches {
		if err := w.Set(want); err != nil {
			d.b.Fatal(err)
		}
	}
}

func (d *onLoop) run() {
	if err := d.l.Run(context.Background()); err != nil {
		d.b.Fatal(err)
	}
}

// onBare dispatches by epoll(7) and nothing else.
type onBare struct {
	b        *testing.B
	epfd     int
	pipes    [][2]int
	handlers []func(ready uint32)
	events   []unix.EpollEvent
	done     bool
}

func newOnBare(b *testing.B, c *chain) *onBare {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(epfd) })
	d := &onBare{b: b, epfd: epfd, pipes: c.pipes, events: make([]unix.EpollEvent, 128)}
	for i := range c.pipes {
		d.handlers = append(d.handlers, func(uint32) { d.done = c.step(i) })
	}
	return d
}

func (d *onBare) attach() { d.control(unix.EPOLL_CTL_ADD) }
func (d *onBare) detach() { d.control(unix.EPOLL_CTL_DEL) }

func (d *onBare) control(op int) {
	for i := range d.pipes {
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(d.epfd, op, d.pipes[i][0], &ev); err != nil {
			d.b.Fatal(err)
		}
	}
}

func (d *onBare) run() {
	for d.done = false; !d.done; {
		n, err := unix.EpollWait(d.epfd, d.events, -1)
		if err != nil && err != unix.EINTR {
			d.b.Fatal(err)
		}
		for _, ev := range d.events[:max(n, 0)] {
			d.handlers[ev.Fd](ev.Events)
		}
	}
}
