package icmp_test

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/netlab"
	"iomux/transport/transporttest"
)

// The suite runs over a cable to another namespace, where a raw socket is the
// other end. The kernels answer nothing.
var (
	nearAddr = netip.MustParseAddr("192.0.2.1")
	farAddr  = netip.MustParseAddr("192.0.2.2")
)

const (
	shortest = icmpHeader // the kernel delivers nothing below that
	longest  = 65535 - ipv4Header
)

func TestConformance(t *testing.T) {
	near, far := lab(t), farNamespace(t)
	silenceKernel(t)
	if err := near.SetPingGroups(0, 0); err != nil {
		t.Fatal(err)
	}
	ends := func(network string, cfg *transport.Config) (p transporttest.Pair, err error) {
		err = far.Do(func() error {
			p.B, err = transport.Open("ip4:icmp", "", only(request, reply))
			return err
		})
		if err != nil {
			return p, err
		}
		if p.A, err = transport.Open(network, "", cfg); err != nil {
			p.B.Close()
			return p, err
		}
		return p, nil
	}
	// echo makes messages of a kind, their number in the sequence number.
	echo := func(kind uint8, to netip.Addr, id uint16) func(seq, size int) transport.Message {
		return func(seq, size int) transport.Message {
			return message(kind, to, id, uint16(seq), pattern(size-icmpHeader))
		}
	}
	subject := transporttest.Subject{
		MinSize: shortest, MaxSize: longest,
		Unsendable: func(p transporttest.Pair) []transport.Message {
			nowhere, broadcast := p.ToB(0, shortest), p.ToB(0, shortest)
			nowhere.Peer = netip.AddrPort{}
			broadcast.Peer = netip.MustParseAddrPort("192.0.2.255:0") // SO_BROADCAST is not set
			return []transport.Message{p.ToB(0, longest+1), nowhere, broadcast}
		},
		Hold: func(transporttest.Pair) (func() error, error) {
			release := hold(t)
			return func() error { release(); return nil }, nil
		},
		SetLink: func(_ transporttest.Pair, up bool) error { return setLink("near", up) },
	}
	without := map[string]string{
		"empty_message":               "an ICMP message has a header of 8 bytes",
		"order_kept":                  "IP promises no order: packets on one processor may overtake those on another",
		"pending_error_reported_once": "without IP_RECVERR no error of an earlier message is reported",
	}

	t.Run("ip4:icmp", func(t *testing.T) {
		s := subject
		s.Network, s.Header, s.Without = "ip4:icmp", ipv4Header, without
		s.Open = func(cfg *transport.Config) (transporttest.Pair, error) {
			types := only(request, reply)
			if cfg != nil {
				types.Filter = cfg.Filter
			}
			p, err := ends("ip4:icmp", types)
			p.ToB, p.ToA = echo(request, farAddr, 1), echo(request, nearAddr, 1)
			return p, err
		}
		s.Answer = func(payload []byte) {
			payload[0] = reply
			setChecksum(payload)
		}
		s.Starve = func(p transporttest.Pair) (transport.Message, func() error, error) {
			buffer := func(size int) error {
				return unix.SetsockoptInt(p.A.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, size)
			}
			return p.ToB(0, 60_000), func() error { return buffer(1 << 17) }, buffer(1)
		}
		s.Deny = transporttest.WithoutCapabilities(unix.CAP_NET_RAW)
		transporttest.Run(t, s)
	})

	t.Run("udp4:icmp", func(t *testing.T) {
		s := subject
		s.Network, s.Without = "udp4:icmp", map[string]string{"echo_in_place": "a ping socket receives no requests"}
		for name, why := range without {
			s.Without[name] = why
		}
		s.Open = func(cfg *transport.Config) (transporttest.Pair, error) {
			p, err := ends("udp4:icmp", cfg)
			if ping, ok := transport.As[transport.Identifier](p.A); ok {
				id := ping.Identifier()
				p.ToB, p.ToA = echo(request, farAddr, id), echo(reply, nearAddr, id)
			}
			return p, err
		}
		s.Starve = func(p transporttest.Pair) (transport.Message, func() error, error) {
			release := hold(t)
			return p.ToB(0, 1000), func() error { release(); return nil }, nil // longer than what hold lets pass
		}
		s.Deny = func(open func()) error { // in a new namespace nobody may
			ns, err := netlab.New()
			if err != nil {
				return err
			}
			defer ns.Close()
			return ns.Do(func() error { open(); return nil })
		}
		transporttest.Run(t, s)
	})
}

// farNamespace makes a namespace that answers no echo requests, at the end of an
// interface called near.
func farNamespace(t *testing.T) *netlab.Namespace {
	t.Helper()
	far, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	if err := far.SetEchoReplies(false); err != nil {
		t.Fatal(err)
	}
	if err := netlab.Veth(
		netlab.End{Name: "near", Addrs: []netip.Prefix{netip.PrefixFrom(nearAddr, 24)}},
		netlab.End{Name: "far", In: far, Addrs: []netip.Prefix{netip.PrefixFrom(farAddr, 24)}},
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if link, err := netlink.LinkByName("near"); err == nil {
			netlink.LinkDel(link)
		}
	})
	return far
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
