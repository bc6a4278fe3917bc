package tun

import (
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// queue is one descriptor of a device.
type queue struct {
	name  string       // of the device, for errors
	fd    atomic.Int64 // -1 once closed; changes under both locks
	batch int
	// Recv works under in and Send under out, so that they can run at once. Close
	// takes both locks: the number is given back when nobody uses it any more.
	in struct {
		sync.Mutex
		iovecs [2]unix.Iovec
		beyond byte // is written to when a packet is longer than its Buf
	}
	out sync.Mutex
}

var (
	_ transport.Transport = (*queue)(nil)
	_ transport.Framer    = (*queue)(nil)
)

// FD returns the descriptor, -1 after Close.
func (q *queue) FD() int { return int(q.fd.Load()) }

// BatchSize returns how many packets one call moves at the most.
func (q *queue) BatchSize() int { return q.batch }

// Framing tells that the payload begins with an IP header.
func (q *queue) Framing() transport.Framing { return transport.IPPacket }

// Recv reads packets, by one system call each.
func (q *queue) Recv(ms []transport.Message) (int, error) {
	q.in.Lock()
	defer q.in.Unlock()
	fd := q.FD()
	if fd < 0 {
		return 0, net.ErrClosed
	}
	defer func() { q.in.iovecs[0].Base = nil }()
	ms = ms[:min(len(ms), q.batch)]
	for i := range ms {
		m := &ms[i]
		n, errno := q.read(fd, m.Buf)
		switch {
		case errno == 0:
			*m = transport.Message{Buf: m.Buf, N: min(n, len(m.Buf))}
			if n > len(m.Buf) {
				m.Flags = transport.Truncated
			}
		case i > 0 || errno == unix.EAGAIN:
			return i, nil
		default:
			return 0, q.failed("read", "readv", errno)
		}
	}
	return len(ms), nil
}

// longest is the length of the longest packet that a device can deliver, in bytes: the
// kernel has no larger MTU for it.
const longest = 65535

// read reads one packet, and returns a number above len(buf) if it was longer.
// The kernel tells that only in a header that would precede every packet; but it
// fills one byte more if there is one. A buf that holds every packet needs none.
//
// It does not wait, and is over in a microsecond, of which telling the Go scheduler
// would be a part that counts: hence RawSyscall.
func (q *queue) read(fd int, buf []byte) (int, unix.Errno) {
	in := &q.in
	call, to, size := uintptr(unix.SYS_READ), unsafe.Pointer(unsafe.SliceData(buf)), len(buf)
	if size < longest {
		in.iovecs[0].Base, in.iovecs[1].Base = unsafe.SliceData(buf), &in.beyond
		in.iovecs[0].SetLen(len(buf))
		in.iovecs[1].SetLen(1)
		call, to, size = unix.SYS_READV, unsafe.Pointer(&in.iovecs[0]), len(in.iovecs)
	}
	for {
		n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(to), uintptr(size))
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// Send writes packets, by one system call each.
func (q *queue) Send(ms []transport.Message) (int, error) {
	q.out.Lock()
	defer q.out.Unlock()
	fd := q.FD()
	if fd < 0 {
		return 0, net.ErrClosed
	}
	ms = ms[:min(len(ms), q.batch)]
	for i := range ms {
		err := sendable(&ms[i])
		if err == nil {
			if errno := write(fd, ms[i].Bytes()); errno != 0 {
				err = errno
			}
		}
		switch {
		case err == nil:
		case i > 0 || err == unix.EAGAIN:
			return i, nil
		default:
			return 0, q.failed("write", "write", err)
		}
	}
	return len(ms), nil
}

// sendable says what is wrong with a message.
func sendable(m *transport.Message) error {
	if m.Peer.IsValid() {
		return fmt.Errorf("Message.Peer is %v: want the zero AddrPort, as the packet's header says where it goes", m.Peer)
	}
	if packet := m.Bytes(); !plausible(packet) {
		return fmt.Errorf("%d bytes, %#.4x...: want an IPv4 or IPv6 packet, from its header on", len(packet), packet[:min(4, len(packet))])
	}
	return nil
}

// write writes one packet, by a call that is raw as that of read.
func write(fd int, packet []byte) unix.Errno {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(packet))), uintptr(len(packet)))
		if errno != unix.EINTR {
			return errno
		}
	}
}

// plausible tells what may be an IP packet from what the kernel would throw away
// without a word: the version, and that the length is possible.
func plausible(packet []byte) bool {
	if len(packet) == 0 {
		return false
	}
	switch packet[0] >> 4 {
	case 4:
		return len(packet) >= 20 && len(packet) <= 65535
	case 6:
		return len(packet) >= 40 && len(packet) <= 40+65535
	}
	return false
}

// failed makes the error of a Recv or Send, and says what the kernel means by
// its own.
func (q *queue) failed(op, call string, err error) error {
	errno, ok := err.(unix.Errno)
	if !ok {
		return opError(op, q.name, err)
	}
	err = os.NewSyscallError(call, errno)
	switch errno {
	case unix.EIO:
		err = fmt.Errorf("%w (the device is down)", err)
	case unix.EBADFD:
		err = fmt.Errorf("%w (the device has been deleted: close the transport)", err)
	}
	return opError(op, q.name, err)
}

// Close waits for calls in flight, which do not block, and closes the
// descriptor.
func (q *queue) Close() error {
	q.in.Lock()
	defer q.in.Unlock()
	q.out.Lock()
	defer q.out.Unlock()
	fd := q.FD()
	if fd < 0 {
		return net.ErrClosed
	}
	q.fd.Store(-1)
	return opError("close", q.name, os.NewSyscallError("close", unix.Close(fd)))
}

// device is the name of a device, as the address in an error.
type device string

func (device) Network() string  { return network }
func (d device) String() string { return string(d) }

// opError makes every error of this package: nil in, nil out.
func opError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	e := &net.OpError{Op: op, Net: network, Err: err}
	if name != "" {
		e.Addr = device(name)
	}
	return e
}
