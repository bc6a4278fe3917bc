package stats_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-multierror"

	"iomux/apps/echo/prober/stats"
)

// judged is a Summary with a different value for each metric.
func judged() *stats.Summary {
	s := &stats.Summary{
		Counts: stats.Counts{Sent: 1001},
		Min:    1 * ms, Mean: 2 * ms, Max: 9 * ms,
		Deviation: 3 * ms, Jitter: 4 * ms,
		P50: 5 * ms, P90: 6 * ms, P99: 7 * ms, P999: 8 * ms,
	}
	s.Of = [stats.Outcomes]uint64{
		stats.Reply: 800, stats.Reordered: 100,
		stats.Corrupt: 10, stats.Truncated: 20, stats.ICMPError: 30,
		stats.SendError: 5, stats.LocalDrop: 6, stats.Timeout: 40,
		stats.Duplicate: 1, stats.Late: 2, stats.WrongSource: 3, stats.Forged: 4,
	}
	return s
}

const ms = time.Millisecond

func TestMetricsAreThoseOfTheSummary(t *testing.T) {
	actual := map[string]string{
		"loss": "10%", "unanswered": "10.98%", // 100 of 1000, 111 of 1011
		"min": "1ms", "avg": "2ms", "max": "9ms", "mdev": "3ms", "jitter": "4ms",
		"p50": "5ms", "p90": "6ms", "p99": "7ms", "p99.9": "8ms",
		"sent": "1001", "received": "900",
		"replies": "800", "reordered": "100", "corrupt": "10", "truncated": "20",
		"icmp_errors": "30", "send_errors": "5", "local_drops": "6", "timeouts": "40",
		"duplicates": "1", "late": "2", "wrong_source": "3", "forged": "4",
	}
	if len(stats.Metrics()) != len(actual) {
		t.Errorf("there are %d metrics, want %d", len(stats.Metrics()), len(actual))
	}
	zero := map[string]string{"%": "0%", "s": "0s"}
	for _, name := range stats.Metrics() {
		want := actual[name]
		bound := "0"
		for unit, text := range zero {
			if strings.HasSuffix(want, unit) {
				bound = text
			}
		}
		v := check(t, name+">"+bound, judged())
		if len(v) != 1 || v[0].Actual != want || v[0].Reason != "" {
			t.Errorf("%s: %+v, want %s", name, v, want)
		} else if text := name + " " + want + " > " + bound; v[0].String() != text {
			t.Errorf("String() = %q, want %q", v[0], text)
		}
	}
}

func check(t *testing.T, conditions string, s *stats.Summary) []stats.Violation {
	t.Helper()
	cs, err := stats.ParseConditions(conditions)
	if err != nil {
		t.Fatal(err)
	}
	return cs.Check(s)
}

func TestOperators(t *testing.T) {
	for _, c := range []struct{ conditions, holds string }{
		{"p99>7ms", ""}, {"p99>6999us", "p99>6999us"}, {"p99>7001us", ""},
		{"p99>=7ms,p99>=7001us,p99>=6999us", "p99>=7ms,p99>=6999us"},
		{"p99<7ms,p99<7001us,p99<6999us", "p99<7001us"},
		{"p99<=7ms,p99<=7001us,p99<=6999us", "p99<=7ms,p99<=7001us"},
		{"p99==7ms,p99==7001us,p99==6999us", "p99==7ms"},
		{"p99!=7ms,p99!=7001us,p99!=6999us", "p99!=7001us,p99!=6999us"},
		{"loss==10%,loss>10%,loss>9.999%,loss<10.001%", "loss==10%,loss>9.999%,loss<10.001%"},
		{"late==2,late!=2,late>1,late<3", "late==2,late>1,late<3"},
	} {
		var held stats.Conditions
		for _, v := range check(t, c.conditions, judged()) {
			held = append(held, v.Condition)
		}
		if held.String() != c.holds {
			t.Errorf("of %s, %q hold, want %q", c.conditions, held, c.holds)
		}
	}
	if v := (stats.Conditions{{}}).Check(judged()); v != nil {
		t.Errorf("the zero Condition holds: %v", v)
	}
}

func TestConditionsWithoutDataAreViolated(t *testing.T) {
	counts := func(o stats.Outcome) *stats.Summary {
		var target stats.Target
		target.Sent()
		target.Count(o)
		s := target.Summary()
		return &s
	}
	for _, c := range []struct {
		s          *stats.Summary
		conditions string
		want       []string
	}{
		{new(stats.Summary), "loss>1%, unanswered>1%, p99 > 20ms, late>0, sent<0", []string{
			"loss > 1%: no probe was answered or timed out",
			"unanswered > 1%: no probe has finished",
			"p99 > 20ms: no replies",
		}},
		{counts(stats.Timeout), "loss==100%, unanswered==100%, jitter>1s", []string{
			"loss 100% == 100%", "unanswered 100% == 100%", "jitter > 1s: no replies",
		}},
		{counts(stats.SendError), "loss>1%, unanswered>1%", []string{
			"loss > 1%: no probe was answered or timed out", "unanswered 100% > 1%",
		}},
		{counts(stats.Reply), "loss>0%, max>1s", []string{"max > 1s: no reply has a time"}},
	} {
		var got []string
		for _, v := range check(t, c.conditions, c.s) {
			got = append(got, v.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.conditions, got, c.want)
		}
	}
	// A time of 0 is a time, and a reordered answer has one.
	var target stats.Target
	target.Answer(stats.Reordered, 0)
	s := target.Summary()
	if v := check(t, "max>1s", &s); v != nil {
		t.Errorf("a reply in no time: %v", v)
	}
}

// A share is compared as the ratio of the counts, not as a product of it.
func TestSharesAreExact(t *testing.T) {
	for n := range uint64(1001) {
		s := &stats.Summary{}
		s.Of[stats.Timeout], s.Of[stats.Reply] = n, 1000-n
		text := strconv.FormatFloat(float64(n)/10, 'f', -1, 64) // n = 29: 2.9
		if v := check(t, "loss=="+text+"%, loss>"+text+"%, loss<"+text+"%", s); len(v) != 1 || v[0].Actual != text+"%" {
			t.Fatalf("%d of 1000 against %s%%: %v", n, text, v)
		}
	}
}

// What a violation prints is true, also where the values are close.
func TestActualValuesDoNotContradict(t *testing.T) {
	for _, c := range []struct {
		p99  time.Duration
		text string
		want string
	}{
		{123456789, "p99>20ms", "p99 123.5ms > 20ms"},
		{20*ms + 1, "p99>20ms", "p99 20.000001ms > 20ms"},
		{20*ms + 130, "p99>20.00012ms", "p99 20.00013ms > 20.00012ms"},
		{20*ms + 120, "p99==20.00012ms", "p99 20.00012ms == 20.00012ms"},
		{math.MaxInt64, "p99>1s", "p99 2561944h26m40s > 1s"},
	} {
		s := judged()
		s.P99 = c.p99
		v := check(t, c.text, s)
		if len(v) != 1 || v[0].String() != c.want {
			t.Errorf("%v %s: %v, want %s", c.p99, c.text, v, c.want)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		s := judged()
		whole := 1 + r.Uint64N(1<<r.UintN(40))
		s.Of = [stats.Outcomes]uint64{}
		s.Of[stats.Timeout] = r.Uint64N(whole + 1)
		s.Of[stats.Reply] = whole - s.Of[stats.Timeout] + 1
		s.P99 = time.Duration(r.Int64N(1 << (1 + r.UintN(62))))
		// Bounds that are the values themselves, as written by a check that holds.
		for _, text := range []string{"loss<=100%", "p99>=0s"} {
			v := check(t, text, s)
			if len(v) != 1 {
				t.Fatalf("%s does not hold for %+v", text, s)
			}
			name, _, _ := strings.Cut(v[0].String(), " ")
			for _, op := range []string{">", "<", "=="} {
				for _, w := range check(t, name+op+v[0].Actual, s) {
					equal := w.Actual == v[0].Actual
					if equal != (op == "==") {
						t.Fatalf("%v is no violation", w)
					}
				}
			}
		}
	}
}

func TestParseConditions(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"loss>1%", "loss>1%"},
		{" loss >\t1 % ,p99.9<=1h2m3.5s,\tduplicates!=0 ", "loss>1 %,p99.9<=1h2m3.5s,duplicates!=0"},
		{"loss<0%,loss<100%,loss<.5%,loss<5.%", "loss<0%,loss<100%,loss<.5%,loss<5.%"},
		{"min>0", "min>0"},
		{"min>+5us", "min>+5us"},
		{"sent==18446744073709551615", "sent==18446744073709551615"},
		{"loss>1%,loss>1%", "loss>1%,loss>1%"},
	} {
		cs, err := stats.ParseConditions(c.text)
		if err != nil || cs.String() != c.want {
			t.Errorf("%q: %q, %v, want %q", c.text, cs, err, c.want)
		}
		again, err := stats.ParseConditions(cs.String())
		if err != nil || !slices.Equal(again, cs) {
			t.Errorf("%q: %q, %v", cs, again, err)
		}
	}
}

func TestParseConditionsErrors(t *testing.T) {
	all := strings.Join(stats.Metrics(), ", ")
	for _, c := range []struct{ text, want string }{
		{"", `condition "" at character 1: it is empty; write a metric, an operator and a value, such as loss>1%`},
		{" \t", `condition "" at character 3: it is empty; write a metric, an operator and a value, such as loss>1%`},
		{"loss>1%,", `condition "" at character 9: it is empty; write a metric, an operator and a value, such as loss>1%`},
		{"loss", `condition "loss" at character 1: an operator is missing after loss; there are > >= < <= == !=`},
		{"loss 1%", `condition "loss 1%" at character 1: an operator is missing after loss; there are > >= < <= == !=`},
		{"lost", `condition "lost" at character 1: metric "lost" is unknown; there are ` + all},
		{">1%", `condition ">1%" at character 1: metric "" is unknown; there are ` + all},
		{"packet loss>1%", `condition "packet loss>1%" at character 1: metric "packet loss" is unknown; there are ` + all},
		{"Loss>1%", `condition "Loss>1%" at character 1: metric "Loss" is unknown; there are ` + all},
		{"loss=1%", `condition "loss=1%" at character 1: operator "=" is unknown after loss; write ==`},
		{"loss=>1%", `condition "loss=>1%" at character 1: operator "=>" is unknown after loss; write >=`},
		{"loss=<1%", `condition "loss=<1%" at character 1: operator "=<" is unknown after loss; write <=`},
		{"loss<>1%", `condition "loss<>1%" at character 1: operator "<>" is unknown after loss; write !=`},
		{"loss!1%", `condition "loss!1%" at character 1: operator "!" is unknown after loss; write !=`},
		{"loss>>1%", `condition "loss>>1%" at character 1: operator ">>" is unknown after loss; there are > >= < <= == !=`},
		{"loss>", `condition "loss>" at character 1: loss: "" is not a share; write a percentage, such as loss>1%`},
		{"loss>2", `condition "loss>2" at character 1: loss: "2" lacks the percent sign; write a percentage, such as loss>2%`},
		{"loss>200", `condition "loss>200" at character 1: loss: "200" lacks the percent sign; write a percentage, such as loss>1%`},
		{"loss>=101%", `condition "loss>=101%" at character 1: loss: "101%" is too much; write a percentage up to 100%, such as loss>=1%`},
		{"loss>" + strings.Repeat("9", 400) + "%", `condition "loss>` + strings.Repeat("9", 400) + `%" at character 1: loss: "` +
			strings.Repeat("9", 400) + `%" is too much; write a percentage up to 100%, such as loss>1%`},
		{"loss>-1%", `condition "loss>-1%" at character 1: loss: "-1%" is not a share; write a percentage, such as loss>1%`},
		{"loss>1e1%", `condition "loss>1e1%" at character 1: loss: "1e1%" is not a share; write a percentage, such as loss>1%`},
		{"loss>.%", `condition "loss>.%" at character 1: loss: ".%" is not a share; write a percentage, such as loss>1%`},
		{"loss>20ms", `condition "loss>20ms" at character 1: loss: "20ms" is not a share; write a percentage, such as loss>1%`},
		{"p99>30", `condition "p99>30" at character 1: p99: "30" lacks a unit; write ns, us, ms, s, m or h, such as p99>30ms`},
		{"p99>99999999999999999999", `condition "p99>99999999999999999999" at character 1: p99: "99999999999999999999" lacks a unit; write ns, us, ms, s, m or h, such as p99>20ms`},
		{"p99>nan", `condition "p99>nan" at character 1: p99: "nan" is not a time; write a number with a unit, such as p99>20ms`},
		{"p99>5 ms", `condition "p99>5 ms" at character 1: p99: "5 ms" is not a time; write a number with a unit, such as p99>20ms`},
		{"p99>-5ms", `condition "p99>-5ms" at character 1: p99: a time is not negative; write 0s or more, such as p99>20ms`},
		{"late>1.5", `condition "late>1.5" at character 1: late: "1.5" is not a count; write a whole number, such as late>0`},
		{"late>1%", `condition "late>1%" at character 1: late: "1%" is not a count; write a whole number, such as late>0`},
		{"late>-1", `condition "late>-1" at character 1: late: "-1" is not a count; write a whole number, such as late>0`},
		{"loss>\u00a01%,late>1", "condition \"loss>\\u00a01%\" at character 1: loss: \"\\u00a01%\" is not a share; write a percentage, such as loss>1%"},
		{"late>0, \tloss", `condition "loss" at character 10: an operator is missing after loss; there are > >= < <= == !=`},
	} {
		cs, err := stats.ParseConditions(c.text)
		if cs != nil || err == nil || err.Error() != c.want {
			t.Errorf("%q: %v, error\n%v, want\n%s", c.text, cs, err, c.want)
		}
	}
	cs, err := stats.ParseConditions("é>1, loss>1%,  p99>20, late")
	var several *multierror.Error
	if cs != nil || !errors.As(err, &several) || len(several.Errors) != 3 {
		t.Fatalf("%v, %v", cs, err)
	}
	for i, want := range []string{
		`condition "é>1" at character 1: metric "é" is unknown`,
		`condition "p99>20" at character 16: p99: "20" lacks a unit`,
		`condition "late" at character 24: an operator is missing`,
	} {
		if got := several.Errors[i].Error(); !strings.HasPrefix(got, want) {
			t.Errorf("error %d is %q, want %q", i, got, want)
		}
	}
}

func FuzzParseConditions(f *testing.F) {
	for _, s := range []string{"loss>1%, p99>20ms, duplicates>0", "", "loss", "loss=1%", " min < 1h ,", "é>", "loss>1e9%", "p99.9!=.5s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		cs, err := stats.ParseConditions(s)
		if (err == nil) != (len(cs) > 0) {
			t.Fatalf("%q: %v, %v", s, cs, err)
		}
		if err != nil {
			several, many := err.(*multierror.Error)
			if many && len(several.Errors) < 2 || !many && !strings.HasPrefix(err.Error(), "condition ") {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		again, err := stats.ParseConditions(cs.String())
		if err != nil || !slices.Equal(again, cs) {
			t.Fatalf("%q reads as %q and that as %q, %v", s, cs, again, err)
		}
		for _, summary := range []*stats.Summary{new(stats.Summary), judged()} {
			for _, v := range cs.Check(summary) {
				if (v.Actual == "") == (v.Reason == "") {
					t.Fatalf("%q: %+v has both or neither", s, v)
				}
			}
		}
	})
}
