package mux

// Backend poll: poll(2), as ppoll for its finer timeouts.

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pollSet keeps descriptors in an array of pollfd. The first place is the
// waker's. The kernel skips negative descriptors: a spent Oneshot keeps its
// place with the complement of its number.
type pollSet struct {
	m   *multiplexer
	fds []unix.PollFd

	// During a wait the kernel reads and writes the array that active is.
	// Whoever changes the set meanwhile leaves that one alone and goes on with a
	// copy (own).
	active []unix.PollFd
	lent   bool // active is fds
	spare  []unix.PollFd

	began uint64 // the table's generation when the wait began
	n     int    // how many places of active have events
	next  int    // where in active to go on
	ts    unix.Timespec
}

func openPoll() (Mux, error) {
	return open("poll", false, func(m *multiplexer) (kernelSet, error) {
		return &pollSet{m: m, fds: []unix.PollFd{{Fd: int32(m.waker.fd), Events: unix.POLLIN}}}, nil
	})
}

// own makes sure that fds is not what the kernel has in hand, and that a
// waiter looks at the change.
func (s *pollSet) own() {
	if s.lent {
		s.fds, s.spare = append(s.spare[:0], s.fds...), s.fds
		s.lent = false
	}
	s.m.kick()
}

func (s *pollSet) arm(fd int, e *entry) error {
	if err := checkOpen(fd); err != nil {
		return err
	}
	s.own()
	if !e.known {
		e.known, e.slot = true, int32(len(s.fds))
		s.fds = append(s.fds, unix.PollFd{})
	}
	s.fds[e.slot] = unix.PollFd{Fd: int32(fd), Events: int16(toPoll(e.want))}
	return nil
}

func (s *pollSet) disarm(fd int, e *entry) {
	if !e.known {
		return
	}
	s.own()
	last := s.fds[len(s.fds)-1]
	s.fds[e.slot] = last
	s.m.table.entries[max(last.Fd, ^last.Fd)].slot = e.slot
	s.fds = s.fds[:len(s.fds)-1]
	e.known = false
}

func (s *pollSet) begin(int) {
	s.active, s.lent, s.began = s.fds, true, s.m.table.gen
}

func (s *pollSet) wait(timeout time.Duration) syscall.Errno {
	var ts *unix.Timespec
	if timeout >= 0 {
		s.ts = timespec(timeout)
		ts = &s.ts
	}
	n, _, errno := unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&s.active[0])),
		uintptr(len(s.active)), uintptr(unsafe.Pointer(ts)), 0, 0, 0)
	if s.n = 0; errno == 0 {
		s.n = int(n)
	}
	return errno
}

// collect goes round the array from where the last one stopped, so that a small
// event slice does not starve the end of it.
func (s *pollSet) collect(events []Event) int {
	s.lent = false
	n := 0
	for range s.active {
		if s.n == 0 || n == len(events) {
			break
		}
		if s.next >= len(s.active) {
			s.next = 0
		}
		p := s.active[s.next]
		s.next++
		if p.Revents == 0 {
			continue
		}
		s.n--
		e := s.m.table.at(int(p.Fd))
		if e == nil || !e.armed || e.gen > s.began {
			continue // the waker, or what was changed during the wait
		}
		events[n] = e.event(fromPoll(uint32(uint16(p.Revents))))
		n++
		if e.want&Oneshot != 0 || p.Revents&unix.POLLNVAL != 0 {
			e.armed = false
			s.fds[e.slot].Fd = ^p.Fd
		}
	}
	return n
}

func (s *pollSet) close() error { return nil }
