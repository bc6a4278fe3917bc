package muxtest

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"reflect"
	"syscall"
	"testing"
	"time"

	"iomux/mux"
)

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func ExampleFake() {
	m := NewFake(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	const fd = 3
	m.Add(fd, mux.Readable, 7)
	m.At(90*time.Minute, func() { m.Set(fd, mux.Readable) })

	events := make([]mux.Event, 8)
	for range 3 {
		n, err := m.Wait(events, time.Hour)
		fmt.Println(m.Clock().Format(time.TimeOnly), events[:n], err)
	}
	// Output:
	// 01:00:00 [] <nil>
	// 01:30:00 [{7 readable}] <nil>
	// 01:30:00 [{7 readable}] <nil>
}

// Whether a server survives a day without its peer is known in no time.
func ExampleFake_At() {
	m := NewFake(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	const socket = 3
	m.Add(socket, mux.Readable, 1)
	m.At(24*time.Hour, func() { m.Set(socket, mux.Readable|mux.Hangup) })
	n, err := m.Wait(make([]mux.Event, 1), -1)
	fmt.Println(n, err, m.Clock().Format(time.DateTime))
	// Output: 1 <nil> 2000-01-02 00:00:00
}

// fakeWait waits and demands what is reported and the time since the start.
func fakeWait(t *testing.T, f *Fake, timeout, at time.Duration, want ...mux.Event) {
	t.Helper()
	events := make([]mux.Event, 8)
	n, err := f.Wait(events, timeout)
	if err != nil {
		t.Fatalf("Wait: %v", err)
	}
	if n != len(want) || n > 0 && !reflect.DeepEqual(events[:n], want) {
		t.Fatalf("Wait reported %v, want %v", events[:n], want)
	}
	if got := f.Clock().Sub(epoch); got != at {
		t.Fatalf("the clock has moved to %v, want %v", got, at)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFakeTimeoutMovesTheClock(t *testing.T) {
	f := NewFake(epoch)
	fakeWait(t, f, 0, 0)
	fakeWait(t, f, time.Second, time.Second)
	fakeWait(t, f, 1, time.Second+1)
	f = NewFake(epoch)
	fakeWait(t, f, math.MaxInt64, math.MaxInt64)
}

func TestFakeClockIsIndependentOfRealTime(t *testing.T) {
	start := time.Now()
	f := NewFake(start)
	f.At(time.Hour, func() {})
	if _, err := f.Wait(make([]mux.Event, 1), 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	if got, want := f.Clock(), start.Add(2*time.Hour); !got.Equal(want) {
		t.Fatalf("the clock shows %v, want %v", got, want)
	}
}

func TestFakeReportsWhatIsSetWithoutMovingTheClock(t *testing.T) {
	f := NewFake(epoch)
	f.Set(3, mux.Readable|mux.Writable)
	must(t, f.Add(3, mux.Readable, 7))
	fakeWait(t, f, time.Hour, 0, mux.Event{Token: 7, Ready: mux.Readable})
	fakeWait(t, f, -1, 0, mux.Event{Token: 7, Ready: mux.Readable})
	f.Set(3, mux.Writable)
	fakeWait(t, f, time.Hour, time.Hour)
	must(t, f.Modify(3, mux.Readable|mux.Writable, 8))
	fakeWait(t, f, -1, time.Hour, mux.Event{Token: 8, Ready: mux.Writable})
	f.Set(3, 0)
	fakeWait(t, f, time.Hour, 2*time.Hour)
}

func TestFakeHangupAndErrorSetWhatWasAskedFor(t *testing.T) {
	for _, hint := range []mux.Interest{mux.Hangup, mux.Error} {
		f := NewFake(epoch)
		f.Set(3, hint)
		for _, want := range []mux.Interest{mux.Readable, mux.Writable, mux.Readable | mux.Writable} {
			must(t, f.Add(3, want, 7))
			fakeWait(t, f, -1, 0, mux.Event{Token: 7, Ready: want | hint})
			must(t, f.Remove(3))
		}
		must(t, f.Add(3, 0, 7))
		fakeWait(t, f, time.Hour, time.Hour)
	}
}

func TestFakeOneshotIsReportedOnce(t *testing.T) {
	f := NewFake(epoch)
	must(t, f.Add(3, mux.Readable|mux.Oneshot, 7))
	fakeWait(t, f, time.Second, time.Second)
	f.Set(3, mux.Readable|mux.Hangup)
	fakeWait(t, f, time.Second, time.Second, mux.Event{Token: 7, Ready: mux.Readable | mux.Hangup})
	fakeWait(t, f, time.Second, 2*time.Second)
	must(t, f.Modify(3, mux.Readable|mux.Oneshot, 8))
	fakeWait(t, f, time.Second, 2*time.Second, mux.Event{Token: 8, Ready: mux.Readable | mux.Hangup})
	fakeWait(t, f, time.Second, 3*time.Second)
}

func TestFakeCallsTheScheduleInOrder(t *testing.T) {
	f := NewFake(epoch)
	var calls []string
	call := func(name string) func() {
		return func() { calls = append(calls, fmt.Sprint(name, "@", f.Clock().Sub(epoch))) }
	}
	f.At(2*time.Second, call("c"))
	f.At(time.Second, call("a"))
	f.At(time.Second, call("b"))
	f.At(2*time.Second, func() {
		f.At(2*time.Second, call("d")) // the same instant
		f.At(time.Second, call("e"))   // the past is now
		f.At(10*time.Second, call("f"))
	})
	f.At(5*time.Second, call("at the deadline"))
	fakeWait(t, f, 5*time.Second, 5*time.Second)
	want := []string{"a@1s", "b@1s", "c@2s", "e@2s", "d@2s", "at the deadline@5s"}
	if !reflect.DeepEqual(calls, want) {
		t.Fatalf("calls: %v, want %v", calls, want)
	}
}

func TestFakeWaitEndsWhenTheScheduleMakesReadyOrWakes(t *testing.T) {
	f := NewFake(epoch)
	must(t, f.Add(3, mux.Readable, 7))
	f.At(time.Second, func() { f.Set(3, mux.Readable) })
	f.At(2*time.Second, func() { f.Set(3, 0) })
	f.At(3*time.Second, func() { must(t, f.Wake()) })
	f.At(4*time.Second, func() { must(t, f.Add(4, mux.Writable, 8)); f.Set(4, mux.Writable) })
	f.At(5*time.Second, func() { must(t, f.Remove(4)); must(t, f.Close()) })
	f.At(5*time.Second, func() { t.Error("called after Close") })
	fakeWait(t, f, time.Hour, time.Second, mux.Event{Token: 7, Ready: mux.Readable})
	fakeWait(t, f, time.Hour, time.Second, mux.Event{Token: 7, Ready: mux.Readable})
	f.Set(3, 0)
	fakeWait(t, f, -1, 3*time.Second)
	fakeWait(t, f, -1, 4*time.Second, mux.Event{Token: 8, Ready: mux.Writable})
	must(t, f.Modify(4, 0, 8))
	if _, err := f.Wait(make([]mux.Event, 1), -1); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("Wait that a Close in the schedule ended: %v", err)
	}
}

func TestFakeWakeIsStickyAndCoalesced(t *testing.T) {
	f := NewFake(epoch)
	must(t, f.Wake())
	must(t, f.Wake())
	fakeWait(t, f, -1, 0)
	fakeWait(t, f, time.Second, time.Second)
	must(t, f.Add(3, mux.Readable, 7))
	f.Set(3, mux.Readable)
	must(t, f.Wake())
	fakeWait(t, f, -1, time.Second, mux.Event{Token: 7, Ready: mux.Readable})
	f.Set(3, 0)
	fakeWait(t, f, time.Second, 2*time.Second)
}

func TestFakeEndlessWaitForNothingIsADeadlock(t *testing.T) {
	f := NewFake(epoch)
	must(t, f.Add(3, mux.Readable, 7))
	_, err := f.Wait(make([]mux.Event, 1), -1)
	var opErr *mux.OpError
	if !errors.Is(err, syscall.EDEADLK) || !errors.As(err, &opErr) || opErr.Op != "wait" || opErr.Backend != "fake" {
		t.Fatalf("Wait: %v, want a *mux.OpError that is %v", err, syscall.EDEADLK)
	}
	f.Set(3, mux.Readable)
	fakeWait(t, f, -1, 0, mux.Event{Token: 7, Ready: mux.Readable})
}

func TestFakeReportsInTurn(t *testing.T) {
	f := NewFake(epoch)
	for fd := range 5 {
		f.Set(fd, mux.Readable)
		must(t, f.Add(fd, mux.Readable, uint64(fd)))
	}
	var got []uint64
	events := make([]mux.Event, 2)
	for range 5 {
		n, err := f.Wait(events, 0)
		must(t, err)
		for _, ev := range events[:n] {
			got = append(got, ev.Token)
		}
	}
	must(t, f.Remove(4)) // reported last
	must(t, f.Remove(0))
	n, err := f.Wait(events, 0)
	must(t, err)
	for _, ev := range events[:n] {
		got = append(got, ev.Token)
	}
	must(t, f.Remove(2)) // reported last; its predecessor is next to last
	n, err = f.Wait(events, 0)
	must(t, err)
	for _, ev := range events[:n] {
		got = append(got, ev.Token)
	}
	if want := []uint64{0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 1, 2, 3, 1}; !reflect.DeepEqual(got, want) {
		t.Fatalf("reported %v, want %v", got, want)
	}
}

func TestFakeRefusesWhatEveryBackendRefuses(t *testing.T) {
	f := NewFake(epoch)
	must(t, f.Add(3, mux.Readable, 7))
	f.Set(3, mux.Readable)
	_, empty := f.Wait(nil, 0)
	for _, c := range []struct {
		name      string
		err, want error
		op        string
		fd        int
	}{
		{"duplicate Add", f.Add(3, mux.Writable, 8), fs.ErrExist, "add", 3},
		{"Add of -1", f.Add(-1, mux.Writable, 8), syscall.EBADF, "add", -1},
		{"Add with Hangup", f.Add(4, mux.Hangup, 8), syscall.EINVAL, "add", 4},
		{"Add with Edge", f.Add(4, mux.Readable|mux.Edge, 8), errors.ErrUnsupported, "add", 4},
		{"Modify with Error", f.Modify(3, mux.Error, 8), syscall.EINVAL, "modify", 3},
		{"Modify with Edge", f.Modify(3, mux.Edge, 8), errors.ErrUnsupported, "modify", 3},
		{"Modify of an unknown", f.Modify(4, mux.Readable, 8), fs.ErrNotExist, "modify", 4},
		{"Remove of an unknown", f.Remove(4), fs.ErrNotExist, "remove", 4},
		{"Wait without room", empty, syscall.EINVAL, "wait", -1},
	} {
		var opErr *mux.OpError
		if !errors.Is(c.err, c.want) || !errors.As(c.err, &opErr) || opErr.Op != c.op || opErr.FD != c.fd {
			t.Errorf("%s: %v, want a *mux.OpError of %s %d that is %v", c.name, c.err, c.op, c.fd, c.want)
		}
	}
	fakeWait(t, f, 0, 0, mux.Event{Token: 7, Ready: mux.Readable})
}

func TestFakeSecondWaiterIsRefused(t *testing.T) {
	f := NewFake(epoch)
	var err error
	f.At(time.Second, func() { _, err = f.Wait(make([]mux.Event, 1), 0) })
	fakeWait(t, f, time.Second, time.Second)
	if !errors.Is(err, mux.ErrWaiting) {
		t.Fatalf("Wait inside Wait: %v, want %v", err, mux.ErrWaiting)
	}
	fakeWait(t, f, time.Second, 2*time.Second)
}

func TestFakeAfterClose(t *testing.T) {
	f := NewFake(epoch)
	must(t, f.Close())
	_, wait := f.Wait(make([]mux.Event, 1), 0)
	for i, err := range []error{f.Add(3, 0, 0), f.Modify(3, 0, 0), f.Remove(3), wait, f.Wake(), f.Close()} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("call %d after Close: %v", i, err)
		}
	}
	if f.Name() != "fake" || !f.Clock().Equal(epoch) {
		t.Errorf("after Close the name is %q and the clock shows %v", f.Name(), f.Clock())
	}
}

func TestFakeSurvivesAPanicInTheSchedule(t *testing.T) {
	f := NewFake(epoch)
	f.At(time.Second, func() { panic("out") })
	func() {
		defer func() {
			if recover() != "out" {
				t.Error("the panic does not propagate")
			}
		}()
		f.Wait(make([]mux.Event, 1), time.Hour)
	}()
	fakeWait(t, f, time.Second, 2*time.Second)
}
