package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"iomux/apps/echo/prober/stats"
)

// line is an event as the client writes it.
type line map[string]any

// perfect is what the client has to write of a part.
func perfect(p *Part) []line {
	lines := []line{{"type": "begin"}}
	total := line{"type": "total", "interim": false, "elapsed_ns": 0, "stray": 0}
	for _, key := range countKeys {
		total[key] = 0
	}
	var ends []line
	for i, f := range p.Faults {
		c := line{"type": "target", "interim": false, "target": i}
		for _, key := range countKeys {
			c[key] = 0
		}
		c["sent"] = p.Rounds
		number := 0
		wants := slices.Clone(f.want)
		if f.luck { // the first one is overtaken by the second
			second := wants[0]
			second.outcome, second.n = stats.Reordered, 1
			wants[0].n--
			wants = append(wants, second)
		}
		for _, w := range wants {
			for range w.n {
				number++
				l := line{"type": "result", "outcome": w.outcome.Key(), "target": i, "addr": f.Addr.String(), "number": number, "try": 0, "last": true}
				if f.luck && w.outcome == stats.Reordered {
					l["number"] = 1
				} else if f.luck {
					l["number"] = number + 1
				}
				if w.outcome != stats.Timeout {
					l["from"], l["icmp_type"], l["icmp_code"] = w.source(f), w.kind, w.code
				}
				if w.size.low > 0 {
					l["size_bytes"], l["ttl"], l["tos"], l["rtt_ns"], l["clock"] = w.size.low, w.ttl, w.tos, w.rtt.Nanoseconds(), "kernel"
				}
				if w.offset != absent {
					l["offset_bytes"] = w.offset.high
				}
				if w.mtu > 0 {
					l["mtu_bytes"] = w.mtu
				}
				lines = append(lines, l)
				c[w.outcome.CountKey()] = c[w.outcome.CountKey()].(int) + 1
			}
		}
		for _, key := range countKeys {
			total[key] = total[key].(int) + c[key].(int)
		}
		total["stray"] = total["stray"].(int) + f.stray
		ends = append(ends, c)
	}
	return append(append(lines, ends...), total)
}

func write(lines []line) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, l := range lines {
		l["version"], l["time"] = 1, "2026-01-01T00:00:00.000000000Z"
		e.Encode(l)
	}
	return b.Bytes()
}

// failed returns the names of the faults that are not as they must be.
func failed(t *testing.T, p *Part, lines []line) []string {
	t.Helper()
	rows, err := p.Judge(write(lines))
	if err != nil {
		t.Fatalf("%s: %v", p.Name, err)
	}
	if len(rows) != len(p.Faults)+1 {
		t.Fatalf("%s: %d rows for %d faults", p.Name, len(rows), len(p.Faults))
	}
	var names []string
	for _, r := range rows {
		if r.OK && !strings.HasPrefix(r.Want, r.Said) {
			t.Errorf("%s: %s wanted, %s said, and ok is %v", r.Fault, r.Want, r.Said, r.OK)
		}
		if !r.OK {
			names = append(names, r.Fault)
		}
	}
	return names
}

func forEachPart(t *testing.T, do func(*testing.T, *Part)) {
	for _, s := range sites {
		for _, p := range Parts(s) {
			t.Run(fmt.Sprintf("%s %s %s", s.Family(), s.On, p.Name), func(t *testing.T) { do(t, &p) })
		}
	}
}

func TestWhatMustBeSaidIsRight(t *testing.T) {
	forEachPart(t, func(t *testing.T, p *Part) {
		rows, err := p.Judge(write(perfect(p)))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if !r.OK {
				t.Errorf("%s: %q wanted, %q said", r.Fault, r.Want, r.Said)
			}
		}
	})
}

// Each key that is wrong in a single result, and each number that is one off, fails the
// fault that it is about, and no other.
func TestEveryDeviationFails(t *testing.T) {
	forEachPart(t, func(t *testing.T, p *Part) {
		groups := map[string]bool{}
		for i, f := range p.Faults { // two at a time, of which one must stay as it is
			if f.group != "" && groups[f.group] {
				continue
			}
			groups[f.group] = true
			two := *p
			two.Faults = []*Fault{f, p.Faults[(i+1)%len(p.Faults)]}
			deviate(t, &two)
		}
	})
}

// deviate tries everything with the first fault.
func deviate(t *testing.T, p *Part) {
	t.Helper()
	right := perfect(p)
	tried := map[string]bool{} // one result of each fault and outcome is enough
	for i, l := range right {
		if l["type"] != "result" || l["target"] != 0 {
			continue
		}
		f := p.Faults[l["target"].(int)]
		if id := f.Name + l["outcome"].(string); tried[id] {
			continue
		} else {
			tried[id] = true
		}
		change := func(what string, do func(line)) {
			lines := slices.Clone(right)
			lines[i] = maps.Clone(l)
			do(lines[i])
			if got := failed(t, p, lines); !slices.Equal(got, []string{f.Name}) {
				t.Errorf("%s: %s of %s fails %q", f.Name, what, l["outcome"], got)
			}
		}
		set := func(key string, value any) { change(key, func(l line) { l[key] = value }) }
		for o := range stats.Outcomes {
			if key := o.Key(); key != l["outcome"] {
				set("outcome", key)
			}
		}
		set("from", "192.0.2.1")
		set("icmp_type", 77)
		set("icmp_code", 77)
		set("offset_bytes", 77)
		set("size_bytes", 1000)
		set("mtu_bytes", 77)
		set("ttl", 77)
		set("tos", 77)
		for _, key := range []string{"from", "icmp_type", "icmp_code", "offset_bytes", "size_bytes", "mtu_bytes", "ttl", "tos"} {
			if _, there := l[key]; there {
				change("no "+key, func(l line) { delete(l, key) })
			}
		}
		if rtt, there := l["rtt_ns"]; there && rtt.(int64) > 0 {
			set("rtt_ns", rtt.(int64)-rtt.(int64)/1000)
		}
		lines := slices.Delete(slices.Clone(right), i, i+1)
		if got := failed(t, p, lines); !slices.Equal(got, []string{f.Name}) {
			t.Errorf("%s: without a %s %q fail", f.Name, l["outcome"], got)
		}
	}
	for i, l := range right {
		for key := range l {
			n, number := l[key].(int)
			if !number || key == "target" || key == "version" || key == "elapsed_ns" || l["type"] == "result" || l["type"] == "target" && l["target"] != 0 {
				continue
			}
			lines := slices.Clone(right)
			lines[i] = maps.Clone(l)
			lines[i][key] = n + 1
			nobody := fmt.Sprintf("%s (%s)", Nobody, p.Name)
			want := []string{nobody}
			if l["type"] == "target" {
				want = []string{p.Faults[l["target"].(int)].Name, nobody}
			}
			if got := failed(t, p, lines); !slices.Equal(got, want) {
				t.Errorf("%s of %v one too many fails %q, want %q", key, l["type"], got, want)
			}
		}
	}
}

// What nobody asked for belongs to no fault.
func TestWhatBelongsToNobodyIsToldApart(t *testing.T) {
	p := Parts(sites[0])[0]
	lines := append(perfect(&p), line{"type": "result", "outcome": "forged", "from": "192.0.2.1", "icmp_type": 0, "icmp_code": 0})
	rows, err := p.Judge(write(lines))
	if last := rows[len(rows)-1]; err != nil || last.OK || !strings.HasSuffix(last.Said, "forged from 192.0.2.1 size unknown TTL unknown TOS unknown") {
		t.Errorf("%+v, %v", last, err)
	}
}

// A source may be answered more often in a run that takes longer, and not besides.
func TestAThrottledSourceIsAnsweredOnceASecond(t *testing.T) {
	p := Parts(sites[0])[3]
	for _, c := range []struct {
		seconds float64
		replies int
		ok      bool
	}{{0.9, 1, true}, {0.9, 2, false}, {0.9, 0, false}, {1.1, 2, true}, {1.1, 1, true}, {2.1, 3, true}, {2.1, 4, false}} {
		f := p.Faults[0]
		f.want[0].n, f.want[1].n = c.replies, p.Rounds-c.replies
		lines := perfect(&p)
		f.want[0].n, f.want[1].n = 1, p.Rounds-1
		lines[len(lines)-1]["elapsed_ns"] = c.seconds * 1e9
		if got := failed(t, &p, lines) == nil; got != c.ok {
			t.Errorf("%d replies in %g s: %v", c.replies, c.seconds, got)
		}
	}
}

func TestWhatMakesNoSenseIsAnError(t *testing.T) {
	p := Parts(sites[0])[0]
	whole := string(write(perfect(&p)))
	for text, want := range map[string]string{
		"":  "has not written what all came to",
		"{": `the client writes "{"`,
		strings.Replace(whole, `"version":1`, `"version":2`, 1): "version 2, want 1",
		`{"type":"result","version":1,"outcome":"odd"}`:         `"odd"`,
		`{"type":"total","version":1}`:                          "there is no sent",
	} {
		if rows, err := p.Judge([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: %v, %v, want %q", text, rows, err, want)
		}
	}
}

// Replies may overtake one another where delays differ, and must where they are to be
// reordered. Which ones did is told by the order in which the client tells of them.
func TestReorderingIsToldByTheOrderOfReplies(t *testing.T) {
	for _, c := range []struct {
		part, fault int
		reordered   bool
		ok          bool
	}{{0, 2, false, true}, {0, 2, true, true}, {0, 1, false, true}, {0, 1, true, false}, {2, 0, false, false}, {2, 0, true, true}} {
		p := Parts(sites[0])[c.part]
		p.Faults = []*Fault{p.Faults[c.fault]}
		f := *p.Faults[0]
		f.luck = c.reordered
		told := p
		told.Faults = []*Fault{&f}
		if got := failed(t, &p, perfect(&told)) == nil; got != c.ok {
			t.Errorf("%s, reordered: %v: ok is %v", f.Name, c.reordered, got)
		}
	}
}
