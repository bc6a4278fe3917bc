package slip

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

const (
	batch        = 16
	longest      = 1006          // packet, in bytes (RFC 1055)
	longestFrame = 2*longest + 1 // with every byte escaped, and its end
)

// line is the transport.
type line struct {
	terminal string
	local    netip.Addr
	fd       atomic.Int64 // -1 once closed; changes under both locks

	// Recv works on in and Send on out, so that they can run at once. Close takes
	// both locks: the number is given back when nobody uses it any more.
	in struct {
		sync.Mutex
		frame [longestFrame + 1]byte // what there is of the frame that is coming,
		n     int                    // in bytes; full if it is too long
		buf   [4096]byte
	}
	out struct {
		sync.Mutex
		frame []byte // that is being sent
		left  []byte // the part of it that is still to be written
		next  []byte // space for the frame after it
	}
}

var _ transport.Transport = (*line)(nil)

// FD returns the descriptor, -1 after Close.
func (l *line) FD() int { return int(l.fd.Load()) }

// BatchSize returns how many messages one call moves at the most.
func (l *line) BatchSize() int { return batch }

// Recv reads frames until there is none.
func (l *line) Recv(ms []transport.Message) (int, error) {
	l.in.Lock()
	defer l.in.Unlock()
	fd := l.FD()
	if fd < 0 {
		return 0, net.ErrClosed
	}
	ms = ms[:min(len(ms), batch)]
	for i := range ms {
		switch packet, err := l.packet(fd); {
		case err == nil:
			fill(&ms[i], packet)
		case i > 0 || err == unix.EAGAIN:
			return i, nil
		default:
			return 0, l.failed("read", err)
		}
	}
	return len(ms), nil
}

// packet reads on until there is a packet that carries an ICMP message, which is
// valid until the next call.
func (l *line) packet(fd int) ([]byte, error) {
	in := &l.in
	for {
		n, err := unix.Read(fd, in.buf[:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		case n == 0:
			return nil, io.EOF
		}
		in.n += copy(in.frame[in.n:], in.buf[:n])
		if in.buf[n-1] != end {
			continue // a line feed ends what one read returns, but no frame
		}
		frame := in.frame[:in.n]
		in.n = 0
		if len(frame) > longestFrame {
			continue
		}
		if packet, ok := decode(frame[:len(frame)-1]); ok && intact(packet) {
			return packet, nil
		}
	}
}

// Send writes a frame for each message.
//
// The terminal may take only a part of a frame. Its message does not count as sent
// then, so the caller comes back with it, and the same frame goes on where it
// stopped. If the caller has given the message up, the rest of the frame goes
// first all the same, lest the line be left in the middle of it.
func (l *line) Send(ms []transport.Message) (int, error) {
	l.out.Lock()
	defer l.out.Unlock()
	fd := l.FD()
	if fd < 0 {
		return 0, net.ErrClosed
	}
	out := &l.out
	ms = ms[:min(len(ms), batch)]
	for i := range ms {
		err := l.check(&ms[i])
		if err == nil {
			out.next = l.encode(out.next[:0], &ms[i])
			if len(out.left) > 0 && !bytes.Equal(out.next, out.frame) {
				err = l.write(fd)
			}
		}
		if err == nil {
			if len(out.left) == 0 {
				out.frame, out.next = out.next, out.frame
				out.left = out.frame
			}
			err = l.write(fd)
		}
		switch {
		case err == nil:
		case i > 0 || err == unix.EAGAIN:
			return i, nil
		default:
			return 0, l.failed("write", err)
		}
	}
	return len(ms), nil
}

// check reports what cannot be sent.
func (l *line) check(m *transport.Message) error {
	switch {
	case m.N > longest-headerLen:
		return fmt.Errorf("a message of %d bytes: a line takes %d", m.N, longest-headerLen)
	case !m.Peer.Addr().Is4():
		return fmt.Errorf("Message.Peer is %v: want an IPv4 address", m.Peer)
	case m.Local.IsValid() && !m.Local.Is4():
		return fmt.Errorf("Message.Local is %v: want an IPv4 address", m.Local)
	}
	return nil
}

// write writes what is left of a frame.
func (l *line) write(fd int) error {
	for len(l.out.left) > 0 {
		n, err := unix.Write(fd, l.out.left)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		l.out.left = l.out.left[n:]
	}
	return nil
}

func (l *line) failed(op string, err error) error {
	switch errno, ok := err.(unix.Errno); {
	case ok && errno == unix.EIO:
		err = fmt.Errorf("%w (the line has hung up)", os.NewSyscallError(op, errno))
	case ok:
		err = os.NewSyscallError(op, errno)
	case err == io.EOF:
		err = fmt.Errorf("%w (the line has hung up)", err)
	}
	return opError(op, l.terminal, err)
}

// Close waits for calls in flight, which do not block, and closes the terminal.
func (l *line) Close() error {
	l.in.Lock()
	defer l.in.Unlock()
	l.out.Lock()
	defer l.out.Unlock()
	fd := l.FD()
	if fd < 0 {
		return net.ErrClosed
	}
	l.fd.Store(-1)
	if err := unix.Close(fd); err != nil {
		return opError("close", l.terminal, os.NewSyscallError("close", err))
	}
	return nil
}
