// Package loop runs callbacks for readiness, timers, signals and posted work
// on one goroutine, on any [mux.Mux].
//
// Because everything runs on the goroutine that called Run, one after the
// other, callbacks share state without locks, and a single goroutine serves as
// many descriptors as the process may open:
//
//	m, err := mux.Open("")
//	if err != nil {
//		return err
//	}
//	l := loop.New(m)
//	defer l.Close()
//	if _, err := l.Watch(fd, mux.Readable, func(mux.Event) { receive(fd) }); err != nil {
//		return err
//	}
//	l.Every(time.Second, func() { send(fd) })
//	l.Notify(func(os.Signal) { l.Stop() }, os.Interrupt)
//	return l.Run(context.Background())
//
// A turn of the loop waits until a descriptor is ready or the next timer is
// due; then it runs the callbacks of ready descriptors, of timers that are
// due, and what was posted, in this order.
package loop

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-multierror"

	"iomux/mux"
)

// Loop dispatches events of a Mux to callbacks. Only Post and Stop may be
// called from any goroutine; everything else belongs to the goroutine that
// runs the loop, or to the one that sets it up before and closes it after.
//
// A panic in a callback propagates out of Run and leaves the Loop as it is: Run
// may be called again and goes on with what was still to be done.
type Loop struct {
	m     mux.Mux
	clock func() time.Time
	spin  time.Duration

	watches watches
	timers  timers
	owned   []io.Closer
	signals []*notifier

	// What this turn found. It is forgotten piece by piece, each before it
	// runs, so that after a panic nothing runs twice and nothing is lost.
	events []mux.Event
	ready  span // of events
	due    []*Timer
	fired  span // of due
	work   []func()
	called span // of work

	running  bool
	stopping bool
	closed   bool

	attention atomic.Bool // something is in shared, or the context is done
	shared    struct {    // what other goroutines may touch
		sync.Mutex
		posted []func()
		stop   bool
		closed bool
	}
}

// span is what is still to be done of a slice.
type span struct{ next, end int }

func (s *span) more() bool { return s.next < s.end }

func (s *span) take() int {
	s.next++
	return s.next - 1
}

// An Option adjusts a new Loop.
type Option func(*Loop)

// Spin makes the loop ask the Mux for up to d whether something is ready before
// it blocks. That saves the time it takes to put a thread to sleep and to wake
// it (about 50 microseconds on a virtual machine), and costs a core while
// traffic flows. An idle loop blocks. Spinning delays no timer.
func Spin(d time.Duration) Option { return func(l *Loop) { l.spin = d } }

// BatchSize sets how many events one turn takes from the Mux at the most; the
// default is 128. It panics if n is not positive.
func BatchSize(n int) Option {
	if n <= 0 {
		panic("loop: BatchSize must be positive")
	}
	return func(l *Loop) { l.events = make([]mux.Event, n) }
}

// Clock replaces time.Now, for tests in simulated time (see muxtest.Fake).
func Clock(now func() time.Time) Option { return func(l *Loop) { l.clock = now } }

// New returns a Loop on m, which belongs to it from now on.
func New(m mux.Mux, opts ...Option) *Loop {
	l := &Loop{m: m, clock: time.Now}
	for _, opt := range opts {
		opt(l)
	}
	if l.events == nil {
		l.events = make([]mux.Event, 128)
	}
	l.timers.init(l.clock)
	return l
}

// ErrRunning is returned by Run when the loop is running already.
var ErrRunning = errors.New("loop: Run called while the loop is running")

// Run dispatches until, at the end of a turn, Stop has been called (it returns
// nil), the context is done (it returns the context's error) or a callback has
// called Close (it returns os.ErrClosed). If the Mux fails, it returns that
// error.
func (l *Loop) Run(ctx context.Context) error {
	switch {
	case l.closed:
		return os.ErrClosed
	case l.running:
		return ErrRunning
	case ctx.Err() != nil:
		return ctx.Err()
	}
	l.running = true
	defer func() {
		l.running = false
		l.timers.timeout() // the turn ends, be it by a panic
	}()
	defer context.AfterFunc(ctx, l.call)()
	l.timers.turn()
	for {
		l.dispatch()
		switch {
		case l.closed:
			return os.ErrClosed
		case l.stopping:
			l.stopping = false
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		n, err := l.wait()
		if err != nil {
			return err
		}
		l.ready = span{0, n}
		l.timers.turn()
		l.due = l.timers.detach(l.due[:0])
		l.fired = span{0, len(l.due)}
	}
}

// dispatch runs what this turn has found.
func (l *Loop) dispatch() {
	for l.ready.more() {
		ev := l.events[l.ready.take()]
		if s := l.watches.find(ev.Token); s != nil {
			s.fn(ev)
		}
	}
	for l.fired.more() {
		i := l.fired.take()
		t := l.due[i]
		l.due[i] = nil
		t.fire()
	}
	l.attend()
	for l.called.more() {
		i := l.called.take()
		fn := l.work[i]
		l.work[i] = nil
		fn()
	}
	l.work, l.called = l.work[:0], span{}
}

// wait waits for readiness until the next timer is due.
func (l *Loop) wait() (int, error) {
	timeout := l.timers.timeout()
	if l.spin > 0 && timeout != 0 {
		for start := time.Now(); ; {
			n, err := l.m.Wait(l.events, 0)
			if n > 0 || err != nil || l.attention.Load() {
				return n, err
			}
			if timeout = l.timers.timeout(); timeout == 0 || time.Since(start) >= l.spin {
				break
			}
		}
	}
	return l.m.Wait(l.events, timeout)
}

// attend takes over what other goroutines have left.
func (l *Loop) attend() {
	if !l.attention.Load() {
		return
	}
	l.attention.Store(false) // what comes after this calls again
	l.shared.Lock()
	defer l.shared.Unlock()
	l.work = append(l.work, l.shared.posted...)
	l.called = span{l.called.next, len(l.work)}
	clear(l.shared.posted)
	l.shared.posted = l.shared.posted[:0]
	l.stopping = l.stopping || l.shared.stop
	l.shared.stop = false
}

// call tells the loop to attend. Only the first call before it does wakes the
// Mux.
func (l *Loop) call() {
	if !l.attention.Swap(true) {
		l.m.Wake() // fails only when the loop is closed
	}
}

// Post runs fn on the loop at the end of the turn, after what was posted before.
// It may be called from any goroutine. What is posted from posted work runs in
// the next turn. After Close nothing that is posted runs.
func (l *Loop) Post(fn func()) {
	needFunc(fn != nil, "Post")
	l.shared.Lock()
	if !l.shared.closed {
		l.shared.posted = append(l.shared.posted, fn)
	}
	l.shared.Unlock()
	l.call()
}

// needFunc panics where the function that is to be called is nil, rather than when
// it is to be called.
func needFunc(ok bool, method string) {
	if !ok {
		panic("loop: " + method + " of a nil function")
	}
}

// Stop makes Run return nil at the end of the turn, when everything that was
// posted before has run; from posted work it is the next turn. It may be called
// from any goroutine; before Run it makes the next Run return.
func (l *Loop) Stop() {
	l.shared.Lock()
	l.shared.stop = true
	l.shared.Unlock()
	l.call()
}

// Now returns the time of this turn: when the clock was first looked at after
// the loop had waited. Between two Runs it looks at the clock.
func (l *Loop) Now() time.Time { return l.timers.time() }

// Time looks at the clock that Now is by, as often as it is called: for what happened
// in the course of a turn.
func (l *Loop) Time() time.Time { return l.clock() }

// Own hands a resource to the loop: Close closes it, after the watches have
// been removed.
func (l *Loop) Own(c io.Closer) { l.owned = append(l.owned, c) }

// Close removes every watch, ends the delivery of signals, closes the owned
// resources in the reverse order of Own, and then the Mux; it disarms all timers. It goes on when
// something fails, and returns everything that did: one error as itself,
// several as a *multierror.Error. A second Close returns os.ErrClosed.
func (l *Loop) Close() error {
	if l.closed {
		return os.ErrClosed
	}
	l.closed = true
	l.shared.Lock()
	l.shared.closed, l.shared.posted = true, nil
	l.shared.Unlock()
	var errs *multierror.Error
	fail := func(err error) {
		if err != nil {
			errs = multierror.Append(errs, err)
		}
	}
	for w := range l.watches.all() {
		fail(w.Stop())
	}
	for len(l.signals) > 0 {
		l.signals[len(l.signals)-1].stop()
	}
	for _, c := range slices.Backward(l.owned) {
		fail(c.Close())
	}
	fail(l.m.Close())
	for l.fired.more() {
		l.due[l.fired.take()].index = idle
	}
	l.timers.close()
	l.owned, l.due, l.work = nil, nil, nil
	l.ready, l.fired, l.called = span{}, span{}, span{}
	if errs != nil && len(errs.Errors) == 1 {
		return errs.Errors[0]
	}
	return errs.ErrorOrNil()
}
