package transporttest

import (
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"iomux/mux"
	"iomux/transport"
)

// testCase is one behaviour of the contract.
type testCase struct {
	name string
	run  func(*env)
}

// suite is every behaviour, by subject.
var suite = slices.Concat(descriptor, receiving, exchange, sending, lifetime, system)

func caseNames() []string {
	var names []string
	for _, c := range suite {
		names = append(names, c.name)
	}
	return names
}

func isCase(name string) bool { return slices.Contains(caseNames(), name) }

// watchdog ends a case that hangs. It says nothing about how long one may take.
var watchdog = 30 * time.Second

// Run runs the conformance suite on a transport, each behaviour as a subtest
// with a pair of its own. The subtests run one after the other, and the test
// that calls Run must not be parallel to others.
func Run(t *testing.T, s Subject) {
	t.Helper()
	if err := s.check(); err != nil {
		t.Fatalf("transporttest: the subject %q cannot be tested:\n%v", s.Network, err)
	}
	if err := startPoller(); err != nil {
		t.Fatal(err)
	}
	for _, c := range suite {
		if why, ok := s.Without[c.name]; ok {
			t.Logf("there is no %s: %s", c.name, why)
			continue
		}
		t.Run(c.name, func(t *testing.T) { runCase(t, &s, c.run) })
	}
}

// runCase runs one case in a goroutine of its own, so that it can be given up.
func runCase(t *testing.T, s *Subject, run func(*env)) {
	before := openDescriptors()
	e := &env{t: t, s: s, ended: make(chan struct{})}
	if err := e.openMuxes(); err != nil {
		e.cleanUp()
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				e.failf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		run(e)
	}()
	select {
	case <-done:
	case <-time.After(watchdog):
		e.failf("hangs: not done after %v. The goroutines:\n%s", watchdog, stacks())
		e.abandon(done)
		return
	}
	e.cleanUp()
	if leaked := since(before); len(leaked) > 0 && !t.Failed() {
		t.Errorf("descriptors %v are open that were not before", leaked)
	}
}

// stacks returns the stacks of all goroutines.
func stacks() []byte {
	buf := make([]byte, 1<<20)
	return buf[:runtime.Stack(buf, true)]
}

// env is what a case works on: the subject, what is to be undone afterwards, and
// a way to fail.
type env struct {
	t *testing.T
	s *Subject

	mu     sync.Mutex
	undo   []func()              // in reverse order after the case
	opened []transport.Transport // closed after the case
	over   bool                  // the case was abandoned: t is no longer ours
	failed bool
	ended  chan struct{} // closed when the case has failed or is over: waiting is in vain

	muxes []mux.Mux // one of every backend
}

// open opens a pair, which is closed after the case unless the case did.
func (e *env) open(cfg *transport.Config) Pair {
	e.t.Helper()
	p, err := e.s.Open(cfg)
	if err != nil {
		e.fatalf("opening a pair with %+v: %v", cfg, err)
	}
	e.mu.Lock()
	e.opened = append(e.opened, p.A, p.B)
	e.mu.Unlock()
	return p
}

// cleanup has f called after the case, before the transports are closed.
func (e *env) cleanup(f func()) {
	e.mu.Lock()
	e.undo = append(e.undo, f)
	e.mu.Unlock()
}

func (e *env) cleanUp() {
	for _, f := range slices.Backward(e.undo) {
		f()
	}
	for _, tr := range e.opened {
		if err := tr.Close(); err != nil && !isClosed(err) {
			e.failf("Close: %v", err)
		}
	}
}

// failf records a failure. The case goes on, but no longer waits for anything.
func (e *env) failf(format string, args ...any) {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return
	}
	e.t.Errorf(format, args...)
	if !e.failed {
		e.failed = true
		close(e.ended)
	}
}

// fatalf records a failure and ends the goroutine.
func (e *env) fatalf(format string, args ...any) {
	e.t.Helper()
	e.failf(format, args...)
	runtime.Goexit()
}

// must fails the case where a call of its own did: the machine or the subject
// is at fault then, not the transport.
func (e *env) must(err error) {
	e.t.Helper()
	if err != nil {
		e.fatalf("preparing the case: %v", err)
	}
}

// abandon gives up a case that hangs, and gives it a moment to unwind.
func (e *env) abandon(done <-chan struct{}) {
	e.mu.Lock()
	e.over = true
	undo, opened := e.undo, e.opened
	e.mu.Unlock()
	go func() {
		for _, f := range slices.Backward(undo) {
			f()
		}
		for _, tr := range opened {
			tr.Close()
		}
	}()
	select {
	case <-done:
	case <-time.After(min(watchdog, time.Second)):
	}
}
