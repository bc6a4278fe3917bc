package capture

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"iomux/codec"
	"iomux/transport"
)

// Lengths in bytes.
const (
	v4Header, v6Header, udpHeader = 20, 40, 8
	// A pseudo header (RFC 768, RFC 8200, 8.1) takes the place of the IP header while
	// the checksum is computed.
	v4Pseudo, v6Pseudo = 12, 40
	// longestV4 is that of an IPv4 packet, longestV6 of what follows the IPv6 header.
	longestV4, longestV6 = 65535, 65535
)

// Defaults of the kernel for what is sent (ip(7), ipv6(7)).
const (
	defaultTTL          = 64
	defaultMulticastTTL = 1
)

// headed returns the packet as a raw socket for IPv4 received it, nil if there is no
// header in front of the payload that fits it.
func headed(m *transport.Message) []byte {
	packet := m.Buf[:m.Off+m.N]
	if m.Off < v4Header || packet[0]>>4 != 4 || int(packet[0]&0xF)*4 != m.Off || packet[9] != codec.ProtocolICMPv4 {
		return nil
	}
	total := int(binary.BigEndian.Uint16(packet[2:]))
	if total != len(packet) && (m.Flags&transport.Truncated == 0 || total < len(packet)) {
		return nil
	}
	return packet
}

// packet makes the packet that carries a payload, valid until the next call, and
// says how long it was if it is not whole.
func (c *captured) packet(m *transport.Message, payload []byte, sent, cut bool) (data []byte, length int) {
	w, p := c.w, &c.w.fields
	v6 := c.form == icmp6 || c.form == datagrams && !m.Peer.Addr().Is4()
	header, room, extra := v4Header, longestV4-v4Header, 0
	if v6 {
		header, room = v6Header, longestV6
	}
	if c.form == datagrams {
		extra = udpHeader
	}
	length = longer(header+extra+len(payload), cut)
	if longest := room - extra; len(payload) > longest {
		payload = payload[:longest] // no header can say more
	}
	body := min(length-header, room)
	w.grow(header + body)
	copy(w.packet[header+extra:], payload)
	clear(w.packet[header+extra+len(payload):]) // the byte that is cut off

	*p = codec.Packet{Source: m.Peer.Addr(), Destination: c.local(m), TTL: m.TTL, TOS: m.TOS}
	if sent {
		p.Source, p.Destination = p.Destination, p.Source
		if m.TTL == 0 {
			p.TTL = defaultTTL
			if p.Destination.IsMulticast() {
				p.TTL = defaultMulticastTTL
			}
		}
	}
	p.Source, p.Destination = fit(p.Source, v6), fit(p.Destination, v6)
	c.complete(m, p, header, sent)
	p.Payload = w.packet[header:]
	var err error
	if v6 {
		data, err = w.ip6.Append(w.packet[:0], p)
	} else {
		data, err = w.ip4.Append(w.packet[:0], p)
	}
	if err != nil {
		w.err = err
	}
	return data[:header+extra+len(payload)], length
}

// complete puts in what is computed, in what comes behind the place of the IP header.
func (c *captured) complete(m *transport.Message, p *codec.Packet, header int, sent bool) {
	packet := c.w.packet
	body := packet[header:]
	switch c.form {
	case icmp4:
		p.Protocol = codec.ProtocolICMPv4
		if sent && c.identified && len(body) >= 4 {
			c.identify(body)
			checksum(body, 2, 0)
		}
	case icmp6:
		p.Protocol = codec.ProtocolICMPv6
		if sent && len(body) >= 4 {
			if c.identified {
				c.identify(body)
			}
			start := pseudo(packet, header, p)
			checksum(packet[start:], header-start+2, 0)
		}
	case datagrams:
		p.Protocol = codec.ProtocolUDP
		from, to := m.Peer.Port(), c.port
		if sent {
			from, to = to, from
		}
		binary.BigEndian.PutUint16(body, from)
		binary.BigEndian.PutUint16(body[2:], to)
		binary.BigEndian.PutUint16(body[4:], uint16(len(body)))
		start := pseudo(packet, header, p)
		checksum(packet[start:], header-start+6, 0xFFFF)
	}
}

// local is our address.
func (c *captured) local(m *transport.Message) netip.Addr {
	if m.Local.IsValid() {
		return m.Local
	}
	return c.source
}

// fit returns the address, or the unspecified one if it is of the other version or
// none.
func fit(a netip.Addr, v6 bool) netip.Addr {
	switch {
	case v6 && a.Is6(), !v6 && a.Is4():
		return a
	case v6:
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// identify puts in the identifier that the kernel does.
func (c *captured) identify(message []byte) {
	if len(message) >= codec.EchoHeaderLen {
		binary.BigEndian.PutUint16(message[4:], c.identifier)
	}
}

// pseudo puts the pseudo header right in front of what the packet is to carry, which
// begins at header, and returns where it begins.
func pseudo(packet []byte, header int, p *codec.Packet) (start int) {
	n := len(packet) - header
	if header == v6Header {
		source, destination := p.Source.As16(), p.Destination.As16()
		b := packet[header-v6Pseudo:]
		copy(b, source[:])
		copy(b[16:], destination[:])
		binary.BigEndian.PutUint32(b[32:], uint32(n))
		binary.BigEndian.PutUint32(b[36:], uint32(p.Protocol))
		return header - v6Pseudo
	}
	source, destination := p.Source.As4(), p.Destination.As4()
	b := packet[header-v4Pseudo:]
	copy(b, source[:])
	copy(b[4:], destination[:])
	binary.BigEndian.PutUint16(b[8:], uint16(p.Protocol))
	binary.BigEndian.PutUint16(b[10:], uint16(n))
	return header - v4Pseudo
}

// checksum computes that of b, which stands at an offset in it; zero takes the place
// of 0.
func checksum(b []byte, at int, zero uint16) {
	b[at], b[at+1] = 0, 0
	sum := codec.Checksum(b)
	if sum == 0 {
		sum = zero
	}
	binary.BigEndian.PutUint16(b[at:], sum)
}

// grow makes packet n bytes long; what is in them does not matter.
func (w *Writer) grow(n int) {
	w.packet = slices.Grow(w.packet[:0], n)[:n]
}

// appendCooked appends the header of LINKTYPE_LINUX_SLL for a packet. A LinkAddr
// without an EtherType is that of an IP packet.
func appendCooked(b []byte, l transport.LinkAddr, sent bool, packet []byte) []byte {
	const none = 0xFFFE // ARPHRD_NONE
	kind, hardware, protocol := uint16(l.Type), uint16(none), l.EtherType
	if l.Len == 6 {
		hardware = unix.ARPHRD_ETHER
	}
	if sent { // the address is the sender's, which is not known then
		kind, l = unix.PACKET_OUTGOING, transport.LinkAddr{}
	}
	if protocol == 0 && len(packet) > 0 {
		switch packet[0] >> 4 {
		case 4:
			protocol = unix.ETH_P_IP
		case 6:
			protocol = unix.ETH_P_IPV6
		}
	}
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, hardware)
	b = binary.BigEndian.AppendUint16(b, uint16(l.Len))
	b = append(b, l.Addr[:]...)
	return binary.BigEndian.AppendUint16(b, protocol)
}
