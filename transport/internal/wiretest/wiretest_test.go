package wiretest_test

import (
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/mux"
	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/netlab"
	_ "iomux/transport/udp"
)

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

func TestSystemCallsAreThoseOfTheFunction(t *testing.T) {
	for _, name := range []string{"one", "another/beneath"} {
		t.Run(name, func(t *testing.T) {
			fds := make([]int, 2)
			if err := unix.Pipe2(fds, unix.O_NONBLOCK); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fds[0])
			defer unix.Close(fds[1])
			others := make(chan struct{})
			defer close(others)
			go func() {
				for b := make([]byte, 1); ; {
					select {
					case <-others:
						return
					default:
						unix.Read(fds[0], b[:0])
					}
				}
			}()
			calls := wiretest.SystemCalls(t, func() {
				unix.Write(fds[1], []byte(name))
				unix.Read(fds[0], make([]byte, 100))
				unix.Read(fds[0], make([]byte, 100))
			})
			size := strconv.Itoa(len(name))
			if want := []string{"write = " + size, "read = " + size, "read = -1"}; !slices.Equal(calls, want) {
				t.Errorf("the calls are %q, want %q", calls, want)
			}
		})
	}
}

// What is held fills the send buffer. Release, and an interface that was off and
// is on again, let the next message through.
func TestCableIsHeldAndSwitched(t *testing.T) {
	c := wiretest.NewCable(t)
	a, b := wiretest.Open(t, "udp6", ":0", &transport.Config{SendBuffer: 5000}), c.Far.Open(t, "udp6", ":7", nil)
	watcher := wiretest.Watch(t, a)
	m := wiretest.Message(wiretest.Pattern(1, 60))
	m.Peer = netip.AddrPortFrom(c.Far.Addr6, 7)
	arrives := func() {
		t.Helper()
		wiretest.Send(t, a, m)
		if got := wiretest.Recv(t, b, 1)[0]; string(got.Bytes()) != string(m.Bytes()) {
			t.Errorf("received % x, want % x", got.Bytes(), m.Bytes())
		}
		wiretest.RecvNone(t, b)
	}
	arrives()
	for range 2 {
		release, err := wiretest.Hold(160)
		if err != nil {
			t.Fatal(err)
		}
		for n := 1; n > 0; {
			if n, err = a.Send([]transport.Message{m}); err != nil {
				t.Fatal(err)
			}
		}
		watcher.Silent(mux.Readable | mux.Writable)
		wiretest.Drain(t, b) // what passed at first
		if err := release(); err != nil {
			t.Fatal(err)
		}
		watcher.Await(mux.Writable)
		watcher.Silent(mux.Readable)
		arrives()

		if err := c.SetLink(false); err != nil {
			t.Fatal(err)
		}
		if n, err := a.Send([]transport.Message{m}); n != 0 || err == nil {
			t.Errorf("Send with the interface off = %d, %v, want an error", n, err)
		}
		if err := c.SetLink(true); err != nil {
			t.Fatal(err)
		}
		arrives()
	}
}
