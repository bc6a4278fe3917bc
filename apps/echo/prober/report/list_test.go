package report

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
)

const micro = time.Microsecond

func unreachable(o stats.Outcome) prober.Result {
	return prober.Result{Outcome: o, Target: 1, Addr: two, Number: 1, Last: true}
}

// A sweep has a line for each host, once its fate is known.
func TestSweep(t *testing.T) {
	total := answered(35*micro, 1500*micro)
	total.Sent()
	total.Count(stats.Timeout)
	total.Count(stats.Duplicate)
	s := script{
		run: Run{Targets: hosts{{Addr: one}, {Addr: two}, {Name: "www.example.com"}}, Count: 1, Clock: prober.Kernel},
		results: []prober.Result{
			reply(1, 35*micro),
			with(unreachable(stats.Timeout), func(r *prober.Result) { r.Last = false }), // tried again
			with(reply(1, 1500*micro), func(r *prober.Result) { r.Target, r.Name = 2, "www.example.com" }),
			with(reply(1, 40*micro), func(r *prober.Result) { r.Outcome = stats.Duplicate }), // has a fate already
			unreachable(stats.Timeout),
		},
		summaries: []Summary{{Total: quantiles(total, 35, 1500, 1500, 1500), Elapsed: 12345 * time.Millisecond, Stray: 7, Skipped: 12}},
	}
	golden(t, s.play(t, NewList), `
		192.0.2.1 is alive (0.035 ms)
		www.example.com is alive (1.50 ms)
		192.0.2.2 is unreachable

		       3 targets
		       2 alive
		       1 unreachable
		      12 broadcast addresses skipped

		       1 timeouts (waiting for response)
		       3 ICMP Echos sent
		       2 ICMP Echo Replies received
		       1 duplicates
		       7 other ICMP received

		 0.035 ms (min round trip time)
		 0.768 ms (avg round trip time)
		 1.50 ms (max round trip time)
		 rtt p50/p90/p99/p99.9 0.035/1.500/1.500/1.500 ms, jitter 0.092 ms, kernel clock
		       12.345 sec (elapsed real time)

		`)
}

func TestWhyAHostIsUnreachable(t *testing.T) {
	for _, c := range []struct {
		result prober.Result
		want   string
	}{
		{unreachable(stats.Timeout), "192.0.2.2 is unreachable"},
		{with(refused(1, 3, 1), func(r *prober.Result) { r.Addr = two }), "192.0.2.2 is unreachable (host unreachable from 198.51.100.9)"},
		{with(unreachable(stats.SendError), func(r *prober.Result) { r.Err = errAltered }), "192.0.2.2 is unreachable (not sent: altered data)"},
		{unreachable(stats.LocalDrop), "192.0.2.2 is unreachable (timed out, while this host dropped packets)"},
		{unreachable(stats.Corrupt), "192.0.2.2 is unreachable (corrupt answer)"},
		{unreachable(stats.Truncated), "192.0.2.2 is unreachable (truncated answer)"},
		{with(unreachable(stats.Reordered), func(r *prober.Result) { r.RTT, r.Clock = 12345678, prober.User }), "192.0.2.2 is alive (12.3 ms)"},
		{unreachable(stats.Reply), "192.0.2.2 is alive"},
	} {
		s := script{run: Run{Count: 1}, results: []prober.Result{c.result}}
		if got := s.play(t, NewList); got != c.want+"\n" {
			t.Errorf("%v: %q, want %q", c.result.Outcome, got, c.want)
		}
	}
}

func TestListOptions(t *testing.T) {
	results := []prober.Result{reply(1, 35*micro), unreachable(stats.Timeout), with(unreachable(stats.Timeout), func(r *prober.Result) { r.Number = 2 })}
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"-a", Options{Alive: true}, "192.0.2.1\n"},
		{"-u", Options{Unreachable: true}, "192.0.2.2\n"},
		{"-a -q", Options{Alive: true, Quiet: true}, "192.0.2.1\n"},
		{"-a -u", Options{Alive: true, Unreachable: true}, "192.0.2.1 is alive (0.035 ms)\n192.0.2.2 is unreachable\n"},
		{"-x 1", Options{Required: 1}, "Enough hosts reachable (required: 1, reachable: 1)\n"},
		{"-x 2", Options{Required: 2}, "Not enough hosts reachable (required: 2, reachable: 1)\n"},
		{"-a -x 2", Options{Required: 2, Alive: true}, "192.0.2.1\nNot enough hosts reachable (required: 2, reachable: 1)\n"},
		{"-a -D", Options{Alive: true, Timestamps: true}, "[1715947200.123456] 192.0.2.1\n"},
		{"colour", Options{Alive: true, Unreachable: true, Colour: true}, "192.0.2.1 is \x1b[32malive\x1b[0m (0.035 ms)\n192.0.2.2 is \x1b[31munreachable\x1b[0m\n"},
	} {
		for _, count := range []uint64{0, 1, 2} {
			s := script{o: c.o, run: Run{Count: count}, results: results, summaries: []Summary{{}}}
			if count == 1 { // the statistics tell nothing new
				s.results = results[:2]
				s.run.Targets = hosts{{Addr: one}, {Addr: two}}
				s.run.Target = func(i uint64) *stats.Target { return []*stats.Target{answered(35 * micro), lost(1)}[i] }
			}
			if got := s.play(t, NewList); got != c.want {
				t.Errorf("%s, %d rounds: %q, want %q", c.name, count, got, c.want)
			}
		}
	}
	s := script{o: Options{Quiet: true}, run: Run{Count: 1}, results: results[:2]}
	if got := s.play(t, NewList); got != "" {
		t.Errorf("quiet: %q", got)
	}
	s = script{o: Options{Alive: true}, run: Run{Count: 1}, results: results[:2], summaries: []Summary{{Interim: true}}}
	if got := s.play(t, NewList); !strings.Contains(got, "ICMP Echos sent") {
		t.Errorf("an interim summary has no totals: %q", got)
	}
}

// More than one round has a line for each result, with what is known by then, and in
// the end one for each target.
func TestRounds(t *testing.T) {
	first := answered(55*micro, 47*micro)
	second := lost(2)
	third := new(stats.Target)
	third.Sent()
	third.Count(stats.ICMPError)
	total := quantiles(first, 47, 55, 55, 55)
	total.Counts.Add(second.Counts())
	total.Counts.Add(third.Counts())
	unsent, dropped := new(stats.Target), answered(time.Millisecond)
	unsent.Count(stats.SendError)
	dropped.Sent()
	dropped.Count(stats.LocalDrop)
	statistics := func(i uint64) *stats.Target { return []*stats.Target{first, second, third, nil, unsent, dropped}[i] }
	s := script{
		run: Run{Targets: hosts{{Addr: one}, {Addr: two}, {Name: "www.example.com"}, {Name: "not.probed"}, {Name: "not.sent"}, {Name: "dropped.here"}}, Target: statistics, Count: 2, Clock: prober.User},
		results: []prober.Result{
			reply(1, 55*micro),
			unreachable(stats.Timeout),
			with(reply(2, 47*micro), func(r *prober.Result) { r.Outcome = stats.Reordered }),
			with(refused(2, 3, 1), func(r *prober.Result) { r.Target, r.Name, r.Last = 2, "www.example.com", false }),
			with(unreachable(stats.SendError), func(r *prober.Result) { r.Target, r.Name = 4, "not.sent" }),
			with(reply(2, 47*micro), func(r *prober.Result) { r.Outcome, r.From = stats.WrongSource, two }),
			{Outcome: stats.Forged, Target: prober.NoTarget, From: router, Size: 12},
		},
		summaries: []Summary{{Total: total}},
	}
	golden(t, s.play(t, NewList), `
		192.0.2.1 : [0], 64 bytes, 0.055 ms (0.051 avg, 0% loss)
		192.0.2.2 : [0], timed out (NaN avg, 100% loss)
		192.0.2.1 : [1], 64 bytes, 0.047 ms (REORDERED) (0.051 avg, 0% loss)
		www.example.com : [1], host unreachable from 198.51.100.9, trying again (NaN avg, 100% loss)
		not.sent : [0], not sent
		192.0.2.1 : [1], 64 bytes, 0.047 ms from 192.0.2.2 (DIFFERENT ADDRESS!) (0.051 avg, 0% loss)
		198.51.100.9 : 12 bytes (FORGED)
		192.0.2.1 : xmt/rcv/%loss = 2/2/0%, min/avg/max = 0.047/0.051/0.055
		192.0.2.2 : xmt/rcv/%loss = 2/0/100%
		www.example.com : xmt/rcv/%loss = 1/0/100%
		not.sent : xmt/rcv = 0/0, unanswered = 100%
		dropped.here : xmt/rcv/%loss = 2/1/0%, min/avg/max = 1.00/1.00/1.00, unanswered = 50%

		       6 targets

		       2 timeouts (waiting for response)
		       5 ICMP Echos sent
		       2 ICMP Echo Replies received
		       1 errors
		       0 other ICMP received

		 0.047 ms (min round trip time)
		 0.051 ms (avg round trip time)
		 0.055 ms (max round trip time)
		 rtt p50/p90/p99/p99.9 0.047/0.055/0.055/0.055 ms, jitter 0.001 ms, kernel clock
		        0.000 sec (elapsed real time)

		`)

	s.o = Options{Quiet: true}
	if got := s.play(t, NewList); !strings.HasPrefix(got, "192.0.2.1 : xmt/rcv/%loss") {
		t.Errorf("quiet: %q", got)
	}
	s.o, s.run.Count, s.run.Target = Options{Verbose: true, Timestamps: true}, 1, nil
	if got, want := s.play(t, NewList), "[1715947200.123456] 192.0.2.1 : [0], 64 bytes, 0.055 ms\n"; !strings.HasPrefix(got, want) {
		t.Errorf("verbose: %q, want %q in front", got, want)
	} else if strings.Contains(got, "xmt") {
		t.Errorf("there are statistics of targets without any: %q", got)
	}
}

// In several rounds a host that answers once is alive, and only the end tells which
// are not.
func TestHostsThatAnswerInOneOfTheRounds(t *testing.T) {
	targets := []*stats.Target{new(stats.Target), new(stats.Target), new(stats.Target), nil}
	for _, target := range targets[:3] {
		target.Sent()
	}
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Alive: true}, "192.0.2.1\n"},
		{Options{Unreachable: true}, "192.0.2.2\n"},
		{Options{Alive: true, Unreachable: true}, "192.0.2.1 is alive (0.035 ms)\n192.0.2.2 is unreachable\n"},
		{Options{Required: 1}, "Enough hosts reachable (required: 1, reachable: 1)\n"},
		{Options{Required: 2}, "Not enough hosts reachable (required: 2, reachable: 1)\n"},
	} {
		var out strings.Builder
		w := NewList(&out, c.o)
		w.Begin(&Run{Targets: hosts{{Addr: one}, {Addr: two}, {Addr: six}, {Name: "not.probed"}}, Count: 3,
			Target: func(i uint64) *stats.Target { return targets[i] }})
		*targets[0], *targets[1] = stats.Target{}, stats.Target{}
		for _, r := range []prober.Result{silence(stats.Timeout, 1), unreachable(stats.Timeout), reply(2, 35*micro), silence(stats.Timeout, 3), unreachable(stats.Timeout), reply(4, 45*micro)} {
			targets[r.Target].Sent()
			if r.Outcome == stats.Reply {
				targets[r.Target].Answer(r.Outcome, r.RTT)
			} else {
				targets[r.Target].Count(r.Outcome)
			}
			if err := w.Result(&r); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Summary(&Summary{}); err != nil || out.String() != c.want {
			t.Errorf("%+v: %q, %v, want %q", c.o, &out, err, c.want)
		}
	}
}

// The lines have the shapes of those of the real one.
func TestListLooksLikeFping(t *testing.T) {
	path, err := exec.LookPath("fping")
	if err != nil {
		t.Skip("fping is not installed (apt-get install fping)")
	}
	if out, err := exec.Command(path, "127.0.0.1").CombinedOutput(); err != nil {
		t.Skipf("the rights that fping needs are missing: %v, %s", err, out)
	}
	answers := []prober.Result{
		with(reply(1, 50*micro), func(r *prober.Result) { r.Addr, r.From = loopbackV4, loopbackV4 }),
		with(reply(1, 50*micro), func(r *prober.Result) { r.Addr, r.From, r.Target = loopbackV4.Next(), loopbackV4.Next(), 1 }),
	}
	statistics := func(uint64) *stats.Target { return answered(50 * micro) }
	for _, c := range []struct {
		args      []string
		o         Options
		run       Run
		summaries []Summary
	}{
		{[]string{"-e"}, Options{}, Run{Count: 1}, nil},
		{[]string{"-a"}, Options{Alive: true}, Run{Count: 1}, []Summary{{}}},
		{[]string{"-x", "2"}, Options{Required: 2}, Run{Count: 1}, []Summary{{}}},
		{[]string{"-x", "3"}, Options{Required: 3}, Run{Count: 1}, []Summary{{}}},
		{[]string{"-a", "-x", "2"}, Options{Required: 2, Alive: true}, Run{Count: 1}, []Summary{{}}},
		{[]string{"-q", "-x", "3"}, Options{Required: 3, Quiet: true}, Run{Count: 1}, []Summary{{}}},
		{[]string{"-c", "1"}, Options{Verbose: true}, Run{Count: 1, Target: statistics}, nil},
		{[]string{"-c", "1", "-D"}, Options{Verbose: true, Timestamps: true}, Run{Count: 1, Target: statistics}, nil},
	} {
		cmd := exec.Command(path, append(c.args, "127.0.0.1", "127.0.0.2")...)
		out, _ := cmd.Output() // it fails where hosts are missing
		s := script{o: c.o, run: c.run, results: answers, summaries: c.summaries}
		if got, want := shape(s.play(t, NewList)), shape(string(out)); got != want {
			t.Errorf("fping %v:\n%s\nthis:\n%s", c.args, want, got)
		}
	}
	out, _ := exec.Command(path, "-q", "-c", "1", "127.0.0.1", "127.0.0.2").CombinedOutput()
	s := script{o: Options{Quiet: true}, run: Run{Targets: hosts{{Addr: loopbackV4}, {Addr: loopbackV4.Next()}}, Target: statistics, Count: 2}, results: answers, summaries: []Summary{{}}}
	if got, want := shape(s.play(t, NewList)), shape(strings.TrimLeft(string(out), "\n")); !strings.Contains(want, "xmt") || !strings.HasPrefix(got, want) {
		t.Errorf("fping -q -c 1:\n%s\nthis:\n%s", want, got)
	}
}
