package netlab_test

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/transport/netlab"
)

func newNamespace(t *testing.T) *netlab.Namespace {
	t.Helper()
	netlab.Need(t)
	n, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func TestCurrentIsWhereTheCallerRuns(t *testing.T) {
	n := newNamespace(t)
	current, err := netlab.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer current.Close()
	current.Do(func() error {
		if netns() == whereIs(t, n) {
			t.Error("Current is the namespace that New made")
		}
		return nil
	})
	n.Do(func() error {
		same, err := netlab.Current()
		if err != nil {
			t.Error(err)
			return nil
		}
		defer same.Close()
		if whereIs(t, same) != netns() {
			t.Error("in Do, Current is another namespace")
		}
		return nil
	})
}

func whereIs(t *testing.T, n *netlab.Namespace) (where string) {
	t.Helper()
	if err := n.Do(func() error { where = netns(); return nil }); err != nil {
		t.Error(err)
	}
	return where
}

func TestNewNamespaceIsAnotherOneWithLoopbackUp(t *testing.T) {
	n := newNamespace(t)
	other := newNamespace(t)
	if whereIs(t, n) == netns() || whereIs(t, n) == whereIs(t, other) {
		t.Errorf("here is %s, New made %s and %s", netns(), whereIs(t, n), whereIs(t, other))
	}
	err := n.Do(func() error {
		if !loopbackUp() {
			t.Error("loopback is down")
		}
		if !netlab.Inside() {
			t.Error("Inside is false")
		}
		for _, conf := range []string{"all", "default"} {
			dad, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + conf + "/accept_dad")
			if err == nil && string(dad) != "0\n" {
				t.Errorf("duplicate address detection of %s interfaces is %q, want off", conf, dad)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDoLeavesTheCallerWhereItWas(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	n, inner := newNamespace(t), newNamespace(t)
	before := netns()
	err := n.Do(func() error {
		outer := netns()
		if err := inner.Do(func() error { return nil }); err != nil {
			t.Error(err)
		}
		if netns() != outer {
			t.Error("a nested Do moved its caller")
		}
		return errTest
	})
	if err != errTest {
		t.Errorf("Do returned %v, want the error of the function", err)
	}
	if netns() != before {
		t.Error("Do moved its caller")
	}
	threadsAreHome(t)
}

// threadsAreHome checks every thread that goroutines may run on.
func threadsAreHome(t *testing.T) {
	t.Helper()
	home := netns()
	const many = 50
	ids := make(chan string)
	release := make(chan struct{})
	for range many {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ids <- netns()
			<-release
		}()
	}
	for range many {
		if id := <-ids; id != home {
			t.Errorf("a goroutine runs in %s, home is %s", id, home)
		}
	}
	close(release)
}

func TestDoEndsAThreadThatCannotReturn(t *testing.T) {
	n := newNamespace(t)
	for {
		var tid int
		err := n.Do(func() error {
			tid = unix.Gettid()
			head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var data [2]unix.CapUserData
			if tid == os.Getpid() {
				return nil // the main thread never ends: leave it be
			}
			return unix.Capset(&head, &data[0]) // no capabilities, no way back
		})
		if err != nil {
			t.Fatal(err)
		}
		if tid == os.Getpid() {
			continue
		}
		waitForEndOfThread(t, tid)
		threadsAreHome(t)
		return
	}
}

func waitForEndOfThread(t *testing.T, tid int) {
	t.Helper()
	for deadline := time.Now().Add(watchdog / 4); time.Now().Before(deadline); runtime.Gosched() {
		if _, err := os.Stat("/proc/self/task/" + strconv.Itoa(tid)); errors.Is(err, os.ErrNotExist) {
			return
		}
	}
	t.Errorf("thread %d goes on", tid)
}

func TestDoPassesGoexitOn(t *testing.T) {
	n := newNamespace(t)
	ended := make(chan bool)
	go func() {
		returned := false
		defer func() { ended <- returned }()
		n.Do(func() error { runtime.Goexit(); return nil })
		returned = true
	}()
	if <-ended {
		t.Error("the caller went on")
	}
	threadsAreHome(t)
}

func TestProgramsStartedInDoRunInTheNamespace(t *testing.T) {
	n := newNamespace(t)
	cmd := selfAs(t.Context(), "where")
	var out []byte
	err := n.Do(func() (err error) { out, err = cmd.Output(); return err })
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(out), whereIs(t, n)+" inside=true variable=false\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestClosedNamespaceCannotBeUsed(t *testing.T) {
	n := newNamespace(t)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Do":             n.Do(func() error { t.Error("Do ran the function"); return nil }),
		"Close":          n.Close(),
		"SetEchoReplies": n.SetEchoReplies(true),
		"Veth":           netlab.Veth(netlab.End{Name: "a"}, netlab.End{In: n, Name: "b"}),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v, want os.ErrClosed", name, err)
		}
	}
}

func ExampleNamespace_Do() {
	n, err := netlab.New()
	if err != nil {
		return
	}
	defer n.Close()
	var out strings.Builder
	cmd := exec.Command("ip", "address")
	cmd.Stdout = &out
	err = n.Do(cmd.Run)
}
