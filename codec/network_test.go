package codec_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/codec"
	"iomux/transport/netlab"
)

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

// watchdog bounds the wait for what must come.
const watchdog = 30 * time.Second

// network is a client, a router and a server in a row, each in a namespace of
// its own.
type network struct {
	t                      *testing.T
	client, router, server *netlab.Namespace
}

var (
	clientV4, routerV4, serverV4 = netip.MustParseAddr("10.77.1.1"), netip.MustParseAddr("10.77.1.2"), netip.MustParseAddr("10.77.2.1")
	clientV6, routerV6, serverV6 = netip.MustParseAddr("fd77:1::1"), netip.MustParseAddr("fd77:1::2"), netip.MustParseAddr("fd77:2::1")
)

func newNetwork(t *testing.T) *network {
	t.Helper()
	netlab.Need(t)
	n := &network{t: t}
	for _, ns := range []**netlab.Namespace{&n.client, &n.router, &n.server} {
		*ns = must[*netlab.Namespace](t)(netlab.New())
		t.Cleanup(func() { (*ns).Close() })
		n.set(*ns, "net.ipv4.icmp_ratelimit", "0")
		n.set(*ns, "net.ipv6.icmp.ratelimit", "0")
	}
	n.set(n.router, "net.ipv4.ip_forward", "1")
	n.set(n.router, "net.ipv6.conf.all.forwarding", "1")
	prefixes := func(v4, v6 netip.Addr) []netip.Prefix {
		return []netip.Prefix{netip.PrefixFrom(v4, 24), netip.PrefixFrom(v6, 64)}
	}
	for _, pair := range [][2]netlab.End{
		{{In: n.client, Name: "up", Addrs: prefixes(clientV4, clientV6)}, {In: n.router, Name: "left", Addrs: prefixes(routerV4, routerV6)}},
		{{In: n.router, Name: "right", Addrs: prefixes(serverV4.Next(), serverV6.Next())}, {In: n.server, Name: "up", Addrs: prefixes(serverV4, serverV6)}},
	} {
		if err := netlab.Veth(pair[0], pair[1]); err != nil {
			t.Fatal(err)
		}
	}
	n.route(n.client, "10.0.0.0/8", "up", routerV4.String(), unix.RTN_UNICAST)
	n.route(n.client, "fd00::/8", "up", routerV6.String(), unix.RTN_UNICAST)
	n.route(n.server, "10.77.1.0/24", "up", serverV4.Next().String(), unix.RTN_UNICAST)
	n.route(n.server, "fd77:1::/64", "up", serverV6.Next().String(), unix.RTN_UNICAST)
	return n
}

// set writes a setting of sysctl(8) in a namespace.
func (n *network) set(ns *netlab.Namespace, name, value string) {
	n.t.Helper()
	if err := ns.SetSysctl(name, value); err != nil {
		n.t.Fatal(err)
	}
}

// sysctl is where a setting can be written.
func sysctl(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }

// route adds a route of a type, through a link and a router if they are not "".
func (n *network) route(ns *netlab.Namespace, prefix, link, via string, typ int) {
	n.t.Helper()
	r := netlab.Route{Prefix: netip.MustParsePrefix(prefix), Link: link, Type: typ}
	if via != "" {
		r.Via = netip.MustParseAddr(via)
	}
	if err := ns.AddRoute(r); err != nil {
		n.t.Fatal(err)
	}
}

// setMTU of a link.
func (n *network) setMTU(ns *netlab.Namespace, link string, mtu int) {
	n.t.Helper()
	if err := ns.SetMTU(link, mtu); err != nil {
		n.t.Fatal(err)
	}
}

// tap is a packet(7) socket that gets the IP packets which arrive at a link, until
// the watchdog barks.
type tap struct {
	t        *testing.T
	fd       int
	buf      []byte
	deadline time.Time
}

func tapOn(t *testing.T, ns *netlab.Namespace, link string) *tap {
	t.Helper()
	w := &tap{t: t, buf: make([]byte, 1<<16), deadline: time.Now().Add(watchdog)}
	err := ns.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // in network byte order
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, all)
		if err != nil {
			return err
		}
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l.Attrs().Index})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(w.fd) })
	timeout := unix.NsecToTimeval(watchdog.Nanoseconds())
	if err := unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	return w
}

// next returns the next IP packet, or false if there is none in time.
func (w *tap) next() ([]byte, bool) {
	for time.Now().Before(w.deadline) {
		n, from, err := unix.Recvfrom(w.fd, w.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				w.t.Error(err)
			}
			return nil, false
		}
		if sa, ok := from.(*unix.SockaddrLinklayer); ok && sa.Pkttype != unix.PACKET_OUTGOING && n > 0 && (w.buf[0]>>4 == 4 || w.buf[0]>>4 == 6) {
			return w.buf[:n], true
		}
	}
	return nil, false
}

// send sends a packet with its IP header from a namespace.
func send(t *testing.T, ns *netlab.Namespace, packet []byte, to netip.Addr) {
	t.Helper()
	err := ns.Do(func() error {
		family := unix.AF_INET
		if to.Is6() {
			family = unix.AF_INET6
		}
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if to.Is6() {
			return unix.Sendto(fd, packet, 0, &unix.SockaddrInet6{Addr: to.As16()})
		}
		return unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: to.As4()})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// udp returns a datagram to a port that nobody listens on.
func udp(from, to netip.Addr) []byte {
	b := []byte{0x12, 0x34, 0, 9, 0, 12, 0, 0, 'd', 'a', 't', 'a'}
	pseudo := append(from.AsSlice(), to.AsSlice()...)
	pseudo = append(pseudo, 0, 17, 0, byte(len(b)))
	binary.BigEndian.PutUint16(b[6:], slowChecksum(append(pseudo, b...)))
	return b
}

// decodeICMP decodes a packet and the ICMP message in it, of either family.
func decodeICMP(t *testing.T, b []byte) (p codec.Packet, m codec.Message, err error) {
	t.Helper()
	if b[0]>>4 == 4 {
		if err = new(codec.IPv4).Decode(b, &p); err != nil {
			t.Fatalf("% x: %v", b, err)
		}
		if p.Protocol != codec.ProtocolICMPv4 {
			return p, m, codec.ErrType
		}
		return p, m, new(codec.ICMPv4).Decode(p.Payload, &m)
	}
	if err = new(codec.IPv6).Decode(b, &p); err != nil {
		t.Fatalf("% x: %v", b, err)
	}
	if p.Protocol != codec.ProtocolICMPv6 {
		return p, m, codec.ErrType
	}
	c := codec.ICMPv6{PseudoHeader: codec.PseudoHeader{Source: p.Source, Destination: p.Destination}}
	return p, m, c.Decode(p.Payload, &m)
}
