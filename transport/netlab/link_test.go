package netlab_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/transport/netlab"
)

func prefixes(ps ...string) (parsed []netip.Prefix) {
	for _, p := range ps {
		parsed = append(parsed, netip.MustParsePrefix(p))
	}
	return parsed
}

// exchange sends a datagram from a to b and another one back, each once. The
// zone of a link-local address is the interface of its own side.
func exchange(a, b *netlab.Namespace, addrA, addrB netip.Addr) error {
	connA, err := listen(a, addrA)
	if err != nil {
		return err
	}
	defer connA.Close()
	connB, err := listen(b, addrB)
	if err != nil {
		return err
	}
	defer connB.Close()
	portOf := func(c *net.UDPConn, addr netip.Addr) netip.AddrPort {
		return netip.AddrPortFrom(addr, c.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	}
	for _, way := range []struct {
		name     string
		from, to *net.UDPConn
		src, dst netip.AddrPort
	}{
		{"there", connA, connB, portOf(connA, addrA), portOf(connB, addrB.WithZone(addrA.Zone()))},
		{"back", connB, connA, portOf(connB, addrB), portOf(connA, addrA.WithZone(addrB.Zone()))},
	} {
		if _, err := way.from.WriteToUDPAddrPort([]byte(way.name), way.dst); err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
		buf := make([]byte, 100)
		n, src, err := way.to.ReadFromUDPAddrPort(buf)
		if err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
		if string(buf[:n]) != way.name || src.Port() != way.src.Port() {
			return fmt.Errorf("%s: got %q from %v", way.name, buf[:n], src)
		}
	}
	return nil
}

func listen(n *netlab.Namespace, addr netip.Addr) (conn *net.UDPConn, err error) {
	err = n.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	})
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(watchdog))
	}
	return conn, err
}

func TestVethCarriesPacketsAtOnce(t *testing.T) {
	for range 10 {
		a, b := newNamespace(t), newNamespace(t)
		err := netlab.Veth(
			netlab.End{In: a, Name: "left", Addrs: prefixes("10.9.0.1/24", "fd09::1/64")},
			netlab.End{In: b, Name: "right", Addrs: prefixes("10.9.0.2/24", "fd09::2/64")})
		if err != nil {
			t.Fatal(err)
		}
		for _, ends := range [][2]string{
			{"fd09::1", "fd09::2"},
			{"10.9.0.1", "10.9.0.2"},
			{linkLocal(t, a, "left"), linkLocal(t, b, "right")},
		} {
			if err := exchange(a, b, netip.MustParseAddr(ends[0]), netip.MustParseAddr(ends[1])); err != nil {
				t.Errorf("%v: %v", ends, err)
			}
		}
		a.Close()
		b.Close()
	}
}

// An interface that is up drops packets until the kernel has noticed its carrier
// and activated its queue.
func TestVethIsActiveWithoutIPv6Too(t *testing.T) {
	for range 20 {
		a, b := newNamespace(t), newNamespace(t)
		for _, n := range []*netlab.Namespace{a, b} {
			err := n.Do(func() error {
				err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
				if errors.Is(err, fs.ErrNotExist) {
					err = nil
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		err := netlab.Veth(
			netlab.End{In: a, Name: "left", Addrs: prefixes("10.9.0.1/24")},
			netlab.End{In: b, Name: "right", Addrs: prefixes("10.9.0.2/24")})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(isRunning(a, "left"), isRunning(b, "right")); err != nil {
			t.Error(err)
		}
		if err := exchange(a, b, netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.2")); err != nil {
			t.Error(err)
		}
		a.Close()
		b.Close()
	}
}

func isRunning(n *netlab.Namespace, name string) error {
	return n.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err == nil && link.Attrs().RawFlags&unix.IFF_RUNNING == 0 {
			err = fmt.Errorf("interface %s is not running", name)
		}
		return err
	})
}

// linkLocal returns the link-local address of an interface, with its index as
// the zone.
func linkLocal(t *testing.T, n *netlab.Namespace, name string) (addr string) {
	t.Helper()
	err := n.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
		for _, a := range addrs {
			if a.IP.IsLinkLocalUnicast() {
				addr = fmt.Sprintf("%s%%%d", a.IP, link.Attrs().Index)
			}
		}
		return err
	})
	if err != nil || addr == "" {
		t.Fatalf("no link-local address of %s: %v", name, err)
	}
	return addr
}

func TestVethWithoutNamespacesIsInTheCurrentOne(t *testing.T) {
	n := newNamespace(t)
	err := n.Do(func() error {
		return netlab.Veth(netlab.End{Name: "one", Addrs: prefixes("10.9.1.1/24")}, netlab.End{Name: "two"})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		if !exists(n, name) {
			t.Errorf("interface %s is not in the namespace of the caller", name)
		}
	}
}

func exists(n *netlab.Namespace, name string) bool {
	return n.Do(func() error { _, err := netlink.LinkByName(name); return err }) == nil
}

func TestVethThatFailsLeavesNothing(t *testing.T) {
	a, b := newNamespace(t), newNamespace(t)
	err := netlab.Veth(netlab.End{In: a, Name: "left"},
		netlab.End{In: b, Name: "right", Addrs: prefixes("10.9.0.2/24", "10.9.0.2/24")})
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), `add address 10.9.0.2/24 to interface "right"`) {
		t.Errorf("an address twice: %v, want fs.ErrExist and where", err)
	}
	if exists(a, "left") || exists(b, "right") {
		t.Error("an interface is left")
	}
	for _, name := range []string{"", "sixteen-letters-"} {
		err := netlab.Veth(netlab.End{In: a, Name: "left"}, netlab.End{In: b, Name: name})
		if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "1 to 15 bytes") {
			t.Errorf("name %q: %v, want EINVAL and what is right", name, err)
		}
	}
}

func TestAddAddrIsUsableAtOnce(t *testing.T) {
	for range 20 {
		n := newNamespace(t)
		for _, p := range prefixes("10.8.0.1/24", "fd08::1/64") {
			if err := n.AddAddr("lo", p); err != nil {
				t.Fatal(err)
			}
			if err := exchange(n, n, p.Addr(), p.Addr()); err != nil {
				t.Errorf("%v: %v", p, err)
			}
		}
	}
}

func TestAddAddrToAnInterfaceThatIsDown(t *testing.T) {
	n := newNamespace(t)
	err := n.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "down"
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "peer"})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.AddAddr("down", netip.MustParsePrefix("fd08::1/64")); err != nil {
		t.Error(err)
	}
}

func TestAddLocalRouteMakesEveryAddressLocal(t *testing.T) {
	n := newNamespace(t)
	for _, p := range prefixes("10.0.0.0/8", "fd07::/32") {
		if err := n.AddLocalRoute(p); err != nil {
			t.Fatal(err)
		}
	}
	err := n.Do(func() error {
		filter := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Dst: &net.IPNet{IP: net.IP{10, 0, 0, 0}, Mask: net.CIDRMask(8, 32)}}
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
		if len(routes) != 1 {
			t.Errorf("the local table has %v for 10.0.0.0/8", routes)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr("10.1.2.3")
	if err := exchange(n, n, addr, addr); err != nil {
		t.Errorf("%v: %v", addr, err)
	}
	server, err := listen(n, netip.IPv6Unspecified())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	port := server.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	to := netip.AddrPortFrom(netip.MustParseAddr("fd07::1:2:3"), port)
	if _, err := server.WriteToUDPAddrPort([]byte("to itself"), to); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, _, err := server.ReadFromUDPAddrPort(buf); err != nil || string(buf[:n]) != "to itself" {
		t.Errorf("%v: got %q, %v", to, buf[:n], err)
	}
}

func TestAddErrorsSayWhatFailed(t *testing.T) {
	n := newNamespace(t)
	ok := netip.MustParsePrefix("10.8.0.1/24")
	for _, c := range []struct {
		name string
		err  error
		is   error
		says string
	}{
		{"no such interface", n.AddAddr("nowhere", ok), nil, `interface "nowhere"`},
		{"address twice", errors.Join(n.AddAddr("lo", ok), n.AddAddr("lo", ok)), fs.ErrExist, "10.8.0.1/24"},
		{"zero prefix", n.AddAddr("lo", netip.Prefix{}), unix.EINVAL, "IPv4 or IPv6 prefix"},
		{"4-in-6 prefix", n.AddAddr("lo", netip.MustParsePrefix("::ffff:10.0.0.1/120")), unix.EINVAL, "IPv4 or IPv6 prefix"},
		{"zero route", n.AddLocalRoute(netip.Prefix{}), unix.EINVAL, "IPv4 or IPv6 prefix"},
		{"host bits", n.AddLocalRoute(ok), unix.EINVAL, "10.8.0.0/24"},
		{"route twice", errors.Join(n.AddLocalRoute(ok.Masked()), n.AddLocalRoute(ok.Masked())), fs.ErrExist, "10.8.0.0/24"},
	} {
		if c.err == nil || c.is != nil && !errors.Is(c.err, c.is) || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%s: %v, want %v and %q", c.name, c.err, c.is, c.says)
		}
	}
}

// Each type of route does what it is for, and a router is used.
func TestAddRoute(t *testing.T) {
	near, far := newNamespace(t), newNamespace(t)
	if err := netlab.Veth(netlab.End{In: near, Name: "near", Addrs: prefixes("10.9.0.1/24")},
		netlab.End{In: far, Name: "far", Addrs: prefixes("10.9.0.2/24")}); err != nil {
		t.Fatal(err)
	}
	for _, p := range prefixes("10.20.0.0/16", "10.21.0.0/16") {
		if err := far.AddLocalRoute(p); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []netlab.Route{
		{Prefix: netip.MustParsePrefix("10.20.0.0/16"), Via: netip.MustParseAddr("10.9.0.2")},
		{Prefix: netip.MustParsePrefix("10.21.0.0/16"), Via: netip.MustParseAddr("10.9.0.2"), Link: "near", Type: unix.RTN_UNICAST},
		{Prefix: netip.MustParsePrefix("10.30.0.0/16"), Type: unix.RTN_UNREACHABLE},
		{Prefix: netip.MustParsePrefix("10.31.0.0/16"), Type: unix.RTN_PROHIBIT},
		{Prefix: netip.MustParsePrefix("10.32.0.0/16"), Type: unix.RTN_BLACKHOLE},
	} {
		if err := near.AddRoute(r); err != nil {
			t.Fatal(err)
		}
		if err := near.AddRoute(r); !errors.Is(err, fs.ErrExist) {
			t.Errorf("again: %v, want %v", err, fs.ErrExist)
		}
	}
	for _, to := range []string{"10.20.1.2", "10.21.1.2"} {
		if err := exchange(near, far, netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr(to)); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
	for to, want := range map[string]error{"10.30.1.2": unix.EHOSTUNREACH, "10.31.1.2": unix.EACCES, "10.32.1.2": unix.EINVAL} {
		err := near.Do(func() error {
			_, err := netlink.RouteGet(netip.MustParseAddr(to).AsSlice())
			return err
		})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", to, err, want)
		}
	}
	if err := near.AddRoute(netlab.Route{Prefix: netip.MustParsePrefix("10.40.0.0/16"), Link: "nosuch0"}); err == nil {
		t.Error("a route through an interface that there is not")
	}
}

func TestSetMTU(t *testing.T) {
	n := newNamespace(t)
	if err := n.SetMTU("lo", 1300); err != nil {
		t.Fatal(err)
	}
	err := n.Do(func() error {
		l, err := netlink.LinkByName("lo")
		if err == nil && l.Attrs().MTU != 1300 {
			t.Errorf("the MTU is %d", l.Attrs().MTU)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.SetMTU("nosuch0", 1300); err == nil || !strings.Contains(err.Error(), "nosuch0") {
		t.Errorf("an interface that there is not: %v", err)
	}
}
