package prober_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/resolve"
	"iomux/apps/echo/prober/stats"
	"iomux/codec"
	"iomux/transport"
)

// network is a bad one, which keeps account of what it does.
type network struct {
	*testing.T
	random   *rand.Rand
	interval time.Duration // of the probes: answers that take longer are overtaken
	hosts    []member

	want  stats.Counts  // what the prober should count
	stray uint64        // and what concerns no probe
	rtts  time.Duration // of all good answers
	least time.Duration
	most  time.Duration

	mu   sync.Mutex // lookups run beside the loop
	name map[string]*naming
}

// member is what the network knows of a target.
type member struct {
	sent   uint64 // probes so far, with those it had no room for
	latest uint64 // the latest of them that was answered well
}

// naming is what a name stands for.
type naming struct {
	now, before netip.Addr
	moved       time.Duration // when the one before was left
	lookups     int
}

// The simulation in numbers.
const (
	simTimeout = 4 * time.Second
	simStall   = 300 * ms // for which there is no room now and then
	simNames   = 10
)

// send decides what becomes of a probe. What answers it in time, well and first is
// told to the account when it arrives.
func (n *network) send(p probe) error {
	host, seq := n.host(p)
	soon := time.Duration(n.random.Int64N(int64(250 * ms)))
	slow := n.interval + time.Duration(n.random.Int64N(int64(simTimeout-n.interval-ms)))
	late := simTimeout + 500*ms + time.Duration(n.random.Int64N(int64(simTimeout)))
	want := &n.want.Of
	good := func(after time.Duration) {
		n.arrive(p, after, p.to, p.reply(p.data), func() { n.answered(host, seq, after) })
	}
	comes := func(after time.Duration, from netip.Addr, b []byte, is ...stats.Outcome) {
		n.arrive(p, after, from, b, nil)
		for _, o := range is {
			want[o]++
		}
	}
	from := router
	if p.w.v6 {
		from = router6
	}
	switch n.random.IntN(400) {
	case 0: // it has no room for it
		want[stats.SendError]++
		return syscall.ENOBUFS
	case 1, 2, 3, 4, 5, 6, 7, 8: // lost
		want[stats.Timeout]++
	case 9, 10: // delayed for too long
		comes(late, p.to, p.reply(p.data), stats.Timeout, stats.Late)
	case 11: // and for so long that nobody remembers
		comes(5*late, p.to, p.reply(p.data), stats.Timeout, stats.Late)
	case 12, 13, 14, 15, 16, 17: // overtaken by those after it
		good(slow)
	case 18, 19: // duplicated, twice
		good(soon)
		comes(soon+slow, p.to, p.reply(p.data), stats.Duplicate)
		comes(soon+late/2, p.to, p.reply(p.data), stats.Duplicate)
	case 20:
		comes(soon, p.to, p.reply(flipped(p.data, n.random.IntN(len(p.data)))), stats.Corrupt)
	case 21:
		comes(soon, p.to, p.reply(append(slices.Clone(p.data), 0)), stats.Corrupt)
	case 22:
		b := p.w.encode(nil, codec.Echo{Type: codec.EchoReply, Code: 7, ID: p.id, Seq: p.seq, Data: p.data})
		comes(soon, p.to, b, stats.Corrupt)
	case 23: // and then repeated
		b := p.reply(p.data)
		if !p.w.v6 { // there the kernel drops what has a bad checksum
			b[2] ^= 1
		} else {
			b[len(b)-1] ^= 1
		}
		comes(soon, p.to, b, stats.Corrupt)
		comes(slow, p.to, p.reply(p.data), stats.Duplicate)
	case 24:
		comes(soon, p.to, p.reply(p.data[:n.random.IntN(len(p.data))]), stats.Truncated)
	case 25: // answered by somebody else
		comes(soon, from, p.reply(p.data), stats.WrongSource, stats.Timeout)
	case 26: // and forged, before the real answer
		comes(soon, p.to, p.reply(forged(p.data)), stats.Forged)
		good(slow)
	case 27: // an error, twice, and then an answer after all
		want[stats.ICMPError]++
		p.error(soon, n.unreachable(p))
		p.error(2*soon, n.unreachable(p))
		comes(slow, p.to, p.reply(p.data), stats.Late)
	case 28: // an error in the socket's queue
		want[stats.ICMPError]++
		r := transport.ErrorReport{Peer: netip.AddrPortFrom(p.to, 0), From: from, Type: 3, Code: 1}
		r.SetQuote(p.raw)
		p.w.at(p.at+soon, func() { p.w.reports = append(p.w.reports, r) })
	case 29: // an error that comes too late to tell anything
		want[stats.Timeout]++
		p.error(late, n.unreachable(p))
	case 30: // what ends no probe: a redirect, a reply to another prober, an error about something else
		n.stray += 3
		foreign := transport.ErrorReport{Peer: netip.AddrPortFrom(p.to, 0), From: from, Type: 3, Code: 1}
		foreign.SetQuote(p.raw[:4])
		p.error(soon, codec.Message{Type: codec.Redirect, Gateway: from, Destination: p.to, Quote: p.packet()})
		b := p.w.encode(nil, codec.Echo{Type: codec.EchoReply, ID: p.id + 1, Seq: p.seq, Data: p.data})
		comes(soon, p.to, b)
		p.w.at(p.at+soon, func() { p.w.reports = append(p.w.reports, foreign) })
		good(slow)
	case 31: // an error about a probe that never was
		m := n.unreachable(p)
		m.Quote[len(m.Quote)-len(p.data)] ^= 0x40
		want[stats.Forged]++
		p.error(soon, m)
		good(slow)
	case 32: // this host has no room for the answer
		want[stats.LocalDrop]++
		p.w.at(p.at+soon, func() { p.w.dropped++ })
	default:
		good(soon)
	}
	n.want.Sent++
	return nil
}

// host finds out whose probe it is, and that its address is the one the name has.
func (n *network) host(p probe) (host int, seq uint64) {
	a := p.to.AsSlice()
	switch {
	case p.to.Is4() && a[0] == 192: // 192.0.2.1 is target 0
		host = int(a[3]) - 1
	case p.to.Is6() && a[4] == 0: // 2001:db8::1 comes after the last of them
		host = (len(n.hosts)-simNames)/2 + int(a[15]) - 1
	default: // of a name: its number is in the address
		i := int(a[1])
		if p.to.Is6() {
			i = int(a[5])
		}
		host = len(n.hosts) - simNames + i
		n.mu.Lock()
		k := n.name[hostName(i)]
		// A lookup runs beside the probe that asks for it, which may then wait for room.
		if p.to != k.now && (p.to != k.before || p.at-k.moved > simStall) {
			n.Errorf("%v: the probe to %s goes to %v, which has been %v since %v", p.at, hostName(i), p.to, k.now, k.moved)
		}
		n.mu.Unlock()
	}
	n.hosts[host].sent++
	return host, n.hosts[host].sent
}

// stalls has the wire without room for a while, and again every ten minutes.
func stalls(w *wire, at time.Duration) {
	w.at(at, func() {
		w.room = 0
		w.at(at+simStall, func() { w.room = unlimited })
		stalls(w, at+10*time.Minute)
	})
}

func hostName(i int) string { return fmt.Sprintf("host%d.example", i) }

// lookup lets a name move to another address each time, also one of the other
// family, and fails now and then.
func (n *network) lookup(name string, at time.Duration) (resolve.Answer, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.name[name]
	if k.lookups++; k.lookups%9 == 5 {
		return resolve.Answer{}, errors.New("no server")
	}
	i, turn := name[4]-'0', byte(k.lookups)
	k.before, k.moved = k.now, at
	k.now = netip.AddrFrom4([4]byte{198, i, turn, 1})
	if turn%3 == 0 {
		k.now = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 1, i, 15: turn})
	}
	return addresses(time.Minute, k.now)
}

// arrive has a message come in, and then tells the account.
func (n *network) arrive(p probe, after time.Duration, from netip.Addr, b []byte, account func()) {
	at := p.at + after
	m := transport.Message{Buf: b, Peer: netip.AddrPortFrom(from, 0), TTL: 61}
	if p.w.stamped {
		m.Time = start.Add(at)
	}
	p.w.at(at, func() {
		p.w.queue = append(p.w.queue, m)
		if account != nil {
			account()
		}
	})
}

// answered takes a good answer to account.
func (n *network) answered(host int, seq uint64, rtt time.Duration) {
	h := &n.hosts[host]
	if seq < h.latest {
		n.want.Of[stats.Reordered]++
	} else {
		n.want.Of[stats.Reply]++
		h.latest = seq
	}
	n.rtts += rtt
	n.least, n.most = min(n.least, rtt), max(n.most, rtt)
}

// unreachable is what a router reports.
func (n *network) unreachable(p probe) codec.Message {
	return codec.Message{Type: codec.DestinationUnreachable, Code: 1, Quote: p.packet()}
}

// Forty targets, ten of them names that move, each second for eight hours through a
// bad network: every counter says what the network did, exactly, and memory does not
// grow.
func TestEightHours(t *testing.T) {
	const span = 8 * time.Hour
	each, interval := 15, time.Second // of both families
	if racing {
		each, interval = 4, 3*time.Second
	}
	specs := []string{fmt.Sprintf("192.0.2.1-%d", each), fmt.Sprintf("2001:db8::1-2001:db8::%x", each)}
	n := &network{T: t, random: rand.New(rand.NewPCG(1, 2)), interval: interval, hosts: make([]member, 2*each+simNames), least: span, name: map[string]*naming{}}
	for i := range simNames {
		specs = append(specs, hostName(i))
		n.name[hostName(i)] = new(naming)
	}
	rounds := uint64(span / interval)
	probes := rounds * uint64(len(n.hosts))

	var results, ofNone [stats.Outcomes]uint64
	var rtts time.Duration
	lab := newLab(t, prober.Config{Targets: list(specs...), Interval: interval, Timeout: simTimeout, Count: rounds, Data: sixteen, TargetStats: true,
		OnResult: func(r *prober.Result) {
			results[r.Outcome]++
			if r.Target == prober.NoTarget {
				ofNone[r.Outcome]++
			}
			if r.Outcome != stats.Reply && r.Outcome != stats.Reordered {
				return
			}
			rtts += r.RTT
			if want := [2]prober.Clock{prober.User, prober.Kernel}; r.Clock != want[r.Addr.BitLen()/128] {
				t.Fatalf("%v is measured by the clock %v", r.Addr, r.Clock)
			}
		}})
	lab.names.answer = func(host string) (resolve.Answer, error) { return n.lookup(host, lab.now()) }
	lab.v6.stamped = true
	for i, w := range []*wire{lab.v4, lab.v6} {
		w.onSend, w.quiet = n.send, true
		stalls(w, time.Duration(1+i)*time.Minute)
	}

	lab.Start()
	var memory [9]struct {
		heap, objects uint64
		held          int
	}
	for hour := 1; hour <= 8; hour++ {
		lab.run(time.Duration(hour) * time.Hour)
		runtime.GC()
		runtime.GC() // for what the first one finalizes
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		memory[hour].heap, memory[hour].objects, memory[hour].held = m.HeapAlloc, m.HeapObjects, lab.Held()
	}
	lab.run(span + 5*time.Minute)

	first, last := memory[1], memory[8]
	if last.heap > first.heap+128<<10 || last.objects > first.objects+1000 || last.held > first.held+prober.PageSize {
		t.Errorf("memory grows: after each hour\n\t%v", memory[1:])
	}
	t.Logf("%d probes; the heap after an hour and after eight: %v, %v", probes, first, last)

	got := lab.Total().Counts()
	if got != n.want {
		t.Errorf("counted\n\t%+v, the network did\n\t%+v", got, n.want)
	}
	if got.Sent+got.Of[stats.SendError] != probes || got.Finished() != probes || got.InFlight() != 0 {
		t.Errorf("%d finished of %d: %+v", got.Finished(), probes, got)
	}
	for o, count := range n.want.Of {
		if count < probes/2000 {
			t.Errorf("the network has done too little: %d times %v", count, stats.Outcome(o))
		}
	}
	if results != got.Of {
		t.Errorf("results %v, counted %v", results, got.Of)
	}
	if lab.Stray() != n.stray || lab.ClockSteps() != 0 {
		t.Errorf("%d stray messages, the network had %d; %d clock steps, want none", lab.Stray(), n.stray, lab.ClockSteps())
	}
	if s := lab.Total().Summary(); rtts != n.rtts || s.Min != n.least || s.Max != n.most || (s.Mean-n.rtts/time.Duration(s.Received())).Abs() > time.Microsecond {
		t.Errorf("round-trip times %v in all, %v to %v, %v on average; the network took %v, %v to %v", rtts, s.Min, s.Max, s.Mean, n.rtts, n.least, n.most)
	}

	// The targets together have what the total has, but for what concerns none.
	sum := stats.Counts{Of: ofNone}
	for i := range uint64(len(n.hosts)) {
		c := lab.Target(i).Counts()
		if c.Finished() != rounds || c.InFlight() != 0 || c.Sent+c.Of[stats.SendError] != n.hosts[i].sent {
			t.Errorf("target %d: %+v, the network had %d", i, c, n.hosts[i].sent)
		}
		sum.Add(c)
	}
	if sum != n.want {
		t.Errorf("the targets together\n\t%+v, want\n\t%+v", sum, n.want)
	}
	if ofNone[stats.Forged] != n.want.Of[stats.Forged] || ofNone[stats.Late] == 0 {
		t.Errorf("results without a target: %v", ofNone)
	}
	for name, k := range n.name {
		// A minute, and up to an eighth; half a minute after a failure.
		if k.lookups < int(span/(68*time.Second)) || k.lookups > int(span/(55*time.Second)) {
			t.Errorf("%s was looked up %d times", name, k.lookups)
		}
	}
	if lab.ndones != 1 {
		t.Errorf("done %d times", lab.ndones)
	}
}

// A single probe that waits for long does not keep all those after it in memory.
func TestMemoryIsBoundedWithALongTimeout(t *testing.T) {
	for _, lose := range []bool{false, true} {
		lab := newLab(t, prober.Config{Interval: 20 * time.Microsecond, Timeout: time.Hour, Data: sixteen,
			OnResult: func(*prober.Result) {}})
		n := 0
		lab.v4.quiet = true
		lab.v4.onSend = func(p probe) error {
			if n++; n > 1 || !lose {
				p.w.queue = append(p.w.queue, messageFrom(p))
			}
			return nil
		}
		lab.Start()
		span := 10 * time.Second
		if lose {
			span = 100 * time.Second
		}
		if racing {
			span /= 10
		}
		lab.run(span)
		most := prober.MaxHeld + 2*prober.PageSize
		if lose {
			most = 64<<16 + 2*prober.PageSize
		}
		if held := lab.Held(); held > most {
			t.Errorf("memory for %d probes, want at most %d", held, most)
		}
	}
}
