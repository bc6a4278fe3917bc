package cmd

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestASignalEndsTheClientWithASummary(t *testing.T) {
	inLab(t, true)
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		p := start(t, echoCommand("client", "--interval", "1ms", "--timeout", "30s", "127.0.0.1"))
		p.awaitLine("icmp_seq=3 ")
		rest, code := p.signal(sig)
		mustContain(t, "client", rest, "--- 127.0.0.1 ping statistics ---", " 0% packet loss", "rtt min/avg/max/mdev")
		if code != exitOK || p.stderr.Len() > 0 {
			t.Errorf("%v: exit code %d\n%s", sig, code, &p.stderr)
		}
	}
}

// A run that is ended says nothing about the hosts that have not been probed.
func TestAnInterruptedSweepHasNotReachedEveryHost(t *testing.T) {
	inLab(t, true)
	for count, line := range map[string]string{"1": " is alive", "0": "127.0.0.1 : [0]", "2": "127.0.0.1 : [0]"} {
		p := start(t, echoCommand("client", "--rate", "20", "--count", count, "127.0.0.0/16"))
		p.awaitLine(line)
		rest, code := p.signal(syscall.SIGINT)
		mustContain(t, "client", rest, " 65536 targets")
		if code != exitUnanswered {
			t.Errorf("--count %s: exit code %d, want %d", count, code, exitUnanswered)
		}
	}
}

func TestSIGQUITTellsHowThingsStandAndTheRunGoesOn(t *testing.T) {
	inLab(t, true)
	for _, c := range []struct{ name, args, first, interim, last string }{
		{"one host", "--interval 1ms 127.0.0.1", "icmp_seq=3 ", " packets, 0% loss, min/avg/max/mdev = ", "ping statistics"},
		{"many hosts", "--count 0 --interval 1ms 127.0.0.1 127.0.0.2", "127.0.0.2 : [3]", "127.0.0.2 : xmt/rcv/%loss = ", "elapsed real time"},
		{"JSON", "--json --interval 1ms 127.0.0.1", `"number":3,`, `"interim":true,`, `"interim":false,`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, echoCommand(append([]string{"client", "--timeout", "30s"}, strings.Fields(c.args)...)...))
			for range 2 {
				p.awaitLine(c.first)
				p.Process.Signal(syscall.SIGQUIT)
				p.awaitLine(c.interim)
				c.first = ""
			}
			rest, code := p.signal(syscall.SIGINT)
			mustContain(t, "client", rest, c.last)
			if code != exitOK || p.stderr.Len() > 0 {
				t.Errorf("exit code %d\n%s", code, &p.stderr)
			}
		})
	}
}

func TestASecondSignalEndsAClientThatIsStuck(t *testing.T) {
	inLab(t, true)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := echoCommand("client", "--interval", "1ms", "--timeout", "30s", "127.0.0.1")
	c.Stdout = w
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	guard(t, c)
	r.Read(make([]byte, 1)) // it runs
	fill(t, w)
	signalUntilItEnds(c, syscall.SIGTERM)
	w.Close()
	if code := c.ProcessState.ExitCode(); code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d", code)
	}
}

func TestADeadlineEndsARunWithoutEnd(t *testing.T) {
	inLab(t, true)
	for _, hosts := range []string{"127.0.0.1", "--count 0 127.0.0.1 127.0.0.2"} {
		out, errs, code := runEcho(append([]string{"client", "--interval", "1ms", "--deadline", "0.3", "--timeout", "30s"}, strings.Fields(hosts)...)...)
		mustContain(t, "client", out, "rtt ")
		if code != exitOK || errs != "" {
			t.Errorf("%s: exit code %d\n%s%s", hosts, code, out, errs)
		}
	}
}

func TestADeadlineEndsASweepThatIsNotThrough(t *testing.T) {
	inLab(t, true)
	out, _, code := runEcho("client", "--deadline", "100ms", "--rate", "20", "127.0.0.0/16")
	mustContain(t, "client", out, " 65536 targets")
	if code != exitUnanswered {
		t.Errorf("exit code %d, want %d", code, exitUnanswered)
	}
}

func TestOutputThatNobodyReadsEndsTheClientQuietly(t *testing.T) {
	inLab(t, true)
	for _, args := range []string{"127.0.0.1", "--json 127.0.0.1", "--csv --count 0 127.0.0.1 127.0.0.2", "--quiet --count 1 127.0.0.1",
		"127.0.0.0/20"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		c := echoCommand(append([]string{"client", "--timeout", "30s"}, strings.Fields(args)...)...)
		c.Stdout = w
		var errs strings.Builder
		c.Stderr = &errs
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		guard(t, c)
		w.Close()
		c.Wait()
		if code := c.ProcessState.ExitCode(); code != 128+int(syscall.SIGPIPE) || errs.Len() > 0 {
			t.Errorf("%s: exit code %d: %s", args, code, &errs)
		}
	}
}

func TestOutputThatCannotBeWrittenIsAnError(t *testing.T) {
	inLab(t, true)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	c := echoCommand("client", "127.0.0.1")
	c.Stdout = full
	var errs strings.Builder
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	guard(t, c)
	c.Wait()
	mustContain(t, "error", errs.String(), "no space left on device")
	if code := c.ProcessState.ExitCode(); code != exitError {
		t.Errorf("exit code %d, want %d", code, exitError)
	}
}
