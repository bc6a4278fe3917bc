package sock

import (
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// skMeminfoDrops is the place of the drop counter in what SO_MEMINFO returns, an
// array of 32-bit numbers (SK_MEMINFO_DROPS in linux/sock_diag.h).
const skMeminfoDrops = 8

// Dropped returns the kernel's count of packets that it could not deliver to the
// socket, or to an adopted one since then, modulo 1<<32 (SO_MEMINFO in socket(7), Linux 4.12). It is the number
// that SO_RXQ_OVFL attaches to messages, of this moment.
func (s *Socket) Dropped() (uint32, error) {
	s.in.Lock()
	defer s.in.Unlock()
	fd := s.FD()
	if fd < 0 {
		return 0, net.ErrClosed
	}
	var info [skMeminfoDrops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, opError("read", s.network, nil, os.NewSyscallError("getsockopt SO_MEMINFO", errno))
	}
	return info[skMeminfoDrops] - s.dropped, nil
}
