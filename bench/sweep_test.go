package bench

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/apps/echo/prober/targets"
	"iomux/bench/internal/jobs"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport/netlab"
)

// BenchmarkSweep probes b.N targets once, as fast as they answer: what a probe costs,
// with the kernel's reply to it. The memory is that of the probes it remembers, of
// which there are 65,536 at the most.
func BenchmarkSweep(b *testing.B) {
	answering(b)
	eachBackend(b, func(b *testing.B, m mux.Mux) {
		s := probe(b, m, b.N, prober.Config{Targets: loopback(b, b.N), Count: 1, Timeout: 10 * time.Second})
		b.ReportMetric(float64(s.Events)/s.Wall.Seconds(), "packets/s")
		b.ReportMetric(float64(s.CPU)/float64(s.Events), "cpu-ns/event")
	})
}

// BenchmarkSteady probes 4,096 targets five times a second, evenly. An operation is a
// round of all of them; what counts is the processor time of a probe, as the rate is
// given.
func BenchmarkSteady(b *testing.B) {
	answering(b)
	n := *steadyHosts
	eachBackend(b, func(b *testing.B, m mux.Mux) {
		s := probe(b, m, n*b.N, prober.Config{Targets: loopback(b, n), Count: uint64(b.N), Interval: time.Second / 5})
		b.ReportMetric(float64(s.CPU)/float64(s.Events), "cpu-ns/event")
		b.ReportMetric(float64(s.Events)/s.Wall.Seconds(), "packets/s")
	})
}

// answering has the kernel answer, which other benchmarks switch off.
func answering(b *testing.B) {
	netlab.Need(b)
	lab, err := netlab.Current()
	if err != nil {
		b.Fatal(err)
	}
	defer lab.Close()
	if err := lab.SetEchoReplies(true); err != nil {
		b.Fatal(err)
	}
}

// loopback are n addresses from 127.0.0.1 on.
func loopback(b *testing.B, n int) *targets.List {
	if n >= 1<<24-1 {
		b.Fatalf("%d targets, but the loopback interface has no more than %d addresses", n, 1<<24-2)
	}
	last := netip.AddrFrom4([4]byte{127, byte(n >> 16), byte(n >> 8), byte(n)})
	list, err := targets.Parse(fmt.Sprintf("127.0.0.1-%v", last))
	if err != nil {
		b.Fatal(err)
	}
	return list
}

// probe has a prober on m send that many probes, all of which must be answered.
func probe(b *testing.B, m mux.Mux, probes int, cfg prober.Config) jobs.Sample {
	l := loop.New(m)
	cfg.Data = make([]byte, 56)
	cfg.OnDone = l.Stop
	cfg.OnFailure = func(err error) { b.Error(err); l.Stop() }
	p, err := prober.New(l, cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	b.ReportAllocs()
	b.ResetTimer()
	s, err := jobs.Timed(probes, func() error {
		p.Start()
		return l.Run(context.Background())
	})
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	if total := p.Total().Summary(); total.Of[stats.Reply] != uint64(probes) {
		b.Fatalf("%d of %d probes were answered", total.Of[stats.Reply], probes)
	}
	return s
}
