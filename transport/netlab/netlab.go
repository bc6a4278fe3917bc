// Package netlab makes private network namespaces for demos, tests and
// benchmarks: traffic there reaches nobody, and settings that belong to the
// whole machine can be changed. No privileges are needed where the system
// allows user namespaces.
//
// A network namespace cannot be entered by a running Go program as an ordinary
// user (a process with threads may not enter a user namespace), so the program
// is started a second time, in a namespace of its own. Tests do that in
// TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }
//
//	func TestServer(t *testing.T) {
//		netlab.Need(t) // skips where the system refuses
//		lab, err := netlab.Current()
//		if err != nil {
//			t.Fatal(err)
//		}
//		defer lab.Close()
//		err = lab.SetEchoReplies(false) // concerns this test binary only
//	}
//
// and other programs by [Reexec]. Further namespaces come from [New], and
// [Veth] puts a cable between two. In all of them the loopback interface is up
// and IPv6 duplicate address detection is off, so that addresses can be used
// at once. There the program is user 0 with all capabilities over these
// namespaces; [WithoutCapabilities] starts a command that has fewer.
package netlab

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// mark is the alias of the loopback interface (ip-link(8)) in every namespace
// that this package made.
const mark = "iomux/transport/netlab"

// Inside reports whether the calling goroutine runs in a network namespace
// that this package made.
//
// It asks the namespace itself, which carries a mark that only CAP_NET_ADMIN
// over it can set; no environment variable is believed. So the answer is right
// in every program that was started inside, however indirectly, and in one
// that has left the namespace again. It says nothing about who made the
// namespace or who else is in it: do not decide about privileges by it.
func Inside() bool {
	lo, err := netlink.LinkByName("lo")
	return err == nil && lo.Attrs().Alias == mark
}

// refusal is why Main runs the tests in place.
var refusal error

// Main runs the tests of a package in a private network namespace and returns
// the exit code for os.Exit; m is a *testing.M. It starts the test binary again
// as [Reexec] does. Inside already, be it in that second run, in a fuzzing
// worker or in a test binary that a program in a private namespace started, it
// runs m in place. It does so as well where the system refuses a namespace;
// tests that cannot do without call [Need].
func Main(m interface{ Run() int }) int {
	if Inside() {
		return m.Run()
	}
	code, err := Reexec()
	if err != nil {
		refusal = err
		return m.Run()
	}
	return code
}

// Need skips the test, a testing.TB, unless it runs [Inside], and says what is
// missing.
func Need(t interface {
	Helper()
	Skipf(format string, args ...any)
}) {
	t.Helper()
	if !Inside() {
		t.Skipf("%v", errOutside())
	}
}

func errOutside() error {
	if refusal != nil {
		return refusal
	}
	return errors.New("netlab: this network namespace is not a private one: start the program by netlab.Reexec, or its tests by netlab.Main in TestMain")
}

// setUp makes the fresh network namespace of the calling thread usable, and
// marks it last.
func setUp() error {
	// Duplicate address detection would keep every IPv6 address tentative for a
	// second or more. Where it cannot be switched off, because there is no IPv6
	// or because /proc/sys is read-only, await waits for it instead.
	writeSysctl("net.ipv6.conf.all.accept_dad", "0")
	writeSysctl("net.ipv6.conf.default.accept_dad", "0")
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err == nil {
		err = await(lo.Attrs().Name)
	}
	if err == nil {
		err = netlink.LinkSetAlias(lo, mark)
	}
	if err != nil {
		return fmt.Errorf("netlab: set up the loopback interface: %w", err)
	}
	return nil
}
