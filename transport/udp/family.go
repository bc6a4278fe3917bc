package udp

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

// family is what differs between the networks.
type family struct {
	network     string
	domain      int
	name        string // of its addresses, in errors
	example     string
	unspecified netip.Addr
	has         func(netip.Addr) bool // whether an address is one of its own
	options     []option
	decode      func(*transport.Message, *sock.Packet)
	encode      func(*transport.Message, *sock.Packet, netip.Addr) error
}

// option is a socket option with its name for errors.
type option struct {
	name                 string
	level, number, value int
}

var (
	options4 = []option{
		{"IP_PKTINFO", unix.SOL_IP, unix.IP_PKTINFO, 1},
		{"IP_RECVTTL", unix.SOL_IP, unix.IP_RECVTTL, 1},
		{"IP_RECVTOS", unix.SOL_IP, unix.IP_RECVTOS, 1},
	}
	options6 = []option{
		{"IPV6_V6ONLY", unix.SOL_IPV6, unix.IPV6_V6ONLY, 1},
		{"IPV6_RECVPKTINFO", unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, 1},
		{"IPV6_RECVHOPLIMIT", unix.SOL_IPV6, unix.IPV6_RECVHOPLIMIT, 1},
		{"IPV6_RECVTCLASS", unix.SOL_IPV6, unix.IPV6_RECVTCLASS, 1},
	}
	optionsBoth = append([]option{{"IPV6_V6ONLY", unix.SOL_IPV6, unix.IPV6_V6ONLY, 0}},
		append(options6[1:len(options6):len(options6)], options4...)...)
)

var families = map[string]*family{
	"udp4": {
		network: "udp4", domain: unix.AF_INET,
		name: "an IPv4", example: "192.0.2.1:7", unspecified: netip.IPv4Unspecified(), has: netip.Addr.Is4,
		options: options4, decode: sock.DecodeIPv4, encode: sock.EncodeIPv4,
	},
	"udp6": {
		network: "udp6", domain: unix.AF_INET6,
		name: "an IPv6", example: "[2001:db8::1]:7", unspecified: netip.IPv6Unspecified(), has: is6,
		options: options6, decode: sock.DecodeIPv6, encode: sock.EncodeIPv6,
	},
	"udp": {
		network: "udp", domain: unix.AF_INET6,
		name: "an IP", example: "192.0.2.1:7", unspecified: netip.IPv6Unspecified(), has: is4Or6,
		options: optionsBoth, decode: decodeBoth, encode: encodeBoth,
	},
}

func is6(a netip.Addr) bool    { return a.Is6() && !a.Is4In6() }
func is4Or6(a netip.Addr) bool { return a.Is4() || is6(a) }

// decodeBoth is for an IPv6 socket that also receives IPv4 packets (ipv6(7)).
// The peers of these have 4-in-6 addresses, but their control messages are IPv4's.
func decodeBoth(m *transport.Message, p *sock.Packet) {
	sock.DecodeIPv6(m, p)
	if peer := m.Peer; peer.Addr().Is4() {
		sock.DecodeIPv4(m, p)
		m.Peer = peer
	}
}

// encodeBoth uses that such a socket takes IPv4 addresses as they are.
func encodeBoth(m *transport.Message, p *sock.Packet, source netip.Addr) error {
	encode := sock.EncodeIPv6
	if m.Peer.Addr().Is4() {
		encode = sock.EncodeIPv4
	}
	if source.Is4() != m.Peer.Addr().Is4() {
		source = netip.Addr{}
	}
	return encode(m, p, source)
}

// sockaddr is an address to listen on for bind(2).
func (f *family) sockaddr(local netip.AddrPort) (unix.Sockaddr, error) {
	addr, port := local.Addr(), int(local.Port())
	if f.domain == unix.AF_INET {
		return &unix.SockaddrInet4{Addr: addr.As4(), Port: port}, nil
	}
	sa := &unix.SockaddrInet6{Addr: addr.As16(), Port: port}
	if zone := addr.Zone(); zone != "" {
		link, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, fmt.Errorf("the zone of %v names no interface: %w", addr, err)
		}
		sa.ZoneId = uint32(link.Index)
	}
	return sa, nil
}

// format is for messages of a family.
type format struct {
	*family
	source netip.Addr
}

func (f *format) Decode(m *transport.Message, p *sock.Packet) {
	f.decode(m, p)
	sock.DecodeReceiveTime(m, p)
	sock.DecodeSegment(m, p)
}

func (f *format) Encode(m *transport.Message, p *sock.Packet) error {
	sock.EncodeSegment(m, p)
	return f.encode(m, p, f.source)
}

func (*format) Addr(m *transport.Message) net.Addr {
	if !m.Peer.Addr().IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(m.Peer)
}
