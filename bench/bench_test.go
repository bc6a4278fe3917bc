package bench

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/bench/internal/jobs"
	"iomux/mux"
	"iomux/transport/netlab"
)

var (
	chainSizes  = listFlag("chain.n", "2,10,100,1000,9900", maxPipes, "numbers of pipes in BenchmarkChain")
	chainActive = listFlag("chain.active", "1,100", maxPipes, "how many of them hold a byte at a time, where there are so many")
	timerCount  = numberFlag("timers.n", 100_000, 100_000_000, "timers in BenchmarkTimers")
	windowSizes = listFlag("window.n", "32,256", maxWindow, "requests outstanding in BenchmarkEchoWindow")
	steadyHosts = numberFlag("steady.n", 4096, loopbackHosts, "targets of BenchmarkSteady")
)

func TestMain(m *testing.M) {
	if os.Getenv(refusedVariable) != "" {
		fmt.Fprintln(os.Stderr, refusePtrace())
		os.Exit(1)
	}
	if name := os.Getenv(countedVariable); name != "" {
		os.Exit(counted(name))
	}
	// Half of the usual second for each is enough for medians, and all take three minutes.
	if err := flag.Set("test.benchtime", "500ms"); err != nil {
		panic(err)
	}
	os.Exit(netlab.Main(m))
}

// eachBackend runs a benchmark on every backend, under a name that benchstat
// can make a column of.
func eachBackend(b *testing.B, run func(b *testing.B, m mux.Mux)) {
	for _, name := range mux.Backends() {
		b.Run("backend="+name, func(b *testing.B) {
			m, err := mux.Open(name)
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			run(b, m)
		})
	}
}

// rounds plays rounds by the clock, after one that brings all into the caches, and
// reports what an event took, as the median of the rounds. After each of those it calls
// the functions.
func rounds(b *testing.B, round jobs.Round, after ...func()) *jobs.Comparison {
	if _, err := round(); err != nil {
		b.Fatal(err)
	}
	var c jobs.Comparison
	for b.Loop() {
		if err := c.Pair(round, nil); err != nil {
			b.Fatal(err)
		}
		for _, f := range after {
			f()
		}
	}
	b.ReportMetric(0, "ns/op")
	c.Report(b.ReportMetric, "event", "")
	return &c
}

// measure runs the scenarios of a benchmark on every backend: by the clock in this
// process, and their costs in another one.
func measure(b *testing.B, group string) {
	for _, s := range scenarios() {
		if s.group != group {
			continue
		}
		b.Run(s.params, func(b *testing.B) {
			raiseLimit(b, s.files+100)
			eachBackend(b, func(b *testing.B, m mux.Mux) {
				st, err := s.open(m)
				if err != nil {
					b.Fatal(err)
				}
				defer st.close()
				rounds(b, func() (jobs.Sample, error) { return jobs.Timed(st.events, st.play) })
				reportCost(b, s.name(), m.Name())
			})
		})
	}
}

func BenchmarkAddModifyRemove(b *testing.B) { measure(b, "AddModifyRemove") }
func BenchmarkOneshot(b *testing.B)         { measure(b, "Oneshot") }
func BenchmarkIdle(b *testing.B)            { measure(b, "Idle") }
func BenchmarkWake(b *testing.B)            { measure(b, "Wake") }
func BenchmarkChain(b *testing.B)           { measure(b, "Chain") }
func BenchmarkCascade(b *testing.B)         { measure(b, "Cascade") }

// raiseLimit makes sure that n descriptors may be open, or leaves the benchmark out,
// which is said.
func raiseLimit(b *testing.B, n int) {
	if err := allowFiles(n); err != nil {
		if !testing.Verbose() { // then it is not said of a benchmark
			fmt.Printf("--- SKIP: %s: %v\n", b.Name(), err)
		}
		b.Skip(err)
	}
}

func allowFiles(n int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur >= uint64(n) {
		return nil
	}
	if limit.Max < uint64(n) {
		return fmt.Errorf("%d descriptors needed, the hard limit is %d (RLIMIT_NOFILE)", n, limit.Max)
	}
	limit.Cur = uint64(n)
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}
