package udp_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"reflect"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/udp"
)

// pairs are a network and the loopback address of a peer.
var pairs = []struct{ network, host, other string }{
	{"udp4", "127.0.0.1", "127.0.0.5"},
	{"udp6", "::1", ""},
	{"udp", "127.0.0.1", "127.0.0.5"},
	{"udp", "::1", ""},
}

func TestFieldsArriveAsTheyWereSent(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pairs {
		a, b := open(t, p.network, "", nil), open(t, p.network, "", nil)
		host := netip.MustParseAddr(p.host)
		plain := datagram(to(b, p.host), []byte("hello"))
		full := datagram(to(b, p.host), []byte("hello"))
		full.Ifindex, full.TTL, full.TOS, full.Local = lo.Index, 9, 0x10, host
		if p.other != "" {
			full.Local = netip.MustParseAddr(p.other)
		}
		before := time.Now()
		send(t, a, plain, full, plain) // the last has nothing of the one before
		got := recv(t, b, 3)
		for i, want := range []transport.Message{
			{Peer: to(a, p.host), TTL: 64},
			{Peer: netip.AddrPortFrom(full.Local, a.LocalAddr().Port()), TTL: 9, TOS: 0x10},
			{Peer: to(a, p.host), TTL: 64},
		} {
			if at := got[i].Time; at.Before(before.Round(0)) || at.After(time.Now().Round(0)) {
				t.Errorf("%s: received at %v, sent after %v", p.network, at, before)
			}
			want.Buf, want.N, want.Local, want.Ifindex, want.Time = got[i].Buf, 5, host, lo.Index, got[i].Time
			if !reflect.DeepEqual(got[i], want) {
				got[i].Buf, want.Buf = nil, nil
				t.Errorf("%s: message %d: got %+v, want %+v", p.network, i, got[i], want)
			}
		}
	}
}

func TestReplyLeavesFromWhereTheRequestWasSentTo(t *testing.T) {
	for _, network := range []string{"udp4", "udp"} {
		client, server := open(t, network, "", nil), open(t, network, "", nil)
		at := to(server, "127.0.0.77")
		send(t, client, datagram(at, []byte("hello")))
		ms := recv(t, server, 1)
		ms[0].Reply()
		send(t, server, ms...)
		if got := recv(t, client, 1)[0]; got.Peer != at || string(got.Bytes()) != "hello" {
			t.Errorf("%s: %q from %v, want the answer of %v", network, got.Bytes(), got.Peer, at)
		}
	}
}

func TestSourceIsForMessagesWithoutLocal(t *testing.T) {
	for _, network := range []string{"udp4", "udp"} {
		witness := open(t, network, "", nil)
		c := open(t, network, "", &transport.Config{Source: netip.MustParseAddr("127.0.0.9")})
		own := datagram(to(witness, "127.0.0.1"), nil)
		own.Local = netip.MustParseAddr("127.0.0.3")
		send(t, c, datagram(to(witness, "127.0.0.1"), nil), own)
		got := recv(t, witness, 2)
		if got[0].Peer != to(c, "127.0.0.9") || got[1].Peer != to(c, "127.0.0.3") {
			t.Errorf("%s: sent from %v and %v, want 127.0.0.9 and 127.0.0.3", network, got[0].Peer, got[1].Peer)
		}
		if network == "udp" { // it is not for IPv6 peers
			send(t, c, datagram(to(witness, "::1"), nil))
			if got := recv(t, witness, 1)[0]; got.Peer != to(c, "::1") {
				t.Errorf("sent from %v, want ::1", got.Peer)
			}
		}
	}
}

// "udp" is for both kinds of peers, "udp6" for one.
func TestOneSocketForBothVersionsOfIP(t *testing.T) {
	both, only6 := open(t, "udp", "", nil), open(t, "udp6", "", nil)
	peer4, _ := listen(t, "udp4", "127.0.0.1:0")
	peer6, _ := listen(t, "udp6", "[::1]:0")
	for _, peer := range []*net.UDPConn{peer4, peer6} {
		host := peer.LocalAddr().(*net.UDPAddr).AddrPort().Addr().String()
		if _, err := peer.WriteToUDPAddrPort([]byte("hello"), to(both, host)); err != nil {
			t.Fatal(err)
		}
		ms := recv(t, both, 1)
		ms[0].Reply()
		send(t, both, ms...)
		buf := make([]byte, 100)
		if n, from, err := peer.ReadFromUDPAddrPort(buf); err != nil || string(buf[:n]) != "hello" || from != to(both, host) {
			t.Errorf("%s: %q from %v, %v", host, buf[:n], from, err)
		}
	}
	if _, err := peer4.WriteToUDPAddrPort([]byte("hello"), to(only6, "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	recvNone(t, only6)
}

func TestLinkLocalPeersAreToldApartByTheInterface(t *testing.T) {
	_, far := cable(t)
	near, err := net.InterfaceByName("near")
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := near.Addrs()
	if err != nil {
		t.Fatal(err)
	}
	var local netip.Addr
	for _, a := range addrs {
		if addr := netip.MustParsePrefix(a.String()).Addr(); addr.IsLinkLocalUnicast() {
			local = addr
		}
	}
	for network, address := range map[string]string{"udp6": "[" + local.String() + "%near]:0", "udp": ""} {
		a, b := open(t, network, address, nil), openFar(t, far, "udp6", nil)
		m := datagram(to(b, far6.Addr().String()), []byte("hello"))
		m.Local, m.Ifindex = local, near.Index
		send(t, a, m)
		ms := recv(t, b, 1)
		if from := netip.AddrPortFrom(local, a.LocalAddr().Port()); ms[0].Peer != from || ms[0].Ifindex == 0 {
			t.Errorf("%s: received from %v by interface %d, want from %v", network, ms[0].Peer, ms[0].Ifindex, from)
		}
		ms[0].Reply()
		send(t, b, ms...)
		if got := recv(t, a, 1)[0]; string(got.Bytes()) != "hello" || got.Local != local || got.Ifindex != near.Index {
			t.Errorf("%s: the answer is %q to %v by interface %d, want to %v by %d", network, got.Bytes(), got.Local, got.Ifindex, local, near.Index)
		}
	}
}

// Nobody listens, and an ICMP error says so; this socket does not ask for it.
func TestPortUnreachableIsNotReported(t *testing.T) {
	for _, p := range pairs {
		gone, a, b := open(t, p.network, "", nil), open(t, p.network, "", nil), open(t, p.network, "", nil)
		nobody := to(gone, p.host)
		if err := gone.Close(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			send(t, a, datagram(nobody, []byte("hello")))
			recvNone(t, a)
			if poll(t, a, unix.POLLIN, 0) {
				t.Errorf("%s: ready although nothing came", p.network)
			}
		}
		send(t, a, datagram(to(b, p.host), []byte("hello")))
		recv(t, b, 1)
	}
}

func TestDroppedDatagramsAreCounted(t *testing.T) {
	a, b := open(t, "udp4", "127.0.0.1:0", nil), open(t, "udp4", "127.0.0.1:0", &transport.Config{RecvBuffer: 5000})
	const sent = 200
	for range sent {
		send(t, a, datagram(b.LocalAddr(), make([]byte, 500)))
	}
	came := 0
	for ms := slots(8); ; {
		n, err := b.Recv(ms)
		if err != nil {
			t.Fatal(err)
		}
		if came += n; n == 0 {
			break
		}
	}
	dropped, err := drops(t, b)()
	if err != nil || dropped == 0 || came+int(dropped) != sent {
		t.Errorf("%d were sent, %d came and Dropped() = %d, %v", sent, came, dropped, err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := drops(t, b)(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dropped after Close: %v, want net.ErrClosed", err)
	}
}

func drops(t *testing.T, tr transport.Transport) func() (uint32, error) {
	t.Helper()
	c, ok := transport.As[transport.DropCounter](tr)
	if !ok {
		t.Fatalf("%T is not a transport.DropCounter", tr)
	}
	return c.Dropped
}

// What comes between bind(2) and the end of Open is nobody's loss.
func TestNothingIsDroppedAtFirst(t *testing.T) {
	from, reserved := open(t, "udp4", "", nil), open(t, "udp4", "127.0.0.1:0", nil)
	at := reserved.LocalAddr()
	if err := reserved.Close(); err != nil {
		t.Fatal(err)
	}
	const fit = 100 // into the receive buffer
	out := []transport.Message{datagram(at, nil)}
	for range 200 {
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for range fit {
				from.Send(out)
			}
		}()
		b := open(t, "udp4", at.String(), nil)
		<-sent
		if n, err := drops(t, b)(); n != 0 || err != nil {
			t.Errorf("Dropped() = %d, %v", n, err)
		}
		b.Close()
	}
}

func TestWhatAFilterKeepsOutIsCounted(t *testing.T) {
	none, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: 0}})
	if err != nil {
		t.Fatal(err)
	}
	a, b := open(t, "udp4", "127.0.0.1:0", nil), open(t, "udp4", "127.0.0.1:0", &transport.Config{Filter: none})
	send(t, a, datagram(b.LocalAddr(), nil), datagram(b.LocalAddr(), nil))
	for n := uint32(0); n < 2; {
		if n, err = drops(t, b)(); err != nil || n > 2 {
			t.Fatalf("Dropped() = %d, %v, want 2", n, err)
		}
	}
	recvNone(t, b)
}

func TestReusePortGivesADatagramToOne(t *testing.T) {
	shared := &transport.Config{Options: udp.Options{ReusePort: true}, Batch: 8}
	first := open(t, "udp", ":0", shared)
	second := open(t, "udp", fmt.Sprintf(":%d", first.LocalAddr().Port()), shared)
	if _, err := transport.Open("udp", fmt.Sprintf(":%d", first.LocalAddr().Port()), nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("without ReusePort: %v, want EADDRINUSE", err)
	}
	const peers = 64
	for i := range peers {
		send(t, open(t, "udp4", "", nil), datagram(to(first, "127.0.0.1"), []byte{byte(i)}))
	}
	seen := make(map[byte]int)
	each := [2]int{}
	for i, c := range []transport.Transport{first, second} {
		for ms := slots(8); ; {
			n, err := c.Recv(ms)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
			for _, m := range ms[:n] {
				seen[m.Bytes()[0]]++
				each[i]++
			}
		}
	}
	if len(seen) != peers || each[0]+each[1] != peers || each[0] == 0 || each[1] == 0 {
		t.Errorf("%d of %d datagrams came, %v to the one and the other", len(seen), peers, each)
	}
}

func TestAfterCloseLocalAddrStays(t *testing.T) {
	c := open(t, "udp4", "127.0.0.1:0", nil)
	was := c.LocalAddr()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c.LocalAddr() != was || was.Port() == 0 {
		t.Errorf("LocalAddr() = %v, was %v", c.LocalAddr(), was)
	}
	for _, m := range []transport.Message{datagram(was, []byte("hello")), segmented(was, 4, 8)} {
		if n, err := c.Send([]transport.Message{m}); n != 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("Send after Close = %d, %v, want net.ErrClosed", n, err)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
