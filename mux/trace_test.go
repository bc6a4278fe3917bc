package mux

import (
	"os"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"time"
)

// script is a Mux that answers what it was told to, and keeps how it was asked.
type script struct {
	err    error
	events []Event
	asked  []any
}

func (s *script) ask(what ...any) error {
	s.asked = append(s.asked, what...)
	return s.err
}

func (s *script) Add(fd int, want Interest, token uint64) error { return s.ask("add", fd, want, token) }
func (s *script) Modify(fd int, want Interest, token uint64) error {
	return s.ask("modify", fd, want, token)
}
func (s *script) Remove(fd int) error { return s.ask("remove", fd) }
func (s *script) Wake() error         { return s.ask("wake") }
func (s *script) Close() error        { return s.ask("close") }
func (s *script) Name() string        { return "script" }

func (s *script) Wait(events []Event, timeout time.Duration) (int, error) {
	return copy(events, s.events), s.ask("wait", len(events), timeout)
}

func TestTraceReportsEveryCallWithArgumentsAndResult(t *testing.T) {
	refused := &OpError{Op: "add", Backend: "script", FD: 5, Err: syscall.EEXIST}
	two := []Event{{7, Readable}, {8, Readable | Hangup}}
	for _, c := range []struct {
		call  func(m Mux) error
		err   error
		found []Event
		want  Call
		asked []any
		text  string
	}{
		{
			call:  func(m Mux) error { return m.Add(5, Readable|Oneshot, 7) },
			want:  Call{Op: "add", FD: 5, Want: Readable | Oneshot, Token: 7},
			asked: []any{"add", 5, Readable | Oneshot, uint64(7)},
			text:  "script add(descriptor 5, readable|oneshot, token 7) = ok",
		}, {
			call:  func(m Mux) error { return m.Add(5, Readable, 7) },
			err:   refused,
			want:  Call{Op: "add", FD: 5, Want: Readable, Token: 7},
			asked: []any{"add", 5, Readable, uint64(7)},
			text:  "script add(descriptor 5, readable, token 7) = file exists",
		}, {
			call:  func(m Mux) error { return m.Modify(6, 0, 8) },
			want:  Call{Op: "modify", FD: 6, Token: 8},
			asked: []any{"modify", 6, Interest(0), uint64(8)},
			text:  "script modify(descriptor 6, none, token 8) = ok",
		}, {
			call:  func(m Mux) error { return m.Remove(9) },
			want:  Call{Op: "remove", FD: 9},
			asked: []any{"remove", 9},
			text:  "script remove(descriptor 9) = ok",
		}, {
			call:  waitFor(64, time.Second, 2),
			found: two,
			want:  Call{Op: "wait", Room: 64, Timeout: time.Second, Events: two},
			asked: []any{"wait", 64, time.Second},
			text:  "script wait(64 events, 1s) = 2 [token 7 readable, token 8 readable|hangup]",
		}, {
			call:  waitFor(1, -1, 1),
			found: two,
			want:  Call{Op: "wait", Room: 1, Timeout: -1, Events: two[:1]},
			asked: []any{"wait", 1, time.Duration(-1)},
			text:  "script wait(1 events, no timeout) = 1 [token 7 readable]",
		}, {
			call:  waitFor(3, 0, 0),
			want:  Call{Op: "wait", Room: 3},
			asked: []any{"wait", 3, time.Duration(0)},
			text:  "script wait(3 events, 0s) = 0",
		}, {
			call:  waitFor(3, 0, 0),
			err:   ErrWaiting,
			want:  Call{Op: "wait", Room: 3},
			asked: []any{"wait", 3, time.Duration(0)},
			text:  "script wait(3 events, 0s) = mux: another goroutine is waiting on this Mux",
		}, {
			call:  Mux.Wake,
			want:  Call{Op: "wake"},
			asked: []any{"wake"},
			text:  "script wake() = ok",
		}, {
			call:  Mux.Close,
			err:   os.ErrClosed,
			want:  Call{Op: "close"},
			asked: []any{"close"},
			text:  "script close() = file already closed",
		},
	} {
		inner := &script{err: c.err, events: c.found}
		var calls []Call
		m := Trace(inner, func(call Call) {
			call.Events = slices.Clone(call.Events)
			calls = append(calls, call)
		})
		before := time.Now()
		err := c.call(m)
		after := time.Now()
		if err != c.err {
			t.Errorf("%s: returns %v, want %v", c.text, err, c.err)
		}
		if !reflect.DeepEqual(inner.asked, c.asked) {
			t.Errorf("%s: passed on as %v, want %v", c.text, inner.asked, c.asked)
		}
		if len(calls) != 1 {
			t.Errorf("%s: %d reports", c.text, len(calls))
			continue
		}
		got := calls[0]
		if got.Start.Before(before) || got.Took < 0 || got.Start.Add(got.Took).After(after) {
			t.Errorf("%s: started at %v and took %v, not within the call", c.text, got.Start, got.Took)
		}
		got.Start, got.Took = time.Time{}, 0
		c.want.Backend, c.want.Err = "script", c.err
		if len(c.want.Events) == 0 {
			c.want.Events = got.Events[:0]
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("reported %+v, want %+v", got, c.want)
		}
		if got.String() != c.text {
			t.Errorf("text %q, want %q", got.String(), c.text)
		}
	}
}

// waitFor calls Wait, which must return n.
func waitFor(room int, timeout time.Duration, n int) func(m Mux) error {
	return func(m Mux) error {
		got, err := m.Wait(make([]Event, room), timeout)
		if got != n {
			panic("Trace changes the count of events")
		}
		return err
	}
}

func TestTraceHasTheNameOfItsMux(t *testing.T) {
	if got := Trace(&script{}, nil).Name(); got != "script" {
		t.Errorf("Name() = %q", got)
	}
}

// The report may use the Mux, except in its own place: the call is over.
func TestTraceReportMayCallTheMux(t *testing.T) {
	var m Mux
	calls := 0
	m = Trace(openNamed(t, "epoll"), func(c Call) {
		if calls++; c.Op == "add" {
			must(t, m.Remove(c.FD))
		}
	})
	must(t, m.Add(readablePipe(t), Readable, 1))
	expectNothing(t, m)
	if calls != 3 {
		t.Errorf("%d reports, want 3", calls)
	}
}
