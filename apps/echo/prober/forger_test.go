package prober_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/mux"
	"iomux/transport"
)

// forgery is a kind of message that a forger who sees the requests sends beside the
// honest reply.
type forgery struct {
	name string
	make func(f *forger, r *request) []byte
	want stats.Outcome // of each
	// foreign messages have none: the kernel discards them, and without one they are
	// stray.
	foreign bool
}

// forger remembers what it has seen.
type forger struct {
	random   *rand.Rand
	previous *request // the request before, of another probe
}

// forgedTime puts a time in the place where ping(8) has it.
func forgedTime(ns int64) func(*forger, *request) []byte {
	return func(_ *forger, r *request) []byte {
		return r.reply(with(func(d []byte) []byte {
			binary.NativeEndian.PutUint64(d, uint64(ns/1e9))
			binary.NativeEndian.PutUint64(d[8:], uint64(ns%1e9/1e3))
			return d
		}))
	}
}

// cookie is a reply with another cookie.
func (f *forger) cookie(r *request, change ...func(*echo)) []byte {
	return r.reply(append(change, with(func(d []byte) []byte {
		binary.NativeEndian.PutUint64(d, f.random.Uint64())
		return d
	}))...)
}

func fromNobody(r *request) func(*echo) { return func(e *echo) { e.src = r.nobody() } }

var forgedReplies = []forgery{
	{name: "a time of zero", want: stats.Forged, make: forgedTime(0)},
	{name: "a time in the future", want: stats.Forged, make: forgedTime(1 << 60)},
	{name: "the earliest time", want: stats.Forged, make: forgedTime(math.MinInt64)},
	{name: "another cookie", want: stats.Forged, make: func(f *forger, r *request) []byte { return f.cookie(r) }},
	{name: "the cookie of another probe", want: stats.Forged, make: func(f *forger, r *request) []byte {
		return r.reply(with(func(d []byte) []byte { copy(d, f.previous.data[:cookieSize]); return d }))
	}},
	{name: "another sequence number", want: stats.Forged, make: func(f *forger, r *request) []byte {
		return r.reply(func(e *echo) { e.seq ^= 0x8000 })
	}},
	{name: "another source", want: stats.WrongSource, make: func(f *forger, r *request) []byte { return r.reply(fromNobody(r)) }},
	{name: "another target as its source", want: stats.WrongSource, make: func(f *forger, r *request) []byte {
		return r.reply(func(e *echo) { e.src = far(900, r.v6) })
	}},
	{name: "another source and cookie", want: stats.Forged, make: func(f *forger, r *request) []byte { return f.cookie(r, fromNobody(r)) }},
	{name: "another source and no cookie", want: stats.Forged, make: func(f *forger, r *request) []byte {
		return r.reply(fromNobody(r), with(func([]byte) []byte { return nil }))
	}},
	{name: "another identifier", foreign: true, make: func(f *forger, r *request) []byte {
		return r.reply(func(e *echo) { e.id ^= uint16(1 + f.random.IntN(1<<16-1)) })
	}},
	{name: "another identifier and source", foreign: true, make: func(f *forger, r *request) []byte {
		return r.reply(fromNobody(r), func(e *echo) { e.id++ })
	}},
}

var forgedErrors = []forgery{
	{name: "an error with another cookie", want: stats.Forged, make: func(f *forger, r *request) []byte {
		return r.error(unreachable, 1, 0, r.quote(wholeQuote, func(b []byte) {
			binary.NativeEndian.PutUint64(b[r.ipLen(echoHeader):], f.random.Uint64())
		}))
	}},
	{name: "an error about another destination", want: stats.Forged, make: func(f *forger, r *request) []byte {
		return r.error(exceeded, 0, 0, r.quote(wholeQuote, func(b []byte) { b[r.header()-1] ^= 0x40 }))
	}},
	{name: "an error about another destination without a cookie", want: stats.Forged, make: func(f *forger, r *request) []byte {
		return r.error(exceeded, 0, 0, r.quote(8, func(b []byte) { b[r.header()-1] ^= 0x40 }))
	}},
	{name: "an error about another identifier", foreign: true, make: func(f *forger, r *request) []byte {
		return r.error(unreachable, 1, 0, r.quote(wholeQuote, func(b []byte) { b[r.ipLen(5)] ^= 0x55 }))
	}},
}

// A forger among the honest replies changes nothing but the counters of what is
// forged, and of wrong sources.
func TestForgerChangesNoStatistic(t *testing.T) {
	for _, kinds := range []struct {
		name string
		all  []forgery
	}{{"replies", forgedReplies}, {"errors", forgedErrors}} {
		for _, column := range columns {
			t.Run(kinds.name+"/"+column.name, func(t *testing.T) {
				open, far := column.open, transport.Transport(nil)
				if column.framed {
					here, there := newPipe(t)
					open = func(prober.Opening) (transport.Transport, error) { return here, nil }
					far = there
				} else {
					far = openCable(t)
				}
				forge(t, kinds.all, column.v6, column.framed, open, newPeer(t, far))
			})
		}
	}
}

// forge probes sixteen targets, with a forger that sends one message of each kind
// for each probe: half of them before the honest reply, and half of them after it.
func forge(t *testing.T, kinds []forgery, v6, framed bool, open func(prober.Opening) (transport.Transport, error), peer *peer) {
	const targets, rounds = 16, 128
	const n = targets * rounds
	l := newLoop(t, "")
	f := &forger{random: rand.New(rand.NewPCG(1, 2))}
	var last *request
	cfg := prober.Config{Targets: list(pick(v6, "198.19.0.1-16", "2001:db8:19::1-2001:db8:19::10")), Count: rounds, Window: 32,
		Data: pattern(56), TargetStats: true, Open: open,
		// All that the forger has sent came before a duplicate.
		OnDone: func() { peer.send(last.reply()) },
		OnResult: func(r *prober.Result) {
			if r.RTT < 0 || r.RTT > patience || r.Outcome == stats.Forged && r.RTT != 0 {
				t.Errorf("%v: a round-trip time of %v", r.Outcome, r.RTT)
			}
			if r.Outcome == stats.Duplicate {
				l.Stop()
			}
		}}
	if framed {
		cfg.Source = pick(v6, near4, near6)
	}
	p := newProber(t, l, cfg)
	peer.drain()
	if _, err := l.Watch(peer.tr.FD(), mux.Readable, func(mux.Event) {
		for _, r := range peer.receive() {
			if r.v6 != v6 {
				continue
			}
			f.previous, last = last, r
			if f.previous == nil {
				f.previous = &request{data: make([]byte, cookieSize)}
			}
			for i, k := range kinds {
				if i == len(kinds)/2 && r.seq%2 == 0 || i == 0 && r.seq%2 != 0 {
					peer.send(r.reply())
				}
				peer.send(k.make(f, r))
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	p.Start()
	run(t, l)

	want, stray := stats.Counts{Sent: n}, uint64(0)
	want.Of[stats.Reply], want.Of[stats.Duplicate] = n, 1
	ofTarget := stats.Counts{Sent: rounds}
	ofTarget.Of[stats.Reply] = rounds
	for _, k := range kinds {
		switch {
		case !k.foreign:
			want.Of[k.want] += n
			if k.want == stats.WrongSource {
				ofTarget.Of[k.want] += rounds
			}
		case framed:
			stray += n
		}
	}
	total := p.Total().Summary()
	if total.Counts != want || p.Stray() != stray {
		t.Errorf("the counts are\n\t%+v and %d stray, want\n\t%+v and %d", total.Counts, p.Stray(), want, stray)
	}
	if total.Min <= 0 || total.Max > patience || total.Mean > total.Max || total.Jitter > total.Max {
		t.Errorf("the times are %+v", total)
	}
	if p.ClockSteps() != 0 {
		t.Errorf("%d clock steps", p.ClockSteps())
	}
	for i := range uint64(targets) {
		c := p.Target(i).Counts()
		if c.Of[stats.Duplicate]--; i < targets-1 {
			c.Of[stats.Duplicate]++
		}
		if c != ofTarget {
			t.Errorf("target %d: %+v, want %+v", i, c, ofTarget)
		}
	}
}

// Answers with the times of a peer are measured here all the same.
func TestPeerDoesNotMakeTheRoundTripTime(t *testing.T) {
	for _, column := range columns {
		t.Run(column.name, func(t *testing.T) {
			open, far := column.open, transport.Transport(nil)
			if column.framed {
				here, there := newPipe(t)
				open = func(prober.Opening) (transport.Transport, error) { return here, nil }
				far = there
			} else {
				far = openCable(t)
			}
			peer := newPeer(t, far)
			peer.drain()
			l := newLoop(t, "")
			const delay = 20 * time.Millisecond
			cfg := prober.Config{Targets: list(pick(column.v6, "198.19.0.1", "2001:db8:19::1")), Count: 1, Data: pattern(56), Open: open, OnDone: l.Stop,
				OnResult: func(r *prober.Result) {
					if r.Outcome != stats.Corrupt || r.RTT < delay/2 || r.RTT > patience {
						t.Errorf("%+v", *r)
					}
				}}
			if column.framed {
				cfg.Source = pick(column.v6, near4, near6)
			}
			p := newProber(t, l, cfg)
			if _, err := l.Watch(peer.tr.FD(), mux.Readable, func(mux.Event) {
				for _, r := range peer.receive() {
					l.AfterFunc(delay, func() {
						peer.send(r.reply(with(func(d []byte) []byte {
							binary.NativeEndian.PutUint64(d[cookieSize:], uint64(time.Now().Add(time.Hour).UnixNano()))
							return d
						})))
					})
				}
			}); err != nil {
				t.Fatal(err)
			}
			p.Start()
			run(t, l)
		})
	}
}
