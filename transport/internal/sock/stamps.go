package sock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

const (
	// maxStamps is the number of transmit stamps that wait for the caller.
	maxStamps = 4096
	// maxCounted is the number of messages whose stamps may be outstanding
	// where the kernel numbers them.
	maxCounted = 1 << 14

	stampFlags = unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE |
		unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY
)

// errNoStamps is where SetStamps was not called.
var errNoStamps = fmt.Errorf("%w: time stamps were not asked for", errors.ErrUnsupported)

// stamper is the part of a Socket that knows about time stamps.
type stamper struct {
	off   error // why there are none, nil if there are
	ring  ring[transport.TransmitStamp]
	optID int32 // the control message with the number for a stamp
	// proven: the kernel has taken a number of ours. Send only.
	proven bool
	// counts: the kernel numbers the messages itself, from 0, as it does not
	// know SCM_TS_OPT_ID.
	counts  atomic.Bool
	counted uint32       // the number of the next message. Send only
	taken   bool         // a message was numbered by the kernel. Send only
	owed    atomic.Int64 // numbered messages whose stamps have not come
	// doubtful: smaller numbers may be from before the kernel began anew.
	doubtful atomic.Uint32
	ids      []atomic.Uint64 // by number modulo maxCounted: number<<32 | Message.ID
}

// SetStamps asks for kernel time stamps: Time of each received message, and
// transport.TransmitStamper. Linux before 5.1 refuses, which is no error:
// TransmitStamps says so. Until Recv, stamps take room in the receive buffer; the
// kernel drops what it has no room for, uncounted.
//
// A message's stamp comes back under its ID where the kernel takes that from us
// (SCM_TS_OPT_ID, Linux 6.13). Elsewhere it numbers the messages, and each is
// sent by a call of its own, since a batch that ends early would not tell
// whether the message at which it did was numbered. After a failure that does
// not tell either, the kernel is made to begin anew: if stamps are under way
// then, those with a number that was given out before count as lost.
func (s *Socket) SetStamps() {
	t := &s.stamps
	if err := s.Set("SO_TIMESTAMPING", unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, stampFlags); err != nil {
		t.off = fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
		return
	}
	t.off = nil
	t.optID = unix.SCM_TS_OPT_ID
	t.ring.entries = make([]transport.TransmitStamp, maxStamps)
	s.openQueue()
	awaitStamping()
}

// TransmitStamps is as transport.TransmitStamper has it.
func (s *Socket) TransmitStamps(dst []transport.TransmitStamp) (n int, lost uint64, err error) {
	s.in.Lock()
	defer s.in.Unlock()
	t := &s.stamps
	switch {
	case s.FD() < 0:
		return 0, 0, net.ErrClosed
	case t.off != nil:
		return 0, 0, t.off
	}
	return t.ring.take(dst), t.ring.lost, nil
}

// number gives a message, which is about to be sent, its ID.
func (t *stamper) number(m *transport.Message, p *Packet) {
	switch {
	case t.off != nil:
	case t.counts.Load():
		t.ids[t.counted%maxCounted].Store(uint64(t.counted)<<32 | uint64(m.ID))
	default:
		p.appendUint32(unix.SOL_SOCKET, t.optID, m.ID)
	}
}

// What is to be done after sending.
const (
	nothing    = iota
	sendAgain  // the kernel does not take our numbers
	numberAnew // the kernel may or may not have numbered the message
)

// sent is told how sending ended, and tells what is to be done. Errors of the
// message's length, address or route come before it is numbered. A message that
// a firewall refuses (EPERM) or the queueing discipline drops (ENOBUFS) has been
// numbered, but both errors have other causes as well, and whether one for want
// of room (EAGAIN) gives the number back depends on the kernel (since Linux 6.8).
func (t *stamper) sent(errno unix.Errno) int {
	switch {
	case t.off != nil:
	case t.counts.Load():
		switch errno {
		case 0:
			t.counted++
			t.taken = true
			t.owed.Add(1)
		case unix.EINVAL:
			if !t.taken {
				t.counts.Store(false) // it was the message, not our number
			}
		case unix.EMSGSIZE, unix.EACCES, unix.ENETUNREACH:
		default:
			return numberAnew
		}
	case errno == 0:
		t.proven = true
	case errno == unix.EINVAL && !t.proven:
		if t.ids == nil {
			t.ids = make([]atomic.Uint64, maxCounted)
		}
		t.counts.Store(true)
		return sendAgain
	}
	return nothing
}

// renumber makes the kernel begin with 0 anew, as it does when OPT_ID is
// switched on. While it is off, stamps have the number 0.
func (t *stamper) renumber(fd int) {
	doubtful := max(t.doubtful.Load(), t.counted)
	if t.owed.Load() == 0 {
		doubtful = 0
	}
	t.doubtful.Store(doubtful) // before there is a message that it concerns
	for _, flags := range [...]int{stampFlags &^ unix.SOF_TIMESTAMPING_OPT_ID, stampFlags} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, flags) != nil {
			t.doubtful.Store(math.MaxUint32) // never to be trusted again
		}
	}
	t.counted = 0
}

// received stores a transmit stamp that came back under a number.
func (t *stamper) received(number uint32, at time.Time) {
	if t.counts.Load() {
		t.owed.Add(-1)
		id := t.ids[number%maxCounted].Load()
		if uint32(id>>32) != number || number < t.doubtful.Load() {
			t.ring.lost++ // others have, or may have, taken its place
			return
		}
		number = uint32(id)
	}
	if r := t.ring.next(); r != nil {
		*r = transport.TransmitStamp{ID: number, Time: at}
	}
}

// time reads the time stamp of a message (struct scm_timestamping64); the zero
// Time if it has none.
func (p *Packet) time() time.Time {
	for h, data := range p.each {
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPING_NEW && len(data) >= 16 {
			seconds, nanoseconds := binary.NativeEndian.Uint64(data), binary.NativeEndian.Uint64(data[8:])
			if seconds|nanoseconds != 0 {
				return time.Unix(int64(seconds), int64(nanoseconds))
			}
		}
	}
	return time.Time{}
}
