package stats_test

import (
	"math"
	"testing"
	"time"

	"iomux/apps/echo/prober/stats"
)

// feed sends and answers one probe for each of the times.
func feed(target *stats.Target, total *stats.Total, times ...time.Duration) {
	for _, t := range times {
		target.Sent()
		total.Sent()
		total.Answer(stats.Reply, t, target.Answer(stats.Reply, t))
	}
}

func TestEveryProbeIsAccountedFor(t *testing.T) {
	target, total := new(stats.Target), stats.NewTotal()
	balanced := func(c stats.Counts) {
		t.Helper()
		if c.Sent+c.Of[stats.SendError] != c.Finished()+c.InFlight() {
			t.Fatalf("%+v: %d finished, %d in flight", c, c.Finished(), c.InFlight())
		}
	}
	var finished uint64
	for o := range stats.Outcomes {
		for range o + 1 {
			if o != stats.SendError {
				target.Sent()
				total.Sent()
			}
			balanced(target.Counts())
			if o == stats.Reply || o == stats.Reordered {
				total.Answer(o, ms, target.Answer(o, ms))
			} else {
				target.Count(o)
				total.Count(o)
			}
			if o.Final() {
				finished++
			}
			balanced(target.Counts())
			balanced(total.Counts())
		}
	}
	c := target.Counts()
	if c != total.Counts() || c != target.Summary().Counts || c != total.Summary().Counts {
		t.Errorf("the counts differ: %+v, %+v", c, total.Counts())
	}
	for o := range stats.Outcomes {
		if c.Of[o] != uint64(o)+1 {
			t.Errorf("%d of %v, want %d", c.Of[o], o, o+1)
		}
	}
	if c.Finished() != finished || c.InFlight() != 9+10+11+12 || c.Received() != 1+2 || c.Judged() != 1+2+3+4+5+8 {
		t.Errorf("%d finished, %d in flight, %d received, %d judged", c.Finished(), c.InFlight(), c.Received(), c.Judged())
	}
	// More ends than sends, which no prober reports, do not wrap round.
	if n := (stats.Counts{Of: [stats.Outcomes]uint64{stats.Timeout: 1}}).InFlight(); n != 0 {
		t.Errorf("%d in flight of none sent", n)
	}
	sum := c
	sum.Add(c)
	if sum.Sent != 2*c.Sent || sum.Of[stats.Forged] != 24 || sum.Of[stats.Reply] != 2 {
		t.Errorf("Add: %+v", sum)
	}
}

func TestLossAndUnanswered(t *testing.T) {
	type of = [stats.Outcomes]uint64
	for _, c := range []struct {
		of               of
		loss, unanswered float64
	}{
		{of{}, 0, 0},
		{of{stats.Reply: 3, stats.Timeout: 1}, 0.25, 0.25},
		{of{stats.Reply: 2, stats.Reordered: 1, stats.Timeout: 1}, 0.25, 0.25},
		{of{stats.Timeout: 7}, 1, 1},
		{of{stats.ICMPError: 5}, 1, 1},
		{of{stats.SendError: 5}, 0, 1},
		{of{stats.LocalDrop: 5}, 0, 1},
		{of{stats.Reply: 1, stats.LocalDrop: 1, stats.SendError: 2}, 0, 0.75},
		{of{stats.Corrupt: 1, stats.Truncated: 1, stats.ICMPError: 1, stats.Timeout: 1}, 1, 1},
		{of{stats.Reply: 6, stats.Corrupt: 1, stats.ICMPError: 1, stats.SendError: 2}, 0.25, 0.4},
		{of{stats.Duplicate: 1, stats.Late: 1, stats.WrongSource: 1, stats.Forged: 1}, 0, 0},
	} {
		counts := stats.Counts{Sent: 10, Of: c.of}
		if counts.Loss() != c.loss || counts.Unanswered() != c.unanswered {
			t.Errorf("%v: loss %v, unanswered %v, want %v, %v", c.of, counts.Loss(), counts.Unanswered(), c.loss, c.unanswered)
		}
	}
}

func TestNoReply(t *testing.T) {
	target, total := new(stats.Target), stats.NewTotal()
	for _, s := range []stats.Summary{target.Summary(), total.Summary()} {
		if s.Min|s.Mean|s.Max|s.Deviation|s.Jitter|s.P50|s.P90|s.P99|s.P999 != 0 {
			t.Errorf("times without a reply: %+v", s)
		}
	}
}

func TestSingleReply(t *testing.T) {
	for _, rtt := range []time.Duration{0, 1, 12_345_678, 2 * time.Hour, 1<<62 + 1, math.MaxInt64} {
		target, total := new(stats.Target), stats.NewTotal()
		feed(target, total, rtt)
		for _, s := range []stats.Summary{target.Summary(), total.Summary()} {
			for _, value := range []time.Duration{s.Min, s.Mean, s.Max, s.P50, s.P90, s.P99, s.P999} {
				if value != rtt {
					t.Errorf("a single reply after %d: %+v", rtt, s)
					break
				}
			}
			if s.Deviation != 0 || s.Jitter != 0 {
				t.Errorf("a single reply deviates by %v, jitter %v", s.Deviation, s.Jitter)
			}
		}
	}
}

func TestTimesBelowZeroAreZero(t *testing.T) {
	target, total := new(stats.Target), stats.NewTotal()
	feed(target, total, -5, math.MinInt64, math.MaxInt64, -1)
	for _, s := range []stats.Summary{target.Summary(), total.Summary()} {
		if s.Min != 0 || s.P50 > 300 || s.Max != math.MaxInt64 || s.Deviation <= 0 || s.Jitter <= 0 {
			t.Errorf("%+v", s)
		}
	}
}

// The mean alone is that of the Summary at any time, and never outside the times.
func TestMeanAlone(t *testing.T) {
	target, total := new(stats.Target), stats.NewTotal()
	for i, rtt := range []time.Duration{5, 6, 6, math.MaxInt64, -1, math.MaxInt64, 3 * ms} {
		if s := target.Summary(); target.Mean() != s.Mean || s.Mean < s.Min || s.Mean > s.Max {
			t.Errorf("after %d answers: %v alone, in %+v", i, target.Mean(), s)
		}
		feed(target, total, rtt)
	}
	target, total = new(stats.Target), stats.NewTotal()
	feed(target, total, math.MaxInt64-1, math.MaxInt64-1, math.MaxInt64-1)
	if mean := target.Mean(); mean != math.MaxInt64-1 {
		t.Errorf("the mean of equal times %d is %d", int64(math.MaxInt64-1), mean)
	}
}

// The deviation is that of the population, as ping(8) has it, and does not suffer
// from times that are long and close together.
func TestMeanAndDeviation(t *testing.T) {
	for _, base := range []time.Duration{0, time.Second, 1000 * time.Second, 1e9 * time.Second} {
		target, total := new(stats.Target), stats.NewTotal()
		for range 1000 {
			feed(target, total, base+4*ms, base+7*ms, base+13*ms, base+16*ms)
		}
		const deviation = 4_743_416 // sqrt(22.5) ms
		tolerance := time.Duration(1 + float64(base)/(1<<50))
		for _, s := range []stats.Summary{target.Summary(), total.Summary()} {
			if s.Min != base+4*ms || s.Max != base+16*ms || (s.Mean-base-10*ms).Abs() > tolerance || (s.Deviation-deviation).Abs() > tolerance {
				t.Errorf("around %v: min %v, mean %v, max %v, deviation %v", base, s.Min, s.Mean, s.Max, s.Deviation)
			}
		}
	}
}

func TestJitterOfRFC3550(t *testing.T) {
	for _, c := range []struct {
		times []time.Duration
		want  time.Duration
	}{
		{[]time.Duration{10 * ms, 10 * ms, 10 * ms}, 0},
		{[]time.Duration{10 * ms, 26 * ms}, ms},
		{[]time.Duration{26 * ms, 10 * ms}, ms},
		// 10/16; + (5 - 0.625)/16; * 15/16
		{[]time.Duration{10 * ms, 20 * ms, 15 * ms, 15 * ms}, 842_285},
		{[]time.Duration{0, 16, 0, 16}, 3}, // 1, 1.9375, 2.8164
	} {
		target, total := new(stats.Target), stats.NewTotal()
		feed(target, total, c.times...)
		if a, b := target.Summary().Jitter, total.Summary().Jitter; a != c.want || b != c.want {
			t.Errorf("jitter of %v is %v and %v, want %v", c.times, a, b, c.want)
		}
	}
}

func TestJitterDoesNotOverflow(t *testing.T) {
	target, total := new(stats.Target), stats.NewTotal()
	for range 1000 {
		feed(target, total, 0, math.MaxInt64)
	}
	if a, b := target.Summary().Jitter, total.Summary().Jitter; a != b || a < math.MaxInt64-1<<20 {
		t.Errorf("times as far apart as can be have a jitter of %v and %v", a, b)
	}
}

func TestJitterOfATotalComparesNoTargets(t *testing.T) {
	near, far, total := new(stats.Target), new(stats.Target), stats.NewTotal()
	for range 100 {
		feed(near, total, ms)
		feed(far, total, time.Second)
	}
	if j := total.Summary().Jitter; j != 0 {
		t.Errorf("two steady targets have a jitter of %v", j)
	}
	total = stats.NewTotal()
	for range 100 {
		feed(new(stats.Target), total, ms)
	}
	if j := total.Summary().Jitter; j != 0 {
		t.Errorf("targets with one answer each have a jitter of %v", j)
	}
	if d := near.Answer(stats.Reply, 3*ms); d != stats.Difference(2*ms) {
		t.Errorf("1 ms, then 3 ms differ by %v", time.Duration(d))
	}
	if d := near.Answer(stats.Reply, 2*ms); d != stats.Difference(ms) {
		t.Errorf("3 ms, then 2 ms differ by %v", time.Duration(d))
	}
	if d := new(stats.Target).Answer(stats.Reply, ms); d != stats.NoDifference {
		t.Errorf("the first answer differs by %v", time.Duration(d))
	}
}

func TestMergeIsAsFeedingOneTotal(t *testing.T) {
	for _, c := range []struct{ a, b int }{{0, 0}, {0, 5}, {5, 0}, {1, 1}, {1000, 10}, {300, 4000}} {
		whole, parts := stats.NewTotal(), [2]*stats.Total{stats.NewTotal(), stats.NewTotal()}
		for i, n := range [2]int{c.a, c.b} {
			whole2, part := new(stats.Target), new(stats.Target)
			for k := range n {
				rtt := time.Duration(i+1)*time.Second + time.Duration(k*k%977)*ms
				feed(whole2, whole, rtt)
				feed(part, parts[i], rtt)
			}
			whole.Count(stats.Late)
			parts[i].Count(stats.Late)
		}
		jitters := [2]time.Duration{parts[0].Summary().Jitter, parts[1].Summary().Jitter}
		before := parts[1].Summary()
		parts[0].Merge(parts[1])
		if after := parts[1].Summary(); after != before {
			t.Errorf("Merge changed its argument to %+v", after)
		}
		got, want := parts[0].Summary(), whole.Summary()
		if n := c.a + c.b; n > 0 {
			mean := (float64(jitters[0])*float64(c.a) + float64(jitters[1])*float64(c.b)) / float64(n)
			if math.Abs(float64(got.Jitter)-mean) > 2 {
				t.Errorf("%v: jitter %v, want %v", c, got.Jitter, time.Duration(mean))
			}
		}
		if (got.Mean-want.Mean).Abs() > 1 || (got.Deviation-want.Deviation).Abs() > 1 {
			t.Errorf("%v: mean %v, deviation %v, want %v, %v", c, got.Mean, got.Deviation, want.Mean, want.Deviation)
		}
		got.Jitter, got.Mean, got.Deviation = want.Jitter, want.Mean, want.Deviation
		if got != want {
			t.Errorf("%v: %+v, want %+v", c, got, want)
		}
	}
}

func TestAnswersDoNotAllocate(t *testing.T) {
	targets := make([]stats.Target, 101)
	i := 0
	if n := testing.AllocsPerRun(100, func() { // the run before the first one warms up
		for range 100 {
			targets[i].Sent()
			targets[i].Answer(stats.Reply, ms)
			targets[i].Count(stats.Timeout)
		}
		i++
	}); n != 1 {
		t.Errorf("a target allocates %v times, want 1", n)
	}
	target, total := new(stats.Target), stats.NewTotal()
	feed(target, total, ms, ms)
	if n := testing.AllocsPerRun(1000, func() { feed(target, total, 3*ms) }); n != 0 {
		t.Errorf("an answer allocates %v times", n)
	}
	single := make([]stats.Target, 101)
	i = 0
	if n := testing.AllocsPerRun(100, func() { single[i].Answer(stats.Reply, ms); i++ }); n != 0 {
		t.Errorf("the first answer allocates %v times", n)
	}
}

func BenchmarkTargetAnswer(b *testing.B) {
	var target stats.Target
	rtt := ms
	b.ReportAllocs()
	for b.Loop() {
		rtt = rtt*5/4%time.Second + 1
		target.Answer(stats.Reply, rtt)
	}
}

func BenchmarkTargetMean(b *testing.B) {
	var target stats.Target
	for i := range 1000 {
		target.Answer(stats.Reply, time.Duration(i)*ms)
	}
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			target.Mean()
		}
	})
	b.Run("Summary", func(b *testing.B) {
		for b.Loop() {
			target.Summary()
		}
	})
}

func BenchmarkTotalAnswer(b *testing.B) {
	total := stats.NewTotal()
	rtt := ms
	b.ReportAllocs()
	for b.Loop() {
		rtt = rtt*5/4%time.Second + 1
		total.Answer(stats.Reply, rtt, stats.Difference(rtt))
	}
}
