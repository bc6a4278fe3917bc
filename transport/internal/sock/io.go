package sock

import (
	"net"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// Recv receives a batch by recvmmsg(2).
func (s *Socket) Recv(ms []transport.Message) (int, error) {
	s.in.Lock()
	defer s.in.Unlock()
	fd, b := s.FD(), &s.in.batch
	if fd < 0 {
		return 0, net.ErrClosed
	}
	n := min(len(ms), len(b.headers))
	if n == 0 {
		return 0, nil
	}
	if errno := s.pending.Swap(0); errno != 0 {
		return 0, opError("read", s.network, nil, os.NewSyscallError("sendmmsg", unix.Errno(errno)))
	}
	control := controlSize
	if s.bare {
		control = 0
	}
	for i := range ms[:n] {
		p := &b.packets[i]
		p.nameLen, p.controlLen = int(unsafe.Sizeof(p.name)), control
		b.prepare(i, ms[i].Buf)
	}
	got, errno := b.call(unix.SYS_RECVMMSG, fd, n)
	b.forget(n)
	switch errno {
	case 0:
	case unix.EAGAIN:
		return 0, nil
	default:
		return 0, opError("read", s.network, nil, os.NewSyscallError("recvmmsg", errno))
	}
	for i := range ms[:got] {
		m, h, p := &ms[i], &b.headers[i], &b.packets[i]
		*m = transport.Message{Buf: m.Buf, N: int(h.Len)}
		if h.Hdr.Flags&unix.MSG_TRUNC != 0 {
			m.Flags = transport.Truncated
		}
		p.nameLen, p.controlLen = int(h.Hdr.Namelen), int(h.Hdr.Controllen)
		s.format.Decode(m, p)
	}
	return got, nil
}

// Send sends a batch by sendmmsg(2). Where the kernel stops in the middle of a
// batch it reports how far it got, and the reason only when the next call
// begins with the message concerned; Send does the same with a message that
// cannot be encoded.
func (s *Socket) Send(ms []transport.Message) (int, error) {
	s.out.Lock()
	defer s.out.Unlock()
	fd, b := s.FD(), &s.out.batch
	if fd < 0 {
		return 0, net.ErrClosed
	}
	n := min(len(ms), len(b.headers))
	for i := range ms[:n] {
		p := &b.packets[i]
		p.nameLen, p.controlLen = 0, 0
		if err := s.format.Encode(&ms[i], p); err != nil {
			if i == 0 {
				return 0, opError("write", s.network, s.format.Addr(&ms[0]), err)
			}
			n = i
			break
		}
		b.prepare(i, ms[i].Bytes())
	}
	if n == 0 {
		return 0, nil
	}
	sent, errno := b.call(unix.SYS_SENDMMSG, fd, n)
	if first := errno; first != 0 && slices.Contains(s.earlier, first) {
		if sent, errno = b.call(unix.SYS_SENDMMSG, fd, n); errno != first {
			s.pending.Store(uint32(first))
		}
	}
	b.forget(n)
	switch {
	case errno == 0:
		return sent, nil
	case errno == unix.EAGAIN, errno == unix.ENOBUFS && !writable(fd):
		return 0, nil
	}
	return 0, opError("write", s.network, s.format.Addr(&ms[0]), os.NewSyscallError("sendmmsg", errno))
}

// writable tells the two meanings of ENOBUFS apart. A raw socket whose buffer
// is full says ENOBUFS, where others say EAGAIN, and poll(2) reports it once
// there is room. On a writable socket there is nothing to wait for: the message
// is too long for the buffer, or the queueing discipline dropped it.
func writable(fd int) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for {
		n, err := unix.Poll(fds[:], 0)
		if err != unix.EINTR {
			return n == 1 && fds[0].Revents&unix.POLLOUT != 0
		}
	}
}
