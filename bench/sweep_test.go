package bench

import (
	"context"
	"errors"
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
		s := probe(b, m, b.N, prober.Config{Targets: loopback(b, b.N), Count: 1, Timeout: patience})
		b.ReportMetric(float64(s.Events)/s.Wall.Seconds(), "packets/s")
		b.ReportMetric(float64(s.CPU)/float64(s.Events), "cpu-ns/event")
		reportCost(b, sweep().name(), m.Name())
	})
}

// BenchmarkSteady probes 4,096 targets five times a second, evenly. An operation is a
// round of all of them; what counts is the processor time of a probe, as the rate is
// given.
func BenchmarkSteady(b *testing.B) {
	answering(b)
	n := *steadyHosts
	eachBackend(b, func(b *testing.B, m mux.Mux) {
		s := probe(b, m, n*b.N, prober.Config{Targets: loopback(b, n), Count: uint64(b.N), Interval: steadyInterval})
		b.ReportMetric(float64(s.CPU)/float64(s.Events), "cpu-ns/event")
		b.ReportMetric(float64(s.Events)/s.Wall.Seconds(), "packets/s")
		reportCost(b, steady(n).name(), m.Name())
	})
}

const steadyInterval = time.Second / 5

// sweep is BenchmarkSweep with a number of targets that is given, by a prober that is
// made before the round. On one thread the kernel has answered a batch of probes before
// it returns from sending them.
func sweep() scenario {
	const n = 4096
	return scenario{group: "Sweep", params: fmt.Sprintf("n=%d", n), lab: true, open: func(m mux.Mux) (*stage, error) {
		list, err := addresses(n)
		if err == nil {
			err = kernelReplies(true)
		}
		if err != nil {
			return nil, err
		}
		l := loop.New(m)
		var r *run
		return &stage{events: n,
			prepare: func() (err error) {
				if r != nil {
					err = r.Close()
				}
				if err == nil {
					r, err = newRun(l, n, prober.Config{Targets: list, Count: 1, Timeout: patience})
				}
				return err
			},
			play:  func() error { r.Start(); return r.await() },
			close: func() { r.Close(); l.Close() }}, nil
	}}
}

// steady is BenchmarkSteady on a clock that stands still while the prober has something
// to do. On a real one, a prober that is late sends more at a time, with fewer system
// calls for each.
func steady(n int) scenario {
	return scenario{group: "Steady", params: fmt.Sprintf("n=%d", n), lab: true, open: func(m mux.Mux) (*stage, error) {
		list, err := addresses(n)
		if err == nil {
			err = kernelReplies(true)
		}
		if err != nil {
			return nil, err
		}
		clock := &stepped{m, time.Now()}
		l := loop.New(clock, loop.Clock(clock.time))
		r, err := newRun(l, n, prober.Config{Targets: list, Interval: steadyInterval, Clock: clock.time})
		if err != nil {
			l.Close()
			return nil, err
		}
		return &stage{events: n,
			play:  func() error { r.Start(); return r.await() },
			close: func() { r.Close(); l.Close() }}, nil
	}}
}

// stepped is a multiplexer with a clock, on which time passes only when somebody waits
// and nothing is ready, and then at once.
type stepped struct {
	mux.Mux
	now time.Time
}

func (s *stepped) time() time.Time { return s.now }

func (s *stepped) Wait(events []mux.Event, timeout time.Duration) (int, error) {
	if timeout < 0 {
		return s.Mux.Wait(events, timeout)
	}
	n, err := s.Mux.Wait(events, 0)
	if n == 0 {
		s.now = s.now.Add(timeout)
	}
	return n, err
}

// run is a prober on a loop.
type run struct {
	*prober.Prober
	l       *loop.Loop
	failure error
}

// newRun makes one that stops the loop when so many probes have ended, and then again.
// Every one must be answered.
func newRun(l *loop.Loop, probes int, cfg prober.Config) (*run, error) {
	r := &run{l: l}
	cfg.Data = make([]byte, 56)
	ended := 0
	cfg.OnResult = func(result *prober.Result) {
		if result.Outcome != stats.Reply {
			r.failure = fmt.Errorf("%v: %v", result.Addr, result.Outcome)
		}
		if ended++; ended == probes || r.failure != nil {
			ended = 0
			l.Stop()
		}
	}
	cfg.OnFailure = func(err error) { r.failure = err; l.Stop() }
	var err error
	r.Prober, err = prober.New(l, cfg)
	return r, err
}

// await runs the loop until it is stopped.
func (r *run) await() error { return errors.Join(r.l.Run(context.Background()), r.failure) }

// answering has the kernel answer, which other benchmarks switch off.
func answering(b *testing.B) {
	netlab.Need(b)
	if err := kernelReplies(true); err != nil {
		b.Fatal(err)
	}
}

// loopbackHosts are 127.0.0.1 and what follows, but for the broadcast address.
const loopbackHosts = 1<<24 - 2

// addresses are n of them.
func addresses(n int) (*targets.List, error) {
	if n > loopbackHosts {
		return nil, fmt.Errorf("%d targets, but the loopback interface has no more than %d addresses", n, loopbackHosts)
	}
	last := netip.AddrFrom4([4]byte{127, byte(n >> 16), byte(n >> 8), byte(n)})
	return targets.Parse(fmt.Sprintf("127.0.0.1-%v", last))
}

func loopback(b *testing.B, n int) *targets.List {
	list, err := addresses(n)
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
