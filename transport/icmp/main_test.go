package icmp_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
	_ "iomux/transport/icmp"
	"iomux/transport/netlab"
)

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

// ICMP types, and the length of an echo request's header and of IPv4's.
const (
	reply, request   = 0, 8
	reply6, request6 = 129, 128
	icmpHeader       = 8
	ipv4Header       = 20
)

// watchdog is how long a test waits for what must come, in milliseconds.
const watchdog = 30_000

var loopback = netip.MustParseAddr("127.0.0.1")

// lab is the private namespace that the tests run in.
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

// addOther gives the loopback interface the second IPv6 address.
func addOther(t *testing.T) {
	t.Helper()
	if err := lab(t).AddAddr("lo", netip.PrefixFrom(raw6.other, 128)); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
}

// silenceKernel keeps the kernel from answering echo requests.
func silenceKernel(t *testing.T) {
	t.Helper()
	ns := lab(t)
	if err := ns.SetEchoReplies(false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.SetEchoReplies(true) })
}

// open opens a transport in the lab, until the end of the test.
func open(t *testing.T, network, address string, cfg *transport.Config) transport.Transport {
	t.Helper()
	ns := lab(t)
	if strings.HasPrefix(network, "udp") {
		if err := ns.SetPingGroups(0, 0); err != nil {
			t.Fatal(err)
		}
	}
	tr, err := transport.Open(network, address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
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

// slots returns n messages to receive into.
func slots(n, size int) []transport.Message {
	ms := make([]transport.Message, n)
	for i := range ms {
		ms[i].Buf = make([]byte, size)
	}
	return ms
}

// recv receives exactly n messages, which have to come.
func recv(t *testing.T, tr transport.Transport, n int) []transport.Message {
	t.Helper()
	ms := slots(n, 1<<16)
	recvInto(t, tr, ms)
	return ms
}

func recvInto(t *testing.T, tr transport.Transport, ms []transport.Message) {
	t.Helper()
	for got := 0; got < len(ms); {
		n, err := tr.Recv(ms[got:])
		if err != nil {
			t.Fatalf("Recv: %v", err)
		}
		got += n
		if n == 0 && !poll(t, tr, unix.POLLIN, watchdog) {
			t.Fatalf("%d of %d messages came", got, len(ms))
		}
	}
}

// recvNone fails the test if there is anything to receive. What is sent on
// loopback has usually been delivered when Send returns.
func recvNone(t *testing.T, tr transport.Transport) {
	t.Helper()
	ms := slots(1, 1<<16)
	if n, err := tr.Recv(ms); n != 0 || err != nil {
		t.Fatalf("Recv = %d, %v with %v, want nothing", n, err, ms[0].Bytes())
	}
	if poll(t, tr, unix.POLLIN, 0) {
		t.Fatal("readable although Recv returned 0, nil")
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

// message is an ICMP echo message to peer.
func message(kind uint8, peer netip.Addr, id, seq uint16, payload []byte) transport.Message {
	b := make([]byte, icmpHeader, icmpHeader+len(payload))
	b[0] = kind
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], seq)
	b = append(b, payload...)
	setChecksum(b)
	return transport.Message{Buf: b, N: len(b), Peer: netip.AddrPortFrom(peer, 0)}
}

// setChecksum sets the checksum of an ICMP message (RFC 1071).
func setChecksum(b []byte) {
	b[2], b[3] = 0, 0
	var sum uint32
	for i, c := range b {
		sum += uint32(c) << (8 * (1 - i%2))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum))
}

func identifier(m *transport.Message) uint16 { return binary.BigEndian.Uint16(m.Bytes()[4:]) }
func sequence(m *transport.Message) uint16   { return binary.BigEndian.Uint16(m.Bytes()[6:]) }

// pattern is n bytes that differ from their neighbours.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func ifindex(t *testing.T, name string) int {
	t.Helper()
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return i.Index
}

// linkLocal is the IPv6 link-local address of an interface.
func linkLocal(t *testing.T, name string) netip.Addr {
	t.Helper()
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := i.Addrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().IsLinkLocalUnicast() {
			return prefix.Addr()
		}
	}
	t.Fatalf("interface %s has no link-local address among %v", name, addrs)
	return netip.Addr{}
}
