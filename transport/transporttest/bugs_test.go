package transporttest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// bugs are mistakes that a transport can make, each with the case that is to
// catch it. The package documentation lists them.
var bugs = []struct{ name, caughtBy string }{
	{"the descriptor blocks", "descriptor_is_stable"},
	{"the descriptor survives execve(2)", "descriptor_is_stable"},
	{"an idle Recv is an error", "idle_recv_is_0_nil"},
	{"FD is another descriptor", "readable_on_every_backend"},
	{"Recv stops after the first message", "drained_is_silent"},
	{"a transmit stamp stays in the queue", "drained_is_silent"},

	{"an empty message is dropped", "empty_message"},
	{"truncation is not flagged", "truncation_flagged"},
	{"Recv writes beyond Buf", "truncation_flagged"},
	{"an empty Recv takes a message", "empty_slice_consumes_nothing"},
	{"Recv clears what it does not fill", "recv_leaves_the_rest_untouched"},
	{"Recv replaces Buf", "recv_leaves_the_rest_untouched"},
	{"fields of an earlier message stay", "recv_leaves_the_rest_untouched"},
	{"the filter comes after the first message", "filter_before_the_first_message"},

	{"Send sends Buf from its start", "round_trip_byte_exact"},
	{"the payload begins in the header", "round_trip_byte_exact"},
	{"what is past the batch counts as sent", "batches_of_every_size"},
	{"a batch is sent backwards", "order_kept"},
	{"Send changes what it sent", "send_leaves_messages_untouched"},
	{"Send looks at buffers after it has returned", "nothing_retained"},
	{"the buffers of a Recv are used by the next", "nothing_retained"},
	{"an answer has the TTL of its request", "echo_in_place"},
	{"Recv and Send share their memory", "recv_and_send_at_once"},
	{"Recv allocates", "zero_allocs"},
	{"Send allocates", "zero_allocs"},

	{"a full buffer is an error", "short_send_then_writable"},
	{"a short send counts as a whole one", "short_send_then_writable"},
	{"Send would block where there is room", "short_send_then_writable"},
	{"a bad message fails its batch", "send_error_is_about_the_first"},
	{"a bad message is skipped in silence", "send_error_is_about_the_first"},
	{"an error is a bare errno", "send_error_is_about_the_first"},
	{"Send takes a pending error for its own", "pending_error_reported_once"},
	{"Send swallows a pending error", "pending_error_reported_once"},
	{"ENOBUFS always means that it would block", "enobufs_blocks_or_is_an_error"},
	{"EINTR is returned", "eintr_invisible"},

	{"a second Close succeeds", "after_close_errclosed"},
	{"a closed transport goes on with its number", "after_close_errclosed"},
	{"Close leaves a descriptor open", "no_leak"},
	{"Close leaves a goroutine", "no_leak"},
	{"Options that it does not know are accepted", "no_leak"},

	{"a refusal gives no advice", "unprivileged_open"},
	{"an interface that is down swallows messages", "link_down_and_up"},
	{"an interface that is down makes waiters spin", "link_down_and_up"},
	{"an interface that was down stays down", "link_down_and_up"},
	{"it is not registered", "unknown_network_lists_known"},
	{"it is not registered", "duplicate_register_panics"},
}

// bugVariable names the bug that TestBug has in the process that runs it.
const bugVariable = "TRANSPORTTEST_BUG"

// TestReference shows that it is the bugs that are caught.
func TestReference(t *testing.T) { Run(t, referenceSubject("")) }

// TestBug is no test by itself: in a process that TestBugsAreCaught starts, where
// it may fail, it runs the suite on a transport with a bug.
func TestBug(t *testing.T) {
	bug := os.Getenv(bugVariable)
	if bug == "" {
		return
	}
	watchdog = 2 * time.Second
	Run(t, referenceSubject(bug))
}

// runBug runs one case on a transport with a bug, and returns what that printed.
func runBug(t *testing.T, bug, name string) string {
	t.Helper()
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
		{"it does not open", "idle_recv_is_0_nil", "opening a pair with <nil>: open reference: socket: function not implemented"},
		{"Recv panics", "idle_recv_is_0_nil", "panic: Recv panics"},
		{"Recv panics", "idle_recv_is_0_nil", "transporttest.idleRecvIs0Nil("}, // the stack
		{"an empty message is dropped", "empty_message", "hangs: not done after 2s"},
		{"an empty message is dropped", "empty_message", "transporttest.emptyMessage("},
		{"B cannot send", "echo_in_place", "Pair.ToA is nil: declare the case in Without, with the reason"},
		{"Close leaves a descriptor open", "idle_recv_is_0_nil", "are open that were not before"},
		{"an interface that is down makes waiters spin", "link_down_and_up", "epoll says readable, poll says readable, select says readable"},
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
	for _, name := range caseNames() {
		if !catches[name] {
			t.Errorf("no bug shows what %s is for", name)
		}
		delete(catches, name)
	}
	for name := range catches {
		t.Errorf("there is no case %s, or there are two", name)
	}
	if n := len(suite); n != 28 {
		t.Errorf("the suite has %d cases, want 28", n)
	}
}

func TestDocumentationListsTheBugs(t *testing.T) {
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, b := range bugs {
		fmt.Fprintf(&want, "//\t%-46s %s\n", b.name, b.caughtBy)
	}
	got := regexp.MustCompile(`(?m)^//\t\S.*[a-z)]  +[a-z0-9_]+\n`).FindAllString(string(source), -1)
	if strings.Join(got, "") != want.String() {
		t.Errorf("the package documentation has another list than\n%s", want.String())
	}
}
