package mux

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// epoll(7) and poll(2) share these bits, which linux/eventpoll.h and
// asm-generic/poll.h define with the same values.

func toPoll(want Interest) uint32 {
	var bits uint32
	if want&Readable != 0 {
		bits |= unix.POLLIN
	}
	if want&Writable != 0 {
		bits |= unix.POLLOUT
	}
	if want&Priority != 0 {
		bits |= unix.POLLPRI
	}
	return bits
}

func fromPoll(bits uint32) Interest {
	var ready Interest
	if bits&unix.POLLIN != 0 {
		ready |= Readable
	}
	if bits&unix.POLLOUT != 0 {
		ready |= Writable
	}
	if bits&unix.POLLPRI != 0 {
		ready |= Priority
	}
	if bits&unix.POLLHUP != 0 {
		ready |= Hangup
	}
	if bits&(unix.POLLERR|unix.POLLNVAL) != 0 {
		ready |= Error
	}
	return ready
}

// longest is the longest time that every system call takes: the seconds of a
// struct timespec have 32 bits on some machines. Wait goes back for the rest.
const longest = (1<<31 - 1) * time.Second

// timespec converts a timeout that is not negative.
func timespec(timeout time.Duration) unix.Timespec {
	return unix.NsecToTimespec(int64(min(timeout, longest)))
}

// waker makes a blocked system call return: an eventfd(2) in its set.
type waker struct{ fd int }

func newWaker() (waker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	return waker{fd}, err
}

// one is the number 1 as eventfd(2) wants it.
var one = binary.NativeEndian.AppendUint64(nil, 1)

// signal makes the eventfd readable. It cannot fail before the counter has
// reached 2^64-2.
func (w waker) signal() { unix.Write(w.fd, one) }

// drain makes the eventfd unreadable again. A report of it that the kernel has
// queued and not delivered yet goes with that.
func (w waker) drain() {
	var count [8]byte
	unix.Read(w.fd, count[:])
}

func (w waker) close() error { return unix.Close(w.fd) }
