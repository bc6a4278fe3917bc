package jobs

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Chain passes bytes along a chain of pipes: some of them hold one at first, and
// whoever finds his pipe readable reads the byte and writes one into the next
// pipe, until enough has been written (libevent's test/bench.c describes it).
type Chain struct {
	pipes  [][2]int // read end, write end
	active int
	writes int // in a round, besides the first ones
	calls  Calls
	left   int // to write in this round
	reads  int
	err    error
	buf    [1]byte
}

// Calls is how callbacks read and write.
type Calls struct {
	Name        string
	read, write func(fd int, p []byte) (int, error)
}

var (
	// Raw system calls are right for what cannot block, and show the more what
	// a loop costs.
	Raw = Calls{"raw",
		func(fd int, p []byte) (int, error) { return rawCall(unix.SYS_READ, fd, p) },
		func(fd int, p []byte) (int, error) { return rawCall(unix.SYS_WRITE, fd, p) },
	}
	// Plain ones tell Go's scheduler.
	Plain = Calls{"plain", unix.Read, unix.Write}
)

func rawCall(trap uintptr, fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// NewChain opens n pipes, of which active hold a byte when a round begins. In a
// round active+writes callbacks run.
func NewChain(n, active, writes int, calls Calls) (*Chain, error) {
	c := &Chain{active: active, writes: writes, calls: calls}
	for range n {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			c.Close()
			return nil, fmt.Errorf("pipe %d of %d: %w", len(c.pipes)+1, n, err)
		}
		c.pipes = append(c.pipes, p)
	}
	return c, nil
}

// Close closes the pipes.
func (c *Chain) Close() {
	for _, p := range c.pipes {
		unix.Close(p[0])
		unix.Close(p[1])
	}
}

// round plays a round on a dispatcher, which runs until step says that it is
// over.
func (c *Chain) round(dispatch func() error) (Sample, error) {
	c.left, c.reads, c.err = c.writes, 0, nil
	for i := range c.active {
		if c.put(i * len(c.pipes) / c.active); c.err != nil {
			return Sample{}, c.err
		}
	}
	return Timed(c.active+c.writes, func() error {
		if err := dispatch(); err != nil {
			return err
		}
		return c.err
	})
}

// step is the callback of pipe i. It reports whether the round is over.
func (c *Chain) step(i int) bool {
	if n, err := c.calls.read(c.pipes[i][0], c.buf[:]); n != 1 {
		return c.fail("read", i, n, err)
	}
	c.reads++
	if c.left > 0 {
		c.left--
		c.put((i + 1) % len(c.pipes))
	}
	return c.reads == c.active+c.writes || c.err != nil
}

func (c *Chain) put(i int) {
	if n, err := c.calls.write(c.pipes[i][1], c.buf[:]); n != 1 {
		c.fail("write", i, n, err)
	}
}

func (c *Chain) fail(op string, i, n int, err error) (over bool) {
	if err == nil {
		err = fmt.Errorf("%d bytes, want 1", n)
	}
	c.err = fmt.Errorf("%s: pipe %d: %w", op, i, err)
	return true
}
