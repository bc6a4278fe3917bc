package mux

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// file is an open file whose readiness is known from what was done to it.
type file struct {
	kind   fileKind
	peer   int   // the other end, -1 if there is none or it is closed
	dups   []int // further descriptors of it
	in     int   // bytes that can be read
	full   bool  // it takes no more
	hungUp bool  // the other end is closed
}

type fileKind uint8

const (
	pipeReader fileKind = iota
	pipeWriter
	socket
	null // /dev/null, which epoll refuses
	fileKinds
)

func (k fileKind) String() string {
	return [...]string{"the reading end of a pipe", "the writing end of a pipe", "a socket", "/dev/null"}[k]
}

// openFile opens a file of that kind under the number, whatever that named
// before.
func openFile(kind fileKind, number int) (*file, error) {
	f := &file{kind: kind, peer: -1}
	var ends [2]int
	var err error
	switch kind {
	case null:
		ends[0], err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
		ends[1] = -1
	case socket:
		ends, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	default:
		err = unix.Pipe2(ends[:], unix.O_NONBLOCK|unix.O_CLOEXEC)
		if kind == pipeWriter {
			ends[0], ends[1] = ends[1], ends[0]
		}
	}
	if err != nil {
		return nil, err
	}
	f.peer = ends[1]
	err = unix.Dup3(ends[0], number, unix.O_CLOEXEC)
	unix.Close(ends[0])
	return f, err
}

// close closes all of the file but the number it was opened under.
func (f *file) close() {
	for _, fd := range append(f.dups, f.peer) {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	f.dups, f.peer = nil, -1
}

// ready is what the kernel says of the file, as far as that is certain.
func (f *file) ready() Interest {
	switch {
	case f.kind == null:
		return Readable | Writable
	case f.kind == socket && f.hungUp:
		return Readable | Writable | Hangup
	case f.kind == pipeWriter && f.hungUp:
		return Error | f.writable()
	case f.hungUp:
		return Hangup | f.readable()
	}
	return f.readable() | f.writable()
}

func (f *file) readable() Interest {
	if f.in > 0 {
		return Readable
	}
	return 0
}

func (f *file) writable() Interest {
	if f.kind != pipeReader && !f.full {
		return Writable
	}
	return 0
}

// use does one of the following to the file, which number names. What is
// impossible for a file of its kind, or in its state, is left out.
func (f *file) use(verb string, number int) error {
	gives := f.peer >= 0 && (f.kind == pipeReader || f.kind == socket) // there is something to read for it
	takes := f.peer >= 0 && (f.kind == pipeWriter || f.kind == socket)
	switch verb {
	case "write": // so that it is readable
		if !gives || f.in >= 100 { // a full pipe has room again only when a whole page is read
			return nil
		}
		f.in++
		_, err := unix.Write(f.peer, []byte{'x'})
		return err
	case "read":
		if !(f.in > 0) {
			return nil
		}
		f.in--
		_, err := unix.Read(number, make([]byte, 1))
		return err
	case "fill": // so that it is not writable
		if !takes || f.full {
			return nil
		}
		f.full = true
		return untilAgain(func(buf []byte) (int, error) { return unix.Write(number, buf) })
	case "drain": // so that it is writable
		if !takes || !f.full {
			return nil
		}
		f.full = false
		return untilAgain(func(buf []byte) (int, error) { return unix.Read(f.peer, buf) })
	case "hang-up":
		if f.peer < 0 {
			return nil
		}
		f.hungUp = true
		err := unix.Close(f.peer)
		f.peer = -1
		return err
	case "dup":
		fd, err := unix.FcntlInt(uintptr(number), unix.F_DUPFD_CLOEXEC, 0)
		f.dups = append(f.dups, fd)
		return err
	}
	return fmt.Errorf("no such operation: %s", verb)
}

// untilAgain repeats an operation until it would block.
func untilAgain(do func([]byte) (int, error)) error {
	buf := make([]byte, 1<<16)
	for {
		if _, err := do(buf); errors.Is(err, unix.EAGAIN) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
