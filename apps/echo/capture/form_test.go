package capture_test

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"

	"iomux/apps/echo/capture"
	"iomux/codec"
	"iomux/transport"
)

var (
	peer4, here4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.100")
	peer6, here6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::100")
	none4, none6 = netip.IPv4Unspecified(), netip.IPv6Unspecified()
)

// decode decodes a packet, whose checksum has to be right.
func decode(t testing.TB, packet []byte) (p codec.Packet) {
	t.Helper()
	var err error
	if len(packet) > 0 && packet[0]>>4 == 6 {
		err = new(codec.IPv6).Decode(packet, &p)
	} else {
		err = new(codec.IPv4).Decode(packet, &p)
	}
	if err != nil {
		t.Fatalf("%v: % x", err, packet)
	}
	return p
}

// The header is made of what the message says.
func TestHeader(t *testing.T) {
	icmp4 := capture.Options{Payload: capture.ICMPv4}
	icmp6 := capture.Options{Payload: capture.ICMPv6}
	with := func(o capture.Options, source netip.Addr) capture.Options {
		o.Source = source
		return o
	}
	filled := func(peer, local netip.Addr) transport.Message {
		b := echoRequest(8)
		return transport.Message{Buf: b, N: len(b), Peer: netip.AddrPortFrom(peer, 0), Local: local, TTL: 3, TOS: 0xB8}
	}
	plain := func(peer, local netip.Addr) transport.Message {
		m := filled(peer, local)
		m.TTL, m.TOS = 0, 0
		return m
	}
	type header struct {
		source, destination netip.Addr
		ttl, tos, protocol  uint8
	}
	for _, c := range []struct {
		name    string
		options capture.Options
		sent    bool
		message transport.Message
		want    header
	}{
		{"received", icmp4, false, filled(peer4, here4), header{peer4, here4, 3, 0xB8, 1}},
		{"received, IPv6", icmp6, false, filled(peer6, here6), header{peer6, here6, 3, 0xB8, 58}},
		{"received without Local", icmp4, false, filled(peer4, netip.Addr{}), header{peer4, none4, 3, 0xB8, 1}},
		{"received without Local by Source", with(icmp4, here4), false, filled(peer4, netip.Addr{}), header{peer4, here4, 3, 0xB8, 1}},
		{"received with Local by Source", with(icmp4, netip.MustParseAddr("192.0.2.7")), false, filled(peer4, here4), header{peer4, here4, 3, 0xB8, 1}},
		{"received without TTL", icmp4, false, plain(peer4, here4), header{peer4, here4, 0, 0, 1}},
		{"sent", icmp4, true, filled(peer4, here4), header{here4, peer4, 3, 0xB8, 1}},
		{"sent, IPv6", icmp6, true, filled(peer6, here6), header{here6, peer6, 3, 0xB8, 58}},
		{"sent with the defaults", icmp4, true, plain(peer4, netip.Addr{}), header{none4, peer4, 64, 0, 1}},
		{"sent with the defaults, IPv6", icmp6, true, plain(peer6, netip.Addr{}), header{none6, peer6, 64, 0, 58}},
		{"sent from Source", with(icmp6, here6), true, plain(peer6, netip.Addr{}), header{here6, peer6, 64, 0, 58}},
		{"sent to a group", icmp4, true, plain(netip.MustParseAddr("224.0.0.1"), here4), header{here4, netip.MustParseAddr("224.0.0.1"), 1, 0, 1}},
		{"sent to a group, IPv6", icmp6, true, plain(netip.MustParseAddr("ff02::1"), here6), header{here6, netip.MustParseAddr("ff02::1"), 1, 0, 58}},
		{"of nobody", icmp4, false, plain(netip.Addr{}, netip.Addr{}), header{none4, none4, 0, 0, 1}},
		{"of nobody, IPv6", icmp6, false, plain(netip.Addr{}, netip.Addr{}), header{none6, none6, 0, 0, 58}},
		{"of the other version", icmp6, false, plain(peer4, here4), header{none6, none6, 0, 0, 58}},
		{"with a zone", icmp6, false, plain(netip.MustParseAddr("fe80::1%eth0"), here6), header{netip.MustParseAddr("fe80::1"), here6, 0, 0, 58}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{}
			var records []record
			if c.sent {
				records = through(t, f, f, c.options, nil, []transport.Message{c.message})
			} else {
				records = through(t, f, f, c.options, []transport.Message{c.message}, nil)
			}
			packet, sent := records[0].packet(t)
			p := decode(t, packet)
			if got := (header{p.Source, p.Destination, p.TTL, p.TOS, p.Protocol}); got != c.want || sent != c.sent {
				t.Errorf("the header has %v, want %v; sent %v", got, c.want, sent)
			}
			if records[0].length != len(records[0].data) || len(p.Payload) != c.message.N {
				t.Errorf("a packet of %d bytes, %d of which are there, carries %d, want %d", records[0].length, len(records[0].data), len(p.Payload), c.message.N)
			}
		})
	}
}

// What the kernel changes in a message sent is shown as it is on the wire, and all else as it
// is: bad checksums too.
func TestChecksumAndIdentifier(t *testing.T) {
	for _, c := range []struct {
		name       string
		payload    capture.Payload
		identifier uint16 // of a ping socket
		peer, here netip.Addr
		sent       bool
		in, want   string
	}{
		{"raw IPv4", capture.ICMPv4, 0, peer4, here4, true, "0800 ABCD BEEF 0007", "0800 ABCD BEEF 0007"},
		{"raw IPv4, received", capture.ICMPv4, 0, peer4, here4, false, "0000 ABCD BEEF 0007", "0000 ABCD BEEF 0007"},
		{"ping IPv4", capture.ICMPv4, 0x1234, peer4, here4, true, "0800 ABCD BEEF 0007 61", "0800 84C4 1234 0007 61"},
		{"ping IPv4, received", capture.ICMPv4, 0x1234, peer4, here4, false, "0000 ABCD BEEF 0007", "0000 ABCD BEEF 0007"},
		{"ping IPv4, short", capture.ICMPv4, 0x1234, peer4, here4, true, "0800 ABCD BE", "0800 39FF BE"},
		{"ping IPv4, shorter", capture.ICMPv4, 0x1234, peer4, here4, true, "0800 AB", "0800 AB"},
		{"raw IPv6", capture.ICMPv6, 0, peer6, here6, true, "8000 0000 BEEF 0007", "8000 6453 BEEF 0007"},
		{"raw IPv6, received", capture.ICMPv6, 0, peer6, here6, false, "8100 ABCD BEEF 0007", "8100 ABCD BEEF 0007"},
		{"ping IPv6", capture.ICMPv6, 0x1234, peer6, here6, true, "8000 ABCD BEEF 0007", "8000 110F 1234 0007"},
		{"ping IPv6, short", capture.ICMPv6, 0x1234, peer6, here6, true, "8000 AB", "8000 AB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &owned{identifier: c.identifier}
			var tr transport.Transport = f
			if c.identifier == 0 {
				tr = &f.fake
			}
			b := unhex(t, c.in)
			m := transport.Message{Buf: bytes.Clone(b), N: len(b), Peer: netip.AddrPortFrom(c.peer, 0), Local: c.here}
			var records []record
			if c.sent {
				records = through(t, &f.fake, tr, capture.Options{Payload: c.payload}, nil, []transport.Message{m})
			} else {
				records = through(t, &f.fake, tr, capture.Options{Payload: c.payload}, []transport.Message{m}, nil)
			}
			packet, _ := records[0].packet(t)
			if got := decode(t, packet).Payload; !bytes.Equal(got, unhex(t, c.want)) {
				t.Errorf("the message is % X, want %s", got, c.want)
			}
			if !bytes.Equal(m.Buf, b) {
				t.Errorf("the caller's message has become % X", m.Buf)
			}
		})
	}
}

// What a raw socket for IPv4 delivers has its header. One that cannot be right is not
// used.
func TestHeaderInFront(t *testing.T) {
	payload := "0000 ABCD BEEF 0007"
	const (
		plain   = "4588 001C 1234 4000 0501 0000 C0000201 C0000264"
		options = "4688 0020 1234 4000 0501 0000 C0000201 C0000264 01010100"
	)
	for _, c := range []struct {
		name, header string
		off          int
		flags        transport.Flags
		used         bool
	}{
		{"plain", plain, 20, 0, true},
		{"with options", options, 24, 0, true},
		{"cut off", strings.Replace(plain, "001C", "0100", 1), 20, transport.Truncated, true},
		{"too long a packet", strings.Replace(plain, "001C", "0100", 1), 20, 0, false},
		{"too short a packet", strings.Replace(plain, "001C", "001B", 1), 20, transport.Truncated, false},
		{"another version", strings.Replace(plain, "45", "65", 1), 20, 0, false},
		{"another length of header", strings.Replace(options, "46", "45", 1), 24, 0, false},
		{"another protocol", strings.Replace(plain, "0501", "0511", 1), 20, 0, false},
		{"room for something else", "00000000", 4, 0, false},
		{"too short a header", "4400 0018 1234 4000 0501 0000 C0000201", 16, 0, false},
		{"nothing", "", 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := unhex(t, c.header+payload)
			f := &fake{}
			m := transport.Message{Buf: b, Off: c.off, N: len(b) - c.off, Peer: netip.AddrPortFrom(peer4, 0), Local: here4, TTL: 5, Flags: c.flags}
			records := through(t, f, f, capture.Options{Payload: capture.ICMPv4}, []transport.Message{m}, []transport.Message{m})
			received, _ := records[0].packet(t)
			if used := bytes.Equal(received, b); used != c.used {
				t.Errorf("the header is used: %v, want %v: % x", used, c.used, received)
			}
			if want := unhex(t, payload); !bytes.HasSuffix(received, want) {
				t.Errorf("the packet is % x, want % x at its end", received, want)
			}
			sent, _ := records[1].packet(t) // its header is ours in any case
			if p := decode(t, sent); p.Source != here4 || len(sent) != 28 {
				t.Errorf("sent % x, from %v", sent, p.Source)
			}
		})
	}
}

// A message that was cut off is marked as longer. Where its length is known it is
// told.
func TestTruncated(t *testing.T) {
	v4 := unhex(t, "4500 0100 1234 4000 0501 0000 C0000201 C0000264 0000")
	v6 := unhex(t, "6000 0000 0100 3A40"+strings.Repeat("20010DB8000000000000000000000001", 2)+"8100")
	for _, c := range []struct {
		name    string
		tr      framed
		payload capture.Payload
		data    []byte
		off     int
		want    int // the length of the packet, with the link-layer header of 16 bytes
	}{
		{"IPv4 packet", framed{framing: transport.IPPacket}, 0, v4, 0, 16 + 256},
		{"IPv6 packet", framed{framing: transport.IPPacket}, 0, v6, 0, 16 + 40 + 256},
		{"its beginning", framed{framing: transport.IPPacket}, 0, v4[:5], 0, 16 + 6},
		{"empty packet", framed{framing: transport.IPPacket}, 0, nil, 0, 16 + 1},
		{"another packet", framed{framing: transport.IPPacket}, 0, make([]byte, 20), 0, 16 + 21},
		{"packet that was shorter", framed{framing: transport.IPPacket}, 0, []byte{0x45, 0, 0, 20, 30: 0}, 0, 16 + 32},
		{"frame", framed{framing: transport.Ethernet}, 0, v4, 0, len(v4) + 1},
		{"raw IPv4 socket", framed{}, capture.ICMPv4, v4, 20, 16 + 256},
		{"ICMPv4", framed{}, capture.ICMPv4, v4[20:], 0, 16 + 20 + 2 + 1},
		{"ICMPv6", framed{}, capture.ICMPv6, v6[40:], 0, 16 + 40 + 2 + 1},
		{"UDP", framed{}, capture.UDP, v4[20:], 0, 16 + 20 + 8 + 2 + 1},
		{"opaque", framed{}, capture.Opaque, v4, 0, len(v4) + 1},
		{"longest ICMPv4", framed{}, capture.ICMPv4, make([]byte, 65515), 0, 16 + 65535 + 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := transport.Message{Buf: c.data, Off: c.off, N: len(c.data) - c.off, Peer: netip.AddrPortFrom(peer4, 0), Flags: transport.Truncated}
			records := through(t, &c.tr.fake, &c.tr, capture.Options{Payload: c.payload}, []transport.Message{m}, []transport.Message{m})
			if r := records[0]; r.length != c.want || !bytes.HasSuffix(r.data, c.data) {
				t.Errorf("a packet of %d bytes, %d of which are there, want one of %d", r.length, len(r.data), c.want)
			}
			if r := records[1]; r.length != len(r.data) { // the flag is about messages received
				t.Errorf("a packet of %d bytes was sent, %d of which are there", r.length, len(r.data))
			}
		})
	}
}

// A message may be longer than a header can say or a program read. What is there of it is
// marked as not all.
func TestTooLong(t *testing.T) {
	long := make([]byte, 1<<19)
	for i := range long {
		long[i] = byte(i * 7)
	}
	for _, c := range []struct {
		name    string
		tr      framed
		payload capture.Payload
		n       int // the length of the message
		length  int
		there   int
	}{
		{"longest ICMPv4", framed{}, capture.ICMPv4, 65515, 16 + 65535, 16 + 65535},
		{"ICMPv4", framed{}, capture.ICMPv4, 65516, 16 + 65536, 16 + 65535},
		{"longest ICMPv6", framed{}, capture.ICMPv6, 65535, 16 + 40 + 65535, 16 + 40 + 65535},
		{"ICMPv6", framed{}, capture.ICMPv6, 65537, 16 + 40 + 65537, 16 + 40 + 65535},
		{"UDP", framed{}, capture.UDP, 65508, 16 + 65536, 16 + 65535},
		{"longest frame", framed{framing: transport.Ethernet}, 0, 1 << 18, 1 << 18, 1 << 18},
		{"frame", framed{framing: transport.Ethernet}, 0, 1<<18 + 1, 1<<18 + 1, 1 << 18},
		{"packet", framed{framing: transport.IPPacket}, 0, 1 << 18, 16 + 1<<18, 1 << 18},
		{"opaque", framed{}, capture.Opaque, 1 << 19, 1 << 19, 1 << 18},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := transport.Message{Buf: long, N: c.n, Peer: netip.AddrPortFrom(peer4, 0)}
			for _, r := range through(t, &c.tr.fake, &c.tr, capture.Options{Payload: c.payload}, []transport.Message{m}, []transport.Message{m}) {
				if r.length != c.length || len(r.data) != c.there {
					t.Errorf("a packet of %d bytes, %d of which are there, want %d and %d", r.length, len(r.data), c.length, c.there)
				}
				// An ICMPv6 message gets a checksum in its first 4 bytes.
				if data := r.data[c.length-c.n:]; !bytes.HasPrefix(long[4:c.n], data[4:]) {
					t.Error("the data are others")
				}
			}
		})
	}
}

// A message with a Segment is datagrams.
func TestSegments(t *testing.T) {
	for _, c := range []struct {
		n    int
		size uint16
		want []int
	}{
		{10, 0, []int{10}}, {10, 4, []int{4, 4, 2}}, {8, 4, []int{4, 4}}, {4, 4, []int{4}}, {3, 4, []int{3}}, {0, 4, []int{0}},
	} {
		data := []byte("0123456789")[:c.n]
		f := &fake{}
		m := transport.Message{Buf: data, N: c.n, Segment: c.size, Peer: netip.AddrPortFrom(peer6, 77), Local: here6}
		sizes := map[bool][]int{}
		all := map[bool]string{}
		for _, r := range through(t, f, f, capture.Options{Payload: capture.UDP}, []transport.Message{m}, []transport.Message{m}) {
			packet, sent := r.packet(t)
			p := decode(t, packet)
			ports := [4]byte{0, 77, 0, 0} // ours is not known
			if sent {
				ports = [4]byte{0, 0, 0, 77}
			}
			if p.Protocol != codec.ProtocolUDP || len(p.Payload) < 8 || [4]byte(p.Payload) != ports {
				t.Fatalf("a packet of protocol %d: % x", p.Protocol, p.Payload)
			}
			sizes[sent] = append(sizes[sent], len(p.Payload)-8)
			all[sent] += string(p.Payload[8:])
		}
		for sent := range all {
			if len(all) != 2 || !slices.Equal(sizes[sent], c.want) || all[sent] != string(data) {
				t.Errorf("%d bytes in segments of %d are datagrams of %v bytes, want %v: %q; sent %v", c.n, c.size, sizes[sent], c.want, all[sent], sent)
			}
		}
	}
}

// A checksum of 0 means that there is none (RFC 768), so that 0xFFFF takes its place.
func TestUDPChecksumIsNeverZero(t *testing.T) {
	for _, peer := range []string{"192.0.2.1", "2001:db8::1"} {
		checksum := func(payload []byte) []byte {
			f := &fake{}
			packet, _ := through(t, f, f, capture.Options{Payload: capture.UDP}, []transport.Message{message(peer, payload)}, nil)[0].packet(t)
			return decode(t, packet).Payload[6:8]
		}
		completing := checksum([]byte{0, 0})
		if got := checksum(completing); !bytes.Equal(got, []byte{0xFF, 0xFF}) {
			t.Errorf("from %s: % x, want ff ff", peer, got)
		}
	}
}

// Packets and frames are as they are.
func TestFramedMessages(t *testing.T) {
	const cooked = "0000 FFFE 0000 0000000000000000 "
	for _, c := range []struct {
		name, in   string
		framing    transport.Framing
		link       transport.LinkAddr
		linkType   layers.LinkType
		want, sent string // the header in front of it
	}{
		{"frame", "0102", transport.Ethernet, transport.LinkAddr{}, layers.LinkTypeEthernet, "", ""},
		{"IPv4", "45", transport.IPPacket, transport.LinkAddr{}, layers.LinkTypeLinuxSLL, cooked + "0800", "0004" + cooked[4:] + "0800"},
		{"IPv6", "60", transport.IPPacket, transport.LinkAddr{}, layers.LinkTypeLinuxSLL, cooked + "86DD", "0004" + cooked[4:] + "86DD"},
		{"neither", "70", transport.IPPacket, transport.LinkAddr{}, layers.LinkTypeLinuxSLL, cooked + "0000", "0004" + cooked[4:] + "0000"},
		{"empty", "", transport.IPPacket, transport.LinkAddr{}, layers.LinkTypeLinuxSLL, cooked + "0000", "0004" + cooked[4:] + "0000"},
		{"of a link layer", "45", transport.IPPacket, transport.LinkAddr{Addr: [8]byte{2, 1, 1, 1, 1, 1}, Len: 6, EtherType: 0x8100, Type: 3},
			layers.LinkTypeLinuxSLL, "0003 0001 0006 020101010101 0000 8100", "0004 0001 0000 000000000000 0000 8100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &framed{framing: c.framing}
			m := message("", unhex(t, c.in))
			m.Link = c.link
			for i, r := range through(t, &f.fake, f, capture.Options{}, []transport.Message{m}, []transport.Message{m}) {
				want := unhex(t, []string{c.want, c.sent}[i]+c.in)
				if r.link != c.linkType || !bytes.Equal(r.data, want) || r.length != len(want) {
					t.Errorf("link type %v, %d bytes: % X, want %v: % X", r.link, r.length, r.data, c.linkType, want)
				}
			}
		})
	}
}
