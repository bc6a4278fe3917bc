package stats

import (
	"math"
	"time"
)

// Summary is what a Target or a Total holds at one time. The times are those of
// the answers that were Received, all 0 if there is none.
type Summary struct {
	Counts
	Min, Mean, Max time.Duration
	// Deviation is the standard deviation of all the times, which ping(8) prints
	// as mdev.
	Deviation time.Duration
	// Jitter is that of RFC 3550, section 6.4.1: the smoothed difference of the
	// times of two answers in a row, which follows the last few dozen answers.
	Jitter time.Duration
	// P50 is the median; 90 %, 99 % and 99.9 % of the times are not longer than
	// the others.
	P50, P90, P99, P999 time.Duration

	untimed bool // no answer has a time
}

// summary puts a Summary together from exact moments and estimated quantiles. The
// latter are 0 where there is no histogram, and with a single value need none.
func summary(c *Counts, m *moments, values *[len(quantiles)]time.Duration) Summary {
	within := func(t time.Duration) time.Duration { return min(max(t, m.min), m.max) }
	s := Summary{
		Counts: *c,
		Min:    m.min,
		Mean:   m.average(),
		Max:    m.max,
		Jitter: nanoseconds(m.jitter),
		P50:    within(values[0]),
		P90:    within(values[1]),
		P99:    within(values[2]),
		P999:   within(values[3]),

		untimed: m.n == 0,
	}
	if m.n > 0 {
		s.Deviation = nanoseconds(math.Sqrt(m.m2 / float64(m.n)))
	}
	return s
}

// nanoseconds rounds to whole ones; what exceeds a Duration becomes the longest.
func nanoseconds(f float64) time.Duration {
	if f >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(math.Round(f))
}
