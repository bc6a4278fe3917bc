package packet_test

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/packet"
)

func TestFieldsTellWhereAPacketCameFrom(t *testing.T) {
	c := wiretest.NewCable(t)
	from := openFar(t, c, "packet:raw")
	near, raw := openNear(t, "packet"), openNear(t, "packet:raw")
	everybody, other := [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, [6]byte{2, 0, 0, 0, 0, 9}
	for _, a := range []struct {
		to    [6]byte
		kind  uint8
		flags transport.Flags
	}{
		{c.Near.MAC, unix.PACKET_HOST, 0},
		{everybody, unix.PACKET_BROADCAST, transport.Broadcast},
		{[6]byte{1, 0, 0x5e, 0, 0, 7}, unix.PACKET_MULTICAST, transport.Broadcast},
		{other, unix.PACKET_OTHERHOST, 0},
	} {
		before := time.Now().Round(0)
		sent := frame(a.to, c.Far.MAC, experiment, []byte("hello")...)
		wiretest.Send(t, from, wiretest.Message(sent))
		for tr, payload := range map[transport.Transport][]byte{near: sent[headerSize:], raw: sent} {
			got := wiretest.Recv(t, tr, 1)[0]
			if !bytes.Equal(got.Bytes(), payload) {
				t.Errorf("to % x: received % x, want % x", a.to, got.Bytes(), payload)
			}
			if got.Time.Before(before) || got.Time.After(time.Now().Round(0)) {
				t.Errorf("received at %v, sent after %v", got.Time, before)
			}
			sender := link(c.Far, experiment)
			sender.Type = a.kind
			if got.Link != sender || got.Ifindex != c.Near.Index || got.Flags != a.flags || got.Peer.IsValid() {
				t.Errorf("to % x: received %+v, interface %d, flags %d, want %+v, %d, %d", a.to, got.Link, got.Ifindex, got.Flags, sender, c.Near.Index, a.flags)
			}
		}
	}
}

func TestFramingTellsTheNetworksApart(t *testing.T) {
	wiretest.NewCable(t)
	for network, want := range map[string]transport.Framing{"packet": transport.IPPacket, "packet:raw": transport.Ethernet} {
		f, ok := transport.As[transport.Framer](openNear(t, network))
		if !ok || f.Framing() != want {
			t.Errorf("%s: Framer %v, want Framing %d", network, ok, want)
		}
	}
}

// A socket of package net at the other end sends and receives UDP; this side
// sees, and makes, the IP packets.
func TestPeerIsAnOrdinarySocket(t *testing.T) {
	c := wiretest.NewCable(t)
	var peer *net.UDPConn
	c.Far.Do(t, func() {
		pc, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.Far.Addr4, 7)))
		if err != nil {
			t.Fatal(err)
		}
		peer = pc
		t.Cleanup(func() { pc.Close() })
	})
	if err := peer.SetDeadline(time.Now().Add(wiretest.Watchdog)); err != nil {
		t.Fatal(err)
	}
	for _, network := range networks {
		tr := wiretest.Open(t, network, "near", only(ipv4))
		if _, err := peer.WriteToUDPAddrPort([]byte("hello"), netip.AddrPortFrom(c.Near.Addr4, 9)); err != nil {
			t.Fatal(err)
		}
		got := wiretest.Recv(t, tr, 1)[0]
		ip := got.Bytes()
		if network == "packet:raw" {
			ip = ip[headerSize:]
		}
		if len(ip) != 33 || ip[0] != 0x45 || ip[9] != unix.IPPROTO_UDP || [4]byte(ip[12:]) != c.Far.Addr4.As4() || string(ip[28:]) != "hello" {
			t.Fatalf("%s: received % x, want the IPv4 packet with hello", network, ip)
		}

		// The same back: addresses and ports exchanged, without a UDP checksum.
		src, sport := [4]byte(ip[12:]), [2]byte(ip[20:])
		copy(ip[12:], ip[16:20])
		copy(ip[16:], src[:])
		copy(ip[20:], ip[22:24])
		copy(ip[22:], sport[:])
		ip[26], ip[27] = 0, 0
		copy(ip[28:], "HELLO")
		if network == "packet:raw" {
			copy(got.Bytes(), c.Far.MAC[:])
			copy(got.Bytes()[6:], c.Near.MAC[:])
		}
		got.Reply()
		wiretest.Send(t, tr, got)
		buf := make([]byte, 100)
		n, from, err := peer.ReadFromUDPAddrPort(buf)
		if err != nil || string(buf[:n]) != "HELLO" || from != netip.AddrPortFrom(c.Near.Addr4, 9) {
			t.Errorf("%s: the peer received %q from %v, %v", network, buf[:n], from, err)
		}
	}
}

func TestOutgoingPacketsAreReceivedOnRequestOnly(t *testing.T) {
	c := wiretest.NewCable(t)
	for _, network := range networks {
		from, quiet := openNear(t, network), openNear(t, network)
		all := wiretest.Open(t, network, "near", &transport.Config{Options: packet.Options{EtherType: 0, Outgoing: true}})
		m := experimental(network, c.Far, c.Near, []byte("hello"))
		wiretest.Send(t, from, m)
		for {
			got := wiretest.Recv(t, all, 1)[0]
			if got.Link.EtherType != experiment { // the kernel's own
				continue
			}
			if got.Link.Type != unix.PACKET_OUTGOING || !bytes.Equal(got.Bytes(), m.Bytes()) {
				t.Errorf("%s: received %+v % x, want what was sent", network, got.Link, got.Bytes())
			}
			break
		}
		wiretest.RecvNone(t, from)
		wiretest.RecvNone(t, quiet)
	}
}

func TestAllInterfaces(t *testing.T) {
	c := wiretest.NewCable(t)
	for _, network := range networks {
		tr, far := wiretest.Open(t, network, "", only(experiment)), openFar(t, c, network)
		m, back := experimental(network, c.Near, c.Far, []byte("hello")), experimental(network, c.Far, c.Near, []byte("hello"))
		wiretest.Send(t, far, m)
		if got := wiretest.Recv(t, tr, 1)[0]; got.Ifindex != c.Near.Index || !bytes.Equal(got.Bytes(), m.Bytes()) {
			t.Errorf("%s: received by interface %d, want %d", network, got.Ifindex, c.Near.Index)
		}
		n, err := tr.Send([]transport.Message{back})
		if n != 0 || err == nil || !strings.Contains(err.Error(), "Message.Ifindex is 0: want an interface") {
			t.Errorf("%s: Send without an interface = %d, %v", network, n, err)
		}
		back.Ifindex = c.Near.Index
		wiretest.Send(t, tr, back)
		if got := wiretest.Recv(t, far, 1)[0]; !bytes.Equal(got.Bytes(), back.Bytes()) {
			t.Errorf("%s: received % x, want % x", network, got.Bytes(), back.Bytes())
		}
	}
}

// An EtherType to send is that of the message, or that of the Options.
func TestEtherTypeToSend(t *testing.T) {
	c := wiretest.NewCable(t)
	specific, all := openNear(t, "packet"), wiretest.Open(t, "packet", "near", nil)
	far := openAll(t, c, "packet", true)
	own, usual := wiretest.Message([]byte("own")), wiretest.Message([]byte("usual"))
	own.Link, usual.Link = link(c.Far, another), link(c.Far, 0)
	wiretest.Send(t, specific, own, usual)
	wiretest.Send(t, all, own)
	for _, want := range []struct {
		payload   string
		etherType uint16
	}{{"own", another}, {"usual", experiment}, {"own", another}} {
		got := recvOf(t, far, experiment, another)
		if string(got.Bytes()) != want.payload || got.Link.EtherType != want.etherType {
			t.Errorf("received %q with EtherType %#x, want %q with %#x", got.Bytes(), got.Link.EtherType, want.payload, want.etherType)
		}
	}
	want := "write packet " + net.HardwareAddr(c.Far.MAC[:]).String() + ": Message.Link.EtherType is 0: want what the payload is, 0x0800 for IPv4"
	if n, err := all.Send([]transport.Message{usual}); n != 0 || err == nil || err.Error() != want {
		t.Errorf("Send = %d, %v, want %s", n, err, want)
	}
}

// recvOf receives the next message with one of these EtherTypes: the kernels
// send some of their own.
func recvOf(t *testing.T, tr transport.Transport, etherTypes ...uint16) transport.Message {
	t.Helper()
	for {
		m := wiretest.Recv(t, tr, 1)[0]
		for _, e := range etherTypes {
			if m.Link.EtherType == e {
				return m
			}
		}
	}
}

func TestFilterThatKeepsTheBeginning(t *testing.T) {
	c := wiretest.NewCable(t)
	filter, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: 20}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := only(experiment)
	cfg.Filter = filter
	far := openFar(t, c, "packet:raw")
	for network, header := range map[string]int{"packet": headerSize, "packet:raw": 0} {
		near := wiretest.Open(t, network, "near", cfg)
		for size, flags := range map[int]transport.Flags{19: 0, 20: 0, 21: transport.Truncated} {
			sent := frame(c.Near.MAC, c.Far.MAC, experiment, wiretest.Pattern(0, size+header-headerSize)...)
			wiretest.Send(t, far, wiretest.Message(sent))
			if got := wiretest.Recv(t, near, 1)[0]; got.Flags != flags || !bytes.Equal(got.Bytes(), sent[header:][:min(size, 20)]) {
				t.Errorf("%s: of %d bytes, % x with flags %d, want the first 20, %d", network, size, got.Bytes(), got.Flags, flags)
			}
		}
	}
}

// What sorts out the EtherType leaves the program as it would be alone.
func TestFilterBeginsWithRegistersOfZero(t *testing.T) {
	c := wiretest.NewCable(t)
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 18},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := only(experiment)
	cfg.Filter = filter
	far, near := openFar(t, c, "packet:raw"), wiretest.Open(t, "packet:raw", "near", cfg)
	wiretest.Send(t, far, wiretest.Message(frame(c.Near.MAC, c.Far.MAC, another, 1)), wiretest.Message(frame(c.Near.MAC, c.Far.MAC, experiment, 2)))
	if got := wiretest.Recv(t, near, 1)[0]; got.Bytes()[headerSize] != 2 {
		t.Errorf("received % x, want the second frame", got.Bytes())
	}
	wiretest.RecvNone(t, near)
}

func TestPromiscuousAsLongAsItIsOpen(t *testing.T) {
	wiretest.NewCable(t)
	count := func() int {
		link, err := netlink.LinkByName("near")
		if err != nil {
			t.Fatal(err)
		}
		return link.Attrs().Promisc
	}
	for _, network := range networks {
		wiretest.Open(t, network, "near", nil)
		if n := count(); n != 0 {
			t.Errorf("%s: promiscuous %d times, want 0", network, n)
		}
		tr := wiretest.Open(t, network, "near", &transport.Config{Options: packet.Options{Promiscuous: true}})
		if n := count(); n != 1 {
			t.Errorf("%s: promiscuous %d times, want 1", network, n)
		}
		if err := tr.Close(); err != nil || count() != 0 {
			t.Errorf("%s: promiscuous %d times after Close, %v", network, count(), err)
		}
	}
}
