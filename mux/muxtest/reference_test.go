package muxtest

import (
	"math"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"iomux/mux"
)

// reference is the contract in its simplest form, on poll(2): every Wait builds
// its array anew, and every change makes it do so. Its bug, if it has one, is
// named in [bugs].
type reference struct {
	bug    string
	kicker int // an eventfd, in every array

	mu      sync.Mutex
	idle    sync.Cond        // waiting has become false
	entries []referenceEntry // in the order of registration
	gen     uint64           // of the latest change
	woken   int              // Wakes since a Wait returned
	wakes   int              // the same, but for one bug
	calls   int              // of Wake, ever
	waiting bool
	closed  bool

	// The waiter's own.
	fds   []unix.PollFd
	old   []referenceEntry // what fds was built from
	rest  []int            // the bug's: descriptors that did not fit
	next  int
	ts    unix.Timespec
	count [8]byte
}

type referenceEntry struct {
	fd    int
	want  mux.Interest
	token uint64
	gen   uint64
	spent bool // a Oneshot that was reported, or a descriptor that was closed
	gone  bool // the bug's: removed and still there
}

func openReference(bug string) (mux.Mux, error) {
	if bug == "it does not open" {
		return nil, referenceError("open", -1, syscall.ENOSYS)
	}
	flags := unix.EFD_NONBLOCK | unix.EFD_CLOEXEC
	if bug == "a descriptor is not close-on-exec" {
		flags = unix.EFD_NONBLOCK
	}
	kicker, err := unix.Eventfd(0, flags)
	if err != nil {
		return nil, err
	}
	m := &reference{bug: bug, kicker: kicker}
	m.idle.L = &m.mu
	return m, nil
}

func (m *reference) Name() string { return "reference" }

func (m *reference) find(fd int) int {
	return slices.IndexFunc(m.entries, func(e referenceEntry) bool { return e.fd == fd && !e.gone })
}

func referenceError(op string, fd int, errno syscall.Errno) error {
	return &mux.OpError{Op: op, Backend: "reference", FD: fd, Err: errno}
}

func (m *reference) check(op string, fd int, want mux.Interest) error {
	if m.closed && m.bug != "a closed Mux goes on working" {
		return os.ErrClosed
	}
	if want&hints != 0 && m.bug != "report-only bits are accepted" {
		return referenceError(op, fd, syscall.EINVAL)
	}
	if want&mux.Edge != 0 && m.bug != "Edge is taken for level" {
		return referenceError(op, fd, syscall.EOPNOTSUPP)
	}
	return nil
}

func (m *reference) checkOpen(op string, fd int) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); (err != nil || fd > math.MaxInt32) && m.bug != "a bad descriptor is accepted" {
		return referenceError(op, fd, syscall.EBADF)
	}
	var st unix.Stat_t
	if m.bug == "EPERM of epoll_ctl(2) is passed on" && unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
		return referenceError(op, fd, syscall.EPERM)
	}
	return nil
}

func (m *reference) Add(fd int, want mux.Interest, token uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bug == "Add panics" {
		panic(m.bug)
	}
	if err := m.check("add", fd, want); err != nil {
		return err
	}
	if i := m.find(fd); i >= 0 {
		if m.bug != "a duplicate Add replaces" {
			return referenceError("add", fd, syscall.EEXIST)
		}
		m.entries = slices.Delete(m.entries, i, i+1)
	}
	err := m.checkOpen("add", fd)
	if err != nil && m.bug != "a refused Add leaves its entry" {
		return err
	}
	entries := m.entries
	if m.bug == "two changes at once lose one" {
		entries = slices.Clone(entries)
		m.mu.Unlock()
		runtime.Gosched()
		m.mu.Lock()
	}
	m.gen++
	m.entries = append(entries, referenceEntry{fd: fd, want: want, token: token, gen: m.gen})
	if m.bug != "an Add does not reach the Wait under way" {
		m.kick()
	}
	return err
}

func (m *reference) Modify(fd int, want mux.Interest, token uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("modify", fd, want); err != nil {
		return err
	}
	i := m.find(fd)
	if i < 0 && m.bug == "an unknown Modify registers" {
		i = len(m.entries)
		m.entries = append(m.entries, referenceEntry{fd: fd})
	}
	if i < 0 {
		return referenceError("modify", fd, syscall.ENOENT)
	}
	if err := m.checkOpen("modify", fd); err != nil {
		return err
	}
	if m.bug == "a Modify keeps the old token" {
		token = m.entries[i].token
	}
	m.gen++
	m.entries[i] = referenceEntry{fd: fd, want: want, token: token, gen: m.gen}
	switch m.bug {
	case "a Modify does not reach the Wait under way":
	case "a Modify ends the Wait under way":
		if m.waiting {
			m.woken++
		}
		m.kick()
	default:
		m.kick()
	}
	return nil
}

func (m *reference) Remove(fd int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed && m.bug != "a closed Mux goes on working" {
		return os.ErrClosed
	}
	i := m.find(fd)
	if i < 0 {
		if m.bug == "an unknown Remove succeeds" {
			return nil
		}
		return referenceError("remove", fd, syscall.ENOENT)
	}
	if m.bug == "Remove of a closed descriptor fails" {
		if err := m.checkOpen("remove", fd); err != nil {
			return err
		}
	}
	if m.bug == "a removed descriptor is reported" {
		m.entries[i].gone = true
		return nil
	}
	m.entries = slices.Delete(m.entries, i, i+1)
	if m.bug != "a Remove does not reach the Wait under way" {
		m.kick()
	}
	return nil
}

func (m *reference) Wake() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed && m.bug != "a closed Mux goes on working" {
		return os.ErrClosed
	}
	m.wakes++
	m.calls++
	if m.bug == "a Wake before the Wait is forgotten" && !m.waiting ||
		m.bug == "some Wakes are lost" && m.calls%100 == 0 {
		return nil
	}
	m.woken++
	m.kick()
	return nil
}

func (m *reference) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		if m.bug == "a closed Mux goes on working" {
			return nil
		}
		return os.ErrClosed
	}
	m.closed = true
	if m.bug != "Close leaves Wait blocked" {
		m.kick()
	}
	for m.waiting {
		m.idle.Wait()
	}
	if m.bug == "Close closes what was lent" {
		for _, e := range m.entries {
			unix.Close(e.fd)
		}
	}
	if m.bug != "Close leaves a descriptor open" {
		unix.Close(m.kicker)
	}
	return nil
}

var kick = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// kick makes the waiter look again.
func (m *reference) kick() { unix.Write(m.kicker, kick) }

func (m *reference) Wait(events []mux.Event, timeout time.Duration) (int, error) {
	if len(events) == 0 {
		if m.bug == "an empty slice is a time-out" {
			return 0, nil
		}
		return 0, referenceError("wait", -1, syscall.EINVAL)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed && (m.bug != "a closed Mux goes on working" || timeout != 0) {
		return 0, os.ErrClosed
	}
	if m.waiting && m.bug != "a second waiter is let in" {
		return 0, mux.ErrWaiting
	}
	m.waiting = true
	defer func() {
		m.waiting = false
		m.idle.Broadcast()
	}()
	if m.bug == "timeout 0 does not look" && timeout == 0 {
		m.woken = 0
		return 0, nil
	}
	if m.bug == "an empty set is refused" && len(m.entries) == 0 {
		return 0, referenceError("wait", -1, syscall.EINVAL)
	}
	if m.bug == "a Wake hides what is ready" && m.woken > 0 {
		m.woken = 0
		return 0, nil
	}

	start := time.Now()
	if m.bug == "the largest timeout overflows" && timeout > 0 && start.UnixNano()+int64(timeout) < 0 {
		timeout = 0
	}
	left := timeout
	for {
		m.build()
		if m.woken > 0 {
			left = 0
		}
		m.mu.Unlock()
		err := m.poll(left)
		m.mu.Lock()
		if m.closed && m.bug != "a closed Mux goes on working" {
			return 0, os.ErrClosed
		}
		if err == unix.EINTR && m.bug == "a signal ends the Wait" {
			return 0, nil
		}
		if err != nil && (err != unix.EINTR || m.bug == "EINTR is returned") {
			return 0, referenceError("wait", -1, err.(syscall.Errno))
		}
		n := 0
		if err == nil {
			if n, err = m.collect(events); err != nil {
				return 0, err
			}
		}
		if n > 0 || m.woken > 0 || timeout == 0 {
			if m.woken = 0; m.bug == "every Wake counts" {
				m.woken = max(0, m.wakes-1)
			}
			m.wakes = m.woken
			return n, nil
		}
		switch {
		case timeout < 0:
		case m.bug == "a signal starts the timeout again" && err == unix.EINTR:
			start = time.Now()
			left = timeout
		default:
			if left = timeout - time.Since(start); left <= 0 || m.bug == "a timeout is rounded down" {
				return 0, nil
			}
		}
	}
}

// build makes the array of what is armed.
func (m *reference) build() {
	m.fds, m.old = m.fds[:0], m.old[:0]
	if m.bug == "Wait allocates" {
		m.fds = nil
	}
	for _, e := range m.entries {
		bits := int16(0)
		if e.want&mux.Readable != 0 {
			bits |= unix.POLLIN
		}
		if e.want&mux.Writable != 0 {
			bits |= unix.POLLOUT
		}
		if e.want&mux.Priority != 0 {
			bits |= unix.POLLPRI
		}
		switch m.bug {
		case "conditions are reported that nobody asked for":
			bits |= unix.POLLIN | unix.POLLOUT
		case "an end of file sets Writable":
			bits |= unix.POLLRDHUP
		case "urgent data counts as data":
			bits |= unix.POLLPRI
		}
		if e.spent {
			if m.bug != "a spent Oneshot still reports hang-ups" || e.want&mux.Oneshot == 0 {
				continue
			}
			bits = 0
		} else if e.want&conditions == 0 && m.bug != "an empty interest still reports hang-ups" {
			continue
		}
		if m.bug == "numbers above 1023 are not watched" && e.fd > 1023 {
			continue
		}
		m.fds = append(m.fds, unix.PollFd{Fd: int32(e.fd), Events: bits})
		m.old = append(m.old, e)
	}
	m.fds = append(m.fds, unix.PollFd{Fd: int32(m.kicker), Events: unix.POLLIN})
}

func (m *reference) poll(timeout time.Duration) error {
	if m.bug == "silence is a busy loop" && timeout > 0 {
		timeout = 0
	}
	if m.bug == "a timeout is rounded down" && timeout > 0 {
		timeout = timeout.Truncate(time.Millisecond)
	}
	var ts *unix.Timespec
	if timeout >= 0 {
		m.ts = unix.NsecToTimespec(int64(min(timeout, time.Hour)))
		ts = &m.ts
	}
	_, err := unix.Ppoll(m.fds, ts, nil)
	if m.bug == "events in flight have no generation check" && timeout < 0 {
		time.Sleep(20 * time.Millisecond) // in flight for long enough on a busy machine, too
	}
	return err
}

// collect goes round the array from where the last Wait stopped.
func (m *reference) collect(events []mux.Event) (int, error) {
	last := len(m.fds) - 1
	if m.fds[last].Revents != 0 {
		unix.Read(m.kicker, m.count[:])
	}
	n := 0
	if m.bug == "leftover events have no generation check" {
		for _, fd := range m.rest {
			if i := m.find(fd); i >= 0 && n < len(events) {
				events[n] = mux.Event{Token: m.entries[i].token, Ready: mux.Readable}
				n++
			}
		}
		if m.rest = m.rest[:0]; n > 0 {
			return n, nil
		}
	}
	if m.bug == "every scan starts at the lowest descriptor" || m.next >= last {
		m.next = 0
	}
	first := m.next
	for i := range last {
		at := (first + i) % last
		p, e := m.fds[at], m.old[at]
		if p.Revents == 0 {
			continue
		}
		live := slices.IndexFunc(m.entries, func(have referenceEntry) bool { return have.gen == e.gen })
		if m.bug == "events in flight have no generation check" {
			if live = m.find(e.fd); live >= 0 {
				e = m.entries[live]
			}
		}
		if live < 0 && m.bug != "a Remove does not reach the Wait under way" {
			continue
		}
		if n == len(events) {
			if m.bug == "what does not fit is lost" {
				m.entries[live].spent = true
			}
			if m.bug == "leftover events have no generation check" {
				m.rest = append(m.rest, e.fd)
			}
			continue
		}
		if p.Revents&unix.POLLNVAL != 0 && m.bug == "a closed descriptor fails Wait" {
			return 0, referenceError("wait", -1, syscall.EBADF)
		}
		if m.bug == "an always ready file is reported once" && p.Revents&unix.POLLOUT != 0 && isNull(e.fd) {
			m.entries[live].spent = true
		}
		ready := m.translate(p.Revents, e.want)
		if ready == 0 {
			continue
		}
		m.next = at + 1
		events[n] = mux.Event{Token: e.token, Ready: ready}
		n++
		if both := mux.Readable | mux.Writable; m.bug == "one descriptor is two events in one Wait" && ready&both == both && n < len(events) {
			events[n-1].Ready &^= mux.Writable
			events[n] = mux.Event{Token: e.token, Ready: mux.Writable}
			n++
		}
		if live >= 0 && (e.want&mux.Oneshot != 0 && m.bug != "a spent Oneshot stays armed" ||
			p.Revents&unix.POLLNVAL != 0 && m.bug != "a closed descriptor is reported for ever" ||
			m.bug == "readiness is reported once") {
			m.entries[live].spent = true
		}
	}
	return n, nil
}

func isNull(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR
}

// translate makes conditions of what poll reported.
func (m *reference) translate(bits int16, want mux.Interest) mux.Interest {
	var ready mux.Interest
	if bits&unix.POLLIN != 0 {
		ready |= mux.Readable
	}
	if bits&unix.POLLOUT != 0 {
		ready |= mux.Writable
	}
	if bits&unix.POLLPRI != 0 {
		ready |= mux.Priority
		if m.bug == "urgent data counts as data" {
			ready |= mux.Readable
		}
	}
	if m.bug == "conditions are reported that nobody asked for" {
		return ready
	}
	hup, bad := bits&unix.POLLHUP != 0, bits&(unix.POLLERR|unix.POLLNVAL) != 0
	all := mux.Readable | mux.Writable
	switch {
	case hup && m.bug == "a hang-up does not set Readable":
		ready |= mux.Writable
	case hup && m.bug == "a hang-up does not set Writable":
		ready |= mux.Readable
	case hup && m.bug == "a hang-up hides the end of file":
		ready = mux.Hangup
	case hup, bits&unix.POLLRDHUP != 0:
		ready |= all
	}
	switch {
	case bad && m.bug == "an error does not set Writable":
		ready |= mux.Error | mux.Readable
	case bad && m.bug == "an error hides what else is ready":
		ready = mux.Error
	case bad:
		ready |= mux.Error | all
	}
	if hup {
		ready |= mux.Hangup
	}
	return ready & (want | hints)
}
