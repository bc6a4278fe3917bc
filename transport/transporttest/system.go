package transporttest

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// system: privileges, the interface, the registry.
var system = []testCase{
	{"unprivileged_open", unprivilegedOpen},
	{"link_down_and_up", linkDownAndUp},
	{"unknown_network_lists_known", unknownNetworkListsKnown},
	{"duplicate_register_panics", duplicateRegisterPanics},
}

func unprivilegedOpen(e *env) {
	var tr transport.Transport
	var err error
	e.must(e.s.Deny(func() { tr, err = transport.Open(e.s.Network, "", nil) }))
	if err == nil {
		tr.Close()
		e.fatalf("Open succeeds where it is denied")
	}
	e.refused(0, err, "Open where it is denied")
	var advice *transport.PermissionError
	switch {
	case !errors.Is(err, fs.ErrPermission):
		e.fatalf("Open: %v, want one that is fs.ErrPermission", err)
	case !errors.As(err, &advice) || advice.Advice == "":
		e.fatalf("Open: %v does not advise what to do: want a *transport.PermissionError", err)
	}
}

func linkDownAndUp(e *env) {
	p := e.open(nil)
	e.needs(p.ToB, "ToB")
	e.cleanup(func() { e.s.SetLink(p, true) })
	e.move(p.A, p.B, messages(1, 0, e.typical(), p.ToB), e.typical())
	for range 2 {
		e.must(e.s.SetLink(p, false))
		e.reportsDown(p)
		e.must(e.s.SetLink(p, true))
		e.retry(p.A, p.B, p.ToB)
		if p.ToA != nil {
			e.retry(p.B, p.A, p.ToA)
		}
	}
}

// reportsDown demands an error, from Send or Recv, and silence afterwards.
func (e *env) reportsDown(p Pair) {
	e.t.Helper()
	const tries = 100
	reported := false
	for range tries {
		if _, err := p.A.Send(messages(1, 0, e.typical(), p.ToB)); err != nil {
			e.refused(0, err, "Send with the interface down")
			reported = true
		}
		quiet := false
		for range tries {
			n, err := p.A.Recv(slots(1, e.typical()))
			if err != nil {
				e.refused(n, err, "Recv with the interface down")
				reported = true
			} else if n == 0 {
				quiet = true
				break
			}
		}
		if !quiet {
			e.fatalf("Recv has something %d times, with the interface down", tries)
		}
		if reported {
			e.nothing(p.A)
			return
		}
	}
	e.fatalf("neither Send nor Recv reports that the interface is down")
}

// retry sends until a message arrives: an interface takes a moment, in which
// messages may be lost.
func (e *env) retry(from, to transport.Transport, message func(seq, size int) transport.Message) {
	e.t.Helper()
	in := slots(1, e.typical())
	for seq := 0; ; seq++ {
		from.Send([]transport.Message{message(seq, e.typical())})
		fds := []unix.PollFd{{Fd: int32(to.FD()), Events: unix.POLLIN}}
		if e.poll(fds, 20) && e.recv(to, in) == 1 {
			break
		}
		select {
		case <-e.ended:
			runtime.Goexit()
		default:
		}
	}
	for e.poll([]unix.PollFd{{Fd: int32(to.FD()), Events: unix.POLLIN}}, 20) { // those that are late
		e.recv(to, in)
	}
}

func unknownNetworkListsKnown(e *env) {
	tr, err := transport.Open(e.s.Network+"-unknown", "", nil)
	if err == nil {
		tr.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		e.fatalf("Open of an unknown network: %v, want one that is fs.ErrNotExist", err)
	}
	_, list, _ := strings.Cut(err.Error(), "known: ")
	if !strings.Contains(list, e.s.Network) {
		e.fatalf("Open of an unknown network says %q, and %s is not among the known ones", err, e.s.Network)
	}
}

func duplicateRegisterPanics(e *env) {
	defer func() {
		if recover() == nil {
			e.failf("Register of %s, which should be there, does not panic", e.s.Network)
		}
	}()
	transport.Register(e.s.Network, func(string, string, *transport.Config) (transport.Transport, error) {
		return nil, errors.New("registered by transporttest")
	})
}

// WithoutCapabilities returns a [Subject.Deny] for transports that need some of
// these capabilities (unix.CAP_NET_RAW, say). It calls open on a thread that
// does not have them in effect (capabilities(7)), so open must not leave its
// goroutine.
func WithoutCapabilities(caps ...int) func(open func()) error {
	return func(open func()) error {
		result := make(chan error, 1)
		go func() {
			runtime.LockOSThread()
			restore, err := disable(caps)
			if err == nil {
				open()
				err = restore()
			}
			if err == nil {
				runtime.UnlockOSThread() // else the thread ends with the goroutine
			}
			result <- err
		}()
		return <-result
	}
}

// disable takes capabilities out of the effective set of the calling thread.
func disable(caps []int) (restore func() error, err error) {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had [2]unix.CapUserData
	if err := unix.Capget(&head, &had[0]); err != nil {
		return nil, fmt.Errorf("capabilities of this thread: %w", err)
	}
	has := had
	for _, c := range caps {
		has[c/32].Effective &^= 1 << (c % 32)
	}
	if err := unix.Capset(&head, &has[0]); err != nil {
		return nil, fmt.Errorf("disable capabilities of this thread: %w", err)
	}
	return func() error { return unix.Capset(&head, &had[0]) }, nil
}

// pause lets others go on.
func pause() { time.Sleep(100 * time.Microsecond) }
