package mux

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// Call is one call of a Mux's method, as Trace reports it.
type Call struct {
	Op      string        // "add", "modify", "remove", "wait", "wake" or "close"
	Backend string        // the backend's name
	FD      int           // add, modify, remove
	Want    Interest      // add, modify
	Token   uint64        // add, modify
	Room    int           // wait: the length of the event slice
	Timeout time.Duration // wait
	Events  []Event       // wait: what was reported, valid until report returns
	Err     error
	Start   time.Time
	Took    time.Duration
}

// String writes the call with its arguments and result, in the manner of
// strace(1):
//
//	epoll wait(64 events, 1s) = 1 [token 7 readable]
func (c Call) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s(", c.Backend, c.Op)
	switch c.Op {
	case opAdd, opModify:
		fmt.Fprintf(&b, "descriptor %d, %v, token %d", c.FD, c.Want, c.Token)
	case opRemove:
		fmt.Fprintf(&b, "descriptor %d", c.FD)
	case opWait:
		timeout := "no timeout"
		if c.Timeout >= 0 {
			timeout = c.Timeout.String()
		}
		fmt.Fprintf(&b, "%d events, %s", c.Room, timeout)
	}
	b.WriteByte(')')
	var errno syscall.Errno
	switch {
	case errors.As(c.Err, &errno):
		fmt.Fprintf(&b, " = %v", errno)
	case c.Err != nil:
		fmt.Fprintf(&b, " = %v", c.Err)
	case c.Op == opWait:
		fmt.Fprintf(&b, " = %d", len(c.Events))
		for i, ev := range c.Events {
			sep := ", "
			if i == 0 {
				sep = " ["
			}
			fmt.Fprintf(&b, "%stoken %d %v", sep, ev.Token, ev.Ready)
		}
		if len(c.Events) > 0 {
			b.WriteByte(']')
		}
	default:
		b.WriteString(" = ok")
	}
	return b.String()
}

// Trace returns a Mux that does what m does and reports each call when it
// returns. The report runs on the goroutine of the caller.
func Trace(m Mux, report func(Call)) Mux { return &tracer{m, report} }

type tracer struct {
	m      Mux
	report func(Call)
}

// done completes the report of a call that began at c.Start.
func (t *tracer) done(c Call, err error) error {
	c.Took = time.Since(c.Start)
	c.Backend, c.Err = t.m.Name(), err
	t.report(c)
	return err
}

func (t *tracer) Name() string { return t.m.Name() }

func (t *tracer) Add(fd int, want Interest, token uint64) error {
	c := Call{Op: opAdd, FD: fd, Want: want, Token: token, Start: time.Now()}
	return t.done(c, t.m.Add(fd, want, token))
}

func (t *tracer) Modify(fd int, want Interest, token uint64) error {
	c := Call{Op: opModify, FD: fd, Want: want, Token: token, Start: time.Now()}
	return t.done(c, t.m.Modify(fd, want, token))
}

func (t *tracer) Remove(fd int) error {
	c := Call{Op: opRemove, FD: fd, Start: time.Now()}
	return t.done(c, t.m.Remove(fd))
}

func (t *tracer) Wait(events []Event, timeout time.Duration) (int, error) {
	c := Call{Op: opWait, Room: len(events), Timeout: timeout, Start: time.Now()}
	n, err := t.m.Wait(events, timeout)
	c.Events = events[:n]
	return n, t.done(c, err)
}

func (t *tracer) Wake() error {
	c := Call{Op: opWake, Start: time.Now()}
	return t.done(c, t.m.Wake())
}

func (t *tracer) Close() error {
	c := Call{Op: opClose, Start: time.Now()}
	return t.done(c, t.m.Close())
}
