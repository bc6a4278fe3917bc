package udp

import (
	"errors"
	"hash/maphash"
	"net/netip"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

// conn is a UDP socket. Where the kernel does not cut up messages, it does.
type conn struct {
	*sock.Socket
	local   netip.AddrPort
	dropped uint32 // until it was open
	noGSO   atomic.Pointer[error]
	noGRO   error

	// For Send alone.
	parts   []transport.Message // the datagrams of one message, for a batch
	started progress
}

var (
	_ Conn                  = (*conn)(nil)
	_ transport.DropCounter = (*conn)(nil)
)

func (c *conn) LocalAddr() netip.AddrPort { return c.local }

func (c *conn) GRO() error { return c.noGRO }

func (c *conn) GSO() error {
	if reason := c.noGSO.Load(); reason != nil {
		return *reason
	}
	return nil
}

// Dropped does not count what was kept out until the socket was open, but for what was
// being delivered at that moment.
func (c *conn) Dropped() (uint32, error) {
	n, err := c.Socket.Dropped()
	return n - c.dropped, err
}

// probe asks the kernel what it can do.
func (c *conn) probe(gro bool) {
	if _, err := unix.GetsockoptInt(c.FD(), unix.SOL_UDP, unix.UDP_SEGMENT); err != nil {
		c.refuse(os.NewSyscallError("getsockopt UDP_SEGMENT", err))
	}
	c.noGRO = errors.New("Options.GRO is not set")
	if gro {
		c.noGRO = c.Set("UDP_GRO", unix.SOL_UDP, unix.UDP_GRO, 1)
	}
}

// refuse remembers why the kernel is not asked to cut up messages.
func (c *conn) refuse(reason error) { c.noGSO.Store(&reason) }

// Send sends what the kernel takes, and cuts up what it does not.
func (c *conn) Send(ms []transport.Message) (int, error) {
	whole := len(ms)
	if c.GSO() != nil {
		for whole = 0; whole < len(ms) && !sock.Segmented(&ms[whole]); whole++ {
		}
	}
	if whole > 0 || len(ms) == 0 {
		n, err := c.Socket.Send(ms[:whole])
		if err == nil || !sock.Segmented(&ms[0]) || !c.takesParts(err) {
			return n, err
		}
	}
	return c.sendParts(&ms[0])
}

// takesParts tells whether the error of a message may not be one of its
// datagrams'.
func (c *conn) takesParts(err error) bool {
	switch {
	case errors.Is(err, unix.EIO): // no checksum offload, or IPsec
		c.refuse(err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EMSGSIZE): // too long, or too many
	default:
		return false
	}
	return true
}

// sendParts sends the datagrams of a message, from where it stopped the last
// time.
func (c *conn) sendParts(m *transport.Message) (int, error) {
	at := c.started.of(m)
	c.started = progress{}
	for at < m.N {
		n := 0
		for off := at; off < m.N && n < len(c.parts); n++ {
			part := &c.parts[n]
			*part = *m
			part.Off, part.N, part.Segment = m.Off+off, min(m.N-off, int(m.Segment)), 0
			off += part.N
		}
		sent, err := c.Socket.Send(c.parts[:n])
		clear(c.parts[:n])
		at = min(at+sent*int(m.Segment), m.N)
		if err != nil {
			return 0, err
		}
		if sent == 0 {
			if at > 0 {
				c.started = progressOf(m, at)
			}
			return 0, nil
		}
	}
	return 1, nil
}

// progress is how far a message got whose datagrams would block. It knows the
// message by what arrives, as the caller may put another in its place.
type progress struct {
	peer    netip.AddrPort
	segment uint16
	sum     uint64 // of the payload
	sent    int    // bytes
}

var seed = maphash.MakeSeed()

func progressOf(m *transport.Message, sent int) progress {
	return progress{m.Peer, m.Segment, maphash.Bytes(seed, m.Bytes()), sent}
}

// of returns how many bytes of m have been sent.
func (p progress) of(m *transport.Message) int {
	if p.sent > 0 && p == progressOf(m, p.sent) {
		return p.sent
	}
	return 0
}
