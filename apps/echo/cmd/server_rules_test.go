package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Each flag of a rule, as a client and the server's own counters see it.
func TestServerDoesWhatTheFlagsOfARuleSay(t *testing.T) {
	inLab(t, false)
	const host = "127.0.0.1"
	for flags, want := range map[string]struct{ client, server string }{
		"--loss 100%":                               {"100% packet loss", "1 received, 0 answered, 1 lost\n"},
		"--silent":                                  {"100% packet loss", "1 received, 0 answered, 1 silent\n"},
		"--silent=true":                             {"100% packet loss", "1 received, 0 answered, 1 silent\n"},
		"--down from=0s,to=1h":                      {"100% packet loss", "1 received, 0 answered, 1 down\n"},
		"--delay 1ms --jitter 1ms":                  {"icmp_seq=1 ttl=64", "1 received, 1 answered, 1 delayed\n"},
		"--delay 1ms --reorder 100%,by=1ms":         {"icmp_seq=1 ttl=64", "1 reordered"},
		"--corrupt flip=100%,at=0":                  {"CORRUPT", "1 received, 1 answered, 1 damaged\n"},
		"--corrupt checksum=100%":                   {"CORRUPT", "1 received, 1 answered, 1 damaged\n"},
		"--code 3":                                  {"code", "1 received, 1 answered\n"},
		"--ttl 99":                                  {"icmp_seq=1 ttl=99", "1 received, 1 answered\n"},
		"--tos 0x10":                                {"icmp_seq=1 ttl=64", "1 received, 1 answered\n"},
		"--source 127.9.9.9":                        {"127.9.9.9", "1 received, 1 answered\n"},
		"--error host-unreachable -4":               {"host unreachable", "1 received, 0 answered, 1 ICMP errors\n"},
		"--error 3,code=1,from=127.1.1.1 -4":        {"From 127.1.1.1", "1 received, 0 answered, 1 ICMP errors\n"},
		"--to 127.0.0.2 --loss 100%":                {"icmp_seq=1 ttl=64", "1 received, 1 answered\n"},
		"--from 127.0.0.2 --loss 100%":              {"icmp_seq=1 ttl=64", "1 received, 1 answered\n"},
		"--to ::1 --to 127.0.0.1 --silent --seed 9": {"100% packet loss", "1 silent\n"},
	} {
		t.Run(flags, func(t *testing.T) {
			s := startServer(t, append([]string{"--quiet"}, strings.Fields(flags)...)...)
			// What never answers is awaited until the server has it.
			wait := "30s"
			if strings.Contains(want.client, "100%") || strings.Contains(flags, "source") || strings.Contains(flags, "corrupt") || strings.Contains(flags, "code 3") {
				wait = "300ms"
			}
			out, errs, _ := runEcho("client", "--count", "1", "--timeout", wait, host)
			mustContain(t, "client", out+errs, want.client)
			rest, _ := s.signal(syscall.SIGTERM)
			mustContain(t, "server", rest, want.server)
		})
	}

	t.Run("--duplicate", func(t *testing.T) {
		s := startServer(t, "--quiet", "--duplicate", "100%,copies=2")
		probe(t, "--quiet", host)
		rest, _ := s.signal(syscall.SIGTERM)
		mustContain(t, "server", rest, "1 received, 1 answered, 2 duplicated\n")
	})
	t.Run("--total-rate", func(t *testing.T) {
		s := startServer(t, "--quiet", "--total-rate", "0.001,burst=2")
		runEcho("client", "--quiet", "--count", "5", "--interval", "1ms", "--timeout", "300ms", host)
		rest, _ := s.signal(syscall.SIGTERM)
		mustContain(t, "server", rest, "5 received, 2 answered, 3 limited\n", "rule 1: 5 requests, 2 replied, 3 limited\n")
	})
}

const oneRule = "version: 1\nrules:\n  - name: %s\n    to: 127.0.0.0/8\n    ttl: %d\n"

// rulesFile is a file that tests change.
func rulesFile(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	// The server that answers is another user, if there is one.
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	file := filepath.Join(dir, "rules.yaml")
	write(t, file, text)
	return file
}

// write replaces a file at once.
func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

func TestSIGHUPReadsTheRulesAgain(t *testing.T) {
	for _, args := range [][]string{{"--quiet"}, {"--quiet", "--take-over"}, {"--quiet", "--loops", "2"}} {
		inLab(t, len(args) == 2)
		file := rulesFile(t, fmt.Sprintf(oneRule, "old", 11))
		var errs lockedBuffer
		c := echoCommand(append([]string{"server", "--rules", file}, args...)...)
		c.Stderr = &errs
		s := start(t, c)
		mustContain(t, "start", s.awaitLine("answering"), "1 rules from "+file)
		is := func(ttl int) {
			t.Helper()
			out, _ := probe(t, "127.0.0.1")
			mustContain(t, "client", out, fmt.Sprintf("icmp_seq=1 ttl=%d ", ttl))
		}
		is(11)
		write(t, file, fmt.Sprintf(oneRule, "new", 22)+"  - to: 127.0.0.0/16\n")
		s.Process.Signal(syscall.SIGHUP) // refused: the rule is never used
		errs.await(t, "the old rules stay")
		errs.await(t, "rules.yaml:6:")
		is(11)
		write(t, file, "version: 2\nrules:\n  - loss: 150%\n    delay: soon\n  - ttl: 1000\n    unknown: 1\n")
		s.Process.Signal(syscall.SIGHUP)
		for _, fault := range []string{"rules.yaml:1:10", "rules.yaml:3:11", "rules.yaml:4:12", "rules.yaml:5:10", "rules.yaml:6:5"} {
			errs.await(t, fault)
		}
		is(11)
		os.Remove(file)
		s.Process.Signal(syscall.SIGHUP)
		errs.await(t, "no such file")
		is(11)
		write(t, file, fmt.Sprintf(oneRule, "old", 33)+fmt.Sprintf("  - name: unused\n    ttl: %d\n", 44))
		s.Process.Signal(syscall.SIGHUP)
		mustContain(t, "reload", s.awaitLine("rules:"), "2 rules from "+file)
		is(33)
		rest, code := s.signal(syscall.SIGTERM)
		// The counters of a rule with the same name carry on.
		mustContain(t, "summary", rest, "5 received, 5 answered\n", "old: 5 requests, 5 replied\n")
		mustNotContain(t, "summary", rest, "unused")
		if code != exitOK {
			t.Errorf("exit code %d\n%s", code, errs.String())
		}
	}
}

func TestServerWithABadFileDoesNotBegin(t *testing.T) {
	for _, kernel := range []bool{true, false} {
		inLab(t, kernel)
		file := rulesFile(t, "version: 1\nrules:\n  - loss: 150%\n    delay: soon\n")
		args := []string{"server", "--rules", file}
		if kernel {
			args = append(args, "--take-over")
		}
		p := start(t, echoCommand(args...))
		_, code := p.end()
		if code != exitError {
			t.Errorf("exit code %d", code)
		}
		mustContain(t, "error", p.stderr.String(), "rules.yaml:3:11: ", "rules.yaml:4:12: ", "2 errors")
		if kernelAnswers(t) != kernel {
			t.Error("the kernel's replies have changed")
		}
	}
}

func TestServerSaysThatItWillNotBeAbleToReadTheRulesAgain(t *testing.T) {
	if os.Geteuid() != 0 || !mapped(t, 65534) {
		t.Skip("this user namespace has no second user")
	}
	inLab(t, false)
	file := rulesFile(t, fmt.Sprintf(oneRule, "private", 11))
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, "--quiet", "--rules", file)
	out, _ := probe(t, "127.0.0.1")
	mustContain(t, "client", out, "ttl=11")
	s.signal(syscall.SIGTERM)
	mustContain(t, "note", s.stderr.String(), "this process may not read it", "SIGHUP will not have an effect", "user 65534")
	s = startServer(t, "--quiet", "--rules", file, "--user", "root")
	s.signal(syscall.SIGTERM)
	if got := s.stderr.String(); got != "" {
		t.Errorf("as root: %s", got)
	}
}
