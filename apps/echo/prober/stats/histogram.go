package stats

import (
	"math/bits"
	"time"
)

// histogram counts times in log-linear buckets: eight of equal width in each of
// the 32 octaves from 2^8 ns (256 ns) to 2^40 ns (18 min 20 s). What is shorter or
// longer goes into the first or the last.
//
// A time t is reported as the middle m of its bucket with |m-t| <= t/17.
type histogram [octaves * steps]counter // 512 bytes

const (
	shortest = 8 // the exponent of the shortest time
	octaves  = 32
	stepBits = 3
	steps    = 1 << stepBits // buckets in an octave
)

// record counts t. The random bits decide whether counters that are no longer
// exact advance.
func (h *histogram) record(t time.Duration, random uint64) { h[bucket(t)].advance(random) }

// bucket is the index of the bucket of t.
func bucket(t time.Duration) uint8 {
	switch {
	case t < 1<<shortest:
		return 0
	case t >= 1<<(shortest+octaves):
		return octaves*steps - 1
	}
	octave := bits.Len64(uint64(t)) - 1
	step := uint64(t) >> (octave - stepBits) & (steps - 1)
	return uint8((octave-shortest)*steps + int(step))
}

// middle is the time that stands for those of a bucket: the harmonic mean of its
// bounds, from which both are equally far in proportion.
func middle(bucket int) time.Duration {
	low := uint64(steps + bucket%steps) // in units of the step
	high := low + 1
	return time.Duration(2 * low * high << (bucket/steps + shortest - stepBits) / (low + high))
}

// quantiles sets each of values to the time of nearest rank for the same one of
// the quantiles, which are in thousandths and ascend.
func (h *histogram) quantiles(values *[len(quantiles)]time.Duration) {
	var total uint64
	for _, c := range h {
		total += c.value()
	}
	var seen uint64
	next := 0
	for i, c := range h {
		seen += c.value()
		for next < len(quantiles) && seen >= rank(quantiles[next], total) {
			values[next] = middle(i)
			next++
		}
	}
}

// quantiles are those of a Summary, in thousandths.
var quantiles = [...]uint64{500, 900, 990, 999}

// rank is the nearest rank of a quantile among n values, from 1: the smallest rank
// that at least the given share of them does not exceed.
func rank(thousandths, n uint64) uint64 {
	high, low := bits.Mul64(n, thousandths)
	low, carry := bits.Add64(low, 999, 0)
	quotient, _ := bits.Div64(high+carry, low, 1000)
	return quotient
}

// counter counts in 16 bits as floating-point numbers do, after Morris (Counting
// Large Numbers of Events in Small Registers, 1978): exactly up to 2^11, then in
// steps of 2, 4, 8 and so on, each with a probability of one in that many. The
// expected value is right at all times and the standard deviation stays below 1.4 %
// of it, at most sqrt(3/2^14). It ends at 8.8 * 10^12, and stays there.
type counter uint16

const mantissaBits = 11

func (c *counter) advance(random uint64) {
	step := uint64(1) << (*c >> mantissaBits)
	if random&(step-1) == 0 && *c != 1<<16-1 {
		*c++
	}
}

func (c counter) value() uint64 {
	const unit = 1 << mantissaBits
	return (unit+uint64(c)%unit)<<(c/unit) - unit
}

// scramble turns the numbers 0, 1, 2 ... into ones that look random: one step of
// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
// 2014).
func scramble(n uint64) uint64 {
	n *= 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}
