package jobs

import (
	"slices"
	"time"
)

// Latencies are how long single round trips took. The zero value has none.
type Latencies []time.Duration

// remembered is how many round trips are looked at, in order not to need more than 32 MB
// in a benchmark that runs for hours.
const remembered = 1 << 22

// Add adds those of a round. It belongs outside of the clock.
func (l *Latencies) Add(round []time.Duration) {
	*l = append(*l, round[:min(len(round), remembered-len(*l))]...)
}

// Report hands out percentiles, if there is anything to tell. It is given a benchmark's
// ReportMetric.
func (l Latencies) Report(metric func(value float64, unit string)) {
	if len(l) == 0 {
		return
	}
	sorted := slices.Sorted(slices.Values(l))
	for _, p := range []struct {
		of   float64
		unit string
	}{{0.5, "p50-ns"}, {0.9, "p90-ns"}, {0.99, "p99-ns"}, {0.999, "p999-ns"}} {
		metric(float64(nearest(sorted, p.of)), p.unit)
	}
}
