package check

import (
	"regexp"
	"strconv"
	"strings"
)

// Tally is what another prober says in its output.
type Tally struct {
	Known    bool // it is output that can be read; else the numbers mean nothing
	Sent     int
	Received int
	Copies   int // further replies, if it tells them apart
	Errors   int // ICMP errors
	Corrupt  int // replies that it calls damaged
	Unlike   int // lines about something that is no plain reply
	// Remarks are those lines, one of each kind.
	Remarks []string
	Last    string // the last line, where nothing can be read
}

var (
	pingSummary  = regexp.MustCompile(`(?m)^(\d+) packets transmitted, (\d+) (?:packets )?received(.*?), [\d.]+% packet loss`)
	pingExtra    = regexp.MustCompile(`\+(\d+) (duplicates|corrupted|errors)`)
	fpingSummary = regexp.MustCompile(`(?m)^\S+ +: xmt/rcv/%(?:loss|return) = (\d+)/(\d+)/\d+%`)
	fpingAlive   = regexp.MustCompile(`(?m)^\S+ is (alive|unreachable)`)
	nping        = regexp.MustCompile(`(?m)^Raw packets sent: (\d+) \([^)]*\) \| Rcvd: (\d+) `)
)

// ReadTally reads the output of ping (iputils), fping with or without -c, and nping,
// whatever their names are. addr is the address that was asked; of other programs it
// returns the last line.
func ReadTally(out, addr string) Tally {
	var t Tally
	number := func(s string) int {
		n, _ := strconv.Atoi(s) // it has digits only: what does not fit is the largest number
		return n
	}
	switch {
	case pingSummary.MatchString(out):
		m := pingSummary.FindStringSubmatch(out)
		t = Tally{Known: true, Sent: number(m[1]), Received: number(m[2])}
		for _, x := range pingExtra.FindAllStringSubmatch(m[3], -1) {
			switch x[2] {
			case "duplicates":
				t.Copies = number(x[1])
			case "corrupted":
				t.Corrupt = number(x[1])
			case "errors":
				t.Errors = number(x[1])
			}
		}
		t.remark(out, addr, pingPlain)
	case fpingSummary.MatchString(out):
		m := fpingSummary.FindStringSubmatch(out)
		t = Tally{Known: true, Sent: number(m[1]), Received: number(m[2])}
		t.remark(out, addr, fpingPlain)
		t.fpingCounts(out)
	case fpingAlive.MatchString(out):
		t = Tally{Known: true, Sent: 1}
		if fpingAlive.FindStringSubmatch(out)[1] == "alive" {
			t.Received = 1
		}
		t.remark(out, addr, fpingPlain)
		t.fpingCounts(out)
	case nping.MatchString(out):
		m := nping.FindStringSubmatch(out)
		t = Tally{Known: true, Sent: number(m[1]), Received: number(m[2])}
		t.remark(out, addr, npingPlain)
	default:
		lines := strings.Split(strings.TrimSpace(out), "\n")
		t.Last = printable(lines[len(lines)-1])
	}
	return t
}

// fpingCounts counts what fping has lines for but no numbers.
func (t *Tally) fpingCounts(out string) {
	t.Copies = strings.Count(out, " : duplicate for [")
	t.Errors = len(fpingError.FindAllString(out, -1))
}

var fpingError = regexp.MustCompile(`(?m)^ICMP .* from \S+ for ICMP Echo sent to `)

// What these programs write in any case, for the address %s.
const (
	pingPlain = `^(PING |64 bytes from %s: icmp_seq=\d+ ttl=\d+ time=[\d.]+ ms$|--- |\d+ packets transmitted|rtt min|#\d+\t|pipe \d)`
	// fping writes less behind the name if it does not have to align it.
	fpingPlain = `^(%s +: (\[\d+\], (64 bytes, [\d.]+ ms \([\d.]+ avg|timed out \((NaN|[\d.]+) avg), \d+% loss\)$|xmt/rcv)|%s is (alive|unreachable)|$)`
	npingPlain = `^(Starting Nping|SENT |RCVD .*\[%s > \S+ Echo reply \(type=\d+/code=0\)|Max rtt|Raw packets|Nping done|Statistics for|Probes Sent)`
)

var numbers = regexp.MustCompile(`(icmp_seq=|time=|\[|ttl=|id=|seq=|RCVD \()\d[\d.]*|\d+\.\d+ (?:ms|avg)|\d+% loss`)

// remark collects the lines that are not plain, but for their numbers.
func (t *Tally) remark(out, addr, plain string) {
	is := regexp.MustCompile(strings.ReplaceAll(plain, "%s", regexp.QuoteMeta(addr)))
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if strings.TrimSpace(line) == "" || is.MatchString(line) {
			continue
		}
		t.Unlike++
		kind := numbers.ReplaceAllString(line, "$1")
		if !seen[kind] {
			seen[kind] = true
			t.Remarks = append(t.Remarks, printable(line))
		}
	}
}

// printable makes a line fit for a table: what others write may hold anything.
func printable(line string) string {
	line = strings.Join(strings.Fields(line), " ")
	if q := strconv.Quote(line); q != `"`+line+`"` {
		line = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	}
	const longest = 100
	if r := []rune(line); len(r) > longest {
		line = string(r[:longest]) + "..."
	}
	return line
}

// String returns what it says, briefly.
func (t *Tally) String() string {
	if !t.Known {
		return t.Last
	}
	text := strconv.Itoa(t.Received) + " of " + strconv.Itoa(t.Sent)
	for _, x := range []struct {
		n    int
		name string
	}{{t.Copies, "duplicates"}, {t.Corrupt, "corrupted"}, {t.Errors, "errors"}} {
		if x.n > 0 {
			text += ", " + strconv.Itoa(x.n) + " " + x.name
		}
	}
	return text
}
