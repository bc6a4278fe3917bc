package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"iomux/apps/echo/responder"
	"iomux/apps/echo/responder/rules"
)

// serverReport is how the server tells what happens. Request and answer, which follow
// each other, are called on the loop of their lane and everything else on the first.
type serverReport interface {
	start()
	request(*lane, *responder.Request)
	answer(*lane, *responder.Answer)
	stats(now, last *totals)
	reload(*rules.Set, error)
	health(well bool, cause error)
	link(*place, linkEvent)
	summary(t *totals, d *detail, interim bool)
}

// The most rules and sources that a summary tells of.
const (
	mostRules       = 20
	mostRulesJSON   = 1000
	mostSources     = 5
	mostSourcesJSON = 20
)

// textReport is for people.
type textReport struct{ s *server }

// print writes to standard output.
func (r textReport) print(format string, args ...any) {
	out := r.s.lanes[0].out
	out.add(fmt.Appendf(out.buf, format, args...))
}

func (r textReport) start() {
	var places []string
	for _, p := range r.s.places {
		places = append(places, p.label)
	}
	loops := ""
	if n := len(r.s.lanes); n > 1 {
		loops = fmt.Sprintf(", %d loops", n)
	}
	having := ""
	if set := r.s.policy.Rules(); set != nil && set.Len() > 0 {
		having = ", " + r.s.o.describeRules(set)
	}
	r.print("answering on %s%s, multiplexer %s%s; Ctrl-C ends\n", strings.Join(places, ", "), having, r.s.o.backend, loops)
}

func (textReport) request(n *lane, q *responder.Request) {
	a := &n.asked
	a.head = fmt.Appendf(a.head[:0], "%d bytes from %v to %v: echo request code=%d id=%d icmp_seq=%d ttl=%d ",
		8+len(q.Echo.Data), q.From, q.To, q.Echo.Code, q.Echo.ID, q.Echo.Seq, q.TTL)
	a.data = append(a.data[:0], text(q.Echo.Data)...)
}

func (textReport) answer(n *lane, a *responder.Answer) {
	b := append(n.out.buf, n.asked.head...)
	if a.Outcome != responder.Replied {
		b = append(append(append(b, '('), a.Outcome.String()...), ") "...)
	}
	b = append(append(b, "data: "...), n.asked.data...)
	n.out.add(append(b, '\n'))
}

func (r textReport) stats(now, last *totals) {
	elapsed := now.at.Sub(last.at).Seconds()
	var parts []string
	for i, c := range counters {
		n, before := *c.of(now), *c.of(last)
		switch {
		case c.key == gauge:
			if n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n, c.label))
			}
		case i < 2 || n != before:
			parts = append(parts, perSecond(n-before, elapsed)+" "+c.label+"/s")
		}
	}
	r.print("%s %s\n", now.at.Format("15:04:05"), strings.Join(parts, ", "))
}

// perSecond is a rate. What is rare is not nothing.
func perSecond(n uint64, seconds float64) string {
	rate := float64(n) / seconds
	if rate > 0 && rate < 10 {
		return fmt.Sprintf("%.2g", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}

func (r textReport) reload(set *rules.Set, err error) {
	if err == nil {
		r.print("rules: %s\n", r.s.o.describeRules(set))
		return
	}
	var all []string
	for _, fault := range each(err) {
		all = append(all, fault.Error())
	}
	note(r.s.stderr, "the old rules stay, as the new ones are refused:\n  %s", strings.Join(all, "\n  "))
}

func (r textReport) health(well bool, cause error) {
	if well {
		r.print("health: well, answering\n")
		return
	}
	r.print("health: not well, not answering: %s\n", text([]byte(cause.Error())))
}

func (r textReport) link(p *place, e linkEvent) {
	switch {
	case e.err != nil:
		note(r.s.stderr, "%s: %v", p.device.Name(), e.err)
	case e.up:
		r.print("%s is up again, with its addresses and routes\n", p.device.Name())
	default:
		r.print("%s is down\n", p.device.Name())
	}
}

func (r textReport) summary(t *totals, d *detail, interim bool) {
	var b strings.Builder
	title := "echo server statistics"
	if interim {
		title += " so far"
	}
	fmt.Fprintf(&b, "\n--- %s ---\n", title)
	sep := ""
	for i, c := range counters {
		if n := *c.of(t); n > 0 || i < 2 {
			fmt.Fprintf(&b, "%s%d %s", sep, n, c.label)
			sep = ", "
		}
	}
	b.WriteByte('\n')
	all := d.busiestRules()
	for _, rule := range all[:min(len(all), mostRules)] {
		b.WriteString(text([]byte(rule.Name)))
		sep := ": "
		for _, c := range ruleCounters {
			if n := *c.of(rule.RuleStats); n > 0 {
				fmt.Fprintf(&b, "%s%d %s", sep, n, c.key)
				sep = ", "
			}
		}
		b.WriteByte('\n')
	}
	if more := len(all) - mostRules; more > 0 {
		fmt.Fprintf(&b, "and %d more rules\n", more)
	}
	for _, source := range d.busiestSources(mostSources) {
		fmt.Fprintf(&b, "from %v: %d requests", source.Prefix, source.Requests)
		if source.Error > 0 {
			fmt.Fprintf(&b, ", of which up to %d may be others'", source.Error)
		}
		if source.Throttled > 0 {
			fmt.Fprintf(&b, ", %d throttled", source.Throttled)
		}
		b.WriteByte('\n')
	}
	r.print("%s", b.String())
}

// jsonReport is newline-delimited JSON.
type jsonReport struct{ s *server }

// event is what all events have.
type event struct {
	Type    string    `json:"type"`
	Version int       `json:"version"`
	Time    time.Time `json:"time"`
}

func newEvent(kind string) event { return event{kind, 1, time.Now().UTC()} }

// print writes an event.
func (r jsonReport) print(e any) {
	out := r.s.lanes[0].out
	b, err := json.Marshal(e)
	if err != nil {
		r.s.failed(err) // there is nothing in it that could
		return
	}
	out.add(append(append(out.buf, b...), '\n'))
}

func (r jsonReport) start() {
	e := struct {
		event
		Networks    []string       `json:"networks"`
		Device      string         `json:"device,omitempty"`
		Prefixes    []netip.Prefix `json:"prefixes,omitempty"`
		Multiplexer string         `json:"multiplexer"`
		Loops       int            `json:"loops"`
		Rules       int            `json:"rules"`
		PID         int            `json:"pid"`
	}{event: newEvent("start"), Multiplexer: r.s.o.backend, Loops: len(r.s.lanes), PID: os.Getpid()}
	for _, p := range r.s.places {
		e.Networks = append(e.Networks, p.network)
		if p.device != nil {
			e.Device, e.Prefixes = p.device.Name(), p.options.Routes
		}
	}
	if set := r.s.policy.Rules(); set != nil {
		e.Rules = set.Len()
	}
	r.print(e)
}

func (jsonReport) request(n *lane, q *responder.Request) { n.asked.ttl = q.TTL }

// answer writes by hand what comes with each packet: addresses, numbers and our own
// words need no escapes.
func (jsonReport) answer(n *lane, a *responder.Answer) {
	b := append(n.out.buf, `{"type":"request","version":1,"time":"`...)
	b = n.l.Now().UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	address := func(key string, addr netip.Addr) {
		if addr.IsValid() {
			b = append(append(append(b, `,"`...), key...), `":"`...)
			b = append(addr.WithZone("").AppendTo(b), '"')
		}
	}
	number := func(key string, n int64) {
		b = strconv.AppendInt(append(append(append(b, `,"`...), key...), `":`...), n, 10)
	}
	address("from", a.From)
	address("to", a.To)
	number("id", int64(a.ID))
	number("seq", int64(a.Seq))
	if n.asked.ttl > 0 {
		number("ttl", int64(n.asked.ttl))
	}
	number("size_bytes", int64(a.Size))
	if d := a.Decision; d != nil && d.Rule >= 0 {
		number("rule", int64(d.Rule)+1)
		if a.Outcome == responder.Replied || a.Outcome == responder.Errored {
			number("delay_ns", int64(d.Delay))
		}
	}
	b = append(append(append(b, `,"outcome":"`...), a.Outcome.String()...), "\"}\n"...)
	n.out.add(b)
}

// numbers are the counters under their keys.
func numbers(t *totals) map[string]uint64 {
	m := make(map[string]uint64, len(counters))
	for _, c := range counters {
		m[c.key] = *c.of(t)
	}
	return m
}

func (r jsonReport) stats(now, last *totals) {
	elapsed := now.at.Sub(last.at)
	rates := make(map[string]float64, len(counters))
	for _, c := range counters {
		if c.key != gauge {
			rates[c.key] = float64(*c.of(now)-*c.of(last)) / elapsed.Seconds()
		}
	}
	r.print(struct {
		event
		Elapsed  time.Duration      `json:"elapsed_ns"`
		Counters map[string]uint64  `json:"counters"`
		Rates    map[string]float64 `json:"rates"`
	}{newEvent("stats"), elapsed, numbers(now), rates})
}

// faultEvent is one thing that is wrong with a rules file.
type faultEvent struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Text   string `json:"text"`
}

func (r jsonReport) reload(set *rules.Set, err error) {
	e := struct {
		event
		OK     bool         `json:"ok"`
		Rules  *int         `json:"rules,omitempty"`
		Faults []faultEvent `json:"faults,omitempty"`
	}{event: newEvent("reload"), OK: err == nil}
	if err == nil {
		n := set.Len()
		e.Rules = &n
	} else {
		textReport(r).reload(nil, err) // to standard error
	}
	for _, err := range each(err) {
		var f *rules.Fault
		if errors.As(err, &f) {
			e.Faults = append(e.Faults, faultEvent{f.File, f.Line, f.Column, f.Text})
		} else {
			e.Faults = append(e.Faults, faultEvent{Text: err.Error()})
		}
	}
	r.print(e)
}

func (r jsonReport) health(well bool, cause error) {
	e := struct {
		event
		Well  bool   `json:"well"`
		Cause string `json:"cause,omitempty"`
	}{event: newEvent("health"), Well: well}
	if cause != nil {
		e.Cause = cause.Error()
	}
	r.print(e)
}

func (r jsonReport) link(p *place, l linkEvent) {
	e := struct {
		event
		Device string `json:"device"`
		Up     bool   `json:"up"`
		Error  string `json:"error,omitempty"`
	}{event: newEvent("link"), Device: p.device.Name(), Up: l.up}
	if l.err != nil {
		e.Error = l.err.Error()
		textReport(r).link(p, l) // to standard error
	}
	r.print(e)
}

// ruleEvent is what became of the requests for a rule.
type ruleEvent struct {
	Rule     int               `json:"rule"`
	Name     string            `json:"name"`
	Line     int               `json:"line,omitempty"`
	Counters map[string]uint64 `json:"counters"`
}

// sourceEvent is where requests came from.
type sourceEvent struct {
	Prefix    netip.Prefix `json:"prefix"`
	Requests  uint64       `json:"requests"`
	Error     uint64       `json:"error"`
	Answered  uint64       `json:"answered"`
	Throttled uint64       `json:"throttled"`
}

func (r jsonReport) summary(t *totals, d *detail, interim bool) {
	e := struct {
		event
		Interim   bool              `json:"interim"`
		Elapsed   time.Duration     `json:"elapsed_ns"`
		Counters  map[string]uint64 `json:"counters"`
		Rules     []ruleEvent       `json:"rules"`
		RulesLeft int               `json:"rules_left_out,omitempty"`
		Sources   []sourceEvent     `json:"sources"`
	}{event: newEvent("summary"), Interim: interim, Elapsed: t.at.Sub(r.s.began), Counters: numbers(t),
		Rules: []ruleEvent{}, Sources: []sourceEvent{}}
	all := d.busiestRules()
	e.RulesLeft = max(0, len(all)-mostRulesJSON)
	for _, rule := range all[:len(all)-e.RulesLeft] {
		m := make(map[string]uint64, len(ruleCounters))
		for _, c := range ruleCounters {
			m[c.key] = *c.of(rule.RuleStats)
		}
		e.Rules = append(e.Rules, ruleEvent{rule.number, rule.Name, rule.Line, m})
	}
	for _, source := range d.busiestSources(mostSourcesJSON) {
		e.Sources = append(e.Sources, sourceEvent(*source))
	}
	r.print(e)
}
