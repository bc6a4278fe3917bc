package netlab_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport/netlab"
)

func TestReexecRunsTheProgramInAnotherNamespace(t *testing.T) {
	cmd := outside(t, "reexec", "some", "arguments")
	cmd.Stdin = strings.NewReader("the input\n")
	lines, code := run(t, cmd)
	if code != 42 {
		t.Errorf("exit code %d, want that of the program inside, 42", code)
	}
	if len(lines) != 7 {
		t.Fatalf("got %q, want seven lines", lines)
	}
	out, in, _ := strings.Cut(lines[0], " ")
	if in != "inside=false variable=false" {
		t.Errorf("before: %q", lines[0])
	}
	private, in, _ := strings.Cut(lines[1], " ")
	if in != "inside=true variable=false" || private == out || private == netns() {
		t.Errorf("in the private namespace: %q; outside it was %q", lines[1], lines[0])
	}
	if lines[2] != fmt.Sprint(0, " [some arguments] ", []int{inherited}) {
		t.Errorf("user, arguments and inheritable descriptors in the private namespace: %q", lines[2])
	}
	if lines[3] != lines[1] {
		t.Errorf("a program started there: %q, want %q", lines[3], lines[1])
	}
	if lines[4] != "the input" {
		t.Errorf("standard input: %q", lines[4])
	}
	if lines[5] != lines[0] || lines[6] != "loopback up: false" {
		t.Errorf("outside, afterwards: %q, want %q and nothing changed", lines[5:], lines[0])
	}
}

func TestReexecWorksForEveryUser(t *testing.T) {
	const nobody = 65534
	users := map[string]func(*exec.Cmd) error{
		"root without CAP_SYS_ADMIN": func(cmd *exec.Cmd) error {
			return netlab.WithoutCapabilities(cmd, unix.CAP_SYS_ADMIN)
		},
		"root without CAP_NET_ADMIN": func(cmd *exec.Cmd) error {
			return netlab.WithoutCapabilities(cmd, unix.CAP_NET_ADMIN)
		},
		"ordinary user": func(cmd *exec.Cmd) error {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
			return cmd.Start()
		},
		"ordinary user with capabilities": func(cmd *exec.Cmd) error {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
			cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN}
			return cmd.Start()
		},
	}
	for name, start := range users {
		t.Run(name, func(t *testing.T) {
			cmd := outside(t, "reexec")
			m, err := os.ReadFile("/proc/self/uid_map")
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(name, "ordinary") && len(strings.Fields(string(m))) == 3 && strings.Fields(string(m))[2] == "1" {
				t.Skip("there is one user here, who is ordinary: the other tests show it")
			}
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, os.Stderr
			if err := start(cmd); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			lines := strings.Split(out.String(), "\n")
			if code := cmd.ProcessState.ExitCode(); code != 42 || len(lines) != 7 {
				t.Fatalf("exit code %d, want 42; output %q", code, lines)
			}
			if !strings.HasSuffix(lines[1], "inside=true variable=false") || lines[2] != fmt.Sprint(0, " [] ", []int{inherited}) {
				t.Errorf("in the private namespace: %q, want to be there as user 0", lines[1:3])
			}
		})
	}
}

func TestReexecInsideIsAnError(t *testing.T) {
	lines, code := run(t, outside(t, "reexec twice"))
	if code != 1 || len(lines) != 1 || !strings.Contains(lines[0], "private network namespace already") {
		t.Errorf("exit code %d, output %q", code, lines)
	}
}

func TestReexecTellsADeathBySignalAsShellsDo(t *testing.T) {
	if _, code := run(t, outside(t, "killed")); code != 128+int(unix.SIGKILL) {
		t.Errorf("exit code %d, want 137", code)
	}
}

func TestReexecForwardsSignals(t *testing.T) {
	cmd := outside(t, "signals")
	out := start(t, cmd)
	expectLine(t, out, "ready")
	for _, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM} {
		cmd.Process.Signal(sig)
		expectLine(t, out, sig.String())
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
}

// A Go program may catch a signal that it was started to ignore.
func TestReexecLeavesIgnoredSignalsToTheProgram(t *testing.T) {
	cmd := outside(t, "signals after nohup")
	out := start(t, cmd)
	expectLine(t, out, "hangup ignored: true")
	expectLine(t, out, "ready")
	cmd.Process.Signal(unix.SIGHUP)
	expectLine(t, out, "hangup")
}

func TestReexecThatFailsLeavesSignalsAsTheyWere(t *testing.T) {
	cmd := inUserNamespace(outside(t, "nohup without network namespaces"))
	lines, _ := run(t, cmd)
	if len(lines) != 2 || lines[1] != "1 hangup ignored: true" {
		t.Errorf("output %q", lines)
	}
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != unix.SIGTERM {
		t.Errorf("it ended with %v, want SIGTERM to end it", cmd.ProcessState)
	}
}

// The terminal signals every process of the foreground group, so the second
// program has its SIGINT already.
func TestReexecDoesNotDoubleTheTerminalsSignals(t *testing.T) {
	cmd := outside(t, "signals")
	keyboard, terminal := openTerminal(t)
	cmd.Stdin = terminal
	cmd.SysProcAttr.Setctty = true
	out := start(t, cmd)
	expectLine(t, out, "ready")
	if _, err := keyboard.WriteString("\x03"); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	expectLine(t, out, "interrupt")
	// What is forwarded is forwarded in order: a second SIGINT would be first.
	cmd.Process.Signal(unix.SIGTERM)
	expectLine(t, out, "terminated")
}

func TestReexecForwardsSignalsInTheBackground(t *testing.T) {
	cmd := outside(t, "signals in the background")
	_, cmd.Stdin = openTerminal(t)
	cmd.SysProcAttr.Setctty = true
	out := start(t, cmd)
	expectLine(t, out, "ready")
	cmd.Process.Signal(unix.SIGINT)
	expectLine(t, out, "interrupt")
	cmd.Process.Signal(unix.SIGTERM)
	expectLine(t, out, "terminated")
}

// openTerminal returns both sides of a pseudoterminal (pty(7)).
func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudoterminals: ", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	fd := int(keyboard.Fd())
	number, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		terminal, err = os.OpenFile("/dev/pts/"+strconv.Itoa(int(number)), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skip("no pseudoterminals: ", err)
	}
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}

func TestReexecDoesNotOutliveItsParent(t *testing.T) {
	for _, user := range []string{"root", "user namespace"} {
		t.Run(user, func(t *testing.T) {
			cmd := outside(t, "signals")
			if user != "root" {
				inUserNamespace(cmd)
			}
			out := start(t, cmd)
			expectLine(t, out, "ready")
			cmd.Process.Kill()
			// The program inside has the pipe open for as long as it lives.
			if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 {
				t.Errorf("got %q, %v; want the end of the pipe", rest, err)
			}
		})
	}
}

func TestMainRunsTheTestsInAPrivateNamespace(t *testing.T) {
	lines, code := run(t, outside(t, "main"))
	if code != 7 {
		t.Errorf("exit code %d, want that of the tests, 7", code)
	}
	if len(lines) != 2 || !strings.HasSuffix(lines[0], "inside=true variable=false") || lines[1] != "current: <nil>" {
		t.Errorf("got %q, want tests that are inside and do not skip", lines)
	}
}

// Without this, a Main that never works would show as skipped tests only.
func TestMainIsInsideWhereTheSystemAllowsIt(t *testing.T) {
	cmd := inUserNamespace(private(t, "loopback up"))
	if err := cmd.Run(); err != nil {
		t.Skip("the system refuses: ", err)
	}
	if !netlab.Inside() {
		t.Error("the system allows private namespaces, and the tests are not in one")
	}
}

func TestMainMakesNoNamespaceInsideOne(t *testing.T) {
	lines, code := run(t, outside(t, "main in a private namespace"))
	if code != 9 || len(lines) != 1 {
		t.Errorf("exit code %d, output %q", code, lines)
	}
	lab, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	cmd := outside(t, "main")
	cmd.SysProcAttr.Cloneflags = 0 // inside lab, in fact
	var where string
	err = lab.Do(func() error {
		where = netns()
		lines, code = run(t, cmd)
		return nil
	})
	if err != nil || code != 7 || lines[0] != where+" inside=true variable=false" {
		t.Errorf("%v, exit code %d, output %q; want tests in %s", err, code, lines, where)
	}
}

func TestMainRunsTheTestsInPlaceWhereNamespacesAreRefused(t *testing.T) {
	for program, reason := range map[string]string{
		"main without network namespaces":       "user.max_net_namespaces (0; must be above 0)",
		"main without power over its namespace": "set up the loopback interface: operation not permitted",
	} {
		t.Run(program, func(t *testing.T) {
			cmd := inUserNamespace(outside(t, program))
			lines, code := run(t, cmd)
			if code != 7 || len(lines) != 3 {
				t.Fatalf("exit code %d, output %q; want the tests to have run once", code, lines)
			}
			if !strings.HasSuffix(lines[0], "inside=false variable=false") {
				t.Errorf("tests are at %q, want to be outside", lines[0])
			}
			if !strings.HasPrefix(lines[1], "skip: ") || !strings.Contains(lines[1], reason) {
				t.Errorf("Need: %q, want it to skip with the reason %q", lines[1], reason)
			}
			if !strings.HasPrefix(lines[2], "current: netlab: ") || !strings.Contains(lines[2], reason) {
				t.Errorf("Current: %q, want the reason %q", lines[2], reason)
			}
		})
	}
}

func TestReexecSaysWhatWouldAllowNamespaces(t *testing.T) {
	lines, code := run(t, inUserNamespace(outside(t, "reexec without user namespaces")))
	at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "refused: ") })
	if code != 1 || at < 0 {
		t.Fatalf("exit code %d, output %q; want a refusal", code, lines)
	}
	for _, advice := range []string{"user.max_user_namespaces (0; must be above 0)",
		"kernel.apparmor_restrict_unprivileged_userns", "run as root"} {
		if !strings.Contains(lines[at], advice) {
			t.Errorf("%q does not mention %q", lines[at], advice)
		}
	}
}

func TestTheEnvironmentIsNotBelieved(t *testing.T) {
	lines, _ := run(t, outside(t, "forged variable"))
	if len(lines) != 1 || !strings.HasSuffix(lines[0], "inside=false variable=false") {
		t.Errorf("got %q, want a program that is outside", lines)
	}
}

var errTest = errors.New("error of the test")
