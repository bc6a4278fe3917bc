package codec_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/codec"
	"iomux/transport/netlab"
)

// exchange sends the packet from the client and returns the first message of the
// wanted type that arrives there, whose packet, checksums and all, our codecs
// have decoded.
func (n *network) exchange(name string, packet codec.Packet, typ codec.Type) (codec.Packet, codec.Message) {
	n.t.Helper()
	w := tapOn(n.t, n.client, "up")
	var c codec.Codec[codec.Packet] = new(codec.IPv4)
	if packet.Source.Is6() {
		c = new(codec.IPv6)
	}
	send(n.t, n.client, must[[]byte](n.t)(c.Append(nil, &packet)), packet.Destination)
	for {
		b, ok := w.next()
		if !ok {
			n.t.Fatalf("%s: no %v came", name, typ)
		}
		p, m, err := decodeICMP(n.t, b)
		if errors.Is(err, codec.ErrType) {
			continue // a neighbour is looked for
		}
		if err != nil {
			n.t.Fatalf("%s: % x: %v", name, b, err)
		}
		if q, _ := decodeQuote(m.Quote); m.Type == typ && (m.Quote == nil || q.Packet.Destination == packet.Destination) {
			return p, m // and not about a packet before
		}
	}
}

// echoTo is an echo request from the client, in a packet.
func echoTo(t *testing.T, to netip.Addr, data []byte) codec.Packet {
	e := codec.Echo{Type: codec.EchoRequest, ID: 0xBEEF, Seq: 0xFFFF, Data: data}
	p := codec.Packet{Source: clientV4, Destination: to, Protocol: codec.ProtocolICMPv4, TTL: 64, ID: 0x4242, DontFragment: true}
	if to.Is6() {
		c := codec.EchoV6{PseudoHeader: codec.PseudoHeader{Source: clientV6, Destination: to}}
		p.Source, p.Protocol, p.ID, p.DontFragment = clientV6, codec.ProtocolICMPv6, 0, false
		p.Payload = must[[]byte](t)(c.Append(nil, &e))
		return p
	}
	p.Payload = must[[]byte](t)(new(codec.EchoV4).Append(nil, &e))
	return p
}

// checkQuote sees whether the error tells about the whole of what was sent.
func (n *network) checkQuote(name string, m *codec.Message, sent codec.Packet) {
	n.t.Helper()
	q, err := decodeQuote(m.Quote)
	if err != nil || q.Packet.Source != sent.Source || q.Packet.Destination != sent.Destination || q.Packet.Protocol != sent.Protocol ||
		!bytes.HasPrefix(sent.Payload, q.Packet.Payload) || len(q.Packet.Payload) < min(8, len(sent.Payload)) {
		n.t.Errorf("%s: quote %+v, %v of %+v", name, q, err, sent)
	}
	if echo := sent.Protocol == codec.ProtocolICMPv4 || sent.Protocol == codec.ProtocolICMPv6; echo &&
		(q.Echo.Type != codec.EchoRequest || q.Echo.ID != 0xBEEF || q.Echo.Seq != 0xFFFF) {
		n.t.Errorf("%s: quoted echo %+v", name, q.Echo)
	}
}

func TestKernelErrorsV4(t *testing.T) {
	n := newNetwork(t)
	n.route(n.router, "10.101.0.0/16", "", "", unix.RTN_UNREACHABLE)
	n.route(n.router, "10.113.0.0/16", "", "", unix.RTN_PROHIBIT)
	n.route(n.router, "10.102.0.0/16", "", "", unix.RTN_THROW)
	n.route(n.router, "10.66.0.0/16", "left", "10.77.1.9", unix.RTN_UNICAST)
	n.route(n.router, "10.88.0.0/16", "right", serverV4.String(), unix.RTN_UNICAST)
	n.setMTU(n.router, "right", 1300)
	for _, name := range []string{"all", "left"} {
		n.set(n.router, "net.ipv4.conf."+name+".accept_source_route", "1")
	}
	n.set(n.server, "net.ipv4.ipfrag_time", "1")

	addr := netip.MustParseAddr
	with := func(p codec.Packet, change func(*codec.Packet)) codec.Packet { change(&p); return p }
	toServer := echoTo(t, serverV4, pattern(56))
	for _, test := range []struct {
		name   string
		packet codec.Packet
		from   netip.Addr
		want   codec.Message
	}{
		{"no route", echoTo(t, addr("10.99.0.1"), pattern(56)), routerV4, codec.Message{Type: codec.DestinationUnreachable, Code: codec.NetUnreachableV4}},
		{"throw route", echoTo(t, addr("10.102.0.1"), pattern(56)), routerV4, codec.Message{Type: codec.DestinationUnreachable, Code: codec.NetUnreachableV4}},
		{"unreachable route", echoTo(t, addr("10.101.0.1"), nil), routerV4, codec.Message{Type: codec.DestinationUnreachable, Code: codec.HostUnreachableV4}},
		{"prohibit route", echoTo(t, addr("10.113.0.1"), pattern(1)), routerV4, codec.Message{Type: codec.DestinationUnreachable, Code: codec.ProhibitedV4}},
		{"closed port", codec.Packet{Source: clientV4, Destination: serverV4, Protocol: codec.ProtocolUDP, TTL: 64, Payload: udp(clientV4, serverV4)},
			serverV4, codec.Message{Type: codec.DestinationUnreachable, Code: codec.PortUnreachableV4}},
		{"unknown protocol", codec.Packet{Source: clientV4, Destination: serverV4, Protocol: 253, TTL: 64, Payload: pattern(9)},
			serverV4, codec.Message{Type: codec.DestinationUnreachable, Code: codec.ProtocolUnreachableV4}},
		{"too big", echoTo(t, serverV4, pattern(1400)), routerV4, codec.Message{Type: codec.DestinationUnreachable, Code: codec.FragmentationNeededV4, MTU: 1300}},
		{"strict source route over a gateway", with(echoTo(t, routerV4, pattern(56)), func(p *codec.Packet) { p.Options = []byte{137, 7, 4, 10, 88, 0, 1, 0} }),
			routerV4, codec.Message{Type: codec.DestinationUnreachable, Code: codec.SourceRouteFailedV4}},
		{"time to live", with(toServer, func(p *codec.Packet) { p.TTL = 1 }), routerV4, codec.Message{Type: codec.TimeExceeded}},
		{"time to live, with 40 bytes of options", with(toServer, func(p *codec.Packet) { p.TTL, p.Options = 1, bytes.Repeat([]byte{1}, 40) }), routerV4, codec.Message{Type: codec.TimeExceeded}},
		{"a fragment that stays alone", with(toServer, func(p *codec.Packet) { p.More, p.DontFragment = true, false }), serverV4, codec.Message{Type: codec.TimeExceeded, Code: codec.ReassemblyTimeExceeded}},
		{"record route with pointer 3", with(toServer, func(p *codec.Packet) { p.Options = []byte{7, 7, 3, 0, 0, 0, 0, 0} }), routerV4, codec.Message{Type: codec.ParameterProblem, Pointer: 22}},
		{"better gateway", echoTo(t, addr("10.66.0.1"), pattern(56)), routerV4, codec.Message{Type: codec.Redirect, Code: 1, Gateway: addr("10.77.1.9")}},
	} {
		p, m := n.exchange(test.name, test.packet, test.want.Type)
		quote := m.Quote
		m.Quote = nil
		if p.Source != test.from || !same(m, test.want) {
			t.Errorf("%s: from %v %+v, want from %v %+v", test.name, p.Source, m, test.from, test.want)
		}
		m.Quote = quote
		n.checkQuote(test.name, &m, test.packet)
	}
}

func TestKernelErrorsV6(t *testing.T) {
	n := newNetwork(t)
	n.route(n.router, "fda1::/16", "", "", unix.RTN_UNREACHABLE)
	n.route(n.router, "fda2::/16", "", "", unix.RTN_PROHIBIT)
	n.route(n.router, "fd66::/16", "left", "fe80::9", unix.RTN_UNICAST)
	n.setMTU(n.router, "right", 1300)
	addr := netip.MustParseAddr
	with := func(p codec.Packet, change func(*codec.Packet)) codec.Packet { change(&p); return p }
	toServer := echoTo(t, serverV6, pattern(56))
	for _, test := range []struct {
		name   string
		packet codec.Packet
		from   netip.Addr // none where it is a link-local address
		want   codec.Message
	}{
		// First, as the kernel bounds redirects by the errors that it has sent.
		{"better gateway", echoTo(t, addr("fd66::1"), pattern(56)), netip.Addr{}, codec.Message{Type: codec.Redirect, Gateway: addr("fe80::9"), Destination: addr("fd66::1")}},
		{"no route", echoTo(t, addr("fd99::1"), pattern(56)), routerV6, codec.Message{Type: codec.DestinationUnreachable, Code: codec.NoRouteV6}},
		{"unreachable route", echoTo(t, addr("fda1::1"), nil), routerV6, codec.Message{Type: codec.DestinationUnreachable, Code: codec.NoRouteV6}},
		{"prohibit route", echoTo(t, addr("fda2::1"), pattern(1)), routerV6, codec.Message{Type: codec.DestinationUnreachable, Code: codec.ProhibitedV6}},
		{"nobody there", echoTo(t, addr("fd77:2::dead"), pattern(56)), routerV6, codec.Message{Type: codec.DestinationUnreachable, Code: codec.AddressUnreachableV6}},
		{"closed port", codec.Packet{Source: clientV6, Destination: serverV6, Protocol: codec.ProtocolUDP, TTL: 64, Payload: udp(clientV6, serverV6)},
			serverV6, codec.Message{Type: codec.DestinationUnreachable, Code: codec.PortUnreachableV6}},
		{"too big", echoTo(t, serverV6, pattern(1400)), routerV6, codec.Message{Type: codec.PacketTooBig, MTU: 1300}},
		{"hop limit", with(toServer, func(p *codec.Packet) { p.TTL = 1 }), routerV6, codec.Message{Type: codec.TimeExceeded}},
		{"hop limit, behind extension headers", with(toServer, func(p *codec.Packet) {
			p.TTL, p.ID, p.NextHeader, p.ExtensionHeaders = 1, 0xdeadbeef, 0, unhex("3c00 010400000000 2c00 010400000000 3a00 0000 deadbeef")
		}), routerV6, codec.Message{Type: codec.TimeExceeded}},
		{"unknown next header", codec.Packet{Source: clientV6, Destination: serverV6, Protocol: 253, TTL: 64, Payload: pattern(9)},
			serverV6, codec.Message{Type: codec.ParameterProblem, Code: 1, Pointer: 6}},
		{"unknown option", with(toServer, func(p *codec.Packet) { p.NextHeader, p.ExtensionHeaders = 60, unhex("3a00 9e0400000000") }),
			serverV6, codec.Message{Type: codec.ParameterProblem, Code: 2, Pointer: 42}},
	} {
		p, m := n.exchange(test.name, test.packet, test.want.Type)
		quote := m.Quote
		m.Quote = nil
		if test.from.IsValid() && p.Source != test.from || !same(m, test.want) {
			t.Errorf("%s: from %v %+v, want from %v %+v", test.name, p.Source, m, test.from, test.want)
		}
		m.Quote = quote
		n.checkQuote(test.name, &m, test.packet)
	}
}

// request puts the message for m into a packet from the client.
func request(t *testing.T, m codec.Message, to netip.Addr) codec.Packet {
	p := echoTo(t, to, nil)
	if to.Is4() {
		p.Payload = must[[]byte](t)(new(codec.ICMPv4).Append(nil, &m))
	} else {
		c := codec.ICMPv6{PseudoHeader: codec.PseudoHeader{Source: clientV6, Destination: to}}
		p.Payload = must[[]byte](t)(c.Append(nil, &m))
	}
	return p
}

func TestKernelReplies(t *testing.T) {
	n := newNetwork(t)
	for _, to := range []netip.Addr{serverV4, serverV6} {
		_, m := n.exchange("echo", echoTo(t, to, pattern(57)), codec.EchoReply)
		if want := (codec.Message{Type: codec.EchoReply, ID: 0xBEEF, Seq: 0xFFFF, Data: pattern(57)}); !same(m, want) {
			t.Errorf("echo: %+v, want %+v", m, want)
		}
	}
	_, m := n.exchange("timestamp", request(t, codec.Message{Type: codec.TimestampRequest, ID: 7, Seq: 9, Originate: 5}, serverV4), codec.TimestampReply)
	_, standard := m.Receive.SinceMidnight()
	if m.ID != 7 || m.Seq != 9 || m.Originate != 5 || !standard || m.Receive != m.Transmit {
		t.Errorf("timestamp: %+v", m)
	}
}

func TestKernelExtendedEchoReplies(t *testing.T) {
	n := newNetwork(t)
	const probe = "net.ipv4.icmp_echo_enable_probe"
	if _, err := os.Stat(sysctl(probe)); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("this kernel has no %s: it is older than Linux 5.13", probe)
	}
	n.set(n.server, probe, "1")
	named := func(name string) []byte {
		objects := []codec.Object{{Class: codec.ClassInterfaceID, Type: 1, Data: append([]byte(name), make([]byte, 4-len(name)%4)...)}}
		return must[[]byte](t)(new(codec.Extensions).Append(nil, &objects))
	}
	for _, to := range []netip.Addr{serverV4, serverV6} {
		ask := codec.Message{Type: codec.ExtendedEchoRequest, ID: 7, Seq: 9, Local: true, Extensions: named("up")}
		_, m := n.exchange("its interface", request(t, ask, to), codec.ExtendedEchoReply)
		m.Data = nil // Linux sends the request's extensions back
		if want := (codec.Message{Type: codec.ExtendedEchoReply, ID: 7, Seq: 9, Interface: codec.Interface{Active: true, IPv4: true, IPv6: true}}); !same(m, want) {
			t.Errorf("its interface: %+v, want %+v", m, want)
		}
		ask.Seq, ask.Extensions = 10, named("nil")
		_, m = n.exchange("no such interface", request(t, ask, to), codec.ExtendedEchoReply)
		m.Data = nil
		if want := (codec.Message{Type: codec.ExtendedEchoReply, Code: 2, ID: 7, Seq: 10}); !same(m, want) {
			t.Errorf("no such interface: %+v, want %+v", m, want)
		}
	}
}

// A request that arrives, turned round in place as a whole, is a reply that the
// kernel takes for one: it verifies all of it before a ping socket gets it.
func TestKernelTakesOurReplies(t *testing.T) {
	n := newNetwork(t)
	if err := n.server.SetEchoReplies(false); err != nil {
		t.Fatal(err)
	}
	if err := n.client.SetPingGroups(0, 0); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		family, protocol int
		to               unix.Sockaddr
		request          byte
	}{
		{unix.AF_INET, unix.IPPROTO_ICMP, &unix.SockaddrInet4{Addr: serverV4.As4()}, 8},
		{unix.AF_INET6, unix.IPPROTO_ICMPV6, &unix.SockaddrInet6{Addr: serverV6.As16()}, 128},
	} {
		var fd int
		err := n.client.Do(func() (err error) {
			fd, err = unix.Socket(test.family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, test.protocol)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		timeout := unix.NsecToTimeval(watchdog.Nanoseconds())
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{0, 1, 56, 1400} {
			w := tapOn(t, n.server, "up")
			request := append([]byte{test.request, 0, 0, 0, 0, 0, 0, byte(size)}, pattern(size)...)
			if err := unix.Sendto(fd, request, 0, test.to); err != nil {
				t.Fatal(err)
			}
			send(t, n.server, turnedRound(t, w), clientAddr(test.family))
			buf := make([]byte, 2048)
			got, _, err := unix.Recvfrom(fd, buf, 0)
			if err != nil || !bytes.Equal(buf[7:got], request[7:]) {
				t.Errorf("protocol %d, %d bytes: % x, %v", test.protocol, size, buf[:max(got, 0)], err)
			}
		}
	}
}

func clientAddr(family int) netip.Addr {
	if family == unix.AF_INET {
		return clientV4
	}
	return clientV6
}

// turnedRound returns the reply to the first echo request that arrives.
func turnedRound(t *testing.T, w *tap) []byte {
	t.Helper()
	var ip4 codec.IPv4
	var ip6 codec.IPv6
	var echo4 codec.EchoV4
	var echo6 codec.EchoV6
	var e codec.Echo
	for {
		b, ok := w.next()
		if !ok {
			t.Fatal("no echo request came")
		}
		p, _, err := decodeICMP(t, b)
		if err != nil {
			continue // a neighbour is looked for
		}
		if p.Source.Is4() {
			if err = echo4.Decode(p.Payload, &e); err == nil && e.Type == codec.EchoRequest {
				err = errors.Join(echo4.Reply(p.Payload), ip4.Reply(b, 64))
			}
		} else {
			echo6.Source, echo6.Destination = p.Source, p.Destination
			if err = echo6.Decode(p.Payload, &e); err == nil && e.Type == codec.EchoRequest {
				err = errors.Join(echo6.Reply(p.Payload), ip6.Reply(b, 64))
			}
		}
		if err != nil || e.Type != codec.EchoRequest {
			t.Fatalf("%+v, %v", e, err)
		}
		return b
	}
}

// A raw ICMPv6 socket fills in the checksum, whatever is there, and what it
// delivers has been verified: KernelChecksum says so.
func TestKernelSeesToChecksumsOfRawICMPv6(t *testing.T) {
	netlab.Need(t)
	ns := must[*netlab.Namespace](t)(netlab.New())
	defer ns.Close()
	var fd int
	err := ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	timeout := unix.NsecToTimeval(watchdog.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	kernel, own := codec.EchoV6{PseudoHeader: byKernel}, codec.EchoV6{PseudoHeader: onLoopback}
	for seq, wrong := range []byte{0, 1, 0xFF} {
		in := codec.Echo{Type: codec.EchoRequest, ID: 7, Seq: uint16(seq), Data: pattern(9)}
		b := must[[]byte](t)(kernel.Append(nil, &in))
		b[3] = wrong
		if err := unix.Sendto(fd, b, 0, &unix.SockaddrInet6{Addr: localV6.As16()}); err != nil {
			t.Fatal(err)
		}
		for in.Type = codec.EchoReply; ; {
			buf := make([]byte, 64)
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if err != nil {
				t.Fatalf("no reply came: %v", err)
			}
			var e codec.Echo
			if err := kernel.Decode(buf[:n], &e); err != nil || e.Type != codec.EchoReply {
				continue // our own request
			}
			if err := own.Decode(buf[:n], &e); err != nil || !equal(e, in) {
				t.Errorf("%+v, %v, want %+v", e, err, in)
			}
			break
		}
	}
}
