// Package muxtest proves that a backend of package mux keeps the contract of
// [mux.Mux], and lets an event loop be tested in simulated time.
//
// # Conformance
//
// [Run] is the suite that epoll, poll and select pass. A backend from elsewhere
// is proved in a test of its own module:
//
//	package ring_test
//
//	func TestConformance(t *testing.T) {
//		muxtest.Run(t, func() (mux.Mux, error) { return ring.Open() })
//	}
//
// A behaviour is a subtest, so that one of them can be run alone:
//
//	go test -run 'TestConformance/timeout_never_early'
//
// No case depends on the speed of the machine: what must happen is waited for,
// under a watchdog that names the case and shows every goroutine, and the time
// taken has lower bounds only. Where two goroutines can meet in more than one
// order, the case is right in each of them and repeated. A case that the machine
// has no means for, such as a loopback interface, is skipped with the reason.
//
// The suite looks at the descriptors, the signals and the processor time of its
// process and therefore does not belong beside parallel tests.
//
// # What the suite catches
//
// These mistakes were made on purpose, in backends of the package's own tests,
// and each was caught by the subtest beside it:
//
//	an empty set is refused                          empty_wait_zero
//	readiness is reported once                       level_redelivers_until_drained
//	a spent Oneshot stays armed                      oneshot_once_then_modify_rearms
//	a spent Oneshot still reports hang-ups           oneshot_silent_after_hangup
//	an empty interest still reports hang-ups         interest_none_silent_after_hangup
//	silence is a busy loop                           silence_costs_no_cpu
//	conditions are reported that nobody asked for    writable_only_when_asked
//	one descriptor is two events in one Wait         read_and_write_coalesce
//	a hang-up hides the end of file                  hangup_sets_readable
//	a hang-up does not set Writable                  hangup_sets_writable
//	an end of file sets Writable                     hangup_sets_writable
//	a hang-up does not set Readable                  pipe_writer_closed_is_readable
//	an error does not set Writable                   pipe_reader_closed_full_is_writable
//	an error hides what else is ready                connect_refused_is_writable
//	urgent data counts as data                       priority_out_of_band
//	Edge is taken for level                          edge_or_unsupported
//	a duplicate Add replaces                         duplicate_add
//	an unknown Modify registers                      modify_unknown
//	an unknown Remove succeeds                       remove_unknown
//	a bad descriptor is accepted                     add_bad_descriptor
//	report-only bits are accepted                    add_report_only_bits
//	a Modify keeps the old token                     modify_replaces_token_and_interest
//	a refused Add leaves its entry                   failed_add_leaves_nothing
//	a removed descriptor is reported                 remove_silences_then_readd
//	Remove of a closed descriptor fails              remove_after_close
//	a closed descriptor fails Wait                   closed_descriptor_never_breaks_wait
//	a closed descriptor is reported for ever         closed_descriptor_does_not_spin
//	leftover events have no generation check         stale_event_after_reuse
//	events in flight have no generation check        stale_event_after_reuse
//	Remove leaves it to close to tell the kernel     dup_alive_after_remove_and_close
//	kernel events have no generation check           close_without_remove_dup_alive_reuse
//	stale kernel events are filtered for ever        close_without_remove_dup_alive_reuse
//	EPERM of epoll_ctl(2) is passed on               regular_file_always_ready
//	an always ready file is reported once            dev_null_always_ready
//	numbers above 1023 are not watched               descriptor_above_1024
//	Close leaves a descriptor open                   no_descriptor_leak
//	a descriptor is not close-on-exec                no_descriptor_leak
//	a timeout is rounded down                        timeout_never_early
//	the largest timeout overflows                    timeout_max_no_overflow
//	timeout 0 does not look                          zero_timeout_still_polls
//	EINTR is returned                                eintr_invisible
//	a signal ends the Wait                           eintr_invisible
//	a signal starts the timeout again                eintr_invisible
//	a Wake before the Wait is forgotten              wake_sticky_and_coalesced
//	every Wake counts                                wake_sticky_and_coalesced
//	a Wake hides what is ready                       wake_sticky_and_coalesced
//	some Wakes are lost                              wake_concurrent
//	an Add does not reach the Wait under way         add_while_waiting
//	a Modify does not reach the Wait under way       modify_while_waiting
//	a Modify ends the Wait under way                 modify_while_waiting
//	a Remove does not reach the Wait under way       remove_while_waiting
//	a second waiter is let in                        second_waiter_refused
//	Close leaves Wait blocked                        close_unblocks_wait
//	a closed Mux goes on working                     after_close_errclosed
//	two changes at once lose one                     race_hammer
//	what does not fit is lost                        more_ready_than_batch
//	every scan starts at the lowest descriptor       fairness_with_small_batch
//	an empty slice is a time-out                     empty_event_slice_invalid
//	Wait allocates                                   zero_allocs
//
// # Simulated time
//
// [Fake] is a Mux whose Wait advances a clock instead of sleeping. A loop on it
// lives through hours in milliseconds, and the same way every time.
package muxtest

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"iomux/mux"
)

// testCase is one behaviour of the contract.
type testCase struct {
	name string
	run  func(*env)
}

// suite is every behaviour, by subject.
var suite = [][]testCase{readiness, registration, descriptorLife, timing, concurrency, batches}

// watchdog ends a case that hangs. It says nothing about how long one may take.
var watchdog = 30 * time.Second

// Run runs the conformance suite on the backend that open opens, each behaviour
// as a subtest with a Mux of its own. The subtests run one after the other, and
// the test that calls Run must not be parallel to others.
func Run(t *testing.T, open func() (mux.Mux, error)) {
	if err := startPoller(); err != nil {
		t.Fatal(err)
	}
	for _, cases := range suite {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) { runCase(t, c.run, open) })
		}
	}
}

// runCase runs one case in a goroutine of its own, so that it can be given up.
func runCase(t *testing.T, run func(*env), open func() (mux.Mux, error)) {
	before := openDescriptors()
	e := &env{t: t, openMux: open, wants: make(map[uint64]mux.Interest)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				e.failf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		e.m = e.open()
		run(e)
	}()
	select {
	case <-done:
	case <-time.After(watchdog):
		e.failf("hangs: not done after %v. The goroutines:\n%s", watchdog, stacks())
		e.abandon(done)
		return
	}
	e.closeAll()
	if leaked := since(before); len(leaked) > 0 && !t.Failed() {
		t.Errorf("descriptors %v are open that were not before", leaked)
	}
	if e.skipped != "" {
		t.Skip(e.skipped)
	}
}

// stacks returns the stacks of all goroutines.
func stacks() []byte {
	buf := make([]byte, 1<<20)
	return buf[:runtime.Stack(buf, true)]
}

// env is what a case works on: a fresh Mux, descriptors that are closed
// afterwards, and a way to fail.
type env struct {
	t       *testing.T
	openMux func() (mux.Mux, error)
	m       mux.Mux
	wants   map[uint64]mux.Interest // by token: the interest registered under it
	fds     []int                   // opened by the case
	skipped string                  // why the case does not apply

	mu    sync.Mutex
	muxes []mux.Mux // opened by the case
	over  bool      // the case was abandoned: t is no longer ours
}

// open opens another Mux, which is closed after the case unless the case did.
func (e *env) open() mux.Mux {
	e.t.Helper()
	m, err := e.openMux()
	if err != nil {
		e.fatalf("open: %v", err)
	}
	e.mu.Lock()
	e.muxes = append(e.muxes, m)
	e.mu.Unlock()
	return m
}

// failf records a failure; the case goes on.
func (e *env) failf(format string, args ...any) {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.over {
		e.t.Errorf(format, args...)
	}
}

// fatalf records a failure and ends the goroutine, which must be the case's own.
func (e *env) fatalf(format string, args ...any) {
	e.t.Helper()
	e.failf(format, args...)
	runtime.Goexit()
}

// skipf ends the case, which does not apply here.
func (e *env) skipf(format string, args ...any) {
	e.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// abandon gives up a case that hangs. It closes the Muxes, which ends a Wait of
// any backend that is sound enough, and gives the case a moment to unwind.
func (e *env) abandon(done <-chan struct{}) {
	e.mu.Lock()
	e.over = true
	muxes := e.muxes
	e.mu.Unlock()
	for _, m := range muxes {
		go m.Close()
	}
	select {
	case <-done:
	case <-time.After(min(watchdog, time.Second)):
	}
}
