package capture

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"iomux/transport"
)

// form is how the messages of a transport are written.
type form uint8

const (
	asIs      form = iota // Ethernet frames, and bytes
	cooked                // IP packets: these get a link-layer header
	icmp4                 // these an IP header
	icmp6                 //
	datagrams             // and these a UDP header
)

// linkTypeUser0 is a link-layer type that gopacket has no name for
// (tcpdump.org/linktypes.html).
const linkTypeUser0 layers.LinkType = 147

// recognize finds out what the transport carries.
func (c *captured) recognize(p Payload) (layers.LinkType, error) {
	framing := transport.Payload
	if f, ok := transport.As[transport.Framer](c.Transport); ok {
		framing = f.Framing()
	}
	switch framing {
	case transport.Ethernet:
		return layers.LinkTypeEthernet, nil
	case transport.IPPacket:
		c.form = cooked
		return layers.LinkTypeLinuxSLL, nil
	case transport.Payload:
	default:
		return 0, fmt.Errorf("capture: the transport has the framing %d: want transport.Payload, IPPacket or Ethernet", framing)
	}
	switch p {
	case Opaque:
		return linkTypeUser0, nil
	case ICMPv4:
		c.form = icmp4
	case ICMPv6:
		c.form = icmp6
	case UDP:
		c.form = datagrams
	default:
		return 0, fmt.Errorf("capture: Options.Payload is %d, and the transport has no framing: want ICMPv4, ICMPv6, UDP or Opaque", p)
	}
	if i, ok := transport.As[transport.Identifier](c.Transport); ok {
		c.identifier, c.identified = i.Identifier(), true
	}
	c.bound()
	return layers.LinkTypeLinuxSLL, nil
}

// bound takes over what the socket is bound to, if the transport is one.
func (c *captured) bound() {
	name, err := unix.Getsockname(c.FD())
	if err != nil {
		return
	}
	var local netip.AddrPort
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		local = netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port))
	case *unix.SockaddrInet6:
		local = netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), uint16(name.Port))
	default:
		return
	}
	c.port = local.Port()
	if !c.source.IsValid() {
		c.source = local.Addr()
	}
}

// record writes a message.
func (c *captured) record(m *transport.Message, sent bool, at time.Time) {
	payload := m.Bytes()
	cut := !sent && m.Flags&transport.Truncated != 0
	switch c.form {
	case asIs:
		c.w.write(c.id, at, payload, longer(len(payload), cut))
		return
	case cooked:
		c.cook(m, sent, at, payload, packetLength(payload, cut))
		return
	case icmp4:
		if packet := headed(m); packet != nil && !sent {
			c.cook(m, sent, at, packet, packetLength(packet, cut))
			return
		}
	case datagrams:
		for size := int(m.Segment); size > 0 && len(payload) > size; payload = payload[size:] {
			packet, length := c.packet(m, payload[:size], sent, false)
			c.cook(m, sent, at, packet, length)
		}
	}
	packet, length := c.packet(m, payload, sent, cut)
	c.cook(m, sent, at, packet, length)
}

// cook writes a packet with a link-layer header.
func (c *captured) cook(m *transport.Message, sent bool, at time.Time, packet []byte, length int) {
	b := appendCooked(c.w.cooked[:0], m.Link, sent, packet)
	length += len(b)
	c.w.cooked = append(b, packet...)
	c.w.write(c.id, at, c.w.cooked, length)
}

// longer is the length of what may be cut off. How much is missing nobody says.
func longer(n int, cut bool) int {
	if cut {
		n++
	}
	return n
}

// packetLength is that of an IP packet, whose header tells what is missing.
func packetLength(packet []byte, cut bool) int {
	n := longer(len(packet), cut)
	switch {
	case !cut || len(packet) < 6:
		return n
	case packet[0]>>4 == 4:
		return max(n, int(binary.BigEndian.Uint16(packet[2:])))
	case packet[0]>>4 == 6:
		return max(n, v6Header+int(binary.BigEndian.Uint16(packet[4:])))
	}
	return n
}
