package cmd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/transport/netlab"
)

// The test binary is the echo command, or one of the variants below, when it
// finds its role in the environment.
const roleVariable = "IOMUX_TEST_ROLE"

var roles = map[string]func() int{
	"echo":     Main,
	"panic":    panicking,
	"lockstep": lockstep,
}

func TestMain(m *testing.M) {
	if role := roles[os.Getenv(roleVariable)]; role != nil {
		os.Exit(role())
	}
	os.Exit(netlab.Main(m))
}

// watchdog ends what hangs; no test waits that long otherwise.
const watchdog = 30 * time.Second

// inLab skips the test where there is no private network namespace, and gives it
// one with the kernel's echo replies on or off.
func inLab(t *testing.T, kernelReplies bool) *netlab.Namespace {
	t.Helper()
	netlab.Need(t)
	lab, err := netlab.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lab.Close() })
	setReplies(t, lab, kernelReplies)
	return lab
}

func setReplies(t *testing.T, lab *netlab.Namespace, on bool) {
	t.Helper()
	if err := lab.SetEchoReplies(on); err != nil {
		t.Fatal(err)
	}
}

// process is a program that a test has started.
type process struct {
	*exec.Cmd
	t      *testing.T
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// echoCommand is the echo command with some arguments.
func echoCommand(args ...string) *exec.Cmd { return inRole("echo", args...) }

func inRole(role string, args ...string) *exec.Cmd {
	c := exec.Command("/proc/self/exe", args...)
	// With the race detector each process would sleep for a second at its end.
	c.Env = append(os.Environ(), roleVariable+"="+role, "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	return c
}

// start starts a program, which the end of the test kills if it is still there.
func start(t *testing.T, c *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: c, t: t}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	if c.Stderr == nil {
		c.Stderr = &p.stderr
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	guard(t, c)
	return p
}

// guard sees to it that a program which was started ends: after a while, with a
// trace of its goroutines, and in any case with the test.
func guard(t *testing.T, c *exec.Cmd) {
	late := time.AfterFunc(watchdog, func() { c.Process.Signal(syscall.SIGABRT) })
	t.Cleanup(func() {
		late.Stop()
		if c.ProcessState == nil {
			c.Process.Kill()
			c.Wait()
		}
	})
}

// startServer starts an echo server and returns once it answers.
func startServer(t *testing.T, args ...string) *process {
	t.Helper()
	p := start(t, echoCommand(append([]string{"server"}, args...)...))
	p.awaitLine("answering")
	return p
}

// awaitLine reads until a line of standard output contains text.
func (p *process) awaitLine(text string) string {
	p.t.Helper()
	for {
		line, err := p.stdout.ReadString('\n')
		if strings.Contains(line, text) {
			return line
		}
		if err != nil {
			p.Wait()
			p.t.Fatalf("%v ended without %q: %v\n%s", p.Args, text, p.ProcessState, &p.stderr)
		}
	}
}

// end reads the rest of standard output and returns it with the exit code.
func (p *process) end() (rest string, code int) {
	p.t.Helper()
	b, err := io.ReadAll(p.stdout)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Wait()
	return string(b), p.ProcessState.ExitCode()
}

// signal sends a signal and waits for the end.
func (p *process) signal(sig os.Signal) (rest string, code int) {
	p.t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	return p.end()
}

// runEcho runs the command in this process.
func runEcho(args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = Run(args, &out, &errs)
	return out.String(), errs.String(), code
}

// mustContain checks each text.
func mustContain(t *testing.T, what, got string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(got, text) {
			t.Errorf("%s has no %q:\n%s", what, text, got)
		}
	}
}

// need skips a test that is about a program which is not installed.
func need(t *testing.T, program, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed (Debian package %s)", program, debianPackage)
	}
	return path
}

// mustRun runs a program to its end, which must be a good one.
func mustRun(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	p := start(t, c)
	out, code := p.end()
	if code != 0 {
		t.Fatalf("%s: exit code %d\n%s%s", strings.Join(c.Args, " "), code, out, &p.stderr)
	}
	return out + fmt.Sprint(&p.stderr)
}

// signalUntilItEnds sends a signal again and again, for signals may be merged into one as
// long as the first is not taken.
func signalUntilItEnds(c *exec.Cmd, sig syscall.Signal) {
	for err := error(nil); err == nil; err = c.Process.Signal(sig) {
		var info unix.Siginfo
		unix.Waitid(unix.P_PID, c.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		if info.Signo != 0 {
			break
		}
	}
	c.Wait()
}
