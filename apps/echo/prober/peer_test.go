package prober_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/transport"
	"iomux/transport/netlab"
	"iomux/transport/tun"
)

// A hostile peer holds the other end of the cable: it sees each request as an IP
// packet and answers with packets of any kind. The cable is a TUN device, to which
// the kernel routes all that the prober probes, or else a pipe that takes the
// prober's own IP packets, without a kernel in between.

// Addresses on the cable. The prober is at the first two.
var (
	near4, near6     = netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("2001:db8:18::1")
	cable4, cable6   = netip.MustParsePrefix("198.19.0.0/16"), netip.MustParsePrefix("2001:db8:19::/64")
	hop4, hop6       = netip.MustParseAddr("198.19.255.254"), netip.MustParseAddr("2001:db8:19::ffff:fffe") // a router
	nobody4, nobody6 = netip.MustParseAddr("198.19.255.253"), netip.MustParseAddr("2001:db8:19::ffff:fffd") // was not probed
	group4, group6   = netip.MustParseAddr("224.0.1.77"), netip.MustParseAddr("ff05::77")
)

// far is the address of a host of the cable by its number, below 65,000.
func far(n int, v6 bool) netip.Addr {
	if v6 {
		b := cable6.Addr().As16()
		binary.BigEndian.PutUint32(b[12:], uint32(1+n))
		return netip.AddrFrom16(b)
	}
	b := cable4.Addr().As4()
	binary.BigEndian.PutUint16(b[2:], uint16(1+n))
	return netip.AddrFrom4(b)
}

// openCable opens the TUN device until the end of the test, which is skipped where
// that cannot be done.
func openCable(t *testing.T) *tun.Device {
	t.Helper()
	netlab.Need(t)
	ns, err := netlab.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	if err := ns.SetPingGroups(0, 0); err != nil {
		t.Fatal(err)
	}
	tr, err := transport.Open("tun", "", &transport.Config{Options: tun.Options{
		Addrs:    []netip.Prefix{netip.PrefixFrom(near4, 32), netip.PrefixFrom(near6, 128)},
		Routes:   []netip.Prefix{cable4, cable6, netip.MustParsePrefix("224.0.0.0/4")},
		MTU:      65535,
		QueueLen: 10_000,
	}})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no TUN device can be made: %v; an administrator lets everybody open it by `chmod 0666 /dev/net/tun`", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	d := tr.(*tun.Device)
	if err := ns.SetLink(d.Name(), true); err != nil { // awaits its IPv6 addresses
		t.Fatal(err)
	}
	return d
}

// newPipe returns the two ends of a pipe that takes packets of any length, however
// many. It carries IP packets; bare, it carries ICMP messages.
func newPipe(t *testing.T) (prober, peer *pipe) {
	t.Helper()
	ends := [2]*pipe{}
	for i := range ends {
		fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		if err != nil {
			t.Fatal(os.NewSyscallError("eventfd", err))
		}
		t.Cleanup(func() { unix.Close(fd) })
		ends[i] = &pipe{fd: fd}
	}
	ends[0].other, ends[1].other = ends[1], ends[0]
	return ends[0], ends[1]
}

// pipe is one end of a pipe.
type pipe struct {
	fd      int // an eventfd(2), readable while queue holds anything
	other   *pipe
	queue   [][]byte
	errs    []error // of the next messages that are sent
	dropped uint32  // what DropCounter says
}

var (
	_ transport.Framer      = (*pipe)(nil)
	_ transport.DropCounter = (*pipe)(nil)
)

func (p *pipe) FD() int                    { return p.fd }
func (p *pipe) BatchSize() int             { return 64 }
func (p *pipe) Framing() transport.Framing { return transport.IPPacket }
func (p *pipe) Dropped() (uint32, error)   { return p.dropped, nil }
func (p *pipe) Close() error               { return nil }

func (p *pipe) Recv(ms []transport.Message) (int, error) {
	n := min(len(ms), len(p.queue))
	for i, packet := range p.queue[:n] {
		b := ms[i].Buf
		ms[i] = transport.Message{Buf: b, N: copy(b, packet)}
		if ms[i].N < len(packet) {
			ms[i].Flags = transport.Truncated
		}
	}
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		unix.Read(p.fd, make([]byte, 8)) // silent until there is more
	}
	return n, nil
}

func (p *pipe) Send(ms []transport.Message) (int, error) {
	for i := range ms {
		if len(p.errs) > 0 {
			if i > 0 {
				return i, nil
			}
			err := p.errs[0]
			p.errs = p.errs[1:]
			return 0, err
		}
		p.other.queue = append(p.other.queue, slices.Clone(ms[i].Bytes()))
		if _, err := unix.Write(p.other.fd, []byte{7: 1}); err != nil && err != unix.EAGAIN {
			return i, os.NewSyscallError("write", err)
		}
	}
	return len(ms), nil
}

// peer is the far end of a cable.
type peer struct {
	t       *testing.T
	tr      transport.Transport
	in      []transport.Message
	partial map[string][]byte // requests that came in fragments, so far
}

func newPeer(t *testing.T, tr transport.Transport) *peer {
	p := &peer{t: t, tr: tr, in: make([]transport.Message, 16), partial: map[string][]byte{}}
	for i := range p.in {
		p.in[i].Buf = make([]byte, 1<<16+64)
	}
	return p
}

// receive returns the echo requests that have come. Other packets, such as those by
// which the kernel looks for its neighbours, are ignored.
func (p *peer) receive() []*request {
	n, err := p.tr.Recv(p.in)
	if err != nil {
		p.t.Fatal(err)
	}
	var all []*request
	for i := range p.in[:n] {
		if r := parseRequest(p.whole(p.in[i].Bytes())); r != nil {
			all = append(all, r)
		}
	}
	return all
}

// drain throws away what has come.
func (p *peer) drain() {
	for {
		if n, err := p.tr.Recv(p.in); err != nil {
			p.t.Fatal(err)
		} else if n == 0 {
			return
		}
	}
}

// send sends the packets, in their order. The kernel has taken them to a socket, or
// thrown them away, when it returns.
func (p *peer) send(packets ...[]byte) {
	p.t.Helper()
	for _, b := range packets {
		ms := []transport.Message{{Buf: b, N: len(b)}}
		if n, err := p.tr.Send(ms); n != 1 || err != nil {
			p.t.Fatalf("send %d bytes, %.48x: %d, %v", len(b), b, n, err)
		}
	}
}

// whole puts fragments together, which come in their order. It returns nil until the
// packet is whole.
func (p *peer) whole(b []byte) []byte {
	b = slices.Clone(b)
	var offset int
	var more bool
	var key string
	payload := b
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		word := binary.BigEndian.Uint16(b[6:])
		offset, more, key, payload = int(word&0x1FFF)*8, word&0x2000 != 0, string(b[12:20])+string(b[4:6]), b[20:]
	case len(b) >= 48 && b[6] == 44: // a fragment header (RFC 8200, 4.5)
		word := binary.BigEndian.Uint16(b[42:])
		offset, more, key, payload = int(word&^7), word&1 != 0, string(b[8:40])+string(b[44:48]), b[48:]
	}
	switch {
	case offset == 0 && !more:
		return b
	case offset == 0 && b[0]>>4 == 4:
		p.partial[key] = b
	case offset == 0:
		b[6] = b[40]
		p.partial[key] = append(b[:40], payload...)
	default:
		p.partial[key] = append(p.partial[key], payload...)
	}
	if more {
		return nil
	}
	b = p.partial[key]
	delete(p.partial, key)
	return b
}

// The prober sends and receives IP packets through a TUN device, with an address of
// its own, and the kernel answers.
func TestProberOnATUNDevice(t *testing.T) {
	kernelReplies(t, true)
	for name, v6 := range map[string]bool{"IPv4": false, "IPv6": true} {
		t.Run(name, func(t *testing.T) {
			d := openCable(t)
			l := newLoop(t, "")
			var wrong *prober.Result // the first one
			p := newProber(t, l, prober.Config{Targets: list(pick(v6, near4, near6).String()), Source: far(0, v6), Count: 100, Window: 10, Data: pattern(56),
				Open: func(prober.Opening) (transport.Transport, error) { return d, nil }, OnDone: l.Stop,
				OnResult: func(r *prober.Result) {
					if wrong == nil && (r.Outcome != stats.Reply || r.TTL != 64 || r.Clock != prober.User) {
						wrong = new(prober.Result)
						*wrong = *r
					}
				}})
			p.Start()
			run(t, l)
			// Stray is what the kernel sends to find its neighbours.
			if c := p.Total().Counts(); c.Sent != 100 || c.Of[stats.Reply] != 100 || c.Finished() != 100 || wrong != nil {
				t.Errorf("%+v, want 100 replies; the first wrong result is %+v", c, wrong)
			}
		})
	}
}
