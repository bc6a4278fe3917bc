package responder_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/apps/echo/privilege"
	"iomux/apps/echo/responder"
)

var both = []responder.Family{responder.IPv4, responder.IPv6}

// needIPv6 is for what a kernel without IPv6, or one before Linux 5.0, does not have.
func needIPv6(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/sys/net/ipv6/icmp/echo_ignore_all"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("this kernel has no net.ipv6.icmp.echo_ignore_all")
	}
}

// wantEach checks the replies of both families.
func wantEach(t *testing.T, want4, want6 bool) {
	t.Helper()
	for i, want := range []bool{want4, want6} {
		if got, err := responder.KernelReplies(both[i]); got != want || err != nil {
			t.Errorf("the kernel answers over %v: %v, %v, want %v", both[i], got, err, want)
		}
	}
	if got, err := responder.KernelReplies(both...); got != (want4 || want6) || err != nil {
		t.Errorf("the kernel answers: %v, %v, want %v", got, err, want4 || want6)
	}
}

func TestEachFamilyIsTakenOverAndRestoredByItself(t *testing.T) {
	for _, c := range []struct{ first, second []responder.Family }{
		{both[:1], both[1:]}, {both[1:], both[:1]}, {both, both[:1]}, {both, both[1:]}, {both[1:], both}, {both, both},
	} {
		t.Run(fmt.Sprint(c.first, c.second), func(t *testing.T) {
			takeoverLab(t, true)
			needIPv6(t)
			taken := func(sets ...[]responder.Family) (on4, on6 bool) {
				on4, on6 = true, true
				for _, set := range sets {
					for _, f := range set {
						on4, on6 = on4 && f != responder.IPv4, on6 && f != responder.IPv6
					}
				}
				return
			}
			want := func(sets ...[]responder.Family) {
				t.Helper()
				on4, on6 := taken(sets...)
				wantEach(t, on4, on6)
			}
			a, err := responder.TakeOver(c.first...)
			if err != nil {
				t.Fatal(err)
			}
			want(c.first)
			b, err := responder.TakeOver(c.second...)
			if err != nil {
				t.Fatal(err)
			}
			want(c.first, c.second)
			restore(t, a)
			want(c.second)
			restore(t, b)
			want()
		})
	}
}

func TestTheNoteIsAboutEachFamily(t *testing.T) {
	takeoverLab(t, true)
	needIPv6(t)
	a, err := responder.TakeOver(both...)
	if err != nil {
		t.Fatal(err)
	}
	b, err := responder.TakeOver(both...)
	if err != nil {
		t.Fatal(err)
	}
	want := inForce(os.Getpid(), 0) + "; " + strings.Replace(inForce(os.Getpid(), 0), "net.ipv4.icmp_echo_ignore_all", "net.ipv6.icmp.echo_ignore_all", 1)
	wantText(t, "Note", b.Note(), want)
	wantText(t, "Leftover", responder.Leftover(both...), want)
	wantText(t, "Leftover of IPv4", responder.Leftover(), inForce(os.Getpid(), 0))
	if len(records(t)) != 2 {
		t.Errorf("the records are %q, want one for each family", records(t))
	}
	restore(t, a)
	restore(t, b)
	wantEach(t, true, true)
}

// What was off of one family stays off, and the other comes back.
func TestTheFamiliesHaveBeenDifferent(t *testing.T) {
	current := takeoverLab(t, true)
	needIPv6(t)
	if err := current.SetSysctl("net.ipv6.icmp.echo_ignore_all", "1"); err != nil {
		t.Fatal(err)
	}
	taken, err := responder.TakeOver(both...)
	if err != nil {
		t.Fatal(err)
	}
	wantEach(t, false, false)
	restore(t, taken)
	wantEach(t, true, false)
}

// If the second family cannot be taken over the first is restored.
func TestAllOrNone(t *testing.T) {
	takeoverLab(t, true)
	needIPv6(t)
	const setting = "/proc/sys/net/ipv6/icmp/echo_ignore_all"
	if err := unix.Mount("/dev/null", setting, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(setting, unix.MNT_DETACH)
	if taken, err := responder.TakeOver(both...); err == nil {
		restore(t, taken)
		t.Error("TakeOver has succeeded on something else than a setting")
	}
	wantReplies(t, true)
	if left := records(t); left != nil {
		t.Errorf("%q are left", left)
	}
}

// Where there is no IPv6 nobody answers it, and there is nothing to take over.
func TestWithoutIPv6ThereIsOnlyIPv4(t *testing.T) {
	takeoverLab(t, true)
	// As such a kernel has it, for this thread and what it starts.
	if err := unix.Mount("tmpfs", "/proc/sys/net", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount("/proc/sys/net", unix.MNT_DETACH)
	if got, err := responder.KernelReplies(responder.IPv6); got || err != nil {
		t.Errorf("KernelReplies = %v, %v, want false", got, err)
	}
	taken, err := responder.TakeOver(responder.IPv6)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "Note", taken.Note(), "")
	restore(t, taken)

	// A kernel before Linux 5.0 has IPv6 and no switch.
	if err := os.Mkdir("/proc/sys/net/ipv6", 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := responder.KernelReplies(responder.IPv6); !got || err != nil {
		t.Errorf("KernelReplies = %v, %v, want true", got, err)
	}
	if taken, err := responder.TakeOver(responder.IPv6); err == nil || !strings.Contains(err.Error(), "before Linux 5.0") {
		t.Errorf("TakeOver = %v, %v, want an error about the kernel", taken, err)
	}
}

func TestThereAreTwoFamilies(t *testing.T) {
	if _, err := responder.KernelReplies(5); err == nil || !strings.Contains(err.Error(), "there is no IPv5") {
		t.Error(err)
	}
	if taken, err := responder.TakeOver(0); err == nil {
		restore(t, taken)
		t.Error("TakeOver of family 0 has succeeded")
	}
	if note := responder.Leftover(7); note != "" {
		t.Error(note)
	}
}

// guarded is a server of which only what becomes of the kernel's setting is left: a
// parent that takes over, and a worker without privileges.
type guarded struct {
	*process
	worker int
}

// guardProcess is the parent; its worker is told how to end.
func guardProcess() int {
	var taken *responder.Takeover
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"=guarded")
	cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
	code, err := privilege.Run(cmd, &privilege.Config{},
		func() (err error) { taken, err = responder.TakeOver(both...); return err },
		func() error { return taken.Restore() })
	if err != nil {
		fmt.Println("error:", err)
	}
	return code
}

func guardedWorker() int {
	if err := privilege.Verify(); err != nil {
		fmt.Println("error:", err)
		return 1
	}
	if taken, err := responder.TakeOver(); err == nil && os.Geteuid() != 0 {
		taken.Restore()
		fmt.Println("error: the worker can change the setting")
		return 1
	}
	fmt.Println("worker", os.Getpid())
	switch line, _ := bufio.NewReader(os.Stdin).ReadString('\n'); line {
	case "panic\n":
		panic("as told")
	case "7\n":
		return 7
	}
	return 0
}

func startGuarded(t *testing.T) *guarded {
	t.Helper()
	p, line := startRole(t, "guard", nil)
	g := &guarded{process: p}
	if n, _ := fmt.Sscanf(line, "worker %d", &g.worker); n != 1 {
		t.Fatalf("the worker says %q", line)
	}
	return g
}

// ended waits for parent and worker, who both have the pipe, and returns the exit code.
func (g *guarded) ended() int {
	g.t.Helper()
	for g.lines.Scan() {
		g.t.Error(g.lines.Text())
	}
	g.Wait()
	return g.ProcessState.ExitCode()
}

func TestHoweverAServerEndsTheSettingsAreRestored(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*guarded)
		code int
	}{
		"by itself":                         {func(g *guarded) { g.stdin.Close() }, 0},
		"by itself, with a code":            {func(g *guarded) { fmt.Fprintln(g.stdin, "7") }, 7},
		"the worker panics":                 {func(g *guarded) { fmt.Fprintln(g.stdin, "panic") }, 2},
		"the worker is killed":              {func(g *guarded) { unix.Kill(g.worker, unix.SIGKILL) }, 137},
		"the worker is terminated":          {func(g *guarded) { unix.Kill(g.worker, unix.SIGTERM) }, 143},
		"the parent is terminated":          {func(g *guarded) { unix.Kill(g.Process.Pid, unix.SIGTERM) }, 143},
		"the parent is interrupted":         {func(g *guarded) { unix.Kill(g.Process.Pid, unix.SIGINT) }, 130},
		"the parent's terminal has hung up": {func(g *guarded) { unix.Kill(g.Process.Pid, unix.SIGHUP) }, 129},
	} {
		t.Run(name, func(t *testing.T) {
			takeoverLab(t, true)
			needIPv6(t)
			g := startGuarded(t)
			wantEach(t, false, false)
			c.end(g)
			if code := g.ended(); code != c.code {
				t.Errorf("the exit code is %d, want %d", code, c.code)
			}
			wantEach(t, true, true)
		})
	}
}

func TestOfTwoServersTheLastRestoresHoweverTheFirstEnds(t *testing.T) {
	takeoverLab(t, true)
	needIPv6(t)
	a, b := startGuarded(t), startGuarded(t)
	unix.Kill(a.worker, unix.SIGKILL)
	a.ended()
	wantEach(t, false, false)
	c := startGuarded(t)
	unix.Kill(b.Process.Pid, unix.SIGTERM)
	b.ended()
	wantEach(t, false, false)
	c.stdin.Close()
	c.ended()
	wantEach(t, true, true)
}

func TestWhenBothAreKilledTheNextRestores(t *testing.T) {
	takeoverLab(t, true)
	needIPv6(t)
	g := startGuarded(t)
	unix.Kill(g.Process.Pid, unix.SIGKILL)
	g.ended() // the kernel has killed the worker too
	wantEach(t, false, false)
	wantText(t, "Leftover", responder.Leftover(both...), killed(g.Process.Pid, 0))
	taken, err := responder.TakeOver(both...)
	if err != nil {
		t.Fatal(err)
	}
	restore(t, taken)
	wantEach(t, true, true)
}
