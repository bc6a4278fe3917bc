package bench

import (
	"fmt"
	"testing"

	"iomux/bench/internal/jobs"
	"iomux/mux"
)

// BenchmarkOverhead is a chain on a loop over epoll and on a bare loop as one
// writes it by hand, round beside round. Ours has more to do for an event, and
// less to tell Go's scheduler where there is something already.
func BenchmarkOverhead(b *testing.B) {
	for _, calls := range []jobs.Calls{jobs.Raw, jobs.Plain} {
		for _, size := range []struct{ n, active int }{{100, 1}, {1000, 100}} {
			b.Run(fmt.Sprintf("calls=%s/n=%d/active=%d", calls.Name, size.n, size.active), func(b *testing.B) {
				raiseLimit(b, 2*size.n+100)
				c, err := jobs.NewChain(size.n, size.active, chainWrites, calls)
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				m, err := mux.Open("epoll")
				if err != nil {
					b.Fatal(err)
				}
				ours, err := c.OnLoop(m)
				if err != nil {
					b.Fatal(err)
				}
				defer ours.Close()
				bare, err := c.OnBare()
				if err != nil {
					b.Fatal(err)
				}
				defer bare.Close()
				var pairs jobs.Comparison
				for b.Loop() {
					if err := pairs.Pair(alone(ours), alone(bare)); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(0, "ns/op")
				pairs.Report(b.ReportMetric, "event", "bare")
			})
		}
	}
}

// turnTaker watches the pipes of a chain that others watch too, by turns.
type turnTaker interface {
	Attach() error
	Round() (jobs.Sample, error)
	Detach() error
}

// alone plays a round while nobody else watches the pipes, after one that brings
// them into the caches.
func alone(d turnTaker) jobs.Round {
	return func() (s jobs.Sample, err error) {
		if err = d.Attach(); err == nil {
			_, err = d.Round()
		}
		if err == nil {
			s, err = d.Round()
		}
		if err == nil {
			err = d.Detach()
		}
		return s, err
	}
}
