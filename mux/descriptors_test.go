package mux

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"iomux/transport/netlab"
)

// The tests of this package run in a network namespace of their own, for raw
// sockets and a TUN device.
func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

// watched is a descriptor with ways to make it readable and to end that.
type watched struct {
	fd    int
	idle  Interest // its readiness before and after
	ready func()
	drain func() // nil: reads it; a file that is always ready has neither
	last  bool   // what made it ready cannot be taken back
}

// kinds are the files that a Mux can watch, each opened in a namespace where it
// harms nobody.
var kinds = []struct {
	name string
	open func(t *testing.T) watched
}{
	{"TCP listener", openTCPListener},
	{"TCP connection", openTCPConnection},
	{"UDP socket", openUDP},
	{"socket pair", openSocketPair},
	{"raw ICMP socket", openRaw},
	{"packet socket", openPacket},
	{"netlink socket", openNetlink},
	{"TUN device", openTUN},
	{"pipe", openPipe},
	{"FIFO", openFIFO},
	{"POSIX message queue", openQueue},
	{"pseudoterminal", openTerminal},
	{"eventfd", openEventfd},
	{"timerfd", openTimerfd},
	{"signalfd", openSignalfd},
	{"pidfd", openPidfd},
	{"inotify", openInotify},
	{"fanotify", openFanotify},
	{"epoll", openInnerEpoll},
	{"memfd", openMemfd},
}

func TestAnyDescriptorIsWatched(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			for _, name := range Backends() {
				t.Run(name, func(t *testing.T) {
					m, err := Open(name)
					must(t, err)
					defer m.Close()
					checkWatched(t, m, kind.open(t))
				})
			}
		})
	}
}

// checkWatched demands that the descriptor is silent, then ready, then silent
// again, and that nothing is reported but what holds.
func checkWatched(t *testing.T, m Mux, w watched) {
	t.Helper()
	const all = Readable | Writable | Priority
	reported := func(want Interest) {
		t.Helper()
		must(t, m.Modify(w.fd, want, uint64(want)))
		if w.idle&want == 0 {
			expectNothing(t, m)
		} else {
			expect(t, m, map[uint64]Interest{uint64(want): w.idle & want})
		}
	}
	must(t, m.Add(w.fd, 0, 0))
	for range 2 {
		reported(Readable)
		reported(all)
		if w.ready == nil {
			continue
		}
		must(t, m.Modify(w.fd, Readable, 1))
		w.ready()
		awaitReadable(t, m, 1)
		awaitReadable(t, m, 1)
		must(t, m.Modify(w.fd, all, 2))
		expect(t, m, map[uint64]Interest{2: Readable | w.idle})
		must(t, m.Modify(w.fd, Priority, 3))
		expectNothing(t, m)
		if w.last {
			break
		}
		if w.drain == nil {
			_, err := unix.Read(w.fd, make([]byte, 1<<16))
			must(t, err)
		} else {
			w.drain()
		}
	}
	if w.ready != nil && !w.last {
		w.ready()
	}
	must(t, m.Remove(w.fd))
	expectNothing(t, m)
}

// writes returns a function that writes to fd, which must take all of it.
func writes(t *testing.T, fd int, data []byte) func() {
	return func() {
		t.Helper()
		n, err := unix.Write(fd, data)
		must(t, err)
		if n != len(data) {
			t.Fatalf("write took %d of %d bytes", n, len(data))
		}
	}
}

// newSocket returns one that does not block.
func newSocket(t *testing.T, domain, kind, protocol int) int {
	t.Helper()
	fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	return descriptor(t, fd, err)
}

// bound returns an IPv4 socket on a port of the loopback interface.
func bound(t *testing.T, kind int) (int, unix.Sockaddr) {
	t.Helper()
	fd := newSocket(t, unix.AF_INET, kind, 0)
	must(t, unix.Bind(fd, loopback))
	addr, err := unix.Getsockname(fd)
	must(t, err)
	return fd, addr
}

var loopback = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}

func connects(t *testing.T, addr unix.Sockaddr) (fd int) {
	t.Helper()
	fd = newSocket(t, unix.AF_INET, unix.SOCK_STREAM, 0)
	if err := unix.Connect(fd, addr); err != unix.EINPROGRESS {
		must(t, err)
	}
	return fd
}

func openTCPListener(t *testing.T) watched {
	fd, addr := bound(t, unix.SOCK_STREAM)
	must(t, unix.Listen(fd, 8))
	return watched{
		fd:    fd,
		ready: func() { connects(t, addr) },
		drain: func() {
			conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
			descriptor(t, conn, err)
		},
	}
}

func openTCPConnection(t *testing.T) watched {
	listener, addr := bound(t, unix.SOCK_STREAM)
	must(t, unix.Listen(listener, 1))
	must(t, unix.SetNonblock(listener, false)) // accept(2) waits for the connection
	client := connects(t, addr)
	fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	return watched{fd: descriptor(t, fd, err), idle: Writable, ready: writes(t, client, []byte("x"))}
}

func openUDP(t *testing.T) watched {
	fd, addr := bound(t, unix.SOCK_DGRAM)
	must(t, unix.Connect(fd, addr)) // with itself
	return watched{fd: fd, idle: Writable, ready: writes(t, fd, []byte("x"))}
}

func openSocketPair(t *testing.T) watched {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return watched{
		fd:    descriptor(t, fds[0], err),
		idle:  Writable,
		ready: writes(t, descriptor(t, fds[1], err), []byte("x")),
	}
}

// echoReply is an ICMP message that nobody answers.
var echoReply = []byte{0, 0, 0xff, 0xfd, 0, 1, 0, 1}

func openRaw(t *testing.T) watched {
	netlab.Need(t)
	fd := newSocket(t, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	must(t, unix.Connect(fd, loopback))
	return watched{fd: fd, idle: Writable, ready: writes(t, fd, echoReply)}
}

// packetTo returns a packet socket of an interface, for an EtherType, and the
// address by which it sends there.
func packetTo(t *testing.T, ifindex int, etherType uint16) (int, *unix.SockaddrLinklayer) {
	t.Helper()
	bigEndian := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, etherType))
	addr := &unix.SockaddrLinklayer{Protocol: bigEndian, Ifindex: ifindex, Halen: 6}
	fd := newSocket(t, unix.AF_PACKET, unix.SOCK_DGRAM, int(bigEndian))
	must(t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	must(t, unix.Bind(fd, addr))
	return fd, addr
}

func openPacket(t *testing.T) watched {
	netlab.Need(t)
	const loopbackIndex = 1                        // in every network namespace
	fd, addr := packetTo(t, loopbackIndex, 0x88b5) // for experiments: IEEE 802
	ready := func() { must(t, unix.Sendto(fd, []byte("x"), 0, addr)) }
	return watched{fd: fd, idle: Writable, ready: ready}
}

// openNetlink asks for the acknowledgement of a message that does nothing
// (netlink(7)).
func openNetlink(t *testing.T) watched {
	fd := newSocket(t, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	request := unix.NlMsghdr{Len: unix.SizeofNlMsghdr, Type: unix.NLMSG_NOOP, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK}
	message, err := binary.Append(nil, binary.NativeEndian, request)
	must(t, err)
	ready := func() { must(t, unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})) }
	return watched{fd: fd, idle: Writable, ready: ready}
}

// openTUN makes a TUN device in a network namespace of its own.
func openTUN(t *testing.T) watched {
	netlab.Need(t)
	ns, err := netlab.New()
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	var w watched
	must(t, ns.Do(func() error {
		w = openTUNHere(t)
		return nil
	}))
	return w
}

func openTUNHere(t *testing.T) watched {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("open /dev/net/tun: %v (it is for the users that its mode allows)", err)
	}
	descriptor(t, fd, nil)
	device, err := unix.NewIfreq("tun0")
	must(t, err)
	device.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	must(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, device))

	// IPv6, where there is any, would look for neighbours and routers.
	err = os.WriteFile("/proc/sys/net/ipv6/conf/tun0/disable_ipv6", []byte("1"), 0)
	if !os.IsNotExist(err) {
		must(t, err)
	}
	control := newSocket(t, unix.AF_INET, unix.SOCK_DGRAM, 0)
	device.SetUint16(unix.IFF_UP)
	must(t, unix.IoctlIfreq(control, unix.SIOCSIFFLAGS, device))
	must(t, unix.IoctlIfreq(control, unix.SIOCGIFINDEX, device))
	sender, addr := packetTo(t, int(device.Uint32()), unix.ETH_P_IP)
	packet := make([]byte, 20)
	packet[0] = 0x45
	ready := func() { must(t, unix.Sendto(sender, packet, 0, addr)) }
	return watched{fd: fd, idle: Writable, ready: ready}
}

func openPipe(t *testing.T) watched {
	r, w := emptyPipe(t)
	return watched{fd: r, ready: writes(t, w, []byte("x"))}
}

func openFIFO(t *testing.T) watched {
	name := filepath.Join(t.TempDir(), "fifo")
	must(t, unix.Mkfifo(name, 0o600))
	r, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	descriptor(t, r, err)
	w, err := unix.Open(name, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	return watched{fd: r, ready: writes(t, descriptor(t, w, err), []byte("x"))}
}

// openQueue: on Linux a message queue is a descriptor (mq_overview(7)).
func openQueue(t *testing.T) watched {
	const longest = 16
	// The system call, unlike the library's function, has no slash before the name.
	name, err := unix.BytePtrFromString(fmt.Sprintf("iomux-%d", os.Getpid()))
	must(t, err)
	attr := struct{ flags, messages, size, current, _, _, _, _ int }{messages: 4, size: longest} // int has the size of a long
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)),
		unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600, uintptr(unsafe.Pointer(&attr)), 0, 0)
	mustCall(t, "mq_open", errno)
	descriptor(t, int(fd), nil)
	_, _, errno = unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(name)), 0, 0)
	mustCall(t, "mq_unlink", errno)
	var buf [longest]byte
	return watched{
		fd:   int(fd),
		idle: Writable,
		ready: func() {
			_, _, errno := unix.Syscall6(unix.SYS_MQ_TIMEDSEND, fd, uintptr(unsafe.Pointer(&buf)), 1, 0, 0, 0)
			mustCall(t, "mq_send", errno)
		},
		drain: func() {
			_, _, errno := unix.Syscall6(unix.SYS_MQ_TIMEDRECEIVE, fd, uintptr(unsafe.Pointer(&buf)), longest, 0, 0, 0)
			mustCall(t, "mq_receive", errno)
		},
	}
}

func mustCall(t *testing.T, name string, errno syscall.Errno) {
	t.Helper()
	if errno != 0 {
		t.Fatal(os.NewSyscallError(name, errno))
	}
}

// terminal returns the ends of a pseudoterminal (pty(7)), for the caller to
// close.
func terminal(t *testing.T) (master, slave int) {
	t.Helper()
	const mode = unix.O_RDWR | unix.O_NOCTTY | unix.O_NONBLOCK | unix.O_CLOEXEC
	master, err := unix.Open("/dev/ptmx", mode, 0)
	must(t, err)
	must(t, unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0))
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, mode)
	mustCall(t, "ioctl(TIOCGPTPEER)", errno)
	return master, int(fd)
}

func openTerminal(t *testing.T) watched {
	master, slave := terminal(t)
	return watched{
		fd:    descriptor(t, master, nil),
		idle:  Writable,
		ready: writes(t, descriptor(t, slave, nil), []byte("x")),
	}
}

func openEventfd(t *testing.T) watched {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	return watched{fd: descriptor(t, fd, err), idle: Writable, ready: writes(t, fd, one)}
}

func openTimerfd(t *testing.T) watched {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	ready := func() {
		must(t, unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(1)}, nil))
	}
	return watched{fd: descriptor(t, fd, err), ready: ready}
}

// openSignalfd: a signalfd is ready for the thread that asks, by a signal that
// is pending for that thread or for the process, and only a blocked signal stays
// pending. Go has the signals of the process on whichever thread blocks none, so
// this one is blocked in, sent to and waited for by one thread: the test's.
func openSignalfd(t *testing.T) watched {
	const sig = unix.SIGUSR2 // Go does nothing about it where nobody asks for it
	runtime.LockOSThread()
	var set, old unix.Sigset_t
	set.Val[0] = 1 << (sig - 1)
	must(t, unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old))
	t.Cleanup(func() {
		must(t, unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil))
		runtime.UnlockOSThread()
	})
	fd, err := unix.Signalfd(-1, &set, unix.SFD_NONBLOCK|unix.SFD_CLOEXEC)
	ready := func() { must(t, unix.Tgkill(unix.Getpid(), unix.Gettid(), sig)) }
	return watched{fd: descriptor(t, fd, err), ready: ready}
}

func openPidfd(t *testing.T) watched {
	fd := -1
	cmd := exec.Command("cat") // ends with its input
	cmd.SysProcAttr = &syscall.SysProcAttr{PidFD: &fd}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		must(t, cmd.Wait())
	})
	return watched{fd: descriptor(t, fd, nil), ready: func() { must(t, stdin.Close()) }, last: true}
}

func openInotify(t *testing.T) watched {
	dir := t.TempDir()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	descriptor(t, fd, err)
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_CREATE)
	must(t, err)
	return watched{fd: fd, ready: creates(t, dir)}
}

// creates returns a function that makes a new file in dir.
func creates(t *testing.T, dir string) func() {
	return func() {
		t.Helper()
		f, err := os.CreateTemp(dir, "")
		must(t, err)
		must(t, f.Close())
	}
}

// openFanotify reports file handles instead of descriptors, which needs no
// privilege since Linux 5.13.
func openFanotify(t *testing.T) watched {
	dir := t.TempDir()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_FID|unix.FAN_NONBLOCK|unix.FAN_CLOEXEC, 0)
	if err != nil {
		t.Skipf("fanotify_init: %v (before Linux 5.13 it needs CAP_SYS_ADMIN)", err)
	}
	descriptor(t, fd, nil)
	if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_CREATE, unix.AT_FDCWD, dir); err != nil {
		t.Skipf("fanotify_mark: %v (the file system of %s may have no file handles)", err, dir)
	}
	return watched{fd: fd, ready: creates(t, dir)}
}

// openInnerEpoll watches an epoll instance, which is ready when something in it
// is.
func openInnerEpoll(t *testing.T) watched {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	descriptor(t, fd, err)
	r, w := emptyPipe(t)
	must(t, unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, r, &unix.EpollEvent{Events: unix.EPOLLIN}))
	return watched{fd: fd, ready: writes(t, w, []byte("x")), drain: func() { read(t, r) }}
}

func openMemfd(t *testing.T) watched {
	fd, err := unix.MemfdCreate("memory", unix.MFD_CLOEXEC)
	return watched{fd: descriptor(t, fd, err), idle: Readable | Writable}
}
