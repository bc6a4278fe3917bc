package sock

import (
	"errors"
	"math"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
)

// file is an open descriptor of the kind, blocking and not close-on-exec, as another
// process hands it over.
func file(t *testing.T, domain, kind, protocol int) *os.File {
	t.Helper()
	fd, err := unix.Socket(domain, kind, protocol)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "handed over")
	t.Cleanup(func() { f.Close() })
	return f
}

// raw does something with a file's descriptor.
func raw(t *testing.T, f *os.File, do func(fd int) error) {
	t.Helper()
	c, err := f.SyscallConn()
	if err == nil {
		var failed error
		err = errors.Join(c.Control(func(fd uintptr) { failed = do(int(fd)) }), failed)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnAdoptedSocketIsLikeANewOne(t *testing.T) {
	f := file(t, unix.AF_INET, unix.SOCK_DGRAM, 0)
	var to netip.AddrPort
	raw(t, f, func(fd int) error { // it is bound already, and something waits in it
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return err
		}
		name, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet4).Port))
		for range 3 {
			if err := unix.Sendto(fd, []byte("earlier"), 0, name); err != nil {
				return err
			}
		}
		return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, 1)
	})
	longer, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: 8 + 4, SkipTrue: 1}, // after the UDP header
		bpf.RetConstant{Val: 0}, bpf.RetConstant{Val: math.MaxUint32},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, name := open(t, &transport.Config{Files: []*os.File{f}, Filter: longer, Batch: 3})
	if name != to {
		t.Errorf("it is bound to %v, want %v still", name, to)
	}
	if fl, err := unix.FcntlInt(uintptr(s.FD()), unix.F_GETFL, 0); err != nil || fl&unix.O_NONBLOCK == 0 {
		t.Errorf("flags %#x, %v: it blocks", fl, err)
	}
	if fl, err := unix.FcntlInt(uintptr(s.FD()), unix.F_GETFD, 0); err != nil || fl&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v: it survives execve(2)", fl, err)
	}
	if on, err := unix.GetsockoptInt(s.FD(), unix.SOL_IP, unix.IP_RECVERR); err != nil || on != 0 {
		t.Errorf("IP_RECVERR is %d, %v: errors of earlier would be pending", on, err)
	}
	if n, err := s.Dropped(); n != 0 || err != nil {
		t.Errorf("Dropped() = %d, %v before anything was sent", n, err)
	}
	sender, _ := open(t, nil)
	send(t, sender, datagram(to, "no"), datagram(to, "longer"))
	got := recv(t, s, slots(1)...)
	if string(got[0].Bytes()) != "longer" {
		t.Errorf("received %q, want what the filter lets through of what came after", got[0].Bytes())
	}
}

// The transport works on a descriptor of its own; the file stays valid until
// transport.Open closes it.
func TestAnAdoptedFileCanBeClosed(t *testing.T) {
	f := file(t, unix.AF_INET, unix.SOCK_DGRAM, 0)
	s, to := open(t, &transport.Config{Files: []*os.File{f}})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	send(t, s, datagram(to, "to itself"))
	recv(t, s, slots(1)...)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeAdoptedIsAnError(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	closed := file(t, unix.AF_INET, unix.SOCK_DGRAM, 0)
	closed.Close()
	datagrams := file(t, unix.AF_INET, unix.SOCK_DGRAM, 0)
	for _, c := range []struct {
		files []*os.File
		want  string
	}{
		{[]*os.File{null}, "Config.Files[0]: getsockopt: socket operation on non-socket (want socket(AF_INET, SOCK_DGRAM, 17))"},
		{[]*os.File{closed}, "Config.Files[0]: file already closed"},
		{[]*os.File{nil}, "Config.Files[0]: invalid argument"},
		{[]*os.File{datagrams, datagrams}, "Config.Files has 2 descriptors: a socket is one"},
		{[]*os.File{file(t, unix.AF_INET6, unix.SOCK_DGRAM, 0)}, "Config.Files[0]: it is socket(AF_INET6, SOCK_DGRAM, 17): want socket(AF_INET, SOCK_DGRAM, 17)"},
		{[]*os.File{file(t, unix.AF_INET, unix.SOCK_STREAM, 0)}, "Config.Files[0]: it is socket(AF_INET, SOCK_STREAM, 6): want socket(AF_INET, SOCK_DGRAM, 17)"},
		{[]*os.File{file(t, unix.AF_UNIX, unix.SOCK_DGRAM, 0)}, "Config.Files[0]: it is socket(AF_UNIX, SOCK_DGRAM, 0): want socket(AF_INET, SOCK_DGRAM, 17)"},
		{[]*os.File{file(t, unix.AF_NETLINK, unix.SOCK_RAW, 0)}, "Config.Files[0]: it is socket(16, SOCK_RAW, 0): want socket(AF_INET, SOCK_DGRAM, 17)"},
	} {
		s, err := Open(spec, &transport.Config{Files: c.files})
		if err == nil {
			s.Close()
		}
		if err == nil || err.Error() != "open udp4: "+c.want {
			t.Errorf("got  %v\nwant open udp4: %s", err, c.want)
		}
	}
	raw(t, datagrams, func(fd int) error { // what was refused is unharmed
		_, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
		return err
	})
}

// A buffer past the system's limit, which took CAP_NET_ADMIN, is not cut to it by
// whoever adopts the socket and asks for the same.
func TestWhatIsAsItShouldBeIsLeftAlone(t *testing.T) {
	f := file(t, unix.AF_INET, unix.SOCK_DGRAM, 0)
	var size int
	raw(t, f, func(fd int) (err error) {
		size, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		return err
	})
	s, _ := open(t, &transport.Config{Files: []*os.File{f}, RecvBuffer: size / 2})
	if !s.is(unix.SOL_SOCKET, unix.SO_RCVBUF, size) || s.is(unix.SOL_SOCKET, unix.SO_RCVBUF, size+1) {
		t.Error("is does not tell what the buffer is")
	}
	fresh, _ := open(t, nil)
	if fresh.is(unix.SOL_SOCKET, unix.SO_RCVBUF, size) || fresh.boundTo("") {
		t.Error("a socket of one's own is not looked at, as every refusal counts")
	}
	if err := fresh.Bind(&unix.SockaddrInet4{}); err == nil || !strings.Contains(err.Error(), "bind") {
		t.Errorf("a second Bind: %v, want the error of bind(2)", err)
	}
	if err := s.Bind(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 2}}); err == nil {
		t.Error("an adopted socket cannot have another address, and says so")
	}
}
