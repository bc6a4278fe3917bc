package responder_test

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"iomux/apps/echo/responder"
	"iomux/codec"
	"iomux/transport"
)

// ratios are how many bytes an answer may have more than its request, copies apart, by
// the rules in force: those of ICMP errors that are longer than what they quote, and
// those by which data is lengthened.
const (
	errorHeaders = 48
	padding      = 64
)

// FuzzResponder feeds a responder bytes that anybody may send, between two requests
// that have to be answered. Whatever they are, all is accounted for once, and no answer
// is longer than its request unless a rule says so.
func FuzzResponder(f *testing.F) {
	for i, k := range kinds {
		for j, m := range k.mill(8).requests {
			f.Add(uint8(i), m.Buf, uint8(j), uint8(j*9), uint32(j*1000))
		}
	}
	f.Add(uint8(2), altered(asker4, asked4, options(131, 7, 4, 10, 0, 0, 9)), uint8(0), uint8(0), uint32(0))
	f.Add(uint8(2), altered(asker6, asked6, headers(43, codec.ProtocolICMPv6, 2, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)), uint8(1), uint8(0), uint32(0))
	f.Add(uint8(2), altered(asker6, asked6, headers(60, codec.ProtocolICMPv6, 0, 1, 200, 0, 0, 0, 0)), uint8(1), uint8(0), uint32(0))
	f.Add(uint8(2), source("255.255.255.255"), uint8(1), uint8(1), uint32(7))
	f.Add(uint8(0), []byte{}, uint8(3), uint8(1), uint32(7))
	f.Fuzz(func(t *testing.T, which uint8, b []byte, flags, rule uint8, address uint32) {
		if len(b) > 65535 {
			return
		}
		k := kinds[int(which)%len(kinds)]
		var list []string
		if rule >= 128 {
			list = []string{plenty[int(rule)%len(plenty)]}
		}
		if rule%64 == 63 {
			list = plenty
		}
		w := &wire{size: 64, bare: k.v6}
		if k.name == "IP" {
			w.framing = transport.IPPacket
		}
		p := responder.NewPolicy(responder.PolicyConfig{Rules: set(t, list...), Rate: -1, Start: start})
		forge := &wire{fd: wireFD + 1, size: 64, framing: transport.IPPacket, room: unlimited}
		lab := newLab(t, w, responder.Config{IPv6: k.v6, Policy: p, Forge: forge, Broadcast: flags&1 != 0})
		forge.mux = lab.mux
		m := transport.Message{Buf: b}
		if w.framing == transport.Payload {
			from, to := netip.AddrFrom4([4]byte{byte(address >> 24), byte(address >> 16), byte(address >> 8), byte(address)}), near4(int(rule))
			if k.v6 {
				from, to = far6(int(address)), near6(int(rule))
			}
			m.Peer, m.Local = netip.AddrPortFrom(from, 0), to
		}
		if flags&2 != 0 {
			m.Flags |= transport.Broadcast
		}
		if flags&4 != 0 {
			m.Flags |= transport.Truncated
		}
		good := k.mill(2).requests
		lab.wire.queue = []transport.Message{good[0], m, good[1], m}
		lab.wire.update()
		lab.run(time.Minute)
		s := lab.Stats()
		if s.Received != 4 || accounted(s) != 4 || s.Queued != 0 {
			t.Fatalf("the counts are %+v", s)
		}
		longest := max(len(b), len(good[0].Buf), len(good[1].Buf))
		for _, sent := range [][]transport.Message{lab.wire.sent, forge.sent} {
			for i := range sent {
				if n := sent[i].N; n > longest+errorHeaders+padding+40 || len(list) == 0 && n > longest {
					t.Fatalf("%d bytes were sent, and %d received", n, longest)
				}
			}
		}
	})
}

// A flood from a million sources takes no memory, and who asks as often as he may is
// answered throughout.
func TestAFloodTakesNoMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("a million packets")
	}
	w := &mill{header: header}
	for range 1024 {
		w.requests = append(w.requests, request(peerA, 1, payload))
	}
	luck := rand.New(rand.NewPCG(1, 2))
	honest, answered := peerB, 0
	w.each = func(i int, m *transport.Message) {
		from := netip.AddrFrom4([4]byte{byte(1 + luck.IntN(126)), byte(luck.Uint32()), byte(luck.Uint32()), byte(luck.Uint32())})
		if i%1000 == 0 {
			from = honest
		}
		m.Peer = netip.AddrPortFrom(from, 0)
	}
	r, run := newMill(t, w, responder.Config{
		Policy: responder.NewPolicy(responder.PolicyConfig{Start: start, Rules: set(t, "{from: 64.0.0.0/2, delay: '1ms', loss: 10%}")}), QueueItems: 1000,
		OnAnswer: func(a responder.Answer) {
			if a.From == honest && a.Outcome == responder.Replied {
				answered++
			}
		},
	})
	run(100_000)
	memory := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := memory()
	run(1_000_000)
	after := memory()
	if after > before+100_000 {
		t.Errorf("%d bytes of memory are in use, and were %d before", after, before)
	}
	s := r.Stats()
	if answered != 1100 || accounted(s) != s.Received || s.Received != 1_100_000 || s.Refused == 0 {
		t.Errorf("%d of 1100 were answered; %+v", answered, s)
	}
	if n := len(r.Sources(1 << 20)); n != 2048 {
		t.Errorf("%d prefixes are known, want 2048", n)
	}
}

// Whoever has more requests than fit a class of prefixes is known, with his number, be
// there many others.
func TestTheBusiestSourcesAreKnown(t *testing.T) {
	w := &mill{header: header, requests: []transport.Message{request(peerA, 1, "")}}
	luck := rand.New(rand.NewPCG(3, 4))
	busy := []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("198.51.100.8"), netip.MustParseAddr("203.0.113.9")}
	want := map[netip.Prefix]uint64{}
	w.each = func(i int, m *transport.Message) {
		from := netip.AddrFrom4([4]byte{byte(1 + luck.IntN(126)), byte(luck.Uint32()), byte(luck.Uint32()), byte(luck.Uint32())})
		if i%4 == 0 {
			from = busy[min(2, luck.IntN(4))] // the third one twice as often
			prefix, _ := from.Prefix(24)
			want[prefix]++
		}
		m.Peer = netip.AddrPortFrom(from, 0)
	}
	r, run := newMill(t, w, responder.Config{Policy: policy(t)})
	run(200_000)
	got := r.Sources(3)
	for i, s := range got {
		had := want[s.Prefix]
		if had == 0 || s.Requests < had || s.Requests-s.Error > had || s.Answered > s.Requests || s.Error > s.Requests/10 {
			t.Errorf("%+v, which had %d", s, had)
		}
		if i > 0 && s.Requests > got[i-1].Requests {
			t.Errorf("%+v is not in order", got)
		}
	}
	if len(got) != 3 || got[0].Prefix.String() != "203.0.113.0/24" {
		t.Errorf("%+v", got)
	}
}

// Prefixes are those of both families.
func TestSourcesOfBothFamilies(t *testing.T) {
	lab := newLab(t, &wire{size: 8, framing: transport.IPPacket}, responder.Config{})
	for range 3 {
		lab.wire.queue = append(lab.wire.queue, framedMessage(packet(asker6, asked6, 1, "")))
	}
	lab.wire.queue = append(lab.wire.queue, framedMessage(packet(asker4, asked4, 1, "")))
	lab.wire.update()
	lab.run(time.Second)
	got := lab.Sources(9)
	if len(got) != 2 || got[0] != (responder.Source{Prefix: netip.MustParsePrefix("2001:db8::/48"), Requests: 3, Answered: 3}) ||
		got[1] != (responder.Source{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Requests: 1, Answered: 1}) {
		t.Errorf("%+v", got)
	}
	if n := len(lab.Sources(1)); n != 1 {
		t.Errorf("%d, want the first", n)
	}
}
