package prober_test

import (
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/codec"
	"iomux/transport"
)

// sixteen bytes of data, of which the first 8 are replaced by the cookie.
var sixteen = []byte("0123456789abcdef")

// flipped is data with one byte altered.
func flipped(data []byte, i int) []byte {
	d := slices.Clone(data)
	d[i] ^= 0x40
	return d
}

// forged is data with another cookie.
func forged(data []byte) []byte {
	d := slices.Clone(data)
	for i := range 8 {
		d[i] ^= 0xFF
	}
	return d
}

// One probe with a timeout of a second, and what becomes of it: the counts of
// everything else stay zero.
func TestEachOutcome(t *testing.T) {
	lost := counts{stats.Timeout: 1}
	with := func(o stats.Outcome, n uint64) counts { return counts{stats.Timeout: 1, o: n} }
	for _, c := range []struct {
		name   string
		onSend func(probe) error
		cfg    func(*prober.Config)
		want   counts
		stray  uint64
		only4  bool
		check  func(*prober.Result) bool // of the first result
	}{
		{name: "reply", want: counts{stats.Reply: 1},
			onSend: func(p probe) error { p.answer(10 * ms); return nil },
			check: func(r *prober.Result) bool {
				return r.RTT == 10*ms && r.Clock == prober.User && r.TTL == 61 && r.TOS == 8 && r.Size == 24 && len(r.Data) == 16 &&
					r.From == r.Addr && r.Err == nil && r.Code == 0 && r.Number == 1 && r.Last
			}},
		{name: "last byte flipped", want: counts{stats.Corrupt: 1},
			onSend: func(p probe) error { p.w.deliver(p.at+10*ms, p.to, p.reply(flipped(p.data, 15))); return nil },
			check:  func(r *prober.Result) bool { return r.Offset == 15 && r.Err != nil && r.RTT == 10*ms }},
		{name: "first byte flipped", want: counts{stats.Corrupt: 1},
			onSend: func(p probe) error { p.w.deliver(p.at+10*ms, p.to, p.reply(flipped(p.data, 0))); return nil },
			check:  func(r *prober.Result) bool { return r.Offset == 0 && r.Err != nil }},
		{name: "bad checksum", want: counts{stats.Corrupt: 1}, only4: true,
			onSend: func(p probe) error {
				b := p.reply(p.data)
				b[2] ^= 1
				p.w.deliver(p.at+10*ms, p.to, b)
				return nil
			},
			check: func(r *prober.Result) bool { return r.Offset == -1 && r.Err != nil }},
		{name: "code 7", want: counts{stats.Corrupt: 1},
			onSend: func(p probe) error {
				p.w.deliver(p.at+10*ms, p.to, p.w.encode(nil, codec.Echo{Type: codec.EchoReply, Code: 7, ID: p.id, Seq: p.seq, Data: p.data}))
				return nil
			},
			check: func(r *prober.Result) bool { return r.Code == 7 && r.Offset == -1 && r.Err != nil }},
		{name: "longer", want: counts{stats.Corrupt: 1},
			onSend: func(p probe) error { p.w.deliver(p.at+10*ms, p.to, p.reply(append(p.data, 0))); return nil },
			check:  func(r *prober.Result) bool { return r.Offset == -1 && r.Err != nil }},
		{name: "half", want: counts{stats.Truncated: 1},
			onSend: func(p probe) error { p.w.deliver(p.at+10*ms, p.to, p.reply(p.data[:9])); return nil }},
		{name: "within the cookie", want: counts{stats.Truncated: 1},
			onSend: func(p probe) error { p.w.deliver(p.at+10*ms, p.to, p.reply(p.data[:7])); return nil }},
		{name: "empty", want: counts{stats.Truncated: 1},
			onSend: func(p probe) error { p.w.deliver(p.at+10*ms, p.to, p.reply(nil)); return nil }},
		{name: "icmp error", want: counts{stats.ICMPError: 1},
			onSend: func(p probe) error {
				m := codec.Message{Type: codec.DestinationUnreachable, Code: 1, Quote: p.packet()}
				p.error(10*ms, m)
				p.error(20*ms, m)
				return nil
			},
			check: func(r *prober.Result) bool {
				return (r.Type == 3 && r.From == router || r.Type == 1 && r.From == router6) && r.Code == 1 && r.Err == nil && r.RTT == 0
			}},
		{name: "icmp error that quotes no cookie", want: counts{stats.ICMPError: 1}, only4: true,
			onSend: func(p probe) error {
				p.error(10*ms, codec.Message{Type: codec.TimeExceeded, Quote: p.packet()[:28]})
				return nil
			}},
		{name: "fragmentation needed", want: counts{stats.ICMPError: 1}, only4: true,
			onSend: func(p probe) error {
				p.error(10*ms, codec.Message{Type: codec.DestinationUnreachable, Code: 4, MTU: 1300, Quote: p.packet()})
				return nil
			},
			check: func(r *prober.Result) bool { return r.MTU == 1300 }},
		{name: "report of the error queue", want: counts{stats.ICMPError: 1},
			onSend: func(p probe) error {
				raw := slices.Clone(p.raw)
				p.w.at(p.at+10*ms, func() {
					r := transport.ErrorReport{Peer: netip.AddrPortFrom(p.to, 0), From: router, Type: 3, Code: 1, MTU: 99}
					r.SetQuote(raw)
					p.w.reports = append(p.w.reports, r)
				})
				return nil
			},
			check: func(r *prober.Result) bool {
				return r.From == router && r.Type == 3 && r.Code == 1 && r.MTU == 99
			}},
		{name: "report about another program's probe", want: lost, stray: 1,
			onSend: func(p probe) error {
				raw := slices.Clone(p.raw)
				raw[4] ^= 1
				p.w.at(p.at+10*ms, func() {
					r := transport.ErrorReport{Peer: netip.AddrPortFrom(p.to, 0), From: router, Type: 3, Code: 1}
					r.SetQuote(raw)
					p.w.reports = append(p.w.reports, r)
				})
				return nil
			}},
		{name: "local drop", want: counts{stats.LocalDrop: 1},
			onSend: func(p probe) error { p.w.at(p.at+10*ms, func() { p.w.dropped++ }); return nil }},
		{name: "timeout", want: lost, onSend: func(probe) error { return nil },
			check: func(r *prober.Result) bool { return r.RTT == 0 && r.Last && !r.From.IsValid() }},
		{name: "three duplicates", want: counts{stats.Reply: 1, stats.Duplicate: 3},
			onSend: func(p probe) error {
				for i := range 4 {
					p.answer(time.Duration(i+1) * 10 * ms)
				}
				return nil
			}},
		{name: "late", want: with(stats.Late, 1),
			onSend: func(p probe) error { p.answer(1500 * ms); return nil }},
		{name: "late after an error", want: counts{stats.ICMPError: 1, stats.Late: 1},
			onSend: func(p probe) error {
				p.error(10*ms, codec.Message{Type: codec.DestinationUnreachable, Quote: p.packet()})
				p.answer(20 * ms)
				return nil
			}},
		{name: "wrong source", want: with(stats.WrongSource, 1),
			onSend: func(p probe) error { p.w.deliver(p.at+10*ms, router, p.reply(p.data)); return nil },
			check: func(r *prober.Result) bool {
				return r.From == router && r.Addr != r.From && r.Number == 1
			}},
		{name: "wrong source without a cookie", want: with(stats.Forged, 1),
			cfg:    func(c *prober.Config) { c.Verbatim = true },
			onSend: func(p probe) error { p.w.deliver(p.at+10*ms, router, p.reply(p.data)); return nil }},
		{name: "forged cookie", want: with(stats.Forged, 1),
			onSend: func(p probe) error { p.w.deliver(p.at+10*ms, p.to, p.reply(forged(p.data))); return nil },
			check:  func(r *prober.Result) bool { return r.Target == prober.NoTarget && !r.Addr.IsValid() }},
		{name: "damaged cookie from elsewhere", want: with(stats.Forged, 1),
			onSend: func(p probe) error { p.w.deliver(p.at+10*ms, router, p.reply(flipped(p.data, 0))); return nil }},
		{name: "forged sequence number", want: with(stats.Forged, 1),
			onSend: func(p probe) error { p.seq = 0xFFFF; p.answer(10 * ms); return nil }},
		{name: "forged error", want: with(stats.Forged, 1),
			onSend: func(p probe) error {
				copy(p.raw[8:], forged(p.raw[8:]))
				p.error(10*ms, codec.Message{Type: codec.DestinationUnreachable, Quote: p.packet()})
				return nil
			}},
		{name: "foreign identifier", want: lost, stray: 1,
			onSend: func(p probe) error { p.id ^= 1; p.answer(10 * ms); return nil }},
		{name: "foreign error", want: lost, stray: 1,
			onSend: func(p probe) error {
				p.raw = slices.Clone(p.raw)
				p.raw[4] ^= 1
				p.error(10*ms, codec.Message{Type: codec.DestinationUnreachable, Quote: p.packet()})
				return nil
			}},
		{name: "error with half a quote", want: lost, stray: 1,
			onSend: func(p probe) error {
				p.error(10*ms, codec.Message{Type: codec.DestinationUnreachable, Quote: p.packet()[:12]})
				return nil
			}},
		{name: "own request", want: lost, stray: 1,
			onSend: func(p probe) error { p.w.deliver(p.at+10*ms, p.to, p.raw); return nil }},
		{name: "four bytes and none", want: lost, stray: 2,
			onSend: func(p probe) error {
				p.w.deliver(p.at+10*ms, p.to, p.raw[:4])
				p.w.deliver(p.at+10*ms, p.to, nil)
				return nil
			}},
		{name: "send error", want: counts{stats.SendError: 1},
			onSend: func(probe) error { return syscall.EACCES },
			check:  func(r *prober.Result) bool { return r.Err == syscall.EACCES && r.Last }},
		{name: "nothing but the sequence number", want: counts{stats.Reply: 1, stats.Duplicate: 1},
			cfg:    func(c *prober.Config) { c.Data = nil },
			onSend: func(p probe) error { p.answer(10 * ms); p.answer(11 * ms); return nil }},
	} {
		for _, v6 := range []bool{false, true} {
			name := c.name + "/4"
			if v6 {
				name = c.name + "/6"
				if c.only4 {
					continue
				}
			}
			t.Run(name, func(t *testing.T) {
				var first *prober.Result
				cfg := prober.Config{Count: 1, Data: sixteen, Targets: list(hostA.String()), TargetStats: true,
					OnResult: func(r *prober.Result) {
						if first == nil {
							first = new(prober.Result)
							*first = *r
							if c.check != nil && !c.check(r) {
								t.Errorf("%+v", *r)
							}
						}
					}}
				if v6 {
					cfg.Targets = list(hostA6.String())
				}
				if c.cfg != nil {
					c.cfg(&cfg)
				}
				lab := newLab(t, cfg)
				w := lab.v4
				if v6 {
					w = lab.v6
				}
				w.onSend = c.onSend
				lab.Start()
				lab.run(2 * time.Second)
				sent := uint64(1) - c.want[stats.SendError]
				lab.wantCounts(sent, c.want)
				if lab.Stray() != c.stray {
					t.Errorf("%d stray, want %d", lab.Stray(), c.stray)
				}
				if lab.ndones != 1 {
					t.Errorf("OnDone called %d times", lab.ndones)
				}
				lab.wantNothingToDo()
			})
		}
	}
}

func TestAnswersOutOfOrderAreReordered(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 3, Interval: 100 * ms, Data: sixteen, TargetStats: true})
	delays := []time.Duration{250 * ms, 10 * ms, 10 * ms}
	lab.v4.onSend = func(p probe) error { p.answer(delays[p.at/(100*ms)]); return nil }
	lab.Start()
	lab.run(time.Second)
	lab.want("110ms 192.0.2.1 reply 2 rtt 10ms", "210ms 192.0.2.1 reply 3 rtt 10ms", "250ms 192.0.2.1 reordered 1 rtt 250ms", "250ms done")
	lab.wantCounts(3, counts{stats.Reply: 2, stats.Reordered: 1})
	if c := lab.Target(0).Summary().Counts; c != lab.Total().Counts() {
		t.Errorf("%+v", c)
	}
}

// An answer so late that its probe is forgotten is known by its cookie.
func TestVeryLateAnswerIsLate(t *testing.T) {
	lab := newLab(t, prober.Config{Interval: ms, Data: sixteen})
	lab.v4.onSend = func(p probe) error {
		if p.at == 0 {
			p.answer(9 * time.Second)
		} else {
			p.answer(0)
		}
		return nil
	}
	lab.Start()
	lab.run(10 * time.Second)
	if c := lab.Total().Counts(); c.Of[stats.Late] != 1 || c.Of[stats.Forged] != 0 || c.Of[stats.Timeout] != 1 {
		t.Errorf("%+v", c)
	}
}

// What comes about a probe that is forgotten is not forged.
func TestWhatIsForgottenIsNotForged(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		send func(probe)
		late uint64
	}{
		{"an error", sixteen, func(p probe) {
			p.error(4*time.Second, codec.Message{Type: codec.DestinationUnreachable, Code: 1, Quote: p.packet()})
		}, 0},
		{"an error about a probe without a cookie", nil, func(p probe) {
			p.error(4*time.Second, codec.Message{Type: codec.DestinationUnreachable, Code: 1, Quote: p.packet()})
		}, 0},
		{"an answer", sixteen, func(p probe) { p.answer(4 * time.Second) }, prober.PageSize},
		{"an answer without a cookie", nil, func(p probe) { p.answer(4 * time.Second) }, prober.PageSize},
	} {
		lab := newLab(t, prober.Config{Targets: list("10.0.0.0/16"), Count: 1, Rate: 10_000, Data: c.data, OnResult: func(*prober.Result) {}})
		lab.v4.quiet = true
		n := 0
		lab.v4.onSend = func(p probe) error {
			if n++; n <= prober.PageSize {
				c.send(p)
			}
			return nil
		}
		lab.Start()
		lab.run(time.Minute)
		lab.wantCounts(1<<16, counts{stats.Timeout: 1 << 16, stats.Late: c.late})
		if t.Failed() {
			t.Fatal(c.name)
		}
	}
}

// A probe that waits for room cannot have been answered.
func TestAnswerToAQueuedProbeIsForged(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 2, Interval: 100 * ms}) // without a cookie
	lab.v4.room = 1
	lab.v4.onSend = func(p probe) error { p.answer(10 * ms); return nil }
	lab.v4.at(500*ms, func() { lab.v4.room = unlimited })
	lab.Start()
	lab.v4.deliver(200*ms, hostA, lab.v4.encode(nil, codec.Echo{Type: codec.EchoReply, ID: lab.v4.id, Seq: 2}))
	lab.run(5 * time.Second)
	lab.wantCounts(2, counts{stats.Reply: 2, stats.Forged: 1})
}

// An error that quotes no cookie may be of another target, which knows what is not
// secret. A genuine answer refutes it.
func TestErrorWithoutACookieIsInDoubt(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list(hostA.String(), hostB.String()), Count: 1, Data: sixteen})
	lab.v4.onSend = func(p probe) error {
		p.error(10*ms, codec.Message{Type: codec.DestinationUnreachable, Code: 3, Quote: p.packet()[:28]})
		if p.to == hostB {
			p.answer(20 * ms)
		}
		return nil
	}
	lab.Start()
	lab.run(5 * time.Second)
	lab.want("20ms 192.0.2.2 reply 1 rtt 20ms", "1s 192.0.2.1 icmp error 1", "1s done")
}

func TestDoubtsAreBounded(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list("10.0.0.0/16"), Count: 1, Rate: 20_000, Data: sixteen, OnResult: func(*prober.Result) {}})
	lab.v4.quiet = true
	lab.v4.onSend = func(p probe) error {
		p.error(10*ms, codec.Message{Type: codec.DestinationUnreachable, Code: 3, Quote: p.packet()[:28]})
		p.answer(20 * ms)
		return nil
	}
	lab.Start()
	lab.run(time.Minute)
	lab.wantCounts(1<<16, counts{stats.Reply: 1 << 16})
	if n := lab.Doubts(); n > prober.MaxDoubts {
		t.Errorf("%d are remembered, want at most %d", n, prober.MaxDoubts)
	}
	if lab.Stray() > 1<<10 {
		t.Errorf("%d errors were not remembered, although the probes before were answered", lab.Stray())
	}
}

// Drops of long ago explain nothing.
func TestOldDropsExplainNoTimeout(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 2, Interval: time.Hour})
	lab.v4.at(time.Minute, func() { lab.v4.dropped = 5 })
	lab.Start()
	lab.run(2 * time.Hour)
	lab.wantCounts(2, counts{stats.Timeout: 2})
}

func TestRoundTripTimeIsTheKernels(t *testing.T) {
	var clocks []prober.Clock
	lab := newLab(t, prober.Config{Count: 2, Interval: 100 * ms, Data: sixteen,
		OnResult: func(r *prober.Result) {
			if r.RTT != 10*ms {
				t.Errorf("%+v", r)
			}
			clocks = append(clocks, r.Clock)
		}})
	lab.v4.stamped = true
	lab.v4.onSend = func(p probe) error {
		if p.at > 0 { // the wall clock has been set back
			b := p.reply(p.data)
			p.w.at(p.at+10*ms, func() {
				p.w.queue = append(p.w.queue, transport.Message{Buf: b, Peer: netip.AddrPortFrom(p.to, 0), Time: start.Add(-time.Hour)})
			})
		} else {
			p.answer(10 * ms)
		}
		return nil
	}
	lab.Start()
	lab.run(50 * ms)
	if lab.ClockSteps() != 0 {
		t.Error("a clock step where there is none")
	}
	lab.run(time.Second)
	if !slices.Equal(clocks, []prober.Clock{prober.Kernel, prober.User}) {
		t.Errorf("clocks %v, want the kernel's, and the user's where that was set", clocks)
	}
	if lab.ClockSteps() != 1 {
		t.Errorf("%d clock steps, want 1", lab.ClockSteps())
	}
}

func TestManyAnswerAProbeThatWasSentToMany(t *testing.T) {
	for _, data := range [][]byte{nil, sixteen} {
		lab := newLab(t, prober.Config{Count: 1, Data: data, Targets: list("224.0.0.1")})
		lab.v4.onSend = func(p probe) error {
			p.w.deliver(p.at+10*ms, hostA, p.reply(p.data))
			p.w.deliver(p.at+10*ms, hostB, p.reply(p.data))
			return nil
		}
		lab.Start()
		lab.run(2 * time.Second)
		lab.wantCounts(1, counts{stats.Reply: 1, stats.Duplicate: 1})
	}
}
