package mux

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/transport/netlab"
)

// held is an object of Go's that holds a descriptor, with ways to use it.
type held struct {
	c interface {
		syscall.Conn
		io.Closer
	}
	provide  func()                // makes it readable
	take     func() error          // reads what provide provided, by Go's own means
	deadline func(time.Time) error // for take; nil if the runtime's poller does not serve it
}

// holders are the types of package net and package os that hold a descriptor.
var holders = []struct {
	name string
	open func(t *testing.T) held
}{
	{"TCPConn", func(t *testing.T) held {
		l := listen(t, "tcp4", "127.0.0.1:0")
		peer := dial(t, l.Addr())
		c, err := l.Accept()
		must(t, err)
		return stream(t, c.(*net.TCPConn), peer)
	}},
	{"TCPListener", func(t *testing.T) held { return listener(t, listen(t, "tcp4", "127.0.0.1:0").(*net.TCPListener)) }},
	{"UDPConn", func(t *testing.T) held {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		must(t, err)
		return stream(t, c, dial(t, c.LocalAddr()))
	}},
	{"IPConn", func(t *testing.T) held {
		netlab.Need(t)
		loopback := &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)}
		c, err := net.ListenIP("ip4:icmp", loopback)
		must(t, err)
		h := stream(t, c, c)
		h.provide = func() {
			_, err := c.WriteTo(echoReply, loopback)
			must(t, err)
		}
		return h
	}},
	{"UnixConn", func(t *testing.T) held {
		var conns [2]*net.UnixConn
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		for i, fd := range fds {
			f := os.NewFile(uintptr(fd), "socketpair")
			c, err := net.FileConn(f) // has a duplicate
			must(t, err)
			must(t, f.Close())
			conns[i] = c.(*net.UnixConn)
		}
		return stream(t, conns[0], conns[1])
	}},
	{"UnixListener", func(t *testing.T) held {
		dir, err := os.MkdirTemp("", "") // a short name: unix(7) allows 107 bytes
		must(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) })
		return listener(t, listen(t, "unix", filepath.Join(dir, "s")).(*net.UnixListener))
	}},
	{"File of a pipe", func(t *testing.T) held {
		r, w, err := os.Pipe()
		must(t, err)
		return stream(t, r, w)
	}},
	{"File of a terminal", func(t *testing.T) held {
		master, slave := terminal(t)
		return stream(t, os.NewFile(uintptr(master), "master"), os.NewFile(uintptr(slave), "slave"))
	}},
	{"File in blocking mode", func(t *testing.T) held {
		var p [2]int
		must(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
		h := stream(t, os.NewFile(uintptr(p[0]), "reader"), os.NewFile(uintptr(p[1]), "writer"))
		h.deadline = nil
		return h
	}},
}

// stream is what reads a byte that its peer wrote, or a datagram of some.
func stream(t *testing.T, c interface {
	syscall.Conn
	io.ReadCloser
	SetReadDeadline(time.Time) error
}, peer io.WriteCloser) held {
	t.Cleanup(func() { c.Close(); peer.Close() })
	return held{
		c: c,
		provide: func() {
			_, err := peer.Write([]byte{'x'})
			must(t, err)
		},
		take: func() error {
			_, err := c.Read(make([]byte, 64))
			return err
		},
		deadline: c.SetReadDeadline,
	}
}

func listener(t *testing.T, l interface {
	net.Listener
	syscall.Conn
	SetDeadline(time.Time) error
}) held {
	return held{
		c:       l,
		provide: func() { dial(t, l.Addr()) },
		take: func() error {
			c, err := l.Accept()
			if err == nil {
				err = c.Close()
			}
			return err
		},
		deadline: l.SetDeadline,
	}
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func dial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// eachHolder runs test on every kind of object and every backend.
func eachHolder(t *testing.T, test func(t *testing.T, m *multiplexer, h held)) {
	for _, kind := range holders {
		t.Run(kind.name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, m *multiplexer) { test(t, m, kind.open(t)) })
		})
	}
}

// fdOf is FD, which must succeed.
func fdOf(t *testing.T, c syscall.Conn) int {
	t.Helper()
	fd, err := FD(c)
	must(t, err)
	return fd
}

func statusFlags(t *testing.T, fd int) int {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	must(t, err)
	return flags
}

// awaitReadable waits until the descriptor under this token is readable.
func awaitReadable(t testing.TB, m Mux, token uint64) {
	t.Helper()
	events := make([]Event, 2)
	n, err := m.Wait(events, -1)
	must(t, err)
	if n != 1 || events[0] != (Event{token, Readable}) {
		t.Fatalf("Wait reports %v, want token %d readable", events[:n], token)
	}
}

// untilParked returns when a goroutine is blocked in Go's own poller.
func untilParked() {
	for buf := make([]byte, 1<<20); !strings.Contains(string(buf[:runtime.Stack(buf, true)]), "[IO wait"); {
		runtime.Gosched()
	}
}

func TestWhatGoHoldsIsWatched(t *testing.T) {
	eachHolder(t, func(t *testing.T, m *multiplexer, h held) {
		fd := fdOf(t, h.c)
		must(t, m.Add(fd, Readable, 1))
		expectNothing(t, m)
		for range 3 {
			h.provide()
			awaitReadable(t, m, 1)
			awaitReadable(t, m, 1) // level-triggered, whatever Go's poller asks for
			must(t, h.take())
			expectNothing(t, m)
		}
		must(t, m.Remove(fd))
	})
}

func TestWhatGoHoldsStaysAsItWas(t *testing.T) {
	eachHolder(t, func(t *testing.T, m *multiplexer, h held) {
		raw, err := h.c.SyscallConn()
		must(t, err)
		var before int
		must(t, raw.Control(func(fd uintptr) { before = statusFlags(t, int(fd)) }))
		fd := fdOf(t, h.c)
		must(t, m.Add(fd, Readable|Writable, 1))
		wait(t, m, 1)
		must(t, m.Remove(fd))
		if after := statusFlags(t, fd); after != before {
			t.Fatalf("status flags (fcntl(2)) were %#x and are %#x", before, after)
		}
		if blocks := before&unix.O_NONBLOCK == 0; blocks != (h.deadline == nil) {
			t.Errorf("in blocking mode: %v", blocks)
		}
		if h.deadline != nil {
			must(t, h.deadline(time.Now().Add(time.Millisecond)))
			if err := h.take(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("at the deadline: %v", err)
			}
			must(t, h.deadline(time.Time{}))
		}
		h.provide()
		must(t, h.take())
	})
}

func TestAGoroutineMayReadWhatIsWatched(t *testing.T) {
	eachHolder(t, func(t *testing.T, m *multiplexer, h held) {
		fd := fdOf(t, h.c)
		must(t, m.Add(fd, Readable, 1))
		for range 3 {
			taken := make(chan error)
			go func() { taken <- h.take() }()
			if h.deadline != nil {
				untilParked()
			}
			h.provide()
			must(t, <-taken)
			expectNothing(t, m)

			h.provide() // nobody reads this one
			awaitReadable(t, m, 1)
			must(t, h.take())
			expectNothing(t, m)
		}
	})
}

// A close that comes before Remove is a mistake that breaks nothing.
func TestWhatGoHoldsIsClosedWhileRegistered(t *testing.T) {
	eachHolder(t, func(t *testing.T, m *multiplexer, h held) {
		fd := fdOf(t, h.c)
		must(t, m.Add(fd, Readable, 1))
		h.provide()
		awaitReadable(t, m, 1)
		must(t, h.c.Close())
		if found := wait(t, m, 2); len(found) > 0 && (len(found) > 1 || found[1]&Error == 0) {
			t.Errorf("after Close: %v, want one Error at most", found)
		}
		expectNothing(t, m)
		must(t, m.Remove(fd))
		if err := m.Add(fd, Readable, 1); !errors.Is(err, syscall.EBADF) {
			t.Errorf("Add after Close: %v", err)
		}
	})
}

func TestARegularFileThatGoHoldsIsAlwaysReady(t *testing.T) {
	eachBackend(t, func(t *testing.T, m *multiplexer) {
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		must(t, err)
		defer f.Close()
		must(t, m.Add(fdOf(t, f), Readable|Writable, 1))
		for range 3 {
			expect(t, m, map[uint64]Interest{1: Readable | Writable})
		}
	})
}

// TestReachability is the reason for the order of the defers in the
// documentation of FD.
func TestReachability(t *testing.T) {
	pipe := func() (*os.File, *os.File, int) {
		r, w, err := os.Pipe()
		must(t, err)
		return r, w, fdOf(t, r)
	}
	kept, w, fd := pipe()
	defer kept.Close()
	defer w.Close()
	_, w, lost := pipe()
	defer w.Close()
	for checkOpen(lost) == nil { // until it is collected
		runtime.GC()
	}
	must(t, checkOpen(fd))
}

// hollow has a SyscallConn and no descriptor.
type hollow struct{ syscall.RawConn }

func (h hollow) SyscallConn() (syscall.RawConn, error) { return h, nil }
func (hollow) Control(func(uintptr)) error             { return nil }

func TestFDErrors(t *testing.T) {
	for _, kind := range holders {
		t.Run("closed "+kind.name, func(t *testing.T) {
			h := kind.open(t)
			must(t, h.c.Close())
			fd, err := FD(h.c)
			if fd != -1 || !errors.Is(err, os.ErrClosed) {
				t.Errorf("FD = %d, %v", fd, err)
			}
			if _, file := h.c.(*os.File); !file && !errors.Is(err, net.ErrClosed) {
				t.Errorf("%v is not net.ErrClosed", err)
			}
			if want := fmt.Sprintf("mux: FD of a %T: file already closed (", h.c); !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error %q, want %q at its beginning", err, want)
			}
		})
	}
	for _, c := range []struct {
		c       syscall.Conn
		is      error
		message string
	}{
		{nil, os.ErrInvalid, "mux: FD of <nil>: invalid argument"},
		{(*os.File)(nil), os.ErrInvalid, "mux: FD of (*os.File)(nil): invalid argument"},
		{(*net.TCPConn)(nil), os.ErrInvalid, "mux: FD of (*net.TCPConn)(nil): invalid argument"},
		{new(net.UDPConn), syscall.EINVAL, "mux: FD of a *net.UDPConn: invalid argument"},
		{hollow{}, syscall.EBADF, "mux: FD of a mux.hollow: bad file descriptor (it has none)"},
	} {
		fd, err := FD(c.c)
		if fd != -1 || !errors.Is(err, c.is) || err.Error() != c.message {
			t.Errorf("FD = %d, %q, want %q, which is %v", fd, err, c.message, c.is)
		}
	}
}
