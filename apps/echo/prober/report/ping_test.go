package report

import (
	"errors"
	"io"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/codec"
)

var (
	loopbackV4 = netip.MustParseAddr("127.0.0.1")
	loopbackV6 = netip.MustParseAddr("::1")
)

var errAltered = errors.New("altered data")

func TestPing(t *testing.T) {
	target := answered(14*time.Microsecond, 18*time.Microsecond)
	s := script{
		run:       Run{Targets: hosts{{Addr: one}}, Size: 56, Clock: prober.Kernel},
		results:   []prober.Result{reply(1, 14*time.Microsecond), reply(2, 18*time.Microsecond)},
		summaries: []Summary{{Total: quantiles(target, 15, 16, 17, 18), Elapsed: 1001500 * time.Microsecond}},
	}
	golden(t, s.play(t, NewPing), `
		PING 192.0.2.1 (192.0.2.1) 56(84) bytes of data.
		64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.014 ms
		64 bytes from 192.0.2.1: icmp_seq=2 ttl=64 time=0.018 ms

		--- 192.0.2.1 ping statistics ---
		2 packets transmitted, 2 received, 0% packet loss, time 1001ms
		rtt min/avg/max/mdev = 0.014/0.016/0.018/0.002 ms, p50/p90/p99/p99.9 0.015/0.016/0.017/0.018 ms, jitter 0.000 ms, kernel clock
		`)
}

func TestPingHeader(t *testing.T) {
	for _, c := range []struct {
		run    Run
		result prober.Result
		want   string
	}{
		{Run{Targets: hosts{{Addr: six}}, Size: 56}, reply(1, 0), "PING 2001:db8::1(2001:db8::1) 56 data bytes"},
		{Run{Targets: hosts{{Name: "www.example.com"}}, Size: 16}, reply(1, 0), "PING www.example.com (192.0.2.1) 16(44) bytes of data."},
		{Run{Targets: hosts{{Name: "www.example.com"}}, Size: 8}, with(reply(1, 0), func(r *prober.Result) { r.Addr = six }),
			"PING www.example.com(2001:db8::1) 8 data bytes"},
		{Run{Targets: hosts{{Name: "no.such"}}, Size: 0}, prober.Result{Outcome: stats.SendError}, "PING no.such 0(28) bytes of data."},
		{Run{Targets: hosts{{Addr: one}}, Size: 56, Source: two, Interface: "eth0"}, reply(1, 0), "PING 192.0.2.1 (192.0.2.1) from 192.0.2.2 eth0: 56(84) bytes of data."},
		{Run{Targets: hosts{{Addr: one}}, Size: 56, Source: two}, reply(1, 0), "PING 192.0.2.1 (192.0.2.1) from 192.0.2.2: 56(84) bytes of data."},
		{Run{Targets: hosts{{Addr: one}}, Size: 56, Interface: "eth0"}, reply(1, 0), "PING 192.0.2.1 (192.0.2.1) from eth0: 56(84) bytes of data."},
		{Run{}, prober.Result{Outcome: stats.SendError}, "PING ? 0(28) bytes of data."},
	} {
		s := script{run: c.run, results: []prober.Result{c.result, c.result}}
		got := s.play(t, NewPing)
		head, rest, _ := strings.Cut(got, "\n")
		if head != c.want || strings.Contains(rest, "PING") {
			t.Errorf("got %q, want %q in front", got, c.want)
		}
	}
}

// The header is there as soon as it can be.
func TestPingHeaderComesFirst(t *testing.T) {
	for target, want := range map[int]string{0: "PING 192.0.2.1 (192.0.2.1) 0(28) bytes of data.\n", 1: ""} {
		all := hosts{{Addr: one}, {Name: "www.example.com"}}
		if got := (script{run: Run{Targets: all[target:]}}).play(t, NewPing); got != want {
			t.Errorf("target %d: %q, want %q", target, got, want)
		}
	}
}

func TestPingLines(t *testing.T) {
	us := time.Microsecond
	answer := func(change func(*prober.Result)) prober.Result { return with(reply(3, 14*us), change) }
	for _, c := range []struct {
		result prober.Result
		want   string
	}{
		{answer(func(r *prober.Result) { r.Name = "www.example.com" }), "64 bytes from www.example.com (192.0.2.1): icmp_seq=3 ttl=64 time=0.014 ms"},
		{answer(func(r *prober.Result) { r.Number = 70000; r.Try = 2 }), "64 bytes from 192.0.2.1: icmp_seq=70000 try=3 ttl=64 time=0.014 ms"},
		{answer(func(r *prober.Result) { r.TTL = 0 }), "64 bytes from 192.0.2.1: icmp_seq=3 time=0.014 ms"},
		{answer(func(r *prober.Result) { r.Clock = prober.NoClock }), "64 bytes from 192.0.2.1: icmp_seq=3 ttl=64"},
		{answer(func(r *prober.Result) { r.Outcome = stats.Duplicate }), "64 bytes from 192.0.2.1: icmp_seq=3 ttl=64 time=0.014 ms (DUP!)"},
		{answer(func(r *prober.Result) { r.Outcome = stats.Reordered }), "64 bytes from 192.0.2.1: icmp_seq=3 ttl=64 time=0.014 ms (REORDERED)"},
		{answer(func(r *prober.Result) { r.Outcome = stats.Late }), "64 bytes from 192.0.2.1: icmp_seq=3 ttl=64 time=0.014 ms (LATE)"},
		{answer(func(r *prober.Result) { r.Outcome, r.Offset, r.Err = stats.Corrupt, 9, errAltered }), "64 bytes from 192.0.2.1: icmp_seq=3 ttl=64 time=0.014 ms (CORRUPT: altered data, wrong data byte #9)"},
		{answer(func(r *prober.Result) { r.Outcome, r.Offset, r.Err = stats.Corrupt, 0, errAltered }), "64 bytes from 192.0.2.1: icmp_seq=3 ttl=64 time=0.014 ms (CORRUPT: altered data, wrong data byte #0)"},
		{answer(func(r *prober.Result) { r.Outcome, r.Offset = stats.Corrupt, -1 }), "64 bytes from 192.0.2.1: icmp_seq=3 ttl=64 time=0.014 ms (CORRUPT)"},
		{answer(func(r *prober.Result) { r.Outcome, r.Err = stats.Truncated, errors.New("less data than was sent") }), "64 bytes from 192.0.2.1: icmp_seq=3 ttl=64 time=0.014 ms (TRUNCATED: less data than was sent)"},
		{answer(func(r *prober.Result) { r.Outcome, r.From, r.Name = stats.WrongSource, two, "www.example.com" }), "64 bytes from 192.0.2.2: icmp_seq=3 ttl=64 time=0.014 ms (DIFFERENT ADDRESS!)"},
		{prober.Result{Outcome: stats.Forged, Target: prober.NoTarget, From: two, Size: 8, TTL: 3}, "8 bytes from 192.0.2.2: ttl=3 (FORGED)"},
		{refused(4, 3, codec.HostUnreachableV4), "From 198.51.100.9 icmp_seq=4 host unreachable"},
		{refused(4, 3, 99), "From 198.51.100.9 icmp_seq=4 destination unreachable, code 99"},
		{refused(4, 11, 0), "From 198.51.100.9 icmp_seq=4 time to live exceeded in transit"},
		{refused(4, 200, 7), "From 198.51.100.9 icmp_seq=4 ICMP type 200, code 7"},
		{with(refused(4, 3, 4), func(r *prober.Result) { r.MTU = 1400 }), "From 198.51.100.9 icmp_seq=4 fragmentation needed and DF set (mtu = 1400)"},
		{with(refused(4, 1, 3), func(r *prober.Result) { r.From = six }), "From 2001:db8::1 icmp_seq=4 address unreachable"},
		{with(refused(4, 2, 0), func(r *prober.Result) { r.From, r.MTU, r.Last = six, 1280, false }), "From 2001:db8::1 icmp_seq=4 packet too big (mtu = 1280), trying again"},
		{silence(stats.Timeout, 5), "no answer for icmp_seq=5: timed out"},
		{with(silence(stats.Timeout, 5), func(r *prober.Result) { r.Last = false }), "no answer for icmp_seq=5: timed out, trying again"},
		{silence(stats.LocalDrop, 5), "no answer for icmp_seq=5: timed out, while this host dropped packets"},
		{silence(stats.SendError, 5), "no answer for icmp_seq=5: not sent"},
		{with(silence(stats.SendError, 5), func(r *prober.Result) { r.Err = errors.New("network is unreachable") }), "no answer for icmp_seq=5: not sent: network is unreachable"},
	} {
		s := script{results: []prober.Result{c.result}}
		_, got, _ := strings.Cut(s.play(t, NewPing), "\n")
		if got != c.want+"\n" {
			t.Errorf("%+v:\n got %q\nwant %q", c.result, got, c.want)
		}
	}
}

func TestPingOptions(t *testing.T) {
	head := "PING ? 0(28) bytes of data.\n"
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Timestamps: true}, head + "[1715947200.123456] 64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.014 ms (DUP!)\n"},
		{Options{Verbose: true}, head + "64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.014 ms tos=184 clock=kernel (DUP!)\n"},
		{Options{Colour: true}, head + "64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.014 ms \x1b[33m(DUP!)\x1b[0m\n"},
		{Options{Quiet: true}, head},
	} {
		r := with(reply(1, 14*time.Microsecond), func(r *prober.Result) { r.Outcome, r.TOS = stats.Duplicate, 184 })
		r.Addr = netip.Addr{}
		s := script{o: c.o, results: []prober.Result{r}}
		if got := s.play(t, NewPing); got != c.want {
			t.Errorf("%+v:\n got %q\nwant %q", c.o, got, c.want)
		}
	}
}

func TestPingStatistics(t *testing.T) {
	total := answered(time.Millisecond, 3*time.Millisecond)
	for o := range stats.Outcomes {
		switch o {
		case stats.Reply, stats.Reordered:
			continue
		case stats.Timeout:
			total.Count(o)
		}
		if o != stats.SendError && o.Final() {
			total.Sent()
		}
		total.Count(o)
	}
	total.Sent()
	total.Answer(stats.Reordered, 2*time.Millisecond)
	s := script{o: Options{Quiet: true}, run: Run{Targets: hosts{{Name: "www.example.com"}}, Size: 56, Clock: prober.User},
		summaries: []Summary{{Interim: true, Total: total.Summary()}, {Total: quantiles(total, 2000, 2500, 2750, 3000), Skipped: 2}}}
	golden(t, s.play(t, NewPing), `
		PING www.example.com 56(84) bytes of data.
		3/8 packets, 62.5% loss, min/avg/max/mdev = 1.000/2.000/3.000/0.816 ms

		--- www.example.com ping statistics ---
		8 packets transmitted, 3 received, +1 duplicates, +1 corrupted, +1 errors, 62.5% packet loss, time 0ms, 70% unanswered, +1 truncated, +1 not sent, +1 dropped by this host, +1 reordered, +1 late, +1 from different addresses, +1 forged, 2 broadcast addresses skipped
		rtt min/avg/max/mdev = 1.000/2.000/3.000/0.816 ms, p50/p90/p99/p99.9 2.000/2.500/2.750/3.000 ms, jitter 0.180 ms, user clock
		`)
}

// What this host did not send, or lost itself, is no loss; where nothing else is
// known, that is unknown and not 0.
func TestPingStatisticsWithoutAnyLossKnown(t *testing.T) {
	flying, unsent, dropped := new(stats.Target), new(stats.Target), new(stats.Target)
	flying.Sent()
	unsent.Count(stats.SendError)
	dropped.Sent()
	dropped.Count(stats.LocalDrop)
	for _, c := range []struct {
		s    Summary
		want string
	}{
		{Summary{Skipped: 1}, "0 packets transmitted, 0 received, time 0ms, 1 broadcast address skipped\n"},
		{Summary{Total: flying.Summary()}, "1 packets transmitted, 0 received, time 0ms, 1 in flight\n"},
		{Summary{Total: unsent.Summary()}, "0 packets transmitted, 0 received, time 0ms, 100% unanswered, +1 not sent\n"},
		{Summary{Total: dropped.Summary()}, "1 packets transmitted, 0 received, time 0ms, 100% unanswered, +1 dropped by this host\n"},
		{Summary{Total: flying.Summary(), Interim: true}, "0/1 packets\n"},
	} {
		s := script{run: Run{Targets: hosts{{Addr: one}}}, summaries: []Summary{c.s}}
		if got := s.play(t, NewPing); !strings.HasSuffix(got, "\n"+c.want) {
			t.Errorf("%q, want %q in the end", got, c.want)
		}
	}
}

// The clock in the summary is the one that measured, whatever was wanted.
func TestTheClockIsThatOfTheAnswers(t *testing.T) {
	byUser := func(r *prober.Result) { r.Clock = prober.User }
	for _, c := range []struct {
		wanted  prober.Clock
		results []prober.Result
		steps   uint64
		text    string
		key     string
	}{
		{prober.Kernel, nil, 0, ", kernel clock", "kernel"},
		{prober.NoClock, nil, 0, " ms", ""},
		{prober.NoClock, []prober.Result{reply(1, 5)}, 0, ", kernel clock", "kernel"},
		{prober.Kernel, []prober.Result{with(reply(1, 5), byUser)}, 0, ", user clock", "user"},
		{prober.User, []prober.Result{reply(1, 5), with(reply(2, 5), byUser)}, 0, ", kernel clock (1 by the user clock)", "kernel"},
		{prober.Kernel, []prober.Result{reply(1, 5), with(reply(2, 5), byUser)}, 1, ", kernel clock (1 by the user clock, as the wall clock was set)", "kernel"},
		{prober.Kernel, []prober.Result{{Clock: 77}, with(silence(stats.Timeout, 1), byUser)}, 0, ", kernel clock", "kernel"},
	} {
		for _, quiet := range []bool{false, true} {
			s := script{o: Options{Quiet: quiet}, run: Run{Clock: c.wanted}, results: c.results,
				summaries: []Summary{{Total: answered(5).Summary(), ClockSteps: c.steps}}}
			for name, newWriter := range map[string]func(io.Writer, Options) Writer{"ping": NewPing, "list": NewList} {
				got := s.play(t, newWriter)
				if !strings.Contains(got, "jitter 0.000 ms"+strings.TrimPrefix(c.text, " ms")+"\n") {
					t.Errorf("%s: %q, want %q", name, got, c.text)
				}
			}
			got := s.play(t, NewJSON)
			if got = got[strings.LastIndex(got, "skipped"):]; !strings.Contains(got, `"clock":"`+c.key+`"`) && (c.key != "" || strings.Contains(got, "clock")) {
				t.Errorf("json: %s, want the clock %q", got, c.key)
			}
			if got := s.play(t, NewCSV); quiet && !strings.HasSuffix(got, ","+c.key+"\n") {
				t.Errorf("csv: %s, want the clock %q", got, c.key)
			}
		}
	}
}

// Programs that read the output of ping find in it what they look for, and in the
// case of a dead host no sign of life.
func TestProgramsThatReadPing(t *testing.T) {
	answers := answered(1*time.Millisecond, 2*time.Millisecond, 6*time.Millisecond)
	answers.Sent()
	answers.Count(stats.Timeout)
	answers.Count(stats.Late)
	dead := new(stats.Target)
	for range 2 {
		dead.Sent()
		dead.Count(stats.ICMPError)
	}
	rare := stats.Summary{}
	rare.Sent, rare.Of[stats.Timeout], rare.Of[stats.Reply] = 10_000_000, 1, 9_999_999
	nearly := stats.Summary{}
	nearly.Sent, nearly.Of[stats.Timeout], nearly.Of[stats.Reply] = 100_000_000, 99_999_999, 1
	for _, c := range []struct {
		total     stats.Summary
		loss, avg string
	}{
		{answers.Summary(), "25", "3.000"},
		{dead.Summary(), "100", ""},
		{lost(3).Summary(), "100", ""},
		{rare, "0.00001", "0.000"},
		{nearly, "99.9999", "0.000"},
	} {
		s := script{run: Run{Targets: hosts{{Addr: one}}, Clock: prober.Kernel}, summaries: []Summary{{Total: c.total, Elapsed: time.Second}}}
		out := s.play(t, NewPing)
		for reader, read := range map[string]func() (loss, avg string){
			"regular expressions": func() (string, string) {
				return find(out, `([\d.]+)% packet loss`), find(out, `min/avg/max/(?:mdev|stddev) = [\d.]+/([\d.]+)/[\d.]+/[\d.]+ ms`)
			},
			"the first number of each kind": func() (string, string) {
				return find(out, `(?s)received, .*?([\d.]+)% packet loss, time \d+ms`), find(out, `(?m)^rtt .*= [^/]*/([^/]*)/`)
			},
			// ping ... | tail -1 | awk -F/ '{print $5}'
			"the fifth field of the last line": func() (string, string) {
				lines := strings.Split(strings.TrimSpace(out), "\n")
				loss := find(out, `, ([\d.]+)% packet loss`)
				if fields := strings.Split(lines[len(lines)-1], "/"); len(fields) > 4 {
					return loss, fields[4]
				}
				return loss, ""
			},
			// In the manner of the formats that check_ping of the Nagios plugins scans with.
			"formats": func() (string, string) {
				return find(out, `(?m)^\d+ packets transmitted, \d+ received, (?:\+\d+ errors, |\+\d+ duplicates, )?([\d.]+)% packet loss, time \d+ms`),
					find(out, `(?m)^rtt min/avg/max/mdev = [\d.]+/([\d.]+)/[\d.]+/[\d.]+ ms`)
			},
		} {
			if loss, avg := read(); loss != c.loss || avg != c.avg {
				t.Errorf("%s: loss %q and average %q, want %q and %q, in\n%s", reader, loss, avg, c.loss, c.avg, out)
			}
		}
	}
}

// find returns the first group of the first match.
func find(s, pattern string) string {
	if m := regexp.MustCompile(pattern).FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}

// Without an answer there are no times; a third is written as ping does.
func TestPingStatisticsWithoutAnswers(t *testing.T) {
	s := script{run: Run{Targets: hosts{{Addr: one}}}, summaries: []Summary{{Interim: true, Total: lost(3).Summary()}, {Total: lost(3).Summary(), Elapsed: time.Second}}}
	golden(t, s.play(t, NewPing), `
		PING 192.0.2.1 (192.0.2.1) 0(28) bytes of data.
		0/3 packets, 100% loss

		--- 192.0.2.1 ping statistics ---
		3 packets transmitted, 0 received, 100% packet loss, time 1000ms
		`)
	third := answered(1, 1)
	third.Sent()
	third.Count(stats.Timeout)
	s.summaries = []Summary{{Total: third.Summary()}}
	if got := s.play(t, NewPing); !strings.Contains(got, " 33.3333% packet loss, time") {
		t.Errorf("a third is lost: %q", got)
	}
}

func TestMillis(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.000", 499: "0.000", 500: "0.001", 14 * time.Microsecond: "0.014", 999_499: "0.999", 999_500: "1.00",
		1234567: "1.23", 9_994_999: "9.99", 9_995_000: "10.0", 12_345_678: "12.3", 99_949_999: "99.9", 99_950_000: "100",
		123_456_789: "123", time.Minute: "60000", -5: "0.000",
	} {
		if got := string(appendMillis(nil, d)); got != want {
			t.Errorf("%d ns: %s, want %s", d, got, want)
		}
	}
}

// shape is a text with its numbers replaced, so that two runs look alike.
func shape(s string) string { return regexp.MustCompile(`[0-9]+(\.[0-9]+)?`).ReplaceAllString(s, "N") }

// The lines have the shapes of those of the real one, ping(8) of iputils, but for the
// end of the last one.
func TestPingLooksLikePing(t *testing.T) {
	path, err := exec.LookPath("ping")
	if err != nil {
		t.Skip("ping is not installed (apt-get install iputils-ping)")
	}
	version, _ := exec.Command(path, "-V").Output()
	if !strings.Contains(string(version), "iputils") {
		t.Skipf("ping of iputils, or the rights to run it, are missing; this one is %q", version)
	}
	loopback := with(reply(1, 14*time.Microsecond), func(r *prober.Result) { r.Addr = loopbackV4; r.From = loopbackV4 })
	loopbackSix := with(reply(1, 14*time.Microsecond), func(r *prober.Result) { r.Addr = loopbackV6; r.From = loopbackV6 })
	for _, c := range []struct {
		args    []string
		o       Options
		targets hosts
		result  prober.Result
	}{
		{[]string{"127.0.0.1"}, Options{}, hosts{{Addr: loopbackV4}}, loopback},
		{[]string{"-D", "127.0.0.1"}, Options{Timestamps: true}, hosts{{Addr: loopbackV4}}, loopback},
		{[]string{"-q", "127.0.0.1"}, Options{Quiet: true}, hosts{{Addr: loopbackV4}}, loopback},
		{[]string{"::1"}, Options{}, hosts{{Addr: loopbackV6}}, loopbackSix},
		{[]string{"-4", "localhost"}, Options{}, hosts{{Name: "localhost"}}, with(loopback, func(r *prober.Result) { r.Name = "localhost" })},
	} {
		out, err := exec.Command(path, append([]string{"-c", "1"}, c.args...)...).CombinedOutput()
		if err != nil { // no rights, no IPv6 or no such name
			t.Logf("ping %v does not work here: %v, %s", c.args, err, out)
			continue
		}
		total := answered(14 * time.Microsecond)
		s := script{o: c.o, run: Run{Targets: c.targets, Size: 56, Clock: prober.Kernel}, results: []prober.Result{c.result},
			summaries: []Summary{{Total: total.Summary()}}}
		got := strings.Split(shape(s.play(t, NewPing)), "\n")
		want := strings.Split(shape(string(out)), "\n")
		last := len(got) - 2
		got[last], _, _ = strings.Cut(got[last], ", p") // what the real one does not have
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("ping %v:\n%s\nthis:\n%s", c.args, strings.Join(want, "\n"), strings.Join(got, "\n"))
		}
	}
}
