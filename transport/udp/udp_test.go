package udp_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/bpf"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
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
		wiretest.Send(t, a, plain, full, plain) // the last has nothing of the one before
		got := wiretest.Recv(t, b, 3)
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
		wiretest.Send(t, client, datagram(at, []byte("hello")))
		ms := wiretest.Recv(t, server, 1)
		ms[0].Reply()
		wiretest.Send(t, server, ms...)
		if got := wiretest.Recv(t, client, 1)[0]; got.Peer != at || string(got.Bytes()) != "hello" {
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
		wiretest.Send(t, c, datagram(to(witness, "127.0.0.1"), nil), own)
		got := wiretest.Recv(t, witness, 2)
		if got[0].Peer != to(c, "127.0.0.9") || got[1].Peer != to(c, "127.0.0.3") {
			t.Errorf("%s: sent from %v and %v, want 127.0.0.9 and 127.0.0.3", network, got[0].Peer, got[1].Peer)
		}
		if network == "udp" { // it is not for IPv6 peers
			wiretest.Send(t, c, datagram(to(witness, "::1"), nil))
			if got := wiretest.Recv(t, witness, 1)[0]; got.Peer != to(c, "::1") {
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
		ms := wiretest.Recv(t, both, 1)
		ms[0].Reply()
		wiretest.Send(t, both, ms...)
		buf := make([]byte, 100)
		if n, from, err := peer.ReadFromUDPAddrPort(buf); err != nil || string(buf[:n]) != "hello" || from != to(both, host) {
			t.Errorf("%s: %q from %v, %v", host, buf[:n], from, err)
		}
	}
	if _, err := peer4.WriteToUDPAddrPort([]byte("hello"), to(only6, "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	wiretest.RecvNone(t, only6)
}

func TestLinkLocalPeersAreToldApartByTheInterface(t *testing.T) {
	cable := wiretest.NewCable(t)
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
		a, b := open(t, network, address, nil), openFar(t, cable, "udp6", "")
		m := datagram(to(b, cable.Far.Addr6.String()), []byte("hello"))
		m.Local, m.Ifindex = local, near.Index
		wiretest.Send(t, a, m)
		ms := wiretest.Recv(t, b, 1)
		if from := netip.AddrPortFrom(local, a.LocalAddr().Port()); ms[0].Peer != from || ms[0].Ifindex == 0 {
			t.Errorf("%s: received from %v by interface %d, want from %v", network, ms[0].Peer, ms[0].Ifindex, from)
		}
		ms[0].Reply()
		wiretest.Send(t, b, ms...)
		if got := wiretest.Recv(t, a, 1)[0]; string(got.Bytes()) != "hello" || got.Local != local || got.Ifindex != near.Index {
			t.Errorf("%s: the answer is %q to %v by interface %d, want to %v by %d", network, got.Bytes(), got.Local, got.Ifindex, local, near.Index)
		}
	}
}

// What comes between bind(2) and the end of Open is nobody's loss, but for the one
// datagram that the sender has on its way just as the filter that keeps all out is
// taken away: the kernel may count it afterwards.
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
		if n := wiretest.Dropped(t, b); n > 1 {
			t.Errorf("Dropped() = %d, want 0, or 1 that was on its way", n)
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
	wiretest.Send(t, a, datagram(b.LocalAddr(), nil), datagram(b.LocalAddr(), nil))
	for n := uint32(0); n < 2; {
		if n = wiretest.Dropped(t, b); n > 2 {
			t.Fatalf("Dropped() = %d, want 2", n)
		}
	}
	wiretest.RecvNone(t, b)
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
		wiretest.Send(t, open(t, "udp4", "", nil), datagram(to(first, "127.0.0.1"), []byte{byte(i)}))
	}
	seen := make(map[byte]int)
	each := [2]int{}
	for i, c := range []transport.Transport{first, second} {
		for ms := wiretest.Slots(8, 100); ; {
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

func TestAfterClose(t *testing.T) {
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
	if n, err := c.(transport.DropCounter).Dropped(); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dropped after Close = %d, %v, want net.ErrClosed", n, err)
	}
}
