package responder_test

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"iomux/apps/echo/responder"
	"iomux/codec"
	"iomux/mux"
	"iomux/transport"
	"iomux/transport/icmp"
	_ "iomux/transport/packet"
	_ "iomux/transport/rawip"
	"iomux/transport/tun"
)

// Peers of the tests that go through the kernel, of both families.
var (
	host4, host6       = netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	another4, another6 = netip.MustParseAddr("198.51.100.9"), netip.MustParseAddr("2001:db8::9")
)

func openOf(t *testing.T, network, address string, cfg *transport.Config) transport.Transport {
	t.Helper()
	tr, err := transport.Open(network, address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

func types(types ...uint8) *transport.Config {
	return &transport.Config{Options: icmp.Options{Types: types}}
}

// serve runs a responder in a goroutine of its own until stop, which returns its
// counts.
func serve(t *testing.T, backend string, tr transport.Transport, cfg responder.Config) (stop func() responder.Stats) {
	t.Helper()
	l := newLoop(t, backend)
	r, err := responder.New(l, tr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- l.Run(context.Background()) }()
	stopped := false
	stop = func() responder.Stats {
		if !stopped {
			stopped = true
			l.Stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		return r.Stats()
	}
	t.Cleanup(func() { stop() })
	return stop
}

func echoTo(host netip.Addr, seq uint16, data string) transport.Message {
	e := codec.Echo{Type: codec.EchoRequest, ID: 7, Seq: seq, Data: []byte(data)}
	var b []byte
	if host.Is6() {
		b = encode6(host, host, e) // the kernel makes the checksum
	} else {
		b = encode(e)
	}
	return transport.Message{Buf: b, N: len(b), Peer: netip.AddrPortFrom(host, 0)}
}

// The rules, where the kernel sends what was decided. What is received is compared
// from the type on but for the checksum, which the kernel of the client may have
// verified.
func TestRulesThroughTheKernel(t *testing.T) {
	silentLab(t)
	for _, backend := range mux.Backends() {
		for _, c := range []struct {
			rule       string
			from       [2]netip.Addr
			ttl        uint8
			reply      [2]byte // the type
			code       byte
			data       string
			twice, err bool
		}{
			{rule: "{}", data: "data"},
			{rule: "{ttl: 9, code: 3}", ttl: 9, code: 3, data: "data"},
			{rule: "{source: [198.51.100.9, '2001:db8::9']}", from: [2]netip.Addr{another4, another6}, data: "data"},
			{rule: "{duplicate: 100%}", data: "data", twice: true},
			{rule: "{delay: 1ms, source: [198.51.100.9, '2001:db8::9'], duplicate: 100%}", from: [2]netip.Addr{another4, another6}, data: "data", twice: true},
			{rule: "{error: {type: port unreachable}}", reply: [2]byte{3, 1}, code: 0, err: true},
			{rule: "{error: {type: port unreachable, from: [198.51.100.9, '2001:db8::9']}}", from: [2]netip.Addr{another4, another6}, reply: [2]byte{3, 1}, err: true},
		} {
			for family, host := range []netip.Addr{host4, host6} {
				network, request, reply, forge := "ip4:icmp", uint8(8), uint8(0), "ip4:raw"
				code := c.code
				if family == 1 {
					network, request, reply, forge = "ip6:ipv6-icmp", 128, 129, "ip6:raw"
				}
				if c.err {
					reply = c.reply[family]
					code = [2]byte{3, 4}[family]
				}
				stop := serve(t, backend, openOf(t, network, "", types(request)), responder.Config{
					IPv6: family == 1, Policy: responder.NewPolicy(responder.PolicyConfig{Rules: set(t, c.rule)}),
					Forge: openOf(t, forge, "", nil),
				})
				client := openOf(t, network, "", types(reply))
				asked := echoTo(host, 1, "data")
				send(t, client, asked)
				copies := 1
				if c.twice {
					copies = 2
				}
				for range copies {
					got := recv(t, client)
					from, ttl := host, uint8(64)
					if c.from[family].IsValid() {
						from = c.from[family]
					}
					if c.ttl > 0 {
						ttl = c.ttl
					}
					b := got.Bytes()
					if b[0] != reply || b[1] != code || got.Peer.Addr() != from || got.TTL != ttl {
						t.Errorf("%s, %s, %v: type %d, code %d from %v, ttl %d; want %d, %d from %v, ttl %d", backend, c.rule, host, b[0], b[1], got.Peer.Addr(), got.TTL, reply, code, from, ttl)
					}
					if !c.err {
						if string(b[8:]) != c.data {
							t.Errorf("%s, %s, %v: data %q", backend, c.rule, host, b[8:])
						}
						continue
					}
					var q codec.Quote
					var err error
					if family == 1 {
						err = new(codec.QuoteV6).Decode(b[8:], &q)
					} else {
						err = new(codec.QuoteV4).Decode(b[8:], &q)
						if codec.Checksum(b) != 0 || codec.Checksum(b[8:28]) != 0 {
							t.Errorf("%s, %s: a checksum is bad in % x", backend, c.rule, b)
						}
					}
					if err != nil || q.Packet.Source != host || q.Packet.Destination != host || q.Packet.TTL != 64 || q.Echo.ID != 7 || q.Echo.Seq != 1 || string(q.Echo.Data) != "data" || q.Truncated {
						t.Errorf("%s, %s, %v: the quote is %+v, %v", backend, c.rule, host, q, err)
					}
				}
				s := stop()
				if s.Received != 1 || s.SendErrors != 0 || s.Answered+s.Errors != 1 || s.Duplicated != uint64(copies-1) {
					t.Errorf("%s, %s, %v: %+v", backend, c.rule, host, s)
				}
				client.Close()
			}
		}
	}
}

// The kernel would put the checksum of ICMPv6 right, so that it takes a packet of its
// own. Packets are looked at on the interface.
func TestABadChecksumLeavesAsItIs(t *testing.T) {
	silentLab(t)
	for _, c := range []struct {
		network, forge string
		host           netip.Addr
		request        uint8
	}{{"ip4:icmp", "ip4:raw", host4, 8}, {"ip6:ipv6-icmp", "ip6:raw", host6, 128}} {
		for _, forged := range []bool{true, false} {
			cfg := responder.Config{IPv6: c.host.Is6(), Policy: responder.NewPolicy(responder.PolicyConfig{Rules: set(t, "{corrupt: {checksum: 100%}}")})}
			if forged {
				cfg.Forge = openOf(t, c.forge, "", nil)
			}
			answers := make(chan responder.Answer, 2)
			cfg.OnAnswer = func(a responder.Answer) { answers <- a }
			stop := serve(t, "", openOf(t, c.network, "", types(c.request)), cfg)
			watcher := openOf(t, "packet", "lo", nil)
			client := openOf(t, c.network, "", types(1)) // hears nothing
			send(t, client, echoTo(c.host, 1, "data"), echoTo(c.host, 2, "data"))
			if !forged && c.host.Is6() {
				for range 2 {
					if a := <-answers; a.Outcome != responder.Unsendable {
						t.Errorf("without a Forge: %v", a.Outcome)
					}
				}
				if s := stop(); s.Received != 2 || s.SendErrors != 2 {
					t.Errorf("without a Forge: %+v", s)
				}
				continue
			}
			seen := 0
			for seen < 2 {
				m := recv(t, watcher)
				var p codec.Packet
				var err error
				var e codec.Echo
				if c.host.Is6() {
					err = new(codec.IPv6).Decode(m.Bytes(), &p)
					v6 := codec.EchoV6{PseudoHeader: codec.PseudoHeader{Source: p.Source, Destination: p.Destination}}
					if err == nil {
						err = v6.Decode(p.Payload, &e)
					}
				} else if err = new(codec.IPv4).Decode(m.Bytes(), &p); err == nil {
					err = new(codec.EchoV4).Decode(p.Payload, &e)
				}
				if e.Type != codec.EchoReply {
					continue
				}
				seen++
				if !errors.Is(err, codec.ErrChecksum) {
					t.Errorf("%s: a reply with the checksum % x: %v", c.network, p.Payload[2:4], err)
				}
			}
			if s := stop(); s.Received != 2 || s.Answered != 2 || s.Damaged != 2 {
				t.Errorf("%s: %+v", c.network, s)
			}
		}
	}
}

// A reply that is far longer than the interface takes is fragmented.
func TestSizesOfIPv6(t *testing.T) {
	silentLab(t)
	stop := serve(t, "", openOf(t, "ip6:ipv6-icmp", "", types(128)), responder.Config{IPv6: true})
	client := openOf(t, "ip6:ipv6-icmp", "", types(129))
	pattern := strings.Repeat("0123456789abcdef", 4096)
	for seq, size := range []int{0, 1, 56, 1452, 65000, codec.MaxEchoDataV6 - 8} {
		send(t, client, echoTo(host6, uint16(seq), pattern[:size]))
		m := recv(t, client)
		if b := m.Bytes(); string(b[8:]) != pattern[:size] || b[7] != byte(seq) {
			t.Errorf("%d bytes of data are answered by %d", size, m.N-8)
		}
	}
	if got, want := stop(), (responder.Stats{Received: 6, Answered: 6}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// needTUN skips the test where no TUN device can be made.
func needTUN(t *testing.T) {
	t.Helper()
	silentLab(t)
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		t.Skip("no TUN device can be made:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func prefixes(list ...string) (all []netip.Prefix) {
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

func openTUN(t *testing.T) *tun.Device {
	t.Helper()
	needTUN(t)
	d := openOf(t, "tun", "", &transport.Config{Options: tun.Options{
		Addrs:  prefixes("192.0.2.1/32", "2001:db8::1/128"),
		Routes: prefixes("198.51.100.0/24", "2001:db8:1::/64"),
		MTU:    65535,
	}}).(*tun.Device)
	up(t, d)
	return d
}

// up switches the device on, which waits for its addresses.
func up(t *testing.T, d *tun.Device) {
	t.Helper()
	if err := silentLab(t).SetLink(d.Name(), true); err != nil {
		t.Fatal(err)
	}
	if err := d.Up(); err != nil {
		t.Fatal(err)
	}
}

// With the kernel as the client, every address of a prefix answers, of both families.
func TestEveryAddressOfATUNDeviceAnswers(t *testing.T) {
	needTUN(t)
	for _, backend := range mux.Backends() {
		d := openTUN(t)
		stop := serve(t, backend, d, responder.Config{Policy: responder.NewPolicy(responder.PolicyConfig{Rules: set(t,
			"{to: [198.51.100.8, '2001:db8:1::8'], source: [198.51.100.9, '2001:db8:1::9'], ttl: 7}",
			"{to: [198.51.100.10, '2001:db8:1::10'], error: {type: port unreachable}}",
		)})})
		client4 := openOf(t, "ip4:icmp", "", types(0, 3))
		client6 := openOf(t, "ip6:ipv6-icmp", "", types(129, 1))
		for _, data := range []string{"", "data", strings.Repeat("x", 40000)} {
			for _, c := range []struct {
				client   transport.Transport
				to, from string
				kind     byte
				ttl      uint8
			}{
				{client4, "198.51.100.0", "198.51.100.0", 0, 64}, {client4, "198.51.100.77", "198.51.100.77", 0, 64}, {client4, "198.51.100.8", "198.51.100.9", 0, 7},
				{client4, "198.51.100.10", "198.51.100.10", 3, 64},
				{client6, "2001:db8:1::77", "2001:db8:1::77", 129, 64}, {client6, "2001:db8:1::8", "2001:db8:1::9", 129, 7},
				{client6, "2001:db8:1::10", "2001:db8:1::10", 1, 64},
			} {
				send(t, c.client, echoTo(netip.MustParseAddr(c.to), 5, data))
				m := recv(t, c.client)
				b := m.Bytes()
				if b[0] != c.kind || m.Peer.Addr().String() != c.from || m.TTL != c.ttl || m.TTL == 64 && c.kind%129 == 0 && string(b[8:]) != data {
					t.Errorf("%s: %s with %d bytes: type %d, %d bytes from %v, ttl %d", backend, c.to, len(data), b[0], len(b)-8, m.Peer.Addr(), m.TTL)
				}
				if c.kind == 3 && codec.Checksum(b) != 0 {
					t.Errorf("%s: the checksum of the error is bad", backend)
				}
			}
		}
		s := stop()
		if s.Answered != 15 || s.Errors != 6 || s.SendErrors+s.Corrupt != 0 || accounted(s) != s.Received {
			t.Errorf("%s: %+v", backend, s)
		}
		for _, tr := range []transport.Transport{client4, client6, d} {
			tr.Close()
		}
	}
}

// A device that is switched off and on again, with answers that are due meanwhile.
func TestATUNDeviceGoesDownAndUp(t *testing.T) {
	needTUN(t)
	d := openTUN(t)
	var fails []error
	stop := serve(t, "", d, responder.Config{
		Policy:    responder.NewPolicy(responder.PolicyConfig{Rules: set(t, "{to: 198.51.100.8, delay: 50ms}")}),
		OnFailure: func(err error) { fails = append(fails, err) },
	})
	client := openOf(t, "ip4:icmp", "", types(0))
	for round := range uint16(3) {
		send(t, client, echoTo(netip.MustParseAddr("198.51.100.8"), round, "late"), echoTo(netip.MustParseAddr("198.51.100.7"), round, "data"))
		if m := recv(t, client); m.Bytes()[7] != byte(round) || m.Peer.Addr().String() != "198.51.100.7" {
			t.Fatalf("round %d: %v from %v", round, m.Bytes(), m.Peer)
		}
		if err := silentLab(t).SetLink(d.Name(), false); err != nil {
			t.Fatal(err)
		}
		up(t, d)
		// The late answer may have come into the time without a device.
	}
	s := stop()
	if fails != nil || s.Answered+s.SendErrors+s.Queued != 6 || s.Answered < 3 {
		t.Errorf("%+v, failures %v", s, fails)
	}
}

func TestATUNDeviceThatIsDeletedIsAFailure(t *testing.T) {
	needTUN(t)
	d := openTUN(t)
	l := newLoop(t, "")
	var failure error
	_, err := responder.New(l, d, responder.Config{OnFailure: func(err error) { failure = err; l.Stop() }})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ip", "link", "delete", d.Name()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := l.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if failure == nil || !strings.Contains(failure.Error(), "has been deleted") {
		t.Errorf("the failure is %v", failure)
	}
}

// What a raw socket has for a broadcast is answered from an address of its own, if it
// is asked for.
func TestABroadcastIsAnsweredIfAsked(t *testing.T) {
	silentLab(t)
	stop := serve(t, "", openOf(t, "ip4:icmp", "", types(8)), responder.Config{Broadcast: true})
	client := openOf(t, "ip4:icmp", "", &transport.Config{Options: icmp.Options{Types: []uint8{0}, Broadcast: true}})
	send(t, client, echoTo(netip.MustParseAddr("127.255.255.255"), 1, "data"))
	m := recv(t, client)
	if !slices.Equal(m.Bytes()[4:], []byte{0, 7, 0, 1, 'd', 'a', 't', 'a'}) || m.Peer.Addr() != host4 {
		t.Errorf("%v from %v", m.Bytes(), m.Peer)
	}
	if got, want := stop(), (responder.Stats{Received: 1, Answered: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
