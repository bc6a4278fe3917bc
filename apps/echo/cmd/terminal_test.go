package cmd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pty is a pseudo-terminal (pty(7)): what a program writes to its terminal is read
// here.
type pty struct {
	t        *testing.T
	master   *os.File
	terminal *os.File // what programs get
	text     string   // what they have written
}

// openPTY opens a pseudo-terminal that is so many columns wide.
func openPTY(t *testing.T, columns uint16) *pty {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal can be had: /dev/ptmx: %v", err)
	}
	number, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	err = errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	p := &pty{t: t, master: os.NewFile(uintptr(fd), "/dev/ptmx")}
	t.Cleanup(func() { p.master.Close() })
	if err != nil {
		t.Fatal(err)
	}
	p.terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.terminal.Close() })
	p.resize(columns)
	p.master.SetReadDeadline(time.Now().Add(watchdog))
	return p
}

func (p *pty) resize(columns uint16) {
	p.t.Helper()
	conn, err := p.master.SyscallConn()
	if err == nil {
		conn.Control(func(fd uintptr) {
			err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
		})
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// await reads until what has come since the last call is as it should be.
func (p *pty) await(what string, ok func(text string) bool) {
	p.t.Helper()
	p.text = ""
	b := make([]byte, 4096)
	for !ok(p.text) {
		n, err := p.master.Read(b)
		if err != nil {
			p.t.Fatalf("%v; it shows no %s:\n%q", err, what, p.text)
		}
		p.text += string(b[:n])
	}
}

// rest reads until all programs have closed the terminal.
func (p *pty) rest() string {
	p.t.Helper()
	p.terminal.Close()
	b := make([]byte, 4096)
	for {
		n, err := p.master.Read(b)
		p.text += string(b[:n])
		if errors.Is(err, syscall.EIO) { // a hang-up
			return p.text
		}
		if err != nil {
			p.t.Fatalf("%v after\n%q", err, p.text)
		}
	}
}

// run starts a client.
func (p *pty) run(c *exec.Cmd) {
	p.t.Helper()
	c.Env = append(c.Env, "TERM=xterm", "NO_COLOR=")
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	guard(p.t, c)
}

const wiped = "\r\x1b[K" // how a bar is taken away, or drawn anew

// bars returns the bars that were drawn, oldest first, but for the last, which
// may not be whole.
func bars(text string) []string {
	parts := strings.Split(text, wiped)
	var drawn []string
	for i := 1; i < len(parts)-1; i++ {
		if parts[i] != "" && !strings.Contains(parts[i], "\n") {
			drawn = append(drawn, parts[i])
		}
	}
	return drawn
}

func TestASweepHasAProgressBarThatFollowsTheTerminal(t *testing.T) {
	inLab(t, true)
	p := openPTY(t, 80)
	c := echoCommand("client", "--quiet", "--count", "1000000000", "--rate", "500", "127.0.0.1", "127.0.0.2")
	c.Stderr = p.terminal
	p.run(c)
	full := regexp.MustCompile(`^ *\d+% \|[# ]+\| (\d+)/2000000000, \d+/s, [\dhms]+ left$`)
	width := func(low, high int) func(string) bool {
		return func(text string) bool {
			all := bars(text)
			return len(all) > 0 && len(all[len(all)-1]) >= low && len(all[len(all)-1]) <= high
		}
	}
	p.await("bar with a rate", func(text string) bool {
		all := bars(text)
		return len(all) > 0 && full.MatchString(all[len(all)-1])
	})
	p.resize(30)
	p.await("bar for 30 columns", width(1, 29))
	p.resize(120)
	p.await("bar for 120 columns", width(60, 119))
	p.resize(30)
	p.await("bar for 30 columns", width(1, 29))
	c.Process.Signal(syscall.SIGINT)
	c.Wait()
	if text := p.rest(); !strings.HasSuffix(text, wiped) {
		t.Errorf("something is left on the terminal: %q", text)
	}
	if code := c.ProcessState.ExitCode(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestTheProgressBarMakesWayForTheResults(t *testing.T) {
	inLab(t, true)
	p := openPTY(t, 80)
	c := echoCommand("client", "--rate", "40", "127.0.0.1-20")
	c.Stdout, c.Stderr = p.terminal, p.terminal
	p.run(c)
	c.Wait()
	text := p.rest()
	line := regexp.MustCompile(`^127\.0\.0\.\d+ is \x1b\[32malive\x1b\[0m \([\d.]+ ms\)$`)
	hosts := 0
	for l := range strings.Lines(strings.ReplaceAll(text, "\r\n", "\n")) {
		// What stands behind the last bar on a line is what one sees.
		seen := strings.TrimSuffix(l[strings.LastIndex(wiped+l, wiped):], "\n")
		if strings.Contains(l, "127.0.0.") {
			hosts++
			if !line.MatchString(seen) {
				t.Errorf("a line of the terminal is %q", seen)
			}
		}
		if strings.Contains(seen, "|") {
			t.Errorf("a bar stays on the terminal: %q", seen)
		}
	}
	if hosts != 20 || len(bars(text)) == 0 {
		t.Errorf("%d hosts, %d bars:\n%q", hosts, len(bars(text)), text)
	}
}

func TestThereIsNoProgressBarWithoutATerminalOrAnEnd(t *testing.T) {
	inLab(t, true)
	for _, args := range []string{"--deadline 300ms --interval 10ms 127.0.0.1", "--deadline 300ms --count 0 127.0.0.1 127.0.0.2"} {
		p := openPTY(t, 80)
		c := echoCommand(append([]string{"client", "--quiet"}, strings.Fields(args)...)...)
		c.Stderr = p.terminal
		p.run(c)
		c.Wait()
		if text := p.rest(); text != "" {
			t.Errorf("%s: %q", args, text)
		}
	}
	if _, errs, _ := runEcho("client", "--rate", "10", "127.0.0.1-4"); errs != "" {
		t.Errorf("not on a terminal: %q", errs)
	}
}

func TestOnlyTerminalsHaveColours(t *testing.T) {
	inLab(t, true)
	for _, c := range []struct {
		name     string
		terminal bool
		env      string
		want     bool
	}{
		{"a terminal", true, "NO_COLOR=", true},
		{"NO_COLOR", true, "NO_COLOR=1", false},
		{"a terminal without control sequences", true, "TERM=dumb", false},
		{"no terminal", false, "NO_COLOR=", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := openPTY(t, 80)
			e := echoCommand("client", "--count", "1", unroutable)
			var out strings.Builder
			if e.Stdout = &out; c.terminal {
				e.Stdout = p.terminal
			}
			e.Env = append(e.Env, "TERM=xterm", c.env)
			if err := e.Start(); err != nil {
				t.Fatal(err)
			}
			guard(t, e)
			e.Wait()
			text := p.rest() + out.String()
			mustContain(t, "client", text, "not sent")
			if got := strings.Contains(text, "\x1b["); got != c.want {
				t.Errorf("colours: %v, want %v: %q", got, c.want, text)
			}
		})
	}
}

func TestVeryManyTargetsAreAskedAboutOnATerminal(t *testing.T) {
	inLab(t, true)
	for answer, want := range map[string]int{"n": exitError, "": exitError, "yes": exitUnanswered, "y": exitUnanswered} {
		p, asked := openPTY(t, 80), openPTY(t, 80)
		c := echoCommand("client", "--alive", "127.0.0.0/7")
		c.Stdin, c.Stderr = p.terminal, asked.terminal
		stdout, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		p.run(c)
		asked.await("question", func(text string) bool {
			return strings.Contains(text, "33554432 targets, 0.4 days at 1000 requests per second. Go on? [y/N] ")
		})
		p.master.WriteString(answer + "\n")
		if want == exitUnanswered {
			// It probes 127.0.0.1, but 126.0.0.0 first: the bar will do.
			asked.await("bar", func(text string) bool { return len(bars(text)) > 0 })
			c.Process.Signal(syscall.SIGINT)
		}
		b := make([]byte, 100)
		stdout.Read(b)
		c.Wait()
		if code := c.ProcessState.ExitCode(); code != want {
			t.Errorf("%q: exit code %d, want %d", answer, code, want)
		}
	}
}

func TestVeryManyTargetsTakeAFlagWithoutATerminal(t *testing.T) {
	inLab(t, true)
	for _, block := range []string{"0.0.0.0/0", "127.0.0.0/7", "2001:db8::/66"} {
		out, errs, code := runEcho("client", block)
		if code != exitError || !strings.Contains(errs, "targets") || !strings.Contains(errs, "want --yes") || out != "" {
			t.Errorf("%s: exit code %d\n%s%s", block, code, out, errs)
		}
	}
	out, errs, code := runEcho("client", "--yes", "--quiet", "--deadline", "50ms", "0.0.0.0/0")
	mustContain(t, "client", out, "4294967296 targets")
	if code != exitUnanswered || errs != "" {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}
