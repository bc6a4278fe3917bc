package wiretest

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"iomux/transport"
	"iomux/transport/netlab"
)

// Cable is two Ethernet interfaces that are connected (veth(4)), of an MTU of 1500
// bytes: one called near in the namespace of the test, and one called far in
// another.
type Cable struct{ Near, Far End }

// End is one end of a [Cable].
type End struct {
	Namespace    *netlab.Namespace
	Name         string
	Addr4, Addr6 netip.Addr // of prefixes of 24 and 64 bits
	Index        int
	MAC          [6]byte
}

// Lab is the private network namespace that the test runs in. Where there is none
// it skips the test.
func Lab(t testing.TB) *netlab.Namespace {
	t.Helper()
	netlab.Need(t)
	ns, err := netlab.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// NewCable lays a cable until the end of the test. Near keeps its addresses when
// it is switched off.
func NewCable(t testing.TB) *Cable {
	t.Helper()
	c := &Cable{
		End{Namespace: Lab(t), Name: "near", Addr4: netip.MustParseAddr("192.0.2.1"), Addr6: netip.MustParseAddr("2001:db8::1")},
		End{Name: "far", Addr4: netip.MustParseAddr("192.0.2.2"), Addr6: netip.MustParseAddr("2001:db8::2")},
	}
	var err error
	if c.Far.Namespace, err = netlab.New(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Far.Namespace.Close() })
	if err := c.Near.Namespace.SetSysctl("net.ipv6.conf.all.keep_addr_on_down", "1"); err != nil {
		t.Fatal(err)
	}
	if err := netlab.Veth(c.Near.veth(), c.Far.veth()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if link, err := netlink.LinkByName(c.Near.Name); err == nil {
			netlink.LinkDel(link)
		}
	})
	for _, e := range []*End{&c.Near, &c.Far} {
		e.Do(t, func() {
			link, err := net.InterfaceByName(e.Name)
			if err != nil {
				t.Fatal(err)
			}
			e.Index, e.MAC = link.Index, [6]byte(link.HardwareAddr)
		})
	}
	return c
}

func (e *End) veth() netlab.End {
	return netlab.End{In: e.Namespace, Name: e.Name, Addrs: []netip.Prefix{netip.PrefixFrom(e.Addr4, 24), netip.PrefixFrom(e.Addr6, 64)}}
}

// Do calls f in the namespace of the end.
func (e *End) Do(t testing.TB, f func()) {
	t.Helper()
	if err := e.Namespace.Do(func() error { f(); return nil }); err != nil {
		t.Fatal(err)
	}
}

// Open opens a transport in the namespace of the end, until that of the test.
func (e *End) Open(t testing.TB, network, address string, cfg *transport.Config) (tr transport.Transport) {
	t.Helper()
	e.Do(t, func() { tr = Open(t, network, address, cfg) })
	return tr
}

// Hold keeps what the end called near of a [Cable] sends in its queueing discipline, so that the send buffer
// fills, until release, which throws it away. At first burst bytes pass, headers
// included, so that neighbours can be found; then 40 bytes in a second. A packet
// longer than burst, which is 4 to 10,000, is dropped. In the manner of
// [transporttest.Subject.Hold].
//
// [transporttest.Subject.Hold]: iomux/transport/transporttest.Subject
func Hold(burst uint32) (release func() error, err error) {
	ns, err := netlab.Current()
	if err != nil {
		return nil, err
	}
	set := func(to netlab.Throttle) error { return ns.SetThrottle("near", to) }
	return func() error { defer ns.Close(); return set(netlab.Throttle{}) }, set(netlab.Throttle{Rate: 40, Burst: burst, Limit: 1 << 24})
}

// SetLink switches Near off, so that the cable carries nothing, or on. When it
// returns then, both ends can be used.
func (c *Cable) SetLink(up bool) error {
	err := c.Near.Namespace.SetLink(c.Near.Name, up)
	if err == nil && up {
		err = c.Far.Namespace.SetLink(c.Far.Name, true)
	}
	return err
}
