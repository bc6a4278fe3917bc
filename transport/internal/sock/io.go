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
		b.prepare(i, ms[i].Buf[min(s.headroom, len(ms[i].Buf)):])
	}
	got, errno := b.call(unix.SYS_RECVMMSG, fd, n, 0)
	if s.queue.asked() {
		s.drain(fd) // afterwards, so that whose answer is there has its stamp
		for range queuePasses {
			if errno == 0 || errno == unix.EAGAIN || s.queue.off != nil {
				break
			}
			first := errno // of a message that the queue has, unless it stays
			got, errno = b.call(unix.SYS_RECVMMSG, fd, n, 0)
			if !s.drain(fd) && errno == first {
				break
			}
		}
	}
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
		*m = transport.Message{Buf: m.Buf, Off: min(s.headroom, len(m.Buf)), N: int(h.Len)}
		if h.Hdr.Flags&unix.MSG_TRUNC != 0 {
			m.Flags = transport.Truncated
		}
		p.nameLen, p.controlLen = int(h.Hdr.Namelen), int(h.Hdr.Controllen)
		s.format.Decode(m, p)
		if s.stamps.off == nil {
			m.Time = p.time()
		}
	}
	return got, nil
}

// Send sends a batch by sendmmsg(2). Where the kernel stops in the middle of a
// batch it reports how far it got, and the reason only when the next call
// begins with the message concerned; Send does the same with a message that
// cannot be encoded.
//
// With error reports an error that comes twice in a row is taken as the
// message's own. The kernel has nothing that would tell it from two equal ones
// of earlier messages, the second of which came between two system calls: in
// such a flood a message that could be sent is refused.
func (s *Socket) Send(ms []transport.Message) (int, error) {
	s.out.Lock()
	defer s.out.Unlock()
	fd := s.FD()
	if fd < 0 {
		return 0, net.ErrClosed
	}
	ms = ms[:min(len(ms), len(s.out.headers))]
	if s.stamps.counts.Load() {
		return s.sendSingly(fd, ms)
	}
	return s.send(fd, ms)
}

// sendSingly makes a call for each message, until one does not leave.
func (s *Socket) sendSingly(fd int, ms []transport.Message) (int, error) {
	for i := range ms {
		if n, err := s.send(fd, ms[i:i+1]); n == 0 {
			if i > 0 {
				err = nil // it will repeat
			}
			return i, err
		}
	}
	return len(ms), nil
}

// send sends a batch by one system call.
func (s *Socket) send(fd int, ms []transport.Message) (int, error) {
	b, n := &s.out.batch, len(ms)
	for i := range ms {
		p := &b.packets[i]
		p.nameLen, p.controlLen = 0, 0
		if err := s.format.Encode(&ms[i], p); err != nil {
			if i == 0 {
				return 0, opError("write", s.network, s.format.Addr(&ms[0]), err)
			}
			n = i
			break
		}
		s.stamps.number(&ms[i], p)
		b.prepare(i, ms[i].Bytes())
	}
	if n == 0 {
		return 0, nil
	}
	sent, errno := s.call(fd, n)
	b.forget(n)
	if errno == unix.ENOBUFS && !writable(fd) {
		errno = unix.EAGAIN
	}
	switch s.stamps.sent(errno) {
	case sendAgain:
		return s.sendSingly(fd, ms)
	case numberAnew:
		s.stamps.renumber(fd)
	}
	switch errno {
	case 0:
		return sent, nil
	case unix.EAGAIN:
		return 0, nil
	}
	return 0, opError("write", s.network, s.format.Addr(&ms[0]), os.NewSyscallError("sendmmsg", errno))
}

// call makes the system call for a batch to send, again where the error is that
// of an earlier message. The kernel returns such an error once, so that one
// that comes twice in a row is the message's own.
func (s *Socket) call(fd, n int) (sent int, errno unix.Errno) {
	sent, errno = s.out.call(unix.SYS_SENDMMSG, fd, n, 0)
	if s.queue.off == nil { // it is in the error queue
		for range queuePasses {
			if errno == 0 || errno == unix.EAGAIN || errno == unix.ENOBUFS {
				break
			}
			first := errno
			if sent, errno = s.out.call(unix.SYS_SENDMMSG, fd, n, 0); errno == first {
				break
			}
		}
	} else if first := errno; first != 0 && slices.Contains(s.earlier, first) {
		if sent, errno = s.out.call(unix.SYS_SENDMMSG, fd, n, 0); errno != first {
			s.pending.CompareAndSwap(0, uint32(first)) // the first is the cause
		}
	}
	return sent, errno
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
