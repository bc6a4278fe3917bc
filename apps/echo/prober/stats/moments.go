package stats

import (
	"math"
	"time"
)

// moments sums up a series of times without keeping them.
type moments struct {
	n        uint64
	min, max time.Duration
	mean, m2 float64 // nanoseconds and their squares, after Welford
	jitter   float64 // nanoseconds
}

// add takes one more time, which is not negative.
func (m *moments) add(t time.Duration) {
	if m.n++; m.n == 1 {
		m.min, m.max = t, t
	}
	m.min, m.max = min(m.min, t), max(m.max, t)
	delta := float64(t) - m.mean
	m.mean += delta / float64(m.n)
	m.m2 += delta * (float64(t) - m.mean)
}

// average is the mean in whole nanoseconds, which is never outside min and max.
func (m *moments) average() time.Duration {
	return min(max(nanoseconds(m.mean), m.min), m.max)
}

// differ takes the difference between the times of two answers in a row, for the
// jitter of RFC 3550, section 6.4.1 and appendix A.8.
func (m *moments) differ(d time.Duration) {
	m.jitter += (math.Abs(float64(d)) - m.jitter) / 16
}

// merge takes the times of another series, after Chan, Golub and LeVeque (Updating
// Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979).
func (m *moments) merge(o *moments) {
	if o.n == 0 {
		return
	}
	if m.n == 0 {
		*m = *o
		return
	}
	n := m.n + o.n
	part := float64(o.n) / float64(n)
	delta := o.mean - m.mean
	m.mean += delta * part
	m.m2 += o.m2 + delta*delta*part*float64(m.n)
	m.jitter += (o.jitter - m.jitter) * part
	m.min, m.max = min(m.min, o.min), max(m.max, o.max)
	m.n = n
}
