package sock

import (
	"errors"
	"net"
	"os"
	"reflect"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
)

// bare is for sockets that know neither addresses nor control messages.
type bare struct{}

func (bare) Decode(*transport.Message, *Packet)       {}
func (bare) Encode(*transport.Message, *Packet) error { return nil }
func (bare) Addr(*transport.Message) net.Addr         { return nil }

var unixSpec = Spec{Network: "unixgram", Domain: unix.AF_UNIX, Type: unix.SOCK_DGRAM, Format: bare{}}

func pair(t *testing.T, spec Spec, cfg *transport.Config) (a, b *Socket) {
	t.Helper()
	a, b, err := Pair(spec, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	if err := errors.Join(a.Start(cfg), b.Start(cfg)); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func packet(payload string) transport.Message {
	return transport.Message{Buf: []byte(payload), N: len(payload)}
}

func TestPairIsConnectedBothWays(t *testing.T) {
	a, b := pair(t, unixSpec, &transport.Config{Batch: 3})
	send(t, a, packet("one"), packet(""))
	send(t, b, packet("two"))
	there, back := recv(t, b, slots(2)...), recv(t, a, slots(1)...)
	if string(there[0].Bytes()) != "one" || there[1].N != 0 || string(back[0].Bytes()) != "two" {
		t.Errorf("received %q, %q and %q", there[0].Bytes(), there[1].Bytes(), back[0].Bytes())
	}
	for _, s := range []*Socket{a, b} {
		flags, _ := unix.FcntlInt(uintptr(s.FD()), unix.F_GETFD, 0)
		status, _ := unix.FcntlInt(uintptr(s.FD()), unix.F_GETFL, 0)
		if flags&unix.FD_CLOEXEC == 0 || status&unix.O_NONBLOCK == 0 || s.BatchSize() != 3 {
			t.Errorf("flags %#x, status %#x, BatchSize() %d", flags, status, s.BatchSize())
		}
	}
}

func TestPairThatCannotBeConfiguredLeavesNoDescriptor(t *testing.T) {
	before := descriptors(t)
	for _, c := range []struct {
		spec Spec
		cfg  transport.Config
		want string
	}{
		{unixSpec, transport.Config{Batch: -1}, "open unixgram: Config.Batch is -1: want 1 to 1024, or 0 for 64"},
		{unixSpec, transport.Config{Interface: "nosuch"}, "open unixgram: interface nosuch: setsockopt SO_BINDTODEVICE: no such device"},
		{spec, transport.Config{}, "open udp4: socketpair: operation not supported"},
	} {
		if _, _, err := Pair(c.spec, &c.cfg); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestBareSocketTakesNoDescriptors(t *testing.T) {
	barred := unixSpec
	barred.Bare = true
	for _, c := range []struct {
		spec  Spec
		taken int
	}{{unixSpec, 1}, {barred, 0}} {
		a, b := pair(t, c.spec, nil)
		before := descriptors(t)
		if err := unix.Sendmsg(a.FD(), []byte("x"), unix.UnixRights(0), nil, 0); err != nil {
			t.Fatal(err)
		}
		recv(t, b, slots(1)...)
		if taken := descriptors(t) - before; taken != c.taken {
			t.Errorf("Bare is %v: %d descriptors were received, want %d", c.spec.Bare, taken, c.taken)
		}
	}
}

// leave disconnects b, which has not received what a sent: that is ECONNRESET
// for a, which can go on sending (unix(7)).
func leave(t *testing.T, a, b *Socket) {
	t.Helper()
	send(t, a, packet("lost"))
	none := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(b.FD()), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none)); errno != 0 {
		t.Fatal(errno)
	}
}

func TestErrorOfEarlierIsLeftToRecv(t *testing.T) {
	earlier := unixSpec
	earlier.Earlier = []unix.Errno{unix.ECONNREFUSED, unix.ECONNRESET}
	a, b := pair(t, earlier, nil)
	leave(t, a, b)
	send(t, a, packet("one"), packet("two"))
	if got := recv(t, b, slots(2)...); string(got[0].Bytes()) != "one" || string(got[1].Bytes()) != "two" {
		t.Errorf("received %q, %q", got[0].Bytes(), got[1].Bytes())
	}
	if n, err := a.Recv(nil); n != 0 || err != nil {
		t.Errorf("Recv of no messages = %d, %v, want 0, nil", n, err)
	}
	want := &net.OpError{Op: "read", Net: "unixgram", Err: &os.SyscallError{Syscall: "sendmmsg", Err: syscall.ECONNRESET}}
	if n, err := a.Recv(slots(1)); n != 0 || !reflect.DeepEqual(err, error(want)) {
		t.Errorf("Recv = %d, %v, want %v", n, err, want)
	}
	recv(t, a) // nothing, and no error
}

func TestFirstErrorOfEarlierIsKept(t *testing.T) {
	earlier := unixSpec
	earlier.Earlier = []unix.Errno{unix.ECONNRESET}
	a, b := pair(t, earlier, nil)
	a.pending.Store(uint32(unix.ECONNREFUSED))
	leave(t, a, b)
	send(t, a, packet("one"))
	if n, err := a.Recv(slots(1)); n != 0 || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Recv = %d, %v, want ECONNREFUSED", n, err)
	}
}

// An error that is there again is about the message, whatever its kind.
func TestErrorThatRepeatsIsTheMessages(t *testing.T) {
	earlier := unixSpec
	earlier.Earlier = []unix.Errno{unix.EMSGSIZE}
	a, _ := pair(t, earlier, nil)
	long := transport.Message{Buf: make([]byte, 1<<22), N: 1 << 22}
	if n, err := a.Send([]transport.Message{long}); n != 0 || !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("Send of a long message = %d, %v, want EMSGSIZE", n, err)
	}
	recv(t, a) // nothing, and no error
}

func TestErrorOfAnotherKindIsTheMessages(t *testing.T) {
	a, b := pair(t, unixSpec, nil)
	leave(t, a, b)
	if n, err := a.Send([]transport.Message{packet("x")}); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Send = %d, %v, want ECONNRESET", n, err)
	}
	recv(t, a)
}

func TestConnect(t *testing.T) {
	one, to := open(t, nil)
	two, _ := open(t, nil)
	if err := two.Connect(&unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(two.FD(), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if got := recv(t, one, slots(1)...)[0]; string(got.Bytes()) != "hello" {
		t.Errorf("received %q", got.Bytes())
	}
	want := &os.SyscallError{Syscall: "connect", Err: syscall.EINVAL}
	if err := two.Connect(&unix.SockaddrUnix{Name: "@none"}); !reflect.DeepEqual(err, error(want)) {
		t.Errorf("Connect to an address of another family: %v, want %v", err, want)
	}
	two.Close()
	if err := two.Connect(&unix.SockaddrInet4{}); err != net.ErrClosed {
		t.Errorf("Connect after Close: %v, want net.ErrClosed", err)
	}
}

func TestPairLetsNothingInBeforeStart(t *testing.T) {
	pass, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: 1 << 16}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := &transport.Config{Filter: pass}
	a, b, err := Pair(unixSpec, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	send(t, a, packet("early"))
	if err := b.Start(cfg); err != nil {
		t.Fatal(err)
	}
	send(t, a, packet("late"))
	if got := recv(t, b, slots(1)...)[0]; string(got.Bytes()) != "late" {
		t.Errorf("received %q after Start, want late", got.Bytes())
	}
}
