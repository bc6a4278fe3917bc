package tun_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/netlab"
	"iomux/transport/tun"
)

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

// The kernel has an address of its own, and two prefixes are ours.
var (
	kernel4, kernel6 = netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::1/128")
	ours4, ours6     = netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:1::/64")
	somebody4        = netip.MustParseAddr("198.51.100.77")
)

// quietly keeps the kernel from sending packets of its own on new devices, as it
// does where they have IPv6.
func quietly(t *testing.T) {
	t.Helper()
	wiretest.NeedTUN(t)
	silence(t, wiretest.Lab(t))
}

// silence does so in a namespace.
func silence(t *testing.T, ns *netlab.Namespace) {
	t.Helper()
	set := func(value string) error { return ns.SetSysctl("net.ipv6.conf.default.disable_ipv6", value) }
	if err := set("1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	t.Cleanup(func() { set("0") })
}

// open opens a device until the end of the test.
func open(t *testing.T, name string, cfg *transport.Config) *tun.Device {
	t.Helper()
	wiretest.NeedTUN(t)
	tr := wiretest.Open(t, "tun", name, cfg)
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

// awaitAddrs waits for the kernel to have its IPv6 addresses on the device, which
// takes it a moment after Open.
func awaitAddrs(t *testing.T, d *tun.Device) {
	t.Helper()
	if err := wiretest.Lab(t).SetLink(d.Name(), true); err != nil {
		t.Fatal(err)
	}
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %q: %v\n%s", args, err, out)
	}
}

// newEnd is a network namespace of its own, in which only the tests send.
func newEnd(t *testing.T) *wiretest.End {
	t.Helper()
	wiretest.NeedTUN(t)
	ns, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	silence(t, ns)
	return &wiretest.End{Namespace: ns}
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
	b := wiretest.Pattern(seq, size)
	header := append(b[:0], 0x45, 0, byte(size>>8), byte(size), 1, byte(seq), 0, 0, 64, protocol, 0, 0)
	header = append(header, from.AsSlice()...)
	header = append(header, to.AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], checksum(header))
	return b
}

// udp makes a UDP packet in the same way, without a checksum.
func udp(from, to netip.AddrPort, seq, size int) []byte {
	b := ipv4(unix.IPPROTO_UDP, from.Addr(), to.Addr(), seq, size)
	for i, v := range []uint16{from.Port(), to.Port(), uint16(size - 20), 0} {
		binary.BigEndian.PutUint16(b[20+2*i:], v)
	}
	return b
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
