package report

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/apps/echo/prober/targets"
)

// hosts are targets held in a slice.
type hosts []targets.Target

func (h hosts) Len() uint64                { return uint64(len(h)) }
func (h hosts) At(i uint64) targets.Target { return h[i] }
func (h hosts) Counts() targets.Counts {
	var c targets.Counts
	for _, t := range h {
		switch {
		case t.Name != "":
			c.Names++
		case t.Addr.Is4():
			c.IPv4++
		default:
			c.IPv6++
		}
	}
	return c
}

var (
	one    = netip.MustParseAddr("192.0.2.1")
	two    = netip.MustParseAddr("192.0.2.2")
	router = netip.MustParseAddr("198.51.100.9")
	six    = netip.MustParseAddr("2001:db8::1")
)

// noon is the time of all events.
func noon() time.Time { return time.Date(2024, 5, 17, 12, 0, 0, 123456789, time.UTC) }

// reply is an answer of one.
func reply(number uint64, rtt time.Duration) prober.Result {
	return prober.Result{Addr: one, Number: number, Last: true, RTT: rtt, Clock: prober.Kernel,
		From: one, TTL: 64, Size: 64}
}

// with returns a result that differs.
func with(r prober.Result, change func(*prober.Result)) prober.Result {
	change(&r)
	return r
}

// silence is what became of a probe that nobody answered.
func silence(o stats.Outcome, number uint64) prober.Result {
	return prober.Result{Outcome: o, Addr: one, Number: number, Last: true}
}

// refused is an ICMP error.
func refused(number uint64, typ, code uint8) prober.Result {
	return prober.Result{Outcome: stats.ICMPError, Addr: one, Number: number, Last: true, From: router, Type: typ, Code: code}
}

// answered is a target with these round-trip times.
func answered(times ...time.Duration) *stats.Target {
	t := new(stats.Target)
	for _, d := range times {
		t.Sent()
		t.Answer(stats.Reply, d)
	}
	return t
}

// lost is a target with so many timeouts.
func lost(n int) *stats.Target {
	t := new(stats.Target)
	for range n {
		t.Sent()
		t.Count(stats.Timeout)
	}
	return t
}

// quantiles returns a summary with these quantiles, in microseconds: a Target only
// estimates them.
func quantiles(t *stats.Target, p50, p90, p99, p999 time.Duration) stats.Summary {
	s := t.Summary()
	us := time.Microsecond
	s.P50, s.P90, s.P99, s.P999 = p50*us, p90*us, p99*us, p999*us
	return s
}

// makers are the Writers.
var makers = map[string]func(io.Writer, Options) Writer{"ping": NewPing, "list": NewList, "json": NewJSON, "csv": NewCSV}

// script is a run: what is written for it is the output.
type script struct {
	o         Options
	run       Run
	results   []prober.Result
	summaries []Summary
}

func (s script) play(t testing.TB, newWriter func(io.Writer, Options) Writer) string {
	t.Helper()
	var out strings.Builder
	if s.o.Now == nil {
		s.o.Now = noon
	}
	w := newWriter(&out, s.o)
	errs := []error{w.Begin(&s.run)}
	for i := range s.results {
		errs = append(errs, w.Result(&s.results[i]))
	}
	for i := range s.summaries {
		errs = append(errs, w.Summary(&s.summaries[i]))
	}
	if err := errors.Join(append(errs, w.Flush())...); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// golden compares an output with the lines it should have. Indentation and the first
// line break of want are left out.
func golden(t *testing.T, got, want string) {
	t.Helper()
	want = strings.ReplaceAll(strings.TrimPrefix(want, "\n"), "\t", "")
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// hostile are texts that somebody might send.
var hostile = []string{
	"\x1b[31mred\x1b[0m", "\x9b31m", "two\nlines", "back\rward", "\a\b\x00\x7f", "a\u0085b", "\u202etxt.exe", "\u200fright\u061cto\u2067left", "\u2028\u2029",
	`quote"back\slash`, "\xff\xfe", "half \xe2\x82", "\U000e0041tag", "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "a;=1", "\uff1d1",
	"is alive (1 ms)", "</script>", strings.Repeat("x", 70000), "\xed\xa0\x80", "\ufffd", "näme", "",
}

// infest puts a hostile text wherever there can be one.
func (s *script) infest(text string) {
	zone := netip.MustParseAddr("fe80::1").WithZone(text)
	s.run = Run{Targets: hosts{{Addr: zone, Name: text}, {Addr: zone}}, Interface: text, Source: zone, Clock: prober.User,
		Target: func(uint64) *stats.Target { return lost(1) }}
	for o := range stats.Outcomes {
		s.results = append(s.results,
			prober.Result{Outcome: o, Addr: zone, Name: text, From: zone, Number: 1, Last: true, Err: errors.New(text), Size: 9, Clock: prober.User},
			prober.Result{Outcome: o, Target: prober.NoTarget, From: zone, Err: errors.New(text)})
	}
	s.summaries = []Summary{{Interim: true}, {}}
}

func TestNothingHostileReachesATerminal(t *testing.T) {
	for _, text := range hostile {
		for name, newWriter := range makers {
			for _, o := range []Options{{}, {Verbose: true}, {Alive: true, Unreachable: true}, {Quiet: true}} {
				s := script{o: o}
				s.infest(text)
				got := s.play(t, newWriter)
				if !utf8.ValidString(got) {
					t.Errorf("%s: %.80q makes output that is no UTF-8: %.300q", name, text, got)
				}
				for line := range strings.SplitSeq(got, "\n") {
					if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
						t.Errorf("%s: %.80q leads to %.80q", name, text, line[i:])
						break
					}
				}
			}
		}
	}
}

// A host name cannot pass for more than a name.
func TestNamesAreWords(t *testing.T) {
	for _, text := range hostile {
		s := script{run: Run{Count: 1}}
		s.results = []prober.Result{{Name: text, Addr: one, Outcome: stats.Timeout, Last: true, Number: 1}}
		got := strings.TrimSuffix(s.play(t, NewList), " is unreachable\n")
		quoted := regexp.MustCompile(`^"([^"\\]|\\.)*"$`).MatchString(got)
		if !quoted && strings.ContainsAny(got, ` "`) {
			t.Errorf("%.80q is written as %.80q", text, got)
		}
	}
}

func TestColourOnlyWhereAsked(t *testing.T) {
	for name, newWriter := range makers {
		for _, colour := range []bool{false, true} {
			for _, verbose := range []bool{false, true} {
				s := script{o: Options{Colour: colour, Verbose: verbose},
					run:     Run{Count: 1},
					results: []prober.Result{reply(1, 5), silence(stats.Timeout, 1), refused(1, 3, 1), with(reply(1, 5), func(r *prober.Result) { r.Outcome = stats.Duplicate })}}
				got := s.play(t, newWriter)
				want := colour && name != "json" && name != "csv"
				if strings.Contains(got, "\x1b") != want {
					t.Errorf("%s with colour %v: %q", name, colour, got)
				}
				if strings.Count(got, plain) != strings.Count(got, "\x1b")/2 {
					t.Errorf("%s: a colour does not end: %q", name, got)
				}
			}
		}
	}
}

// failing takes so many bytes and then fails.
type failing struct {
	room  int
	calls int
	err   error
}

func (f *failing) Write(p []byte) (int, error) {
	f.calls++
	if n := min(len(p), f.room); n < len(p) {
		f.room = 0
		return n, f.err
	}
	f.room -= len(p)
	return len(p), nil
}

func TestTheFirstErrorEndsTheOutput(t *testing.T) {
	closed := errors.New("closed pipe")
	for name, newWriter := range makers {
		for _, lines := range []bool{false, true} {
			f := &failing{room: 100, err: closed}
			w := newWriter(f, Options{FlushLines: lines, Verbose: true})
			w.Begin(&Run{Targets: hosts{{Addr: one}}, Target: func(uint64) *stats.Target { return lost(1) }})
			var err error
			for i := 0; err == nil && i < 10000; i++ {
				r := reply(1, 5)
				err = w.Result(&r)
			}
			if err != closed {
				t.Errorf("%s: Result returns %v, want %v", name, err, closed)
			}
			calls := f.calls
			r := reply(2, 5)
			for method, err := range map[string]error{"Begin": w.Begin(&Run{}), "Result": w.Result(&r), "Summary": w.Summary(&Summary{}),
				"interim Summary": w.Summary(&Summary{Interim: true}), "Flush": w.Flush()} {
				if err != closed {
					t.Errorf("%s: %s returns %v after the error", name, method, err)
				}
			}
			if f.calls != calls {
				t.Errorf("%s writes after the error", name)
			}
		}
	}
}

func TestASummaryMeetsErrorsToo(t *testing.T) {
	closed := errors.New("closed pipe")
	for name, newWriter := range makers {
		w := newWriter(&failing{err: closed}, Options{Quiet: true, FlushLines: true})
		w.Begin(&Run{Targets: hosts{{Name: "host"}}, Target: func(uint64) *stats.Target { return lost(1) }})
		if err := w.Summary(&Summary{}); err != closed {
			t.Errorf("%s: %v, want %v", name, err, closed)
		}
	}
}

func TestAShortWriteIsAnError(t *testing.T) {
	for name, newWriter := range makers {
		w := newWriter(&failing{room: 3}, Options{})
		w.Begin(&Run{Targets: hosts{{Addr: one}}})
		r := reply(1, 5)
		w.Result(&r)
		if err := w.Flush(); err != io.ErrShortWrite {
			t.Errorf("%s: %v, want %v", name, err, io.ErrShortWrite)
		}
	}
}

func TestFlushing(t *testing.T) {
	for name, newWriter := range makers {
		var out bytes.Buffer
		r := reply(1, 5)
		w := newWriter(&out, Options{Verbose: true})
		w.Begin(&Run{Targets: hosts{{Addr: one}}})
		w.Result(&r)
		if out.Len() > 0 {
			t.Errorf("%s writes a line before the block is full: %q", name, &out)
		}
		w.Flush()
		if !strings.HasSuffix(out.String(), "\n") {
			t.Errorf("%s: Flush writes %q", name, &out)
		}
		for range 10000 {
			w.Result(&r)
		}
		if out.Len() < 10*block {
			t.Errorf("%s has written %d bytes of 10,000 results", name, out.Len())
		}
		w = newWriter(&out, Options{Verbose: true, FlushLines: true})
		w.Begin(&Run{Targets: hosts{{Addr: one}}})
		for range 3 {
			out.Reset()
			w.Result(&r)
			if n := bytes.Count(out.Bytes(), []byte("\n")); n != 1 {
				t.Errorf("%s with FlushLines: %d lines are there after a result", name, n)
			}
		}
		w = newWriter(&out, Options{Quiet: true})
		w.Begin(&Run{Targets: hosts{{Addr: one}}})
		out.Reset()
		w.Summary(&Summary{})
		if out.Len() == 0 {
			t.Errorf("%s: a summary is not flushed", name)
		}
	}
}

// mixture are results of all kinds.
var mixture = []prober.Result{
	reply(1, 1234567), reply(2, 56789), silence(stats.Timeout, 3), refused(4, 3, 1),
	with(reply(5, 1e9), func(r *prober.Result) { r.Name, r.Outcome = "www.example.com", stats.Duplicate }),
	with(refused(6, 1, 3), func(r *prober.Result) { r.Addr, r.From = six, six }),
	with(silence(stats.SendError, 7), func(r *prober.Result) { r.Err = errors.New("network is unreachable") }),
	with(reply(8, 1e6), func(r *prober.Result) { r.Addr, r.From = linkLocal, linkLocal }),
}

var linkLocal = netip.MustParseAddr("fe80::1%eth0")

var lines = map[string]struct {
	newWriter func(io.Writer, Options) Writer
	o         Options
	run       Run
}{
	"ping": {NewPing, Options{Timestamps: true, Colour: true, Verbose: true}, Run{Targets: hosts{{Addr: one}}}},
	"list verbose": {NewList, Options{Verbose: true}, Run{Target: func() func(uint64) *stats.Target {
		t := answered(1, 2, 3)
		return func(uint64) *stats.Target { return t }
	}()}},
	"list sweep": {NewList, Options{}, Run{Count: 1}},
	"json":       {NewJSON, Options{}, Run{}},
	"csv":        {NewCSV, Options{}, Run{}},
}

func TestNoAllocations(t *testing.T) {
	for name, l := range lines {
		w := l.newWriter(io.Discard, l.o)
		w.Begin(&l.run)
		i := 0
		if n := testing.AllocsPerRun(2000, func() { w.Result(&mixture[i%len(mixture)]); i++ }); n != 0 {
			t.Errorf("%s: %v allocations per result", name, n)
		}
	}
}

// Two million results, with summaries in between, leave nothing on the heap, and the
// results do not even pass through it.
func TestMillionsOfResultsTakeNoMemory(t *testing.T) {
	results, rounds := 2_000_000, 4
	if racing {
		results /= 10
	}
	measure := func() (m runtime.MemStats) {
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m
	}
	for name, l := range lines {
		var written counter
		w := l.newWriter(&written, l.o)
		w.Begin(&l.run)
		total := answered(1, 2, 3).Summary()
		play := func(n int) {
			for i := range n {
				if err := w.Result(&mixture[i%len(mixture)]); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Summary(&Summary{Interim: true, Total: total}); err != nil {
				t.Fatal(err)
			}
		}
		play(10_000)
		before := measure()
		for range rounds {
			play(results / rounds)
		}
		after := measure()
		if after.HeapAlloc > before.HeapAlloc+64<<10 {
			t.Errorf("%s: the heap grows from %d to %d bytes over %d results", name, before.HeapAlloc, after.HeapAlloc, results)
		}
		// A few are the test's and the runtime's own.
		if n := after.Mallocs - before.Mallocs; n > 1000 {
			t.Errorf("%s: %d allocations for %d results", name, n, results)
		}
		if written < counter(10*results) {
			t.Errorf("%s: %d results are %d bytes", name, results, written)
		}
		runtime.KeepAlive(w)
	}
}

// counter counts the bytes that are written.
type counter uint64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func BenchmarkResult(b *testing.B) {
	for name, l := range lines {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			b.ReportAllocs()
			w := l.newWriter(io.Discard, l.o)
			w.Begin(&l.run)
			r := reply(1, 1234567)
			for b.Loop() {
				w.Result(&r)
			}
		})
	}
}
