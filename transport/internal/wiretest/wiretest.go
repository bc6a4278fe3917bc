// Package wiretest is what the tests of the transports have in common: messages
// that are sent, waited for and received, a cable between two network namespaces
// that can be held up and switched off, what Open refuses, what a mux reports,
// which system calls a piece of code makes and which device a test needs.
//
//	func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }
//
//	func TestHello(t *testing.T) {
//		cable := wiretest.NewCable(t)
//		a := wiretest.Open(t, "udp4", "", nil)
//		b := cable.Far.Open(t, "udp4", ":7", nil)
//		m := wiretest.Message([]byte("hello"))
//		m.Peer = netip.AddrPortFrom(cable.Far.Addr4, 7)
//		wiretest.Send(t, a, m)
//		got := wiretest.Recv(t, b, 1)[0]
//		...
//	}
//
// Nothing here depends on how fast the machine is: what must come is waited for,
// until a watchdog fails the test. What is wrong ends it, by Fatal, so that the
// helpers are called by its own goroutine.
package wiretest

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// Watchdog ends what hangs. It says nothing about how long a test may take.
const Watchdog = 30 * time.Second

// Message is a message with this payload, and nothing else in it.
func Message(payload []byte) transport.Message {
	return transport.Message{Buf: payload, N: len(payload)}
}

// Pattern is n bytes that differ from their neighbours, and from those of another
// number modulo 256.
func Pattern(seq, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(seq + i*7 + i>>8)
	}
	return b
}

// Slots returns n messages to receive size bytes into.
func Slots(n, size int) []transport.Message {
	ms := make([]transport.Message, n)
	for i := range ms {
		ms[i].Buf = make([]byte, size)
	}
	return ms
}

// longest is a Buf that is long enough for any packet, headers included.
const longest = 1<<16 + 256

// Await waits until poll(2) reports one of the events, an error or a hang-up.
func Await(t testing.TB, tr transport.Transport, events int16) {
	t.Helper()
	if poll(t, tr, events, int(Watchdog.Milliseconds())) == 0 {
		t.Fatalf("the descriptor is not ready for %#x after %v", events, Watchdog)
	}
}

func poll(t testing.TB, tr transport.Transport, events int16, milliseconds int) int16 {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(tr.FD()), Events: events}}
	for {
		_, err := unix.Poll(fds, milliseconds)
		switch err {
		case nil:
			return fds[0].Revents
		case unix.EINTR:
		default:
			t.Fatalf("poll: %v", err)
		}
	}
}

// Send sends all messages, and waits where that would block.
func Send(t testing.TB, tr transport.Transport, ms ...transport.Message) {
	t.Helper()
	for len(ms) > 0 {
		n, err := tr.Send(ms)
		if err != nil {
			t.Fatalf("Send: %v", err)
		}
		if ms = ms[n:]; n == 0 {
			Await(t, tr, unix.POLLOUT)
		}
	}
}

// Recv receives n messages, which have to come.
func Recv(t testing.TB, tr transport.Transport, n int) []transport.Message {
	t.Helper()
	ms := Slots(n, longest)
	RecvInto(t, tr, ms)
	return ms
}

// RecvInto fills all messages, for which enough have to come.
func RecvInto(t testing.TB, tr transport.Transport, ms []transport.Message) {
	t.Helper()
	for len(ms) > 0 {
		n, err := tr.Recv(ms)
		if err != nil {
			t.Fatalf("Recv: %v", err)
		}
		if ms = ms[n:]; n == 0 {
			Await(t, tr, unix.POLLIN)
		}
	}
}

// RecvNone demands that there is nothing to receive, and that the descriptor is
// silent about it. What is sent on a loopback interface or over a veth(4) pair
// has usually been delivered when Send returns.
func RecvNone(t testing.TB, tr transport.Transport) {
	t.Helper()
	ms := Slots(1, longest)
	if n, err := tr.Recv(ms); n != 0 || err != nil {
		t.Fatalf("Recv = %d, %v with %d bytes, %.64x, want nothing", n, err, ms[0].N, ms[0].Bytes())
	}
	if events := poll(t, tr, unix.POLLIN, 0); events != 0 {
		t.Fatalf("the descriptor is ready although Recv has returned 0, nil: poll(2) says %#x", events)
	}
}

// Drain receives what is there, and returns how many messages that were.
func Drain(t testing.TB, tr transport.Transport) (total int) {
	t.Helper()
	for ms := Slots(tr.BatchSize(), 2048); ; {
		n, err := tr.Recv(ms)
		if err != nil {
			t.Fatalf("Recv: %v", err)
		}
		if total += n; n == 0 {
			return total
		}
	}
}

// Dropped is what the transport's [transport.DropCounter] says.
func Dropped(t testing.TB, tr transport.Transport) uint32 {
	t.Helper()
	c, ok := transport.As[transport.DropCounter](tr)
	if !ok {
		t.Fatalf("%T is not a transport.DropCounter", tr)
	}
	n, err := c.Dropped()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Descriptors counts the descriptors of this process.
func Descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
