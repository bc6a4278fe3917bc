package icmp

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

// family is what differs between ICMP for IPv4 and for IPv6.
type family struct {
	name             string // in errors
	domain, protocol int
	request          uint8 // the type of an echo request
	unspecified      netip.Addr
	example          string // of an address
	ping             string // the network of its ping sockets
	raw              string // and of its raw sockets
	level            int    // of these options, which make the kernel tell
	info, ttl, tos   option // about each packet
	decode           func(*transport.Message, *sock.Packet)
	encode           func(*transport.Message, *sock.Packet, netip.Addr) error
}

// option is a socket option with its name for errors.
type option struct {
	name   string
	number int
}

var ip4 = &family{
	name: "IPv4", domain: unix.AF_INET, protocol: unix.IPPROTO_ICMP, request: typeEchoRequest,
	unspecified: netip.IPv4Unspecified(), example: "192.0.2.1",
	raw: "ip4:icmp", ping: "udp4:icmp",
	level: unix.SOL_IP,
	info:  option{"IP_PKTINFO", unix.IP_PKTINFO},
	ttl:   option{"IP_RECVTTL", unix.IP_RECVTTL},
	tos:   option{"IP_RECVTOS", unix.IP_RECVTOS},

	decode: sock.DecodeIPv4, encode: sock.EncodeIPv4,
}

var ip6 = &family{
	name: "IPv6", domain: unix.AF_INET6, protocol: unix.IPPROTO_ICMPV6, request: type6EchoRequest,
	unspecified: netip.IPv6Unspecified(), example: "2001:db8::1",
	raw: "ip6:ipv6-icmp", ping: "udp6:ipv6-icmp",
	level: unix.SOL_IPV6,
	info:  option{"IPV6_RECVPKTINFO", unix.IPV6_RECVPKTINFO},
	ttl:   option{"IPV6_RECVHOPLIMIT", unix.IPV6_RECVHOPLIMIT},
	tos:   option{"IPV6_RECVTCLASS", unix.IPV6_RECVTCLASS},

	decode: sock.DecodeIPv6, encode: sock.EncodeIPv6,
}

// has tells whether the address is of the family.
func (f *family) has(addr netip.Addr) bool {
	return addr.BitLen() == f.unspecified.BitLen() && !addr.Is4In6()
}

// parse reads an address to bind to.
func (f *family) parse(network, address string) (netip.Addr, error) {
	if address == "" {
		return f.unspecified, nil
	}
	addr, err := netip.ParseAddr(address)
	if err != nil || !f.has(addr) {
		return netip.Addr{}, openError(network, &net.AddrError{Addr: address, Err: fmt.Sprintf(
			"want an %s address to bind to, %q for instance, without a port, or \"\"", f.name, f.example)})
	}
	return addr, nil
}

// sockaddr is an address for bind(2).
func sockaddr(addr netip.Addr) (unix.Sockaddr, error) {
	if addr.Is4() {
		return &unix.SockaddrInet4{Addr: addr.As4()}, nil
	}
	scope, err := index(addr.Zone())
	if err != nil {
		return nil, &net.AddrError{Addr: addr.String(), Err: err.Error()}
	}
	return &unix.SockaddrInet6{Addr: addr.As16(), ZoneId: scope}, nil
}

// index is the number of the interface that a zone names (RFC 4007, 11.2); 0 of
// none.
func index(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index), nil
	}
	if n, err := strconv.ParseUint(zone, 10, 31); err == nil {
		return uint32(n), nil
	}
	return 0, fmt.Errorf("no interface is called %s", zone)
}

// open opens a socket, lets set adjust it, binds it and lets packets in.
func (f *family) open(spec sock.Spec, addr netip.Addr, cfg *transport.Config, set func(*sock.Socket) error) (*sock.Socket, error) {
	to, err := sockaddr(addr)
	if err != nil {
		return nil, openError(spec.Network, err)
	}
	spec.Domain, spec.Protocol = f.domain, f.protocol
	s, err := sock.Open(spec, cfg)
	if err != nil {
		return nil, err
	}
	if err = set(s); err == nil {
		err = s.Bind(to)
	}
	if err == nil {
		err = s.Start(cfg)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// receive makes the kernel tell more about each packet.
func (f *family) receive(s *sock.Socket, options ...option) error {
	for _, o := range options {
		if err := s.Set(o.name, f.level, o.number, 1); err != nil {
			return err
		}
	}
	return nil
}

// format is for messages that are received as they are sent: without an IP
// header.
type format struct {
	*family
	source netip.Addr
	least  int // bytes of a message to send; of fewer the kernel would say EFAULT
}

func (f *format) Decode(m *transport.Message, p *sock.Packet) { f.decode(m, p) }

func (f *format) Encode(m *transport.Message, p *sock.Packet) error {
	if m.N < f.least {
		return fmt.Errorf("an ICMP message of %d bytes has no type and code", m.N)
	}
	return f.encode(m, p, f.source)
}

func (*format) Addr(m *transport.Message) net.Addr {
	if !m.Peer.Addr().IsValid() {
		return nil
	}
	return &net.IPAddr{IP: m.Peer.Addr().AsSlice()}
}
