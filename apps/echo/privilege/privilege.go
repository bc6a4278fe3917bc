// Package privilege goes on with fewer privileges: it starts a program again, this
// one as a rule, so that no thread of it can do more than it has to.
//
// A Go program has many threads, and Linux keeps capabilities for each of them
// (capabilities(7)). A program that is executed has those of the one thread that
// executed it. So a thread gives up what is too much, for good, and then executes
// the program: as a child, by [Start] or [Run], or in the place of this process, by
// [Exec]. What only the privileged may open is opened before and handed over:
//
//	func main() {
//		files, child, err := privilege.Inherited()
//		if err == nil && !child {
//			files, err = open() // with privileges, by transport.Files for instance
//			if err == nil {
//				err = privilege.Exec(os.Args, &privilege.Config{Files: files})
//			}
//		}
//		if err == nil {
//			err = privilege.Verify()
//		}
//		... // with files and without privileges
//	}
//
// # What is given up
//
// All capabilities but Config.Keep, in all five sets: effective, permitted,
// inheritable, ambient and, where the process has CAP_SETPCAP, bounding. Those that are
// kept are ambient, so that they need no help from the file. If the file does have
// capabilities (setcap(8)) the kernel will have it otherwise: they have to stay in the
// bounding set, or it would not start, and what is kept has to be among them and is
// not ambient. With no_new_privs
// (PR_SET_NO_NEW_PRIVS in prctl(2)) nothing brings any back: no capabilities of the
// file (setcap(8)), no set-user-ID, in this program or in those that it starts. With
// the securebits NOROOT, locked, user 0 is nobody special. Where CAP_SETPCAP is missing
// no_new_privs does it alone: the bounding set then only looks as if it gave something.
//
// User 0 owns most files even so. Config.Account makes it another user.
package privilege

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Config says what the program is to have.
type Config struct {
	// Keep are the capabilities that it keeps, unix.CAP_NET_ADMIN for instance, if
	// this process has them.
	Keep []int
	// Account is the user that it becomes, nil to stay who it is: see [Lookup].
	Account *Account
	// Files are the open files that it finds by [Inherited], under their names. A name
	// may have several, in order, and has letters, digits and any of - _ . : / in it.
	// They stay the caller's to close, but for Run, which closes them.
	Files map[string][]*os.File
}

// Start starts cmd as cmd.Start does, with fewer privileges. This process and its
// other threads keep theirs. When this process ends, however it does, the kernel kills
// the child (SIGKILL). An error is that of cmd.Start, or says what could not be given
// up; nothing has been started then.
//
// Descriptors are handed over behind cmd.ExtraFiles. cmd.SysProcAttr may not change
// users or capabilities, which Config does.
func Start(cmd *exec.Cmd, c *Config) error {
	if a := cmd.SysProcAttr; a != nil && (a.Credential != nil || len(a.AmbientCaps) > 0 || a.Cloneflags&unix.CLONE_NEWUSER != 0) {
		return errors.New("privilege: SysProcAttr changes users or capabilities: want that in the Config")
	}
	if err := c.check(); err != nil {
		return err
	}
	h := handover{parent: os.Getpid(), signal: unix.SIGKILL}
	extra := append([]*os.File{}, cmd.ExtraFiles...)
	for name, files := range c.Files {
		for _, f := range files {
			h.files = append(h.files, handedFile{name, firstExtra + len(extra)})
			extra = append(extra, f)
		}
	}
	attr := syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		attr = *cmd.SysProcAttr
	}
	attr.Pdeathsig = h.signal
	cmd.ExtraFiles, cmd.SysProcAttr, cmd.Env = extra, &attr, h.environ(cmd.Environ())
	started := make(chan error, 1)
	onSpareThread(func() {
		err := c.drop(cmd.Path)
		if err == nil {
			err = explainStart(cmd.Start(), cmd.Path)
		}
		if err != nil {
			started <- err
			return
		}
		// The signal comes when this thread ends: let it live as long as the child,
		// without taking the exit status from cmd.Wait.
		pid := cmd.Process.Pid
		started <- nil
		for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	})
	return <-started
}

// self is the file of this program, also when it has been renamed or deleted.
const self = "/proc/self/exe"

// Exec executes this program again in the place of this process, which keeps its
// number and its environment, with args (the name first) and fewer privileges. It
// returns only with an error, and this process has what it had then.
func Exec(args []string, c *Config) error {
	if err := c.check(); err != nil {
		return err
	}
	failed := make(chan error, 1)
	onSpareThread(func() {
		err := c.drop(self)
		if err == nil {
			err = c.exec(args)
		}
		failed <- err
	})
	return <-failed
}

func (c *Config) exec(args []string) error {
	// Who started this process may have asked for a signal at its own end, which
	// this thread does not know of.
	h := handover{parent: os.Getppid(), signal: deathSignal}
	if h.signal != 0 {
		if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(h.signal), 0, 0, 0); err != nil {
			return fmt.Errorf("privilege: parent death signal: %w", err)
		}
	}
	// Descriptors that survive must not reach a program that another thread starts.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	for name, files := range c.Files {
		for _, f := range files {
			fd, err := surviving(f)
			if err != nil {
				return fmt.Errorf("privilege: Config.Files[%q]: %w", name, err)
			}
			defer unix.Close(fd)
			h.files = append(h.files, handedFile{name, fd})
		}
	}
	return explainStart(os.NewSyscallError("execve", syscall.Exec(self, args, h.environ(os.Environ()))), self)
}

// surviving duplicates a file for the other side of execve(2).
func surviving(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	var failed error
	err = raw.Control(func(number uintptr) {
		fd, failed = unix.FcntlInt(number, unix.F_DUPFD, firstExtra)
	})
	if err != nil {
		return -1, os.ErrClosed // there is no other reason
	}
	return fd, os.NewSyscallError("fcntl F_DUPFD", failed)
}

// explainStart adds to a refusal who was refused.
func explainStart(err error, path string) error {
	if errors.Is(err, unix.EACCES) {
		return fmt.Errorf("privilege: %w (user %d has to be allowed to execute %s)", err, threadUser(), path)
	}
	return err
}

func threadUser() int {
	uid, _, _ := unix.RawSyscall(sysGeteuid, 0, 0, 0)
	return int(uid)
}

// check reports what cannot be meant.
func (c *Config) check() error {
	for _, k := range c.Keep {
		if k < 0 || k > maxCapability {
			return fmt.Errorf("privilege: Config.Keep has %d: want the number of a capability, unix.CAP_NET_ADMIN for instance", k)
		}
	}
	for name, files := range c.Files {
		if name == "" || strings.Trim(name, nameCharacters) != "" {
			return fmt.Errorf("privilege: Config.Files has the name %q: want letters, digits and any of - _ . : /", name)
		}
		for i, f := range files {
			if f == nil {
				return fmt.Errorf("privilege: Config.Files[%q][%d] is nil", name, i)
			}
		}
	}
	return nil
}

// onSpareThread runs fn in a goroutine on a thread that ends with it. It is
// never the main thread, which cannot end.
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
