package sock

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Take duplicates a file of a Config: non-blocking, close-on-exec, and under a
// number that no *os.File knows.
func Take(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err // os.ErrInvalid for nil
	}
	var failed error
	err = raw.Control(func(number uintptr) {
		if fd, failed = unix.FcntlInt(number, unix.F_DUPFD_CLOEXEC, 0); failed != nil {
			failed = os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", failed)
		} else if failed = os.NewSyscallError("fcntl O_NONBLOCK", unix.SetNonblock(fd, true)); failed != nil {
			unix.Close(fd)
		}
	})
	if err != nil {
		return -1, os.ErrClosed // there is no other reason
	}
	if failed != nil {
		return -1, failed
	}
	return fd, nil
}

// takeSocket takes the only file, if it is a socket as the Spec says.
func takeSocket(spec Spec, files []*os.File) (fd int, err error) {
	fd, err = Take(files[0])
	if err == nil {
		if err = spec.matches(fd); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return -1, fmt.Errorf("Config.Files[0]: %w", err)
	}
	return fd, nil
}

// matches reports in what the socket differs from the Spec (socket(7)).
func (spec Spec) matches(fd int) error {
	want := [3]int{spec.Domain, spec.Type, spec.Protocol}
	if want[2] == 0 && want[1] == unix.SOCK_DGRAM && (want[0] == unix.AF_INET || want[0] == unix.AF_INET6) {
		want[2] = unix.IPPROTO_UDP // what socket(2) makes of 0 there
	}
	got := want
	for i, option := range []int{unix.SO_DOMAIN, unix.SO_TYPE, unix.SO_PROTOCOL} {
		if i == 2 && spec.Domain == unix.AF_PACKET {
			break // it is what bind(2) has said
		}
		var err error
		if got[i], err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, option); err != nil {
			return fmt.Errorf("%w (want %v)", os.NewSyscallError("getsockopt", err), kind(want))
		}
	}
	if got != want {
		return fmt.Errorf("it is %v: want %v", kind(got), kind(want))
	}
	return nil
}

// kind is the arguments of socket(2).
type kind [3]int

func (k kind) String() string {
	return fmt.Sprintf("socket(%s, %s, %d)", constant(map[int]string{
		unix.AF_INET: "AF_INET", unix.AF_INET6: "AF_INET6", unix.AF_PACKET: "AF_PACKET", unix.AF_UNIX: "AF_UNIX",
	}, k[0]), constant(map[int]string{
		unix.SOCK_RAW: "SOCK_RAW", unix.SOCK_DGRAM: "SOCK_DGRAM", unix.SOCK_STREAM: "SOCK_STREAM",
	}, k[1]), k[2])
}

func constant(names map[int]string, n int) string {
	if name, ok := names[n]; ok {
		return name
	}
	return fmt.Sprint(n)
}

// reset takes back what an earlier owner may have asked for and this one may not:
// stamps and reports, and with the latter the error queue. Where a socket has no such
// option there is nothing to take back.
func (s *Socket) reset() {
	unix.SetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, 0)
	switch s.domain {
	case unix.AF_INET:
		unix.SetsockoptInt(s.FD(), unix.SOL_IP, unix.IP_RECVERR, 0)
	case unix.AF_INET6:
		unix.SetsockoptInt(s.FD(), unix.SOL_IPV6, unix.IPV6_RECVERR, 0)
	}
}

// is tells whether an adopted socket has an option of the kind int already.
func (s *Socket) is(level, option, value int) bool {
	if !s.adopted {
		return false
	}
	now, err := unix.GetsockoptInt(s.FD(), level, option)
	return err == nil && now == value
}

// boundTo tells whether an adopted socket stays on the interface already.
func (s *Socket) boundTo(name string) bool {
	if !s.adopted {
		return false
	}
	now, err := unix.GetsockoptString(s.FD(), unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
	return err == nil && now == name
}

// Bound tells whether an adopted socket has an address already. One that is left
// to the kernel, with port 0, any address is.
func (s *Socket) Bound(addr unix.Sockaddr) bool {
	if !s.adopted {
		return false
	}
	now, err := unix.Getsockname(s.FD())
	if err != nil {
		return false
	}
	switch want := addr.(type) {
	case *unix.SockaddrInet4:
		have, ok := now.(*unix.SockaddrInet4)
		return ok && (want.Port == 0 || want.Port == have.Port) &&
			(want.Addr == have.Addr || want.Port == 0 && want.Addr == [4]byte{})
	case *unix.SockaddrInet6:
		have, ok := now.(*unix.SockaddrInet6)
		return ok && (want.Port == 0 || want.Port == have.Port) &&
			(want.Addr == have.Addr && want.ZoneId == have.ZoneId || want.Port == 0 && want.Addr == [16]byte{})
	case *unix.SockaddrLinklayer:
		have, ok := now.(*unix.SockaddrLinklayer)
		return ok && want.Protocol == have.Protocol && want.Ifindex == have.Ifindex
	}
	return false
}
