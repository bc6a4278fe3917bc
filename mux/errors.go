package mux

import (
	"errors"
	"strconv"
	"strings"
	"syscall"
)

// ErrWaiting is returned by Wait while another goroutine waits on the same Mux.
var ErrWaiting = errors.New("mux: another goroutine is waiting on this Mux")

// OpError is a failed operation on a Mux. It wraps a [syscall.Errno], so that
// errors.Is works with fs.ErrExist, fs.ErrNotExist, fs.ErrPermission and
// errors.ErrUnsupported.
type OpError struct {
	Op      string // "add", "modify", "remove", "wait", "wake", "close" or "open"
	Backend string // the backend's name
	FD      int    // the descriptor, or -1 where the operation has none
	Err     error  // a syscall.Errno, unless a backend from elsewhere has its own

	hint string // what would be right
}

// Error tells the operation, the backend, the descriptor, the cause and, where
// there is one, the way out.
func (e *OpError) Error() string {
	var b strings.Builder
	b.WriteString("mux: ")
	b.WriteString(e.Backend)
	b.WriteByte(' ')
	b.WriteString(e.Op)
	if e.FD >= 0 || e.Op == "add" || e.Op == "modify" || e.Op == "remove" {
		b.WriteString(" descriptor ")
		b.WriteString(strconv.Itoa(e.FD))
	}
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
	if e.hint != "" {
		b.WriteString(" (")
		b.WriteString(e.hint)
		b.WriteByte(')')
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

// Operations, as OpError.Op and Call.Op name them.
const (
	opAdd    = "add"
	opModify = "modify"
	opRemove = "remove"
	opWait   = "wait"
	opWake   = "wake"
	opClose  = "close"
	opOpen   = "open"
)

// hintFor says what would be right, for the errors that a caller can cause.
func hintFor(errno syscall.Errno) string {
	switch errno {
	case syscall.EEXIST:
		return "it is registered already: use Modify, or Remove it first"
	case syscall.ENOENT:
		return "it is not registered: use Add"
	case syscall.EBADF:
		return "it is not an open descriptor"
	case syscall.ENOSPC:
		return "see fs.epoll.max_user_watches in epoll(7)"
	case syscall.EMFILE, syscall.ENFILE:
		return "see RLIMIT_NOFILE in getrlimit(2)"
	}
	return ""
}
