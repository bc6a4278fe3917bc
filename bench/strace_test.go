package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// uncountable says why system calls cannot be counted, if they cannot: strace(1) is
// missing, or nobody may trace here (ptrace(2): a capability, a security module or a
// filter of system calls is in the way).
var uncountable = sync.OnceValue(func() error {
	if _, err := exec.LookPath("strace"); err != nil {
		return errors.New("strace: not installed; apt-get install strace")
	}
	ctx, cancel := context.WithTimeout(context.Background(), straceLimit)
	defer cancel()
	if out, err := straced(ctx, os.DevNull, "true").CombinedOutput(); err != nil {
		said, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("strace: not permitted to trace, system calls are not counted: %v: %s", err, said)
	}
	return nil
})

// straceLimit is for a few rounds under strace(1).
const straceLimit = 2 * time.Minute

// straced is a command under strace(1). It stops for no call that is not counted, nor
// for pipe2, of which there are ten thousand before a round (--seccomp-bpf, since strace
// 5.3), and need not write down which descriptors a wait is about.
func straced(ctx context.Context, log string, command ...string) *exec.Cmd {
	unwatched := slices.Concat(ofRuntime, []string{"pipe2"})
	args := []string{
		"-f", "-qq", "--seccomp-bpf", "-e", "trace=!?" + strings.Join(unwatched, ",?"),
		"-e", "raw=?pselect6,?pselect6_time64,?ppoll,?ppoll_time64,?poll,?select", "-o", log, "--",
	}
	return bounded(exec.CommandContext(ctx, "strace", append(args, command...)...))
}

// bounded is a command that takes with it what it has started, when its context ends.
func bounded(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	return cmd
}

// A round is between these marks in the trace.
const begin, end = "<", ">"

// ofRuntime are system calls that Go's runtime makes for itself, when and as often
// as it pleases, and looks at clocks, which are none on most machines.
var ofRuntime = []string{
	"futex", "nanosleep", "clock_nanosleep", "sched_yield", "sched_getaffinity", "madvise", "mmap", "mmap2", "munmap", "mprotect", "prctl",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigreturn", "sigaltstack", "tgkill", "getpid", "gettid", "clone", "clone3",
	"timer_create", "timer_settime", "timer_delete", "clock_gettime", "gettimeofday", "restart_syscall",
}

// begun matches a call where it begins; one that another thread interrupts has a
// second line, "123 <... read resumed>".
var begun = regexp.MustCompile(`(?m)^(\d+) +(\w+)\((1, "[<>]")?`)

// callsOf counts the system calls of a thread in each round of a trace, and returns
// the median: a packet that the kernel delivers late costs a round another wait.
func callsOf(trace string, thread int) (int, error) {
	var counts []int
	inside, calls := false, 0
	for _, f := range begun.FindAllStringSubmatch(trace, -1) {
		call := strings.TrimSuffix(strings.TrimSuffix(f[2], "_time64"), "64")
		mark := ""
		if call == "write" && f[3] != "" {
			mark = f[3][len(`1, "`) : len(f[3])-1]
		}
		switch {
		case f[1] != strconv.Itoa(thread):
		case mark == begin && !inside:
			inside, calls = true, 0
		case mark == end && inside:
			inside, counts = false, append(counts, calls)
		case mark != "":
			return 0, fmt.Errorf("the mark %q is out of place", mark)
		case inside && !slices.Contains(ofRuntime, call):
			calls++
		}
	}
	if len(counts) != marked {
		return 0, fmt.Errorf("the trace has %d rounds, want %d", len(counts), marked)
	}
	slices.Sort(counts)
	return counts[marked/2], nil
}

// Counted are the calls of the thread between the marks, each once, without those of
// Go's runtime.
func TestCallsOf(t *testing.T) {
	round := func(calls string) string { return "7 write(1, \"<\", 1) = 1\n" + calls + "7 write(1, \">\", 1) = 1\n" }
	one := round("7 read(3, \"x\", 1) = 1\n")
	trace := "7 read(3, \"x\", 1) = 1\n" + one +
		round("7 epoll_pwait(4, [], 128, -1, NULL, 0 <unfinished ...>\n9 write(5, \"x\", 1) = 1\n7 <... epoll_pwait resumed>) = 1\n"+
			"7 futex(0x1, FUTEX_WAKE_PRIVATE, 1) = 1\n7 futex_time64(0x1, FUTEX_WAKE_PRIVATE, 1) = 1\n7 write(1, \"x\", 1) = 1\n"+
			"7 --- SIGURG {si_signo=SIGURG} ---\n7 ppoll_time64([], 1, NULL, NULL, 0) = 0\n") +
		"7 read(3, \"x\", 1) = 1\n" + round("7 read(3, \"x\", 1) = 1\n7 read(3, \"x\", 1) = 1\n7 read(3, \"x\", 1) = 1\n7 read(3, \"x\", 1) = 1\n")
	if n, err := callsOf(trace, 7); n != 3 || err != nil {
		t.Errorf("callsOf = %d, %v; want 3, the median of 1, 3, 4", n, err)
	}
	for _, bad := range []string{one, trace + one, one + "7 write(1, \">\", 1) = 1\n"} {
		if n, err := callsOf(bad, 7); err == nil {
			t.Errorf("callsOf(%q) = %d, want an error", bad, n)
		}
	}
}

// refusedVariable makes a process give up ptrace(2) for itself and all that it starts.
const refusedVariable = "IOMUX_BENCH_REFUSED"

// refusePtrace does what a container does that permits no tracing, and starts the program
// anew (seccomp(2)).
func refusePtrace() error {
	os.Unsetenv(refusedVariable)
	runtime.LockOSThread()
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	unless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: skip, K: value}
	}
	give := func(what uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what} }
	var filter []unix.SockFilter
	// The number of ptrace on every machine that strace may be built for.
	for arch, ptrace := range map[uint32]uint32{unix.AUDIT_ARCH_X86_64: 101, unix.AUDIT_ARCH_I386: 26, unix.AUDIT_ARCH_AARCH64: 117} {
		const nr, machine = 0, 4 // offsets in struct seccomp_data
		filter = append(filter, load(machine), unless(arch, 3), load(nr), unless(ptrace, 1), give(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)))
	}
	filter = append(filter, give(unix.SECCOMP_RET_ALLOW))
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_NO_NEW_PRIVS: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("PR_SET_SECCOMP: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return unix.Exec(self, os.Args, os.Environ())
}

// Where system calls cannot be counted, benchmarks say why, and go without.
func TestCostsWithoutStrace(t *testing.T) {
	if err := uncountable(); err != nil {
		t.Skip(err)
	}
	for variable, want := range map[string]string{
		refusedVariable + "=1": "strace: not permitted to trace, system calls are not counted: ",
		"PATH=/nowhere":        "strace: not installed; apt-get install strace",
		"LC_ALL=C":             "syscalls/event",
	} {
		t.Run(variable, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), straceLimit)
			defer cancel()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := bounded(exec.CommandContext(ctx, self, "-test.run=^TestCosts$/^Wake$", "-test.bench=^BenchmarkWake$", "-test.benchtime=1x", "-test.v"))
			cmd.Env = append(os.Environ(), variable)
			b, err := cmd.CombinedOutput()
			out := string(b)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			counts := want == "syscalls/event"
			if !strings.Contains(out, want) || strings.Contains(out, "syscalls/event") != counts ||
				strings.Contains(out, "--- SKIP: TestCosts") == counts || strings.Contains(out, "allocs/event") == raceDetector {
				t.Errorf("want %q in\n%s", want, out)
			}
		})
	}
}
