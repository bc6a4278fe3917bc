package main

import (
	"fmt"
	"math"
)

// crossing is where two series cost the same, between two numbers that were measured.
type crossing struct {
	at, value     float64
	before, after string // the cheaper one on either side
}

// cross returns where a series crosses the others, as straight lines on logarithmic
// axes have it.
func (d *drawing) cross(first string) []crossing {
	var all []crossing
	for _, a := range d.series {
		if a.name != first {
			continue
		}
		for _, b := range d.series {
			if b.name != first {
				all = append(all, crossings(a, b)...)
			}
		}
	}
	return all
}

func crossings(a, b series) []crossing {
	var found []crossing
	values := map[float64]float64{}
	for _, p := range b.points {
		values[p.at] = p.median
	}
	var was point     // the last number that both have
	var ahead float64 // there: how far b is above a
	seen := false
	for _, p := range a.points {
		other, ok := values[p.at]
		if !ok {
			continue
		}
		now := math.Log(other / p.median)
		if seen && now*ahead < 0 {
			part := ahead / (ahead - now)
			c := crossing{at: between(was.at, p.at, part), value: between(was.median, p.median, part), before: b.name, after: a.name}
			if ahead > 0 {
				c.before, c.after = a.name, b.name
			}
			found = append(found, c)
		}
		was, ahead, seen = p, now, true
	}
	return found
}

// between is on a logarithmic scale.
func between(a, b, part float64) float64 { return a * math.Pow(b/a, part) }

func (c crossing) String() string {
	return fmt.Sprintf("%s takes less time up to about %s, %s from there on", c.before, number(rounded(c.at)), c.after)
}

// rounded has two digits: a crossing between measured numbers is known no better.
func rounded(v float64) float64 {
	unit := math.Pow10(int(math.Floor(math.Log10(v))) - 1)
	return math.Round(v/unit) * unit
}
