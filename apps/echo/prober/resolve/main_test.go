package resolve

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport/netlab"
)

// etc is what the tests find in /etc. The servers are those of dns_test.go; the sources
// that Go's resolver does not have are to be without effect.
var etc = map[string]string{
	"nsswitch.conf": "hosts: mdns4_minimal [NOTFOUND=return] files resolve dns\n",
	"resolv.conf":   "nameserver 127.0.0.1\nnameserver 127.0.0.2\nsearch one.example two.example\noptions timeout:1 attempts:1\n",
	"hosts":         "192.0.2.80 listed\n192.0.2.80 listed\n2001:db8::80 listed\nfe80::80%lo linked\nfe80::80%nsm linked\n",
}

const stage = "IOMUX_RESOLVE_STAGE" // names what is to be done in the second process

// errEtc is why /etc is not that of the tests.
var errEtc = errors.New("there is no private network namespace")

func TestMain(m *testing.M) { os.Exit(netlab.Main(private{m})) }

// private runs the tests with an /etc of their own, in a private mount namespace, which
// takes another process.
type private struct{ m *testing.M }

func (p private) Run() int {
	if !netlab.Inside() {
		return p.m.Run()
	}
	if os.Getenv(stage) == "" {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Args[0] = os.Args[0]
		cmd.Env = append(os.Environ(), stage+"=etc")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		err := cmd.Run()
		if _, ran := errors.AsType[*exec.ExitError](err); ran || err == nil {
			return cmd.ProcessState.ExitCode()
		}
		errEtc = fmt.Errorf("no private mount namespace: %w", err)
		return p.m.Run()
	}
	errEtc = furnish()
	return p.m.Run()
}

// furnish covers /etc of this mount namespace, unless it has been done (for a fuzzing
// worker).
func furnish() error {
	const done = "/etc/iomux-resolve"
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts cannot be made private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/etc", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("no tmpfs can be mounted on /etc: %w", err)
	}
	for name, text := range etc {
		if err := os.WriteFile("/etc/"+name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(done, nil, 0o644)
}

// needEtc skips the test where /etc is not that of the tests.
func needEtc(t testing.TB) {
	t.Helper()
	netlab.Need(t)
	if errEtc != nil {
		t.Skip(errEtc)
	}
}
