package packet_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/packet"
)

func TestFieldsTellWhereAPacketCameFrom(t *testing.T) {
	c := newCable(t)
	from := c.openFar("packet:raw")
	near, raw := c.openNear("packet"), c.openNear("packet:raw")
	everybody, other := [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, [6]byte{2, 0, 0, 0, 0, 9}
	for _, a := range []struct {
		to    [6]byte
		kind  uint8
		flags transport.Flags
	}{
		{c.near.mac, unix.PACKET_HOST, 0},
		{everybody, unix.PACKET_BROADCAST, transport.Broadcast},
		{[6]byte{1, 0, 0x5e, 0, 0, 7}, unix.PACKET_MULTICAST, transport.Broadcast},
		{other, unix.PACKET_OTHERHOST, 0},
	} {
		before := time.Now().Round(0)
		sent := frame(a.to, c.other.mac, experiment, []byte("hello")...)
		send(t, from, message(sent))
		for tr, payload := range map[transport.Transport][]byte{near: sent[headerSize:], raw: sent} {
			got := recv(t, tr, 1)[0]
			if !bytes.Equal(got.Bytes(), payload) {
				t.Errorf("to % x: received % x, want % x", a.to, got.Bytes(), payload)
			}
			if got.Time.Before(before) || got.Time.After(time.Now().Round(0)) {
				t.Errorf("received at %v, sent after %v", got.Time, before)
			}
			link := c.other.link(experiment)
			link.Type = a.kind
			if got.Link != link || got.Ifindex != c.near.index || got.Flags != a.flags || got.Peer.IsValid() {
				t.Errorf("to % x: received %+v, interface %d, flags %d, want %+v, %d, %d", a.to, got.Link, got.Ifindex, got.Flags, link, c.near.index, a.flags)
			}
		}
	}
}

func TestFramingTellsTheNetworksApart(t *testing.T) {
	c := newCable(t)
	for network, want := range map[string]transport.Framing{"packet": transport.IPPacket, "packet:raw": transport.Ethernet} {
		f, ok := transport.As[transport.Framer](c.openNear(network))
		if !ok || f.Framing() != want {
			t.Errorf("%s: Framer %v, want Framing %d", network, ok, want)
		}
	}
}

// A socket of package net at the other end sends and receives UDP; this side
// sees, and makes, the IP packets.
func TestPeerIsAnOrdinarySocket(t *testing.T) {
	c := newCable(t)
	var peer *net.UDPConn
	c.there(func() {
		pc, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.other.addr, 7)))
		if err != nil {
			t.Fatal(err)
		}
		peer = pc
		t.Cleanup(func() { pc.Close() })
	})
	if err := peer.SetDeadline(time.Now().Add(watchdog * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for _, network := range networks {
		tr := open(t, network, "near", only(ipv4))
		if _, err := peer.WriteToUDPAddrPort([]byte("hello"), netip.AddrPortFrom(c.near.addr, 9)); err != nil {
			t.Fatal(err)
		}
		got := recv(t, tr, 1)[0]
		ip := got.Bytes()
		if network == "packet:raw" {
			ip = ip[headerSize:]
		}
		if len(ip) != 33 || ip[0] != 0x45 || ip[9] != unix.IPPROTO_UDP || [4]byte(ip[12:]) != c.other.addr.As4() || string(ip[28:]) != "hello" {
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
			copy(got.Bytes(), c.other.mac[:])
			copy(got.Bytes()[6:], c.near.mac[:])
		}
		got.Reply()
		send(t, tr, got)
		buf := make([]byte, 100)
		n, from, err := peer.ReadFromUDPAddrPort(buf)
		if err != nil || string(buf[:n]) != "HELLO" || from != netip.AddrPortFrom(c.near.addr, 9) {
			t.Errorf("%s: the peer received %q from %v, %v", network, buf[:n], from, err)
		}
	}
}

func TestOutgoingPacketsAreReceivedOnRequestOnly(t *testing.T) {
	c := newCable(t)
	for _, network := range networks {
		from, quiet := c.openNear(network), c.openNear(network)
		all := open(t, network, "near", &transport.Config{Options: packet.Options{EtherType: 0, Outgoing: true}})
		m := message([]byte("hello"))
		m.Link = c.other.link(experiment)
		if network == "packet:raw" {
			m = message(frame(c.other.mac, c.near.mac, experiment, []byte("hello")...))
		}
		send(t, from, m)
		for {
			got := recv(t, all, 1)[0]
			if got.Link.EtherType != experiment { // the kernel's own
				continue
			}
			if got.Link.Type != unix.PACKET_OUTGOING || !bytes.Equal(got.Bytes(), m.Bytes()) {
				t.Errorf("%s: received %+v % x, want what was sent", network, got.Link, got.Bytes())
			}
			break
		}
		recvNone(t, from)
		recvNone(t, quiet)
	}
}

func TestAllInterfaces(t *testing.T) {
	c := newCable(t)
	for _, network := range networks {
		tr, far := open(t, network, "", only(experiment)), c.openFar(network)
		m, back := message([]byte("hello")), message([]byte("hello"))
		m.Link, back.Link = c.near.link(experiment), c.other.link(experiment)
		if network == "packet:raw" {
			m, back = message(frame(c.near.mac, c.other.mac, experiment, 1, 2, 3)), message(frame(c.other.mac, c.near.mac, experiment, 1, 2, 3))
		}
		send(t, far, m)
		if got := recv(t, tr, 1)[0]; got.Ifindex != c.near.index || !bytes.Equal(got.Bytes(), m.Bytes()) {
			t.Errorf("%s: received by interface %d, want %d", network, got.Ifindex, c.near.index)
		}
		n, err := tr.Send([]transport.Message{back})
		if n != 0 || err == nil || !strings.Contains(err.Error(), "Message.Ifindex is 0: want an interface") {
			t.Errorf("%s: Send without an interface = %d, %v", network, n, err)
		}
		back.Ifindex = c.near.index
		send(t, tr, back)
		if got := recv(t, far, 1)[0]; !bytes.Equal(got.Bytes(), back.Bytes()) {
			t.Errorf("%s: received % x, want % x", network, got.Bytes(), back.Bytes())
		}
	}
}

// An EtherType to send is that of the message, or that of the Options.
func TestEtherTypeToSend(t *testing.T) {
	c := newCable(t)
	specific, all := c.openNear("packet"), open(t, "packet", "near", nil)
	far := c.openAll("packet", true)
	own, usual := message([]byte("own")), message([]byte("usual"))
	own.Link, usual.Link = c.other.link(another), c.other.link(0)
	send(t, specific, own, usual)
	send(t, all, own)
	for _, want := range []struct {
		payload   string
		etherType uint16
	}{{"own", another}, {"usual", experiment}, {"own", another}} {
		got := recvOf(t, far, experiment, another)
		if string(got.Bytes()) != want.payload || got.Link.EtherType != want.etherType {
			t.Errorf("received %q with EtherType %#x, want %q with %#x", got.Bytes(), got.Link.EtherType, want.payload, want.etherType)
		}
	}
	for _, bad := range []struct {
		m    transport.Message
		want string
	}{
		{usual, "write packet " + net.HardwareAddr(c.other.mac[:]).String() + ": Message.Link.EtherType is 0: want what the payload is, 0x0800 for IPv4"},
		{message([]byte("x")), "write packet: Message.Link.Len is 0: want a hardware address, as the interface is an Ethernet"},
	} {
		if n, err := all.Send([]transport.Message{bad.m}); n != 0 || err == nil || err.Error() != bad.want {
			t.Errorf("Send = %d, %v, want %s", n, err, bad.want)
		}
	}
}

// recvOf receives the next message with one of these EtherTypes: the kernels
// send some of their own.
func recvOf(t *testing.T, tr transport.Transport, etherTypes ...uint16) transport.Message {
	t.Helper()
	for {
		m := recv(t, tr, 1)[0]
		for _, e := range etherTypes {
			if m.Link.EtherType == e {
				return m
			}
		}
	}
}

func TestFilterThatKeepsTheBeginning(t *testing.T) {
	c := newCable(t)
	filter, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: 20}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := only(experiment)
	cfg.Filter = filter
	far := c.openFar("packet:raw")
	for network, header := range map[string]int{"packet": headerSize, "packet:raw": 0} {
		near := open(t, network, "near", cfg)
		for size, flags := range map[int]transport.Flags{19: 0, 20: 0, 21: transport.Truncated} {
			sent := frame(c.near.mac, c.other.mac, experiment, pattern(0, size+header-headerSize)...)
			send(t, far, message(sent))
			if got := recv(t, near, 1)[0]; got.Flags != flags || !bytes.Equal(got.Bytes(), sent[header:][:min(size, 20)]) {
				t.Errorf("%s: of %d bytes, % x with flags %d, want the first 20, %d", network, size, got.Bytes(), got.Flags, flags)
			}
		}
	}
}

// What sorts out the EtherType leaves the program as it would be alone.
func TestFilterBeginsWithRegistersOfZero(t *testing.T) {
	c := newCable(t)
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
	far, near := c.openFar("packet:raw"), open(t, "packet:raw", "near", cfg)
	send(t, far, message(frame(c.near.mac, c.other.mac, another, 1)), message(frame(c.near.mac, c.other.mac, experiment, 2)))
	if got := recv(t, near, 1)[0]; got.Bytes()[headerSize] != 2 {
		t.Errorf("received % x, want the second frame", got.Bytes())
	}
	recvNone(t, near)
}

func TestPromiscuousAsLongAsItIsOpen(t *testing.T) {
	newCable(t)
	count := func() int {
		link, err := netlink.LinkByName("near")
		if err != nil {
			t.Fatal(err)
		}
		return link.Attrs().Promisc
	}
	for _, network := range networks {
		open(t, network, "near", nil)
		if n := count(); n != 0 {
			t.Errorf("%s: promiscuous %d times, want 0", network, n)
		}
		tr := open(t, network, "near", &transport.Config{Options: packet.Options{Promiscuous: true}})
		if n := count(); n != 1 {
			t.Errorf("%s: promiscuous %d times, want 1", network, n)
		}
		if err := tr.Close(); err != nil || count() != 0 {
			t.Errorf("%s: promiscuous %d times after Close, %v", network, count(), err)
		}
	}
}

func TestDroppedPacketsAreCounted(t *testing.T) {
	c := newCable(t)
	cfg := only(experiment)
	cfg.RecvBuffer = 5000
	for _, network := range networks {
		near, far := open(t, network, "near", cfg), c.openFar("packet:raw")
		const sent = 200
		for i := range sent {
			send(t, far, message(frame(c.near.mac, c.other.mac, experiment, pattern(i, 500)...)))
		}
		came := 0
		for ms := []transport.Message{message(make([]byte, 2048))}; ; {
			n, err := near.Recv(ms)
			if err != nil {
				t.Fatal(err)
			}
			if came += n; n == 0 {
				break
			}
		}
		counter, ok := transport.As[transport.DropCounter](near)
		if !ok {
			t.Fatalf("%T is not a transport.DropCounter", near)
		}
		dropped, err := counter.Dropped()
		if err != nil || dropped == 0 || came+int(dropped) != sent {
			t.Errorf("%s: %d were sent, %d came and Dropped() = %d, %v", network, sent, came, dropped, err)
		}
		stats, err := unix.GetsockoptTpacketStats(near.FD(), unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err != nil || stats.Drops != dropped {
			t.Errorf("%s: PACKET_STATISTICS counts %d, %v, Dropped() %d", network, stats.Drops, err, dropped)
		}
	}
}

// It is one error, and silence from then on.
func TestInterfaceThatIsDeleted(t *testing.T) {
	c := newCable(t)
	for _, network := range networks {
		if network == "packet:raw" {
			c = newCable(t)
		}
		tr := c.openNear(network)
		link, err := netlink.LinkByName("near")
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkDel(link); err != nil {
			t.Fatal(err)
		}
		if !poll(t, tr, unix.POLLIN, watchdog) {
			t.Fatalf("%s: not ready", network)
		}
		ms := []transport.Message{message(make([]byte, 100))}
		if n, err := tr.Recv(ms); n != 0 || !errors.Is(err, unix.ENETDOWN) {
			t.Errorf("%s: Recv = %d, %v, want ENETDOWN", network, n, err)
		}
		recvNone(t, tr)
		if poll(t, tr, unix.POLLIN, 0) {
			t.Errorf("%s: ready although Recv returned 0, nil", network)
		}
		m := message(frame(c.other.mac, c.near.mac, experiment))
		m.Link = c.other.link(experiment)
		for range 2 {
			if n, err := tr.Send([]transport.Message{m}); n != 0 || !errors.Is(err, unix.ENXIO) {
				t.Errorf("%s: Send = %d, %v, want ENXIO", network, n, err)
			}
		}
	}
}
