package responder_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport/netlab"
)

// The test binary plays another role when it finds one in the environment.
const roleVariable = "IOMUX_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "takeover":
		os.Exit(takeoverProcess())
	case "guard":
		os.Exit(guardProcess())
	case "guarded":
		os.Exit(guardedWorker())
	}
	if !netlab.Inside() {
		// For the run in place, where the system refuses a private network
		// namespace: an example cannot skip itself.
		flag.Set("test.skip", "^Example")
	}
	os.Exit(netlab.Main(onPrivateRun{m}))
}

// onPrivateRun runs the tests on an empty /run of their own, so that they find
// nothing there and leave nothing behind on the machine, even when they die.
type onPrivateRun struct{ m *testing.M }

func (o onPrivateRun) Run() int {
	if !netlab.Inside() {
		return o.m.Run() // tests that need more skip
	}
	if os.Getenv(roleVariable) != "tests" {
		code, err := inMountNamespace()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return code
	}
	os.Unsetenv(roleVariable)
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		fmt.Fprintln(os.Stderr, os.NewSyscallError("mount", err))
		return 1
	}
	return o.m.Run()
}

// inMountNamespace starts the tests again in a mount namespace of their own.
func inMountNamespace() (code int, err error) {
	cmd := &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        os.Args,
		Env:         append(os.Environ(), roleVariable+"=tests"),
		Stdin:       os.Stdin,
		Stdout:      os.Stdout,
		Stderr:      os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL},
	}
	runtime.LockOSThread() // the parent death signal comes when the thread ends
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), nil
	}
	return 1, err
}
