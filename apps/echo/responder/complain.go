package responder

import (
	"encoding/binary"

	"iomux/apps/echo/responder/rules"
	"iomux/codec"
	"iomux/transport"
)

// Lengths of headers, and how long ICMP errors are if nobody says (RFC 1812, 4.3.2.3;
// RFC 4443, 2.4), in bytes.
const (
	header4, header6, errorHeader = 20, 40, 8
	usual4, usual6                = 576, 1280
	longest                       = 1<<16 - 1
)

// complain turns the request into an ICMP error about it.
func (r *Responder) complain(m *transport.Message, d *rules.Decision) Outcome {
	q, e := &r.asked, d.Error
	if q.many || !q.from.IsValid() || !q.to.IsValid() {
		return Ignored // RFC 1122, 3.2.2; RFC 4443, 2.4 (e)
	}
	packet, ok := r.packs(e.From, false)
	if !ok {
		return Unsendable
	}
	local := q.to
	if e.From.IsValid() {
		local = e.From
	}
	at, usual := header4+errorHeader, usual4
	if q.v6 {
		at, usual = header6+errorHeader, usual6
	}
	n, ok := r.quote(m, at)
	if !ok {
		return Unsendable
	}
	most := longest - at
	if e.Quote < 0 {
		most = usual - at
	} else {
		most = min(most, e.Quote)
	}
	m.Off, m.N = at-errorHeader, errorHeader+min(n, most)
	b := m.Bytes()
	clear(b[:errorHeader])
	b[0], b[1] = e.Type, e.Code
	if q.v6 {
		binary.BigEndian.PutUint32(b[4:], e.MTU)
	} else {
		binary.BigEndian.PutUint16(b[6:], uint16(e.MTU))
	}
	switch {
	case !q.v6:
		binary.BigEndian.PutUint16(b[2:], codec.Checksum(b))
	case packet:
		// The pseudo header (RFC 8200, 8.1) is as long as the IPv6 header that is to
		// come here.
		pseudo := m.Buf[:header6]
		clear(pseudo)
		source, destination := local.As16(), q.from.As16()
		copy(pseudo, source[:])
		copy(pseudo[16:], destination[:])
		binary.BigEndian.PutUint32(pseudo[32:], uint32(len(b)))
		pseudo[39] = codec.ProtocolICMPv6
		binary.BigEndian.PutUint16(b[2:], codec.Checksum(m.Buf[:header6+len(b)]))
	}
	if packet && !r.pack(m, d, local) {
		return Unsendable
	}
	r.mark.failed = true
	r.address(m, d, e.From, packet)
	return Errored
}

// quote moves the packet in hand to a place in its buffer, from its IP header on, and
// returns its length. Where the transport does not deliver the header, or one that is
// none any more, it is made anew.
func (r *Responder) quote(m *transport.Message, at int) (n int, ok bool) {
	q := &r.asked
	if r.framed {
		return copy(m.Buf[at:], m.Bytes()), true
	}
	if h := m.Off; !q.v6 && h >= header4 && h == 4*int(m.Buf[0]&0xf) && m.Buf[0]>>4 == 4 && codec.Checksum(m.Buf[:h]) == 0 &&
		int(binary.BigEndian.Uint16(m.Buf[2:])) == h+m.N {
		return copy(m.Buf[at:], m.Buf[:h+m.N]), true
	}
	r.out = codec.Packet{Source: q.from, Destination: q.to, TTL: q.ttl, TOS: q.tos, Payload: m.Bytes()}
	var b []byte
	var err error
	if q.v6 {
		r.out.Protocol = codec.ProtocolICMPv6
		b, err = r.ip6.Append(m.Buf[:at], &r.out)
	} else {
		r.out.Protocol = codec.ProtocolICMPv4
		b, err = r.ip4.Append(m.Buf[:at], &r.out)
	}
	return len(b) - at, err == nil
}
