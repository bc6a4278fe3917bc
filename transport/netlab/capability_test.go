package netlab_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/transport/netlab"
)

// capabilitySets reads the Cap lines of /proc/pid/status (proc_pid_status(5)).
func capabilitySets(t *testing.T, status string) map[string]uint64 {
	t.Helper()
	sets := map[string]uint64{}
	for line := range strings.Lines(status) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(name, "Cap") {
			set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			sets[name] = set
		}
	}
	if len(sets) == 0 {
		t.Fatalf("no capabilities in %q", status)
	}
	return sets
}

func TestWithoutCapabilitiesTheCommandLacksThemOnly(t *testing.T) {
	netlab.Need(t)
	all, err := selfAs(t.Context(), "capabilities").Output()
	if err != nil {
		t.Fatal(err)
	}
	had := capabilitySets(t, string(all))

	cmd := selfAs(t.Context(), "capabilities")
	var out strings.Builder
	cmd.Stdout = &out
	if err := netlab.WithoutCapabilities(cmd, unix.CAP_NET_RAW, unix.CAP_BPF); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	has := capabilitySets(t, out.String())
	const gone = 1<<unix.CAP_NET_RAW | 1<<unix.CAP_BPF
	for _, set := range []string{"CapEff", "CapPrm", "CapBnd"} {
		if had[set]&gone != gone {
			t.Fatalf("%s is %x: the test needs these capabilities", set, had[set])
		}
		if has[set] != had[set]&^gone {
			t.Errorf("%s is %x, want %x", set, has[set], had[set]&^gone)
		}
	}

	again, err := selfAs(t.Context(), "capabilities").Output()
	if err != nil {
		t.Fatal(err)
	}
	if now := capabilitySets(t, string(again)); fmt.Sprint(now) != fmt.Sprint(had) {
		t.Errorf("this program's next command has %x, want %x", now, had)
	}
}

func TestWithoutCapabilitiesTakesInheritableOnesToo(t *testing.T) {
	netlab.Need(t)
	cmd := selfAs(t.Context(), "without inheritable capability")
	cmd.SysProcAttr = &syscall.SysProcAttr{AmbientCaps: []uintptr{unix.CAP_NET_RAW, unix.CAP_NET_ADMIN}}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for set, caps := range capabilitySets(t, string(out)) {
		if caps&(1<<unix.CAP_NET_RAW) != 0 {
			t.Errorf("%s is %x, has CAP_NET_RAW", set, caps)
		}
		if caps&(1<<unix.CAP_NET_ADMIN) == 0 {
			t.Errorf("%s is %x, lacks CAP_NET_ADMIN", set, caps)
		}
	}
}

// The main thread outlives every goroutine, and is what /proc/self shows.
func TestWithoutCapabilitiesLeavesTheMainThreadAlone(t *testing.T) {
	netlab.Need(t)
	before := boundingSets(t)
	for range 20 {
		onMainThread(func() {
			// Once this goroutine waits, its thread is free for the next one.
			netlab.WithoutCapabilities(exec.Command("no-such-command"), unix.CAP_WAKE_ALARM)
		})
	}
	// Threads that gave up a capability are gone soon.
	var now map[uint64]bool
	for deadline := time.Now().Add(watchdog / 4); time.Now().Before(deadline); runtime.Gosched() {
		if now = boundingSets(t); maps.Equal(now, before) {
			return
		}
	}
	t.Errorf("bounding sets of the threads: %v, want %v", now, before)
}

// boundingSets returns the bounding sets that threads of this process have.
func boundingSets(t *testing.T) map[uint64]bool {
	t.Helper()
	threads, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		t.Fatal(err)
	}
	sets := map[uint64]bool{}
	for _, thread := range threads {
		if status, err := os.ReadFile(thread); err == nil { // else it has ended
			sets[capabilitySets(t, string(status))["CapBnd"]] = true
		}
	}
	return sets
}

// onMainThread runs fn in a goroutine that is on the main thread at first: it
// occupies threads until it gets that one.
func onMainThread(fn func()) {
	for {
		const many = 50
		occupied := make(chan bool)
		release, done := make(chan struct{}), make(chan struct{})
		for range many {
			go func() {
				runtime.LockOSThread()
				main := unix.Gettid() == os.Getpid()
				occupied <- main
				<-release
				runtime.UnlockOSThread()
				if main {
					fn()
					close(done)
				}
			}()
		}
		found := false
		for range many {
			found = <-occupied || found
		}
		close(release)
		if found {
			<-done
			return
		}
	}
}

func TestWithoutCapabilitiesStaysInTheCallersNamespace(t *testing.T) {
	n := newNamespace(t)
	cmd := selfAs(t.Context(), "where")
	var out strings.Builder
	cmd.Stdout = &out
	err := n.Do(func() error { return netlab.WithoutCapabilities(cmd, unix.CAP_SYS_ADMIN) })
	if err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if got, want := out.String(), whereIs(t, n)+" inside=true variable=false\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWithoutCapabilitiesAllowsAParentDeathSignal(t *testing.T) {
	netlab.Need(t)
	cmd := exec.CommandContext(t.Context(), "cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := netlab.WithoutCapabilities(cmd); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for range 1000 {
		if _, err := in.Write([]byte("still there\n")); err != nil {
			t.Fatal(err)
		}
		expectLine(t, lines, "still there")
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestWithoutCapabilitiesReportsWhatFailed(t *testing.T) {
	netlab.Need(t)
	err := netlab.WithoutCapabilities(selfAs(t.Context(), "where"), 63)
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "capability 63") {
		t.Errorf("unknown capability: %v, want EINVAL", err)
	}
	err = netlab.WithoutCapabilities(exec.Command("/nonexistent"), unix.CAP_NET_RAW)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("command that does not exist: %v, want fs.ErrNotExist", err)
	}
}

func ExampleWithoutCapabilities() {
	cmd := exec.Command("ping", "-c1", "127.0.0.1")
	if err := netlab.WithoutCapabilities(cmd, unix.CAP_NET_RAW); err != nil {
		return
	}
	cmd.Wait()
}
