package bench

import (
	"context"
	"testing"
	"time"

	"iomux/bench/internal/jobs"
	"iomux/mux"
	"iomux/mux/loop"
)

// BenchmarkTimers arms timers on a loop in random order, stops them, and lets them fire
// when all are due, and tells what each costs.
func BenchmarkTimers(b *testing.B) {
	const within = time.Millisecond
	eachBackend(b, func(b *testing.B, m mux.Mux) {
		due := make([]time.Duration, *timerCount) // some at the same time
		x := uint32(1)
		for i := range due {
			x = x*1664525 + 1013904223
			due[i] = time.Duration(x) % within
		}
		l := loop.New(m)
		defer l.Close()
		armed := make([]*loop.Timer, len(due))
		var add, fire, stop []float64 // ns for each timer, by rounds
		each := func(times []float64, start time.Time) []float64 {
			return append(times, float64(time.Since(start))/float64(len(due)))
		}
		fired := 0
		count := func() {
			if fired++; fired == len(due) {
				l.Stop()
			}
		}
		for b.Loop() {
			start := time.Now()
			for i, d := range due {
				armed[i] = l.AfterFunc(time.Hour+d, count)
			}
			add = each(add, start)

			start = time.Now()
			for _, t := range armed {
				t.Stop()
			}
			stop = each(stop, start)

			for i, d := range due {
				armed[i].Reset(d)
			}
			time.Sleep(within) // until all are due
			fired = 0
			start = time.Now()
			if err := l.Run(context.Background()); err != nil {
				b.Fatal(err)
			}
			fire = each(fire, start)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(jobs.Median(add), "ns/add")
		b.ReportMetric(jobs.Median(fire), "ns/fire")
		b.ReportMetric(jobs.Median(stop), "ns/stop")
		reportCost(b, "Timers/op=arm-fire", m.Name())
	})
}
