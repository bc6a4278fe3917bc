package peers

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"iomux/bench/internal/jobs"
	"iomux/transport/netlab"
)

var (
	sweepSizes = flag.String("sweep.n", "65534,262144", "numbers of targets in BenchmarkSweep, at most 16777215")
	steadyTime = flag.Duration("steady.time", 3*time.Second, "length of a round of BenchmarkSteady, in whole seconds")
)

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

// contest is where probers are compared: a network namespace that is theirs alone.
type contest struct {
	lab *netlab.Namespace
	l   launcher
}

// newContest returns nil where the compiler is missing, which is said.
func newContest(b *testing.B) *contest {
	b.Helper()
	netlab.Need(b)
	l, err := newLauncher(b.TempDir())
	if missing(err) {
		return nil
	}
	check(b, err)
	lab, err := netlab.New()
	check(b, err)
	b.Cleanup(func() { lab.Close() })
	return &contest{lab, l}
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// missing says which program is not installed, if that is the error.
func missing(err error) bool {
	is := errors.As(err, new(notInstalled))
	if is {
		fmt.Println(err)
	}
	return is
}

// have returns a prober, or nil if it is not installed. What it is, or that, is
// printed as a line of configuration for benchstat.
func have(b *testing.B, p *prober, err error) *prober {
	b.Helper()
	if missing(err) {
		return nil
	}
	check(b, err)
	fmt.Printf("%s: %s\n", p.name, p.about)
	return p
}

func (c *contest) rounds(p *prober, l load) *rounds {
	return &rounds{p: p, l: c.l, in: c.lab, load: l}
}

// compare makes a benchmark of pairs of rounds. Without a reference there are no
// ratios.
func (c *contest) compare(b *testing.B, p, reference *prober, l, ofReference load) {
	ours := c.rounds(p, l)
	name, theirs := "", jobs.Round(nil)
	if reference != nil {
		name, theirs = reference.name, c.rounds(reference, ofReference).play
	}
	var pairs jobs.Comparison
	for b.Loop() {
		check(b, pairs.Pair(ours.play, theirs))
	}
	b.ReportMetric(0, "ns/op")
	pairs.Report(b.ReportMetric, "probe", name)
	pairs.ReportCPU(b.ReportMetric, name)
	b.ReportMetric(jobs.Median(ours.resident)/1e6, "MB")
	if rtt := jobs.Median(ours.rtts); rtt > 0 {
		b.ReportMetric(rtt, "ns-rtt")
	}
	if l.gap > 0 {
		b.ReportMetric(100*pairs.CPU()/float64(l.gap), "%core")
	}
}

func BenchmarkSweep(b *testing.B) {
	c := newContest(b)
	if c == nil {
		return
	}
	dir := b.TempDir()
	echo, err := newEcho(dir)
	echo = have(b, echo, err)
	bare, err := newBare(dir)
	bare = have(b, bare, err)
	other, err := newFping(false)
	other = have(b, other, err)
	for text := range strings.SplitSeq(*sweepSizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 2 || n > 1<<24-1 {
			b.Fatalf("-sweep.n: %q, want numbers from 2 to %d, separated by commas", text, 1<<24-1)
		}
		sweep := load{netip.AddrFrom4([4]byte{127, 0, 0, 0}), n, 1, 0}
		against := func(reference *prober, probers ...*prober) {
			for _, p := range probers {
				if p != nil {
					b.Run(fmt.Sprintf("n=%d/prober=%s", n, p.name), func(b *testing.B) { c.compare(b, p, reference, sweep, sweep) })
				}
			}
		}
		if n < 1<<16 {
			against(other, echo, bare, other)
		} else {
			against(bare, echo, bare) // fping cannot
		}
	}
}

func BenchmarkFlood(b *testing.B) {
	c := newContest(b)
	if c == nil {
		return
	}
	dir := b.TempDir()
	echo, err := newEcho(dir)
	echo = have(b, echo, err)
	bare, err := newBare(dir)
	bare = have(b, bare, err)
	other, err := newPing()
	other = have(b, other, err)
	flood := load{netip.AddrFrom4([4]byte{127, 0, 0, 1}), 1, 300_000, 0}
	for _, p := range []*prober{echo, bare, other} {
		if p != nil {
			b.Run("prober="+p.name, func(b *testing.B) { c.compare(b, p, other, flood, flood) })
		}
	}
}

// steadyTargets are probed once a second each.
const steadyTargets = 4096

func BenchmarkSteady(b *testing.B) {
	c := newContest(b)
	if c == nil {
		return
	}
	if *steadyTime < time.Second {
		b.Fatalf("-steady.time: %v, want a second or more", *steadyTime)
	}
	dir := b.TempDir()
	echo, err := newEcho(dir)
	echo = have(b, echo, err)
	bare, err := newBare(dir)
	bare = have(b, bare, err)
	even, err := newFping(false)
	even = have(b, even, err)
	burst, err := newFping(true)
	burst = have(b, burst, err)
	rounds := int(steadyTime.Seconds())
	many := load{c.far(b), steadyTargets, rounds, time.Second / steadyTargets}
	one := load{many.first.Next(), 1, rounds * steadyTargets, many.gap}
	run := func(name string, p, reference *prober, l load) {
		if p != nil {
			b.Run("n="+strconv.Itoa(l.n)+"/prober="+name, func(b *testing.B) { c.compare(b, p, reference, l, many) })
		}
	}
	run("echo", echo, even, many)
	run("echo", echo, nil, one)
	run("bare-c", bare, even, many)
	run("fping-burst", burst, even, many)
}

// far lays a cable to a namespace whose kernel answers 4096 addresses, and returns the
// first of them. They are behind a gateway, for ARP does not get on with thousands of
// neighbours.
func (c *contest) far(b *testing.B) netip.Addr {
	b.Helper()
	peer, err := netlab.New()
	check(b, err)
	b.Cleanup(func() { peer.Close() })
	targets, gateway := netip.MustParsePrefix("10.8.0.0/20"), netip.MustParsePrefix("10.7.0.2/24")
	check(b, netlab.Veth(
		netlab.End{In: c.lab, Name: "near", Addrs: []netip.Prefix{netip.MustParsePrefix("10.7.0.1/24")}},
		netlab.End{In: peer, Name: "far", Addrs: []netip.Prefix{gateway}}))
	check(b, peer.AddLocalRoute(targets))
	check(b, c.lab.AddRoute(netlab.Route{Prefix: targets, Via: gateway.Addr()}))
	return targets.Addr()
}

// BenchmarkInFlight has a quarter of a million requests in flight, which nobody
// answers, and tells what each takes of the resident size.
func BenchmarkInFlight(b *testing.B) {
	c := newContest(b)
	if c == nil {
		return
	}
	check(b, c.lab.SetEchoReplies(false))
	echo, err := newEcho(b.TempDir())
	echo = have(b, echo, err)
	silent := func(n int) float64 {
		l := load{netip.AddrFrom4([4]byte{127, 0, 0, 0}), n, 1, 0}
		args := append(echo.args(l), "--timeout", "5s", "--window", strconv.Itoa(n))
		said, costs, err := c.l.run(c.lab, args...)
		t, failed := total(said)
		if failed != nil || t.Sent != n || t.Timeouts != n {
			b.Fatalf("%s: %v, %v: %d sent, %d timed out; want %d\n%s", strings.Join(args, " "), err, failed, t.Sent, t.Timeouts, n, tail(said))
		}
		return float64(costs.resident)
	}
	const few, many = 1 << 10, 1 << 18
	var each, all []float64
	for b.Loop() {
		base, full := silent(few), silent(many)
		each, all = append(each, (full-base)/(many-few)), append(all, full)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(jobs.Median(each), "B/probe")
	b.ReportMetric(jobs.Median(all)/1e6, "MB")
}
