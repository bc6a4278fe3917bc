package cmd

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// outcome runs a program, whatever its exit code, and returns its standard output.
func outcome(t *testing.T, c *exec.Cmd) (out string, code int) {
	t.Helper()
	return start(t, c).end()
}

// sorted sorts lines: hosts may answer in any order.
func sorted(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// What answers, what does not, and how many, in the same words and with the same
// exit code.
func TestClientTellsWhoAnswersAsFpingDoes(t *testing.T) {
	inLab(t, true)
	fping := need(t, "fping", "fping")
	for _, hosts := range []string{"127.0.0.1 127.0.0.2 127.0.0.3", "127.0.0.1 192.0.2.1 127.0.0.2", "192.0.2.1 192.0.2.2"} {
		for _, flags := range []string{"-a", "-u", "-x 1", "-x 2", "-x 3", "-x 4"} {
			args := append(strings.Fields(flags), strings.Fields(hosts)...)
			want, wantCode := outcome(t, exec.Command(fping, append([]string{"-r", "0", "-t", "20000"}, args...)...))
			got, code := outcome(t, echoCommand(append([]string{"client", "-r", "0", "-W", "20"}, args...)...))
			if sorted(got) != sorted(want) || code != wantCode {
				t.Errorf("%s %s: exit code %d\n%sfping: %d\n%s", flags, hosts, code, got, wantCode, want)
			}
		}
	}
}

// In a hurry the same is said as soon as it is known.
func TestEnoughHostsEndTheRunAtOnce(t *testing.T) {
	inLab(t, true)
	p := start(t, echoCommand("client", "-X", "2", "--rate", "0", "127.0.0.0/8")) // minutes, and many answers at once
	out, code := p.end()
	if want := "Enough hosts reachable (required: 2, reachable: 2)\n"; out != want || code != exitOK {
		t.Errorf("exit code %d: %q, want %q", code, out, want)
	}
}

// What reads ping's output reads ours.
func TestTheSummaryIsReadAsThatOfPing(t *testing.T) {
	inLab(t, true)
	ping := need(t, "ping", "iputils-ping")
	readers := []*regexp.Regexp{
		regexp.MustCompile(`(?m)^PING (\S+) ?\(([\d.a-f:]+)\) 56(?:\(84\) bytes of data\.| data bytes)$`),
		regexp.MustCompile(`(?m)^64 bytes from \S+: icmp_seq=3 ttl=64 time=([\d.]+) ms$`),
		regexp.MustCompile(`(?m)^--- (\S+) ping statistics ---$`),
		regexp.MustCompile(`(?m)^(\d+) packets transmitted, (\d+) received, (\d+(?:\.\d+)?)% packet loss, time (\d+)ms$`),
		regexp.MustCompile(`(?m)^rtt min/avg/max/mdev = ([\d.]+)/([\d.]+)/([\d.]+)/([\d.]+) ms`),
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		args := []string{"-n", "-c", "3", "-i", "0.01", "-W", "20", host}
		theirs, _ := outcome(t, exec.Command(ping, args...))
		ours, _ := outcome(t, echoCommand(append([]string{"client"}, args...)...))
		for _, r := range readers {
			a, b := r.FindStringSubmatch(theirs), r.FindStringSubmatch(ours)
			if a == nil {
				t.Fatalf("%s does not read ping:\n%s", r, theirs)
			}
			if b == nil {
				t.Errorf("%s does not read the client:\n%s", r, ours)
			}
		}
		if t.Failed() {
			return
		}
		names, counts := readers[0], readers[3]
		if a, b := names.FindStringSubmatch(theirs), names.FindStringSubmatch(ours); !slices.Equal(a[1:], b[1:]) {
			t.Errorf("%q where ping has %q", b, a)
		}
		if a, b := counts.FindStringSubmatch(theirs), counts.FindStringSubmatch(ours); !slices.Equal(a[1:4], b[1:4]) {
			t.Errorf("%q where ping has %q", b, a)
		}
	}
}
