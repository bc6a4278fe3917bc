package responder_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/apps/echo/internal/hostile"
	"iomux/apps/echo/responder"
	"iomux/codec"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/mux/muxtest"
	"iomux/transport"
)

// hostileTraffic is traffic against prefixes that answer, with what must not get an
// answer besides.
func hostileTraffic(seed uint64, mtu int, families ...string) *hostile.Traffic {
	cfg := hostile.Config{Seed: seed, MTU: mtu}
	if !slices.Equal(families, []string{"IPv6"}) {
		cfg.To = append(cfg.To, netip.MustParsePrefix("198.18.0.0/15"))
		cfg.From = append(cfg.From, netip.MustParsePrefix("100.64.0.0/12"))
	}
	if !slices.Equal(families, []string{"IPv4"}) {
		cfg.To = append(cfg.To, netip.MustParsePrefix("fd00:64::/32"))
		cfg.From = append(cfg.From, netip.MustParsePrefix("fd00:65::/32"))
	}
	return hostile.New(cfg)
}

// gauntlet is a transport that hands in packets and has a judge look at the answers.
type gauntlet struct {
	t       *testing.T
	mux     *muxtest.Fake
	stop    func()
	framing transport.Framing
	v6      bool
	size    int
	left    int
	traffic *hostile.Traffic

	asked   [][]byte // of the batch in hand
	kinds   []string
	answers [][]byte
	faults  int
}

func (g *gauntlet) FD() int                    { return wireFD }
func (g *gauntlet) BatchSize() int             { return g.size }
func (g *gauntlet) Close() error               { return nil }
func (g *gauntlet) Framing() transport.Framing { return g.framing }

func (g *gauntlet) Recv(ms []transport.Message) (int, error) {
	g.judge()
	n := 0
	for n < min(g.left, len(ms)) {
		p, kind := g.traffic.Next()
		if !g.deliver(&ms[n], p) {
			continue
		}
		g.asked = append(g.asked, slices.Clone(p))
		g.kinds = append(g.kinds, kind)
		n++
	}
	if g.left -= n; n == 0 {
		g.stop()
	}
	return n, nil
}

// deliver makes a message of a packet, as its kind of transport does. It reports whether
// one comes through.
func (g *gauntlet) deliver(m *transport.Message, p []byte) bool {
	b := m.Buf
	*m = transport.Message{Buf: b}
	if g.framing == transport.IPPacket {
		m.N = copy(b, p)
		return true
	}
	// A raw socket gets whole messages with possible lengths, from possible addresses. Of
	// IPv4 there is the header, and nobody has looked at the checksum of ICMP.
	parts, err := hostile.Parse(p)
	if (len(p) > 0 && p[0]>>4 == 6) != g.v6 || parts.To.IsLoopback() || parts.From.IsLoopback() || parts.From == parts.To {
		return false
	}
	if g.v6 {
		if err != nil {
			return false
		}
		m.N = copy(b, p[parts.Len-8-len(parts.Data):parts.Len])
	} else {
		var q codec.Packet
		if new(codec.IPv4).Decode(p, &q) != nil || q.Protocol != codec.ProtocolICMPv4 || q.Fragment != codec.Whole || len(q.Payload) < 8 {
			return false
		}
		m.Off = 20 + len(q.Options)
		m.N = copy(b, p[:m.Off+len(q.Payload)]) - m.Off
	}
	m.Peer, m.Local, m.TTL = netip.AddrPortFrom(parts.From, 0), parts.To, 64
	return true
}

func (g *gauntlet) Send(ms []transport.Message) (int, error) {
	for i := range ms {
		m := &ms[i]
		b := slices.Clone(m.Bytes())
		if g.framing != transport.IPPacket { // as the kernel would send it
			p := codec.Packet{Source: m.Local, Destination: m.Peer.Addr(), TTL: 64, Protocol: codec.ProtocolICMPv4, Payload: b}
			var err error
			if g.v6 {
				b[2], b[3] = 0, 0
				pseudo := slices.Concat(m.Local.AsSlice(), m.Peer.Addr().AsSlice(), binary.BigEndian.AppendUint32(nil, uint32(len(b))), []byte{0, 0, 0, codec.ProtocolICMPv6})
				binary.BigEndian.PutUint16(b[2:], codec.Checksum(append(pseudo, b...)))
				p.Protocol = codec.ProtocolICMPv6
				b, err = new(codec.IPv6).Append(nil, &p)
			} else {
				b, err = new(codec.IPv4).Append(nil, &p)
			}
			if err != nil {
				g.t.Errorf("an answer that nobody can send: %v", err)
				continue
			}
		}
		g.answers = append(g.answers, b)
	}
	return len(ms), nil
}

// judge looks at the answers to the last batch, which come in the order of the requests.
func (g *gauntlet) judge() {
	answers := g.answers
	for i, request := range g.asked {
		var answer []byte
		if len(answers) > 0 {
			q, _ := hostile.Parse(request)
			if a, err := hostile.Parse(answers[0]); err != nil || a.From == q.To && a.To == q.From && a.Seq == q.Seq {
				answer, answers = answers[0], answers[1:]
			}
		}
		if err := g.traffic.Judge(request, answer); err != nil && g.faults < 20 {
			g.faults++
			g.t.Errorf("%s, % x: %v", g.kinds[i], request[:min(len(request), 80)], err)
		}
	}
	if len(answers) > 0 {
		g.t.Errorf("%d answers to nobody's request, such as % x", len(answers), answers[0])
	}
	g.asked, g.kinds, g.answers = g.asked[:0], g.kinds[:0], g.answers[:0]
}

func TestHostilePacketsGetNoAnswerAndFaultlessOnesDo(t *testing.T) {
	for _, c := range []struct {
		name    string
		framing transport.Framing
		v6      bool
		size    int
		packets int
		traffic *hostile.Traffic
	}{
		{"packets, one by one and of any length", transport.IPPacket, false, 1, 4_000, hostileTraffic(1, 65535)},
		{"packets, in batches", transport.IPPacket, false, 64, 10_000, hostileTraffic(2, 9000)},
		{"a raw IPv4 socket", transport.Payload, false, 64, 10_000, hostileTraffic(3, 9000, "IPv4")},
		{"a raw IPv6 socket", transport.Payload, true, 64, 10_000, hostileTraffic(4, 9000, "IPv6")},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := muxtest.NewFake(start)
			l := loop.New(m, loop.Clock(m.Clock))
			defer l.Close()
			g := &gauntlet{t: t, mux: m, stop: l.Stop, framing: c.framing, v6: c.v6, size: c.size, left: c.packets, traffic: c.traffic}
			r, err := responder.New(l, g, responder.Config{IPv6: c.v6, Policy: policy(t)})
			if err != nil {
				t.Fatal(err)
			}
			m.Set(wireFD, mux.Readable|mux.Writable)
			if err := l.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			s := r.Stats()
			if s.Received != uint64(c.packets) || accounted(s) != s.Received {
				t.Errorf("%d packets came and %d are accounted for: %+v", c.packets, accounted(s), s)
			}
			if s.Answered == 0 || s.Ignored == 0 || s.Corrupt == 0 && !c.v6 || s.Fragments == 0 && c.framing == transport.IPPacket {
				t.Errorf("not everything has happened: %+v", s)
			}
		})
	}
}

// What allocates once in a million packets fills the memory all the same.
func TestHostilePacketsAllocateNothing(t *testing.T) {
	traffic := hostileTraffic(2, 2048)
	w := &mill{framing: transport.IPPacket}
	for range 2048 {
		p, _ := traffic.Next()
		w.requests = append(w.requests, framedMessage(slices.Clone(p)))
	}
	_, run := newMill(t, w, responder.Config{Policy: policy(t,
		"{to: [198.18.0.0/16, 'fd00:64::/33'], delay: 1ms, duplicate: 10%, corrupt: {flip: 10%, checksum: 10%, truncate: 10%, lengthen: 10%}}",
		"{to: [198.19.0.0/16, 'fd00:64:8000::/33'], error: {type: destination unreachable, probability: 50%}, loss: 10%}"),
		OnAnswer: func(responder.Answer) {}})
	run(2 * 2048)
	if n := testing.AllocsPerRun(3, func() { run(2 * 2048) }); n > 20 { // of Run itself
		t.Errorf("%v allocations for %d packets", n, 2*2048)
	}
}

// The replies, their copies and the errors to one IPv6 network are so many, whatever
// addresses of it ask and whatever the rules say: nobody makes an amplifier of rules for
// longer than a burst.
func TestCopiesAndErrorsAreTakenFromTheRateOfTheirSource(t *testing.T) {
	for _, rule := range []string{"{to: '::/0', duplicate: '100%,copies=7'}", "{to: '::/0', error: {type: destination unreachable}, duplicate: '100%,copies=7'}"} {
		p := responder.NewPolicy(responder.PolicyConfig{Rules: set(t, rule), Rate: 100, Burst: 100, Start: start})
		lab := newLab(t, &wire{size: 64, framing: transport.IPPacket}, responder.Config{Policy: p})
		const requests = 1000
		for i := range requests {
			b := netip.MustParseAddr("fd00:65::").As16()
			binary.BigEndian.PutUint64(b[8:], uint64(i+1)*0x9e3779b97f4a7c15)
			lab.wire.queue = append(lab.wire.queue, framedMessage(hostile.Request(nil, netip.AddrFrom16(b), netip.MustParseAddr("fd00:64::1"), 1, uint16(i), nil)))
		}
		lab.wire.update()
		lab.run(ms)
		s := lab.Stats()
		if len(lab.wire.sent) != 100 || s.Answered+s.Errors+s.Duplicated != 100 || s.Received != requests || accounted(s) != requests {
			t.Errorf("%s: %d answers, want 100: %+v", rule, len(lab.wire.sent), s)
		}
	}
}

// brittle is a transport of which every call may fail, and which counts what it took.
type brittle struct {
	t      *testing.T
	rng    *rand.Rand
	mux    *muxtest.Fake
	fd     int
	framed bool
	whole  bool // nothing fails any more
	deaf   bool // nothing is received for a while, but an error again and again
	check  func()
	queue  [][]byte
	taken  uint64
	refuse uint64
	closed bool // the responder was stopped: nobody may call
}

func (b *brittle) FD() int        { return b.fd }
func (b *brittle) BatchSize() int { return 16 }
func (b *brittle) Close() error   { return nil }

func (b *brittle) Framing() transport.Framing {
	if b.framed {
		return transport.IPPacket
	}
	return transport.Payload
}

var brittleErrors = []error{unix.ENETDOWN, unix.ENOBUFS, unix.EPERM, unix.EIO, unix.EHOSTUNREACH, unix.EMSGSIZE, unix.ENOMEM, errors.New("some error")}

func (b *brittle) fails(percent int) bool { return !b.whole && b.rng.IntN(100) < percent }

func (b *brittle) Recv(ms []transport.Message) (int, error) {
	defer b.update()
	if b.closed {
		b.t.Error("Recv after Stop")
	}
	b.check()
	switch {
	case b.deaf, b.fails(20):
		return 0, brittleErrors[b.rng.IntN(len(brittleErrors))]
	case b.fails(20):
		return 0, nil
	}
	n := min(1+b.rng.IntN(16), len(ms), len(b.queue))
	for i, p := range b.queue[:n] {
		m := &ms[i]
		*m = transport.Message{Buf: m.Buf}
		if b.framed {
			m.N = copy(m.Buf, p)
			continue
		}
		m.Off, m.N = 20, copy(m.Buf, p)-20
		m.Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[12:16])), 0)
		m.Local, m.TTL = netip.AddrFrom4([4]byte(p[16:20])), 64
		if b.fails(5) {
			m.Flags = transport.Truncated
		}
	}
	b.queue = b.queue[n:]
	return n, nil
}

func (b *brittle) Send(ms []transport.Message) (int, error) {
	defer b.update()
	if b.closed {
		b.t.Error("Send after Stop")
	}
	switch {
	case b.fails(15):
		b.refuse++
		return 0, brittleErrors[b.rng.IntN(len(brittleErrors))]
	case b.fails(15):
		return 0, nil
	}
	n := len(ms)
	if !b.whole {
		n = 1 + b.rng.IntN(n)
	}
	b.taken += uint64(n)
	return n, nil
}

// update has the descriptor be ready at any time, which means no more than that a call
// may do something.
func (b *brittle) update() {
	ready := mux.Writable
	if len(b.queue) > 0 || b.deaf || b.fails(50) {
		ready |= mux.Readable
	}
	b.mux.Set(b.fd, ready)
}

// everything is rules of which each packet meets one or the other.
var everything = []string{
	"{name: late, to: 198.18.0.0/17, delay: 'uniform:0s,3ms', reorder: '20%,by=2ms', duplicate: '30%,copies=3'}",
	"{name: bad, to: 198.18.128.0/17, corrupt: {flip: 20%, checksum: 20%, truncate: 20%, lengthen: 20%}, delay: 1ms, jitter: 1ms}",
	"{name: forged, to: 198.19.0.0/18, source: 198.18.0.9, code: 3, ttl: 1}",
	"{name: failing, to: 198.19.64.0/18, error: {type: time exceeded, from: 198.18.0.7, probability: 60%}, duplicate: 50%}",
	"{name: lossy, to: 198.19.128.0/18, loss: 50%, rate: 1000}",
	"{name: quiet, to: 198.19.192.0/19, silent: true}",
	"{name: down, to: 198.19.224.0/19, down: {from: 2ms, to: 4ms, every: 5ms}}",
}

// brittleLab is a responder between a transport and a Forge that both fail.
func brittleLab(t *testing.T, seed uint64, framed bool, cfg responder.Config) (*lab, *brittle, *brittle) {
	m := muxtest.NewFake(start)
	lab := &lab{t: t, mux: m, loop: loop.New(m, loop.Clock(m.Clock))}
	t.Cleanup(func() { lab.loop.Close() })
	rng := rand.New(rand.NewPCG(seed, 7))
	b := &brittle{t: t, rng: rng, mux: m, fd: wireFD, framed: framed}
	forge := &brittle{t: t, rng: rng, mux: m, fd: wireFD + 1, framed: true}
	if cfg.Policy == nil {
		cfg.Policy = responder.NewPolicy(responder.PolicyConfig{Rules: set(t, everything...), Rate: 100, Burst: 20, Start: start})
	}
	if !framed {
		cfg.Forge = forge
	}
	cfg.QueueItems, cfg.QueueBytes = 40, 4096
	cfg.OnFailure = func(err error) { t.Errorf("OnFailure(%v)", err) }
	var err error
	if lab.Responder, err = responder.New(lab.loop, b, cfg); err != nil {
		t.Fatal(err)
	}
	b.check = func() {
		t.Helper()
		s := lab.Stats()
		if s.Received != accounted(s) {
			t.Fatalf("%d were received and %d are accounted for: %+v", s.Received, accounted(s), s)
		}
		if sent, want := s.Answered+s.Errors+s.Duplicated, b.taken+forge.taken; sent != want {
			t.Fatalf("%d are counted as sent and %d were: %+v", sent, want, s)
		}
		if lost, least := s.SendErrors+s.CopiesLost, b.refuse+forge.refuse; lost < least {
			t.Fatalf("%d answers are counted as not sent and %d were refused: %+v", lost, least, s)
		}
	}
	return lab, b, forge
}

func hostileRequests(seed uint64, n int) (all [][]byte) {
	traffic := hostileTraffic(seed, 1500)
	rng := rand.New(rand.NewPCG(seed, 8))
	for range n {
		p := traffic.Flood(false, rng.IntN(200))
		if rng.IntN(4) == 0 { // one of few sources
			p = hostile.Request(nil, netip.AddrFrom4([4]byte{100, 64, 0, byte(1 + rng.IntN(4))}), netip.AddrFrom4([4]byte(p[16:20])), 1, uint16(rng.Uint32()), nil)
		}
		if rng.IntN(8) == 0 {
			p[len(p)-1] ^= 1
		}
		all = append(all, slices.Clone(p))
	}
	return all
}

// Whatever fails, and when: each message is accounted for all the time, what is counted
// as sent was sent, and when the trouble is over everything goes on.
func TestEveryCallMayFailAndNothingIsLostCount(t *testing.T) {
	for _, framed := range []bool{true, false} {
		for seed := range uint64(8) {
			lab, b, forge := brittleLab(t, seed, framed, responder.Config{})
			for i, p := range hostileRequests(seed, 2000) {
				lab.mux.At(time.Duration(i)*20*time.Microsecond, func() { b.queue = append(b.queue, p); b.update() })
			}
			for at, deaf := range map[time.Duration]bool{10 * ms: true, 18 * ms: false} {
				lab.mux.At(at, func() { b.deaf = deaf; b.update() })
			}
			lab.run(time.Second) // in between, after 40 ms, nothing comes any more
			b.whole, forge.whole = true, true
			b.update()
			lab.run(time.Minute)
			b.check()
			s := lab.Stats()
			if len(b.queue) > 0 || s.Received != 2000 || s.Queued != 0 {
				t.Errorf("framed %v, seed %d: %d requests were not received, and it does not go on: %+v", framed, seed, len(b.queue), s)
			}
			for name, n := range map[string]uint64{"Answered": s.Answered, "Errors": s.Errors, "SendErrors": s.SendErrors, "RecvErrors": s.RecvErrors, "Duplicated": s.Duplicated,
				"CopiesLost": s.CopiesLost, "Delayed": s.Delayed, "Throttled": s.Throttled, "Silent": s.Silent, "Down": s.Down, "Lost": s.Lost, "Corrupt": s.Corrupt} {
				if n == 0 {
					t.Errorf("framed %v, seed %d: nothing was counted as %s", framed, seed, name)
				}
			}
			var all uint64
			for _, r := range lab.RuleStats() {
				all += r.Requests
			}
			if want := s.Received - s.Corrupt - s.Ignored - s.Fragments - s.Throttled; all != want {
				t.Errorf("framed %v, seed %d: the rules have %d requests, want %d", framed, seed, all, want)
			}
		}
	}
}

// Stop may be called from anywhere on the loop: from then on nothing is called any more,
// and the counts are those of what was done.
func TestAfterStopNobodyIsCalled(t *testing.T) {
	for _, where := range []string{"OnRequest", "OnAnswer", "a timer"} {
		for seed := range uint64(16) {
			var lab *lab
			var b, forge *brittle
			left := 1 + int(seed*13)
			stopped := false
			stop := func() {
				if stopped {
					t.Errorf("%s was called after Stop", where)
				}
				if left--; left > 0 {
					return
				}
				if err := lab.Stop(); err != nil {
					t.Error(err)
				}
				stopped, b.closed, forge.closed = true, true, true
			}
			var cfg responder.Config
			switch where {
			case "OnRequest":
				cfg.OnRequest = func(responder.Request) { stop() }
			case "OnAnswer":
				cfg.OnAnswer = func(responder.Answer) { stop() }
			}
			lab, b, forge = brittleLab(t, seed, seed%2 == 0, cfg)
			for i, p := range hostileRequests(seed, 1000) {
				lab.mux.At(time.Duration(i)*20*time.Microsecond, func() { b.queue = append(b.queue, p); b.update() })
			}
			if where == "a timer" {
				lab.loop.AfterFunc(time.Duration(seed)*700*time.Microsecond, func() { left = 1; stop() })
			}
			lab.run(time.Second)
			if !stopped {
				t.Fatalf("%s, seed %d: it was not stopped", where, seed)
			}
			s := lab.Stats()
			if sent := s.Answered + s.Errors + s.Duplicated; sent != b.taken+forge.taken {
				t.Errorf("%s, seed %d: %d are counted as sent and %d were: %+v", where, seed, sent, b.taken+forge.taken, s)
			}
			if s.Received != accounted(s) {
				t.Errorf("%s, seed %d: %d were received and %d are accounted for: %+v", where, seed, s.Received, accounted(s), s)
			}
		}
	}
}

// Two responders, each of which gets what the other sends: whatever the rules say, and
// whoever the first request claims to be from, it comes to an end.
func TestTwoRespondersDoNotAnswerEachOther(t *testing.T) {
	traffic := hostileTraffic(3, 1500)
	a, b := netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.19.0.1")
	for _, rule := range []string{"", "{duplicate: '100%,copies=3'}", "{error: {type: 3, code: 1}}", "{error: {type: 11}, duplicate: '100%,copies=2'}", "{error: {type: 13}}", "{error: {type: 0}}",
		"{source: 198.19.0.1}", "{corrupt: {flip: 100%}}", "{corrupt: {lengthen: 100%}, duplicate: '100%,copies=3'}", "{delay: 1ms}"} {
		if rule != "" {
			rule = "{to: 0.0.0.0/0, " + rule[1:]
		}
		m := muxtest.NewFake(start)
		l := loop.New(m, loop.Clock(m.Clock))
		defer l.Close()
		var ends [2]*wire
		for i := range ends {
			ends[i] = &wire{mux: m, fd: wireFD + i, size: 16, room: unlimited, framing: transport.IPPacket}
			if _, err := responder.New(l, ends[i], responder.Config{Policy: policy(t, rule), Broadcast: true}); err != nil {
				t.Fatal(err)
			}
		}
		const most = 10_000
		passed := 0
		for i := range ends {
			ends[i].quiet = true
			ends[i].onSend = func(m *transport.Message) error {
				if passed++; passed <= most {
					ends[1-i].queue = append(ends[1-i].queue, framedMessage(slices.Clone(m.Bytes())))
					ends[1-i].update()
				}
				return nil
			}
		}
		first := func(from, to netip.Addr) {
			ends[1].queue = append(ends[1].queue, framedMessage(hostile.Request(nil, from, to, 1, 1, []byte("data"))))
		}
		first(a, b)
		first(b, b)
		first(netip.MustParseAddr("255.255.255.255"), b)
		first(a, netip.MustParseAddr("224.0.0.1"))
		first(netip.MustParseAddr("224.0.0.1"), netip.MustParseAddr("224.0.0.1"))
		for range 200 {
			p, _ := traffic.Next()
			ends[1].queue = append(ends[1].queue, framedMessage(slices.Clone(p)))
		}
		ends[1].update()
		m.At(time.Hour, l.Stop)
		if err := l.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if passed > 4*205 {
			t.Errorf("rule %q: 205 packets have made %d", rule, passed)
		}
	}
}

// Rules change, health comes and goes, on another goroutine than those of the loops that
// share the Policy: no request is lost count of, not even by the counters of the rules.
func TestAPolicyThatLoopsShareWhileItChanges(t *testing.T) {
	sets := [2][]string{everything, slices.Clone(everything)}
	slices.Reverse(sets[1])
	p := responder.NewPolicy(responder.PolicyConfig{Rules: set(t, sets[0]...), Rate: 1000, Burst: 100, Start: start})
	var labs []*lab
	var all []*brittle
	for i := range uint64(2) {
		lab, b, _ := brittleLab(t, 100+i, true, responder.Config{Policy: p})
		for i, packet := range hostileRequests(100+i, 3000) {
			lab.mux.At(time.Duration(i)*20*time.Microsecond, func() { b.queue = append(b.queue, packet); b.update() })
		}
		labs, all = append(labs, lab), append(all, b)
	}
	var loops, changer sync.WaitGroup
	done := make(chan struct{})
	changer.Go(func() {
		a, b := set(t, sets[0]...), set(t, sets[1]...)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			p.SetHealthy(i%5 != 0)
			p.Use(a)
			p.Use(b)
		}
	})
	for i := range labs {
		loops.Go(func() { labs[i].run(time.Second) })
	}
	loops.Wait()
	close(done)
	changer.Wait()
	p.SetHealthy(true)
	for i, lab := range labs {
		all[i].whole = true
		all[i].update()
		lab.run(time.Minute)
		all[i].check()
		s := lab.Stats()
		if len(all[i].queue) > 0 || s.Received != 3000 || s.Queued != 0 {
			t.Errorf("loop %d does not go on, %d requests are left: %+v", i, len(all[i].queue), s)
		}
		var sum uint64
		for _, r := range lab.RuleStats() {
			sum += r.Requests
		}
		if want := s.Received - s.Corrupt - s.Ignored - s.Fragments - s.Throttled - s.Unwell; sum != want {
			t.Errorf("loop %d: the rules have %d requests, want %d: %+v", i, sum, want, s)
		}
	}
}
