package mux

// Backend epoll: epoll(7).

import (
	"math"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epollSet keeps descriptors in an epoll instance. The generation of a
// registration, as far as 32 bits hold it, goes along as the upper half of the
// kernel's data, so that an event of an earlier one is recognised.
type epollSet struct {
	m   *multiplexer
	fd  int
	buf []unix.EpollEvent
	max int // events to ask the kernel for in this wait
	n   int // events that it gave

	always []int32 // descriptors that the kernel refuses, in turn: they are always ready
	next   int     // where in always to go on
	odd    bool    // with room for one event, always and the kernel take turns
	busy   bool    // always was not empty when the wait began

	zombies bool // the kernel may hold a file under a number that is no longer its own
	pwait2  bool // the kernel has epoll_pwait2(2)
	ts      kernelTimespec
}

// kernelTimespec is struct __kernel_timespec, which epoll_pwait2(2) takes: 64
// bits on every machine.
type kernelTimespec struct{ sec, nsec int64 }

// The kernel is asked whether a number still names the file that was registered
// when it has been reported probeFirst times, and then after every probeEvery
// more. That bounds how often a closed descriptor that a duplicate keeps alive is
// reported: early for one that was closed young, rarely enough for one that is
// busy, as to ask costs about as much as to wait. Both divide the range of
// entry.reports.
const (
	probeFirst = 64
	probeEvery = 1024
)

func openEpoll() (Mux, error) {
	return open("epoll", true, func(m *multiplexer) (kernelSet, error) {
		s := &epollSet{m: m}
		var err error
		if s.fd, err = s.create(); err != nil {
			return nil, err
		}
		// Linux 5.11. Older kernels answer ENOSYS, and some container sandboxes
		// EPERM, for calls that they do not know.
		s.begin(1)
		s.pwait2 = true
		errno := s.wait(1)
		s.pwait2 = errno != syscall.ENOSYS && errno != syscall.EPERM
		return s, nil
	})
}

// create makes an epoll instance that watches the waker.
func (s *epollSet) create() (int, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, err
	}
	if err := control(fd, unix.EPOLL_CTL_ADD, s.m.waker.fd, unix.EPOLLIN, 0); err != 0 {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// control is epoll_ctl(2), which never blocks for long.
func control(epfd, op, fd int, events uint32, gen uint64) syscall.Errno {
	ev := unix.EpollEvent{Events: events, Fd: int32(fd), Pad: int32(gen)}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epfd), uintptr(op), uintptr(fd),
		uintptr(unsafe.Pointer(&ev)), 0, 0)
	return errno
}

func (e *entry) epollBits() uint32 {
	bits := toPoll(e.want)
	if e.want&Edge != 0 {
		bits |= unix.EPOLLET
	}
	if e.want&Oneshot != 0 {
		bits |= unix.EPOLLONESHOT
	}
	return bits
}

func (s *epollSet) arm(fd int, e *entry) error {
	errno := syscall.ENOENT
	if e.known {
		errno = control(s.fd, unix.EPOLL_CTL_MOD, fd, e.epollBits(), e.gen)
		// ENOENT, EPERM: the number names another file by now.
		s.zombies = s.zombies || errno == syscall.ENOENT || errno == syscall.EPERM
	}
	if errno == syscall.ENOENT {
		errno = control(s.fd, unix.EPOLL_CTL_ADD, fd, e.epollBits(), e.gen)
	}
	if errno == syscall.EEXIST { // closed and removed, then duplicated back to its old number
		errno = control(s.fd, unix.EPOLL_CTL_MOD, fd, e.epollBits(), e.gen)
	}
	if errno != 0 && errno != syscall.EPERM {
		return errno
	}
	e.known = errno == 0
	s.leaveAlways(fd, e)
	if errno == syscall.EPERM && e.want&(Readable|Writable) != 0 {
		e.always = true
		s.always = append(s.always, int32(fd))
		s.m.kick()
	}
	return nil
}

func (s *epollSet) disarm(fd int, e *entry) {
	s.leaveAlways(fd, e)
	if e.known && control(s.fd, unix.EPOLL_CTL_DEL, fd, 0, 0) != 0 {
		// Closed before it was removed. The kernel has forgotten it too, unless a
		// duplicate keeps the file open; collect finds out.
		s.zombies = true
	}
	e.known = false
}

// leaveAlways takes an entry off the list of what is always ready, if it is on
// it.
func (s *epollSet) leaveAlways(fd int, e *entry) {
	if !e.always {
		return
	}
	e.always = false
	i := slices.Index(s.always, int32(fd))
	s.always = slices.Delete(s.always, i, i+1)
	if i < s.next {
		s.next--
	}
}

func (s *epollSet) begin(max int) {
	// What the kernel reports must fit, for it does not repeat edges; what is
	// always ready gets up to half of the room.
	n := len(s.always)
	if s.busy = n > 0; s.busy {
		if s.odd = !s.odd; max == 1 && s.odd {
			max = 0
		} else {
			max -= min(n, max/2)
		}
	}
	s.max = max
	if len(s.buf) < max {
		s.buf = make([]unix.EpollEvent, max)
	}
}

func (s *epollSet) wait(timeout time.Duration) syscall.Errno {
	if s.n = 0; s.max == 0 {
		return 0
	}
	if timeout == 0 || s.busy {
		return s.poll()
	}
	var n uintptr
	var errno syscall.Errno
	if timeout > 0 && s.pwait2 {
		s.ts = kernelTimespec{int64(timeout / time.Second), int64(timeout % time.Second)}
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(s.fd),
			uintptr(unsafe.Pointer(&s.buf[0])), uintptr(s.max), uintptr(unsafe.Pointer(&s.ts)), 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.fd),
			uintptr(unsafe.Pointer(&s.buf[0])), uintptr(s.max), uintptr(milliseconds(timeout)), 0, 0)
	}
	return s.took(n, errno)
}

// poll looks without blocking, so that the runtime need not be told.
func (s *epollSet) poll() syscall.Errno {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.fd),
		uintptr(unsafe.Pointer(&s.buf[0])), uintptr(s.max), 0, 0, 0)
	return s.took(n, errno)
}

func (s *epollSet) took(n uintptr, errno syscall.Errno) syscall.Errno {
	if errno == 0 {
		s.n = int(n)
	}
	return errno
}

// milliseconds rounds a timeout up to what epoll_wait(2) takes; -1 is for ever.
func milliseconds(timeout time.Duration) int {
	if timeout < 0 {
		return -1
	}
	ms := timeout / time.Millisecond
	if timeout%time.Millisecond > 0 {
		ms++
	}
	return int(min(ms, math.MaxInt32))
}

func (s *epollSet) collect(events []Event) int {
	n := s.collectPolled(events)
	n += s.collectAlways(events[n:])
	if n == 0 && s.max == 0 {
		// It was the turn of what is always ready, and none of it is any more.
		if s.max = 1; s.poll() == 0 {
			n = s.collectPolled(events)
		}
	}
	return n
}

// collectPolled translates what the kernel has found.
func (s *epollSet) collectPolled(events []Event) int {
	n, rebuild := 0, false
	table := s.m.table // nothing below changes its size
	for i := range s.buf[:s.n] {
		kev := &s.buf[i]
		e := table.at(int(kev.Fd))
		if e == nil || !e.armed || uint32(e.gen) != uint32(kev.Pad) {
			// The waker, a registration that was changed since the kernel
			// queued the event, or a file that outlived its number.
			rebuild = rebuild || s.zombies && int(kev.Fd) != s.m.waker.fd
			continue
		}
		ready := fromPoll(kev.Events)
		if e.want&Oneshot != 0 {
			e.armed = false // as the kernel has done
		} else if e.reports++; e.reports%probeEvery == probeFirst && !s.names(int(kev.Fd), e) {
			// Closed while registered, and a duplicate keeps the file open.
			e.armed, e.known = false, false
			ready, s.zombies, rebuild = Error, true, true
		}
		events[n] = e.event(ready)
		n++
	}
	if rebuild {
		s.rebuild()
	}
	return n
}

// names reports whether the number of a registration still names the file that
// the kernel watches for it. Adding it once more is the way to ask: changing it
// would repeat an edge.
func (s *epollSet) names(fd int, e *entry) bool {
	errno := control(s.fd, unix.EPOLL_CTL_ADD, fd, e.epollBits(), e.gen)
	if errno == 0 { // it names another one
		control(s.fd, unix.EPOLL_CTL_DEL, fd, 0, 0)
	}
	return errno == syscall.EEXIST
}

// collectAlways reports the descriptors that are always ready, in turn. It
// offers each to the kernel again, whose answer tells whether the number still
// names such a file.
func (s *epollSet) collectAlways(events []Event) int {
	n := 0
	for range len(s.always) {
		if n == len(events) {
			break
		}
		if s.next >= len(s.always) {
			s.next = 0
		}
		fd := int(s.always[s.next])
		e := s.m.table.at(fd)
		ready := Readable | Writable
		switch control(s.fd, unix.EPOLL_CTL_ADD, fd, e.epollBits(), e.gen) {
		case 0: // it names a file that the kernel watches by now
			s.leaveAlways(fd, e)
			e.known = true
			continue
		case syscall.EPERM:
			if e.want&modes == 0 {
				s.next++
				break
			}
			s.leaveAlways(fd, e)
			e.armed = false
		default: // closed while registered
			s.leaveAlways(fd, e)
			e.armed = false
			ready = Error
		}
		events[n] = e.event(ready)
		n++
	}
	return n
}

// rebuild replaces the epoll instance, which is the only way to be rid of a
// file whose number is gone (see "Questions and answers" in epoll(7)). If the
// kernel refuses, the old instance stays and stale events are dropped one by
// one.
func (s *epollSet) rebuild() {
	fd, err := s.create()
	if err != nil {
		return
	}
	for i := range s.m.table.entries {
		e := &s.m.table.entries[i]
		if !e.known || !e.armed || !s.names(i, e) {
			continue
		}
		if control(fd, unix.EPOLL_CTL_ADD, i, e.epollBits(), e.gen) != 0 {
			unix.Close(fd)
			return
		}
	}
	unix.Close(s.fd)
	s.fd, s.zombies = fd, false
	for i := range s.m.table.entries {
		e := &s.m.table.entries[i]
		e.known = e.known && e.armed // a spent Oneshot is not in the new one
	}
}

func (s *epollSet) close() error { return unix.Close(s.fd) }
