// Package stats sums up what became of many probes, in fixed memory.
//
// A Target takes the outcomes of the probes of one host as they come, a Total those
// of all hosts, and the Summary of either says what happened so far. Conditions
// judge a Summary for scripts:
//
//	var target stats.Target
//	total := stats.NewTotal()
//
//	target.Sent()
//	total.Sent()
//	d := target.Answer(stats.Reply, 3*time.Millisecond)
//	total.Answer(stats.Reply, 3*time.Millisecond, d)
//
//	failIf, err := stats.ParseConditions("loss>1%, p99>20ms")
//	if err != nil {
//		return err
//	}
//	s := target.Summary()
//	for _, v := range failIf.Check(&s) {
//		fmt.Println(v) // such as: loss 2.5% > 1%
//	}
//
// Every probe has one final outcome, and messages that end no probe are counted
// apart, so that at any time
//
//	Sent + SendError = Finished + InFlight
//
// The values are not safe for concurrent use; they belong to the loop of the prober.
package stats

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Target holds the statistics of one target. The zero value is ready. It takes 168
// bytes, or 164 on some 32-bit systems, and 512 more from the second answer on.
//
// Quantiles are those of nearest rank: p99 is the shortest time that at least 99 %
// of the answers did not exceed. They are less than 6 % off the exact ones for times
// from 256 ns to 18 min, and never outside Min and Max. Once a bucket of the
// histogram, which spans 6 to 13 % of a time, has 2,048 answers, its further answers
// are counted by chance, with a standard deviation below 1.4 %: the rank of a
// quantile q is then off by a few hundredths of q(1-q), that of p99 by less than
// 0.1 %. There is no limit to the number of answers, and old and new ones weigh the
// same.
type Target struct {
	counts Counts
	times  moments
	last   time.Duration // of the latest answer
	hist   *histogram    // nil until the second answer
}

// Sent counts a probe handed to the kernel.
func (t *Target) Sent() { t.counts.Sent++ }

// Count counts an outcome that has no time.
func (t *Target) Count(o Outcome) { t.counts.Of[o]++ }

// Answer counts an outcome with its round-trip time: Reply or Reordered. A time
// below 0 is taken as 0. It returns by how much the time differs from that of the
// answer before, for Total.Answer, or NoDifference for the first.
func (t *Target) Answer(o Outcome, rtt time.Duration) Difference {
	t.counts.Of[o]++
	rtt = max(rtt, 0)
	t.times.add(rtt)
	if t.times.n == 1 {
		t.last = rtt
		return NoDifference
	}
	if t.hist == nil {
		t.hist = new(histogram)
		t.hist.record(t.last, 0)
	}
	t.hist.record(rtt, scramble(t.times.n))
	d := rtt - t.last
	if d < 0 {
		d = -d
	}
	t.times.differ(d)
	t.last = rtt
	return Difference(d)
}

// Difference is how much the times of two answers in a row from the same target
// differ, without the sign.
type Difference time.Duration

// NoDifference is that of the first answer, which has none before it.
const NoDifference Difference = -1

// Counts returns the counts alone, which costs less than a Summary.
func (t *Target) Counts() Counts { return t.counts }

// Mean returns the mean of the times alone, which costs less than a Summary; 0 if
// there is none.
func (t *Target) Mean() time.Duration { return t.times.average() }

// Summary says what happened so far.
func (t *Target) Summary() Summary {
	var values [len(quantiles)]time.Duration
	if t.hist != nil {
		t.hist.quantiles(&values)
	}
	return summary(&t.counts, &t.times, &values)
}

// Total holds the statistics of many targets together; NewTotal makes one. It takes
// 270 kB, however many the targets and answers are.
//
// Quantiles are those of nearest rank, with three significant figures: less than
// 0.1 % off the exact ones for times up to an hour.
type Total struct {
	counts Counts
	times  moments
	hist   *hdrhistogram.Histogram
}

// longest is the longest time that a Total distinguishes in its quantiles.
const longest = time.Hour

// NewTotal returns an empty Total.
func NewTotal() *Total {
	return &Total{hist: hdrhistogram.New(1, int64(longest), 3)}
}

// Sent counts a probe handed to the kernel.
func (t *Total) Sent() { t.counts.Sent++ }

// Count counts an outcome that has no time.
func (t *Total) Count(o Outcome) { t.counts.Of[o]++ }

// Answer counts an outcome with its round-trip time, Reply or Reordered, and the
// difference that the Answer of its Target returned, for the jitter:
//
//	total.Answer(o, rtt, target.Answer(o, rtt))
func (t *Total) Answer(o Outcome, rtt time.Duration, d Difference) {
	t.counts.Of[o]++
	rtt = max(rtt, 0)
	t.times.add(rtt)
	t.hist.RecordValue(int64(min(rtt, longest))) // cannot fail within the range
	if d != NoDifference {
		t.times.differ(time.Duration(d))
	}
}

// Merge adds what another Total holds. The jitter becomes the mean of the two,
// weighted with the answers.
func (t *Total) Merge(other *Total) {
	t.counts.Add(other.counts)
	t.times.merge(&other.times)
	t.hist.Merge(other.hist)
}

// Counts returns the counts alone, which costs less than a Summary.
func (t *Total) Counts() Counts { return t.counts }

// Summary says what happened so far. The jitter is that of RFC 3550 over the
// differences of all targets in the order in which the answers came: times of
// different targets are never compared.
func (t *Total) Summary() Summary {
	var values [len(quantiles)]time.Duration
	if n := t.hist.TotalCount(); n > 0 {
		// The library rounds ranks where nearest rank goes up, so it gets ranks.
		var percent [len(quantiles)]float64
		for i, q := range quantiles {
			percent[i] = float64(rank(q, uint64(n))) / float64(n) * 100
		}
		for i, v := range t.hist.ValueAtPercentilesSlice(percent[:]) {
			values[i] = time.Duration(v)
		}
	}
	return summary(&t.counts, &t.times, &values)
}
