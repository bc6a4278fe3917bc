package prober_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/codec"
	"iomux/transport"
)

func TestProbesOfBothFamilies(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list(hostA.String(), hostA6.String(), hostB.String()), Count: 2, Interval: 300 * ms})
	lab.v6.onSend = func(p probe) error { p.answer(10 * ms); return nil }
	lab.Start()
	lab.run(5 * time.Second)
	lab.wantSent(lab.v4, "0s 192.0.2.1", "200ms 192.0.2.2", "300ms 192.0.2.1", "500ms 192.0.2.2")
	lab.wantSent(lab.v6, "100ms 2001:db8::1", "400ms 2001:db8::1")
	lab.wantCounts(6, counts{stats.Reply: 2, stats.Timeout: 4})
	lab.wantNothingToDo()
}

// Those of a single target are the numbers of its probes.
func TestSequenceNumbersBeginWithOne(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list(hostA.String()), Count: 3, Interval: time.Second})
	lab.Start()
	lab.run(5 * time.Second)
	for i, p := range lab.v4.sent {
		if int(p.seq) != i+1 {
			t.Errorf("probe %d has sequence number %d", i+1, p.seq)
		}
	}
	lab.wantCounts(3, counts{stats.Timeout: 3})
}

// A timer is armed although the first of a batch ended at once, or was answered.
func TestEachTimeoutIsNoticed(t *testing.T) {
	for _, first := range []string{"send error", "reply"} {
		lab := newLab(t, prober.Config{Targets: list(hostA.String(), hostB.String()), Count: 3, Window: 2})
		lab.v4.onSend = func(p probe) error {
			if p.to != hostA {
				return nil
			}
			if first == "reply" {
				p.answer(0)
				return nil
			}
			return syscall.ENETUNREACH
		}
		lab.Start()
		lab.run(time.Minute)
		if c := lab.Total().Counts(); c.Of[stats.Timeout] != 3 || c.InFlight() != 0 || lab.ndones != 1 {
			t.Errorf("after a %s: %+v, done %d times", first, c, lab.ndones)
		}
	}
}

func TestBlockedProbesAreSentWhenThereIsRoom(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list("192.0.2.1-5"), Count: 1})
	lab.v4.room = 2
	lab.v4.at(300*ms, func() { lab.v4.room = 1 })
	lab.v4.at(600*ms, func() { lab.v4.room = unlimited })
	lab.Start()
	lab.run(5 * time.Second)
	lab.wantSent(lab.v4, "0s 192.0.2.1", "0s 192.0.2.2", "300ms 192.0.2.3", "600ms 192.0.2.4", "600ms 192.0.2.5")
	lab.want("1s 192.0.2.1 timeout 1", "1s 192.0.2.2 timeout 1", "1.3s 192.0.2.3 timeout 1",
		"1.6s 192.0.2.4 timeout 1", "1.6s 192.0.2.5 timeout 1", "1.6s done")
}

// A transport that stays blocked does not make a run hang.
func TestBlockedProbesAreGivenUp(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list("192.0.2.1-2", "2001:db8::1"), Count: 1})
	lab.v4.room = 0
	lab.v4.update()
	lab.v6.onSend = func(p probe) error { p.answer(500 * ms); return nil } // upon which the others are tried again
	lab.Start()
	lab.run(5 * time.Second)
	const why = "the transport has had no room for it for a whole timeout"
	lab.want("500ms 2001:db8::1 reply 1 rtt 500ms", "1s 192.0.2.1 send error 1: "+why, "1s 192.0.2.2 send error 1: "+why, "1s done")
	lab.wantCounts(1, counts{stats.SendError: 2, stats.Reply: 1})
	lab.wantNothingToDo()
}

func TestSendErrorConcernsOneProbeOfABatch(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list("192.0.2.1-5"), Count: 1})
	lab.v4.onSend = func(p probe) error {
		if p.to == hostB {
			return syscall.EACCES
		}
		p.answer(0)
		return nil
	}
	lab.Start()
	lab.run(2 * time.Second)
	lab.wantCounts(4, counts{stats.SendError: 1, stats.Reply: 4})
}

// The loop sleeps while the window is full.
func TestFullWindowDoesNotSpin(t *testing.T) {
	lab := newLab(t, prober.Config{Interval: 10 * ms, Window: 1, Count: 3})
	lab.Start()
	lab.run(10 * time.Second)
	lab.wantSent(lab.v4, "0s 192.0.2.1", "1s 192.0.2.1", "2s 192.0.2.1")
	lab.wantNothingToDo()
}

func TestWindowOfOneWaitsForEachAnswer(t *testing.T) {
	lab := newLab(t, prober.Config{Window: 1, Count: 3, Targets: list(hostA.String(), hostB.String())})
	lab.v4.onSend = func(p probe) error { p.answer(70 * ms); return nil }
	lab.Start()
	lab.run(10 * time.Second)
	lab.wantSent(lab.v4, "0s 192.0.2.1", "70ms 192.0.2.2", "140ms 192.0.2.1", "210ms 192.0.2.2", "280ms 192.0.2.1", "350ms 192.0.2.2")
}

func TestRetriesFollowTheirBackoff(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 1, Retries: 3, Backoff: 2})
	lab.Start()
	lab.run(time.Minute)
	lab.wantSent(lab.v4, "0s 192.0.2.1", "1s 192.0.2.1", "3s 192.0.2.1", "7s 192.0.2.1")
	lab.want("1s 192.0.2.1 timeout 1 again", "2s 192.0.2.1 timeout 1.1 again", "4s 192.0.2.1 timeout 1.2 again",
		"8s 192.0.2.1 timeout 1.3", "8s done")
	lab.wantCounts(4, counts{stats.Timeout: 4})
}

func TestAnsweredRetryIsTheLast(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 1, Retries: 3, Data: sixteen})
	lab.v4.onSend = func(p probe) error {
		if p.at > 0 {
			p.answer(10 * ms)
		} else {
			p.answer(1005 * ms) // late, and for the first try
		}
		return nil
	}
	lab.Start()
	lab.run(time.Minute)
	lab.want("1s 192.0.2.1 timeout 1 again", "1.005s 192.0.2.1 late 1 rtt 1.005s", "1.01s 192.0.2.1 reply 1.1 rtt 10ms", "1.01s done")
}

// The second try of a probe is sent after the probes that followed the first one, so
// that an answer to it which comes after theirs is in order.
func TestAnswerToARetryIsInOrder(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 2, Interval: 500 * ms, Retries: 1, TargetStats: true})
	n := 0
	lab.v4.onSend = func(p probe) error {
		if n++; n > 1 {
			p.answer(10 * ms)
		}
		return nil
	}
	lab.Start()
	lab.run(5 * time.Second)
	lab.wantCounts(3, counts{stats.Timeout: 1, stats.Reply: 2})
}

// Retries come out of what Rate allows, and do not delay rounds that it leaves alone.
func TestRetriesAndPace(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  prober.Config
		sent int // within ten seconds, 0 to 9.95 s
	}{
		{"at the rate", prober.Config{Rate: 10, Retries: 3}, 100},
		{"below the rate", prober.Config{Rate: 100, Interval: 100 * ms, Retries: 1}, 100 + 90},
		{"without a rate", prober.Config{Interval: 100 * ms, Retries: 1}, 100 + 90},
		{"above what is left", prober.Config{Rate: 15, Interval: 100 * ms, Retries: 9}, 150},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab := newLab(t, c.cfg)
			lab.Start()
			lab.run(9950 * ms)
			if n := len(lab.v4.sent); n < c.sent-12 || n > c.sent+1 {
				t.Errorf("%d sent, want %d", n, c.sent)
			}
			for i, p := range lab.v4.sent {
				if r := c.cfg.Rate; r > 0 && float64(i) > p.at.Seconds()*r+3 {
					t.Fatalf("%d are sent by %v", i+1, p.at)
				}
			}
		})
	}
}

// Retries of a stalled moment keep to the rate when the schedule is over.
func TestRetriesAfterTheScheduleKeepToTheRate(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list("192.0.2.0/26"), Count: 1, Rate: 1000, Timeout: 2 * time.Second, Retries: 1})
	lab.v4.room = 0
	lab.v4.at(time.Second, func() { lab.v4.room = unlimited })
	lab.v4.update()
	lab.Start()
	lab.run(time.Minute)
	retries := lab.v4.sent[64:]
	if len(retries) != 64 {
		t.Fatalf("%d retries", len(retries))
	}
	for i, p := range retries { // those of a slot, 20 ms, together
		if allowed := retries[0].at + time.Duration(i-21)*ms; p.at < allowed {
			t.Fatalf("retry %d at %v, want at %v or later", i, p.at, allowed)
		}
	}
	lab.wantCounts(128, counts{stats.Timeout: 128})
}

// Many retries are due at once, right after the schedule was put off.
func TestRetriesAfterAStallAreNotTheEnd(t *testing.T) {
	for _, c := range []struct {
		targets string
		window  int
		blocked time.Duration
	}{{"192.0.2.1-12", 10, 0}, {"192.0.2.0-199", 64, 500 * ms}} {
		lab := newLab(t, prober.Config{Targets: list(c.targets), Count: 1, Rate: 1000, Window: c.window, Retries: 1})
		if c.blocked > 0 {
			lab.v4.room = 0
			lab.v4.at(c.blocked, func() { lab.v4.room = unlimited })
			lab.v4.update()
		}
		lab.Start()
		lab.run(time.Hour)
		if lab.ndones != 1 {
			t.Errorf("%s: after an hour: %+v, done %d times", c.targets, lab.Total().Counts(), lab.ndones)
		}
	}
}

// Each probe has one verdict, whatever else comes.
func TestLastIsTheLast(t *testing.T) {
	last := 0
	lab := newLab(t, prober.Config{Count: 1, Retries: 1, Data: sixteen, OnResult: func(r *prober.Result) {
		if r.Last {
			last++
		}
	}})
	lab.v4.onSend = func(p probe) error {
		p.w.deliver(p.at+10*ms, router, p.reply(p.data)) // wrong source
		p.answer(1100 * ms)                              // late, which ends the retry too
		p.answer(1200 * ms)
		return nil
	}
	lab.Start()
	lab.run(time.Minute)
	if last != 1 {
		t.Errorf("%d results are the last", last)
	}
}

func TestNothingIsCountedAfterStop(t *testing.T) {
	var lab *lab
	var specs []string
	for i := range 64 {
		specs = append(specs, fmt.Sprintf("fe80::%x%%nosuch", i+1))
	}
	lab = newLab(t, prober.Config{Targets: list(specs...), Count: 1, OnResult: func(*prober.Result) { lab.Stop() }})
	lab.Start()
	if c := lab.Total().Counts(); c.Finished() != 1 {
		t.Errorf("%d were counted, want the one in whose callback it was stopped", c.Finished())
	}
}

func TestSendErrorsAndICMPErrorsAreNotRetried(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list(hostA.String(), hostB.String()), Count: 1, Retries: 3})
	lab.v4.onSend = func(p probe) error {
		if p.to == hostB {
			return syscall.EACCES
		}
		p.raw = slices.Clone(p.raw)
		p.error(ms, codec.Message{Type: codec.DestinationUnreachable, Quote: p.packet()})
		return nil
	}
	lab.Start()
	lab.run(time.Minute)
	lab.wantCounts(1, counts{stats.SendError: 1, stats.ICMPError: 1})
}

// More probes are in flight than there are sequence numbers.
func TestMoreInFlightThanSequenceNumbers(t *testing.T) {
	for _, data := range [][]byte{sixteen, nil} {
		lab := newLab(t, prober.Config{Targets: list("10.0.0.0/15"), Count: 1, Window: prober.MaxWindow, Data: data,
			OnResult: func(r *prober.Result) {
				if r.Outcome != stats.Reply || r.RTT != 700*ms {
					t.Fatalf("%+v", *r)
				}
			}})
		lab.v4.quiet = true
		var all []probe
		lab.v4.onSend = func(p probe) error {
			p.data = slices.Clone(p.data)
			all = append(all, p)
			return nil
		}
		lab.v4.at(700*ms, func() {
			for _, p := range all {
				lab.v4.queue = append(lab.v4.queue, messageFrom(p))
			}
		})
		lab.Start()
		lab.run(2 * time.Second)
		lab.wantCounts(1<<17, counts{stats.Reply: 1 << 17})
	}
}

// One host is probed faster than there are sequence numbers.
func TestSequenceNumbersOfOneTargetComeAround(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 200_000, Window: prober.MaxWindow, Data: sixteen,
		OnResult: func(r *prober.Result) {
			if r.Outcome != stats.Reply || r.RTT != time.Duration(r.Number%7)*ms {
				t.Fatalf("%+v", *r)
			}
		}})
	lab.v4.quiet = true
	n := 0
	buckets := make([][]probe, 7) // by how long they take
	for i := range buckets {
		if i > 0 {
			lab.v4.at(time.Duration(i)*ms, func() {
				for _, p := range buckets[i] {
					lab.v4.queue = append(lab.v4.queue, messageFrom(p))
				}
			})
		}
	}
	lab.v4.onSend = func(p probe) error {
		n++
		p.data = slices.Clone(p.data)
		if n%7 == 0 {
			p.w.queue = append(p.w.queue, messageFrom(p))
		} else {
			buckets[n%7] = append(buckets[n%7], p)
		}
		return nil
	}
	lab.Start()
	lab.run(2 * time.Second)
	lab.wantCounts(200_000, counts{stats.Reply: 200_000})
}

// Serial numbers pass 32 bits.
func TestSerialNumbersPass32Bits(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 1000, Data: sixteen, Interval: ms})
	lab.Advance(1<<32 - 1<<9 - 1<<9)
	lab.v4.stamped = true
	lab.v4.onSend = func(p probe) error { p.answer(5 * ms); return nil }
	lab.Start()
	lab.run(5 * time.Second)
	lab.wantCounts(1000, counts{stats.Reply: 1000})
}

func messageFrom(p probe) (m transport.Message) {
	m.Buf = p.reply(p.data)
	m.Peer = netip.AddrPortFrom(p.to, 0)
	return m
}

// Stop and Close may be called in every callback, in the middle of a batch.
func TestStopAndCloseInEveryCallback(t *testing.T) {
	for _, kind := range []string{"reply", "timeout", "send error", "icmp error", "duplicate", "late", "forged", "local drop", "done", "failure"} {
		for _, call := range []string{"Stop", "Close"} {
			t.Run(kind+"/"+call, func(t *testing.T) {
				lab := newLab(t, prober.Config{Targets: list("192.0.2.1-9"), Count: 3, Retries: 1, Data: sixteen, Window: 9})
				calls := 0
				lab.onLog = func(line string) {
					if !strings.Contains(line, kind) {
						return
					}
					calls++
					if call == "Stop" {
						lab.Stop()
					} else if err := lab.Close(); err != nil {
						t.Error(err)
					}
					lab.ended = true
				}
				n := 0
				lab.v4.onSend = func(p probe) error {
					n++
					switch {
					case kind == "send error" && n == 5:
						return syscall.EACCES
					case kind == "icmp error":
						p.raw = slices.Clone(p.raw)
						p.error(ms, codec.Message{Type: codec.DestinationUnreachable, Quote: p.packet()})
					case kind == "late":
						p.answer(1100 * ms)
					case kind == "forged":
						p.w.deliver(p.at+ms, p.to, p.reply(forged(p.data)))
					case kind == "duplicate":
						p.answer(ms)
						p.answer(ms)
					case kind == "local drop":
						p.w.dropped++
					case kind == "timeout":
					case kind == "failure":
						if n == 1 {
							p.w.at(ms, func() {
								for range 100 {
									p.w.errs = append(p.w.errs, syscall.EBADF)
								}
							})
						}
					default:
						p.answer(ms)
					}
					return nil
				}
				lab.Start()
				lab.run(10 * time.Second)
				if calls != 1 {
					t.Errorf("the callback came %d times, want once; the log is %q", calls, lab.log)
				}
				lab.wantNothingToDo()
			})
		}
	}
}

func TestReceptionThatKeepsFailingStopsTheProber(t *testing.T) {
	lab := newLab(t, prober.Config{Interval: ms})
	lab.v4.at(10*ms, func() {
		for range 100 {
			lab.v4.errs = append(lab.v4.errs, syscall.EBADF)
		}
	})
	lab.Start()
	lab.run(time.Second)
	lab.want("10ms failure: " + syscall.EBADF.Error())
	lab.wantNothingToDo()
}

func TestReceptionThatFailsNowAndThenGoesOn(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 100, Interval: ms})
	lab.v4.onSend = func(p probe) error {
		p.answer(0)
		lab.v4.errs = append(lab.v4.errs, syscall.ENETDOWN)
		return nil
	}
	lab.Start()
	lab.run(2 * time.Second)
	lab.wantCounts(100, counts{stats.Reply: 100})
}

func TestStartIsOnce(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 1})
	lab.Start()
	lab.Start()
	lab.run(2 * time.Second)
	lab.Start()
	lab.run(3 * time.Second)
	lab.wantCounts(1, counts{stats.Timeout: 1})
	lab = newLab(t, prober.Config{Count: 1})
	lab.Stop()
	lab.Start()
	lab.run(2 * time.Second)
	lab.wantCounts(0, nil)
}

// Nothing is allocated for a probe there and back.
func TestNoAllocations(t *testing.T) {
	for _, specs := range [][]string{{"192.0.2.1"}, {"192.0.2.0/24", "2001:db8::/120"}} {
		for _, perTarget := range []bool{false, true} {
			n := 0
			lab := newLab(t, prober.Config{Targets: list(specs...), Data: make([]byte, 56), TargetStats: perTarget, Rate: 100_000, Timeout: 50 * ms,
				OnResult: func(*prober.Result) { n++ }})
			for _, w := range []*wire{lab.v4, lab.v6} {
				w.onSend, w.quiet, w.stamped = nil, true, true
			}
			lab.Start()
			lab.run(500 * ms) // all memory is there
			n = 0
			allocs := testing.AllocsPerRun(5, func() {
				lab.mux.At(lab.now()+10*ms, lab.loop.Stop)
				if err := lab.loop.Run(context.Background()); err != nil {
					t.Fatal(err)
				}
			})
			if n < 5000 {
				t.Fatalf("only %d results", n)
			}
			if per := allocs * 6 / float64(n); per > 0.02 { // the test's own are a few for each Run
				t.Errorf("%v: %v allocations for each probe", specs, per)
			}
		}
	}
}
