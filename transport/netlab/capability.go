package netlab

import (
	"fmt"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// WithoutCapabilities starts cmd as cmd.Start does, but so that neither it nor
// what it starts can ever have the given capabilities (unix.CAP_NET_RAW, say).
// It is for tests of what happens without them: [Inside] everybody is user 0,
// who gets back on execve(2) whatever capabilities were merely given up.
//
// The command runs in the network namespace of the caller, also within
// [Namespace.Do]. The capabilities are taken from the bounding and the
// inheritable set (capabilities(7)), which needs CAP_SETPCAP.
func WithoutCapabilities(cmd *exec.Cmd, caps ...uintptr) error {
	where, err := here()
	if err != nil {
		return err
	}
	defer where.Close()
	started := make(chan error, 1)
	onSpareThread(func() {
		err := where.enter()
		if err == nil {
			err = dropCapabilities(caps)
		}
		if err == nil {
			err = cmd.Start()
		}
		if err != nil || cmd.SysProcAttr == nil || cmd.SysProcAttr.Pdeathsig == 0 {
			started <- err
			return
		}
		// The parent death signal comes when this thread ends: let it live as
		// long as the command, without taking the exit status from cmd.Wait.
		pid := cmd.Process.Pid
		started <- nil
		for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	})
	return <-started
}

// onSpareThread runs fn in a goroutine on a thread that ends with it. It is
// never the main thread, which cannot end, and which /proc/self tells about.
func onSpareThread(fn func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			fn()
			return
		}
		elsewhere := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(elsewhere)
			fn()
		}()
		<-elsewhere
		runtime.UnlockOSThread()
	}()
}

// dropCapabilities takes capabilities from every set by which the calling
// thread could hand them to a program it executes.
func dropCapabilities(caps []uintptr) error {
	head, data, err := capabilities()
	if err != nil {
		return err
	}
	for _, c := range caps {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("netlab: drop capability %d from the bounding set: %w%s%s", c, err,
				hint(err, unix.EPERM, "it needs CAP_SETPCAP, as after Main or Reexec"),
				hint(err, unix.EINVAL, "this kernel has no such capability"))
		}
		data[c/32].Inheritable &^= 1 << (c % 32)
	}
	// The ambient set follows the inheritable one.
	if err := unix.Capset(&head, &data[0]); err != nil {
		return fmt.Errorf("netlab: reduce the inheritable capabilities: %w", err)
	}
	return nil
}

// capable reports whether the calling thread has a capability in effect.
func capable(c int) bool {
	_, data, err := capabilities()
	return err == nil && data[c/32].Effective&(1<<(c%32)) != 0
}

func capabilities() (head unix.CapUserHeader, data [2]unix.CapUserData, err error) {
	head.Version = unix.LINUX_CAPABILITY_VERSION_3
	if err := unix.Capget(&head, &data[0]); err != nil {
		return head, data, fmt.Errorf("netlab: capabilities of this thread: %w", err)
	}
	return head, data, nil
}
