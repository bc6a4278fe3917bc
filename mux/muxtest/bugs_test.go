package muxtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"iomux/mux"
)

// bugs are mistakes that a backend can make, each with the case that is to
// catch it. The package documentation lists them.
var bugs = []struct {
	name, caughtBy string
	open           func(bug string) (mux.Mux, error)
}{
	{"an empty set is refused", "empty_wait_zero", openReference},
	{"readiness is reported once", "level_redelivers_until_drained", openReference},
	{"a spent Oneshot stays armed", "oneshot_once_then_modify_rearms", openReference},
	{"a spent Oneshot still reports hang-ups", "oneshot_silent_after_hangup", openReference},
	{"an empty interest still reports hang-ups", "interest_none_silent_after_hangup", openReference},
	{"silence is a busy loop", "silence_costs_no_cpu", openReference},
	{"conditions are reported that nobody asked for", "writable_only_when_asked", openReference},
	{"one descriptor is two events in one Wait", "read_and_write_coalesce", openReference},
	{"a hang-up hides the end of file", "hangup_sets_readable", openReference},
	{"a hang-up does not set Writable", "hangup_sets_writable", openReference},
	{"an end of file sets Writable", "hangup_sets_writable", openReference},
	{"a hang-up does not set Readable", "pipe_writer_closed_is_readable", openReference},
	{"an error does not set Writable", "pipe_reader_closed_full_is_writable", openReference},
	{"an error hides what else is ready", "connect_refused_is_writable", openReference},
	{"urgent data counts as data", "priority_out_of_band", openReference},
	{"Edge is taken for level", "edge_or_unsupported", openReference},

	{"a duplicate Add replaces", "duplicate_add", openReference},
	{"an unknown Modify registers", "modify_unknown", openReference},
	{"an unknown Remove succeeds", "remove_unknown", openReference},
	{"a bad descriptor is accepted", "add_bad_descriptor", openReference},
	{"report-only bits are accepted", "add_report_only_bits", openReference},
	{"a Modify keeps the old token", "modify_replaces_token_and_interest", openReference},
	{"a refused Add leaves its entry", "failed_add_leaves_nothing", openReference},
	{"a removed descriptor is reported", "remove_silences_then_readd", openReference},

	{"Remove of a closed descriptor fails", "remove_after_close", openReference},
	{"a closed descriptor fails Wait", "closed_descriptor_never_breaks_wait", openReference},
	{"a closed descriptor is reported for ever", "closed_descriptor_does_not_spin", openReference},
	{"leftover events have no generation check", "stale_event_after_reuse", openReference},
	{"events in flight have no generation check", "stale_event_after_reuse", openReference},
	{"Remove leaves it to close to tell the kernel", "dup_alive_after_remove_and_close", openEpollReference},
	{"kernel events have no generation check", "close_without_remove_dup_alive_reuse", openEpollReference},
	{"stale kernel events are filtered for ever", "close_without_remove_dup_alive_reuse", openEpollReference},
	{"EPERM of epoll_ctl(2) is passed on", "regular_file_always_ready", openReference},
	{"an always ready file is reported once", "dev_null_always_ready", openReference},
	{"numbers above 1023 are not watched", "descriptor_above_1024", openReference},
	{"Close leaves a descriptor open", "no_descriptor_leak", openReference},
	{"a descriptor is not close-on-exec", "no_descriptor_leak", openReference},

	{"a timeout is rounded down", "timeout_never_early", openReference},
	{"the largest timeout overflows", "timeout_max_no_overflow", openReference},
	{"timeout 0 does not look", "zero_timeout_still_polls", openReference},
	{"EINTR is returned", "eintr_invisible", openReference},
	{"a signal ends the Wait", "eintr_invisible", openReference},
	{"a signal starts the timeout again", "eintr_invisible", openReference},

	{"a Wake before the Wait is forgotten", "wake_sticky_and_coalesced", openReference},
	{"every Wake counts", "wake_sticky_and_coalesced", openReference},
	{"a Wake hides what is ready", "wake_sticky_and_coalesced", openReference},
	{"some Wakes are lost", "wake_concurrent", openReference},
	{"an Add does not reach the Wait under way", "add_while_waiting", openReference},
	{"a Modify does not reach the Wait under way", "modify_while_waiting", openReference},
	{"a Modify ends the Wait under way", "modify_while_waiting", openReference},
	{"a Remove does not reach the Wait under way", "remove_while_waiting", openReference},
	{"a second waiter is let in", "second_waiter_refused", openReference},
	{"Close leaves Wait blocked", "close_unblocks_wait", openReference},
	{"a closed Mux goes on working", "after_close_errclosed", openReference},
	{"two changes at once lose one", "race_hammer", openReference},

	{"what does not fit is lost", "more_ready_than_batch", openReference},
	{"every scan starts at the lowest descriptor", "fairness_with_small_batch", openReference},
	{"an empty slice is a time-out", "empty_event_slice_invalid", openReference},
	{"Wait allocates", "zero_allocs", openReference},
}

// bugVariable names the bug that TestBug has in the process that runs it.
const bugVariable = "MUXTEST_BUG"

// TestReferences shows that it is the bugs that are caught.
func TestReferences(t *testing.T) {
	t.Run("poll", func(t *testing.T) {
		Run(t, func() (mux.Mux, error) { return openReference("") })
	})
	t.Run("epoll", func(t *testing.T) {
		for _, c := range descriptorLife {
			if strings.HasPrefix(c.name, "dup_alive") || strings.HasPrefix(c.name, "close_without") {
				t.Run(c.name, func(t *testing.T) {
					runCase(t, c.run, func() (mux.Mux, error) { return openEpollReference("") })
				})
			}
		}
	})
}

// TestBug is no test by itself: in a process that TestBugsAreCaught starts, where
// it may fail, it runs the suite on a backend with a bug.
func TestBug(t *testing.T) {
	bug := os.Getenv(bugVariable)
	if bug == "" {
		return
	}
	watchdog = 2 * time.Second
	open := openReference
	for _, b := range bugs {
		if b.name == bug {
			open = b.open
		}
	}
	Run(t, func() (mux.Mux, error) { return open(bug) })
}

// runBug runs one case on a backend with a bug, and returns what that printed.
func runBug(t *testing.T, bug, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a process")
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^TestBug$/^"+name+"$")
	cmd.Env = append(os.Environ(), bugVariable+"="+bug)
	out, _ := cmd.CombinedOutput() // that it fails is what we want
	if !bytes.Contains(out, []byte("--- FAIL: TestBug/"+name+" ")) {
		t.Fatalf("%s is not caught by %s:\n%s", bug, name, out)
	}
	return string(out)
}

func TestBugsAreCaught(t *testing.T) {
	for _, b := range bugs {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			runBug(t, b.name, b.caughtBy)
		})
	}
}

// TestFailuresAreExplained is about what surrounds every case.
func TestFailuresAreExplained(t *testing.T) {
	for _, c := range []struct{ bug, name, want string }{
		{"it does not open", "empty_wait_zero", "open: mux: reference open: function not implemented"},
		{"Add panics", "duplicate_add", "panic: Add panics"},
		{"Add panics", "duplicate_add", "muxtest.duplicateAdd("}, // the stack
		{"an Add does not reach the Wait under way", "add_while_waiting", "hangs: not done after 2s"},
		{"an Add does not reach the Wait under way", "add_while_waiting", "muxtest.addWhileWaiting("},
		{"Close leaves Wait blocked", "close_unblocks_wait", "hangs: not done after 2s"},
		{"Close leaves a descriptor open", "empty_wait_zero", "are open that were not before"},
		{"Close closes what was lent", "writable_only_when_asked", "was lent to the Mux and is closed"},
	} {
		t.Run(c.want, func(t *testing.T) {
			t.Parallel()
			if out := runBug(t, c.bug, c.name); !strings.Contains(out, c.want) {
				t.Errorf("%s: %s does not say %q:\n%s", c.bug, c.name, c.want, out)
			}
		})
	}
}

// TestEveryCaseCatchesABug shows that no case is idle.
func TestEveryCaseCatchesABug(t *testing.T) {
	catches := make(map[string]bool)
	for _, b := range bugs {
		catches[b.caughtBy] = true
	}
	n := 0
	for _, cases := range suite {
		for _, c := range cases {
			if n++; !catches[c.name] {
				t.Errorf("no bug shows what %s is for", c.name)
			}
			delete(catches, c.name)
		}
	}
	for name := range catches {
		t.Errorf("there is no case %s, or there are two", name)
	}
	if n != 50 {
		t.Errorf("the suite has %d cases, want 50", n)
	}
}

func TestDocumentationListsTheBugs(t *testing.T) {
	source, err := os.ReadFile("suite.go")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, b := range bugs {
		fmt.Fprintf(&want, "//\t%-48s %s\n", b.name, b.caughtBy)
	}
	got := regexp.MustCompile(`(?m)^//\t\S.*[a-z]  +[a-z0-9_]+\n`).FindAllString(string(source), -1)
	if strings.Join(got, "") != want.String() {
		t.Errorf("the package documentation has another list than\n%s", want.String())
	}
}
