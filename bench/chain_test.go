package bench

import (
	"fmt"
	"testing"

	"iomux/bench/internal/jobs"
	"iomux/mux"
)

// BenchmarkChain is jobs.Chain on a loop: what a callback costs with its read and
// its write, and its share of the wait.
func BenchmarkChain(b *testing.B) {
	eachChain(b, func(b *testing.B, c *jobs.Chain) {
		eachBackend(b, func(b *testing.B, m mux.Mux) {
			d := onLoop(b, c, m)
			var pairs jobs.Comparison
			for b.Loop() {
				if err := pairs.Pair(d.Round, nil); err != nil {
					b.Fatal(err)
				}
			}
			pairs.Report(b.ReportMetric, "event", "")
			if err := d.Detach(); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// BenchmarkOverhead is the same chain on a loop over epoll and on a bare loop as
// one writes it by hand, round beside round. Ours has more to do for an event, and
// less to tell Go's scheduler where there is something already.
func BenchmarkOverhead(b *testing.B) {
	eachChain(b, func(b *testing.B, c *jobs.Chain) {
		m, err := mux.Open("epoll")
		if err != nil {
			b.Fatal(err)
		}
		ours := onLoop(b, c, m)
		if err := ours.Detach(); err != nil {
			b.Fatal(err)
		}
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
		pairs.Report(b.ReportMetric, "event", "bare")
	})
}

// writes are few, as libevent has it: with many active pipes a round touches a
// part of them, the same each time, so that what grows with the number of pipes
// is the watching and not the working set.
const writes = 1000

func eachChain(b *testing.B, run func(b *testing.B, c *jobs.Chain)) {
	for _, calls := range []jobs.Calls{jobs.Raw, jobs.Plain} {
		for _, size := range []struct{ n, active int }{{100, 1}, {100, 100}, {1000, 100}, {9900, 100}} {
			b.Run(fmt.Sprintf("calls=%s/n=%d/active=%d", calls.Name, size.n, size.active), func(b *testing.B) {
				raiseLimit(b, uint64(2*size.n+100))
				c, err := jobs.NewChain(size.n, size.active, writes, calls)
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				run(b, c)
			})
		}
	}
}

func onLoop(b *testing.B, c *jobs.Chain, m mux.Mux) *jobs.OnLoop {
	d, err := c.OnLoop(m)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	if err := d.Attach(); err != nil {
		b.Fatal(err)
	}
	return d
}

// dispatcher watches the pipes of a chain that others watch too, by turns.
type dispatcher interface {
	Attach() error
	Round() (jobs.Sample, error)
	Detach() error
}

// alone plays a round while nobody else watches the pipes, after one that brings
// them into the caches.
func alone(d dispatcher) jobs.Round {
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
