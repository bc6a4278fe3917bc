package muxtest

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"iomux/mux"
)

// errDeadlock is EDEADLK with the reason.
var errDeadlock = fmt.Errorf("nothing is ready and nothing is scheduled, so it would never return: %w", syscall.EDEADLK)

// Fake is a Mux in simulated time, for tests of event loops. Its Wait never
// sleeps: it reports what [Fake.Set] has made ready, or else moves the clock on
// to the next function that [Fake.At] has scheduled, or to its timeout.
//
// Descriptors are plain numbers that need not be open. Registration, Oneshot,
// Wake and Close are those of every backend; Edge is not supported. Descriptors
// are reported in the order of their registration, beginning after the last one
// reported, so that a run is the same every time.
//
// Wait with a negative timeout fails with EDEADLK, in a *mux.OpError, if nothing
// is ready, woken or scheduled: simulated time has come to its end. Work posted
// by real goroutines does not belong on a Fake.
type Fake struct {
	mu         sync.Mutex
	start, now time.Time
	ready      map[int]mux.Interest // by descriptor
	entries    []*fakeEntry         // in the order of registration
	last       *fakeEntry           // reported last
	schedule   []fakeCall           // in the order of time
	waiting    bool
	woken      bool
	closed     bool
}

type fakeEntry struct {
	fd    int
	want  mux.Interest
	token uint64
	spent bool // a Oneshot that has been reported
}

type fakeCall struct {
	at time.Time
	fn func()
}

var _ mux.Mux = (*Fake)(nil)

// NewFake returns a Fake whose clock shows start.
func NewFake(start time.Time) *Fake {
	return &Fake{start: start, now: start, ready: make(map[int]mux.Interest)}
}

// Clock returns the simulated time. The method value is what a loop takes for
// time.Now.
func (f *Fake) Clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Set makes fd ready for just these conditions, from now on and whether it is
// registered or not. Hangup and Error have the effect that they have on every
// backend.
func (f *Fake) Set(fd int, ready mux.Interest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ready[fd] = ready
}

// At schedules fn for when d has passed since the start. A Wait calls it when
// the clock gets there, or at once if it is past that; fn may call any method
// but Wait. Functions for the same instant are called in the order in which
// they were scheduled.
func (f *Fake) At(d time.Duration, fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.start.Add(d)
	i := len(f.schedule)
	for i > 0 && f.schedule[i-1].at.After(at) {
		i--
	}
	f.schedule = slices.Insert(f.schedule, i, fakeCall{at, fn})
}

// Name returns "fake".
func (f *Fake) Name() string { return "fake" }

// Add is [mux.Mux.Add] for any number that is not negative.
func (f *Fake) Add(fd int, want mux.Interest, token uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check("add", fd, want); err != nil {
		return err
	}
	if fd < 0 {
		return f.fail("add", fd, syscall.EBADF)
	}
	if f.entry(fd) != nil {
		return f.fail("add", fd, syscall.EEXIST)
	}
	f.entries = append(f.entries, &fakeEntry{fd: fd, want: want, token: token})
	return nil
}

// Modify is [mux.Mux.Modify].
func (f *Fake) Modify(fd int, want mux.Interest, token uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check("modify", fd, want); err != nil {
		return err
	}
	e := f.entry(fd)
	if e == nil {
		return f.fail("modify", fd, syscall.ENOENT)
	}
	e.want, e.token, e.spent = want, token, false
	return nil
}

// Remove is [mux.Mux.Remove].
func (f *Fake) Remove(fd int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	i := slices.IndexFunc(f.entries, func(e *fakeEntry) bool { return e.fd == fd })
	if i < 0 {
		return f.fail("remove", fd, syscall.ENOENT)
	}
	if f.entries[i] == f.last {
		f.last = nil
		if i > 0 {
			f.last = f.entries[i-1]
		}
	}
	f.entries = slices.Delete(f.entries, i, i+1)
	return nil
}

// Wait is [mux.Mux.Wait] in simulated time. It calls what [Fake.At] has
// scheduled.
func (f *Fake) Wait(events []mux.Event, timeout time.Duration) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return 0, os.ErrClosed
	case f.waiting:
		return 0, mux.ErrWaiting
	case len(events) == 0:
		return 0, f.fail("wait", -1, syscall.EINVAL)
	}
	f.waiting = true
	defer func() { f.waiting = false }()

	end := f.now.Add(timeout)
	for {
		f.callDue()
		if f.closed {
			return 0, os.ErrClosed
		}
		n := f.collect(events)
		if n > 0 || f.woken {
			f.woken = false
			return n, nil
		}
		if timeout >= 0 && !f.now.Before(end) {
			return 0, nil
		}
		switch scheduled := len(f.schedule) > 0; {
		case scheduled && (timeout < 0 || !f.schedule[0].at.After(end)):
			f.now = f.schedule[0].at
		case timeout >= 0:
			f.now = end
		default:
			return 0, f.fail("wait", -1, errDeadlock)
		}
	}
}

// Wake is [mux.Mux.Wake]. It moves no clock.
func (f *Fake) Wake() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	f.woken = true
	return nil
}

// Close is [mux.Mux.Close]. The clock still shows its time.
func (f *Fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	f.closed = true
	return nil
}

// callDue calls what is scheduled for now or earlier, including what those calls
// schedule. It lets go of the mutex for each call, even if that panics.
func (f *Fake) callDue() {
	for len(f.schedule) > 0 && !f.schedule[0].at.After(f.now) && !f.closed {
		fn := f.schedule[0].fn
		f.schedule[0].fn = nil
		f.schedule = f.schedule[1:]
		func() {
			f.mu.Unlock()
			defer f.mu.Lock()
			fn()
		}()
	}
}

// collect reports what is ready.
func (f *Fake) collect(events []mux.Event) int {
	n := 0
	first := slices.Index(f.entries, f.last) + 1 // 0 if there is no last one
	for i := range f.entries {
		if n == len(events) {
			break
		}
		e := f.entries[(first+i)%len(f.entries)]
		asked := e.want & conditions
		ready := f.ready[e.fd]
		if ready&hints != 0 {
			ready |= mux.Readable | mux.Writable
		}
		if ready &= asked | hints; e.spent || asked == 0 || ready == 0 {
			continue
		}
		events[n] = mux.Event{Token: e.token, Ready: ready}
		n++
		e.spent = e.want&mux.Oneshot != 0
		f.last = e
	}
	return n
}

func (f *Fake) entry(fd int) *fakeEntry {
	for _, e := range f.entries {
		if e.fd == fd {
			return e
		}
	}
	return nil
}

// check refuses what Add and Modify both refuse.
func (f *Fake) check(op string, fd int, want mux.Interest) error {
	switch {
	case f.closed:
		return os.ErrClosed
	case want&^(conditions|mux.Oneshot|mux.Edge) != 0:
		return f.fail(op, fd, syscall.EINVAL)
	case want&mux.Edge != 0:
		return f.fail(op, fd, syscall.EOPNOTSUPP)
	}
	return nil
}

func (f *Fake) fail(op string, fd int, err error) error {
	return &mux.OpError{Op: op, Backend: f.Name(), FD: fd, Err: err}
}
