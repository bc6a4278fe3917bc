package responder_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/apps/echo/responder"
	"iomux/transport/netlab"
)

// takeoverLab is a private namespace in which the kernel answers or does not,
// and in which a test must leave no record of a takeover.
func takeoverLab(t *testing.T, replies bool) *netlab.Namespace {
	t.Helper()
	netlab.Need(t)
	t.Setenv("TMPDIR", t.TempDir())
	current, err := netlab.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, dir := range []string{"/run", os.TempDir()} {
			left, err := os.ReadDir(dir)
			if err != nil || len(left) > 0 {
				t.Errorf("in %s there is left %v, %v", dir, left, err)
			}
			for _, entry := range left {
				os.RemoveAll(filepath.Join(dir, entry.Name()))
			}
		}
		if err := current.SetEchoReplies(true); err != nil {
			t.Error(err)
		}
		current.Close()
	})
	if err := current.SetEchoReplies(replies); err != nil {
		t.Fatal(err)
	}
	return current
}

// Where records are kept: in the second folder where the first is not safe.
const folder = "/run/iomux"

func temporary() string { return filepath.Join(os.TempDir(), fmt.Sprint("iomux-", os.Geteuid())) }

// records are the files that are there.
func records(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, dir := range []string{folder, temporary()} {
		paths, err := filepath.Glob(dir + "/*")
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, paths...)
	}
	return found
}

func takeOver(t *testing.T) *responder.Takeover {
	t.Helper()
	taken, err := responder.TakeOver()
	if err != nil {
		t.Fatal(err)
	}
	return taken
}

func restore(t *testing.T, taken *responder.Takeover) {
	t.Helper()
	if err := taken.Restore(); err != nil {
		t.Error(err)
	}
}

func wantReplies(t *testing.T, want bool) {
	t.Helper()
	got, err := responder.KernelReplies()
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("the kernel answers: %v, want %v", got, want)
	}
}

// wantText checks a Note or a Leftover: it contains the text, or is empty if
// that is.
func wantText(t *testing.T, what, got, want string) {
	t.Helper()
	if want == "" && got != "" || !strings.Contains(got, want) {
		t.Errorf("%s is %q, want %q", what, got, want)
	}
}

func killed(pid, found int) string {
	return fmt.Sprintf("net.ipv4.icmp_echo_ignore_all is 1 because a server was killed before it could restore it (process %d was the first to take over); it was %d", pid, found)
}

func inForce(pid, found int) string {
	return fmt.Sprintf("net.ipv4.icmp_echo_ignore_all is 1 because another server has taken over (process %d was the first); what both are asked is answered twice, and the last one to end restores %d", pid, found)
}

func TestRestoreBringsBackWhatWasFound(t *testing.T) {
	for _, replies := range []bool{true, false} {
		t.Run(fmt.Sprintf("replies %v", replies), func(t *testing.T) {
			takeoverLab(t, replies)
			wantReplies(t, replies)
			taken := takeOver(t)
			wantReplies(t, false)
			wantText(t, "Note", taken.Note(), "")
			restore(t, taken)
			wantReplies(t, replies)
			wantText(t, "Leftover", responder.Leftover(), "")
		})
	}
}

func TestTheRecordIsForThisUserAloneAndGoes(t *testing.T) {
	takeoverLab(t, true)
	taken := takeOver(t)
	paths := records(t)
	if len(paths) != 1 {
		t.Fatalf("the records are %q, want one", paths)
	}
	for path, want := range map[string]fs.FileMode{folder: fs.ModeDir | 0o700, paths[0]: 0o600} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want mode %v", path, info, err, want)
		}
	}
	restore(t, taken)
	if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", folder, err)
	}
}

func TestTheFolderStaysIfThereIsMoreInIt(t *testing.T) {
	takeoverLab(t, true)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(folder, "other")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	restore(t, takeOver(t))
	if paths := records(t); len(paths) != 1 || paths[0] != other {
		t.Errorf("left are %q, want %s", paths, other)
	}
	os.RemoveAll(folder)
}

func TestTheLastOfTwoInOneProcessRestores(t *testing.T) {
	for _, replies := range []bool{true, false} {
		for _, firstLast := range []bool{true, false} {
			t.Run(fmt.Sprintf("replies %v, first last %v", replies, firstLast), func(t *testing.T) {
				takeoverLab(t, replies)
				found := 1
				if replies {
					found = 0
				}
				a, b := takeOver(t), takeOver(t)
				wantText(t, "Note", a.Note(), "")
				wantText(t, "Note", b.Note(), inForce(os.Getpid(), found))
				wantText(t, "Leftover", responder.Leftover(), inForce(os.Getpid(), found))
				if firstLast {
					a, b = b, a
				}
				restore(t, a)
				wantReplies(t, false)
				if len(records(t)) != 1 {
					t.Error("the record is gone while a takeover is in force")
				}
				wantText(t, "Leftover", responder.Leftover(), inForce(os.Getpid(), found))
				restore(t, b)
				wantReplies(t, replies)
			})
		}
	}
}

func TestRestoreTwiceIsRestoreOnce(t *testing.T) {
	takeoverLab(t, true)
	a := takeOver(t)
	restore(t, a)
	b := takeOver(t)
	restore(t, a)
	wantReplies(t, false)
	restore(t, b)
	wantReplies(t, true)
}

func TestARecordThatSomebodyRemovedIsNotNeededToRestore(t *testing.T) {
	takeoverLab(t, true)
	first, second := takeOver(t), takeOver(t)
	for _, path := range records(t) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	restore(t, first)
	restore(t, second)
	wantReplies(t, true)
	if left := records(t); left != nil {
		t.Errorf("%q are left", left)
	}
}

func TestRestoreFromManyGoroutines(t *testing.T) {
	takeoverLab(t, true)
	taken := takeOver(t)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			restore(t, taken)
			wantReplies(t, true) // it has returned only when that is so
		})
	}
	all.Wait()
}

// Whoever has taken over finds the replies off, until all have restored; then
// they are on, whatever the order in which that happens.
func TestManyAtOnce(t *testing.T) {
	takeoverLab(t, true)
	for range 100 {
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				for range 5 {
					taken, err := responder.TakeOver()
					if err != nil {
						t.Error(err)
						return
					}
					wantReplies(t, false)
					restore(t, taken)
				}
			})
		}
		all.Go(func() {
			for range 30 {
				responder.Leftover() // a look disturbs nobody
			}
		})
		all.Wait()
		wantReplies(t, true)
		if left := records(t); left != nil {
			t.Fatalf("%q are left", left)
		}
	}
}

func TestTheLastOfTwoThatEndAtTheSameTimeRestores(t *testing.T) {
	takeoverLab(t, true)
	for range 2000 {
		both := []*responder.Takeover{takeOver(t), takeOver(t)}
		end := make(chan struct{})
		var all sync.WaitGroup
		for _, taken := range both {
			all.Go(func() {
				<-end
				restore(t, taken)
			})
		}
		close(end)
		all.Wait()
		if wantReplies(t, true); t.Failed() {
			return
		}
	}
}

func TestRestoreConcernsTheNamespaceOfTheTakeover(t *testing.T) {
	takeoverLab(t, false) // here it is off, and stays so
	inner, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	var taken *responder.Takeover
	do := func(fn func()) {
		t.Helper()
		if err := inner.Do(func() error { fn(); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	do(func() {
		taken = takeOver(t)
		wantReplies(t, false)
	})
	restore(t, taken)
	wantReplies(t, false)
	do(func() {
		wantReplies(t, true)
	})
}

func TestSwitchedOnByHandStaysOn(t *testing.T) {
	for _, found := range []bool{true, false} {
		current := takeoverLab(t, found)
		taken := takeOver(t)
		if err := current.SetEchoReplies(true); err != nil {
			t.Fatal(err)
		}
		wantText(t, "Leftover", responder.Leftover(), "")
		restore(t, taken)
		wantReplies(t, true)
	}
}

// process is a server of which only the takeover is left.
type process struct {
	*exec.Cmd
	t     *testing.T
	stdin io.WriteCloser
	lines *bufio.Scanner
}

// takeoverProcess takes over, prints the note or the error, and restores when
// it is told to.
func takeoverProcess() int {
	taken, err := responder.TakeOver()
	if err != nil {
		fmt.Println("error:", errors.Is(err, fs.ErrPermission), err)
		return 1
	}
	fmt.Println("note:", taken.Note())
	bufio.NewReader(os.Stdin).ReadString('\n')
	if err := taken.Restore(); err != nil {
		fmt.Println("error:", err)
		return 1
	}
	return 0
}

func startProcess(t *testing.T, attr *syscall.SysProcAttr) (p *process, line string) {
	t.Helper()
	return startRole(t, "takeover", attr)
}

func startRole(t *testing.T, role string, attr *syscall.SysProcAttr) (p *process, line string) {
	t.Helper()
	p = &process{Cmd: exec.Command("/proc/self/exe"), t: t}
	p.Env = append(os.Environ(), roleVariable+"="+role)
	p.Stderr = os.Stderr
	p.SysProcAttr = attr
	var err error
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(stdout)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			p.kill()
		}
	})
	p.lines.Scan()
	return p, p.lines.Text()
}

func (p *process) kill() {
	p.Process.Kill()
	p.Wait()
}

func (p *process) restore() {
	p.t.Helper()
	io.WriteString(p.stdin, "\n")
	for p.lines.Scan() {
		p.t.Error(p.lines.Text())
	}
	if err := p.Wait(); err != nil {
		p.t.Error(err)
	}
}

func TestTheLastOfTwoProcessesRestores(t *testing.T) {
	takeoverLab(t, true)
	a, note := startProcess(t, nil)
	wantText(t, "Note", note, "note: ")
	b, note := startProcess(t, nil)
	wantText(t, "Note", note, inForce(a.Process.Pid, 0))
	a.restore()
	wantReplies(t, false)
	b.restore()
	wantReplies(t, true)
}

func TestAfterSIGKILLTheNextRestores(t *testing.T) {
	takeoverLab(t, true)
	a, _ := startProcess(t, nil)
	a.kill()
	wantReplies(t, false)
	wantText(t, "Leftover", responder.Leftover(), killed(a.Process.Pid, 0))
	wantText(t, "Leftover again", responder.Leftover(), killed(a.Process.Pid, 0))

	b, note := startProcess(t, nil)
	wantText(t, "Note", note, killed(a.Process.Pid, 0))
	b.kill() // which loses nothing either
	wantText(t, "Leftover", responder.Leftover(), killed(a.Process.Pid, 0))

	taken := takeOver(t)
	wantText(t, "Note", taken.Note(), killed(a.Process.Pid, 0))
	restore(t, taken)
	wantReplies(t, true)
	wantText(t, "Leftover", responder.Leftover(), "")
}

func TestAfterSIGKILLOfOneOfTwoTheOtherRestores(t *testing.T) {
	takeoverLab(t, true)
	a, _ := startProcess(t, nil)
	b, _ := startProcess(t, nil)
	a.kill()
	wantReplies(t, false)
	wantText(t, "Leftover", responder.Leftover(), inForce(a.Process.Pid, 0))
	b.restore()
	wantReplies(t, true)
}

func TestAfterSIGKILLWhatWasOffStaysOff(t *testing.T) {
	takeoverLab(t, false)
	a, _ := startProcess(t, nil)
	a.kill()
	taken := takeOver(t)
	wantText(t, "Note", taken.Note(), killed(a.Process.Pid, 1))
	restore(t, taken)
	wantReplies(t, false)
}

func TestAfterSIGKILLSomeoneHasSwitchedItOn(t *testing.T) {
	current := takeoverLab(t, false)
	a, _ := startProcess(t, nil)
	a.kill()
	if err := current.SetEchoReplies(true); err != nil {
		t.Fatal(err)
	}
	wantText(t, "Leftover", responder.Leftover(), "")
	taken := takeOver(t) // what it finds now counts, and not what it was once
	wantText(t, "Note", taken.Note(), "")
	b := takeOver(t)
	wantText(t, "Note", b.Note(), inForce(os.Getpid(), 0))
	restore(t, b)
	restore(t, taken)
	wantReplies(t, true)
}

func TestARecordThatIsNoneOfThisBootIsNotBelieved(t *testing.T) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	good := "pid 4711 found 0 boot " + string(boot)
	for _, c := range []struct {
		name, content string
		believed      bool
	}{
		{"as a killed server leaves it", good, true},
		{"empty", "", false},
		{"garbage", "\x00\xff\x00 pid", false},
		{"much garbage", strings.Repeat("pid found boot ", 1000), false},
		{"cut off", good[:20], false},
		{"a value that the setting cannot have", strings.Replace(good, "found 0", "found 7", 1), false},
		{"of another boot", "pid 4711 found 0 boot 00000000-0000-0000-0000-000000000000\n", false},
	} {
		for _, replies := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, replies %v", c.name, replies), func(t *testing.T) {
				takeoverLab(t, replies)
				path := recordPath(t)
				if err := os.Mkdir(folder, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
					t.Fatal(err)
				}
				// It tells of a takeover only if the setting is as that left it.
				believed := c.believed && !replies
				want := ""
				if believed {
					want = killed(4711, 0)
				}
				wantText(t, "Leftover", responder.Leftover(), want)
				taken := takeOver(t)
				wantText(t, "Note", taken.Note(), want)
				wantReplies(t, false)
				second := takeOver(t) // which reads what the first has written
				if !believed {
					found := 1
					if replies {
						found = 0
					}
					wantText(t, "Note", second.Note(), inForce(os.Getpid(), found))
				}
				restore(t, taken)
				restore(t, second)
				wantReplies(t, replies || believed)
			})
		}
	}
}

// recordPath is where a takeover keeps its record.
func recordPath(t *testing.T) string {
	t.Helper()
	taken := takeOver(t)
	defer restore(t, taken)
	paths := records(t)
	if len(paths) != 1 {
		t.Fatalf("the records are %q, want one", paths)
	}
	return paths[0]
}

func TestWithoutTheCapabilityNothingChanges(t *testing.T) {
	takeoverLab(t, true)
	// User 0 owns the setting and needs no capability, so this takes another.
	const nobody = 65534
	if err := os.Chown(t.TempDir(), nobody, nobody); err != nil {
		t.Skip("this user namespace has no second user:", err)
	}
	p, line := startProcess(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}})
	p.kill()
	wantText(t, "the output", line, "error: true ")
	wantText(t, "the output", line, "needs CAP_NET_ADMIN")
	wantText(t, "the output", line, "setcap cap_net_admin")
	wantReplies(t, true)
}

func TestWhereTheSettingsAreReadOnlyNothingChanges(t *testing.T) {
	takeoverLab(t, true)
	// As containers have it.
	if err := unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount("/proc/sys", unix.MNT_DETACH)
	const flags = unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("", "/proc/sys", "", flags, ""); err != nil {
		t.Fatal(err)
	}
	taken, err := responder.TakeOver()
	if err == nil {
		restore(t, taken)
		t.Fatal("TakeOver has succeeded")
	}
	if !errors.Is(err, unix.EROFS) {
		t.Errorf("%v, want %v", err, unix.EROFS)
	}
	wantText(t, "the error", err.Error(), "a writable /proc/sys")
	wantReplies(t, true)
}

func TestWhereTheRecordCannotBeWrittenNothingChanges(t *testing.T) {
	takeoverLab(t, true)
	defer os.Remove(folder)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "mode=700,size=4k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(folder, unix.MNT_DETACH)
	filler := filepath.Join(folder, "filler")
	if err := os.WriteFile(filler, make([]byte, os.Getpagesize()), 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := responder.TakeOver()
	if err == nil {
		restore(t, taken)
		t.Fatal("TakeOver has succeeded")
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%v, want %v", err, unix.ENOSPC)
	}
	wantReplies(t, true)
	if left := records(t); len(left) != 1 || left[0] != filler {
		t.Errorf("%q are left, want %s", left, filler)
	}
}

func TestNoDescriptorIsLeaked(t *testing.T) {
	takeoverLab(t, true)
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := open()
	for range 10 {
		a, b := takeOver(t), takeOver(t)
		responder.Leftover()
		restore(t, a)
		restore(t, b)
	}
	for _, path := range []string{folder, temporary()} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
	}
	for range 10 {
		if taken, err := responder.TakeOver(); err == nil {
			restore(t, taken)
			t.Fatal("TakeOver has succeeded without a folder")
		}
	}
	if after := open(); after > before {
		t.Errorf("%d descriptors are open, and were %d", after, before)
	}
}

func TestLookingChangesNothing(t *testing.T) {
	takeoverLab(t, false)
	wantReplies(t, false)
	wantText(t, "Leftover", responder.Leftover(), "")
}

func TestAFolderThatOthersMayWriteIsNotUsed(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(folder string) error
	}{
		{"of somebody else", func(folder string) error {
			if err := os.Mkdir(folder, 0o700); err != nil {
				return err
			}
			return os.Chown(folder, 4711, 4711)
		}},
		{"that all may write", func(folder string) error {
			if err := os.Mkdir(folder, 0o700); err != nil {
				return err
			}
			return os.Chmod(folder, 0o777)
		}},
		{"that is a symbolic link", func(folder string) error {
			if err := os.Mkdir(folder+"-elsewhere", 0o700); err != nil {
				return err
			}
			return os.Symlink(folder+"-elsewhere", folder)
		}},
		{"that is a file", func(folder string) error { return os.WriteFile(folder, nil, 0o600) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			takeoverLab(t, true)
			defer func() {
				for _, path := range []string{folder, temporary()} {
					os.Remove(path)
					os.Remove(path + "-elsewhere")
				}
			}()
			if err := c.make(folder); errors.Is(err, syscall.EINVAL) {
				t.Skip("this user namespace has no second user:", err)
			} else if err != nil {
				t.Fatal(err)
			}
			// The temporary folder takes its place.
			taken := takeOver(t)
			if got := records(t); len(got) != 1 || filepath.Dir(got[0]) != temporary() {
				t.Errorf("the records are %q, want one in %s", got, temporary())
			}
			wantText(t, "Leftover", responder.Leftover(), inForce(os.Getpid(), 0))
			restore(t, taken)
			wantReplies(t, true)

			// Without that one either, there is no takeover.
			if err := c.make(temporary()); err != nil {
				t.Fatal(err)
			}
			taken, err := responder.TakeOver()
			if err == nil {
				restore(t, taken)
				t.Fatal("there is no folder that is safe, and yet a takeover")
			}
			for _, part := range []string{folder, temporary(), "net.ipv4.icmp_echo_ignore_all"} {
				wantText(t, "the error", err.Error(), part)
			}
			wantReplies(t, true)
		})
	}
}

func TestARecordThatIsASymbolicLinkIsNotFollowed(t *testing.T) {
	takeoverLab(t, true)
	path := recordPath(t)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	if err := os.Symlink(victim, path); err != nil {
		t.Fatal(err)
	}
	if taken, err := responder.TakeOver(); err == nil {
		t.Error("the link was followed")
		restore(t, taken)
	}
	wantReplies(t, true)
	if b, err := os.ReadFile(victim); string(b) != "precious" {
		t.Errorf("the file is now %q, %v", b, err)
	}
}
