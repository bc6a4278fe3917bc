package sock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

const (
	// maxReports is the number of error reports that wait for the caller.
	maxReports = 256
	// queueBatch is the number of entries that one call takes from the error
	// queue, and queuePasses of calls, after which a Recv lets go of a queue
	// that fills as fast, and Recv and Send of errors that come as fast.
	queueBatch, queuePasses = 64, 64
	// quoteSize is what is read of a quoted message, in bytes.
	quoteSize = 64
)

// errNoReports is where SetErrors was not called.
var errNoReports = fmt.Errorf("%w: error reports were not asked for", errors.ErrUnsupported)

// errorQueue is the part of a Socket that reads what the kernel has queued
// (MSG_ERRQUEUE in recv(2)): transmit stamps and error reports. An entry that
// is left there makes the descriptor ready for ever.
type errorQueue struct {
	batch  // none if nothing is asked for
	quotes [][quoteSize]byte

	off    error // why there are no error reports, nil if there are
	keep   func(*transport.ErrorReport) bool
	latest transport.ErrorReport // for keep to see
	ring   ring[transport.ErrorReport]
}

// asked tells whether there is anything to look for in the queue.
func (q *errorQueue) asked() bool { return q.quotes != nil }

func (s *Socket) openQueue() {
	if q := &s.queue; !q.asked() {
		q.batch, q.quotes = newBatch(queueBatch), make([][quoteSize]byte, queueBatch)
	}
}

// SetErrors asks for transport.ErrorReporter, with those reports that keep
// likes. A kernel that refuses is no error: ErrorReports says so. An error that
// has a report is not one of Recv or Send, except in a flood: of Send where a
// second one of its kind follows at once, of Recv where dozens do.
func (s *Socket) SetErrors(keep func(*transport.ErrorReport) bool) {
	name, level, option := "IP_RECVERR", unix.SOL_IP, unix.IP_RECVERR
	if s.domain == unix.AF_INET6 {
		name, level, option = "IPV6_RECVERR", unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	q := &s.queue
	if err := s.Set(name, level, option, 1); err != nil {
		q.off = fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
		return
	}
	q.off = nil
	q.keep = keep
	q.ring.entries = make([]transport.ErrorReport, maxReports)
	s.openQueue()
}

// ErrorReports is as transport.ErrorReporter has it.
func (s *Socket) ErrorReports(dst []transport.ErrorReport) (n int, lost uint64, err error) {
	s.in.Lock()
	defer s.in.Unlock()
	q := &s.queue
	switch {
	case s.FD() < 0:
		return 0, 0, net.ErrClosed
	case q.off != nil:
		return 0, 0, q.off
	}
	return q.ring.take(dst), q.ring.lost, nil
}

// drain empties the error queue into the rings, and tells whether it found an
// entry. Recv does that.
func (s *Socket) drain(fd int) (found bool) {
	q := &s.queue
	for range queuePasses {
		for i := range q.packets {
			p := &q.packets[i]
			p.nameLen, p.controlLen = int(unsafe.Sizeof(p.name)), controlSize
			q.prepare(i, q.quotes[i][:])
		}
		got, errno := q.call(unix.SYS_RECVMMSG, fd, queueBatch, unix.MSG_ERRQUEUE)
		if errno != 0 {
			// EAGAIN, or before Linux 4.20 the error of an entry that has just
			// come: it makes the descriptor ready, for the next Recv.
			return found
		}
		found = true
		for i := range q.packets[:got] {
			h, p := &q.headers[i], &q.packets[i]
			p.nameLen, p.controlLen = int(h.Hdr.Namelen), int(h.Hdr.Controllen)
			s.queued(p, q.quotes[i][:min(int(h.Len), quoteSize)])
		}
		if got < queueBatch {
			break
		}
	}
	return found
}

// queued sorts an entry of the error queue by its origin. What the kernel itself
// found wrong with a message (SO_EE_ORIGIN_LOCAL), Send has returned.
func (s *Socket) queued(p *Packet, quote []byte) {
	for h, data := range p.each {
		isError := h.Level == unix.SOL_IP && h.Type == unix.IP_RECVERR || h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_RECVERR
		if !isError || len(data) < sizeofExtendedErr {
			continue
		}
		switch e := (*unix.SockExtendedErr)(unsafe.Pointer(&data[0])); e.Origin {
		case unix.SO_EE_ORIGIN_TIMESTAMPING:
			s.stamps.received(e.Data, p.time())
		case unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6:
			s.queue.report(p, e, data[sizeofExtendedErr:], quote)
		}
	}
}

const sizeofExtendedErr = int(unsafe.Sizeof(unix.SockExtendedErr{}))

// report stores what the network says; offender is the address of who does.
func (q *errorQueue) report(p *Packet, e *unix.SockExtendedErr, offender, quote []byte) {
	r := &q.latest
	*r = transport.ErrorReport{Errno: unix.Errno(e.Errno), Type: e.Type, Code: e.Code}
	if r.Errno == unix.EMSGSIZE {
		r.MTU = e.Info
	}
	r.Peer, r.From, r.Ifindex = p.addr4(), address(offender), p.ifindex()
	if e.Origin == unix.SO_EE_ORIGIN_ICMP6 {
		r.Peer = p.addr6()
	}
	r.SetQuote(quote)
	if !q.keep(r) {
		return
	}
	if to := q.ring.next(); to != nil {
		*to = *r
	}
}

// ifindex is the interface that a packet came in by (IP_PKTINFO in ip(7),
// IPV6_RECVPKTINFO in RFC 3542, 6.1), 0 if that was not asked for.
func (p *Packet) ifindex() int {
	for h, data := range p.each {
		switch {
		case h.Level == unix.SOL_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			return int(int32(binary.NativeEndian.Uint32(data)))
		case h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			return int(int32(binary.NativeEndian.Uint32(data[16:])))
		}
	}
	return 0
}

// address reads a struct sockaddr_in or sockaddr_in6, which may be cut off.
func address(sa []byte) netip.Addr {
	if len(sa) < 2 {
		return netip.Addr{}
	}
	switch family := binary.NativeEndian.Uint16(sa); {
	case family == unix.AF_INET && len(sa) >= 8:
		return netip.AddrFrom4([4]byte(sa[4:]))
	case family == unix.AF_INET6 && len(sa) >= 24:
		return netip.AddrFrom16([16]byte(sa[8:])).Unmap()
	}
	return netip.Addr{}
}
