package bench

import (
	"context"
	"testing"
	"time"

	"iomux/mux"
	"iomux/mux/loop"
)

// BenchmarkTimers arms timers on a loop in random order, lets them fire, or stops
// them, and tells what each costs.
func BenchmarkTimers(b *testing.B) {
	eachBackend(b, func(b *testing.B, m mux.Mux) {
		due := make([]time.Duration, *timerCount) // within a millisecond, some at the same time
		x := uint32(1)
		for i := range due {
			x = x*1664525 + 1013904223
			due[i] = time.Duration(x >> 12)
		}
		l := loop.New(m)
		defer l.Close()
		armed := make([]*loop.Timer, len(due))
		var add, fire, stop time.Duration
		rounds, fired := 0, 0
		count := func() {
			if fired++; fired == len(due) {
				l.Stop()
			}
		}
		for b.Loop() {
			rounds++
			start := time.Now()
			for i, d := range due {
				armed[i] = l.AfterFunc(time.Hour+d, count)
			}
			add += time.Since(start)

			start = time.Now()
			for _, t := range armed {
				t.Stop()
			}
			stop += time.Since(start)

			for i, d := range due {
				armed[i].Reset(d)
			}
			fired = 0
			start = time.Now()
			if err := l.Run(context.Background()); err != nil {
				b.Fatal(err)
			}
			fire += time.Since(start)
		}
		b.ReportMetric(0, "ns/op")
		for name, d := range map[string]time.Duration{"ns/add": add, "ns/fire": fire, "ns/stop": stop} {
			b.ReportMetric(float64(d.Nanoseconds())/float64(rounds*len(due)), name)
		}
		reportCost(b, "Timers/op=arm-fire", m.Name())
	})
}
