package muxtest

import (
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"iomux/mux"
)

// epollReference has only what the cases about files that outlive their
// descriptors need, for which epoll is notorious. It is not for concurrent use.
type epollReference struct {
	bug     string
	mu      sync.Mutex
	epfd    int
	gen     int32
	entries []epollEntry
	closed  bool
}

type epollEntry struct {
	fd    int
	want  mux.Interest
	token uint64
	gen   int32
	dead  bool // closed while registered, or a spent Oneshot
}

func openEpollReference(bug string) (mux.Mux, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &epollReference{bug: bug, epfd: epfd}, err
}

func (m *epollReference) Name() string { return "epoll reference" }

func (m *epollReference) Wake() error { return nil }

func (m *epollReference) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return os.ErrClosed
	}
	m.closed = true
	return unix.Close(m.epfd)
}

func (m *epollReference) control(op int, e epollEntry) error {
	bits := uint32(0)
	if e.want&mux.Readable != 0 {
		bits |= unix.EPOLLIN
	}
	if e.want&mux.Writable != 0 {
		bits |= unix.EPOLLOUT
	}
	return unix.EpollCtl(m.epfd, op, e.fd, &unix.EpollEvent{Events: bits, Fd: int32(e.fd), Pad: e.gen})
}

// watch watches e, which the kernel may know: from before a Modify, or because an
// old file is back at its old number.
func (m *epollReference) watch(e epollEntry) error {
	err := m.control(unix.EPOLL_CTL_ADD, e)
	if err == unix.EEXIST {
		err = m.control(unix.EPOLL_CTL_MOD, e)
	}
	return err
}

func (m *epollReference) find(fd int) int {
	return slices.IndexFunc(m.entries, func(e epollEntry) bool { return e.fd == fd })
}

func (m *epollReference) Add(fd int, want mux.Interest, token uint64) error {
	if m.find(fd) >= 0 {
		return referenceError("add", fd, syscall.EEXIST)
	}
	m.gen++
	e := epollEntry{fd: fd, want: want, token: token, gen: m.gen}
	if err := m.watch(e); err != nil {
		return referenceError("add", fd, err.(syscall.Errno))
	}
	m.entries = append(m.entries, e)
	return nil
}

func (m *epollReference) Modify(fd int, want mux.Interest, token uint64) error {
	i := m.find(fd)
	if i < 0 {
		return referenceError("modify", fd, syscall.ENOENT)
	}
	m.gen++
	e := epollEntry{fd: fd, want: want, token: token, gen: m.gen}
	if err := m.watch(e); err != nil {
		return referenceError("modify", fd, err.(syscall.Errno))
	}
	m.entries[i] = e
	return nil
}

func (m *epollReference) Remove(fd int) error {
	i := m.find(fd)
	if i < 0 {
		return referenceError("remove", fd, syscall.ENOENT)
	}
	e := m.entries[i]
	m.entries = slices.Delete(m.entries, i, i+1)
	if m.bug != "Remove leaves it to close to tell the kernel" {
		m.control(unix.EPOLL_CTL_DEL, e)
	}
	return nil
}

func (m *epollReference) Wait(events []mux.Event, timeout time.Duration) (int, error) {
	buf := make([]unix.EpollEvent, len(events))
	for start := time.Now(); ; {
		ms := -1
		if timeout >= 0 {
			ms = int((max(0, timeout-time.Since(start)) + time.Millisecond - 1) / time.Millisecond)
		}
		got, err := unix.EpollWait(m.epfd, buf, ms)
		if err != nil && err != unix.EINTR {
			return 0, referenceError("wait", -1, err.(syscall.Errno))
		}
		n := 0
		stale := false
		for _, kev := range buf[:max(0, got)] {
			i := m.find(int(kev.Fd))
			if i < 0 || m.entries[i].gen != kev.Pad && m.bug != "kernel events have no generation check" {
				stale = true
				continue
			}
			e := &m.entries[i]
			if e.dead {
				continue
			}
			ready := mux.Readable & e.want
			if kev.Events&unix.EPOLLOUT != 0 {
				ready = mux.Writable
			}
			if m.control(unix.EPOLL_CTL_MOD, *e) != nil { // closed while registered
				e.dead, stale = true, true
				ready = e.want&(mux.Readable|mux.Writable) | mux.Error
			}
			if e.want&mux.Oneshot != 0 {
				e.dead, stale = true, true
			}
			events[n] = mux.Event{Token: e.token, Ready: ready}
			n++
		}
		switch m.bug {
		case "stale kernel events are filtered for ever", "Remove leaves it to close to tell the kernel":
		default:
			if stale {
				m.rebuild()
			}
		}
		if n > 0 || timeout >= 0 && time.Since(start) >= timeout {
			return n, nil
		}
	}
}

// rebuild is the only way to be rid of a file whose descriptor is gone.
func (m *epollReference) rebuild() {
	unix.Close(m.epfd)
	m.epfd, _ = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	for _, e := range m.entries {
		if !e.dead {
			m.control(unix.EPOLL_CTL_ADD, e)
		}
	}
}
