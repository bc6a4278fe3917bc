package tun_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/netlab"
	"iomux/transport/tun"
)

func TestMain(m *testing.M) {
	if os.Getenv(traced) != "" {
		os.Exit(oneBatch())
	}
	os.Exit(netlab.Main(m))
}

// watchdog ends what hangs; no test waits that long otherwise.
const watchdog = 30 * time.Second

// The kernel has an address of its own, and two prefixes are ours.
var (
	kernel4, kernel6 = netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::1/128")
	ours4, ours6     = netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:1::/64")
	somebody4        = netip.MustParseAddr("198.51.100.77")
)

// need skips the test where no device can be made: without a private namespace
// or without /dev/net/tun.
func need(t *testing.T) {
	t.Helper()
	netlab.Need(t)
	file, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			t.Skip("no TUN device can be made: ", err)
		}
		t.Fatal(err)
	}
	file.Close()
}

// quietly keeps the kernel from sending packets of its own on new devices, as it
// does where they have IPv6.
func quietly(t *testing.T) {
	t.Helper()
	const setting = "/proc/sys/net/ipv6/conf/default/disable_ipv6"
	need(t)
	set := func(value string) error { return os.WriteFile(setting, []byte(value), 0) }
	if err := set("1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	t.Cleanup(func() { set("0") })
}

// open opens a device until the end of the test.
func open(t *testing.T, name string, cfg *transport.Config) *tun.Device {
	t.Helper()
	need(t)
	tr, err := transport.Open("tun", name, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	d, ok := transport.As[*tun.Device](transport.Trace(tr, func(transport.Call) {}))
	if !ok {
		t.Fatalf("the transport is a %T, want a *tun.Device", tr)
	}
	return d
}

// routed is the Config of a device to which ours4 and ours6 are routed.
func routed() *transport.Config {
	return &transport.Config{Options: tun.Options{
		Addrs: []netip.Prefix{kernel4, kernel6}, Routes: []netip.Prefix{ours4, ours6},
	}}
}

// routed4 is that without IPv6.
func routed4() *transport.Config {
	return &transport.Config{Options: tun.Options{Addrs: []netip.Prefix{kernel4}, Routes: []netip.Prefix{ours4}}}
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %q: %v\n%s", args, err, out)
	}
}

// poll waits for one of the events, until the watchdog barks.
func poll(t *testing.T, tr transport.Transport, events int16) (got int16) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(tr.FD()), Events: events}}
	for {
		n, err := unix.Poll(fds, int(watchdog.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if n == 0 || err != nil {
			t.Fatalf("waiting for events %#x: %d, %v", events, n, err)
		}
		return fds[0].Revents
	}
}

func slots(n int) []transport.Message {
	ms := make([]transport.Message, n)
	for i := range ms {
		ms[i].Buf = make([]byte, 2048)
	}
	return ms
}

// recv receives one packet, which must come.
func recv(t *testing.T, tr transport.Transport) []byte {
	t.Helper()
	poll(t, tr, unix.POLLIN)
	ms := slots(1)
	if n, err := tr.Recv(ms); n != 1 || err != nil {
		t.Fatalf("Recv = %d, %v, want a packet", n, err)
	}
	return ms[0].Bytes()
}

// datagram sends from port to the peer's port 9 through the kernel's own stack.
func datagram(t *testing.T, port int, to netip.Addr) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err = unix.Bind(fd, &unix.SockaddrInet4{Port: port}); err == nil {
		err = unix.Sendto(fd, []byte("datagram"), 0, &unix.SockaddrInet4{Addr: to.As4(), Port: 9})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ipv4 makes a packet from header and pattern, size bytes long, with a number in
// it.
func ipv4(protocol uint8, from, to netip.Addr, seq, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(seq + i*7 + i>>8)
	}
	header := append(b[:0], 0x45, 0, byte(size>>8), byte(size), 1, byte(seq), 0, 0, 64, protocol, 0, 0)
	header = append(header, from.AsSlice()...)
	header = append(header, to.AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], checksum(header))
	return b
}

func message(packet []byte) transport.Message {
	return transport.Message{Buf: packet, N: len(packet)}
}

// checksum is that of RFC 1071, of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// turnRound exchanges source and destination. That leaves every checksum right.
func turnRound(packet []byte) {
	at, length := 12, 4
	if packet[0]>>4 == 6 {
		at, length = 8, 16
	}
	for i := at; i < at+length; i++ {
		packet[i], packet[i+length] = packet[i+length], packet[i]
	}
}
