package rules_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"iomux/apps/echo/responder/rules"
)

// shares decides for many packets and returns how many of the decisions have each
// property, and how many have each two of them.
func shares(t *testing.T, rule string, n int, has []func(d *rules.Decision) bool) (single []int, both [][]int) {
	d := mustParse(t, rule).NewDecider(0)
	single, both = make([]int, len(has)), make([][]int, len(has))
	for i := range both {
		both[i] = make([]int, len(has))
	}
	p := packet(0)
	is := make([]bool, len(has))
	for i := range n {
		p.Seq = uint16(i)
		p.Data[0], p.Data[1], p.Data[2] = byte(i>>16), byte(i>>8), byte(i)
		dec := d.Decide(p, 0)
		for a := range has {
			if is[a] = has[a](&dec); !is[a] {
				continue
			}
			single[a]++
			for b := range a {
				if is[b] {
					both[a][b]++
				}
			}
		}
	}
	return single, both
}

// wantShare checks that n of total are within three standard errors of a probability.
func wantShare(t *testing.T, what string, n, total int, p float64) {
	t.Helper()
	mean, deviation := p*float64(total), math.Sqrt(p*(1-p)*float64(total))
	if math.Abs(float64(n)-mean) > 3*deviation {
		t.Errorf("%s: %d of %d, want %.0f, which is %.1f standard errors away", what, n, total, mean, (float64(n)-mean)/deviation)
	}
}

// kinds are what can happen to a reply, besides loss and errors.
var kinds = []struct {
	name string
	key  string
	has  func(d *rules.Decision) bool
}{
	{"reorder", "reorder: {probability: %s, by: 50ms}", func(d *rules.Decision) bool { return d.Held }},
	{"duplicate", "duplicate: %s", func(d *rules.Decision) bool { return d.Copies > 0 }},
	{"checksum", "corrupt: {checksum: %s}", func(d *rules.Decision) bool { return d.Checksum != 0 }},
	{"flip", "corrupt: {flip: %s}", func(d *rules.Decision) bool { return d.Flip }},
	{"truncate", "corrupt: {truncate: %s}", func(d *rules.Decision) bool { return d.Truncate }},
	{"lengthen", "corrupt: {lengthen: %s}", func(d *rules.Decision) bool { return d.Lengthen }},
	{"loss", "loss: %s", func(d *rules.Decision) bool { return d.Drop == rules.Lost }},
	{"error", "error: {type: time exceeded, probability: %s}", func(d *rules.Decision) bool { return d.Error != nil }},
}

func TestEachProbabilityIsThatOfTheRule(t *testing.T) {
	for _, k := range kinds {
		for _, c := range []struct {
			text string
			p    float64
			n    int
		}{{"1%", 0.01, many / 2}, {"0.25", 0.25, many / 10}} {
			single, _ := shares(t, "- "+fmt.Sprintf(k.key, c.text)+"\n", c.n, []func(*rules.Decision) bool{k.has})
			wantShare(t, k.name+" of "+c.text, single[0], c.n, c.p)
		}
	}
}

func TestKindsOfLuckAreIndependent(t *testing.T) {
	const p = 0.3
	rule := "- {reorder: '30%,by=50ms', duplicate: 30%, corrupt: {checksum: 30%, flip: 30%, truncate: 30%, lengthen: 30%}, delay: 'uniform:0s,100ms', jitter: 0s}\n"
	var has []func(*rules.Decision) bool
	var names []string
	for _, k := range kinds[:6] {
		has, names = append(has, k.has), append(names, k.name)
	}
	base := func(d *rules.Decision) time.Duration {
		if d.Held {
			return d.Delay - 50*ms
		}
		return d.Delay
	}
	names = append(names, "a long delay", "a flip near the begin", "an odd checksum")
	data := make([]byte, 100)
	has = append(has,
		func(d *rules.Decision) bool { return base(d) >= 70*ms },
		func(d *rules.Decision) bool {
			if !d.Flip || d.Truncate || d.Lengthen {
				return false
			}
			return slices.ContainsFunc(d.AppendData(nil, data)[:30], func(c byte) bool { return c != 0 })
		},
		func(d *rules.Decision) bool { return d.Checksum&1 != 0 })
	single, both := shares(t, rule, many, has)
	for i := range 7 {
		wantShare(t, names[i], single[i], many, p)
	}
	wantShare(t, names[7], single[7], many, p*(1-2*p)*0.3)
	wantShare(t, names[8], single[8], many, p*(0x7fff/float64(0xfffe)))
	for a := range names {
		for b := range a {
			switch name := names[a] + " and " + names[b]; {
			case name == "lengthen and truncate" || a == 7 && (names[b] == "truncate" || names[b] == "lengthen"):
				if both[a][b] != 0 {
					t.Errorf("%s: %d", name, both[a][b])
				}
			case a == 7 && names[b] == "flip", a == 8 && names[b] == "checksum":
			default:
				wantShare(t, name, both[a][b], many, float64(single[a])/many*float64(single[b])/many)
			}
		}
	}
}

// What happens to a packet the second time has nothing to do with the first.
func TestRepetitionsAreIndependent(t *testing.T) {
	d := mustParse(t, "- loss: 30%\n").NewDecider(1 << 20)
	const n = many / 4
	var lost [3]int
	var pairs [3]int
	p := packet(0)
	for i := range n {
		p.Data[0], p.Data[1], p.Data[2] = byte(i>>16), byte(i>>8), byte(i)
		var is [3]bool
		for r := range is {
			dec := d.Decide(p, 0)
			if is[r] = dec.Drop == rules.Lost; is[r] {
				lost[r]++
			}
		}
		for r := range pairs {
			if is[r] && is[(r+1)%3] {
				pairs[r]++
			}
		}
	}
	for r := range lost {
		wantShare(t, fmt.Sprint("loss at repetition ", r), lost[r], n, 0.3)
		wantShare(t, fmt.Sprint("loss at repetitions ", r, " and ", (r+1)%3), pairs[r], n, 0.09)
	}
}

// Packets that differ in the sequence number only, one after the other, have
// independent luck too.
func TestNeighboursAndSeedsAreIndependent(t *testing.T) {
	other, err := rules.Parse("x", []byte("version: 1\nseed: 43\nrules:\n- loss: 30%\n"))
	if err != nil {
		t.Fatal(err)
	}
	a, b := mustParse(t, "- loss: 30%\n").NewDecider(0), other.NewDecider(0)
	lost := func(d *rules.Decider, p *rules.Packet) bool {
		dec := d.Decide(p, 0)
		return dec.Drop == rules.Lost
	}
	const n = 1 << 16
	p := packet(0)
	neighbours, seeds, last := 0, 0, false
	for i := range n {
		p.Seq = uint16(i)
		now := lost(a, p)
		if now && last {
			neighbours++
		}
		if now && lost(b, p) {
			seeds++
		}
		last = now
	}
	wantShare(t, "two neighbours", neighbours, n-1, 0.09)
	wantShare(t, "with two seeds", seeds, n, 0.09)
}

func TestDelaysAreSpreadAsTheRuleSays(t *testing.T) {
	phi := func(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }
	for _, c := range []struct {
		rule string
		cdf  func(x float64) float64 // of milliseconds
		// least and most are the ends, which may have a share of their own.
		least, most float64
	}{
		{"delay: uniform:10ms,30ms", func(x float64) float64 { return (x - 10) / 20 }, 10, 30},
		{"delay: normal:20ms,5ms", func(x float64) float64 { return phi((x - 20) / 5) }, 0, 60},
		{"delay: normal:5ms,5ms", func(x float64) float64 { return phi((x - 5) / 5) }, 0, 60},
		{"delay: {distribution: pareto, min: 10ms, shape: 2.5}", func(x float64) float64 { return 1 - math.Pow(10/x, 2.5) }, 10, 3.6e6},
		{"delay: pareto:10ms,1,100ms", func(x float64) float64 { return 1 - 10/x }, 10, 100},
		{"delay: pareto:1s,0.1", func(x float64) float64 { return 1 - math.Pow(1000/x, 0.1) }, 1000, 3.6e6},
		{"{delay: 20ms, jitter: 5ms}", func(x float64) float64 { return (x - 15) / 10 }, 15, 25},
		{"{delay: 'uniform:20ms,30ms', jitter: 10ms}", func(x float64) float64 { // a trapezium
			switch {
			case x < 20:
				return (x - 10) * (x - 10) / 400
			case x < 30:
				return 0.25 + (x-20)/20
			}
			return 1 - (40-x)*(40-x)/400
		}, 10, 40},
	} {
		const n = many / 5
		d := mustParse(t, "- "+c.rule+"\n").NewDecider(0)
		p := packet(0)
		all := make([]float64, n)
		for i := range all {
			p.Data[0], p.Data[1], p.Data[2] = byte(i>>16), byte(i>>8), byte(i)
			dec := d.Decide(p, 0)
			all[i] = float64(dec.Delay) / float64(ms)
		}
		slices.Sort(all)
		if all[0] < c.least || all[n-1] > c.most {
			t.Errorf("%s: from %v to %v ms, want from %v to %v", c.rule, all[0], all[n-1], c.least, c.most)
		}
		// The greatest difference of the two distributions, which only one in a thousand
		// of right ones exceeds (Kolmogorov and Smirnov). Above and below the ends, and at
		// times that are drawn more than once, they may jump.
		worst := 0.0
		for i := 0; i < n; {
			j := i + 1
			for j < n && all[j] == all[i] {
				j++
			}
			f := min(max(c.cdf(all[i]), 0), 1)
			if all[i] >= c.most {
				f = 1
			}
			worst = max(worst, math.Abs(float64(j)/n-f))
			if all[i] > c.least && all[i] < c.most {
				worst = max(worst, math.Abs(float64(i)/n-f))
			}
			i = j
		}
		if limit := 1.95 / math.Sqrt(n); worst > limit {
			t.Errorf("%s: the distributions differ by %.5f, at most %.5f is chance", c.rule, worst, limit)
		}
	}
}

func TestAmountsAreAllAsLikely(t *testing.T) {
	data := make([]byte, 10)
	for rule, amounts := range map[string]int{"truncate": 10, "lengthen": 64, "flip": 10} {
		d := mustParse(t, "- corrupt: {"+rule+": 100%}\n").NewDecider(0)
		const n = many / 10
		counts := make([]int, amounts)
		p := packet(0)
		buf := make([]byte, 0, 100)
		for i := range n {
			p.Data[0], p.Data[1], p.Data[2] = byte(i>>16), byte(i>>8), byte(i)
			dec := d.Decide(p, 0)
			switch got := dec.AppendData(buf, data); rule {
			case "truncate":
				counts[len(got)]++
			case "lengthen":
				counts[len(got)-len(data)-1]++
			default:
				counts[slices.IndexFunc(got, func(c byte) bool { return c != 0 })]++
			}
		}
		for i, c := range counts { // of 84, one is likely to be out of three standard errors
			if mean := float64(n) / float64(amounts); math.Abs(float64(c)-mean) > 4*math.Sqrt(mean) {
				t.Errorf("%s: amount %d comes %d times, want about %.0f", rule, i, c, mean)
			}
		}
	}
}

func TestAWrongChecksumIsAlwaysWrong(t *testing.T) {
	d := mustParse(t, "- corrupt: {checksum: 100%}\n").NewDecider(0)
	p := packet(0)
	seen := make(map[uint16]bool)
	for i := range many / 2 {
		p.Data[0], p.Data[1], p.Data[2] = byte(i>>16), byte(i>>8), byte(i)
		dec := d.Decide(p, 0)
		if dec.Checksum == 0 || dec.Checksum == 0xffff {
			t.Fatalf("packet %d: %#x does no harm to some checksums", i, dec.Checksum)
		}
		seen[dec.Checksum] = true
	}
	if least := min(many/20, 0xff00); len(seen) < least {
		t.Errorf("only %d different ones", len(seen))
	}
}
