package responder_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"iomux/apps/echo/responder"
	"iomux/codec"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/mux/muxtest"
	"iomux/transport"
)

// mill is a transport in memory that always has requests and room: what an answer
// costs there is the responder's own work, and a copy of the request.
type mill struct {
	framing  transport.Framing
	header   int // bytes in front
	requests []transport.Message
	next     int
	left     int    // how many there are before stop is called
	stop     func() // of the loop
	sent     int
	bytes    int
	now      time.Time // moves on with each batch
	count    int
	each     func(i int, m *transport.Message) // changes the request, if it is not nil
}

func (w *mill) FD() int                    { return wireFD }
func (w *mill) BatchSize() int             { return 64 }
func (w *mill) Close() error               { return nil }
func (w *mill) Framing() transport.Framing { return w.framing }

func (w *mill) Recv(ms []transport.Message) (int, error) {
	w.now = w.now.Add(10 * time.Microsecond)
	n := min(len(ms), w.left)
	for i := range ms[:n] {
		m := &w.requests[w.next]
		if w.next++; w.next == len(w.requests) {
			w.next = 0
		}
		b := ms[i].Buf
		ms[i] = *m
		ms[i].Buf, ms[i].Off = b, w.header
		ms[i].N = copy(b[w.header:], m.Buf)
		if w.each != nil {
			w.each(w.count, &ms[i])
			w.count++
		}
	}
	if w.left -= n; w.left == 0 {
		w.stop()
	}
	return n, nil
}

func (w *mill) Send(ms []transport.Message) (int, error) {
	w.sent += len(ms)
	for i := range ms {
		w.bytes += ms[i].N
	}
	return len(ms), nil
}

// newMill returns a responder on a mill, and what has it answer n requests.
func newMill(t testing.TB, w *mill, cfg responder.Config) (*responder.Responder, func(n int)) {
	t.Helper()
	m := muxtest.NewFake(start)
	w.now = start
	l := loop.New(m, loop.Clock(func() time.Time { return w.now }))
	t.Cleanup(func() { l.Close() })
	m.Set(wireFD, mux.Readable|mux.Writable)
	w.stop = l.Stop
	r, err := responder.New(l, w, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r, func(n int) {
		w.left = n
		if err := l.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// kinds are what a responder may be given, with requests from many to many.
var kinds = []struct {
	name string
	mill func(n int) *mill
	v6   bool
}{
	{"V4", func(n int) *mill {
		w := &mill{header: header}
		for i := range n {
			m := request(far4(i), uint16(i), payload)
			m.Local = near4(i)
			w.requests = append(w.requests, m)
		}
		return w
	}, false},
	{"V6", func(n int) *mill {
		w := &mill{}
		for i := range n {
			w.requests = append(w.requests, request6(far6(i), near6(i), uint16(i), payload))
		}
		return w
	}, true},
	{"IP", func(n int) *mill {
		w := &mill{framing: transport.IPPacket}
		for i := range n {
			if i%2 == 0 {
				w.requests = append(w.requests, framedMessage(packet(far4(i), near4(i), uint16(i), payload)))
			} else {
				w.requests = append(w.requests, framedMessage(packet(far6(i), near6(i), uint16(i), payload)))
			}
		}
		return w
	}, false},
}

const payload = "0123456789abcdef0123456789abcdef0123456789abcdef01234567" // 56 bytes, as ping sends

func far4(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i%250)}) }
func near4(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}
func far6(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0xd, 0xb8, 7: byte(i % 250), 15: 1})
}
func near6(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfd, 0, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
}

// request6 is an ICMPv6 echo request as a raw socket receives it.
func request6(from, to netip.Addr, seq uint16, data string) transport.Message {
	b := encode6(from, to, codec.Echo{Type: codec.EchoRequest, ID: 7, Seq: seq, Data: []byte(data)})
	return transport.Message{Buf: b, Peer: netip.AddrPortFrom(from, 0), Local: to, Ifindex: 2, TTL: 1, TOS: 0x10}
}

func encode6(from, to netip.Addr, e codec.Echo) []byte {
	c := codec.EchoV6{PseudoHeader: codec.PseudoHeader{Source: from, Destination: to}}
	b, err := c.Append(nil, &e)
	if err != nil {
		panic(err)
	}
	return b
}

// packet is an IP packet with an echo request.
func packet(from, to netip.Addr, seq uint16, data string) []byte {
	e := codec.Echo{Type: codec.EchoRequest, ID: 7, Seq: seq, Data: []byte(data)}
	p := codec.Packet{Source: from, Destination: to, TTL: 9, TOS: 0x10, ID: 0x1234, DontFragment: from.Is4()}
	if from.Is4() {
		p.Protocol, p.Payload = codec.ProtocolICMPv4, encode(e)
	} else {
		p.ID = 0
		p.Protocol, p.Payload = codec.ProtocolICMPv6, encode6(from, to, e)
	}
	return join(p)
}

// join encodes a packet.
func join(p codec.Packet) []byte {
	var b []byte
	var err error
	if p.Source.Is4() {
		b, err = new(codec.IPv4).Append(nil, &p)
	} else {
		b, err = new(codec.IPv6).Append(nil, &p)
	}
	if err != nil {
		panic(err)
	}
	return b
}

func framedMessage(b []byte) transport.Message { return transport.Message{Buf: b} }

// plenty are rules of all kinds, for a part of the addresses each. What is not for
// them is for the last.
var plenty = []string{
	"{name: delay, to: ['10.0.0.0/28', 'fd00::/124'], delay: 'normal:1us,1us'}",
	"{name: copies, to: ['10.0.0.16/28', 'fd00::10/124'], duplicate: '50%,copies=2'}",
	"{name: damage, to: ['10.0.0.32/28', 'fd00::20/124'], corrupt: {flip: 50%, truncate: 25%, lengthen: 25%, checksum: 10%}}",
	"{name: error, to: ['10.0.0.48/28', 'fd00::30/124'], error: {type: port unreachable, probability: 50%}}",
	"{name: marks, to: ['10.0.0.64/28', 'fd00::40/124'], ttl: 3, tos: 4, code: 5}",
	"{name: loss, to: ['10.0.0.80/28', 'fd00::50/124'], loss: 50%}",
	"{name: rate, to: ['10.0.0.96/28', 'fd00::60/124'], rate: 1000000}",
	"{name: last, loss: 1%, reorder: '1%,by=1us', duplicate: 1%, corrupt: {flip: 1%}}",
}

func BenchmarkAnswer(b *testing.B) {
	for _, k := range kinds {
		for _, rules := range []struct {
			name string
			list []string
		}{{"", nil}, {"Rules", []string{plenty[7]}}, {"AllRules", plenty}} {
			b.Run(k.name+rules.name, func(b *testing.B) {
				w := k.mill(256)
				_, run := newMill(b, w, responder.Config{IPv6: k.v6, Policy: policy(b, rules.list...)})
				run(1000)
				b.ReportAllocs()
				b.ResetTimer()
				run(b.N)
			})
		}
	}
	b.Run("V4Limit", func(b *testing.B) {
		w := kinds[0].mill(256)
		_, run := newMill(b, w, responder.Config{Policy: responder.NewPolicy(responder.PolicyConfig{Start: start, Rate: 1e9})})
		run(1000)
		b.ReportAllocs()
		b.ResetTimer()
		run(b.N)
	})
	b.Run("V4Flood", func(b *testing.B) {
		w := kinds[0].mill(1 << 20)
		for i := range w.requests {
			w.requests[i].Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)}), 0)
		}
		_, run := newMill(b, w, responder.Config{Policy: responder.NewPolicy(responder.PolicyConfig{Start: start, Rate: 1e6})})
		run(1000)
		b.ReportAllocs()
		b.ResetTimer()
		run(b.N)
	})
}

// With rules of every kind in force, too, nothing is allocated for a packet: not even
// for what is held.
func TestNothingIsAllocatedForAPacket(t *testing.T) {
	for _, k := range kinds {
		for _, list := range [][]string{nil, plenty} {
			w := k.mill(256)
			r, run := newMill(t, w, responder.Config{IPv6: k.v6, Policy: policy(t, list...)})
			run(10_000) // makes what is made once
			if n := testing.AllocsPerRun(5, func() { run(10_000) }); n > 20 {
				t.Errorf("%s with %d rules: %v allocations for 10,000 packets", k.name, len(list), n)
			}
			s := r.Stats()
			if fmt.Sprint(accounted(s)) != fmt.Sprint(s.Received) || s.Received != 70_000 {
				t.Errorf("%+v are %d in all", s, accounted(s))
			}
			if list != nil && (s.Delayed == 0 || s.Duplicated == 0 || s.Damaged == 0 || s.Errors == 0 || s.Lost == 0) {
				t.Errorf("not everything has happened: %+v", s)
			}
		}
	}
}

// accounted is what became of messages, in all.
func accounted(s responder.Stats) uint64 {
	return s.Answered + s.Errors + s.SendErrors + s.Queued + s.Corrupt + s.Ignored + s.Fragments +
		s.Silent + s.Down + s.Lost + s.Limited + s.Throttled + s.Unwell + s.Refused
}
