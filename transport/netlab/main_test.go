package netlab_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/transport/netlab"
)

func TestMain(m *testing.M) {
	if program := programs[os.Getenv("NETLAB_TEST_PROGRAM")]; program != nil {
		os.Exit(program())
	}
	if err := onlyInherited(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(netlab.Main(m))
}

// inherited is the one descriptor beside the standard streams that programs have of
// the tests.
const inherited = 99

// onlyInherited keeps those to itself that the tests were started with: os/exec does not
// know of them, and overwrites one if it needs its number for a while.
func onlyInherited() error {
	for fd := 3; fd < inherited; fd++ {
		unix.CloseOnExec(fd) // if there is such a one
	}
	return os.NewSyscallError("dup3", unix.Dup3(0, inherited, 0))
}

// where tells where it is.
func where() int {
	_, variable := os.LookupEnv("IOMUX_NETLAB")
	fmt.Printf("%s inside=%t variable=%t\n", netns(), netlab.Inside(), variable)
	return 0
}

// runTests stands for the TestMain of some package.
func runTests() int { return netlab.Main(tests{}) }

// awaitSignals tells in a private namespace which signals it gets, until
// SIGTERM.
func awaitSignals() int {
	if !netlab.Inside() {
		return reexec()
	}
	got := make(chan os.Signal, 16)
	signal.Notify(got, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM)
	fmt.Println("ready")
	for sig := range got {
		fmt.Println(sig)
		if sig == unix.SIGTERM {
			break
		}
	}
	return 7
}

// programs are what the test binary can be instead of a test binary. They tell
// what they see on standard output, a line each.
var programs = map[string]func() int{
	"where":   where,
	"main":    runTests,
	"signals": awaitSignals,
	// Starts itself in a private namespace, echoes its input there and exits
	// with 42.
	"reexec": func() int {
		if netlab.Inside() {
			where()
			fmt.Println(os.Getuid(), os.Args[1:], inheritable())
			grandchild := selfAs(context.Background(), "where")
			grandchild.Stdout = os.Stdout
			grandchild.Run()
			io.Copy(os.Stdout, os.Stdin)
			return 42
		}
		where()
		code := reexec()
		where()
		fmt.Println("loopback up:", loopbackUp())
		return code
	},
	"signals after nohup": func() int {
		if !netlab.Inside() {
			signal.Ignore(unix.SIGHUP)
		} else {
			fmt.Println("hangup ignored:", signal.Ignored(unix.SIGHUP))
		}
		return awaitSignals()
	},
	// Starts "signals" in the background of its terminal and sends it what it
	// gets itself.
	"signals in the background": func() int {
		got := make(chan os.Signal, 16)
		signal.Notify(got, unix.SIGINT, unix.SIGTERM)
		cmd := selfAs(context.Background(), "signals")
		cmd.Stdout = os.Stdout
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		runtime.LockOSThread()
		if err := cmd.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
		for sig := range got {
			cmd.Process.Signal(sig)
			if sig == unix.SIGTERM {
				break
			}
		}
		cmd.Wait()
		return 0
	},
	// Ends itself in a private namespace by a signal.
	"killed": func() int {
		if !netlab.Inside() {
			return reexec()
		}
		unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	},
	// Does what Main does first in a fresh namespace.
	"loopback up": func() int {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			return 1
		}
		return 0
	},
	"main in a private namespace": func() int {
		return netlab.Main(tests{func() int {
			return netlab.Main(tests{func() int {
				where()
				return 9
			}})
		}})
	},
	"reexec twice": func() int {
		if !netlab.Inside() {
			return reexec()
		}
		return reexec()
	},
	// The same where the system refuses.
	"main without network namespaces": func() int {
		set("/proc/sys/user/max_net_namespaces", "0")
		return runTests()
	},
	"reexec without user namespaces": func() int {
		set("/proc/sys/user/max_user_namespaces", "0")
		cmd := selfAs(context.Background(), "reexec")
		cmd.Stdout = os.Stdout
		if err := netlab.WithoutCapabilities(cmd, unix.CAP_SYS_ADMIN); err != nil {
			fmt.Println(err)
		}
		cmd.Wait()
		return cmd.ProcessState.ExitCode()
	},
	"nohup without network namespaces": func() int {
		set("/proc/sys/user/max_net_namespaces", "0")
		signal.Ignore(unix.SIGHUP)
		code := reexec()
		fmt.Println(code, "hangup ignored:", signal.Ignored(unix.SIGHUP))
		unix.Kill(os.Getpid(), unix.SIGTERM)
		select {}
	},
	"main without power over its namespace": func() int {
		runtime.LockOSThread()
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_NET_ADMIN, 0, 0, 0); err != nil {
			fmt.Println(err)
		}
		return runTests()
	},
	// Starts "where" in a namespace in use, with the variable of a program that
	// Reexec started.
	"forged variable": func() int {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		cmd := selfAs(context.Background(), "where")
		cmd.Env = append(cmd.Env, "IOMUX_NETLAB=1")
		cmd.Stdout = os.Stdout
		if err == nil {
			err = cmd.Run()
		}
		if err != nil {
			fmt.Println(err)
		}
		return 0
	},
	// Tells its capabilities.
	"capabilities": func() int {
		status, _ := os.ReadFile("/proc/self/status")
		os.Stdout.Write(status)
		return 0
	},
	"without inheritable capability": func() int {
		cmd := selfAs(context.Background(), "capabilities")
		cmd.Stdout = os.Stdout
		if err := netlab.WithoutCapabilities(cmd, unix.CAP_NET_RAW); err != nil {
			fmt.Println(err)
		}
		cmd.Wait()
		return 0
	},
	"read-only settings": readOnlySettings,
}

// tests stands for a *testing.M.
type tests struct{ run func() int }

func (m tests) Run() int {
	if m.run != nil {
		return m.run()
	}
	where()
	netlab.Need(skipper{})
	_, err := netlab.Current()
	fmt.Println("current:", err)
	return 7
}

// skipper stands for a testing.TB.
type skipper struct{}

func (skipper) Helper()                          {}
func (skipper) Skipf(format string, args ...any) { fmt.Printf("skip: "+format+"\n", args...) }

func reexec() int {
	code, err := netlab.Reexec()
	if err != nil {
		fmt.Println("refused:", err)
		return 1
	}
	return code
}

func set(path, value string) {
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		fmt.Println(err)
	}
}

// netns identifies the network namespace of the calling goroutine.
func netns() string {
	id, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return err.Error()
	}
	return id
}

// inheritable returns the descriptors, beside the standard streams, that a
// program started from here would have.
func inheritable() (fds []int) {
	for fd := 3; fd <= inherited; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			fds = append(fds, fd)
		}
	}
	return fds
}

func loopbackUp() bool {
	lo, err := netlink.LinkByName("lo")
	return err == nil && lo.Attrs().RawFlags&unix.IFF_UP != 0
}

// watchdog is far more than any step takes.
const watchdog = time.Minute

func selfAs(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), "NETLAB_TEST_PROGRAM="+program)
	return cmd
}

// outside returns a command that runs one of the programs in a network
// namespace which is none of netlab's.
func outside(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	netlab.Need(t)
	return private(t, program, args...)
}

// private is outside for those who may be anywhere themselves.
func private(t *testing.T, program string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), watchdog)
	t.Cleanup(cancel)
	cmd := selfAs(ctx, program, args...)
	// A session of its own, without a terminal that the tests may have. No death
	// signal: it would come when the thread ends that this goroutine happens to
	// start the program on, which may be one that a test gives up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Setsid: true}
	return cmd
}

// inUserNamespace gives the command a user namespace as well, so that it may
// change what the namespaces(7) under it are allowed.
func inUserNamespace(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	return cmd
}

// run returns the lines that the command prints, and its exit code.
func run(t *testing.T, cmd *exec.Cmd) (lines []string, code int) {
	t.Helper()
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), cmd.ProcessState.ExitCode()
}

// start starts the command and returns a reader of its output that fails at the
// watchdog, and ends with the last process that has it open.
func start(t *testing.T, cmd *exec.Cmd) *bufio.Reader {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	r.SetReadDeadline(time.Now().Add(watchdog))
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return bufio.NewReader(r)
}

func expectLine(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	got, err := r.ReadString('\n')
	if got != want+"\n" {
		t.Fatalf("got line %q, %v; want %q", got, err, want)
	}
}
