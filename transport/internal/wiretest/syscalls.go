package wiretest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// traced has the name of the test that strace(1) looks at in the process that has
// it in its environment.
const traced = "WIRETEST_TRACED"

// counted are the system calls that concern descriptors. What the Go runtime does
// beside them, to memory, signals and threads, is not of interest.
const counted = `/^(read|write|pread|pwrite|recv|send|poll|ppoll|epoll_|select|pselect|_newselect|getsockopt|setsockopt|ioctl|fcntl|close)`

// SystemCalls returns the system calls on descriptors that f makes, in order, each
// with what it returns: "sendmmsg = 32", "readv = -1". It runs the test a second
// time, under strace(1), where it does not return; without strace it skips the
// test. f has to stay in its goroutine.
func SystemCalls(t *testing.T, f func()) []string {
	t.Helper()
	if os.Getenv(traced) == t.Name() {
		trace(f)
		t.SkipNow() // the process that traces has what it wants
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "strace")
	ctx, cancel := context.WithTimeout(t.Context(), Watchdog)
	defer cancel()
	pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(t.Name()), "/", "$/^") + "$"
	cmd := exec.CommandContext(ctx, strace, "-f", "-o", log, "-e", "trace="+counted, "--", self, "-test.run="+pattern)
	cmd.Env = append(os.Environ(), traced+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // whose end the death signal is about
	out, err := cmd.CombinedOutput()
	runtime.UnlockOSThread()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	calls, err := between(string(lines))
	if err != nil {
		t.Fatalf("%v:\n%s\n%s", err, out, lines)
	}
	return calls
}

// mark is written, to a descriptor that there is not, before and after.
const mark = "wiretest"

// trace has a thread make the calls that makes no others.
func trace(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	unix.Write(-1, []byte(mark))
	f()
	unix.Write(-1, []byte(mark))
}

// ended is the line of a call that has returned, maybe after those of others.
var ended = regexp.MustCompile(`^\d+ +(?:<\.\.\. )?(\w+)(?:\(.*| resumed.*)\) += (-?\d+)`)

// between returns the calls between the marks, by the thread that made these.
func between(lines string) (calls []string, err error) {
	thread, marks := "", 0
	for line := range strings.Lines(lines) {
		id, _, _ := strings.Cut(line, " ")
		switch c := ended.FindStringSubmatch(line); {
		case strings.Contains(line, `"`+mark+`"`):
			thread = id
			if marks++; marks == 2 {
				return calls, nil
			}
		case id == thread && c != nil && !strings.Contains(line, "EBADF"): // the end of a mark is one
			calls = append(calls, c[1]+" = "+c[2])
		}
	}
	return nil, errors.New("the marks are missing")
}
