// Package rawip sends IP packets as they are, through raw sockets.
//
// It is for what no other socket sends: packets from the address of another host, or
// with a checksum that is wrong. It needs CAP_NET_RAW. Importing it registers two
// networks, "ip4:raw" and "ip6:raw" (IPPROTO_RAW in raw(7)), whose address is "".
//
//	t, err := transport.Open("ip4:raw", "", nil)
//	if err != nil {
//		return err
//	}
//	defer t.Close()
//	n, err := t.Send([]transport.Message{{Buf: packet, N: len(packet)}}) // from its IP header on
//
// It only sends: Recv always is 0, nil, and the descriptor never becomes readable. Where
// a packet goes says its header alone, so Peer has to be the zero AddrPort; Ifindex is
// the interface, and has to be there for a link-local IPv6 address.
//
// The kernel looks up the route, and puts right the length and the checksum of the IPv4
// header; an identification of 0 and a source of 0.0.0.0 it fills in as well. All else
// stays. It does not fragment: what is longer than the MTU is EMSGSIZE. To an IPv4
// broadcast address nothing is sent (EACCES).
//
// Of the Config, Batch, SendBuffer, Interface and Mark are honoured, and the others
// refused.
package rawip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

func init() {
	for _, f := range []*family{ip4, ip6} {
		transport.Register(f.network, f.open)
	}
}

// family is what differs between IPv4 and IPv6.
type family struct {
	network         string
	domain, version int
	header          int // its length in bytes
	longest         int // the longest packet in bytes
	encode          func(*transport.Message, *sock.Packet, netip.Addr) error
}

// format is for one socket.
type format struct {
	*family
	to transport.Message // where the packet goes that Encode has in hand
}

var (
	ip4 = &family{network: "ip4:raw", domain: unix.AF_INET, version: 4, header: 20, longest: 1<<16 - 1, encode: sock.EncodeIPv4}
	ip6 = &family{network: "ip6:raw", domain: unix.AF_INET6, version: 6, header: 40, longest: 40 + 1<<16 - 1, encode: sock.EncodeIPv6}
)

// socket is a raw socket that carries IP packets.
type socket struct{ *sock.Socket }

var (
	_ transport.Transport = socket{}
	_ transport.Framer    = socket{}
)

// Framing tells that the payload begins with an IP header.
func (socket) Framing() transport.Framing { return transport.IPPacket }

func (f *family) open(network, address string, cfg *transport.Config) (transport.Transport, error) {
	if cfg == nil {
		cfg = &transport.Config{}
	}
	if err := check(address, cfg); err != nil {
		return nil, &net.OpError{Op: "open", Net: network, Err: err}
	}
	s, err := sock.Open(sock.Spec{
		Network: network, Domain: f.domain, Type: unix.SOCK_RAW, Protocol: unix.IPPROTO_RAW, Format: &format{family: f},
		Denied: transport.PermissionError{Capability: "CAP_NET_RAW", Advice: sock.Grant("CAP_NET_RAW")},
	}, cfg)
	if err != nil {
		return nil, err
	}
	return socket{s}, nil // without Start, as there is nothing to receive
}

// check reports what cannot be honoured.
func check(address string, cfg *transport.Config) error {
	switch {
	case address != "":
		return &net.AddrError{Addr: address, Err: `want "": each packet has its own addresses`}
	case cfg.Options != nil:
		return fmt.Errorf("Config.Options is a %T: want nil", cfg.Options)
	case len(cfg.Filter) > 0:
		return errors.New("Config.Filter: nothing is received")
	case cfg.RecvBuffer != 0:
		return errors.New("Config.RecvBuffer: nothing is received")
	case cfg.Source.IsValid():
		return errors.New("Config.Source: the packet's header has the source address")
	}
	return nil
}

// Decode has nothing to do.
func (*format) Decode(*transport.Message, *sock.Packet) {}

// Encode takes the destination from the packet.
func (f *format) Encode(m *transport.Message, p *sock.Packet) error {
	if m.Peer.IsValid() {
		return fmt.Errorf("Message.Peer is %v: want the zero AddrPort, as the packet's header says where it goes", m.Peer)
	}
	b := m.Bytes()
	if !f.plausible(b) {
		return fmt.Errorf("%d bytes, %#.4x...: want an IPv%d packet, from its header on", len(b), b[:min(4, len(b))], f.version)
	}
	f.to.Peer, f.to.Ifindex = netip.AddrPortFrom(f.destination(b), 0), m.Ifindex
	return f.encode(&f.to, p, netip.Addr{})
}

// plausible tells what may be a packet: the version, and that its length is possible.
func (f *family) plausible(b []byte) bool {
	if len(b) < f.header || len(b) > f.longest || int(b[0]>>4) != f.version {
		return false
	}
	if f == ip6 {
		return int(binary.BigEndian.Uint16(b[4:])) == len(b)-f.header
	}
	n := 4 * int(b[0]&0xf)
	return n >= f.header && n <= len(b)
}

func (f *family) destination(b []byte) netip.Addr {
	if f == ip6 {
		return netip.AddrFrom16([16]byte(b[24:40]))
	}
	return netip.AddrFrom4([4]byte(b[16:20]))
}

// Addr is the destination of a packet, for an error.
func (f *format) Addr(m *transport.Message) net.Addr {
	if b := m.Bytes(); f.plausible(b) {
		return &net.IPAddr{IP: f.destination(b).AsSlice()}
	}
	return nil
}
