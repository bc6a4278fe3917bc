package main

import "fmt"

// comparison is a run of the benchmarks beside another one.
type comparison struct {
	Verdict string
	Rows    []disagreement
}

// disagreement is a figure of which neither run has the other's median within its spread.
type disagreement struct{ Name, Unit, This, Other string }

// compare looks at what both runs measured with a spread.
func compare(this, other *results) *comparison {
	c := &comparison{}
	agree, nowhere := 0, 0
	for _, b := range this.benchmarks {
		o := other.byName[b.name]
		for _, unit := range b.units {
			q, ok := b.quantity(unit)
			if isSpread(unit) || !ok || !q.spread {
				continue
			}
			var theirs quantity
			if ok = o != nil; ok {
				theirs, ok = o.quantity(unit)
			}
			switch {
			case !ok:
				nowhere++
			case q.has(theirs.median) || theirs.has(q.median):
				agree++
			default:
				c.Rows = append(c.Rows, disagreement{b.String(), unit, q.String(), theirs.String()})
			}
		}
	}
	c.Verdict = fmt.Sprintf("%d figures agree within their spread, %d do not, %d are not in the other run", agree, len(c.Rows), nowhere)
	return c
}
