package tun_test

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/mux"
	"iomux/transport"
	"iomux/transport/netlab"
	"iomux/transport/transporttest"
	"iomux/transport/tun"
)

func exists(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}

func setDown(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetDown(l)
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
	if n, err := d.Dropped(); n != 0 || err != nil {
		t.Errorf("Dropped() = %d, %v before there was a packet", n, err)
	}
	for range 10 {
		datagram(t, 10_000, somebody4)
	}
	if n, err := d.Dropped(); n != 3 || err != nil {
		t.Errorf("Dropped() = %d, %v, want 3 of 10", n, err)
	}
	ms := slots(10)
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
		if got := netip.AddrFrom4([4]byte(recv(t, d)[16:20])); got.String() != to {
			t.Errorf("received a packet for %v, want %v", got, to)
		}
	}
}

func TestUpBringsBackWhatDownTook(t *testing.T) {
	need(t)
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
	awaitSource(t, "[2001:db8:1::1]:9")
	before := state()
	ip(t, "link", "set", d.Name(), "down")
	ip(t, "link", "set", d.Name(), "up")
	if lost := state(); slices.Equal(lost, before) {
		t.Fatalf("nothing was lost: there is nothing to test: %q", lost)
	}
	if err := d.Up(); err != nil {
		t.Fatal(err)
	}
	awaitSource(t, "[2001:db8:1::1]:9")
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
	need(t)
	elsewhere, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	var tr transport.Transport
	if err := elsewhere.Do(func() (err error) { tr, err = transport.Open("tun", "there", routed4()); return err }); err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if exists("there") {
		t.Fatal("the device is here")
	}
	if err := elsewhere.Do(func() error { return setDown("there") }); err != nil {
		t.Fatal(err)
	}
	if err := tr.(*tun.Device).Up(); err != nil {
		t.Fatal(err)
	}
	if err := elsewhere.Do(func() error { datagram(t, 10_000, somebody4); return nil }); err != nil {
		t.Fatal(err)
	}
	recv(t, tr)
}

func TestDeletedDeviceSaysSoForEver(t *testing.T) {
	quietly(t)
	for _, backend := range mux.Backends() {
		t.Run(backend, func(t *testing.T) {
			d := open(t, "doomed", routed4())
			m, err := mux.Open(backend)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if err := m.Add(d.FD(), mux.Readable, 7); err != nil {
				t.Fatal(err)
			}
			ip(t, "link", "delete", "doomed")
			events := make([]mux.Event, 1)
			for range 3 {
				if n, err := m.Wait(events, watchdog); n != 1 || err != nil || events[0].Ready&mux.Readable == 0 {
					t.Fatalf("Wait = %d, %v, %+v, want Readable", n, err, events[0])
				}
				_, errRecv := d.Recv(slots(2))
				_, errSend := d.Send([]transport.Message{message(ipv4(experimental, somebody4, kernel4.Addr(), 0, 20))})
				for want, err := range map[string]error{
					"read tun doomed: readv: file descriptor in bad state (the device has been deleted: close the transport)":  errRecv,
					"write tun doomed: write: file descriptor in bad state (the device has been deleted: close the transport)": errSend,
				} {
					if !errors.Is(err, syscall.EBADFD) || err.Error() != want {
						t.Errorf("got  %v\nwant %s", err, want)
					}
				}
			}
			if err := d.Up(); err == nil || !strings.Contains(err.Error(), "has it been deleted") {
				t.Errorf("Up: %v, want that the device has been deleted", err)
			}
			if _, err := d.Dropped(); err == nil || !strings.Contains(err.Error(), "has it been deleted") {
				t.Errorf("Dropped: %v, want that the device has been deleted", err)
			}
			if err := m.Remove(d.FD()); err != nil {
				t.Error(err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if err := d.Up(); err != net.ErrClosed {
				t.Errorf("Up after Close: %v, want net.ErrClosed", err)
			}
			if n, err := d.Dropped(); n != 0 || err != net.ErrClosed {
				t.Errorf("Dropped after Close: %d, %v, want net.ErrClosed", n, err)
			}
		})
	}
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
		recv(t, d)
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
		recv(t, d)
		if n, err := d.Dropped(); n != 1 || err != nil {
			t.Errorf("Dropped() = %d, %v, want 1", n, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
