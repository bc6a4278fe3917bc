package mux

import (
	"math"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// multiplexer is what every backend shares: the semantics of Mux, once. A
// backend is a kernelSet, which only translates.
type multiplexer struct {
	name  string
	edges bool // the backend has edge-triggering
	set   kernelSet
	waker waker

	mu       sync.Mutex // guards everything below, and set but for its wait
	table    table
	glance   glance
	waiting  bool // a goroutine is in Wait
	sleeping bool // it is in a system call that may block
	kicked   bool // it has been told to look again
	woken    bool // Wake was called and no Wait has returned since
	closed   bool
	left     sync.Cond // on mu: the waiter has left, after Close
}

// kernelSet is the set of armed descriptors as a system call wants it. All
// methods but wait are called with the multiplexer's mutex held.
type kernelSet interface {
	// arm makes the kernel watch fd as e says, whether it watches it already
	// or not. e has a condition to watch for. A failure changes nothing.
	arm(fd int, e *entry) error
	// disarm makes the kernel stop watching fd. It leaves e.armed to its caller.
	disarm(fd int, e *entry)
	// begin prepares a wait for at most max events.
	begin(max int)
	// wait is the system call, made without the mutex.
	wait(timeout time.Duration) syscall.Errno
	// collect translates what wait found into events.
	collect(events []Event) int
	// close releases the kernel's objects.
	close() error
}

// open completes a multiplexer: newSet makes the kernel's set around the
// wakeup descriptor.
func open(name string, edges bool, newSet func(*multiplexer) (kernelSet, error)) (Mux, error) {
	m := &multiplexer{name: name, edges: edges}
	m.left.L = &m.mu
	var err error
	if m.waker, err = newWaker(); err != nil {
		return nil, m.fail(opOpen, -1, err)
	}
	if m.set, err = newSet(m); err != nil {
		m.waker.close()
		return nil, m.fail(opOpen, -1, err)
	}
	return m, nil
}

func (m *multiplexer) Name() string { return m.name }

func (m *multiplexer) Add(fd int, want Interest, token uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(opAdd, fd, want); err != nil {
		return err
	}
	if m.table.at(fd) != nil {
		return m.fail(opAdd, fd, syscall.EEXIST)
	}
	e := entry{registered: true, token: token, want: want, gen: m.table.nextGen()}
	if err := m.apply(fd, &e); err != nil {
		return m.fail(opAdd, fd, err)
	}
	m.table.put(fd, e)
	return nil
}

func (m *multiplexer) Modify(fd int, want Interest, token uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(opModify, fd, want); err != nil {
		return err
	}
	e := m.table.at(fd)
	if e == nil {
		return m.fail(opModify, fd, syscall.ENOENT)
	}
	old := *e
	e.token, e.want, e.gen = token, want, m.table.nextGen()
	if err := m.apply(fd, e); err != nil {
		*e = old
		return m.fail(opModify, fd, err)
	}
	return nil
}

// apply makes the kernel watch fd as e says. If it fails, nothing has changed.
func (m *multiplexer) apply(fd int, e *entry) error {
	if e.want&conditions != 0 {
		if err := m.set.arm(fd, e); err != nil {
			return err
		}
		e.armed = true
		return nil
	}
	// epoll and poll report a hang-up for ever on an empty mask, so what is to
	// be silent must leave the kernel's set.
	if err := checkOpen(fd); err != nil {
		return err
	}
	m.set.disarm(fd, e)
	e.armed = false
	return nil
}

func (m *multiplexer) Remove(fd int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return os.ErrClosed
	}
	e := m.table.at(fd)
	if e == nil {
		return m.fail(opRemove, fd, syscall.ENOENT)
	}
	m.set.disarm(fd, e)
	*e = entry{}
	return nil
}

// check refuses what is wrong on every backend.
func (m *multiplexer) check(op string, fd int, want Interest) error {
	switch {
	case m.closed:
		return os.ErrClosed
	case op == opAdd && (fd < 0 || fd > math.MaxInt32):
		return m.fail(op, fd, syscall.EBADF) // the kernel would look at 32 bits of it
	case op == opAdd && fd == m.waker.fd:
		return &OpError{Op: op, Backend: m.name, FD: fd, Err: syscall.EINVAL,
			hint: "it belongs to this Mux: is the number that of a descriptor closed before?"}
	case want&^(conditions|modes) != 0:
		return &OpError{Op: op, Backend: m.name, FD: fd, Err: syscall.EINVAL,
			hint: "interest " + want.String() + ": only readable, writable, priority, oneshot and edge can be asked for"}
	case want&Edge != 0 && !m.edges:
		return &OpError{Op: op, Backend: m.name, FD: fd, Err: syscall.EOPNOTSUPP,
			hint: "this backend has no edge-triggering"}
	}
	return nil
}

func (m *multiplexer) Wait(events []Event, timeout time.Duration) (int, error) {
	if len(events) == 0 {
		return 0, &OpError{Op: opWait, Backend: m.name, FD: -1, Err: syscall.EINVAL,
			hint: "the event slice is empty"}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting && !m.closed {
		return 0, ErrWaiting
	}
	glancing := timeout != 0 && m.glance.pays()
	var start time.Time
	for left := timeout; ; {
		switch {
		case m.closed:
			return 0, os.ErrClosed
		case m.woken || glancing:
			left = 0
		case timeout > 0 && start.IsZero():
			start = time.Now()
		}
		m.waiting, m.sleeping = true, left != 0
		m.set.begin(len(events))
		m.mu.Unlock()

		errno := m.set.wait(left)

		m.mu.Lock()
		if m.kicked {
			m.waker.drain()
		}
		m.waiting, m.sleeping, m.kicked = false, false, false
		if m.closed {
			m.left.Signal()
			return 0, os.ErrClosed
		}
		n := 0
		if errno == 0 {
			n = m.set.collect(events)
		}
		woken := m.woken
		m.woken = false

		switch {
		case n > 0:
			if glancing {
				m.glance.hit()
			}
			return n, nil
		case errno != 0 && errno != syscall.EINTR:
			return 0, m.fail(opWait, -1, errno)
		case woken || timeout == 0:
			return 0, nil
		case glancing:
			m.glance.miss()
			glancing, left = false, timeout
		case timeout > 0:
			if left = timeout - time.Since(start); left <= 0 {
				return 0, nil
			}
		}
		// Interrupted, kicked, or nothing but events that had become stale.
	}
}

// glance decides which waits look first without blocking. Under load there is
// something already, and neither Go's scheduler nor the clock need be asked; where
// there is nothing again and again, fewer and fewer waits try.
type glance struct {
	ahead  uint8 // waits to come before one tries again
	misses uint8 // how many in a row found nothing
}

func (g *glance) pays() bool {
	if g.ahead > 0 {
		g.ahead--
		return false
	}
	return true
}

func (g *glance) hit() { g.misses = 0 }

func (g *glance) miss() {
	g.misses = min(g.misses+1, 7)
	g.ahead = 1<<g.misses - 1
}

func (m *multiplexer) Wake() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return os.ErrClosed
	}
	m.woken = true
	m.kick()
	return nil
}

// kick makes a sleeping waiter look again. It costs a system call only if there
// is one that has not been kicked yet.
func (m *multiplexer) kick() {
	if m.sleeping && !m.kicked {
		m.kicked = true
		m.waker.signal()
	}
}

func (m *multiplexer) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return os.ErrClosed
	}
	m.closed = true
	m.kick()
	for m.waiting {
		m.left.Wait()
	}
	err := m.set.close()
	if werr := m.waker.close(); err == nil {
		err = werr
	}
	m.table = table{}
	if err != nil {
		return m.fail(opClose, -1, err)
	}
	return nil
}

// event makes the event for what the kernel reported of a registered
// descriptor.
func (e *entry) event(ready Interest) Event {
	if ready&(Hangup|Error) != 0 {
		ready |= Readable | Writable
	}
	return Event{Token: e.token, Ready: ready & (e.want | Hangup | Error)}
}

// fail is the one constructor of errors that the kernel, or the table in its
// stead, has found.
func (m *multiplexer) fail(op string, fd int, err error) error {
	hint := ""
	if errno, ok := err.(syscall.Errno); ok {
		hint = hintFor(errno)
	}
	return &OpError{Op: op, Backend: m.name, FD: fd, Err: err, hint: hint}
}

// checkOpen tells whether fd is an open descriptor, for the sets that the
// kernel only looks at when it waits.
func checkOpen(fd int) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFD, 0); errno != 0 {
		return errno
	}
	return nil
}
