package peers

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/bench/internal/jobs"
	"iomux/mux"
)

var timerCount = numberFlag("timers.n", 100_000, 1, 5_000_000, "timers in BenchmarkTimers")

// compare makes a benchmark of pairs of rounds with so many events, after a first one
// that does not count.
func compare(b *testing.B, contestant, reference jobs.Round, events int, event string) {
	contestant, reference = counted(contestant, events), counted(reference, events)
	must(b, new(jobs.Comparison).Pair(contestant, reference))
	var c jobs.Comparison
	for b.Loop() {
		must(b, c.Pair(contestant, reference))
	}
	b.ReportMetric(0, "ns/op")
	c.Report(b.ReportMetric, event, libev.name)
}

// counted fails where a round has another number of events, as then what each took tells
// nothing.
func counted(round jobs.Round, events int) jobs.Round {
	if round == nil {
		return nil
	}
	return func() (jobs.Sample, error) {
		s, err := round()
		if err == nil && s.Events != events {
			err = fmt.Errorf("%d events in a round; want %d", s.Events, events)
		}
		return s, err
	}
}

// installed builds a program for a peer and prints what it is, as a line of
// configuration for benchstat. It returns nil if the peer is not installed.
func installed(b *testing.B, p peer, name string) *program {
	prog, err := p.build(b.TempDir(), name)
	if missing(err) {
		return nil
	}
	must(b, err)
	fmt.Printf("%s: %s\n", p.name, prog.about)
	return prog
}

// playing starts a program, for the length of the benchmark. It returns nil if
// there is none.
func playing(b *testing.B, prog *program, command string, args ...int) jobs.Round {
	if prog == nil {
		return nil
	}
	var texts []string
	for _, arg := range args {
		texts = append(texts, strconv.Itoa(arg))
	}
	p, err := prog.start(texts...)
	must(b, err)
	b.Cleanup(func() {
		if err := p.close(); err != nil {
			b.Error(err)
		}
	})
	return func() (jobs.Sample, error) { return p.play(command) }
}

// dispatcher plays rounds of a chain.
type dispatcher interface {
	Attach() error
	Round() (jobs.Sample, error)
	Close() error
}

func BenchmarkChain(b *testing.B) {
	const writes = 50000
	libevChain, libeventChain, bareChain := installed(b, libev, "chain"), installed(b, libevent, "chain"), installed(b, bareC, "chain")
	fmt.Printf("bare-go: epoll, %s\n", runtime.Version())
	fmt.Printf("goroutines: %s\n", runtime.Version())
	for _, size := range []struct{ n, active int }{{100, 1}, {100, 100}, {1000, 100}, {9900, 100}} {
		against := func(b *testing.B, contestant jobs.Round) {
			compare(b, contestant, playing(b, libevChain, "round", size.n, size.active, writes), size.active+writes, "event")
		}
		inC := func(p peer, prog *program) {
			b.Run(fmt.Sprintf("n=%d/active=%d/loop=%s", size.n, size.active, p.name), func(b *testing.B) {
				needFiles(b, 2*size.n+100)
				if prog == nil {
					b.Skip(notInstalled{p})
				}
				against(b, playing(b, prog, "round", size.n, size.active, writes))
			})
		}
		inGo := func(name string, on func(*jobs.Chain) (dispatcher, error)) {
			for _, calls := range []jobs.Calls{jobs.Raw, jobs.Plain} {
				b.Run(fmt.Sprintf("n=%d/active=%d/loop=%s/calls=%s", size.n, size.active, name, calls.Name), func(b *testing.B) {
					needFiles(b, 2*size.n+100)
					c, err := jobs.NewChain(size.n, size.active, writes, calls)
					must(b, err)
					defer c.Close()
					d, err := on(c)
					must(b, err)
					defer d.Close()
					must(b, d.Attach())
					against(b, d.Round)
				})
			}
		}
		inGo("iomux", func(c *jobs.Chain) (dispatcher, error) {
			m, err := mux.Open("epoll")
			if err != nil {
				return nil, err
			}
			return c.OnLoop(m)
		})
		inGo("bare-go", func(c *jobs.Chain) (dispatcher, error) { return c.OnBare() })
		b.Run(fmt.Sprintf("n=%d/active=%d/loop=goroutines", size.n, size.active), func(b *testing.B) {
			needFiles(b, 2*size.n+100)
			g, err := newGoroutines(size.n, size.active, writes)
			must(b, err)
			defer g.close()
			against(b, g.round)
		})
		inC(bareC, bareChain)
		inC(libevent, libeventChain)
		inC(libev, libevChain)
	}
}

// needFiles skips a benchmark that opens more descriptors than the process may
// have. Package os has raised the limit as far as it goes.
func needFiles(b *testing.B, n int) {
	var limit unix.Rlimit
	must(b, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	if limit.Cur < uint64(n) {
		loud{b}.Skipf("%d descriptors needed, the hard limit is %d (RLIMIT_NOFILE)", n, limit.Max)
	}
}

// loud is a benchmark that says why it is left out, which package testing does with -v
// alone.
type loud struct{ *testing.B }

func (b loud) Skipf(format string, args ...any) {
	b.Helper()
	why := fmt.Sprintf(format, args...)
	if !testing.Verbose() {
		fmt.Printf("--- SKIP: %s: %s\n", b.Name(), why)
	}
	b.Skip(why)
}

func BenchmarkTimers(b *testing.B) {
	const within = time.Second
	n := *timerCount
	libevTimers, libeventTimers := installed(b, libev, "timers"), installed(b, libevent, "timers")
	for _, job := range timerJobs {
		against := func(b *testing.B, contestant jobs.Round) {
			compare(b, contestant, playing(b, libevTimers, job, n, int(within)), n, "timer")
		}
		inC := func(p peer, prog *program, variant, command string) {
			b.Run("job="+job+"/loop="+p.name+variant, func(b *testing.B) {
				if prog == nil {
					b.Skip(notInstalled{p})
				}
				against(b, playing(b, prog, command, n, int(within)))
			})
		}
		b.Run("job="+job+"/loop=iomux", func(b *testing.B) {
			t, err := newTimers(n, within)
			must(b, err)
			defer t.close()
			against(b, func() (jobs.Sample, error) { return t.play(job) })
		})
		inC(libevent, libeventTimers, "", job)
		inC(libev, libevTimers, "", job)
		if job == "arm" {
			inC(libevent, libeventTimers, "-now", "arm-now")
			inC(libev, libevTimers, "-now", "arm-now")
		}
	}
}
