package mux

import (
	"fmt"
	"os"
	"reflect"
	"syscall"
)

// FD returns the descriptor that c holds, for Add. c is a *net.TCPConn, a
// *net.UDPConn, a *net.UnixListener, an *os.File, or anything else with a
// SyscallConn.
//
// The descriptor remains c's. The number is good until c is closed or can no
// longer be reached, when the garbage collector closes it. So Remove comes
// before Close, and c lives until then, which two defers see to, in this order:
//
//	defer c.Close()
//	fd, err := mux.FD(c)
//	if err != nil {
//		return err
//	}
//	if err := m.Add(fd, mux.Readable, token); err != nil {
//		return err
//	}
//	defer m.Remove(fd) // runs before c.Close, which has kept c reachable
//
// An event loop does the same for what it is given with Own.
//
// Nothing about c changes, and a Mux does not disturb Go's poller, which has a
// set of its own: deadlines hold, a goroutine may be blocked in c.Read (who
// reads first has the data), and the descriptor stays non-blocking, unlike after
// [os.File.Fd]. Of what is reported, take one read:
//
//   - by a system call on fd, such as recvmmsg(2). It returns EAGAIN where there
//     is nothing after all: another reader was faster, the datagram had a wrong
//     checksum, the client hung up before accept(2). Only an *os.File in blocking
//     mode, which os.Stdin usually is, blocks then.
//   - by a method of c, which then waits for the next data, and the caller with
//     it. A deadline in the past does not turn that into a poll: it fails even
//     where there is data.
//
// The error is [os.ErrClosed] if c is closed (and, for package net,
// net.ErrClosed), [os.ErrInvalid] if c is nil, EBADF if it has no descriptor, and
// otherwise what its SyscallConn says.
func FD(c syscall.Conn) (int, error) {
	if v := reflect.ValueOf(c); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return -1, fmt.Errorf("mux: FD of %#v: %w", c, os.ErrInvalid)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("mux: FD of a %T: %w", c, err)
	}
	fd := -1
	if err := raw.Control(func(number uintptr) { fd = int(number) }); err != nil {
		// Of an open c, Control does not fail. Package os has an error for this
		// that is neither os.ErrClosed nor exported.
		return -1, fmt.Errorf("mux: FD of a %T: %w (%w)", c, os.ErrClosed, err)
	}
	if fd < 0 {
		return -1, fmt.Errorf("mux: FD of a %T: %w (it has none)", c, syscall.EBADF)
	}
	return fd, nil
}
