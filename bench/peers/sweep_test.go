package peers

import (
	"errors"
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
	scanSizes  = numbersFlag("scan.n", "4096", 2, 1<<16, "numbers of targets in BenchmarkScan, powers of two")
	scanRate   = numberFlag("scan.rate", 20_000, 200, 1_000_000, "requests in a second in BenchmarkScan")
	sweepSizes = numbersFlag("sweep.n", "65534,262144", 2, 1<<24-1, "numbers of targets in BenchmarkSweep")
	floodCount = numberFlag("flood.n", 30_000, 3, 1<<24, "requests in a round of BenchmarkFlood, a third of it for nping and pro-bing")
	steadyTime = secondsFlag("steady.time", time.Second, 5*time.Minute, "length of a round of BenchmarkSteady")
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
	netlab.Need(loud{b})
	l, err := newLauncher(b.TempDir())
	if missing(err) {
		return nil
	}
	must(b, err)
	lab, err := netlab.New()
	must(b, err)
	b.Cleanup(func() { lab.Close() })
	return &contest{lab, l}
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
	must(b, err)
	fmt.Printf("%s: %s\n", p.name, p.about)
	return p
}

func (c *contest) rounds(p *prober, l load) *rounds {
	return &rounds{p: p, l: c.l, in: c.lab, load: l}
}

// compare makes a benchmark of pairs of rounds. Without a reference there are no
// ratios. All rounds count: each is a process, for which the first is no colder than
// the others.
func (c *contest) compare(b *testing.B, p, reference *prober, l, ofReference load) {
	ours := c.rounds(p, l)
	name, theirs := "", jobs.Round(nil)
	if reference != nil {
		name, theirs = reference.name, c.rounds(reference, ofReference).play
	}
	var pairs jobs.Comparison
	for b.Loop() {
		must(b, pairs.Pair(ours.play, theirs))
	}
	b.ReportMetric(0, "ns/op")
	pairs.Report(b.ReportMetric, "probe", name)
	pairs.ReportCPU(b.ReportMetric, name)
	b.ReportMetric(jobs.Median(ours.resident)/1e6, "MB")
	if rtt := jobs.Median(ours.rtts); rtt > 0 {
		b.ReportMetric(rtt, "ns-rtt")
	}
	if p.loses {
		b.ReportMetric(jobs.Median(ours.lost), "%lost")
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
	byHand, err := newGoping(dir, "x-net")
	byHand = have(b, byHand, err)
	for _, n := range *sweepSizes {
		first := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if n == 1<<24-1 {
			first = first.Prev() // which kernels before 5.14 take for a broadcast address
		}
		sweep := load{first, n, 1, 0}
		against := func(reference *prober, probers ...*prober) {
			for _, p := range probers {
				if p != nil {
					b.Run(fmt.Sprintf("n=%d/prober=%s", n, p.name), func(b *testing.B) { c.compare(b, p, reference, sweep, sweep) })
				}
			}
		}
		if n < 1<<16 {
			against(other, echo, bare, other, byHand)
		} else {
			against(bare, echo, bare, byHand) // fping cannot
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
	byHand, err := newGoping(dir, "x-net")
	byHand = have(b, byHand, err)
	pinger, err := newGoping(dir, "pro-bing")
	pinger = have(b, pinger, err)
	raw, err := newNping()
	raw = have(b, raw, err)
	flood := load{netip.AddrFrom4([4]byte{127, 0, 0, 1}), 1, *floodCount, 0}
	third := flood
	third.count /= 3
	run := func(p *prober, l load) {
		if p != nil {
			b.Run("prober="+p.name, func(b *testing.B) { c.compare(b, p, other, l, flood) })
		}
	}
	for _, p := range []*prober{echo, bare, other, byHand} {
		run(p, flood)
	}
	run(pinger, third)
	run(raw, third)
}

func BenchmarkSteady(b *testing.B) {
	c := newContest(b)
	if c == nil {
		return
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
	byHand, err := newGoping(dir, "x-net")
	byHand = have(b, byHand, err)
	pinger, err := newGoping(dir, "pro-bing")
	pinger = have(b, pinger, err)
	datagram, err := newGoping(dir, "pro-bing-udp")
	datagram = have(b, datagram, err)
	must(b, c.lab.SetPingGroups(0, 0)) // for pro-bing-udp; the others prefer raw sockets
	targets := c.far(b).targets.Addr()
	rounds := int(steadyTime.Seconds())
	every := func(n int) load { return load{targets, n, rounds, time.Second / time.Duration(n)} } // second
	many, few := every(4096), every(256)
	one := load{targets.Next(), 1, rounds * many.n, many.gap}
	run := func(p, reference *prober, l, ofReference load) {
		if p != nil {
			b.Run("n="+strconv.Itoa(l.n)+"/prober="+p.name, func(b *testing.B) {
				if p == pinger || p == datagram {
					needFiles(b, l.n+100)
				}
				c.compare(b, p, reference, l, ofReference)
			})
		}
	}
	for _, p := range []*prober{echo, bare, even, burst, byHand, pinger, datagram} {
		run(p, even, many, many)
	}
	for _, p := range []*prober{echo, even, byHand, pinger, datagram} {
		run(p, even, few, few)
	}
	run(echo, nil, one, load{})
}

// far lays a wire for the length of the benchmark.
func (c *contest) far(b *testing.B) *wire {
	b.Helper()
	w, err := newWire(c.lab)
	must(b, err)
	b.Cleanup(func() { w.close() })
	return w
}

// BenchmarkScan compares with probers that build frames themselves. They do not look
// whether anybody answers, so all go at the same rate.
func BenchmarkScan(b *testing.B) {
	c := newContest(b)
	if c == nil {
		return
	}
	for _, n := range *scanSizes {
		if n&(n-1) != 0 { // which zmap and masscan take as a prefix
			b.Fatalf("-scan.n: %d, want powers of two", n)
		}
	}
	w := c.far(b)
	stop, err := w.knock()
	must(b, err)
	b.Cleanup(stop)
	dir := b.TempDir()
	echo, err := newEcho(dir)
	echo = have(b, echo, err)
	bare, err := newBare(dir)
	bare = have(b, bare, err)
	other, err := newFping(false)
	other = have(b, other, err)
	mass, err := newMasscan(w)
	mass = have(b, mass, err)
	zm, err := newZmap(w)
	zm = have(b, zm, err)
	for _, n := range *scanSizes {
		scan := load{w.targets.Addr(), n, 1, time.Second / time.Duration(*scanRate)}
		for _, p := range []*prober{echo, bare, other, mass, zm} {
			if p != nil && (p != other || n < 1<<16) { // fping cannot
				b.Run(fmt.Sprintf("n=%d/prober=%s", n, p.name), func(b *testing.B) { c.compare(b, p, bare, scan, scan) })
			}
		}
	}
}

// BenchmarkInFlight has a quarter of a million requests in flight, which nobody
// answers, and tells what each takes of the resident size.
func BenchmarkInFlight(b *testing.B) {
	c := newContest(b)
	if c == nil {
		return
	}
	must(b, c.lab.SetEchoReplies(false))
	echo, err := newEcho(b.TempDir())
	echo = have(b, echo, err)
	silent := func(n int) float64 {
		l := load{netip.AddrFrom4([4]byte{127, 0, 0, 1}), n, 1, 0}
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
