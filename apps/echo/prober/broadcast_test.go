package prober

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/netlab"
)

// A namespace with the network 192.0.2.0/24 on the interface near, a prohibited route,
// and a broadcast address for packets with the mark 7 only.
func inBroadcastLab(t *testing.T, test func() error) {
	netlab.Need(t)
	ns, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	near := netlab.End{In: ns, Name: "near", Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("203.0.113.1/31")}}
	if err := netlab.Veth(near, netlab.End{In: ns, Name: "far"}); err != nil {
		t.Fatal(err)
	}
	if err := ns.Do(func() error {
		link, err := netlink.LinkByName("near")
		if err != nil {
			return err
		}
		network := func(s string) *net.IPNet {
			_, n, err := net.ParseCIDR(s)
			if err != nil {
				panic(err)
			}
			return n
		}
		rule := netlink.NewRule()
		rule.Family, rule.Mark, rule.Table = netlink.FAMILY_V4, 7, 77
		return errors.Join(
			netlink.RouteAdd(&netlink.Route{Dst: network("198.51.100.0/24"), Type: unix.RTN_PROHIBIT}),
			netlink.RouteAdd(&netlink.Route{Dst: network("10.0.0.255/32"), Type: unix.RTN_BROADCAST, LinkIndex: link.Attrs().Index,
				Scope: netlink.SCOPE_LINK, Table: rule.Table}),
			netlink.RuleAdd(rule),
			test())
	}); err != nil {
		t.Fatal(err)
	}
}

func TestBroadcastAddressesAreThoseOfTheRoutes(t *testing.T) {
	inBroadcastLab(t, func() error {
		check := func() {
			for _, c := range []struct {
				addr, iface string
				mark        uint32
				want        bool
			}{
				{"127.255.255.255", "", 0, true},
				{"127.255.255.255", "lo", 0, true},
				{"::ffff:127.255.255.255", "", 0, true},
				{"127.255.255.254", "", 0, false},
				{"192.0.2.255", "", 0, true},
				{"192.0.2.255", "near", 0, true},
				{"192.0.2.255", "far", 0, false},
				{"192.0.2.255", "nowhere", 0, false},
				{"192.0.2.255", "", 7, true},
				{"192.0.2.2", "", 0, false},
				{"203.0.113.1", "", 0, false}, // a network of two has none (RFC 3021)
				{"255.255.255.255", "near", 0, true},
				{"10.0.0.255", "", 0, false}, // no route
				{"10.0.0.255", "", 7, true},
				{"10.0.0.255", "", 8, false},
				{"198.51.100.255", "", 0, false},
				{"224.0.0.1", "near", 0, false},
				{"ff02::1", "near", 0, false},
				{"::1", "", 0, false},
			} {
				if got := isBroadcast(netip.MustParseAddr(c.addr), c.iface, c.mark); got != c.want {
					t.Errorf("isBroadcast(%s, %q, %d) = %v, want %v", c.addr, c.iface, c.mark, got, c.want)
				}
			}
			if isBroadcast(netip.Addr{}, "", 0) {
				t.Error("no address is a broadcast address")
			}
		}
		check()
		var none [2]unix.CapUserData // the thread has no other use
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
			return err
		}
		check()
		return nil
	})
}

// Both are refused with the same error.
func TestBroadcastAddressIsToldFromAProhibitedRoute(t *testing.T) {
	inBroadcastLab(t, func() error {
		tr, err := transport.Open("ip4:icmp", "", nil)
		if err != nil {
			return err
		}
		defer tr.Close()
		for addr, want := range map[netip.Addr]bool{
			netip.MustParseAddr("192.0.2.255"):  true,
			netip.MustParseAddr("198.51.100.1"): false,
		} {
			m := transport.Message{Buf: make([]byte, 8), N: 8, Peer: netip.AddrPortFrom(addr, 0)}
			if _, err := tr.Send([]transport.Message{m}); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("Send to %v: %v, want %v", addr, err, unix.EACCES)
			}
			if got := isBroadcast(addr, "", 0); got != want {
				t.Errorf("isBroadcast(%v) = %v, want %v", addr, got, want)
			}
		}
		return nil
	})
}

func BenchmarkIsBroadcast(b *testing.B) {
	addr := netip.MustParseAddr("127.0.0.1")
	for b.Loop() {
		isBroadcast(addr, "", 0)
	}
}
