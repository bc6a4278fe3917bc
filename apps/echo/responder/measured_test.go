package responder_test

import (
	"flag"
	"math"
	"testing"

	"iomux/apps/echo/responder/internal/outside"
)

// These tests measure rules: what of so many requests becomes what, and when, as far as
// it can be seen on the interface. Seeds are fixed, so what comes out is the same every
// time, as long as a rule does what it says.

// measuredN is how many requests each rule is measured by, by default as many as it takes
// to tell 1.2 % from 1 % by twice as many.
var measuredN = flag.Int("measured.n", measuredRequests, "by how many requests to measure each rule")

// measuredSeed is the seed of rules that are measured.
const measuredSeed = 42

// near reports a share that is further from what was asked than by three standard
// errors, and returns by how many it is.
func near(t testing.TB, what string, hits, of int, asked float64) {
	t.Helper()
	n := float64(of)
	far := (float64(hits) - n*asked) / math.Sqrt(n*asked*(1-asked))
	t.Logf("%-28s %8d of %8d: %8.4f%%, asked %6.2f%%, %+.2f standard errors", what, hits, of, 100*float64(hits)/n, 100*asked, far)
	if !(math.Abs(far) <= 3) {
		t.Errorf("%s: %d of %d, which is %+.2f standard errors from %v%%", what, hits, of, far, 100*asked)
	}
}

// mean is the mean of what is evenly spread over whole numbers.
type mean struct{ n, sum, low, high int }

func (m *mean) add(v int) {
	if m.n == 0 || v < m.low {
		m.low = v
	}
	if m.n == 0 || v > m.high {
		m.high = v
	}
	m.n++
	m.sum += v
}

// even reports what is not evenly spread from low to high.
func (m *mean) even(t testing.TB, what string, low, high int) {
	t.Helper()
	k := float64(high - low + 1)
	want, deviation := float64(low+high)/2, math.Sqrt((k*k-1)/12)
	far := (float64(m.sum)/float64(m.n) - want) / (deviation / math.Sqrt(float64(m.n)))
	t.Logf("%-28s %d to %d, mean %.2f, %+.2f standard errors", what, m.low, m.high, float64(m.sum)/float64(m.n), far)
	if !(math.Abs(far) <= 3) || m.low < low || m.high > high {
		t.Errorf("%s: from %d to %d, mean %.2f, want it even from %d to %d", what, m.low, m.high, float64(m.sum)/float64(m.n), low, high)
	}
	if m.n > 50*int(k) && (m.low != low || m.high != high) {
		t.Errorf("%s: from %d to %d, and never %d or %d", what, m.low, m.high, low, high)
	}
}

// measuredData is the data of request number i: what differs is in the middle.
func measuredData(buf []byte, i int) []byte {
	for k := range buf {
		buf[k] = byte(k * 37)
	}
	buf[len(buf)/2], buf[len(buf)/2+1] = byte(i>>8), byte(i)
	return buf
}

// inPlaces runs a test wherever a responder can answer.
func inPlaces(t *testing.T, test func(*testing.T, outside.Place)) {
	for _, p := range outside.Places {
		t.Run(p.Name, func(t *testing.T) { test(t, p) })
	}
}
