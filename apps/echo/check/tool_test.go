package check

import (
	"os"
	"strings"
	"testing"
)

// What ping from iputils 20221126, fping 5.1 and Nping 0.7.93 have written.
func TestTheOutputOfProbersIsRead(t *testing.T) {
	for _, c := range []struct {
		file, addr string
		want       Tally
		remark     string // the first one begins so
	}{
		{"ping-plain", "10.64.0.1", Tally{Sent: 3, Received: 3}, ""},
		{"ping-silence", "10.64.0.2", Tally{Sent: 3}, ""},
		{"ping-duplicates", "10.64.0.3", Tally{Sent: 3, Received: 3, Copies: 2, Unlike: 2}, "64 bytes from 10.64.0.3: icmp_seq=1 ttl=64 time=0.371 ms (DUP!)"},
		{"ping-altered", "10.64.0.4", Tally{Sent: 3, Received: 3, Unlike: 3}, "wrong data byte #22 should be 0x16 but was 0xe9"},
		{"ping-truncated", "10.64.0.6", Tally{Sent: 3, Received: 3, Unlike: 3}, "28 bytes from 10.64.0.6: icmp_seq=1 ttl=64 (truncated)"},
		{"ping-source", "10.64.0.9", Tally{Sent: 3, Received: 3, Unlike: 3}, "64 bytes from 10.64.200.1: icmp_seq=1 ttl=64 time=0.181 ms (DIFFERENT ADDRESS!)"},
		{"ping-unreachable", "10.64.0.10", Tally{Sent: 3, Errors: 3, Unlike: 3}, "From 10.64.200.1 icmp_seq=1 Destination Host Unreachable"},
		{"ping-quench", "10.64.0.13", Tally{Sent: 3, Unlike: 3}, "From 10.64.200.1: icmp_seq=1 Source Quench"},
		{"fping-plain", "10.64.0.1", Tally{Sent: 3, Received: 3}, ""},
		{"fping-silence", "10.64.0.2", Tally{Sent: 3}, ""},
		{"fping-duplicates", "10.64.0.3", Tally{Sent: 3, Received: 3}, ""},
		{"fping-altered", "10.64.0.4", Tally{Sent: 3, Received: 3}, ""},
		{"fping-truncated", "10.64.0.6", Tally{Sent: 3, Received: 3, Unlike: 3}, "10.64.0.6 : [0], 28 bytes, 0.179 ms (0.179 avg, 0% loss)"},
		{"fping-source", "10.64.0.9", Tally{Sent: 3, Received: 3, Unlike: 3}, "[<- 10.64.200.1]10.64.0.9 : [0], 64 bytes, 0.195 ms (0.195 avg, 0% loss)"},
		{"fping-unreachable", "10.64.0.10", Tally{Sent: 3, Errors: 3, Unlike: 3}, "ICMP Host Unreachable from 10.64.200.1 for ICMP Echo sent to 10.64.0.10"},
		{"fping-quench", "10.64.0.13", Tally{Sent: 3, Errors: 3, Unlike: 3}, "ICMP Source Quench from 10.64.200.1 for ICMP Echo sent to 10.64.0.13"},
		{"nping-plain", "10.64.0.1", Tally{Sent: 2, Received: 2}, ""},
		{"nping-silence", "10.64.0.2", Tally{Sent: 2}, ""},
		{"nping-duplicates", "10.64.0.3", Tally{Sent: 2, Received: 3}, ""},
		{"nping-code", "10.64.0.8", Tally{Sent: 2, Received: 2, Unlike: 2}, "RCVD (0.0136s) ICMP [10.64.0.8 > 10.64.0.8 Echo reply (type=0/code=7)"},
	} {
		out, err := os.ReadFile("testdata/" + c.file + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		got := ReadTally(string(out), c.addr)
		remarks := strings.Join(got.Remarks, "\n")
		if !strings.HasPrefix(remarks, c.remark) || c.remark == "" && remarks != "" || len(got.Remarks) > 1 {
			t.Errorf("%s: the remarks are %q, want %q", c.file, remarks, c.remark)
		}
		c.want.Known, got.Remarks = true, nil
		if got.String() != c.want.String() || got.Unlike != c.want.Unlike {
			t.Errorf("%s: %+v, want %+v", c.file, got, c.want)
		}
	}
}

func TestTheOutputOfFpingWithoutACountIsRead(t *testing.T) {
	for out, want := range map[string]string{
		"192.0.2.1 is alive\n":       "1 of 1",
		"192.0.2.1 is unreachable\n": "0 of 1",
		"192.0.2.1 : duplicate for [0], 64 bytes, 0.1 ms\n\n192.0.2.1 : xmt/rcv/%return = 1/1/100%, min/avg/max = 0.1/0.1/0.1\n": "1 of 1, 1 duplicates",
	} {
		if got := ReadTally(out, "192.0.2.1"); !got.Known || got.String() != want {
			t.Errorf("%q: %v, want %s", out, &got, want)
		}
	}
}

// What cannot be read is shown, in a form that disturbs neither a terminal nor a table.
func TestUnknownOutputIsShown(t *testing.T) {
	for out, want := range map[string]string{
		"":                               "",
		"\n\n":                           "",
		"first\nit is\tup\x1b[31m \n":    `it is up\x1b[31m`,
		"\xff\xfe":                       `\xff\xfe`,
		strings.Repeat("long ", 1000):    strings.Repeat("long ", 20) + "...",
		"9999999999999999999999 packets": "9999999999999999999999 packets",
	} {
		if got := ReadTally(out, "192.0.2.1"); got.Known || got.Last != want {
			t.Errorf("%q: %+v, want %q", out, got, want)
		}
	}
}

func FuzzReadTally(f *testing.F) {
	for _, name := range []string{"ping-altered", "fping-source", "nping-duplicates"} {
		out, err := os.ReadFile("testdata/" + name + ".txt")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(out))
	}
	f.Add("99999999999999999999999999 packets transmitted, 1 received, 0% packet loss")
	f.Fuzz(func(t *testing.T, out string) {
		got := ReadTally(out, "10.64.0.4")
		if strings.ContainsAny(got.Last+strings.Join(got.Remarks, ""), "\n\x1b\x00") {
			t.Errorf("%q: %+v is not printable", out, got)
		}
		for _, seat := range Seats(Site{On: TUN}) {
			if a := seat.Judge(out, 0, false); a.Verdict == "" {
				t.Errorf("%q: %s has no verdict", out, seat.Name)
			}
		}
	})
}

func TestVerdicts(t *testing.T) {
	say := func(sent, received, copies, errors, unlike int) *Tally {
		return &Tally{Known: true, Sent: sent, Received: received, Copies: copies, Errors: errors, Unlike: unlike}
	}
	for _, c := range []struct {
		truth truth
		said  *Tally
		want  Verdict
	}{
		{good, say(3, 3, 0, 0, 0), Right},
		{good, say(3, 2, 0, 0, 0), Wrong},
		{good, say(3, 3, 1, 0, 0), Wrong},
		{good, say(0, 0, 0, 0, 0), Unknown},
		{good, &Tally{}, Unknown},
		{repeated, say(3, 3, 3, 0, 0), Right},
		{repeated, say(3, 3, 2, 0, 0), Right},
		{repeated, say(3, 3, 1, 0, 0), Wrong},
		{repeated, say(3, 3, 4, 0, 0), Wrong},
		{repeated, say(3, 3, 0, 0, 0), Unnoticed},
		{repeated, say(3, 6, 0, 0, 0), Wrong},
		{nothing, say(3, 0, 0, 0, 0), Right},
		{nothing, say(3, 1, 0, 0, 0), Wrong},
		{nothing, say(3, 0, 0, 1, 1), Wrong},
		{bad, say(3, 3, 0, 0, 0), Wrong},
		{bad, say(3, 3, 0, 0, 3), Wrong},
		{bad, say(3, 0, 0, 0, 3), Right},
		{bad, say(3, 0, 0, 0, 0), Unnoticed},
		{failing, say(3, 0, 0, 3, 3), Right},
		{failing, say(3, 0, 0, 0, 0), Unnoticed},
		{failing, say(3, 3, 0, 0, 0), Wrong},
		{belated, say(3, 3, 0, 0, 0), Right},
		{belated, say(3, 0, 0, 0, 3), Right},
		{belated, say(3, 0, 0, 0, 0), Unnoticed},
		{belated, say(3, 1, 0, 0, 0), Wrong},
		{limited, say(3, 1, 0, 0, 0), Right},
		{limited, say(3, 2, 0, 0, 0), Wrong},
	} {
		f := Fault{truth: c.truth, answers: 1}
		if got, why := f.verdict(c.said); got != c.want {
			t.Errorf("%d, %v: %s (%s), want %s", c.truth, c.said, got, why, c.want)
		}
	}
}

// Lost replies may be the machine's fault, but not that none is counted where none is
// good, nor what is limited.
func TestWhoTakesRepliesForLostMayTryAgain(t *testing.T) {
	for _, c := range []struct {
		truth    truth
		received int
		want     bool
	}{{good, 3, false}, {good, 2, true}, {good, 0, true}, {repeated, 0, true}, {repeated, 3, false}, {bad, 3, false}, {bad, 2, true}, {bad, 0, false},
		{nothing, 0, false}, {failing, 0, false}, {belated, 0, false}, {limited, 1, false}} {
		a := Answer{Seat: Seat{Fault: &Fault{truth: c.truth}}, Tally: Tally{Known: true, Sent: 3, Received: c.received}}
		if got := a.Again(); got != c.want {
			t.Errorf("%d, %d received: %v", c.truth, c.received, got)
		}
	}
}
