package rules

import (
	"math"
	"time"
)

// distribution is how the delays of a rule are spread.
type distribution uint8

const (
	constant distribution = iota // a
	uniform                      // from a to b
	normal                       // mean a, deviation b
	pareto                       // from a to b, shape
)

// distributions are the names of the distributions, and of what each has, in the
// order in which it is written without names.
var distributions = []struct {
	name   string
	fields []string
}{
	constant: {"constant", []string{"value"}},
	uniform:  {"uniform", []string{"min", "max"}},
	normal:   {"normal", []string{"mean", "deviation"}},
	pareto:   {"pareto", []string{"min", "shape", "max"}},
}

// delay is how long replies are held.
type delay struct {
	a, b   time.Duration
	jitter time.Duration
	shape  float64
	kind   distribution
}

// maxTime is the longest time there can be in a rule, and the longest delay of a
// distribution that would have longer ones.
const maxTime = time.Hour

// draw returns a delay. It is not below 0.
func (d *delay) draw(l luck) time.Duration {
	t := d.a
	switch d.kind {
	case uniform:
		t += time.Duration(l.below(ofDelay, uint64(d.b-d.a)+1))
	case normal:
		// One number gives one delay, so that no state is left over (Wichura, Algorithm
		// AS 241, 1988, which is in Erfinv).
		z := math.Sqrt2 * math.Erfinv(float64(2*l.share(ofDelay))-1)
		t += time.Duration(math.Round(float64(d.b) * z))
	case pareto:
		x := float64(d.a) / math.Pow(l.share(ofDelay), 1/d.shape)
		t = time.Duration(math.Round(min(x, float64(d.b))))
	}
	if d.jitter > 0 {
		t += time.Duration(l.below(ofJitter, 2*uint64(d.jitter)+1)) - d.jitter
	}
	return min(max(t, 0), maxTime)
}

// shortest returns the shortest delay there is before jitter.
func (d *delay) shortest() time.Duration {
	if d.kind == normal {
		return 0
	}
	return d.a
}
