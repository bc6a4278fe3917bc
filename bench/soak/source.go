package main

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// source is a descriptor to watch that can be made readable, and knows what is
// to be read then.
type source interface {
	fd() int   // to watch
	owns() int // descriptors
	// poke makes one more thing to be read, unless there is enough of it.
	poke() error
	// take reads some and returns how many pokes that was, 0 if there is
	// nothing to be read.
	take() (int, error)
	// pending is how many pokes have not been read.
	pending() int
	// close returns how many pokes are left unread that could not be read.
	close() (lost int, err error)
}

// kinds are the sources that a soak has, in equal parts.
var kinds = []kind{
	{"pipe", openPipe},
	{"socket pair", openSockets},
	{"UDP socket", openUDP},
	{"eventfd", openEventfd},
	{"timerfd", openTimerfd},
}

type kind struct {
	name string
	open func() (source, error)
}

// most is how many pokes are left unread at the most: few enough for every
// buffer, so that a missing one is lost.
const most = 8

// numbered is a way for numbers to go from one descriptor to another: a pipe, a
// socket pair, or a socket that is connected to itself.
type numbered struct {
	r, w       int
	sent, read uint64
	buf        [8]byte
}

func openPipe() (source, error) {
	var p [2]int
	err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC)
	return &numbered{r: p[0], w: p[1]}, err
}

func openSockets() (source, error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return &numbered{r: p[0], w: p[1]}, err
}

func openUDP() (source, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := connectToItself(fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &numbered{r: fd, w: fd}, nil
}

func connectToItself(fd int) error {
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	own, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	return unix.Connect(fd, own)
}

func (s *numbered) fd() int      { return s.r }
func (s *numbered) pending() int { return int(s.sent - s.read) }

func (s *numbered) owns() int {
	if s.r == s.w {
		return 1
	}
	return 2
}

func (s *numbered) poke() error {
	if s.pending() >= most {
		return nil
	}
	binary.NativeEndian.PutUint64(s.buf[:], s.sent)
	s.sent++
	_, err := unix.Write(s.w, s.buf[:])
	return err
}

func (s *numbered) take() (int, error) {
	n, err := unix.Read(s.r, s.buf[:])
	if err == unix.EAGAIN {
		return 0, nil
	}
	if err != nil || n != len(s.buf) {
		return 0, fmt.Errorf("read %d bytes: %v", n, err)
	}
	if number := binary.NativeEndian.Uint64(s.buf[:]); number != s.read {
		return 0, fmt.Errorf("read number %d, want %d", number, s.read)
	}
	s.read++
	return 1, nil
}

func (s *numbered) close() (int, error) {
	for s.pending() > 0 {
		if n, err := s.take(); n == 0 {
			return s.pending(), err
		}
	}
	err := unix.Close(s.r)
	if s.w != s.r {
		if werr := unix.Close(s.w); err == nil {
			err = werr
		}
	}
	return 0, err
}

// counter is an eventfd: it adds up what is written.
type counter struct {
	number int
	count  int
	buf    [8]byte
}

func openEventfd() (source, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	return &counter{number: fd}, err
}

func (s *counter) fd() int      { return s.number }
func (s *counter) owns() int    { return 1 }
func (s *counter) pending() int { return s.count }

func (s *counter) poke() error {
	binary.NativeEndian.PutUint64(s.buf[:], 1)
	s.count++
	_, err := unix.Write(s.number, s.buf[:])
	return err
}

func (s *counter) take() (int, error) {
	n, err := readCount(s.number, &s.buf)
	if s.count -= n; s.count < 0 {
		return n, fmt.Errorf("the counter was %d, want %d", n, n+s.count)
	}
	return n, err
}

func (s *counter) close() (int, error) {
	_, err := s.take()
	if cerr := unix.Close(s.number); err == nil {
		err = cerr
	}
	return s.count, err
}

// readCount reads an eventfd or a timerfd; 0 means that there is nothing.
func readCount(fd int, buf *[8]byte) (int, error) {
	_, err := unix.Read(fd, buf[:])
	if err == unix.EAGAIN {
		return 0, nil
	}
	return int(binary.NativeEndian.Uint64(buf[:])), err
}

// expiry is a timerfd. A poke arms it.
type expiry struct {
	number int
	armed  int // 0 or 1
	buf    [8]byte
}

func openTimerfd() (source, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	return &expiry{number: fd}, err
}

func (s *expiry) fd() int      { return s.number }
func (s *expiry) owns() int    { return 1 }
func (s *expiry) pending() int { return s.armed }

func (s *expiry) poke() error {
	if s.armed > 0 {
		return nil
	}
	s.armed = 1
	const delay = 300_000 // ns
	return unix.TimerfdSettime(s.number, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(delay)}, nil)
}

func (s *expiry) take() (int, error) {
	n, err := readCount(s.number, &s.buf)
	if s.armed -= n; s.armed < 0 {
		return n, fmt.Errorf("the timer expired %d times, want %d", n, n+s.armed)
	}
	return n, err
}

// close disarms the timer, which then may not have expired.
func (s *expiry) close() (int, error) { return 0, unix.Close(s.number) }
