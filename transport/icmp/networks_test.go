package icmp_test

import (
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"

	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/internal/wiretest"
	"iomux/transport/netlab"
)

// network is what tests about all networks know about one of them.
type network struct {
	name           string
	raw, ping      string // the networks of its family
	v6             bool
	header         int   // bytes in front of a received message
	longest        int   // message, in bytes
	request, reply uint8 // types
	loopback       netip.Addr
	other          netip.Addr // another one on loopback
	near, far      netip.Addr // the ends of a cable
	refused        netip.Addr // that the kernel does not send to
}

var networks = func() []network {
	v4 := network{
		raw: "ip4:icmp", ping: "udp4:icmp",
		longest: 65535 - ipv4Header, request: request, reply: reply,
		loopback: loopback, other: netip.MustParseAddr("127.0.0.5"),
		near: netip.MustParseAddr("192.0.2.1"), far: netip.MustParseAddr("192.0.2.2"),
		refused: netip.MustParseAddr("192.0.2.255"), // as SO_BROADCAST is not set
	}
	v6 := network{
		raw: "ip6:ipv6-icmp", ping: "udp6:ipv6-icmp", v6: true,
		longest: 65535, request: request6, reply: reply6,
		loopback: netip.IPv6Loopback(), other: netip.MustParseAddr("2001:db8:5::5"),
		near: netip.MustParseAddr("2001:db8::1"), far: netip.MustParseAddr("2001:db8::2"),
		refused: netip.MustParseAddr("2001:db8:ffff::1"), // to which there is no route
	}
	raw4, ping4, raw6, ping6 := v4, v4, v6, v6
	raw4.name, ping4.name, raw6.name, ping6.name = v4.raw, v4.ping, v6.raw, v6.ping
	raw4.header = ipv4Header
	return []network{raw4, ping4, raw6, ping6}
}()

var raw4, ping4, raw6, ping6 = networks[0], networks[1], networks[2], networks[3]

func (n network) isPing() bool { return n.name == n.ping }

// config is the Config, may it be nil, with a raw socket's Types confined to
// echo messages.
func (n network) config(cfg *transport.Config) *transport.Config {
	var c transport.Config
	if cfg != nil {
		c = *cfg
	}
	if !n.isPing() {
		o, _ := c.Options.(icmp.Options)
		o.Types = []uint8{n.request, n.reply}
		c.Options = o
	}
	return &c
}

// onAll runs a test for each of some networks.
func onAll(t *testing.T, networks []network, test func(*testing.T, network)) {
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) { test(t, n) })
	}
}

// cable connects the lab by an interface called near, whose MTU is 1500, to
// another namespace.
func cable(t *testing.T) *netlab.Namespace {
	t.Helper()
	lab(t)
	// An interface that is switched off would lose its IPv6 addresses.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/keep_addr_on_down", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	far, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	prefixes := func(v4, v6 netip.Addr) []netip.Prefix {
		return []netip.Prefix{netip.PrefixFrom(v4, 24), netip.PrefixFrom(v6, 64)}
	}
	if err := netlab.Veth(
		netlab.End{Name: "near", Addrs: prefixes(raw4.near, raw6.near)},
		netlab.End{Name: "far", In: far, Addrs: prefixes(raw4.far, raw6.far)},
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if link, err := netlink.LinkByName("near"); err == nil {
			netlink.LinkDel(link)
		}
	})
	for _, n := range []network{raw4, raw6} { // so that the hardware addresses are known
		tr := open(t, n.raw, "", only(n.reply))
		send(t, tr, message(n.request, n.far, 1, 1, nil))
		recv(t, tr, 1)
		tr.Close()
	}
	return far
}

// hold keeps in the queueing discipline what is sent through near, until
// release, which throws it away. Frames longer than 160 bytes are dropped.
func hold(t *testing.T) (release func()) {
	t.Helper()
	drop, err := wiretest.Hold(160)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := drop(); err != nil {
			t.Fatal(err)
		}
	}
}

// setLink switches an interface.
func setLink(name string, up bool) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if up {
		return netlink.LinkSetUp(link)
	}
	return netlink.LinkSetDown(link)
}
