package responder_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"iomux/apps/echo/responder"
	"iomux/codec"
	"iomux/transport"
)

var (
	asker4, asked4 = netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("10.64.0.1")
	asker6, asked6 = netip.MustParseAddr("2001:db8::b"), netip.MustParseAddr("fd00:64::1")
)

// altered is a request whose packet is changed before it is encoded.
func altered(from, to netip.Addr, change func(*codec.Packet)) []byte {
	e := codec.Echo{Type: codec.EchoRequest, ID: 7, Seq: 2, Data: []byte("data")}
	p := codec.Packet{Source: from, Destination: to, TTL: 9, TOS: 0x10}
	if from.Is4() {
		p.Protocol, p.Payload = codec.ProtocolICMPv4, encode(e)
	} else {
		p.Protocol, p.Payload = codec.ProtocolICMPv6, encode6(from, to, e)
	}
	if change != nil {
		change(&p)
	}
	return join(p)
}

func headers(next uint8, b ...byte) func(*codec.Packet) {
	return func(p *codec.Packet) { p.NextHeader, p.ExtensionHeaders = next, b }
}

func options(b ...byte) func(*codec.Packet) { return func(p *codec.Packet) { p.Options = b } }

func source(s string) []byte {
	a := netip.MustParseAddr(s)
	if a.Is4() {
		return altered(a, asked4, nil)
	}
	return altered(a, asked6, nil)
}

func destination(s string) []byte {
	a := netip.MustParseAddr(s)
	if a.Is4() {
		return altered(asker4, a, nil)
	}
	return altered(asker6, a, nil)
}

func spoil(b []byte, at int) []byte {
	b = slices.Clone(b)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	return b
}

func addresses(b []byte) (from, to netip.Addr) {
	if b[0]>>4 == 4 {
		return netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	}
	return netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
}

// Of three packets, the one in the middle.
func TestWhichPacketsAreAnswered(t *testing.T) {
	const icmp6 = codec.ProtocolICMPv6
	good4, good6 := altered(asker4, asked4, nil), altered(asker6, asked6, nil)
	for _, c := range []struct {
		name   string
		packet []byte
		want   string // how it is counted
	}{
		{"a request", good4, "answered"},
		{"a request of IPv6", good6, "answered"},
		{"padded", append(slices.Clone(good4), "padding"...), "answered"},
		{"padded, of IPv6", append(slices.Clone(good6), "padding"...), "answered"},
		{"record route and time stamp", altered(asker4, asked4, options(7, 7, 4, 0, 0, 0, 0, 1, 68, 8, 5, 0, 0, 0, 0, 0)), "answered"},
		{"from a reserved address", source("240.0.0.1"), "answered"},
		{"link-local", source("fe80::1"), "answered"},
		{"hop-by-hop options to pass over", altered(asker6, asked6, headers(0, icmp6, 0, 5, 2, 0, 0, 1, 0)), "answered"},
		{"destination options to pass over", altered(asker6, asked6, headers(60, icmp6, 0, 0x1e, 4, 0, 0, 0, 0)), "answered"},
		{"a route that is at its end", altered(asker6, asked6, headers(43, icmp6, 2, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)), "answered"},
		{"an atomic fragment", altered(asker6, asked6, func(p *codec.Packet) { headers(44, icmp6, 0, 0, 0, 0, 0, 0, 5)(p); p.ID = 5 }), "answered"},

		{"a route that goes on", altered(asker6, asked6, headers(43, icmp6, 2, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)), "ignored"},
		{"an option not to pass over", altered(asker6, asked6, headers(0, icmp6, 0, 0xc2, 4, 0, 1, 0, 0)), "ignored"},
		{"an option that is cut off", altered(asker6, asked6, headers(60, icmp6, 0, 1, 200, 0, 0, 0, 0)), "ignored"},
		{"an option without a length", altered(asker6, asked6, headers(60, icmp6, 0, 1, 3, 0, 0, 0, 1)), "ignored"},
		{"an authentication header", altered(asker6, asked6, headers(51, icmp6, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), "ignored"},
		{"a loose source route", altered(asker4, asked4, options(131, 7, 4, 10, 0, 0, 9)), "ignored"},
		{"a strict source route behind others", altered(asker4, asked4, options(1, 1, 7, 3, 4, 137, 3, 4)), "ignored"},
		{"another protocol", altered(asker4, asked4, func(p *codec.Packet) { p.Protocol = codec.ProtocolUDP }), "ignored"},
		{"ICMPv6 in IPv4", altered(asker4, asked4, func(p *codec.Packet) { p.Protocol = icmp6 }), "ignored"},
		{"ICMPv4 in IPv6", altered(asker6, asked6, func(p *codec.Packet) { p.Protocol = codec.ProtocolICMPv4 }), "ignored"},
		{"a reply", altered(asker4, asked4, func(p *codec.Packet) { p.Payload[0], p.Payload[2] = 0, p.Payload[2]+8 }), "ignored"},
		{"to itself", source("10.64.0.1"), "ignored"},
		{"to itself, of IPv6", source("fd00:64::1"), "ignored"},

		{"from a broadcast address", source("255.255.255.255"), "ignored"},
		{"from a multicast address", source("224.0.0.1"), "ignored"},
		{"from nobody", source("0.0.0.0"), "ignored"},
		{"from this network", source("0.1.2.3"), "ignored"},
		{"from a loopback address", source("127.0.0.1"), "ignored"},
		{"from nobody, of IPv6", source("::"), "ignored"},
		{"from a multicast address of IPv6", source("ff02::1"), "ignored"},
		{"from a loopback address of IPv6", source("::1"), "ignored"},
		{"from an IPv4 address mapped into IPv6", source("::ffff:192.0.2.1"), "ignored"},
		{"to a broadcast address", destination("255.255.255.255"), "ignored"},
		{"to a multicast address", destination("239.1.2.3"), "ignored"},
		{"to nobody", destination("0.0.0.0"), "ignored"},
		{"to a loopback address", destination("127.0.0.1"), "ignored"},
		{"to nobody, of IPv6", destination("::"), "ignored"},
		{"to a multicast address of IPv6", destination("ff02::1"), "ignored"},
		{"to a loopback address of IPv6", destination("::1"), "ignored"},
		{"to an IPv4 address mapped into IPv6", destination("::ffff:192.0.2.1"), "ignored"},

		{"a first fragment", altered(asker4, asked4, func(p *codec.Packet) { p.More, p.Payload = true, p.Payload[:8] }), "fragments"},
		{"a later fragment", altered(asker4, asked4, func(p *codec.Packet) { p.Offset = 8 }), "fragments"},
		{"a later fragment of IPv6", altered(asker6, asked6, func(p *codec.Packet) { headers(44, icmp6, 0, 0, 8, 0, 0, 0, 5)(p); p.ID, p.Offset = 5, 8 }), "fragments"},

		{"a bad header checksum", spoil(good4, 10), "corrupt"},
		{"a changed time to live", spoil(good4, 8), "corrupt"},
		{"a bad checksum", spoil(good4, 22), "corrupt"},
		{"a bad checksum of IPv6", spoil(good6, 42), "corrupt"},
		{"changed data", spoil(good4, -1), "corrupt"},
		{"changed data of IPv6", spoil(good6, -1), "corrupt"},
		{"a changed address of IPv6", spoil(good6, 23), "corrupt"},
		{"a short ICMP message", altered(asker4, asked4, func(p *codec.Packet) { p.Payload = p.Payload[:7] }), "corrupt"},
		{"cut off", good4[:len(good4)-1], "corrupt"},
		{"cut off, of IPv6", good6[:len(good6)-1], "corrupt"},
		{"half a header", good4[:10], "corrupt"},
		{"half a header of IPv6", good6[:39], "corrupt"},
		{"nothing", nil, "corrupt"},
		{"IPv5", append([]byte{0x55}, good4[1:]...), "corrupt"},
		{"a header length of 60", append([]byte{0x4f}, good4[1:]...), "corrupt"},
		{"a header length of 0", append([]byte{0x40}, good4[1:]...), "corrupt"},
	} {
		for _, rule := range []string{"", "{code: 7}"} { // in place, and anew
			t.Run(c.name+rule, func(t *testing.T) {
				lab := newLab(t, &wire{size: 64, framing: transport.IPPacket}, responder.Config{Policy: policy(t, rule)})
				lab.wire.queue = []transport.Message{framedMessage(packet(asker4, asked4, 1, "before")), framedMessage(slices.Clone(c.packet)), framedMessage(packet(asker6, asked6, 3, "after"))}
				lab.wire.update()
				lab.run(time.Second)
				want := responder.Stats{Received: 3, Answered: 2}
				switch c.want {
				case "answered":
					want.Answered++
				case "ignored":
					want.Ignored++
				case "fragments":
					want.Fragments++
				case "corrupt":
					want.Corrupt++
				}
				lab.wantStats(want)
				if c.want != "answered" || len(lab.wire.sent) != 3 {
					return
				}
				b := lab.wire.sent[1].Bytes()
				s := see(t, &lab.wire.sent[1], 0, true, false)
				var code uint8
				if rule != "" {
					code = 7
				}
				if s.kind%129 != 0 || s.code != code || !s.good || s.ttl != 64 || s.tos != 0x10 || s.rest != "\x00\x07\x00\x02data" || len(b) > len(c.packet) {
					t.Errorf("the answer is %v", s)
				}
				if strings.HasPrefix(c.name, "padded") && len(b) != len(c.packet)-len("padding") {
					t.Errorf("%d bytes are answered by %d, padding too", len(c.packet), len(b))
				}
				if from, to := addresses(c.packet); s.from != to || s.to != from {
					t.Errorf("a request from %v to %v is answered by %v", from, to, s)
				}
			})
		}
	}
}

// A reply without a rule is as long as its request, and no byte of an earlier packet is
// in it.
func TestPacketsAreAnsweredInPlace(t *testing.T) {
	lab := newLab(t, &wire{size: 1, framing: transport.IPPacket}, responder.Config{Policy: policy(t)})
	for i, n := range []int{65535 - 28, 0, 1, 56, 3} {
		lab.wire.queue = append(lab.wire.queue, framedMessage(packet(asker4, asked4, uint16(i), strings.Repeat("x", n))),
			framedMessage(packet(asker6, asked6, uint16(i), strings.Repeat("y", n))))
	}
	in := slices.Clone(lab.wire.queue)
	lab.wire.update()
	lab.run(time.Second)
	for i := range lab.wire.sent {
		b := lab.wire.sent[i].Bytes()
		q := slices.Clone(in[i].Buf)
		header, ttl, at, reply := 20, 8, 12, byte(0)
		if q[0]>>4 == 6 {
			header, ttl, at, reply = 40, 7, 8, 129
		}
		from, to := slices.Clone(q[at:(at+header)/2]), slices.Clone(q[(at+header)/2:header])
		copy(q[at:], to)
		copy(q[(at+header)/2:], from)
		q[ttl], q[header] = 64, reply
		q[header+2], q[header+3] = b[header+2], b[header+3] // see has looked at it
		if header == 20 {
			q[10], q[11] = 0, 0
			binary.BigEndian.PutUint16(q[10:], codec.Checksum(q[:20]))
		}
		if !slices.Equal(b, q) || !see(t, &lab.wire.sent[i], 0, true, false).good {
			t.Errorf("packet %d is % .60x, want % .60x", i, b, q)
		}
	}
	lab.wantStats(responder.Stats{Received: 10, Answered: 10})
}

func TestPacketsToManyAreAnsweredFromAnAddressOfARule(t *testing.T) {
	for _, c := range []struct {
		rule string
		want responder.Stats
		from string
	}{
		{"", responder.Stats{Received: 2, Ignored: 2}, ""},
		{"{source: [10.64.0.1, 'fd00:64::1']}", responder.Stats{Received: 2, Answered: 2}, "10.64.0.1 fd00:64::1"},
		{"{error: {type: port unreachable}}", responder.Stats{Received: 2, Ignored: 2}, ""},
		{"{error: {type: port unreachable, from: [10.64.0.1, 'fd00:64::1']}}", responder.Stats{Received: 2, Ignored: 2}, ""},
	} {
		lab := newLab(t, &wire{size: 2, framing: transport.IPPacket}, responder.Config{Policy: policy(t, c.rule), Broadcast: true})
		lab.wire.queue = []transport.Message{framedMessage(destination("224.0.0.1")), framedMessage(destination("ff02::1"))}
		lab.wire.update()
		lab.run(time.Second)
		var from []string
		for i := range lab.wire.sent {
			s := see(t, &lab.wire.sent[i], 0, true, false)
			if !s.good {
				t.Errorf("%v", s)
			}
			from = append(from, s.from.String())
		}
		if got := strings.Join(from, " "); got != c.from {
			t.Errorf("%s: answers from %q, want %q", c.rule, got, c.from)
		}
		lab.wantStats(c.want)
	}
}

// Of bare messages, too, what claims to come from many is not answered.
func TestMessagesFromManyAreNotAnswered(t *testing.T) {
	for _, c := range []struct {
		from     string
		answered uint64
	}{
		{"192.0.2.1", 1}, {"127.0.0.1", 1}, {"255.255.255.255", 0}, {"224.0.0.9", 0}, {"0.0.0.0", 0}, {"0.9.9.9", 0},
		{"2001:db8::1", 1}, {"::1", 1}, {"fe80::1", 1}, {"::", 0}, {"ff02::1", 0}, {"", 1},
	} {
		from, _ := netip.ParseAddr(c.from)
		v6 := from.Is6()
		lab := newLab(t, &wire{size: 1, bare: v6}, responder.Config{IPv6: v6, Broadcast: true})
		m := request(from, 1, "data")
		if v6 {
			m = request6(from, asked6, 1, "data")
		} else if c.from == "" {
			m.Peer, m.Local = netip.AddrPort{}, netip.Addr{} // of a device for bytes
		}
		lab.wire.queue = []transport.Message{m}
		lab.wire.update()
		lab.run(time.Second)
		lab.wantStats(responder.Stats{Received: 1, Answered: c.answered, Ignored: 1 - c.answered})
	}
}

// A responder on several transports answers the same requests the same, be it twice.
func TestTheSameSeedAndPacketsGiveTheSameAnswers(t *testing.T) {
	run := func() string {
		lab := newLab(t, &wire{size: 64, framing: transport.IPPacket}, responder.Config{Policy: policy(t, plenty...)})
		for i := range 2000 {
			lab.wire.at(time.Duration(i)*100*time.Microsecond, func() {
				if i%2 == 0 {
					lab.wire.queue = append(lab.wire.queue, framedMessage(packet(far4(i), near4(i%200), uint16(i%300), payload)))
				} else {
					lab.wire.queue = append(lab.wire.queue, framedMessage(packet(far6(i), near6(i%200), uint16(i%300), payload)))
				}
			})
		}
		lab.run(time.Minute)
		var b strings.Builder
		for i := range lab.wire.sent {
			fmt.Fprintf(&b, "%v %x\n", lab.wire.when[i], lab.wire.sent[i].Bytes())
		}
		return b.String()
	}
	first, second := run(), run()
	if first != second || len(first) < 100_000 {
		t.Errorf("%d and %d bytes of answers, not the same", len(first), len(second))
	}
}
