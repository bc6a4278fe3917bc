package check

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Seat is a fault as another prober meets it.
type Seat struct {
	*Fault
	Site Site
}

// Seats returns the faults of a site that can be put to other probers: those of which the
// truth is known however often and fast they ask.
func Seats(s Site) []Seat {
	var all []Seat
	for _, p := range Parts(s) {
		for _, f := range p.Faults {
			if !f.clients {
				all = append(all, Seat{f, s})
			}
		}
	}
	return all
}

// ToolRules returns the rules file of a server for other probers.
func ToolRules(seats []Seat) []byte {
	p := Part{}
	var rules []string
	for _, s := range seats {
		p.Faults = append(p.Faults, s.Fault)
		if s.toolRule != "" {
			rules = append(rules, s.toolRule)
		} else {
			rules = append(rules, s.rule)
		}
	}
	return p.rulesWith(rules)
}

// Answer is how a prober fares with a fault.
type Answer struct {
	Seat
	Tally
	Exit    int
	Killed  bool // it was still running when its time was over
	Verdict Verdict
	Why     string
}

// Judge judges what a prober has written, and its exit code.
func (s Seat) Judge(out string, exit int, killed bool) Answer {
	a := Answer{Seat: s, Tally: ReadTally(out, s.Addr.String()), Exit: exit, Killed: killed}
	a.Verdict, a.Why = s.verdict(&a.Tally)
	return a
}

// Again reports whether it would be fair to try again: replies were taken for lost, which
// also happens where the machine is too slow for how long the prober waits.
func (a *Answer) Again() bool {
	lost := a.Known && a.Received < a.Sent
	switch a.truth {
	case good, repeated:
		return lost
	case bad: // who counts some would have counted all
		return lost && a.Received > 0
	}
	return false
}

// said returns what it said.
func (a *Answer) said() string {
	text := a.Tally.String()
	switch {
	case a.Killed:
		text += " (killed, as it did not end)"
	case !a.Known:
		text = fmt.Sprintf("exit code %d: %s", a.Exit, text)
	}
	return text
}

// Chair is how a prober fares with every fault.
type Chair struct {
	Command string // as it was given
	Version string // what it says of itself; "" if nothing
	Answers []Answer
	LeftOut []string
}

// count returns how many verdicts there are of a kind.
func (c *Chair) count(v Verdict) int {
	n := 0
	for _, a := range c.Answers {
		if a.Verdict == v {
			n++
		}
	}
	return n
}

// table returns the table for people. Faults that are alike, and of which the same is
// said, are one line; so is what both families have in common.
func (c *Chair) table() [][]string {
	type line struct {
		sites, items []string
		answer       *Answer
		cells        []string
	}
	type alike struct{ about, wire, said, verdict string }
	label := c.label()
	lines := map[alike]*line{}
	var order []*line
	for i := range c.Answers {
		a := &c.Answers[i]
		verdict := string(a.Verdict)
		if a.Why != "" {
			verdict += ": " + a.Why
		}
		about, wire := a.Name, a.Wire
		if a.group != "" {
			about, wire = a.group, a.groupWire
		}
		k := alike{about, wire, fmt.Sprint(a.said(), len(a.Remarks) > 0), verdict}
		l := lines[k]
		if l == nil {
			said := a.said()
			if len(a.Remarks) > 0 {
				said += "; " + a.Remarks[0]
			}
			l = &line{answer: a, cells: []string{said, verdict}}
			lines[k] = l
			order = append(order, l)
		}
		if site := label(a.Site); !slices.Contains(l.sites, site) {
			l.sites = append(l.sites, site)
		}
		if !slices.Contains(l.items, a.item) {
			l.items = append(l.items, a.item)
		}
	}
	table := [][]string{{"", "fault", "on the wire", "it said", "verdict"}}
	for _, l := range order {
		name, wire := l.answer.Name, l.answer.Wire
		if len(l.items) > 1 {
			name, wire = l.answer.group+" "+ranges(l.items), l.answer.groupWire
		}
		table = append(table, append([]string{strings.Join(l.sites, ", "), name, wire}, l.cells...))
	}
	return table
}

// label returns how sites are told apart: by their families, and whatever else they
// differ by.
func (c *Chair) label() func(Site) string {
	var on, backends []string
	for _, a := range c.Answers {
		on, backends = append(on, a.Site.On), append(backends, a.Site.Backend)
	}
	differ := func(all []string) bool { return slices.ContainsFunc(all, func(s string) bool { return s != all[0] }) }
	byOn, byBackend := differ(on), differ(backends)
	return func(s Site) string {
		text := s.Family()
		if byOn {
			text += " " + s.On
		}
		if byBackend {
			text += " " + s.Backend
		}
		return text
	}
}

// ranges joins items: numbers that follow one another are a range.
func ranges(items []string) string {
	var parts []string
	for i := 0; i < len(items); {
		first, err := strconv.Atoi(items[i])
		n := 1
		for ; err == nil && i+n < len(items) && items[i+n] == strconv.Itoa(first+n); n++ {
		}
		if n > 2 {
			parts = append(parts, items[i]+"-"+items[i+n-1])
		} else {
			parts = append(parts, items[i:i+n]...)
		}
		i += n
	}
	return strings.Join(parts, ", ")
}

func (c *Chair) closing() []string {
	about := c.Command
	if c.Version != "" {
		about += " (" + c.Version + ")"
	}
	text := []string{}
	for _, v := range []Verdict{Right, Wrong, Unnoticed, Unknown} {
		if n := c.count(v); n > 0 {
			text = append(text, fmt.Sprintf("%s: %d", v, n))
		}
	}
	lines := []string{about + ": " + strings.Join(text, ", ")}
	for _, l := range c.LeftOut {
		lines = append(lines, "left out: "+l)
	}
	return lines
}

// WriteText writes the table for people.
func (c *Chair) WriteText(w io.Writer) error { return writeText(w, c.table(), c.closing()) }

// WriteMarkdown writes it as a table in Markdown.
func (c *Chair) WriteMarkdown(w io.Writer) error { return writeMarkdown(w, c.table(), c.closing()) }

// WriteJSON writes a line of JSON for each fault, and one for all.
func (c *Chair) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for i := range c.Answers {
		a := &c.Answers[i]
		line := struct {
			Type     string   `json:"type"`
			Schema   int      `json:"version"`
			Family   string   `json:"family"`
			On       string   `json:"on"`
			Fault    string   `json:"fault"`
			Wire     string   `json:"wire"`
			Sent     *int     `json:"sent,omitempty"`
			Received *int     `json:"received,omitempty"`
			Copies   *int     `json:"duplicates,omitempty"`
			Errors   *int     `json:"errors,omitempty"`
			Corrupt  *int     `json:"corrupt,omitempty"`
			Remarks  []string `json:"remarks,omitempty"`
			Last     string   `json:"last_line,omitempty"`
			Exit     int      `json:"exit_code"`
			Killed   bool     `json:"killed,omitempty"`
			Verdict  Verdict  `json:"verdict"`
			Why      string   `json:"why,omitempty"`
		}{Type: "fault", Schema: version, Family: a.Site.Family(), On: a.Site.On, Fault: a.Name, Wire: a.Wire, Remarks: a.Remarks, Last: a.Last,
			Exit: a.Exit, Killed: a.Killed, Verdict: a.Verdict, Why: a.Why}
		if a.Known {
			line.Sent, line.Received, line.Copies, line.Errors, line.Corrupt = &a.Sent, &a.Received, &a.Copies, &a.Errors, &a.Corrupt
		}
		if err := e.Encode(line); err != nil {
			return err
		}
	}
	return e.Encode(struct {
		Type    string   `json:"type"`
		Schema  int      `json:"version"`
		Command string   `json:"command"`
		Version string   `json:"tool_version,omitempty"`
		Right   int      `json:"right"`
		Wrong   int      `json:"wrong"`
		Missed  int      `json:"not_noticed"`
		Unknown int      `json:"unknown"`
		LeftOut []string `json:"left_out,omitempty"`
	}{"total", version, c.Command, c.Version, c.count(Right), c.count(Wrong), c.count(Unnoticed), c.count(Unknown), c.LeftOut})
}

// Sort puts the answers in the order of the table of faults, IPv4 first.
func (c *Chair) Sort() {
	slices.SortStableFunc(c.Answers, func(a, b Answer) int {
		return strings.Compare(a.Site.Family(), b.Site.Family())*2 + a.Addr.Compare(b.Addr)
	})
}
