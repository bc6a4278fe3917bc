package sock

import (
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/transport/internal/wiretest"
	"iomux/transport/netlab"
)

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

// cable connects the namespace of the tests by an interface called near to
// another, where a socket has the address that is returned.
func cable(t *testing.T) netip.AddrPort {
	t.Helper()
	netlab.Need(t)
	ns, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	address := netip.MustParseAddr("192.0.2.2")
	if err := netlab.Veth(
		netlab.End{Name: "near", Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
		netlab.End{Name: "far", In: ns, Addrs: []netip.Prefix{netip.PrefixFrom(address, 24)}},
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if link, err := netlink.LinkByName("near"); err == nil {
			netlink.LinkDel(link)
		}
	})
	var there *Socket
	err = ns.Do(func() error {
		if there, err = Open(spec, nil); err == nil {
			err = there.Bind(&unix.SockaddrInet4{Port: 7})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close() })
	if err := there.Start(nil); err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(address, 7)
	here := reporting(t, false)
	send(t, here, datagram(to, "hello")) // so that the hardware address is known
	await(t, there)
	return to
}

// hold keeps in the queueing discipline what is sent through near, until
// release; frames longer than 160 bytes are dropped.
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
