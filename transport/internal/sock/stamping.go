package sock

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// stampingDelay is how long to wait for the kernel to begin stamping: it has been
	// seen to take 0.1 to 3 ms.
	stampingDelay = 20 * time.Millisecond
	// stampingPoll is how long one datagram is waited for, in ms.
	stampingPoll = 5
)

// awaitStamping waits until the kernel stamps what it receives, so that the first
// messages have a Time as well. When no other socket of the machine has asked for it
// the kernel begins some time after it was told to, by a work queue
// (net_enable_timestamp in net/core/dev.c). What it does shows on datagrams to
// ourselves over the loopback interface; where that is down there is no waiting.
func awaitStamping() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, unix.SOF_TIMESTAMPING_SOFTWARE|unix.SOF_TIMESTAMPING_RX_SOFTWARE) != nil ||
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}) != nil {
		return
	}
	self, err := unix.Getsockname(fd)
	if err != nil {
		return
	}
	control := make([]byte, unix.CmsgSpace(3*16)) // struct scm_timestamping64
	for begin := time.Now(); time.Since(begin) < stampingDelay; {
		if unix.Sendto(fd, nil, 0, self) != nil {
			return
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, stampingPoll); n == 0 && err == nil {
			return // a firewall has it
		}
		if _, n, _, _, err := unix.Recvmsg(fd, nil, control, 0); err == nil && n > 0 {
			return
		}
	}
}
