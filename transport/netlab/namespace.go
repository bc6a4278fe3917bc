package netlab

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace (network_namespaces(7)), kept in existence
// until Close. Its methods may be called from any goroutine.
type Namespace struct {
	file *os.File
}

// Current returns the private network namespace that the calling goroutine
// runs in. Outside of one that is an error, so that the settings of the machine
// are never taken for those of a lab.
func Current() (*Namespace, error) {
	if !Inside() {
		return nil, errOutside()
	}
	return here()
}

// here returns the network namespace of the calling thread. (/proc/self would
// be that of the main thread.)
func here() (*Namespace, error) {
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("netlab: the network namespace of this thread: %w (is /proc mounted?)", err)
	}
	return &Namespace{file}, nil
}

// New makes another network namespace. It needs CAP_SYS_ADMIN, which every
// program has that is [Inside].
func New() (*Namespace, error) {
	var made *Namespace
	err := visit(
		func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("netlab: make a network namespace: %w (it needs CAP_SYS_ADMIN, as after Main or Reexec; "+
					"user.max_net_namespaces bounds the number)", err)
			}
			return nil
		},
		func() (err error) {
			if err = setUp(); err == nil {
				made, err = here()
			}
			return err
		})
	return made, err
}

// Do runs fn in the namespace and returns its error, or one that says why the
// namespace could not be entered, which needs CAP_SYS_ADMIN over it.
//
// fn runs in a goroutine of its own on an OS thread of its own; the caller
// stays where it is. Sockets that fn opens belong to the namespace wherever
// they are used afterwards. Programs that it starts run in it, so
//
//	err := n.Do(exec.Command("ip", "address").Run)
//
// is the way to start one. Goroutines that fn starts do not run in it. When fn
// ends the thread returns to where it came from; if it cannot, because fn gave
// up capabilities for instance, it ends too. If fn calls [runtime.Goexit], as
// FailNow does in tests, the caller exits likewise.
func (n *Namespace) Do(fn func() error) error {
	return visit(n.enter, fn)
}

// Close lets go of the namespace. The kernel removes it, and soon afterwards
// what is in it, when it has no process and no open socket left. A second Close
// and everything after the first is [os.ErrClosed].
func (n *Namespace) Close() error { return n.file.Close() }

// enter moves the calling thread into the namespace.
func (n *Namespace) enter() error {
	err := n.withFD(func(fd int) error { return unix.Setns(fd, unix.CLONE_NEWNET) })
	if err != nil {
		return fmt.Errorf("netlab: enter a network namespace: %w%s", err, hint(err, unix.EPERM, "it needs CAP_SYS_ADMIN, as after Main or Reexec"))
	}
	return nil
}

// withFD calls fn with the descriptor of the namespace, which stays open
// meanwhile.
func (n *Namespace) withFD(fn func(fd int) error) error {
	conn, err := n.file.SyscallConn()
	if err != nil {
		return err
	}
	var fnErr error
	if conn.Control(func(fd uintptr) { fnErr = fn(int(fd)) }) != nil {
		return os.ErrClosed
	}
	return fnErr
}

// visit runs fn in a goroutine and on a thread of its own, once enter has moved
// that thread to another network namespace.
func visit(enter, fn func() error) error {
	var err error
	returned := false
	done := make(chan struct{})
	go func() {
		defer func() {
			if p := recover(); p != nil {
				panic(p) // here, where the stack tells of fn, and with the caller still waiting
			}
			close(done)
		}()
		err = thereAndBack(enter, fn)
		returned = true
	}()
	<-done
	if !returned {
		runtime.Goexit()
	}
	return err
}

func thereAndBack(enter, fn func() error) error {
	runtime.LockOSThread()
	home, err := here()
	if err == nil {
		defer home.Close()
		err = enter()
	}
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		// A thread that is not back home stays locked: the runtime ends it with
		// the goroutine.
		if home.enter() == nil {
			runtime.UnlockOSThread()
		}
	}()
	return fn()
}
