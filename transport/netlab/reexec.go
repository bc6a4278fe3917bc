package netlab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// variable tells a program that Reexec started it, and lists the signals that
	// it is to ignore. It is gone from the environment before main, so no program
	// started from there sees it.
	variable = "IOMUX_NETLAB"
	// reportFD is the descriptor on which that program reports what went wrong
	// with its namespace; closing it without a word reports success.
	reportFD = 3
)

// forwarded are the signals by which a user or a supervisor ends a program.
var forwarded = []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP}

// Reexec starts this program again, with the same arguments, environment and
// standard streams, in a private network namespace, waits for it and returns
// its exit code (128 and the signal's number if a signal ended it, as shells
// have it):
//
//	if !netlab.Inside() {
//		code, err := netlab.Reexec()
//		if err != nil {
//			return err
//		}
//		os.Exit(code)
//	}
//
// Meanwhile SIGINT, SIGTERM, SIGQUIT and SIGHUP are passed on. While this
// process group is in the foreground of its terminal, SIGINT and SIGQUIT are
// not, because the terminal sends them to both processes. If this process dies,
// the kernel kills the other.
//
// As root the program keeps its real capabilities. As another user it gets a
// user namespace too, in which that user is user 0 and no other exists.
//
// The error says why the system refused and which setting allows it; the
// program has not run its main then. Calling Reexec [Inside] is an error.
func Reexec() (exit int, err error) {
	if Inside() {
		return 0, errors.New("netlab: this is a private network namespace already: ask Inside before Reexec")
	}
	report, theirs, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("netlab: %w", err)
	}
	defer report.Close()
	// Signals that come before the other process is ready for them wait in the
	// channel. What becomes of those that are ignored (as nohup(1) has it) is its
	// decision: it begins by ignoring them as well.
	signals := make(chan os.Signal, 16)
	var ignored []string
	for _, sig := range forwarded {
		if signal.Ignored(sig) {
			ignored = append(ignored, strconv.Itoa(int(sig)))
			defer signal.Ignore(sig)
		}
		signal.Notify(signals, sig)
	}
	defer signal.Stop(signals)
	cmd := &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        os.Args,
		Env:         append(os.Environ(), variable+"="+strings.Join(ignored, ",")),
		Stdin:       os.Stdin,
		Stdout:      os.Stdout,
		Stderr:      os.Stderr,
		ExtraFiles:  []*os.File{theirs},
		SysProcAttr: private(),
	}

	// The parent death signal comes when the thread that forked ends, not the
	// process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return 0, refused(err)
	}
	trouble, _ := io.ReadAll(report)
	ended := make(chan struct{})
	defer close(ended)
	go forward(signals, cmd.Process, ended)
	err = cmd.Wait()
	if len(trouble) > 0 {
		return 0, refused(errors.New(string(trouble)))
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		return 0, fmt.Errorf("netlab: wait for the program in its private network namespace: %w", err)
	case status.Signaled():
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}

// private says how to start a process in a network namespace of its own.
func private() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 || !capable(unix.CAP_SYS_ADMIN) || !capable(unix.CAP_NET_ADMIN) {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// forward passes signals on until the process has ended.
func forward(signals <-chan os.Signal, to *os.Process, ended <-chan struct{}) {
	for {
		select {
		case <-ended:
			return
		case sig := <-signals:
			if !(sig == unix.SIGINT || sig == unix.SIGQUIT) || !foreground() {
				to.Signal(sig) // it fails only if the process has ended
			}
		}
	}
}

// foreground reports whether what is typed at the terminal signals this process
// group, and with it the program that Reexec started.
func foreground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetUint32(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && int(group) == unix.Getpgrp()
}

// In a program that Reexec started, the namespace is set up before any thread
// could have left it and before main and other packages look round in it.
func init() {
	ignored, ok := os.LookupEnv(variable)
	if !ok {
		return
	}
	os.Unsetenv(variable)
	// A variable proves nothing. The loopback interface of a fresh namespace is
	// down, which that of a namespace in use is not.
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		if lo.Attrs().RawFlags&unix.IFF_UP != 0 {
			return
		}
		err = setUp()
	}
	report := os.NewFile(reportFD, "report")
	if err != nil {
		fmt.Fprint(report, err)
		os.Exit(1)
	}
	for number := range strings.SplitSeq(ignored, ",") {
		if sig, err := strconv.Atoi(number); err == nil {
			signal.Ignore(syscall.Signal(sig))
		}
	}
	report.Close()
}

// settings decide whether an ordinary user may make namespaces.
var settings = []struct{ name, want string }{
	{"user.max_user_namespaces", "must be above 0"},               // namespaces(7)
	{"user.max_net_namespaces", "must be above 0"},                // namespaces(7)
	{"kernel.unprivileged_userns_clone", "must be 1"},             // Debian
	{"kernel.apparmor_restrict_unprivileged_userns", "must be 0"}, // AppArmor 4, Ubuntu
}

// refused adds to err what would allow a namespace.
func refused(err error) error {
	var advice strings.Builder
	for _, s := range settings {
		value, e := readSysctl(s.name)
		if e != nil {
			value = "not there"
		}
		fmt.Fprintf(&advice, "%s (%s; %s), ", s.name, value, s.want)
	}
	return fmt.Errorf("netlab: the system refuses a private network namespace to user %d: %w; look at %s"+
		"at the seccomp filter of the container if there is one, or run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN",
		os.Geteuid(), err, advice.String())
}
