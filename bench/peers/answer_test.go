package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iomux/bench/internal/jobs"
	"iomux/transport/netlab"
)

var answerCount = numberFlag("answer.n", 20_000, 1, 1_000_000, "requests in a round of the benchmarks of servers")

// arena is where servers are compared.
type arena struct {
	dir    string
	load   *program
	echo   string // the command
	lesson *server
}

// newArena returns nil where the compiler is missing, which is said.
func newArena(b *testing.B) *arena {
	b.Helper()
	netlab.Need(loud{b})
	dir := b.TempDir()
	load, err := bareC.build(dir, "load")
	if missing(err) {
		return nil
	}
	must(b, err)
	a := &arena{dir: dir, load: load}
	a.echo, err = buildEcho(dir)
	must(b, err)
	a.have(b, newEchoServer(a.echo), nil)
	lesson, err := newLesson(dir)
	a.lesson = a.have(b, lesson, err)
	return a
}

// have prints what a server is, as a line of configuration for benchstat.
func (a *arena) have(b *testing.B, s *server, err error) *server {
	b.Helper()
	must(b, err)
	fmt.Printf("%s: %s\n", s.name, s.about)
	return s
}

// window has 256 requests outstanding, from a client that does not sleep, so that no
// server pays for waking it.
func window() requests {
	return requests{count: *answerCount, window: 256, spin: 100 * time.Microsecond}
}

// trip has one request outstanding at a time.
func trip(spin time.Duration) requests {
	return requests{count: max(1, *answerCount/10), window: 1, spin: spin}
}

// against makes a benchmark of pairs of rounds, after a first one that does not count.
// Both servers run all the time; the one whose round it is not sleeps.
func (a *arena) against(b *testing.B, contestant, reference *server, ours, theirs requests) {
	play := func(s *server, r requests) *session {
		running, err := s.start(a.load, r)
		must(b, err)
		b.Cleanup(func() {
			if err := running.close(); err != nil {
				b.Error(err)
			}
		})
		return running
	}
	c, ref := play(contestant, ours), play(reference, theirs)
	must(b, new(jobs.Comparison).Pair(c.round, ref.round))
	var pairs jobs.Comparison
	var trips jobs.Latencies
	for b.Loop() {
		must(b, pairs.Pair(c.round, ref.round))
		trips.Add(c.trips)
	}
	b.ReportMetric(0, "ns/op")
	pairs.Report(b.ReportMetric, "reply", reference.name)
	pairs.ReportCPU(b.ReportMetric, reference.name)
	b.ReportMetric(1e9/pairs.CPU(), "replies/cpu-s")
	trips.Report(b.ReportMetric)
}

// BenchmarkServer compares what a reply costs a server.
func BenchmarkServer(b *testing.B) {
	a := newArena(b)
	if a == nil {
		return
	}
	run := func(network string, s, reference *server) {
		b.Run(fmt.Sprintf("%s/server=%s/reference=%s", network, s.name, reference.name), func(b *testing.B) {
			if s.tun || reference.tun {
				needTun(loud{b})
			}
			a.against(b, s, reference, window(), window())
		})
	}
	batch, err := newBatch(a.dir, true)
	batch = a.have(b, batch, err)
	bare, err := newBatch(a.dir, false)
	bare = a.have(b, bare, err)
	tun, err := newTun(a.dir)
	tun = a.have(b, tun, err)
	raw := newEchoServer(a.echo)
	run("Raw", raw, a.lesson)
	run("Raw", raw, batch)
	run("Raw", batch, a.lesson)
	run("Raw", bare, a.lesson)
	run("Raw", a.lesson, a.lesson)
	run("TUN", newEchoTun(a.echo), a.lesson)
	run("TUN", newEchoTun(a.echo), tun)
	run("TUN", tun, a.lesson)
}

// BenchmarkLoops has two loops answer, beside one, requests to many addresses, by which
// they share them. With processors=1 both servers have one processor and the client
// another: what the loops cost without a gain from them. With processors=all there is
// one for each loop, and where there are no more than two, the client is in the way of one.
func BenchmarkLoops(b *testing.B) {
	a := newArena(b)
	if a == nil {
		return
	}
	const all = 1 << 10
	for _, network := range []struct {
		name  string
		serve func(path string, flags ...string) *server
	}{{"Raw", newEchoServer}, {"TUN", newEchoTun}} {
		for _, processors := range []struct {
			name string
			n    int
		}{{"1", 1}, {"all", all}} {
			b.Run(network.name+"/loops=2/processors="+processors.name, func(b *testing.B) {
				two, one := network.serve(a.echo, "--loops", "2"), network.serve(a.echo, "--loops", "1")
				if one.tun {
					needTun(loud{b})
				}
				one.name, one.cpus, two.cpus = "one", processors.n, processors.n
				r := window()
				r.targets = 1 << 16
				a.against(b, two, one, r, r)
			})
		}
	}
}

// BenchmarkRoundTrip has one request outstanding. With spin=50us neither client nor
// server sleeps until nothing has happened for that time; the lesson always does. The
// percentiles are of single round trips of the contestant.
func BenchmarkRoundTrip(b *testing.B) {
	a := newArena(b)
	if a == nil {
		return
	}
	b.Run("server=echo/spin=0", func(b *testing.B) {
		a.against(b, newEchoServer(a.echo), a.lesson, trip(0), trip(0))
	})
	b.Run("server=echo/spin=50us", func(b *testing.B) {
		a.against(b, newEchoServer(a.echo, "--spin", "50us"), a.lesson, trip(50*time.Microsecond), trip(0))
	})
	b.Run("server=lesson/spin=0", func(b *testing.B) { a.against(b, a.lesson, a.lesson, trip(0), trip(0)) })
}

// BenchmarkRules answers for 10.0.0.0/8 by a file of 100,000 rules, beside one rule.
func BenchmarkRules(b *testing.B) {
	a := newArena(b)
	if a == nil {
		return
	}
	const many = 100_000
	file := func(n int) string {
		path := filepath.Join(a.dir, fmt.Sprintf("rules-%d.yaml", n))
		must(b, os.WriteFile(path, []byte(rulesFile(n)), 0o600))
		return path
	}
	one := newEchoTun(a.echo, "--rules", file(1))
	one.name = "one"
	b.Run(fmt.Sprintf("n=%d", many), func(b *testing.B) {
		needTun(loud{b})
		a.against(b, newEchoTun(a.echo, "--rules", file(many)), one, window(), window())
	})
}

// rulesFile has n rules that change nothing: the last one is for all of 10.0.0.0/8, and
// those before are for as many prefixes in it, of 128 addresses each.
func rulesFile(n int) string {
	var s strings.Builder
	s.WriteString("version: 1\nrules:\n")
	for i := range n - 1 {
		fmt.Fprintf(&s, "  - to: 10.%d.%d.%d/25\n", i>>9&255, i>>1&255, i<<7&255)
	}
	fmt.Fprintf(&s, "  - to: %s\n", tunPrefix)
	return s.String()
}
