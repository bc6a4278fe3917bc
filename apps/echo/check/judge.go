package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"iomux/apps/echo/prober/stats"
)

// Row is a fault at a site, and what the client made of it.
type Row struct {
	Site
	Fault string
	Want  string // what the client must say
	Said  string // what it said, in the same words if they mean the same
	OK    bool
}

// Nobody is the name of the row about messages that belong to no request.
const Nobody = "messages of nobody"

// Judge compares what the client has written, in JSON, with what it must say: a row for
// each fault, and one for what belongs to none. The error is that it makes no sense.
func (p *Part) Judge(out []byte) ([]Row, error) {
	r, err := readRun(out)
	if err != nil {
		return nil, err
	}
	var rows []Row
	strays := uint64(0)
	for i, f := range p.Faults {
		rows = append(rows, p.judge(f, r.results[i], r.targets[i], r.elapsed))
		strays += uint64(f.stray)
	}
	row := Row{Site: p.Site, Fault: Nobody + " (" + p.Name + ")", Want: fmt.Sprintf("%d stray", strays)}
	row.Said = fmt.Sprintf("%d stray", r.total["stray"])
	for _, s := range r.strays {
		row.Said += ", " + p.describe(p.Faults[0], &s)
	}
	for _, key := range countKeys {
		sum := uint64(0)
		for _, c := range r.targets {
			sum += c[key]
		}
		if r.total[key] != sum {
			row.Said += fmt.Sprintf(", %s %d of all and %d of the targets", key, r.total[key], sum)
		}
	}
	row.OK = row.Said == row.Want
	return append(rows, row), nil
}

// judge compares what the client says of one fault.
func (p *Part) judge(f *Fault, results []result, c counts, elapsed float64) Row {
	wants := slices.Clone(f.want)
	if f.perSecond > 0 {
		// Answered is the first want, and given up the second.
		more := min(len(pickOutcome(results, stats.Reply))-wants[0].n, int(elapsed)*f.perSecond)
		if more > 0 {
			wants[0].n, wants[1].n = wants[0].n+more, wants[1].n-more
		}
	}
	if f.luck {
		wants = inOrder(wants[0], results, f.overtaken)
	}
	row := Row{Site: p.Site, Fault: f.Name, Want: say(wants)}

	// What is as expected is told in the same words.
	said := make([]want, 0, len(wants))
	for _, w := range wants {
		w.n = 0
		said = append(said, w)
	}
	var odd []string
	times := map[string]int{}
	for i := range results {
		r := &results[i]
		at := slices.IndexFunc(wants, func(w want) bool { return w.matches(f, r) })
		if at >= 0 {
			said[at].n++
			continue
		}
		text := p.describe(f, r)
		if times[text]++; times[text] == 1 {
			odd = append(odd, text)
		}
	}
	parts := []string{}
	if text := say(slices.DeleteFunc(said, func(w want) bool { return w.n == 0 })); text != "" {
		parts = append(parts, text)
	}
	for _, text := range odd {
		parts = append(parts, fmt.Sprintf("%d %s", times[text], text))
	}

	// The statistics must say the same as the results.
	sum := counts{"sent": uint64(p.Rounds)}
	for _, r := range results {
		sum[r.Outcome.CountKey()]++
	}
	for _, key := range countKeys {
		if c[key] != sum[key] {
			parts = append(parts, fmt.Sprintf("but %s is %d", key, c[key]))
		}
	}
	if row.Said = strings.Join(parts, ", "); row.Said == "" {
		row.Said = "nothing"
	}
	row.OK = len(odd) == 0 && row.Said == row.Want
	if f.note != "" {
		row.Want += " (" + f.note + ")"
	}
	return row
}

func pickOutcome(results []result, o stats.Outcome) []result {
	return slices.DeleteFunc(slices.Clone(results), func(r result) bool { return r.Outcome != o })
}

// inOrder returns what must be said of replies which came in the order of the results:
// one that comes after the reply to a later request is reordered, and at least so many
// are.
func inOrder(reply want, results []result, least int) []want {
	reordered := reply
	reordered.outcome, reordered.n = stats.Reordered, 0
	latest := uint64(0)
	for _, r := range results {
		if r.Number < latest {
			reordered.n++
		}
		latest = max(latest, r.Number)
	}
	reordered.n = min(max(reordered.n, least), reply.n)
	reply.n -= reordered.n
	if reordered.n == 0 {
		return []want{reply}
	}
	return []want{reply, reordered}
}

// matches reports whether a result is one of those that are expected.
func (w *want) matches(f *Fault, r *result) bool {
	if r.Outcome != w.outcome {
		return false
	}
	heard := w.outcome != stats.Timeout
	from := ""
	if heard {
		from = w.source(f)
	}
	number := func(n *int, low, high int) bool {
		return n == nil && low < 0 || n != nil && low <= *n && *n <= high
	}
	exactly := func(n *int, want int, there bool) bool {
		if !there {
			want = -1
		}
		return number(n, want, want)
	}
	message := w.size != span{}
	size := w.size
	if !message {
		size = absent
	}
	return r.From == from &&
		exactly(r.Type, w.kind, heard) && exactly(r.Code, w.code, heard) &&
		exactly(r.TTL, w.ttl, message) && exactly(r.TOS, w.tos, message) &&
		number(r.Size, size.low, size.high) && number(r.Offset, w.offset.low, w.offset.high) &&
		exactly(r.MTU, w.mtu, w.mtu > 0) &&
		(w.rtt == 0 || r.RTT != nil && time.Duration(*r.RTT) >= w.rtt-w.rtt/slew)
}

// The wall clock, by which the kernel measures, is up to 500 ppm slower than the one that
// the server waits by (adjtimex(2)).
const slew = 2000

func (w *want) source(f *Fault) string {
	if w.from.IsValid() {
		return w.from.String()
	}
	return f.Addr.String()
}

// say returns what is expected in words.
func say(wants []want) string {
	var parts []string
	for _, w := range wants {
		text := fmt.Sprintf("%d %s", w.n, w.outcome)
		if w.outcome == stats.ICMPError {
			text += fmt.Sprintf(" type %d code %d", w.kind, w.code)
		} else if w.code != 0 {
			text += fmt.Sprintf(" code %d", w.code)
		}
		if w.from.IsValid() {
			text += " from " + w.from.String()
		}
		if w.mtu > 0 {
			text += fmt.Sprintf(" MTU %d", w.mtu)
		}
		if w.offset != absent {
			text += " at byte " + w.offset.String()
		}
		if w.size.low != 0 && w.size != (span{size, size}) {
			text += " of " + w.size.String() + " bytes"
		}
		if w.ttl != 0 && w.ttl != defaultTTL {
			text += fmt.Sprintf(" TTL %d", w.ttl)
		}
		if w.tos != 0 {
			text += fmt.Sprintf(" TOS %#x", w.tos)
		}
		if w.rtt > 0 {
			text += fmt.Sprintf(" after %v or more", w.rtt)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// String returns "3", or "3-5".
func (s span) String() string {
	if s.low == s.high {
		return fmt.Sprint(s.low)
	}
	return fmt.Sprintf("%d-%d", s.low, s.high)
}

// describe returns what an unexpected result says, with everything that may be wrong.
func (p *Part) describe(f *Fault, r *result) string {
	text := r.Outcome.String()
	number := func(name string, n *int, must bool, usual ...int) {
		switch {
		case n == nil && must:
			text += fmt.Sprintf(" %s unknown", name)
		case n != nil && !slices.Contains(usual, *n):
			text += fmt.Sprintf(" %s %d", name, *n)
		}
	}
	answer := r.Outcome != stats.Timeout && r.Outcome != stats.ICMPError
	if r.Outcome == stats.ICMPError {
		number("type", r.Type, true)
		number("code", r.Code, true)
	} else {
		number("type", r.Type, answer, pick(p.Site, 0, 129))
		number("code", r.Code, answer, 0)
	}
	switch {
	case r.From == "" && r.Outcome != stats.Timeout:
		text += " from nobody"
	case r.From != "" && r.From != f.Addr.String():
		text += " from " + r.From
	}
	number("MTU", r.MTU, false)
	number("at byte", r.Offset, false)
	number("size", r.Size, answer, size)
	number("TTL", r.TTL, answer, defaultTTL)
	number("TOS", r.TOS, answer, 0)
	if r.RTT != nil && slices.ContainsFunc(f.want, func(w want) bool { return w.rtt > 0 }) {
		text += fmt.Sprintf(" after %v", time.Duration(*r.RTT).Truncate(10*time.Microsecond))
	}
	return text
}
