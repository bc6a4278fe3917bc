package sock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlSize is the space for control messages in bytes: enough for packet
// information, hop limit, traffic class, time stamp and extended error of IPv6,
// which take 216 together.
const controlSize = 256

// Packet is what the kernel says about one message, apart from its bytes: the
// address of the other side and the control messages (cmsg(3)).
type Packet struct {
	name       unix.RawSockaddrAny
	nameLen    int
	control    [controlSize / 8]uint64 // aligned as struct cmsghdr must be
	controlLen int                     // bytes
}

// batch is the memory for one system call, allocated once.
type batch struct {
	headers []unix.Mmsghdr
	iovecs  []unix.Iovec
	packets []Packet
}

func newBatch(size int) batch {
	b := batch{make([]unix.Mmsghdr, size), make([]unix.Iovec, size), make([]Packet, size)}
	for i := range b.headers {
		h, p := &b.headers[i].Hdr, &b.packets[i]
		h.Name = (*byte)(unsafe.Pointer(&p.name))
		h.Control = (*byte)(unsafe.Pointer(&p.control))
		h.Iov = &b.iovecs[i]
		h.SetIovlen(1)
	}
	return b
}

// prepare points header i at the caller's bytes and at what its Packet holds.
func (b *batch) prepare(i int, buf []byte) {
	h, v, p := &b.headers[i].Hdr, &b.iovecs[i], &b.packets[i]
	v.Base = unsafe.SliceData(buf)
	v.SetLen(len(buf))
	h.Namelen = uint32(p.nameLen)
	h.SetControllen(p.controlLen)
}

// forget drops the pointers to the caller's buffers.
func (b *batch) forget(n int) {
	for i := range b.iovecs[:n] {
		b.iovecs[i].Base = nil
	}
}

// call makes the system call, recvmmsg or sendmmsg, for the first n headers.
// They never block, but run as long as the packets take: on loopback, where a send
// includes the delivery, 150 microseconds for 64. The Go scheduler, if it were told of
// them, would give their processor to another thread meanwhile and wake that one up,
// which is 5 % of what a responder costs: hence RawSyscall. A garbage collection may
// have to wait for the end of a batch.
func (b *batch) call(trap uintptr, fd, n, flags int) (int, unix.Errno) {
	for {
		// O_NONBLOCK could be undone through a duplicate of the descriptor,
		// MSG_DONTWAIT cannot. The sixth argument is the time-out of recvmmsg.
		r, _, errno := unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b.headers))),
			uintptr(n), uintptr(unix.MSG_DONTWAIT|flags), 0, 0)
		if errno != unix.EINTR {
			return int(r), errno
		}
	}
}
