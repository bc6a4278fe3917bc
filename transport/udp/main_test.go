package udp_test

import (
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/netlab"
	"iomux/transport/udp"
)

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

// watchdog is how long a test waits for what must come, in milliseconds.
const watchdog = 30_000

var networks = []string{"udp4", "udp6", "udp"}

// loopback is where the tests of a network listen.
var loopback = map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0", "udp": ":0"}

// open opens a transport until the end of the test.
func open(t *testing.T, network, address string, cfg *transport.Config) udp.Conn {
	t.Helper()
	tr, err := transport.Open(network, address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	c, ok := transport.As[udp.Conn](tr)
	if !ok {
		t.Fatalf("%T is not a udp.Conn", tr)
	}
	return c
}

// lab is the private namespace that some tests run in.
func lab(t *testing.T) *netlab.Namespace {
	t.Helper()
	netlab.Need(t)
	ns, err := netlab.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// The ends of the cable.
var (
	near4, far4 = netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/24")
	near6, far6 = netip.MustParsePrefix("2001:db8::1/64"), netip.MustParsePrefix("2001:db8::2/64")
)

// cable connects the lab by an interface called near to another namespace.
func cable(t *testing.T) (near, far *netlab.Namespace) {
	t.Helper()
	near = lab(t)
	far, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	if err := netlab.Veth(
		netlab.End{Name: "near", Addrs: []netip.Prefix{near4, near6}},
		netlab.End{Name: "far", In: far, Addrs: []netip.Prefix{far4, far6}},
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if link, err := netlink.LinkByName("near"); err == nil {
			netlink.LinkDel(link)
		}
	})
	return near, far
}

// openFar opens a transport at the other end of the cable.
func openFar(t *testing.T, far *netlab.Namespace, network string, cfg *transport.Config) (c udp.Conn) {
	t.Helper()
	if err := far.Do(func() error { c = open(t, network, "", cfg); return nil }); err != nil {
		t.Fatal(err)
	}
	return c
}

// hold keeps in the queueing discipline what is sent through near, until
// release, which throws it away: 40 bytes leave in a second.
func hold() (release func() error, err error) {
	link, err := netlink.LinkByName("near")
	if err != nil {
		return nil, err
	}
	bucket := &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       40,             // bytes per second
		Buffer:     200 * 1e9 / 64, // 200 seconds' worth of tokens, in ticks of 64 ns
		Limit:      1 << 24,        // bytes
	}
	return func() error { return netlink.QdiscDel(bucket) }, netlink.QdiscAdd(bucket)
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

func slots(n int) []transport.Message {
	ms := make([]transport.Message, n)
	for i := range ms {
		ms[i].Buf = make([]byte, 1<<16)
	}
	return ms
}

// recv receives exactly n messages, which have to come.
func recv(t *testing.T, tr transport.Transport, n int) []transport.Message {
	t.Helper()
	ms := slots(n)
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

// recvNone fails the test if there is anything to receive.
func recvNone(t *testing.T, tr transport.Transport) {
	t.Helper()
	ms := slots(1)
	if n, err := tr.Recv(ms); n != 0 || err != nil {
		t.Fatalf("Recv = %d, %v with %q, want nothing", n, err, ms[0].Bytes())
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

// to is the address of a transport on the host, where it listens on all.
func to(c udp.Conn, host string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(host), c.LocalAddr().Port())
}

func datagram(peer netip.AddrPort, payload []byte) transport.Message {
	return transport.Message{Buf: payload, N: len(payload), Peer: peer}
}

// pattern is n bytes that differ from their neighbours, and from those of
// another number.
func pattern(seq, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(seq + i*7 + i>>8)
	}
	return b
}
