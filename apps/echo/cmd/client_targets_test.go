package cmd

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/mux"
	"iomux/mux/loop"
)

// listFile makes a file of targets.
func listFile(t *testing.T, lines ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// alive returns the hosts that answer.
func alive(t *testing.T, args ...string) []string {
	t.Helper()
	out, errs, _ := runEcho(append([]string{"client", "--alive", "--timeout", "30s"}, args...)...)
	if errs != "" {
		t.Error(errs)
	}
	return strings.Fields(out)
}

func TestTargetsComeFromArgumentsFilesAndStandardInput(t *testing.T) {
	inLab(t, true)
	file := listFile(t, "# ours", "127.0.0.4 127.0.0.5 # two", "", "127.0.0.6-7")
	without := listFile(t, "127.0.0.5", "127.0.0.9")
	for _, c := range []struct {
		args string
		want string
	}{
		{"127.0.0.1-3", "127.0.0.1 127.0.0.2 127.0.0.3"},
		{"127.0.0.0/30 ::1", "127.0.0.0 127.0.0.1 127.0.0.2 127.0.0.3 ::1"},
		{"-f FILE", "127.0.0.4 127.0.0.5 127.0.0.6 127.0.0.7"},
		{"127.0.0.1 --file FILE --exclude 127.0.0.6/31", "127.0.0.1 127.0.0.4 127.0.0.5"},
		{"127.0.0.8-9 -f FILE --exclude-file WITHOUT", "127.0.0.4 127.0.0.6 127.0.0.7 127.0.0.8"},
	} {
		got := alive(t, strings.Fields(strings.NewReplacer("FILE", file, "WITHOUT", without).Replace(c.args))...)
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q answer, want %s", c.args, got, c.want)
		}
	}
	c := echoCommand("client", "--alive", "--timeout", "30s", "-f", "-", "127.0.0.1")
	c.Stdin = strings.NewReader("127.0.0.2\n127.0.0.3")
	if got := mustRun(t, c); got != "127.0.0.1\n127.0.0.2\n127.0.0.3\n" {
		t.Errorf("with standard input %q answer", got)
	}
}

// A list may have a single host, and then it is no other run than with two.
func TestASingleHostOfAFileIsProbedOnce(t *testing.T) {
	inLab(t, true)
	out, _, code := runEcho("client", "--timeout", "30s", "-f", listFile(t, "127.0.0.1"))
	mustContain(t, "client", out, "127.0.0.1 is alive (")
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestRandomOrderHasTheSameHosts(t *testing.T) {
	inLab(t, true)
	inOrder := alive(t, "--rate", "0", "--window", "1", "127.0.0.0/26")
	random := alive(t, "--rate", "0", "--window", "1", "--random", "127.0.0.0/26")
	if len(inOrder) != 64 || slices.Equal(random, inOrder) {
		t.Errorf("%d hosts, in the same order: %v", len(inOrder), slices.Equal(random, inOrder))
	}
	slices.Sort(random)
	slices.Sort(inOrder)
	if !slices.Equal(random, inOrder) {
		t.Errorf("in random order %q answer, else %q", random, inOrder)
	}
}

func TestAnEmptyFileOfTargetsIsAnError(t *testing.T) {
	file := listFile(t, "# nothing yet")
	_, errs, code := runEcho("client", "--file", file)
	mustContain(t, "error", errs, "no target in "+file, "add an address")
	if code != exitError {
		t.Errorf("exit code %d", code)
	}
}

func TestTenBadLinesAreToldWithTheirNumbers(t *testing.T) {
	var lines []string
	for i := range 10 {
		lines = append(lines, fmt.Sprintf("300.0.0.%d", i), "127.0.0.1")
	}
	file := listFile(t, lines...)
	_, errs, code := runEcho("client", "--file", file)
	for i := range 10 {
		mustContain(t, "error", errs, fmt.Sprintf(`%s:%d: target "300.0.0.%d": `, file, 2*i+1, i))
	}
	if code != exitError {
		t.Errorf("exit code %d", code)
	}
}

func TestANameThatIsUnknownLeavesTheOthersAlone(t *testing.T) {
	inLab(t, true)
	out, errs, code := runEcho("client", "--timeout", "30s", "no-such-host.invalid", "127.0.0.1", "localhost")
	for _, want := range []string{`(?m)^127\.0\.0\.1 is alive `, `(?m)^localhost is alive `,
		`(?m)^no-such-host\.invalid is unreachable \(not sent: lookup `, `(?m)^ +2 alive$`, `(?m)^ +1 unreachable$`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("nothing matches %s:\n%s", want, out)
		}
	}
	if code != exitUnanswered || errs != "" {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

func TestNamesAreResolvedToTheFamilyThatIsAskedFor(t *testing.T) {
	inLab(t, true)
	out, _, _ := runEcho("client", "-4", "--numeric", "--count", "1", "--timeout", "30s", "localhost")
	mustContain(t, "client", out, "PING localhost (127.0.0.1)", "bytes from 127.0.0.1: ")
	for args, want := range map[string]string{"": "ip", "-4": "ip4", "-6": "ip6", "-I 127.0.0.1": "ip4", "-I ::1": "ip6",
		"--network ip4:icmp": "ip4", "--network udp6:ipv6-icmp": "ip6"} {
		out, _, _ := runEcho(append([]string{"client", "--json", "--count", "1", "--deadline", "1ms", "localhost"}, strings.Fields(args)...)...)
		mustContain(t, "client "+args, out, `"network":"`+want+`"`)
	}
	for flag, want := range map[string]string{"-4": "from localhost (127.0.0.1)", "-6": "from localhost (::1)"} {
		t.Run(flag, func(t *testing.T) {
			out, _, _ := runEcho("client", flag, "--count", "1", "--timeout", "30s", "localhost")
			if _, err := net.ResolveIPAddr("ip6", "localhost"); flag == "-6" && err != nil { // by /etc/hosts
				want = "not sent: lookup localhost"
			}
			mustContain(t, "client "+flag, out, want)
		})
	}
}

// Without IPv4 the IPv6 targets are probed all the same.
func TestAHostWithIPv6Only(t *testing.T) {
	newWire(t, "near0")
	out, _, code := runEcho("client", "--timeout", "30s", far6.String(), "203.0.113.1")
	mustContain(t, "client", out, far6.String()+" is alive", "203.0.113.1 is unreachable (not sent: ", "network is unreachable")
	if code != exitUnanswered {
		t.Errorf("exit code %d", code)
	}
	if out, errs, code := runEcho("client", "--count", "2", "--interval", "1ms", "--timeout", "30s", far6.String()); code != exitOK {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// A name that cannot be looked up is told where the results are not.
func TestUnknownNameIsToldWithoutResults(t *testing.T) {
	inLab(t, true)
	for _, flag := range []string{"-a", "-q"} {
		_, errs, code := runEcho("client", flag, "no-such-host.invalid", "127.0.0.1")
		if code != exitUnanswered || !strings.HasPrefix(errs, "echo: lookup no-such-host.invalid") {
			t.Errorf("%s: exit code %d, %q", flag, code, errs)
		}
	}
}

// If there is no such name, and no other target, there is nothing to wait for.
func TestOnlyNameThatDoesNotExistEndsTheRun(t *testing.T) {
	for _, c := range []struct {
		alone, found bool
		ends         bool
	}{{true, false, true}, {true, true, false}, {false, false, false}} {
		m, err := mux.Open("")
		if err != nil {
			t.Fatal(err)
		}
		s := &session{o: &clientOptions{alone: c.alone}, l: loop.New(m), stderr: io.Discard}
		s.unknown(&prober.Result{Name: "host.example", Number: 1, Outcome: stats.SendError, Err: &net.DNSError{IsNotFound: !c.found}})
		if (s.failure != nil) != c.ends {
			t.Errorf("%+v: %v", c, s.failure)
		}
		if err := s.l.Close(); err != nil {
			t.Error(err)
		}
	}
}
