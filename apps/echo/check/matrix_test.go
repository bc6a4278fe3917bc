package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// rows is a small matrix.
func rows() *Matrix {
	var m Matrix
	for _, site := range []Site{{On: Raw, Backend: "epoll"}, {On: Raw, Backend: "poll"}, {On: TUN, Backend: "epoll"}, {On: TUN, Backend: "poll"},
		{IPv6: true, On: Raw, Backend: "epoll"}} {
		m.Rows = append(m.Rows, Row{Site: site, Fault: "none", Want: "3 reply", Said: "3 reply", OK: true})
		odd := Row{Site: site, Fault: "loss", Want: "3 timeout", Said: "3 timeout", OK: true}
		if site.On == TUN && site.Backend == "poll" {
			odd.Said, odd.OK = "1 reply|, 2 timeout", false
		}
		m.Rows = append(m.Rows, odd)
	}
	return &m
}

// What is the same everywhere is one line, and a line that fails stands by it.
func TestTheMatrixTellsWhereWhatHolds(t *testing.T) {
	m := rows()
	m.LeftOut = []string{"the moon: too far"}
	var b bytes.Buffer
	if err := m.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `      fault  the client must say  it said              on
IPv4  none   3 reply              3 reply              raw, tun          ok
IPv4  loss   3 timeout            3 timeout            raw, tun (epoll)  ok
IPv4  loss   3 timeout            1 reply|, 2 timeout  tun (poll)        FAIL
IPv6  none   3 reply              3 reply              raw               ok
IPv6  loss   3 timeout            3 timeout            raw               ok

left out: the moon: too far
FAIL: 1 of 10 are not as they must be
`
	if got := b.String(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	m.Rows = m.Rows[:6]
	if last := m.closing(); last[len(last)-1] != "ok: 6 of 6" {
		t.Errorf("%q", last)
	}
}

func TestTheMatrixInMarkdownKeepsItsColumns(t *testing.T) {
	var b bytes.Buffer
	if err := rows().WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	want := `|  | fault | the client must say | it said | on |  |
|---|---|---|---|---|---|
| IPv4 | none | 3 reply | 3 reply | raw, tun | ok |
| IPv4 | loss | 3 timeout | 3 timeout | raw, tun (epoll) | ok |
| IPv4 | loss | 3 timeout | 1 reply\|, 2 timeout | tun (poll) | FAIL |
`
	if !strings.HasPrefix(b.String(), want) {
		t.Errorf("%s\nwant\n%s", &b, want)
	}
}

// jsonLines reads what WriteJSON writes.
func jsonLines(t *testing.T, out []byte) (all []map[string]any) {
	t.Helper()
	for text := range bytes.Lines(out) {
		var l map[string]any
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if l["version"] != 1.0 {
			t.Errorf("%s has no version", text)
		}
		all = append(all, l)
	}
	return all
}

func TestTheMatrixInJSONHasEveryRow(t *testing.T) {
	var b bytes.Buffer
	m := rows()
	if err := m.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	all := jsonLines(t, b.Bytes())
	if len(all) != len(m.Rows)+1 {
		t.Fatalf("%d lines", len(all))
	}
	for i, r := range m.Rows {
		l := all[i]
		if l["type"] != "fault" || l["family"] != r.Family() || l["on"] != r.On || l["backend"] != r.Backend || l["fault"] != r.Fault ||
			l["want"] != r.Want || l["said"] != r.Said || l["ok"] != r.OK {
			t.Errorf("%v, want %+v", l, r)
		}
	}
	if l := all[len(m.Rows)]; l["type"] != "total" || l["rows"] != 10.0 || l["failed"] != 1.0 {
		t.Errorf("%v", l)
	}
}

// chair is how some prober fares.
func chair() *Chair {
	c := &Chair{Command: "probe {}", Version: "probe 1", LeftOut: []string{"the moon"}}
	answer := func(ipv6 bool, last byte, f Fault, t Tally) {
		f.Addr = netip.AddrFrom4([4]byte{10, 64, 0, last})
		a := Answer{Seat: Seat{&f, Site{IPv6: ipv6, On: TUN}}, Tally: t}
		a.Verdict, a.Why = f.verdict(&a.Tally)
		c.Answers = append(c.Answers, a)
	}
	code := func(item string) Fault {
		return Fault{Name: "gone, code " + item, Wire: "ICMP type 3 code " + item, truth: failing, group: "gone, code", item: item, groupWire: "ICMP type 3"}
	}
	errors := Tally{Known: true, Sent: 3, Errors: 3, Unlike: 3, Remarks: []string{"gone", "too"}}
	fine := Tally{Known: true, Sent: 3, Received: 3}
	answer(false, 9, Fault{Name: "last", Wire: "data changed", truth: bad}, fine)
	answer(true, 1, Fault{Name: "none", Wire: "a reply", truth: good}, fine)
	answer(false, 1, Fault{Name: "none", Wire: "a reply", truth: good}, fine)
	for i, item := range []string{"0", "1", "2", "4", "5", "7", "8", "9"} {
		tally := errors
		if item == "7" {
			tally = Tally{Known: true, Sent: 3}
		}
		answer(false, byte(2+i)/2, code(item), tally)
	}
	answer(false, 10, Fault{Name: "odd", Wire: "nothing"}, Tally{Last: "help!"})
	c.Answers[len(c.Answers)-1].Exit = 3
	c.Sort()
	return c
}

// Faults that are alike and fare alike are one line, and so are the families.
func TestTheTableOfAProberIsShort(t *testing.T) {
	var b bytes.Buffer
	if err := chair().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `            fault                        on the wire         it said                verdict
IPv4, IPv6  none                         a reply             3 of 3                 told right
IPv4        gone, code 0-2, 4, 5, 8, 9   ICMP type 3         0 of 3, 3 errors; gone  told right
IPv4        gone, code 7                 ICMP type 3 code 7  0 of 3                 did not notice: takes it for loss
IPv4        last                         data changed        3 of 3                 told wrong: counts it as a good reply
IPv4        odd                          nothing             exit code 3: help!     cannot be told: its output has no numbers that can be read

probe {} (probe 1): told right: 9, told wrong: 1, did not notice: 1, cannot be told: 1
left out: the moon
`
	columns := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if got := b.String(); columns(got) != columns(want) {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// Where sites differ by more than their families, that is told.
func TestTheTableOfAProberTellsSitesApart(t *testing.T) {
	c := chair()
	for i := range c.Answers {
		if c.Answers[i].Name == "none" {
			c.Answers[i].Site.On = Raw
		}
	}
	if got := c.table(); got[1][0] != "IPv4 raw, IPv6 raw" || got[2][0] != "IPv4 tun" {
		t.Errorf("%q", got)
	}
}

func TestTheTableOfAProberInJSONHasEveryFault(t *testing.T) {
	var b bytes.Buffer
	c := chair()
	if err := c.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	all := jsonLines(t, b.Bytes())
	if len(all) != len(c.Answers)+1 {
		t.Fatalf("%d lines", len(all))
	}
	for i, a := range c.Answers {
		l := all[i]
		sent, known := l["sent"]
		if l["fault"] != a.Name || l["verdict"] != string(a.Verdict) || l["exit_code"] != float64(a.Exit) || known != a.Known || known && sent != float64(a.Sent) {
			t.Errorf("%v, want %+v", l, a)
		}
	}
	if l := all[len(c.Answers)]; l["right"] != 9.0 || l["wrong"] != 1.0 || l["not_noticed"] != 1.0 || l["unknown"] != 1.0 || l["tool_version"] != "probe 1" {
		t.Errorf("%v", l)
	}
}

// full is where nothing can be written.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("full")

func TestWhatCannotBeWrittenIsAnError(t *testing.T) {
	m, c := rows(), chair()
	for i, err := range []error{m.WriteText(full{}), m.WriteMarkdown(full{}), m.WriteJSON(full{}), c.WriteText(full{}), c.WriteMarkdown(full{}), c.WriteJSON(full{})} {
		if !errors.Is(err, errFull) {
			t.Errorf("%d: %v", i, err)
		}
	}
}
