package mux

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestInterestString(t *testing.T) {
	for want, text := range map[Interest]string{
		0:                   "none",
		Readable:            "readable",
		Readable | Writable: "readable|writable",
		Writable | Oneshot:  "writable|oneshot",
		Hangup | Error:      "hangup|error",
		1<<8 - 1:            "readable|writable|priority|hangup|error|oneshot|edge|0x80",
	} {
		if got := want.String(); got != text {
			t.Errorf("%#x is %q, want %q", uint8(want), got, text)
		}
	}
}

func TestErrorsSayWhatFailedAndWhatWouldBeRight(t *testing.T) {
	eachBackend(t, func(t *testing.T, m *multiplexer) {
		fd, unknown := readablePipe(t), readablePipe(t)
		must(t, m.Add(fd, Readable, 1))
		_, waitErr := m.Wait(nil, 0)
		for _, c := range []struct {
			err     error
			is      error
			message string
		}{
			{m.Add(fd, Readable, 1), fs.ErrExist,
				"add descriptor FD: file exists (it is registered already: use Modify, or Remove it first)"},
			{m.Modify(unknown, Readable, 1), fs.ErrNotExist,
				"modify descriptor UNKNOWN: no such file or directory (it is not registered: use Add)"},
			{m.Remove(unknown), fs.ErrNotExist,
				"remove descriptor UNKNOWN: no such file or directory (it is not registered: use Add)"},
			{m.Add(-1, Readable, 1), syscall.EBADF,
				"add descriptor -1: bad file descriptor (it is not an open descriptor)"},
			{m.Add(math.MaxInt32, Readable, 1), syscall.EBADF,
				"add descriptor 2147483647: bad file descriptor (it is not an open descriptor)"},
			{m.Add(unknown, Readable|Hangup, 1), syscall.EINVAL,
				"add descriptor UNKNOWN: invalid argument (interest readable|hangup: only readable, writable, priority, oneshot and edge can be asked for)"},
			{waitErr, syscall.EINVAL, "wait: invalid argument (the event slice is empty)"},
		} {
			message := strings.NewReplacer("FD", strconv.Itoa(fd), "UNKNOWN", strconv.Itoa(unknown)).Replace(c.message)
			if want := "mux: " + m.name + " " + message; c.err == nil || c.err.Error() != want {
				t.Errorf("error %q, want %q", c.err, want)
			}
			if !errors.Is(c.err, c.is) {
				t.Errorf("%v is not %v", c.err, c.is)
			}
			var op *OpError
			var errno syscall.Errno
			if !errors.As(c.err, &op) || !errors.As(c.err, &errno) || op.Backend != m.name {
				t.Errorf("%#v is not an OpError of %s around an errno", c.err, m.name)
			}
		}
	})
}

func TestEdgeWithoutEdgesIsUnsupported(t *testing.T) {
	for _, name := range []string{"poll", "select"} {
		m, fd := openNamed(t, name), readablePipe(t)
		err := m.Add(fd, Readable|Edge, 1)
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v is not errors.ErrUnsupported", err)
		}
		if want := "(this backend has no edge-triggering)"; err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("error %q, want %q at its end", err, want)
		}
		must(t, m.Add(fd, Readable, 1))
	}
}

func TestHints(t *testing.T) {
	for errno, part := range map[syscall.Errno]string{
		syscall.ENOSPC: "max_user_watches",
		syscall.EMFILE: "RLIMIT_NOFILE",
		syscall.ENFILE: "RLIMIT_NOFILE",
	} {
		err := (&multiplexer{name: "epoll"}).fail(opAdd, 7, errno)
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v has no advice about %s", err, part)
		}
	}
	err := (&multiplexer{name: "epoll"}).fail(opWait, -1, syscall.EFAULT)
	if want := "mux: epoll wait: bad address"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestClosedIsOsErrClosedAndNothingElse(t *testing.T) {
	eachBackend(t, func(t *testing.T, m *multiplexer) {
		fd := readablePipe(t)
		must(t, m.Add(fd, Readable, 1))
		must(t, m.Close())
		_, err := m.Wait(make([]Event, 1), time.Hour)
		for i, err := range []error{m.Add(fd, Readable, 1), m.Modify(fd, Readable, 1), m.Remove(fd), m.Wake(), m.Close(), err} {
			if err != os.ErrClosed {
				t.Errorf("%d: error %v", i, err)
			}
		}
	})
}
