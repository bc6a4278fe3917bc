package privilege_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/apps/echo/privilege"
)

func setOf(caps ...int) (s privilege.Set) {
	for _, c := range caps {
		s |= 1 << c
	}
	return s
}

// wantThreads demands that every thread has these capabilities and no way to more.
func wantThreads(t *testing.T, p place, r report, keep privilege.Set) {
	t.Helper()
	if len(r.Threads) < 9 {
		t.Fatalf("%d threads are reported, want the main one and 8 more", len(r.Threads))
	}
	for _, th := range r.Threads {
		ambient, bounding := keep, keep
		if p.caps != nil { // the kernel's rules for such a file
			ambient, bounding = 0, setOf(p.caps...)
		}
		if !p.lowers {
			bounding = r.Before.Bounding
		}
		for name, sets := range map[string][2]privilege.Set{
			"effective": {th.Effective, keep}, "permitted": {th.Permitted, keep}, "inheritable": {th.Inheritable, keep},
			"ambient": {th.Ambient, ambient}, "bounding": {th.Bounding, bounding},
		} {
			if sets[0] != sets[1] {
				t.Errorf("thread %d: the %s set is %v, want %v", th.ID, name, sets[0], sets[1])
			}
		}
		if !th.NoNewPrivs {
			t.Errorf("thread %d has no no_new_privs", th.ID)
		}
	}
	if p.lowers && !r.NoRoot {
		t.Error("user 0 is somebody special: the securebits NOROOT are not set")
	}
	if r.Verify != "" {
		t.Errorf("Verify: %s", r.Verify)
	}
}

func TestEveryThreadHasNone(t *testing.T) {
	everywhere(t, func(t *testing.T, p place, exec bool) {
		r := p.launch(t, plan{Exec: exec, Role: "report"})
		if r.Before.Permitted == 0 {
			t.Fatalf("the launcher has %+v: nothing to give up", r.Before)
		}
		wantThreads(t, p, r, 0)
		if !r.Handed || r.EnvLeft {
			t.Errorf("Inherited: %v, and the variable is left: %v", r.Handed, r.EnvLeft)
		}
		if samePID := r.PID == 0; samePID != exec {
			t.Errorf("the process has the launcher's number: %v", samePID)
		}
	})
}

func TestEveryThreadHasWhatIsKept(t *testing.T) {
	everywhere(t, func(t *testing.T, p place, exec bool) {
		wantThreads(t, p, p.launch(t, plan{Exec: exec, Role: "report", Keep: []int{unix.CAP_NET_ADMIN}}), setOf(unix.CAP_NET_ADMIN))
	})
}

// What the launcher does not have is not there to be kept.
func TestNothingIsKeptThatWasNotThere(t *testing.T) {
	for _, p := range places {
		if !slices.Contains(p.caps, unix.CAP_NET_RAW) || p.lowers {
			continue
		}
		p.need(t)
		r := p.launch(t, plan{Role: "report", Keep: []int{unix.CAP_SYS_ADMIN, unix.CAP_NET_RAW}})
		wantThreads(t, p, r, setOf(unix.CAP_NET_RAW))
	}
}

// What is to be kept and would be lost is an error rather than a surprise.
func TestAFileWithOtherCapabilitiesIsNotStarted(t *testing.T) {
	p := places[0]
	p.need(t)
	p.caps = []int{unix.CAP_NET_RAW}
	for _, exec := range []bool{true, false} {
		out, err := p.command(t, "launch", plan{Exec: exec, Role: "report", Keep: []int{unix.CAP_NET_ADMIN}}).CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("capability 12 would be lost")) {
			t.Errorf("exec %v: %s, %v", exec, out, err)
		}
	}
}

func TestAnotherUser(t *testing.T) {
	everywhere(t, func(t *testing.T, p place, exec bool) {
		keep := []int{unix.CAP_NET_ADMIN}
		r := p.launch(t, plan{Exec: exec, Role: "report", Keep: keep, User: "nobody"})
		wantThreads(t, p, r, setOf(keep...))
		want := [4]int{nobody, nobody, nobody, nobody}
		if p.attr().Cloneflags != 0 { // where there is no such user
			want = [4]int{}
			if !strings.Contains(r.Note, "does not exist in this user namespace: staying user 0 of it") {
				t.Errorf("the note is %q", r.Note)
			}
		} else if r.Note != "" {
			t.Errorf("the note is %q, want none", r.Note)
		}
		for _, th := range r.Threads {
			if th.UIDs != want || th.GIDs != want || p.becomes && len(th.Groups) > 0 {
				t.Errorf("thread %d: users %v, groups %v, %v; want %v and no other group", th.ID, th.UIDs, th.GIDs, th.Groups, want)
			}
		}
	})
}

func TestFilesComeUnderTheirNames(t *testing.T) {
	everywhere(t, func(t *testing.T, p place, exec bool) {
		files := map[string]string{"ip4:icmp": "raw socket", "tun0": "queue", "a/b-c_d.e": ""}
		r := p.launch(t, plan{Exec: exec, Role: "report", Files: files})
		if fmt.Sprint(r.Files) != fmt.Sprint(files) {
			t.Errorf("the files are %q, want %q", r.Files, files)
		}
	})
}

// The kernel forgets the signal for the parent's end where the program's file has
// capabilities, and kills the child all the same.
func TestTheChildDiesWithItsParent(t *testing.T) {
	for _, p := range places {
		t.Run(strings.ReplaceAll(p.name, " ", "_"), func(t *testing.T) {
			p.need(t)
			cmd := p.command(t, "launch", plan{Role: "idle", User: "nobody"})
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var child int
			fmt.Fscan(stdout, &child) // it is up, with the signal set
			if child == 0 || child == cmd.Process.Pid {
				t.Errorf("the child is process %d", child)
			}
			cmd.Process.Kill()
			if _, err := stdout.Read(make([]byte, 1)); err == nil { // ends when the child's end of the pipe is closed
				t.Error("the child writes on")
			}
			cmd.Wait()
		})
	}
}

func TestAProcessThatWasNotStartedSoDoesNotVerify(t *testing.T) {
	err := privilege.Verify()
	if err == nil {
		t.Skip("this process has no_new_privs and no capabilities")
	}
	if os.Geteuid() == 0 && !strings.Contains(err.Error(), "in its effective set: want none") {
		t.Errorf("%v, want it to name the set", err)
	}
	files, ok, err := privilege.Inherited()
	if files != nil || ok || err != nil {
		t.Errorf("Inherited() = %v, %v, %v, want nothing", files, ok, err)
	}
}

// A thread that has more than the others is found.
func TestVerifyLooksAtEveryThread(t *testing.T) {
	err := privilege.Verify(slices.Collect(func(yield func(int) bool) {
		for n := range 64 {
			if !yield(n) {
				return
			}
		}
	})...)
	if err != nil && !strings.Contains(err.Error(), "no_new_privs") {
		t.Errorf("%v, want it to be about no_new_privs alone", err)
	}
	threads, err := privilege.Threads()
	if err != nil || threads[0].ID != os.Getpid() || len(threads) < 2 && runtime.NumCPU() > 1 {
		t.Errorf("Threads() = %+v, %v, want the main thread first", threads, err)
	}
}

func TestConfigsThatCannotBeMeant(t *testing.T) {
	open, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for want, c := range map[string]*privilege.Config{
		"Config.Keep has 64":           {Keep: []int{64}},
		"Config.Keep has -1":           {Keep: []int{-1}},
		`Config.Files has the name ""`: {Files: map[string][]*os.File{"": {open}}},
		`the name "a b"`:               {Files: map[string][]*os.File{"a b": {open}}},
		`the name "a=b"`:               {Files: map[string][]*os.File{"a=b": {open}}},
		`Config.Files["a"][0] is nil`:  {Files: map[string][]*os.File{"a": {nil}}},
	} {
		if err := privilege.Start(exec.Command("/proc/self/exe"), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Start: %v, want %s", err, want)
		}
		if err := privilege.Exec(os.Args, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Exec: %v, want %s", err, want)
		}
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.SysProcAttr = &syscall.SysProcAttr{AmbientCaps: []uintptr{unix.CAP_NET_RAW}}
	if err := privilege.Start(cmd, &privilege.Config{}); err == nil {
		t.Error("Start has accepted AmbientCaps")
	}
}

// After an Exec or Start that failed, this process is as before.
func TestAfterAFailureNothingHasChanged(t *testing.T) {
	before, err := privilege.Threads()
	if err != nil {
		t.Fatal(err)
	}
	closed, err := unnamed("")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if err := privilege.Exec(os.Args, &privilege.Config{Files: map[string][]*os.File{"a": {closed}}}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Exec with a closed file: %v", err)
	}
	if err := privilege.Start(exec.Command("/nowhere"), &privilege.Config{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Start of nothing: %v", err)
	}
	after, err := privilege.Threads()
	if err != nil {
		t.Fatal(err)
	}
	if a, b := before[0], after[0]; a.Permitted != b.Permitted || a.NoNewPrivs != b.NoNewPrivs || a.Bounding != b.Bounding {
		t.Errorf("was %+v, is %+v", a, b)
	}
	// A program that is started now gets what it always would.
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"=report")
	out, err := cmd.Output()
	if err != nil || !bytes.Contains(out, []byte(`"NoNewPrivs":`+fmt.Sprint(before[0].NoNewPrivs))) {
		t.Errorf("%s, %v", out, err)
	}
}

func TestAHostileEnvironmentIsAnError(t *testing.T) {
	for _, text := range []string{
		"", " ", "x", "1", "-1 9", "1 x", "1 65", "0 0 ", "0 0 a", "0 0 =3", "0 0 a=", "0 0 a=2", "0 0 a=-1",
		"0 0 a=99999999999999999999", "0 0 a=2147483647", "0 0 a=3 b=3", "0 0 a=3",
		"0 0 \x01=3", strings.Repeat("0 ", 50000), "1 9 a=1",
	} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), roleVariable+"=report", "IOMUX_PRIVILEGE="+text)
		out, err := cmd.Output()
		if err != nil || !bytes.Contains(out, []byte("in the environment")) || bytes.Contains(out, []byte(`"EnvLeft":true`)) {
			t.Errorf("%.40q: %.200s, %v, want an error of Inherited and the variable gone", text, out, err)
		}
	}
}

func TestLookup(t *testing.T) {
	for _, name := range []string{"", "no such user", "-1", "4294967295", "99999999999", "0x10"} {
		if a, note, err := privilege.Lookup(name); err == nil {
			t.Errorf("Lookup(%q) = %v, %q, want an error", name, a, note)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	for name, want := range map[string]string{"nobody": "nobody (65534:65534)", "65534": "nobody (65534:65534)", "4711": "4711 (4711:4711)"} {
		if a, note, err := privilege.Lookup(name); err != nil || note != "" || !strings.HasSuffix(a.String(), want[strings.Index(want, "("):]) {
			t.Errorf("Lookup(%q) = %v, %q, %v, want %s", name, a, note, err, want)
		}
	}
}
