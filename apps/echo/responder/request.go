package responder

import (
	"errors"
	"net/netip"

	"iomux/codec"
	"iomux/transport"
)

// asked is the request in hand: the message that was received, and what it says.
type asked struct {
	echo     codec.Echo
	from, to netip.Addr // the zero Addr if the transport does not say
	ttl, tos uint8
	v6       bool
	many     bool // it was sent to more than one, or perhaps
	at       int  // where in Buf the ICMP message begins
	headed   bool // of a packet: it has extension headers
}

// take reads a message, and reports whether it is a request that may be answered. It
// counts what is not.
func (r *Responder) take(m *transport.Message) bool {
	q := &r.asked
	if r.framed {
		return r.takePacket(m)
	}
	q.v6, q.at, q.headed = r.cfg.IPv6, m.Off, false
	q.from, q.to, q.ttl, q.tos = m.Peer.Addr(), m.Local, m.TTL, m.TOS
	var err error
	if q.v6 {
		err = r.echo6.Decode(m.Bytes(), &q.echo)
	} else {
		err = r.echo4.Decode(m.Bytes(), &q.echo)
	}
	q.many = m.Flags&transport.Broadcast != 0 || q.to.IsValid() && !single(q.to)
	switch {
	case q.many && !r.cfg.Broadcast, other(err, &q.echo):
		r.stats.Ignored++
	case err != nil, m.Flags&transport.Truncated != 0:
		r.stats.Corrupt++
	case q.from.IsValid() && (!single(q.from) || q.v6 && q.from.Is4()):
		r.stats.Ignored++
	default:
		return true
	}
	return false
}

// takePacket does that of an IP packet.
func (r *Responder) takePacket(m *transport.Message) bool {
	q, p := &r.asked, &r.in
	b := m.Bytes()
	q.v6 = len(b) > 0 && b[0]>>4 == 6
	var err error
	protocol := uint8(codec.ProtocolICMPv4)
	if q.v6 {
		err = r.ip6.Decode(b, p)
		protocol = codec.ProtocolICMPv6
	} else {
		err = r.ip4.Decode(b, p)
	}
	switch {
	case err != nil || m.Flags&transport.Truncated != 0:
		r.stats.Corrupt++
		return false
	case p.Fragment == codec.First || p.Fragment == codec.Later:
		r.stats.Fragments++
		return false
	}
	q.from, q.to, q.ttl, q.tos = p.Source, p.Destination, p.TTL, p.TOS
	q.many = !single(q.to)
	q.headed = len(p.ExtensionHeaders) > 0
	if p.Protocol != protocol || q.many && !r.cfg.Broadcast || !single(q.from) || q.from == q.to ||
		q.from.IsLoopback() || q.to.IsLoopback() ||
		len(p.Options) > 0 && sourceRouted(p.Options) || q.headed && !passable(p) {
		r.stats.Ignored++
		return false
	}
	header := 20 + len(p.Options)
	if q.v6 {
		header = 40 + len(p.ExtensionHeaders)
		r.echo6.Source, r.echo6.Destination = q.from, q.to
		err = r.echo6.Decode(p.Payload, &q.echo)
	} else {
		err = r.echo4.Decode(p.Payload, &q.echo)
	}
	switch {
	case other(err, &q.echo):
		r.stats.Ignored++
		return false
	case err != nil:
		r.stats.Corrupt++
		return false
	}
	q.at = m.Off + header
	m.N = header + len(p.Payload) // what was padded on its way is no part of it
	return true
}

// other tells whether a message is no request, be it right or not.
func other(err error, e *codec.Echo) bool {
	if err == nil {
		return e.Type != codec.EchoRequest
	}
	return errors.Is(err, codec.ErrType)
}

// single tells whether an address is that of one host (RFC 1122, 3.2.1.3; RFC 4291,
// 2.4). IPv4 addresses mapped into IPv6 must not be on the wire (RFC 4942, 2.2).
func single(a netip.Addr) bool {
	if a.Is4() {
		b := a.As4()
		return b[0] != 0 && b[0]>>4 != 14 && b != [4]byte{255, 255, 255, 255}
	}
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.Is4In6()
}

// sourceRouted tells whether there is a source route among the options of an IPv4
// packet, which have possible lengths. A reply would have to go the way back (RFC
// 1122, 3.2.2.6), wherever somebody wants that to lead.
func sourceRouted(options []byte) bool {
	const end, nop, loose, strict = 0, 1, 131, 137
	for len(options) > 0 && options[0] != end {
		switch options[0] {
		case loose, strict:
			return true
		case nop:
			options = options[1:]
		default:
			options = options[options[1]:]
		}
	}
	return false
}

// passable tells whether the extension headers of an IPv6 packet are such that what
// comes after them is for us: there is no way left to go (RFC 8200, 4.4), no option
// that whoever does not know it must not pass over (4.2), and nothing that would
// have to be verified (RFC 4302).
func passable(p *codec.Packet) bool {
	const hopByHop, routing, fragment, authentication, destination = 0, 43, 44, 51, 60
	b := p.ExtensionHeaders // with possible lengths
	for next := p.NextHeader; len(b) > 0; {
		size := 8 + 8*int(b[1])
		switch next {
		case hopByHop, destination:
			if !skippable(b[2:size]) {
				return false
			}
		case routing:
			if b[3] != 0 {
				return false
			}
		case fragment:
			size = 8
		case authentication:
			return false
		}
		next, b = b[0], b[size:]
	}
	return true
}

// skippable tells whether all of these options may be passed over.
func skippable(options []byte) bool {
	for len(options) > 0 {
		if options[0] == 0 { // Pad1
			options = options[1:]
			continue
		}
		if options[0]&0xc0 != 0 || len(options) < 2 || len(options) < 2+int(options[1]) {
			return false
		}
		options = options[2+int(options[1]):]
	}
	return true
}
