package tun_test

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/transporttest"
	"iomux/transport/tun"
)

func exists(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}

func TestNameIsTheCallersOrTheKernels(t *testing.T) {
	for address, want := range map[string]string{"": "tun0", "tun%d": "tun0", "lab%d": "lab0", "name-of-15bytes": "name-of-15bytes"} {
		d := open(t, address, nil)
		if d.Name() != want || !exists(want) {
			t.Errorf("%q: the name is %q, want %q, and there is such an interface: %v", address, d.Name(), want, exists(want))
		}
		if f, ok := transport.As[transport.Framer](d); !ok || f.Framing() != transport.IPPacket {
			t.Errorf("%q does not carry IP packets", address)
		}
		if err := d.Close(); err != nil || exists(want) {
			t.Errorf("after Close (%v) there is an interface %s: %v", err, want, exists(want))
		}
	}
}

func TestOptionsAreThoseOfTheInterface(t *testing.T) {
	cfg := routed4()
	cfg.Batch = 3
	cfg.Options = tun.Options{Addrs: []netip.Prefix{kernel4}, Routes: []netip.Prefix{ours4}, MTU: 1280, QueueLen: 7}
	quietly(t)
	d := open(t, "", cfg)
	l, err := netlink.LinkByName(d.Name())
	if err != nil {
		t.Fatal(err)
	}
	if a := l.Attrs(); a.MTU != 1280 || a.TxQLen != 7 || a.Flags&net.FlagUp == 0 {
		t.Errorf("MTU %d, queue length %d, flags %v; want 1280, 7 and up", a.MTU, a.TxQLen, a.Flags)
	}
	for range 10 {
		datagram(t, 10_000, somebody4)
	}
	ms := wiretest.Slots(10, 2048)
	for _, want := range []int{3, 3, 1, 0} { // batches of 3; the queue holds 7
		if n, err := d.Recv(ms); n != want || err != nil {
			t.Fatalf("Recv = %d, %v, want %d", n, err, want)
		}
	}
}

// The last address of a prefix of Addrs is a broadcast address, that of a prefix
// of Routes is not.
func TestEveryAddressOfARouteIsOurs(t *testing.T) {
	quietly(t)
	d := open(t, "", routed4())
	for _, to := range []string{"198.51.100.0", "198.51.100.255"} {
		datagram(t, 10_000, netip.MustParseAddr(to))
		if got := netip.AddrFrom4([4]byte(wiretest.Recv(t, d, 1)[0].Bytes()[16:20])); got.String() != to {
			t.Errorf("received a packet for %v, want %v", got, to)
		}
	}
}

func TestUpBringsBackWhatDownTook(t *testing.T) {
	wiretest.NeedTUN(t)
	d := open(t, "", routed())
	state := func() (lines []string) {
		for _, args := range []string{"-4 route", "-6 route", "-6 -br address"} {
			for line := range strings.Lines(run(t, "ip", append(strings.Fields(args), "show", "dev", d.Name())...)) {
				if !strings.HasPrefix(line, "fe80::") && !strings.Contains(line, "multicast") {
					line, _, _ = strings.Cut(line, " fe80::") // that is for the kernel to choose anew
					lines = append(lines, strings.TrimSpace(line))
				}
			}
		}
		return lines
	}
	awaitAddrs(t, d)
	before := state()
	ip(t, "link", "set", d.Name(), "down")
	ip(t, "link", "set", d.Name(), "up")
	if lost := state(); slices.Equal(lost, before) {
		t.Fatalf("nothing was lost: there is nothing to test: %q", lost)
	}
	if err := d.Up(); err != nil {
		t.Fatal(err)
	}
	awaitAddrs(t, d)
	if after := state(); !slices.Equal(after, before) {
		t.Errorf("after Up: %q\nbefore: %q", after, before)
	}
	respond(t, "", d)
	for _, to := range []string{"198.51.100.1", "2001:db8:1::1"} {
		if out := run(t, "ping", "-c", "1", to); !strings.Contains(out, " 0% packet loss") {
			t.Errorf("not reached any more: %s", out)
		}
	}
}

// A device that is made in one namespace stays there, and Up finds it from
// everywhere.
func TestUpWorksFromAnotherNamespace(t *testing.T) {
	elsewhere := newEnd(t)
	tr := elsewhere.Open(t, "tun", "there", routed4())
	if exists("there") {
		t.Fatal("the device is here")
	}
	if err := elsewhere.Namespace.SetLink("there", false); err != nil {
		t.Fatal(err)
	}
	if err := tr.(*tun.Device).Up(); err != nil {
		t.Fatal(err)
	}
	elsewhere.Do(t, func() { datagram(t, 10_000, somebody4) })
	wiretest.Recv(t, tr, 1)
}

// An administrator's device takes no capability, and outlives the transport.
func TestDeviceMadeForTheUser(t *testing.T) {
	quietly(t)
	ip(t, "tuntap", "add", "dev", "mine", "mode", "tun", "user", "0")
	t.Cleanup(func() { ip(t, "tuntap", "del", "dev", "mine", "mode", "tun") })
	ip(t, "address", "add", kernel4.String(), "dev", "mine")
	ip(t, "link", "set", "mine", "up")
	ip(t, "route", "add", ours4.String(), "dev", "mine")
	for range 2 {
		var d transport.Transport
		var err error
		if errDeny := transporttest.WithoutCapabilities(unix.CAP_NET_ADMIN)(func() {
			d, err = transport.Open("tun", "mine", &transport.Config{Options: tun.Options{MTU: 1500, QueueLen: 500}}) // as it is
		}); errDeny != nil || err != nil {
			t.Fatal(errDeny, err)
		}
		datagram(t, 10_000, somebody4)
		wiretest.Recv(t, d, 1)
		var refused *transport.PermissionError
		if errDeny := transporttest.WithoutCapabilities(unix.CAP_NET_ADMIN)(func() {
			_, err = transport.Open("tun", "", nil)
		}); errDeny != nil || !errors.As(err, &refused) || refused.Capability != "CAP_NET_ADMIN" || !strings.Contains(refused.Advice, "ip tuntap add") {
			t.Errorf("Open of a new device without capabilities: %v, %v", errDeny, err)
		}
		if err := d.Close(); err != nil || !exists("mine") {
			t.Errorf("Close: %v; the device is still there: %v", err, exists("mine"))
		}
	}
	// To change it takes one.
	for _, o := range []tun.Options{{MTU: 1400}, {QueueLen: 3}, {Addrs: []netip.Prefix{kernel6}}, {Routes: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}} {
		var err error
		errDeny := transporttest.WithoutCapabilities(unix.CAP_NET_ADMIN)(func() {
			_, err = transport.Open("tun", "mine", &transport.Config{Options: o})
		})
		var refused *transport.PermissionError
		if errDeny != nil || !errors.As(err, &refused) || refused.Capability != "CAP_NET_ADMIN" || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("Open with %+v without capabilities: %v, %v", o, errDeny, err)
		}
	}
	// What is there already may be asked for. What was dropped before is not ours.
	cfg := routed4()
	cfg.Options = tun.Options{Addrs: []netip.Prefix{kernel4}, Routes: []netip.Prefix{ours4}, QueueLen: 1}
	for range 2 {
		d := open(t, "mine", cfg)
		datagram(t, 10_000, somebody4)
		datagram(t, 10_000, somebody4)
		wiretest.Recv(t, d, 1)
		if n, err := d.Dropped(); n != 1 || err != nil {
			t.Errorf("Dropped() = %d, %v, want 1", n, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
