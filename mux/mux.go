// Package mux watches many file descriptors at once, on interchangeable
// Linux backends.
//
// Go's own poller serves net.Conn and os.File. Package mux is for the
// descriptors that it does not serve, or not well enough: raw sockets, batches
// of datagrams, timerfd, inotify, TUN devices, anything that a device driver
// made pollable. Every backend (epoll, poll and select) has the same semantics,
// so that one can be exchanged for another, and compared with it:
//
//	m, err := mux.Open("") // $IOMUX_BACKEND, else the first that opens
//	if err != nil {
//		return err
//	}
//	defer m.Close()
//	if err := m.Add(fd, mux.Readable, 7); err != nil {
//		return err
//	}
//	events := make([]mux.Event, 64)
//	n, err := m.Wait(events, -1)
//	for _, ev := range events[:n] {
//		fmt.Println(ev.Token, "is", ev.Ready) // 7 is readable
//	}
//
// Package [iomux/mux/loop] builds callbacks, timers and signals on a Mux, and
// [iomux/mux/muxtest] proves a backend of one's own.
package mux

import (
	"strings"
	"time"
)

// Interest is a set of readiness conditions, and of ways to be told of them.
type Interest uint8

const (
	// Readable means that a read would not block: there is data, or an end of
	// file, or an error to collect. It does not promise that the read succeeds.
	Readable Interest = 1 << iota
	// Writable means that a write would not block, with the same reservation.
	Writable
	// Priority means exceptional data, such as TCP's urgent byte (POLLPRI in
	// poll(2)). Urgent data alone does not make a descriptor Readable.
	Priority
	// Hangup is reported when the peer closed its end, where the backend can
	// tell. It is a hint beside Readable and Writable; asking for it is an error.
	Hangup
	// Error is reported when an error is pending or the descriptor was closed
	// while registered. It is a hint like Hangup; asking for it is an error.
	Error
	// Oneshot disarms the descriptor once it has been reported, until Modify.
	Oneshot
	// Edge reports changes of readiness rather than readiness. Backends without
	// edge-triggering (poll, select) refuse it with [errors.ErrUnsupported].
	Edge
)

const (
	conditions = Readable | Writable | Priority
	modes      = Oneshot | Edge
)

// String names the members, "readable|writable" for instance; "none" is the
// empty set.
func (i Interest) String() string {
	if i == 0 {
		return "none"
	}
	var b strings.Builder
	for bit, name := range [...]string{"readable", "writable", "priority", "hangup", "error", "oneshot", "edge", "0x80"} {
		if i&(1<<bit) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('|')
		}
		b.WriteString(name)
	}
	return b.String()
}

// Event is the readiness of one registered descriptor.
type Event struct {
	// Token is what the caller gave to Add or Modify.
	Token uint64
	// Ready holds conditions that were asked for, and the hints Hangup and
	// Error. A hang-up or an error sets whichever of Readable and Writable was
	// asked for, so code that looks at nothing else is right. (On select a
	// hang-up alone sets Readable only: select(2) does not tell it to writers.)
	Ready Interest
}

// Mux watches registered descriptors and reports which of them are ready.
//
// Readiness is level-triggered unless Edge is asked for: a descriptor is
// reported by every Wait for as long as its condition holds, at most once in
// each. All methods may be called from any goroutine at any time; one goroutine
// at a time may Wait. A change made while another goroutine waits takes effect
// in that Wait.
//
// Descriptors are borrowed: a Mux never reads, writes or closes them. Remove a
// descriptor before closing it. One that is closed while registered is reported
// at most once, with Error, and is silent from then on; its number stays taken
// until Remove. (If a duplicate keeps its file open, epoll does not notice at
// once: it may be reported as before, 64 times if it is new and 1,024 times if it
// was busy.)
//
// Errors are *[OpError], apart from [os.ErrClosed] after Close and
// [ErrWaiting].
type Mux interface {
	// Add registers fd. The token comes back in each of its events. Regular
	// files and other descriptors that epoll_ctl(2) refuses with EPERM are
	// always ready. An interest without Readable, Writable or Priority is
	// allowed and silent: it keeps the number until a Modify.
	//
	// The error is [fs.ErrExist] if fd is registered already (which leaves that
	// registration as it was), EBADF if it is not an open descriptor, EINVAL
	// if want has Hangup or Error, and errors.ErrUnsupported for Edge on a
	// backend that has none.
	Add(fd int, want Interest, token uint64) error
	// Modify replaces both the interest and the token of fd and arms a spent
	// Oneshot again. The error is [fs.ErrNotExist] if fd is not registered, in
	// no other case, and otherwise as for Add; the old registration then
	// stays.
	Modify(fd int, want Interest, token uint64) error
	// Remove forgets fd. No event of it is reported by a Wait that begins
	// afterwards. The error is [fs.ErrNotExist] if fd is not registered, in no
	// other case: removing a descriptor that has been closed is no error.
	Remove(fd int) error
	// Wait fills events with what is ready, up to its length, and returns how
	// many. It blocks until there is something, but not longer than timeout;
	// a negative timeout blocks without limit, 0 does not block. It returns
	// 0, nil on a time-out, never early, and when woken. Signals do not
	// interrupt it. If more is ready than fits, the next calls report the rest
	// before they repeat anything; descriptors that are always ready and the
	// others take turns. An empty events is EINVAL.
	Wait(events []Event, timeout time.Duration) (int, error)
	// Wake makes the Wait that is blocked, or else the next one, return. Any
	// number of calls before that Wait returns count as one.
	Wake() error
	// Close ends a Wait in another goroutine, which returns os.ErrClosed, and
	// releases what the Mux opened itself. A second Close returns
	// os.ErrClosed.
	Close() error
	// Name is the backend's name, "epoll" for instance.
	Name() string
}
