package privilege

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// variable tells a program that Start or Exec started it, who its parent is, which
	// signal it wants when that ends, and which descriptor is what. It is gone from the
	// environment before main, so that no program started from there sees it.
	variable = "IOMUX_PRIVILEGE"
	// firstExtra is the first descriptor behind the standard streams.
	firstExtra = 3

	nameCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/"
)

// handover is what the variable says.
type handover struct {
	parent int
	signal syscall.Signal // 0 for none
	files  []handedFile
}

type handedFile struct {
	name string
	fd   int
}

// String is "PARENT SIGNAL NAME=FD NAME=FD".
func (h handover) String() string {
	words := []string{strconv.Itoa(h.parent), strconv.Itoa(int(h.signal))}
	for _, f := range h.files {
		words = append(words, f.name+"="+strconv.Itoa(f.fd))
	}
	return strings.Join(words, " ")
}

// environ puts it into an environment.
func (h handover) environ(env []string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(s string) bool { return strings.HasPrefix(s, variable+"=") })
	return append(env, variable+"="+h.String())
}

func parseHandover(s string) (h handover, err error) {
	words := strings.Split(s, " ")
	if len(words) < 2 {
		return h, errors.New("want the parent, a signal and files")
	}
	var sig int
	if h.parent, err = strconv.Atoi(words[0]); err != nil || h.parent < 0 {
		return h, fmt.Errorf("parent %q: want a process", words[0])
	}
	if sig, err = strconv.Atoi(words[1]); err != nil || sig < 0 || sig > 64 {
		return h, fmt.Errorf("signal %q: want 0 to 64", words[1])
	}
	h.signal = syscall.Signal(sig)
	for _, w := range words[2:] {
		at := strings.LastIndexByte(w, '=')
		if at < 1 || strings.Trim(w[:at], nameCharacters) != "" {
			return h, fmt.Errorf("file %q: want a name and the number of a descriptor", w)
		}
		fd, err := strconv.ParseUint(w[at+1:], 10, 31)
		if err != nil || fd < firstExtra {
			return h, fmt.Errorf("file %q: want a descriptor from %d on", w, firstExtra)
		}
		if slices.ContainsFunc(h.files, func(f handedFile) bool { return f.fd == int(fd) }) {
			return h, fmt.Errorf("file %q: descriptor %d is another file's too", w, fd)
		}
		h.files = append(h.files, handedFile{w[:at], int(fd)})
	}
	return h, nil
}

// What init has found.
var (
	// deathSignal is what this process gets when its parent ends.
	deathSignal syscall.Signal
	inherited   struct {
		ok    bool
		files map[string][]*os.File
		err   error
	}
)

// init runs on the main thread, which lives as long as the process, and the signal
// at the parent's end belongs to the thread that asks for it.
func init() {
	if text, ok := os.LookupEnv(variable); ok {
		os.Unsetenv(variable)
		inherited.ok = true
		rename(os.Args)
		h, err := parseHandover(text)
		if err == nil && h.signal != 0 {
			err = h.rearm()
		}
		if err == nil {
			inherited.files, err = h.take()
		}
		if err != nil {
			inherited.err = fmt.Errorf("privilege: %s=%q in the environment: %w", variable, text, err)
		}
	}
	var sig int32
	if _, _, errno := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&sig)), 0); errno == 0 {
		deathSignal = syscall.Signal(sig)
	}
}

// rename has the process called as its first argument says, for ps(1) and killall(1):
// the kernel has called it "exe", after the link of /proc that it was started by.
func rename(args []string) {
	if len(args) == 0 {
		return
	}
	if name, err := unix.BytePtrFromString(filepath.Base(args[0])); err == nil {
		unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(name)), 0, 0, 0)
	}
}

// rearm asks for the signal at the parent's end again: the kernel forgets it when the
// program's file has capabilities (prctl(2)).
func (h handover) rearm() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(h.signal), 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl PR_SET_PDEATHSIG", err)
	}
	if os.Getppid() != h.parent {
		return errors.New("the process that started this one has ended")
	}
	return nil
}

// take makes files of the descriptors. Only those that survived execve(2) can have
// been handed over; the others are the program's own.
func (h handover) take() (map[string][]*os.File, error) {
	for _, f := range h.files {
		flags, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC != 0 {
			err = unix.EBADF
		}
		if err != nil {
			return nil, fmt.Errorf("descriptor %d of %q was not handed over: %w", f.fd, f.name, err)
		}
	}
	files := map[string][]*os.File{}
	for _, f := range h.files {
		unix.CloseOnExec(f.fd)
		files[f.name] = append(files[f.name], os.NewFile(uintptr(f.fd), f.name))
	}
	return files, nil
}

// Inherited returns the files that this process was handed, by name, for
// transport.Config.Files for instance, and whether Start, Run or Exec has started it
// at all. They are the caller's, close-on-exec again. The error is about an
// environment that says what cannot be: it proves nothing about privileges, which
// [Verify] looks at.
func Inherited() (files map[string][]*os.File, ok bool, err error) {
	return inherited.files, inherited.ok, inherited.err
}
