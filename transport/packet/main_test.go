package packet_test

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/netlab"
	"iomux/transport/packet"
)

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

// watchdog is how long a test waits for what must come, in milliseconds.
const watchdog = 30_000

// EtherTypes. The first two are for experiments (IEEE 802, 9.2.3), so that
// nothing but the tests uses them.
const (
	experiment = 0x88b5
	another    = 0x88b6
	ipv4       = 0x0800
	vlan       = 0x8100
)

// headerSize is the length of an Ethernet header.
const headerSize = 14

var networks = []string{"packet", "packet:raw"}

// cable is an interface called near, and far, the one at its other end in
// another namespace.
type cable struct {
	t           *testing.T
	far         *netlab.Namespace
	near, other end
}

type end struct {
	addr  netip.Addr
	mac   [6]byte
	index int
}

func newCable(t *testing.T) *cable {
	t.Helper()
	netlab.Need(t)
	far, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	c := &cable{t: t, far: far}
	c.near.addr, c.other.addr = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	if err := netlab.Veth(
		netlab.End{Name: "near", Addrs: []netip.Prefix{netip.PrefixFrom(c.near.addr, 24)}},
		netlab.End{Name: "far", In: far, Addrs: []netip.Prefix{netip.PrefixFrom(c.other.addr, 24)}},
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if link, err := netlink.LinkByName("near"); err == nil {
			netlink.LinkDel(link)
		}
	})
	c.near.look(t, "near")
	c.there(func() { c.other.look(t, "far") })
	return c
}

// there runs f in the namespace of the other end.
func (c *cable) there(f func()) {
	c.t.Helper()
	if err := c.far.Do(func() error { f(); return nil }); err != nil {
		c.t.Fatal(err)
	}
}

// look finds out about the interface.
func (e *end) look(t *testing.T, name string) {
	t.Helper()
	link, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	e.index = link.Index
	copy(e.mac[:], link.HardwareAddr)
}

// open opens a transport until the end of the test.
func open(t *testing.T, network, address string, cfg *transport.Config) transport.Transport {
	t.Helper()
	tr, err := transport.Open(network, address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// openNear opens one for the experiment at this end.
func (c *cable) openNear(network string) transport.Transport {
	c.t.Helper()
	return open(c.t, network, "near", only(experiment))
}

// openFar opens one for the experiment at the other end.
func (c *cable) openFar(network string) (tr transport.Transport) {
	c.t.Helper()
	c.there(func() { tr = open(c.t, network, "far", only(experiment)) })
	return tr
}

func only(etherType uint16) *transport.Config {
	return &transport.Config{Options: packet.Options{EtherType: etherType}}
}

// link is the address of an end.
func (e *end) link(etherType uint16) transport.LinkAddr {
	l := transport.LinkAddr{Len: 6, EtherType: etherType}
	copy(l.Addr[:], e.mac[:])
	return l
}

// frame is an Ethernet frame from one end to the other.
func frame(to, from [6]byte, etherType uint16, payload ...byte) []byte {
	b := append(append([]byte{}, to[:]...), from[:]...)
	return append(append(b, byte(etherType>>8), byte(etherType)), payload...)
}

func message(b []byte) transport.Message { return transport.Message{Buf: b, N: len(b)} }

// pattern is n bytes that differ from their neighbours, and from those of
// another number.
func pattern(seq, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(seq + i*7 + i>>8)
	}
	return b
}

// poll tells whether the transport is ready for one of the events at once or,
// if it is to wait, before the watchdog barks.
func poll(t *testing.T, tr transport.Transport, events int16, timeout int) bool {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(tr.FD()), Events: events}}
	for {
		n, err := unix.Poll(fds, timeout)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
}

// recv receives exactly n messages, which have to come.
func recv(t *testing.T, tr transport.Transport, n int) []transport.Message {
	t.Helper()
	ms := make([]transport.Message, n)
	for i := range ms {
		ms[i].Buf = make([]byte, 2048)
	}
	for got := 0; got < n; {
		k, err := tr.Recv(ms[got:])
		if err != nil {
			t.Fatalf("Recv: %v", err)
		}
		if got += k; k == 0 && !poll(t, tr, unix.POLLIN, watchdog) {
			t.Fatalf("%d of %d messages came", got, n)
		}
	}
	return ms
}

// recvNone fails the test if there is anything to receive. What is sent over the
// cable has usually been delivered when Send returns.
func recvNone(t *testing.T, tr transport.Transport) {
	t.Helper()
	ms := []transport.Message{message(make([]byte, 2048))}
	if n, err := tr.Recv(ms); n != 0 || err != nil {
		t.Fatalf("Recv = %d, %v with % x, want nothing", n, err, ms[0].Bytes())
	}
}

// send sends all messages.
func send(t *testing.T, tr transport.Transport, ms ...transport.Message) {
	t.Helper()
	for len(ms) > 0 {
		n, err := tr.Send(ms)
		if err != nil {
			t.Fatalf("Send: %v", err)
		}
		if n == 0 && !poll(t, tr, unix.POLLOUT, watchdog) {
			t.Fatal("never writable")
		}
		ms = ms[n:]
	}
}

// setLink switches the interface near.
func setLink(up bool) error {
	link, err := netlink.LinkByName("near")
	if err != nil {
		return err
	}
	if up {
		return netlink.LinkSetUp(link)
	}
	return netlink.LinkSetDown(link)
}
