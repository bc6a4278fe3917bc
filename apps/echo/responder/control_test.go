package responder_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"iomux/apps/echo/responder"
	"iomux/apps/echo/responder/rules"
	"iomux/mux/loop"
	"iomux/mux/muxtest"
	"iomux/transport"
)

// at has requests come at a time.
func (lab *lab) at(d time.Duration, ms ...transport.Message) {
	lab.wire.at(d, func() { lab.wire.queue = append(lab.wire.queue, ms...) })
}

func requests(from netip.Addr, first, n int) (ms []transport.Message) {
	for i := range n {
		ms = append(ms, request(from, uint16(first+i), ""))
	}
	return ms
}

// Of each source there are as many answers as its rate and burst allow, copies and
// errors too; those of others are not touched.
func TestASourceGetsItsRateAndNoMore(t *testing.T) {
	lab := newLab(t, &wire{size: 64}, responder.Config{})
	lab.at(0, requests(peerA, 0, 1500)...)
	lab.at(0, requests(peerB, 0, 1)...)
	lab.at(500*ms, requests(peerA, 0, 1000)...)
	lab.at(2*time.Second, requests(peerA, 0, 1001)...)
	lab.run(time.Minute)
	lab.wantStats(responder.Stats{Received: 3502, Answered: 1000 + 1 + 500 + 1000, Throttled: 500 + 500 + 1})

	for _, c := range []struct {
		rule                 string
		requests             int
		answers, throttled   uint64
		copies, lost, errors uint64
	}{
		{"{duplicate: '100%,copies=2'}", 10, 4, 6, 6, 2, 0}, // 3 + 3 + 3 + 1
		{"{error: {type: port unreachable}}", 15, 0, 5, 0, 0, 10},
		{"{silent: true}", 50, 0, 0, 0, 0, 0},
		{"{rate: '1,burst=1'}", 50, 1, 0, 0, 0, 0}, // what a rule drops costs the source nothing
	} {
		p := responder.NewPolicy(responder.PolicyConfig{Rules: set(t, c.rule), Rate: 10, Start: start})
		lab := newLab(t, &wire{size: 64}, responder.Config{Policy: p})
		lab.at(0, requests(peerA, 0, c.requests)...)
		lab.run(10 * ms)
		s := lab.Stats()
		if s.Answered != c.answers || s.Throttled != c.throttled || s.Duplicated != c.copies || s.CopiesLost != c.lost || s.Errors != c.errors {
			t.Errorf("%s: %+v", c.rule, s)
		}
	}
}

// Two responders of a policy share the rate.
func TestAPolicyIsShared(t *testing.T) {
	p := responder.NewPolicy(responder.PolicyConfig{Rate: 10, Burst: 4, Start: start})
	a, b := newLab(t, &wire{size: 64}, responder.Config{Policy: p}), newLab(t, &wire{size: 64}, responder.Config{Policy: p})
	for _, lab := range []*lab{a, b} {
		lab.at(0, requests(peerA, 0, 3)...)
		lab.run(50 * ms)
	}
	a.wantStats(responder.Stats{Received: 3, Answered: 3})
	b.wantStats(responder.Stats{Received: 3, Answered: 1, Throttled: 2})
	p.SetHealthy(false)
	a.at(time.Second, requests(peerA, 0, 2)...)
	a.run(2 * time.Second)
	a.wantStats(responder.Stats{Received: 5, Answered: 3, Unwell: 2})
	if p.Healthy() {
		t.Error("the policy is healthy")
	}
	p.SetHealthy(true)
	a.at(3*time.Second, requests(peerA, 0, 2)...)
	a.run(4 * time.Second)
	a.wantStats(responder.Stats{Received: 7, Answered: 5, Unwell: 2})
}

// Other rules are in force from the next batch on. What was decided stays, and rules of
// the same name count on.
func TestRulesAreExchanged(t *testing.T) {
	p := policy(t, "{name: late, to: 192.0.2.1, delay: 1s}", "{name: rest, ttl: 3}")
	lab := newLab(t, &wire{size: 64}, responder.Config{Policy: p})
	lab.at(0, requests(peerA, 1, 2)...)
	lab.run(500 * ms)
	next := set(t, "{name: new, to: 192.0.2.0/26, from: 192.0.2.12, code: 9}", "{name: late, to: 192.0.2.1, code: 5}")
	p.Use(next)
	if p.Rules() != next {
		t.Error("other rules are in force")
	}
	if s := lab.RuleStats(); len(s) != 2 || s[0].Name != "new" || s[0].Requests != 0 || s[1].Requests != 2 {
		t.Errorf("before the next request the counts are those of other rules: %+v", s)
	}
	lab.at(600*ms, append(requests(peerA, 3, 1), requests(peerB, 4, 1)...)...)
	lab.run(2 * time.Second)
	lab.wantReplies("192.0.2.11 3 5 ", "192.0.2.12 4 9 ", "192.0.2.11 1 0 ", "192.0.2.11 2 0 ")
	var got []string
	for _, r := range lab.RuleStats() {
		got = append(got, fmt.Sprintf("%s: %d requests, %d replied, %d delayed", r.Name, r.Requests, r.Replied, r.Delayed))
	}
	if want := []string{"new: 1 requests, 1 replied, 0 delayed", "late: 3 requests, 3 replied, 2 delayed"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	p.Use(nil)
	lab.at(3*time.Second, requests(peerA, 5, 1)...)
	lab.run(4 * time.Second)
	if n := len(lab.RuleStats()); n != 0 || lab.Stats().Answered != 5 {
		t.Errorf("%d rules without any, %+v", n, lab.Stats())
	}
}

func TestAFullQueueRefusesWhatIsNewAndKeepsWhatIsOld(t *testing.T) {
	for _, cfg := range []responder.Config{{QueueItems: 3}, {QueueItems: 10, QueueBytes: 3 * 128}} {
		cfg.Policy = policy(t, "{delay: 1s, duplicate: 100%}")
		lab := newLab(t, &wire{size: 64}, cfg)
		lab.at(0, requests(peerA, 1, 5)...)
		lab.at(1500*ms, requests(peerA, 6, 1)...)
		lab.run(900 * ms)
		lab.wantStats(responder.Stats{Received: 5, Refused: 2, Delayed: 3, Queued: 3, CopiesLost: 2})
		lab.run(time.Minute)
		lab.wantReplies("192.0.2.11 1 0 ", "192.0.2.11 1 0 ", "192.0.2.11 2 0 ", "192.0.2.11 2 0 ", "192.0.2.11 3 0 ", "192.0.2.11 3 0 ", "192.0.2.11 6 0 ", "192.0.2.11 6 0 ")
		lab.wantStats(responder.Stats{Received: 6, Answered: 4, Duplicated: 4, Refused: 2, Delayed: 4, CopiesLost: 2})
	}
}

// Due answers that find no room are sent when there is some, in their order, and
// nothing is received until then. There is one call for each change. Afterwards each
// turn receives a batch and sends one that is due.
func TestDueAnswersWaitForRoom(t *testing.T) {
	lab := newLab(t, &wire{size: 4}, responder.Config{Policy: policy(t, "{delay: 100ms}")})
	lab.at(0, requests(peerA, 1, 6)...)
	lab.at(150*ms, requests(peerA, 7, 1)...)
	lab.wire.at(50*ms, func() { lab.wire.room = 0 })
	lab.wire.at(200*ms, func() { lab.wire.room = 3 })
	lab.wire.at(300*ms, func() { lab.wire.room = unlimited })
	lab.run(time.Minute)
	lab.wantCalls("recv 4", "recv 2", "send 0", "send 3", "send 0", "send 1", "recv 1", "send 2", "send 1")
	lab.wantReplies("192.0.2.11 1 0 ", "192.0.2.11 2 0 ", "192.0.2.11 3 0 ", "192.0.2.11 4 0 ", "192.0.2.11 5 0 ", "192.0.2.11 6 0 ", "192.0.2.11 7 0 ")
	lab.wantStats(responder.Stats{Received: 7, Answered: 7, Delayed: 7})
	if want := []time.Duration{200 * ms, 200 * ms, 200 * ms, 300 * ms, 300 * ms, 300 * ms, 400 * ms}; !slices.Equal(lab.wire.when, want) {
		t.Errorf("sent at %v, want %v", lab.wire.when, want)
	}
}

// What is held until the same moment leaves by one call.
func TestDueAnswersLeaveInBatches(t *testing.T) {
	lab := newLab(t, &wire{size: 64}, responder.Config{Policy: policy(t, "{delay: 100ms}")})
	for i := range 50 {
		lab.at(time.Duration(i)*time.Microsecond, requests(peerA, i, 1)...)
	}
	lab.wire.at(100*ms, func() { lab.wire.room = 0 })
	lab.wire.at(101*ms, func() { lab.wire.room = unlimited })
	lab.run(time.Minute)
	want := slices.Repeat([]string{"recv 1"}, 50)
	lab.wantCalls(append(want, "send 0", "send 1", "send 49")...)
}

// Answers that some other transport sends keep their place among the others.
func TestMixedBatchesKeepTheirOrder(t *testing.T) {
	var log []string
	forge := &wire{fd: wireFD + 1, size: 2, framing: transport.IPPacket, room: 0}
	lab := newLab(t, &wire{size: 8}, responder.Config{Forge: forge, Policy: policy(t,
		"{from: 192.0.2.12, source: 198.51.100.9}", "{from: 192.0.2.13, duplicate: '100%,copies=2', error: {type: port unreachable}}")})
	forge.mux = lab.mux
	lab.wire.onSend = func(m *transport.Message) error {
		log = append(log, fmt.Sprintf("%v %v", m.Peer.Addr(), m.Bytes()[0]))
		return nil
	}
	forge.onSend = func(m *transport.Message) error {
		s := see(t, m, 0, true, false)
		log = append(log, fmt.Sprintf("%v %v from %v", s.to, s.kind, s.from))
		return nil
	}
	lab.at(0, slices.Concat(requests(peerA, 1, 1), requests(peerB, 2, 3), requests(peerC, 3, 1), requests(peerB, 4, 1), requests(peerA, 5, 1))...)
	lab.wire.at(20*ms, func() { forge.room = 2 })
	lab.wire.at(40*ms, func() { forge.room = 2 })
	lab.run(time.Minute)
	want := []string{"192.0.2.11 0", "192.0.2.12 0 from 198.51.100.9", "192.0.2.12 0 from 198.51.100.9", "192.0.2.12 0 from 198.51.100.9",
		"192.0.2.13 3", "192.0.2.13 3", "192.0.2.13 3", "192.0.2.12 0 from 198.51.100.9", "192.0.2.11 0"}
	if !slices.Equal(log, want) {
		t.Errorf("sent were\n%q, want\n%q", log, want)
	}
	lab.wantStats(responder.Stats{Received: 7, Answered: 6, Errors: 1, Duplicated: 2})
	if n := len(forge.calls); n > 50 { // every millisecond
		t.Errorf("%d calls of a transport without room", n)
	}
}

// A copy that is refused is no answer that is lost.
func TestRefusedCopiesAreCountedApart(t *testing.T) {
	for refused := range 4 {
		lab := newLab(t, &wire{size: 8}, responder.Config{Policy: policy(t, "{duplicate: 100%}")})
		n, told := 0, 0
		lab.wire.onSend = func(*transport.Message) error {
			// The error of one that is not the first comes again with the next call.
			if n == refused && told < min(refused, 1)+1 {
				told++
				return errors.New("refused")
			}
			n++
			return nil
		}
		first := refused%2 == 0
		lab.at(0, requests(peerA, 1, 2)...)
		lab.run(time.Minute)
		want := responder.Stats{Received: 2, Answered: 2, Duplicated: 1, CopiesLost: 1}
		if first {
			want = responder.Stats{Received: 2, Answered: 1, SendErrors: 1, Duplicated: 2}
		}
		lab.wantStats(want)
	}
}

// OnAnswer tells of each request what became of it.
func TestAnswersAreTold(t *testing.T) {
	var told []string
	p := responder.NewPolicy(responder.PolicyConfig{Start: start, Rate: 1000, Burst: 3, Rules: set(t,
		"{name: a, from: 192.0.2.11, delay: 1s}", "{name: b, from: 192.0.2.12, error: {type: port unreachable}}", "{name: c, from: 192.0.2.13, silent: true}")})
	lab := newLab(t, &wire{size: 8}, responder.Config{Policy: p, QueueItems: 2, OnAnswer: func(a responder.Answer) {
		rule := "no rule"
		if d := a.Decision; d != nil {
			rule = fmt.Sprintf("rule %d, delay %v", d.Rule, d.Delay)
		}
		told = append(told, fmt.Sprintf("%v %v %d %d %d %v %s", a.From, a.To, a.ID, a.Seq, a.Size, a.Outcome, rule))
	}})
	other := netip.MustParseAddr("192.0.2.99")
	lab.at(0, slices.Concat(requests(peerA, 1, 3), []transport.Message{request(peerB, 4, "data")}, requests(peerC, 5, 1), requests(other, 6, 4))...)
	lab.wire.at(ms, func() { p.SetHealthy(false) })
	lab.at(2*ms, requests(peerA, 11, 1)...)
	lab.run(time.Minute)
	want := []string{
		"192.0.2.11 192.0.2.1 7 1 0 replied rule 0, delay 1s", "192.0.2.11 192.0.2.1 7 2 0 replied rule 0, delay 1s",
		"192.0.2.11 192.0.2.1 7 3 0 refused rule 0, delay 1s", "192.0.2.12 192.0.2.1 7 4 4 error rule 1, delay 0s",
		"192.0.2.13 192.0.2.1 7 5 0 silent rule 2, delay 0s", "192.0.2.99 192.0.2.1 7 6 0 replied rule -1, delay 0s",
		"192.0.2.99 192.0.2.1 7 7 0 replied rule -1, delay 0s", "192.0.2.99 192.0.2.1 7 8 0 replied rule -1, delay 0s",
		"192.0.2.99 192.0.2.1 7 9 0 throttled no rule", "192.0.2.11 192.0.2.1 7 11 0 unwell no rule",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told were\n%s, want\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
	sources := lab.Sources(10)
	if len(sources) != 1 || sources[0] != (responder.Source{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Requests: 10, Answered: 6, Throttled: 1}) {
		t.Errorf("the sources are %+v", sources)
	}
}

func TestStopDropsWhatIsHeld(t *testing.T) {
	lab := newLab(t, &wire{size: 8}, responder.Config{Policy: policy(t, "{delay: 1s}")})
	lab.at(0, requests(peerA, 1, 3)...)
	lab.run(500 * ms)
	lab.Stop()
	lab.run(time.Minute)
	lab.wantStats(responder.Stats{Received: 3, Delayed: 3, Queued: 3})
	lab.wantReplies()
}

// slow is a transport whose calls take time, in which requests may come.
type slow struct {
	*wire
	passes func()
}

func (w slow) Recv(ms []transport.Message) (int, error) {
	w.passes()
	return w.wire.Recv(ms)
}

// The time of a turn may be from before a request came. That makes no answer early.
func TestDelaysCountFromWhenTheBatchHasArrived(t *testing.T) {
	m := muxtest.NewFake(start)
	var offset, sent time.Duration
	clock := func() time.Time { return m.Clock().Add(offset) }
	l := loop.New(m, loop.Clock(clock))
	defer l.Close()
	l.AfterFunc(time.Hour, func() {}) // for which each turn looks at the clock
	w := &wire{mux: m, size: 1, room: unlimited, queue: requests(peerA, 1, 1)}
	w.onSend = func(*transport.Message) error { sent = clock().Sub(start); return nil }
	w.update()
	_, err := responder.New(l, slow{w, func() { offset += 3 * ms }}, responder.Config{Policy: policy(t, "{delay: 10ms}")})
	if err != nil {
		t.Fatal(err)
	}
	m.At(time.Minute, l.Stop)
	if err := l.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if sent != 13*ms {
		t.Errorf("what came at 3 ms and was to be held for 10 ms was sent at %v", sent)
	}
}

func TestOutcomesHaveNames(t *testing.T) {
	for o := responder.Replied; o <= responder.Unsendable; o++ {
		if s := o.String(); s == "" || strings.Contains(s, "(") {
			t.Errorf("outcome %d is %q", o, s)
		}
	}
	if s := responder.Outcome(200).String(); s != "Outcome(200)" {
		t.Error(s)
	}
	for d, o := range map[rules.Drop]responder.Outcome{rules.Silent: responder.Silent, rules.Down: responder.Down, rules.Lost: responder.Lost, rules.Limited: responder.Limited} {
		if d.String() != o.String() {
			t.Errorf("%v and %v", d, o)
		}
	}
}
