package icmp_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/icmp"
)

func TestSendErrorIsAboutTheFirstMessageAndTheRestGoes(t *testing.T) {
	seq := uint16(0)
	good := func() transport.Message {
		seq++
		return message(request, loopback, 1, seq, nil)
	}
	to := func(addr netip.Addr) transport.Message { return message(request, addr, 1, 0, nil) }
	from := func(addr string) transport.Message {
		m := to(loopback)
		m.Local = netip.MustParseAddr(addr)
		return m
	}
	cut := func(n int) transport.Message {
		m := to(loopback)
		m.N = n
		return m
	}
	for _, c := range []struct {
		name string
		bad  transport.Message
		want error  // the system call's, nil if there was none
		text string // the end of what the error says
		addr string
	}{
		{"broadcast", to(netip.MustParseAddr("127.255.255.255")), syscall.EACCES, "sendmmsg: permission denied", "127.255.255.255"},
		{"too long", message(request, loopback, 1, 0, pattern(65508)), syscall.EMSGSIZE, "sendmmsg: message too long", "127.0.0.1"},
		{"no route", to(netip.MustParseAddr("192.0.2.1")), syscall.ENETUNREACH, "sendmmsg: network is unreachable", "192.0.2.1"},
		{"no peer", to(netip.Addr{}), nil, "address invalid IP: the peer is not an IPv4 address", ""},
		{"IPv6 peer", to(netip.IPv6Loopback()), nil, "address ::1: the peer is not an IPv4 address", "::1"},
		{"4-in-6 peer", to(netip.MustParseAddr("::ffff:127.0.0.1")), nil, "the peer is not an IPv4 address", "127.0.0.1"},
		{"IPv6 source", from("::1"), nil, "address ::1: the local address is not an IPv4 address", "127.0.0.1"},
		{"empty", cut(0), nil, "an ICMP message of 0 bytes has no type and code", "127.0.0.1"},
		{"no code", cut(1), nil, "an ICMP message of 1 bytes has no type and code", "127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			seq = 0
			tr := open(t, "ip4:icmp", "", only(request))
			ms := []transport.Message{good(), good(), c.bad, good()}
			if n, err := tr.Send(ms); n != 2 || err != nil {
				t.Fatalf("Send = %d, %v, want the two in front of the bad one", n, err)
			}
			for range 2 { // it repeats
				n, err := tr.Send(ms[2:])
				if n != 0 || err == nil {
					t.Fatalf("Send = %d, %v, want 0 and an error", n, err)
				}
				op, ok := err.(*net.OpError)
				if !ok || op.Op != "write" || op.Net != "ip4:icmp" || !strings.HasSuffix(err.Error(), c.text) {
					t.Errorf("the error is %T %v, want a *net.OpError: write ip4:icmp ... %s", err, err, c.text)
				}
				if c.addr == "" && op.Addr != nil || c.addr != "" && (op.Addr == nil || op.Addr.String() != c.addr) {
					t.Errorf("the error's Addr is %v, want %s", op.Addr, c.addr)
				}
				var call *os.SyscallError
				if errors.As(err, &call) != (c.want != nil) || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("the error is %v, want %v", err, c.want)
				}
			}
			if n, err := tr.Send(ms[3:]); n != 1 || err != nil {
				t.Fatalf("Send of the rest = %d, %v", n, err)
			}
			var got []uint16
			for _, m := range recv(t, tr, 3) {
				got = append(got, sequence(&m))
			}
			if !slices.Equal(got, []uint16{1, 2, 3}) {
				t.Errorf("messages %d arrived, want 1, 2, 3", got)
			}
		})
	}
}

func TestSendOfTwoBytesGoes(t *testing.T) {
	tr := open(t, "ip4:icmp", "", nil) // nobody receives it: raw sockets are given 8 bytes or more
	m := message(request, loopback, 1, 1, nil)
	m.N = 2
	send(t, tr, m)
	recvNone(t, tr)
}

func TestRawFullSendBufferWouldBlockUntilWritable(t *testing.T) {
	cable(t)
	peer := raw4.far
	tr := open(t, "ip4:icmp", "", &transport.Config{Options: icmp.Options{Types: []uint8{reply}}, SendBuffer: 1})
	release := hold(t)
	fill(t, tr, peer)
	release()
	if !poll(t, tr, unix.POLLOUT, watchdog) {
		t.Fatal("never writable again")
	}
	send(t, tr, message(request, peer, 1, 2, nil))
	for got := recv(t, tr, 1); sequence(&got[0]) != 2; got = recv(t, tr, 1) { // what left before the rest was held
	}
}

func TestRawMessageThatNeverFitsTheSendBufferIsAnError(t *testing.T) {
	cable(t)
	peer := raw4.far
	tr := open(t, "ip4:icmp", "", &transport.Config{Options: icmp.Options{Types: []uint8{reply}}, SendBuffer: 1})
	long := message(request, peer, 1, 1, pattern(60_000)) // 41 fragments
	if n, err := tr.Send([]transport.Message{long}); n != 0 || !errors.Is(err, syscall.ENOBUFS) {
		t.Fatalf("Send = %d, %v, want ENOBUFS", n, err)
	}
	send(t, tr, message(request, peer, 1, 2, nil))
	recv(t, tr, 1)
}

// fill sends until it would block, which it does without an error.
func fill(t *testing.T, tr transport.Transport, peer netip.Addr) {
	t.Helper()
	ms := slices.Repeat([]transport.Message{message(request, peer, 1, 1, pattern(100))}, 8)
	for range 1000 {
		n, err := tr.Send(ms)
		if err != nil {
			t.Fatalf("Send: %v", err)
		}
		if n > 0 {
			continue
		}
		if poll(t, tr, unix.POLLOUT, 0) {
			t.Fatal("writable although Send returned 0, nil")
		}
		return
	}
	t.Fatal("the send buffer does not fill")
}
