package prober_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/mux"
	"iomux/mux/loop"
)

// hosts returns n targets.
func hosts(n int) []netip.Addr {
	var hosts []netip.Addr
	for a := netip.MustParseAddr("198.18.0.1"); len(hosts) < n; a = a.Next() {
		hosts = append(hosts, a)
	}
	return hosts
}

func TestAnHourAtAProbePerSecondDoesNotDrift(t *testing.T) {
	lab := newLab(t, prober.Config{OnResult: func(prober.Result) {}})
	lab.wire.onSend = func(p probe) error {
		if want := time.Duration(p.seq-1) * time.Second; p.at != want {
			t.Fatalf("probe %d at %v, want %v", p.seq, p.at, want)
		}
		p.answer(7 * ms)
		return nil
	}
	lab.Start()
	lab.run(time.Hour + 500*ms)
	lab.want() // not done: there is no end
	lab.wantCounts(0, counts{Sent: 3601, Received: 3601})
	if s := lab.Stats(0); s.Min != 7*ms || s.Max != 7*ms {
		t.Errorf("round-trip times from %v to %v", s.Min, s.Max)
	}
}

func TestTheLoopBeingLateDelaysProbesAndSendsNoneTwice(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 4})
	lab.mux.At(500*ms, func() {
		lab.loop.Post(func() { // that takes 3 seconds
			for range 3 {
				lab.mux.Add(9, mux.Readable, 0)
				lab.mux.Wait(make([]mux.Event, 1), time.Second)
			}
		})
	})
	lab.Start()
	lab.run(time.Minute)
	lab.wantSent("0s 192.0.2.1 1", "3.5s 192.0.2.1 2", "4s 192.0.2.1 3", "5s 192.0.2.1 4")
	lab.wantCounts(0, counts{Sent: 4, Lost: 4})
}

func TestTimeoutsAreExact(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 3, Interval: 300 * ms, Timeout: 700 * ms})
	lab.Start()
	lab.run(time.Minute)
	lab.want("700ms 192.0.2.1 timeout 1", "1s 192.0.2.1 timeout 2", "1.3s 192.0.2.1 timeout 3", "1.3s done")
}

// A reply that empties the queue of those that wait, or that is not the first in
// it, changes no timeout of the others.
func TestTimeoutsAreExactBesideReplies(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 5, Interval: 300 * ms, Timeout: 700 * ms})
	lab.wire.onSend = func(p probe) error {
		switch p.seq {
		case 1:
			p.answer(100 * ms)
		case 3:
			p.answer(50 * ms)
		}
		return nil
	}
	lab.Start()
	lab.run(time.Minute)
	lab.want(
		"100ms 192.0.2.1 reply 1 rtt 100ms",
		"650ms 192.0.2.1 reply 3 rtt 50ms",
		"1s 192.0.2.1 timeout 2",
		"1.6s 192.0.2.1 timeout 4",
		"1.9s 192.0.2.1 timeout 5",
		"1.9s done",
	)
}

// 40 probes are answered, then 80 wait at the same time.
func TestTimeoutsKeepTheirOrder(t *testing.T) {
	targets := hosts(40)
	var outcomes []string
	lab := newLab(t, prober.Config{Count: 3, Targets: targets, Interval: 100 * ms, Timeout: 150 * ms, OnResult: func(r prober.Result) {
		outcomes = append(outcomes, fmt.Sprint(r.Outcome, " ", r.Seq, " ", r.Target))
	}})
	lab.wire.onSend = func(p probe) error {
		if p.seq == 1 {
			p.answer(10 * ms)
		}
		return nil
	}
	lab.Start()
	lab.run(time.Minute)
	var want []string
	for _, round := range []string{"reply 1", "timeout 2", "timeout 3"} {
		for i := range targets {
			want = append(want, fmt.Sprint(round, " ", i))
		}
	}
	if !slices.Equal(outcomes, want) {
		t.Errorf("the outcomes are %q, want %q", outcomes, want)
	}
}

func TestTimeoutWithoutEnd(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 1, Timeout: math.MaxInt64})
	lab.wire.onSend = func(p probe) error {
		p.answer(1000 * time.Hour)
		return nil
	}
	lab.Start()
	lab.run(2000 * time.Hour)
	lab.want("1000h0m0s 192.0.2.1 reply 1 rtt 1000h0m0s", "1000h0m0s done")
}

// Each reply makes the next round begin; a lost probe leaves it to the interval.
func TestNextMakesThePaceThatOfTheTarget(t *testing.T) {
	var lab *lab
	lab = newLab(t, prober.Config{Count: 6, Interval: time.Second, Timeout: 300 * ms, OnResult: func(r prober.Result) {
		if r.Outcome == prober.Reply {
			lab.Next()
		}
	}})
	lab.wire.onSend = func(p probe) error {
		if p.seq != 3 {
			p.answer(10 * ms)
		}
		return nil
	}
	lab.Next() // not started
	lab.Start()
	lab.run(time.Minute)
	lab.wantSent("0s 192.0.2.1 1", "10ms 192.0.2.1 2", "20ms 192.0.2.1 3",
		"1.02s 192.0.2.1 4", "1.03s 192.0.2.1 5", "1.04s 192.0.2.1 6")
	lab.wantCounts(0, counts{Sent: 6, Received: 5, Lost: 1})
	lab.Next() // no round is left
	lab.Stop()
	lab.Next()
	lab.wantCounts(0, counts{Sent: 6, Received: 5, Lost: 1})
}

func TestNextWaitsForTheSlowestTarget(t *testing.T) {
	var lab *lab
	lab = newLab(t, prober.Config{Count: 3, Targets: []netip.Addr{hostA, hostB}, Interval: time.Second, Timeout: 300 * ms,
		OnResult: func(prober.Result) { lab.Next() }})
	lab.wire.onSend = func(p probe) error {
		switch {
		case p.to == hostA:
			p.answer(10 * ms)
		case p.seq != 2:
			p.answer(50 * ms)
		}
		return nil
	}
	lab.Start()
	lab.run(time.Minute)
	lab.wantSent("0s 192.0.2.1 1", "0s 192.0.2.2 1", "50ms 192.0.2.1 2", "50ms 192.0.2.2 2",
		"350ms 192.0.2.1 3", "350ms 192.0.2.2 3")
	lab.wantCounts(0, counts{Sent: 3, Received: 3})
	lab.wantCounts(1, counts{Sent: 3, Received: 2, Lost: 1})
}

func TestNextDoesNotHurryWhereNothingCanBeSent(t *testing.T) {
	var lab *lab
	lab = newLab(t, prober.Config{Targets: []netip.Addr{hostA, hostB}, OnResult: func(prober.Result) { lab.Next() }})
	lab.wire.onSend = func(p probe) error { return errors.New("refused") }
	lab.Start()
	lab.run(9500 * ms)
	for i := range 2 {
		lab.wantCounts(i, counts{SendErrors: 10})
	}
}

func TestDefaultsAreASecond(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 2})
	lab.Start()
	lab.run(time.Minute)
	lab.wantSent("0s 192.0.2.1 1", "1s 192.0.2.1 2")
	lab.want("1s 192.0.2.1 timeout 1", "2s 192.0.2.1 timeout 2", "2s done")
}

// 140,000 rounds, the sequence numbers of which begin again twice. Every
// seventh probe is lost, every eleventh answered late and again, every
// thirteenth answered twice; the number decides, so that it falls to different
// sequence numbers each time.
func TestSequenceNumbersBeginAgain(t *testing.T) {
	const rounds = 140_000
	fate := func(n int) string {
		switch {
		case n%7 == 0:
			return "lost"
		case n%11 == 0:
			return "late"
		case n%13 == 0:
			return "twice"
		}
		return "once"
	}
	fates := map[string]uint64{}
	last := map[prober.Outcome]int{} // number of the latest probe with that outcome
	lab := newLab(t, prober.Config{Count: rounds, Interval: ms, Timeout: 5 * ms, OnResult: func(r prober.Result) {
		n := last[r.Outcome] + 1
		for ; ; n++ { // the next one to have it
			f := fate(n)
			switch {
			case r.Outcome == prober.Reply && (f == "once" || f == "twice"),
				r.Outcome == prober.Duplicate && f == "twice",
				r.Outcome == prober.Late && f == "late",
				r.Outcome == prober.Timeout && (f == "lost" || f == "late"):
				last[r.Outcome] = n
				if r.Seq != uint16(n) {
					t.Fatalf("%v of sequence number %d, want %d, of probe %d", r.Outcome, r.Seq, uint16(n), n)
				}
				return
			}
			if n > rounds {
				t.Fatalf("%v of sequence number %d, and no probe to be so", r.Outcome, r.Seq)
			}
		}
	}})
	n := 0
	lab.wire.onSend = func(p probe) error {
		n++
		f := fate(n)
		fates[f]++
		switch f {
		case "once":
			p.answer(3500 * time.Microsecond)
		case "twice":
			p.answer(3500 * time.Microsecond)
			p.answer(6500 * time.Microsecond)
		case "late":
			p.answer(6500 * time.Microsecond)
		}
		return nil
	}
	lab.Start()
	lab.run((rounds + 100) * ms)
	lab.wantCounts(0, counts{Sent: rounds, Received: fates["once"] + fates["twice"], Duplicates: fates["twice"],
		Late: fates["late"], Lost: fates["lost"] + fates["late"]})
	lab.wantRefused(0, 0)
	if len(lab.log) != 1 {
		t.Errorf("the log is %q, want it done once", lab.log)
	}
}

func TestRepliesThatAreForgottenAreStray(t *testing.T) {
	// 8 probes are remembered: twice the 4 that may be in flight.
	lab := newLab(t, prober.Config{Interval: 100 * ms, Timeout: 100 * ms, OnResult: func(prober.Result) {}})
	lab.wire.onSend = func(p probe) error {
		switch p.seq {
		case 1:
			p.answer(799 * ms) // the eighth is the latest
		case 2:
			p.answer(801 * ms) // the tenth has its place
		}
		return nil
	}
	lab.Start()
	lab.run(2 * time.Second)
	if s := lab.Stats(0); s.Late != 1 || lab.Stray() != 1 {
		t.Errorf("%d late and %d stray, want 1 and 1", s.Late, lab.Stray())
	}
}

// As many in flight as there are sequence numbers.
func TestTheMostProbesInFlight(t *testing.T) {
	const rounds = 70_000
	for _, lose := range []bool{false, true} {
		t.Run(fmt.Sprint("lost ", lose), func(t *testing.T) {
			next := uint16(1)
			lab := newLab(t, prober.Config{Count: rounds, Interval: ms, Timeout: 65_533 * ms, OnResult: func(r prober.Result) {
				if r.Seq != next {
					t.Fatalf("%v of %d, want %d", r.Outcome, r.Seq, next)
				}
				next++
			}})
			lab.wire.onSend = func(p probe) error {
				if !lose {
					p.answer(65_532 * ms)
				}
				return nil
			}
			lab.Start()
			lab.run(time.Hour)
			if lose {
				lab.wantCounts(0, counts{Sent: rounds, Lost: rounds})
			} else {
				lab.wantCounts(0, counts{Sent: rounds, Received: rounds})
			}
			lab.wantRefused(0, 0)
		})
	}
}

func TestABlockedTransportIsContinuedWhereItStopped(t *testing.T) {
	lab := newLabOn(t, &wire{size: 4}, prober.Config{Count: 2, Targets: hosts(5), Timeout: 300 * ms})
	lab.wire.room = 3
	lab.wire.update()
	lab.wire.onSend = func(p probe) error {
		if p.seq == 2 || p.to != hosts(1)[0] {
			p.answer(10 * ms)
		}
		return nil
	}
	lab.wire.allow(100*ms, 1)
	lab.wire.allow(500*ms, unlimited)
	lab.Start()
	lab.run(time.Minute)
	lab.wantSent(
		"0s 198.18.0.1 1", "0s 198.18.0.2 1", "0s 198.18.0.3 1",
		"100ms 198.18.0.4 1",
		"500ms 198.18.0.5 1",
		"1s 198.18.0.1 2", "1s 198.18.0.2 2", "1s 198.18.0.3 2", "1s 198.18.0.4 2", "1s 198.18.0.5 2",
	)
	lab.want(
		"10ms 198.18.0.2 reply 1 rtt 10ms",
		"10ms 198.18.0.3 reply 1 rtt 10ms",
		"110ms 198.18.0.4 reply 1 rtt 10ms",
		"300ms 198.18.0.1 timeout 1", // although it is still blocked
		"510ms 198.18.0.5 reply 1 rtt 10ms",
		"1.01s 198.18.0.1 reply 2 rtt 10ms",
		"1.01s 198.18.0.2 reply 2 rtt 10ms",
		"1.01s 198.18.0.3 reply 2 rtt 10ms",
		"1.01s 198.18.0.4 reply 2 rtt 10ms",
		"1.01s 198.18.0.5 reply 2 rtt 10ms",
		"1.01s done",
	)
}

func TestRoundsDoNotPileUpWhileTheTransportIsBlocked(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 4, Targets: hosts(2)})
	lab.wire.room = 3 // it blocks in the second round
	lab.wire.update()
	lab.wire.allow(60_500*ms, unlimited)
	lab.Start()
	lab.run(2 * time.Minute)
	lab.wantSent(
		"0s 198.18.0.1 1", "0s 198.18.0.2 1",
		"1s 198.18.0.1 2",
		"1m0.5s 198.18.0.2 2",
		"1m1s 198.18.0.1 3", "1m1s 198.18.0.2 3",
		"1m2s 198.18.0.1 4", "1m2s 198.18.0.2 4",
	)
	for i := range 2 {
		lab.wantCounts(i, counts{Sent: 4, Lost: 4})
	}
}

func TestSendErrorAfterTheTransportWasBlocked(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 1, Targets: []netip.Addr{hostA, hostB, hostC}})
	lab.wire.room = 1
	lab.wire.update()
	lab.wire.onSend = func(p probe) error {
		if p.to == hostB {
			return errors.New("refused")
		}
		return nil
	}
	lab.wire.allow(100*ms, unlimited)
	lab.Start()
	lab.run(time.Minute)
	lab.wantSent("0s 192.0.2.1 1", "100ms 192.0.2.3 1")
	lab.want("100ms 192.0.2.2 send error 1: refused", "1s 192.0.2.1 timeout 1", "1.1s 192.0.2.3 timeout 1", "1.1s done")
}

func TestALargeRoundLeavesRoomForItsReplies(t *testing.T) {
	lab := newLabOn(t, &wire{size: 50}, prober.Config{Count: 3, Targets: hosts(1000), OnResult: func(prober.Result) {}})
	lab.wire.onSend = nil // replies are there at once
	lab.Start()
	lab.run(time.Minute)
	if lab.wire.peak > 2*50 {
		t.Errorf("%d replies were waiting to be received, want at most two batches of 50", lab.wire.peak)
	}
	for i := range 1000 {
		lab.wantCounts(i, counts{Sent: 3, Received: 3})
	}
}

func TestTheMuxIsToldOfChangesOnly(t *testing.T) {
	for _, c := range []struct{ targets, want int }{
		{64, 0},     // each round is one batch
		{65, 2 * 5}, // writable for the second batch, and back
		{640, 2 * 5},
	} {
		lab := newLab(t, prober.Config{Count: 5, Targets: hosts(c.targets), OnResult: func(prober.Result) {}})
		lab.Start()
		lab.run(time.Minute)
		if lab.modifies != c.want {
			t.Errorf("%d changes for 5 rounds of %d targets, want %d", lab.modifies, c.targets, c.want)
		}
	}
}

func TestARoundThatTakesLongerThanTheIntervalDelaysTheNext(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: hosts(3), Interval: 10 * ms, OnResult: func(prober.Result) {}})
	lab.wire.room = 0
	lab.wire.update()
	for i := range 6 {
		lab.wire.allow(time.Duration(i)*8*ms+ms, 1)
	}
	lab.Start()
	lab.run(100 * ms)
	lab.wantSent("1ms 198.18.0.1 1", "9ms 198.18.0.2 1", "17ms 198.18.0.3 1", "25ms 198.18.0.1 2", "33ms 198.18.0.2 2", "41ms 198.18.0.3 2")
}

func TestDoneIsToldOnce(t *testing.T) {
	for _, c := range []struct {
		name   string
		onSend func(probe) error
		want   string
	}{
		{"when the last reply has come", func(p probe) error { p.answer(10 * ms); return nil }, "1.01s done"},
		{"when the last probe is given up", func(p probe) error { return nil }, "2s done"},
		{"when the last probe could not be sent", func(p probe) error { return errors.New("refused") }, "1s done"},
		{"when an earlier probe is given up after the last was answered", func(p probe) error {
			if p.seq == 2 {
				p.answer(10 * ms)
			} else {
				p.answer(1020 * ms)
			}
			return nil
		}, "1.01s done"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab := newLab(t, prober.Config{Count: 2, OnResult: func(prober.Result) {}})
			lab.wire.onSend = c.onSend
			lab.Start()
			lab.run(time.Hour)
			lab.want(c.want)
		})
	}
}

func TestStartTwiceStartsOnce(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 2})
	lab.Start()
	lab.Start()
	lab.run(500 * ms)
	lab.Start()
	lab.run(time.Minute)
	lab.wantSent("0s 192.0.2.1 1", "1s 192.0.2.1 2")
}

func TestStopEndsEverything(t *testing.T) {
	answer := func(p probe) error {
		p.answer(10 * ms)
		p.answer(20 * ms)
		return nil
	}
	for _, c := range []struct {
		name   string
		stopAt int // line of the log
		onSend func(probe) error
		want   []string
	}{
		{"in a reply, with others in its batch", 1, answer, []string{"10ms 192.0.2.1 reply 1 rtt 10ms"}},
		{"in the last reply", 3, answer, []string{"10ms 192.0.2.1 reply 1 rtt 10ms", "10ms 192.0.2.2 reply 1 rtt 10ms", "10ms 192.0.2.3 reply 1 rtt 10ms"}},
		{"in a timeout, with others due", 1, func(probe) error { return nil }, []string{"1s 192.0.2.1 timeout 1"}},
		{"in a send error, with others to send", 1, func(p probe) error {
			if p.to != hostB {
				p.answer(10 * ms)
				return nil
			}
			return errors.New("refused")
		}, []string{"0s 192.0.2.2 send error 1: refused"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, count := range []int{0, 1} {
				lab := newLab(t, prober.Config{Count: count, Targets: []netip.Addr{hostA, hostB, hostC}, Interval: 2 * time.Second})
				lab.wire.onSend = c.onSend
				lab.onLog = func() {
					if len(lab.log) == c.stopAt {
						if err := lab.Stop(); err != nil {
							t.Error(err)
						}
						lab.loop.Stop()
					}
				}
				lab.Start()
				if err := lab.loop.Run(context.Background()); err != nil {
					t.Fatal(err)
				}
				sent := len(lab.wire.sent)

				if err := lab.Stop(); err != nil {
					t.Errorf("a second Stop: %v", err)
				}
				lab.Start()
				lab.wantNothingToDo()
				lab.want(c.want...)
				if n := len(lab.wire.sent); n > sent || n > 3 || lab.Stats(1).SendErrors > 0 && n > 1 {
					t.Errorf("%d probes were sent, %d of them before Stop", n, sent)
				}
			}
		})
	}
}

func TestStopBeforeStart(t *testing.T) {
	lab := newLab(t, prober.Config{})
	if err := lab.Stop(); err != nil {
		t.Error(err)
	}
	lab.Start()
	lab.wantNothingToDo()
	lab.want()
	lab.wantSent()
}

func TestReceptionThatKeepsFailingIsToldOnceAndLeftAlone(t *testing.T) {
	broken := errors.New("broken")
	lab := newLab(t, prober.Config{})
	lab.mux.At(500*ms, func() {
		for range 1000 {
			lab.wire.recvErrs = append(lab.wire.recvErrs, broken)
		}
		lab.wire.update()
	})
	lab.Start()
	lab.run(time.Hour)
	lab.want("500ms failure: broken")
	lab.wantSent("0s 192.0.2.1 1")
	if lab.wire.recvs > 20 {
		t.Errorf("received %d times", lab.wire.recvs)
	}
}

func TestReceptionThatFailsNowAndThenGoesOn(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 100, OnResult: func(prober.Result) {}})
	lab.wire.onSend = func(p probe) error {
		p.answer(10 * ms)
		for range 10 {
			lab.wire.recvErrs = append(lab.wire.recvErrs, errors.New("passing"))
		}
		return nil
	}
	lab.Start()
	lab.run(time.Hour)
	lab.want("1m39.01s done")
	lab.wantCounts(0, counts{Sent: 100, Received: 100})
}

// stubborn is a Mux that changes nothing.
type stubborn struct{ mux.Mux }

func (stubborn) Modify(int, mux.Interest, uint64) error { return errors.New("no change") }

func TestTheMuxFailingIsAFailure(t *testing.T) {
	lab := newLab(t, prober.Config{})
	l := loop.New(stubborn{lab.mux}, loop.Clock(lab.mux.Clock))
	if err := lab.Stop(); err != nil { // its loop gives up the descriptor
		t.Fatal(err)
	}
	var failures []error
	p, err := prober.New(l, lab.wire, prober.Config{Targets: []netip.Addr{hostA}, Clock: lab.mux.Clock,
		OnFailure: func(err error) { failures = append(failures, err) },
		OnDone:    func() { t.Error("done") }})
	if err != nil {
		t.Fatal(err)
	}
	lab.wire.room = 0 // so that it has to wait
	lab.wire.update()
	p.Start()
	lab.mux.At(time.Hour, l.Stop)
	if err := l.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(failures) != 1 || failures[0].Error() != "no change" {
		t.Errorf("failures: %v, want one", failures)
	}
}

func TestCallbacksAreOptional(t *testing.T) {
	lab := newLab(t, prober.Config{})
	lab.Stop()
	for _, onSend := range []func(probe) error{
		func(p probe) error { p.answer(ms); return nil },
		func(p probe) error { return nil },
		func(p probe) error { return errors.New("refused") },
		func(p probe) error {
			for range 100 {
				lab.wire.recvErrs = append(lab.wire.recvErrs, errors.New("broken"))
			}
			return nil
		},
	} {
		lab.wire.onSend, lab.wire.recvErrs = onSend, nil
		p, err := prober.New(lab.loop, lab.wire, prober.Config{Targets: []netip.Addr{hostA}, Count: 1, Clock: lab.mux.Clock})
		if err != nil {
			t.Fatal(err)
		}
		p.Start()
		lab.run(lab.wire.now() + time.Minute)
		p.Stop()
	}
}

// AllocsPerRun over whole runs of the loop, with thousands of rounds in each.
func TestNoAllocationPerRound(t *testing.T) {
	const rounds = 2000
	for _, c := range []struct {
		name   string
		onSend func(probe) error
	}{
		{"answered", nil},
		{"lost", func(probe) error { return nil }},
		{"not sent", func() func(probe) error { err := errors.New("refused"); return func(probe) error { return err } }()},
	} {
		t.Run(c.name, func(t *testing.T) {
			left := 0
			var stop func()
			lab := newLabOn(t, &wire{size: 2}, prober.Config{Targets: hosts(3), Interval: ms, Timeout: 10 * ms, Data: make([]byte, 56), OnResult: func(r prober.Result) {
				if left--; left == 0 {
					stop()
				}
			}})
			stop = lab.loop.Stop
			lab.wire.onSend = c.onSend
			lab.wire.quiet = true
			lab.Start()
			run := func() {
				left = 3 * rounds
				if err := lab.loop.Run(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			if n := testing.AllocsPerRun(5, run); n > 20 { // of Run itself
				t.Errorf("%v allocations in %d rounds", n, rounds)
			}
		})
	}
}

func TestMemoryStaysTheSame(t *testing.T) {
	lab := newLab(t, prober.Config{Interval: 10 * ms, OnResult: func(prober.Result) {}})
	lab.wire.quiet = true
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	lab.Start()
	lab.run(time.Minute)
	before := heap()
	lab.run(15 * time.Minute) // 84,000 losses
	if grown := heap() - before; grown > 64<<10 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	lab.run(15*time.Minute + ms) // lab is alive
}
