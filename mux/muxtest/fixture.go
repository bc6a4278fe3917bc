package muxtest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// reserved is where the numbers begin that the cases close and use again. It is
// far above what the runtime or a Mux may open meanwhile.
const reserved = 512

// startPoller makes the Go runtime open the descriptors of its own poller, which
// it does on first use, so that they do not look like leaks.
func startPoller() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	time.AfterFunc(time.Hour, func() {}).Stop()
	return errors.Join(r.Close(), w.Close())
}

// openDescriptors returns the descriptors that are open in this process.
func openDescriptors() []int {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var fds []int
	for _, entry := range dir {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// The descriptor of the directory is in the list and closed by now.
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

// since returns the descriptors that are open now and were not before.
func since(before []int) []int {
	return slices.DeleteFunc(openDescriptors(), func(fd int) bool { return slices.Contains(before, fd) })
}

// must fails the case where a system call of its own did: the machine is at
// fault then, not the Mux.
func (e *env) must(err error) {
	e.t.Helper()
	if err != nil {
		e.fatalf("preparing the case: %v", err)
	}
}

// own has fd closed after the case.
func (e *env) own(fd int) int {
	e.fds = append(e.fds, fd)
	return fd
}

// close closes a descriptor of the case.
func (e *env) close(fd int) {
	e.t.Helper()
	e.fds = slices.DeleteFunc(e.fds, func(have int) bool { return have == fd })
	e.must(unix.Close(fd))
}

// closeAll closes what the case opened: the Muxes first, since they only
// borrowed the descriptors.
func (e *env) closeAll() {
	for _, m := range e.muxes {
		if err := m.Close(); err != nil && !isClosed(err) {
			e.failf("Close: %v", err)
		}
	}
	for _, fd := range e.fds {
		if err := unix.Close(fd); err != nil {
			e.failf("descriptor %d was lent to the Mux and is closed: %v", fd, err)
		}
	}
}

// pipe returns the ends of a new pipe, which do not block.
func (e *env) pipe() (r, w int) {
	e.t.Helper()
	var p [2]int
	e.must(unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
	return e.own(p[0]), e.own(p[1])
}

// fullPipe returns the ends of a pipe that has something to read.
func (e *env) fullPipe() (r, w int) {
	e.t.Helper()
	r, w = e.pipe()
	e.write(w, "x")
	return r, w
}

// sockets returns two connected stream sockets, which do not block.
func (e *env) sockets() (a, b int) {
	e.t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	e.must(err)
	return e.own(p[0]), e.own(p[1])
}

// bound returns a TCP socket bound to a port of the loopback interface.
func (e *env) bound() (fd int, addr unix.Sockaddr) {
	e.t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	e.must(err)
	e.own(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		e.skipf("no loopback interface: %v", err)
	}
	addr, err = unix.Getsockname(fd)
	e.must(err)
	return fd, addr
}

// connection returns the ends of a TCP connection, which do not block.
func (e *env) connection() (a, b int) {
	e.t.Helper()
	listener, addr := e.bound()
	e.must(unix.Listen(listener, 1))
	a, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	e.must(err)
	e.own(a)
	if err := unix.Connect(a, addr); err != nil {
		e.skipf("no loopback interface: %v", err)
	}
	b, _, err = unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	e.must(err)
	e.must(unix.SetNonblock(a, true))
	return a, e.own(b)
}

// regular returns a regular file.
func (e *env) regular() int {
	e.t.Helper()
	name := fmt.Sprintf("%s/file-%d", e.t.TempDir(), len(e.fds))
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	e.must(err)
	return e.own(fd)
}

// move moves a descriptor to a number that is free and stays so when it is
// closed, until [env.reuse].
func (e *env) move(fd int) int {
	e.t.Helper()
	number := e.dupAbove(fd, reserved)
	e.close(fd)
	return number
}

// dup returns another descriptor of the same open file.
func (e *env) dup(fd int) int {
	e.t.Helper()
	return e.dupAbove(fd, 0)
}

func (e *env) dupAbove(fd, least int) int {
	e.t.Helper()
	number, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, least)
	e.must(err)
	return e.own(number)
}

// reuse gives a closed number of [env.move] to another descriptor.
func (e *env) reuse(number, fd int) {
	e.t.Helper()
	e.must(unix.Dup3(fd, number, unix.O_CLOEXEC))
	e.own(number)
	e.close(fd)
}

func (e *env) write(fd int, s string) {
	e.t.Helper()
	_, err := unix.Write(fd, []byte(s))
	e.must(err)
}

// fill writes until fd takes no more.
func (e *env) fill(fd int) {
	e.t.Helper()
	buf := make([]byte, 4096)
	for {
		if _, err := unix.Write(fd, buf); err == unix.EAGAIN {
			return
		} else {
			e.must(err)
		}
	}
}

// read reads n bytes at most.
func (e *env) read(fd, n int) {
	e.t.Helper()
	_, err := unix.Read(fd, make([]byte, n))
	e.must(err)
}

// drain reads until there is nothing more.
func (e *env) drain(fd int) {
	e.t.Helper()
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EAGAIN || n == 0 && err == nil {
			return
		}
		e.must(err)
	}
}

// processorTime returns what this process, or this thread, has used so far.
func processorTime(who int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
