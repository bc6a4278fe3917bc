package responder

import (
	"encoding/binary"
	"net/netip"

	"iomux/apps/echo/responder/rules"
	"iomux/codec"
	"iomux/transport"
)

// mark is what is to be known of an answer besides the message.
type mark struct {
	copies int32
	forged bool // it is an IP packet for Config.Forge
	failed bool // it is an ICMP error
}

// defaultTTL is that of answers in IP packets (RFC 1700).
const defaultTTL = 64

// answer turns m into the answer to it, and reports whether that is to be sent now.
func (r *Responder) answer(m *transport.Message) bool {
	if !r.take(m) {
		return false
	}
	q := &r.asked
	if r.cfg.OnRequest != nil {
		r.cfg.OnRequest(Request{Message: m, Echo: &q.echo, From: q.from, To: q.to, TTL: q.ttl})
		if r.stopped {
			r.dropped++
			return false
		}
	}
	size, id, seq := len(q.echo.Data), q.echo.ID, q.echo.Seq
	source := r.sources.find(q.from)
	source.requests++
	r.mark = mark{}
	outcome, now := r.decide(m)
	switch outcome {
	case Replied, Errored:
		source.answered++
	case Throttled:
		source.throttled++
	}
	r.count(outcome)
	if r.cfg.OnAnswer != nil {
		a := Answer{From: q.from, To: q.to, ID: id, Seq: seq, Size: size, Outcome: outcome}
		if r.decider != nil && outcome != Unwell && outcome != Throttled {
			a.Decision = &r.decision
		}
		r.cfg.OnAnswer(a)
	}
	return now
}

// count counts what became of a request. What is to be sent is counted when it is, or
// is not.
func (r *Responder) count(o Outcome) {
	s := &r.stats
	switch o {
	case Silent:
		s.Silent++
	case Down:
		s.Down++
	case Lost:
		s.Lost++
	case Limited:
		s.Limited++
	case Throttled:
		s.Throttled++
	case Unwell:
		s.Unwell++
	case Refused:
		s.Refused++
	case Ignored:
		s.Ignored++
	case Unsendable:
		s.SendErrors++
	}
}

// decide decides about the request in hand and carries that out. now is whether m is
// an answer to be sent at once.
func (r *Responder) decide(m *transport.Message) (_ Outcome, now bool) {
	q, limiter := &r.asked, r.policy.limiter
	if !r.well {
		return Unwell, false
	}
	if limiter.Take(q.from, 1, r.now) == 0 {
		return Throttled, false
	}
	d := &r.decision
	if r.decider == nil {
		o := r.reply(m, d)
		if o != Replied {
			limiter.Give(q.from, 1, r.now)
		}
		return o, o == Replied
	}
	r.packet = rules.Packet{From: q.from, To: q.to, ID: q.echo.ID, Seq: q.echo.Seq, Data: q.echo.Data}
	*d = r.decider.Decide(&r.packet, r.now)
	o := Replied
	switch d.Drop {
	case rules.Answered:
		o = r.carryOut(m, d)
	case rules.Silent:
		o = Silent
	case rules.Down:
		o = Down
	case rules.Lost:
		o = Lost
	case rules.Limited:
		o = Limited
	}
	if o != Replied && o != Errored {
		limiter.Give(q.from, 1+int(r.mark.copies), r.now)
	}
	if d.Rule >= 0 {
		r.counts[d.Rule].add(o, d)
	}
	return o, (o == Replied || o == Errored) && d.Delay <= 0
}

// carryOut makes the answer that was decided, and holds it if it is to be late.
func (r *Responder) carryOut(m *transport.Message, d *rules.Decision) Outcome {
	if d.Copies > 0 {
		got := r.policy.limiter.Take(r.asked.from, d.Copies, r.now)
		r.stats.CopiesLost += uint64(d.Copies - got)
		d.Copies, r.mark.copies = got, int32(got)
	}
	var o Outcome
	if d.Error != nil {
		o = r.complain(m, d)
	} else {
		o = r.reply(m, d)
	}
	if (o == Replied || o == Errored) && d.Delay > 0 && !r.hold(m, d.Delay) {
		o = Refused
	}
	switch {
	case o != Replied && o != Errored:
		r.stats.CopiesLost += uint64(d.Copies)
	case o == Replied && damages(d):
		r.stats.Damaged++
	}
	return o
}

// damages tells whether a reply is other than it should be.
func damages(d *rules.Decision) bool {
	return d.Checksum != 0 || d.Flip || d.Truncate || d.Lengthen
}

// reply turns the request into the reply to it.
func (r *Responder) reply(m *transport.Message, d *rules.Decision) Outcome {
	q := &r.asked
	if r.cfg.Data != nil || d.HasCode || damages(d) || d.Source.IsValid() ||
		r.framed && (d.HasTOS || q.headed || q.many) {
		return r.compose(m, d)
	}
	// What it says stays, so the checksum is corrected rather than made anew.
	message := m.Buf[q.at : m.Off+m.N]
	var err error
	if q.v6 {
		err = r.echo6.Reply(message)
	} else {
		err = r.echo4.Reply(message)
	}
	if err == nil && r.framed {
		ttl := d.TTL
		if ttl == 0 {
			ttl = defaultTTL
		}
		if q.v6 {
			err = r.ip6.Reply(m.Bytes(), ttl)
		} else {
			err = r.ip4.Reply(m.Bytes(), ttl)
		}
	}
	if err != nil {
		return Unsendable
	}
	r.address(m, d, netip.Addr{}, false)
	return Replied
}

// compose makes a reply of its parts, in the place of the request.
func (r *Responder) compose(m *transport.Message, d *rules.Decision) Outcome {
	q := &r.asked
	packet, ok := r.packs(d.Source, q.v6 && d.Checksum != 0)
	if !ok {
		return Unsendable
	}
	local := q.to
	if d.Source.IsValid() {
		local = d.Source
	}
	if packet && (!single(local) || !q.from.IsValid()) {
		return Ignored // there is no address to answer from
	}
	e := &q.echo
	if r.cfg.Data != nil {
		e.Data = r.cfg.Data
	}
	data := q.at + codec.EchoHeaderLen
	if r.cfg.Data != nil || d.Flip || d.Truncate || d.Lengthen {
		e.Data = d.AppendData(m.Buf[data:data], e.Data)
	}
	e.Type = codec.EchoReply
	if d.HasCode {
		e.Code = d.Code
	}
	var b []byte
	var err error
	if q.v6 {
		r.echo6.PseudoHeader = codec.PseudoHeader{Source: local, Destination: q.from, KernelChecksum: !packet}
		b, err = r.echo6.Append(m.Buf[:q.at], e)
		r.echo6.KernelChecksum = !r.framed
	} else {
		b, err = r.echo4.Append(m.Buf[:q.at], e)
	}
	if err != nil {
		return Unsendable
	}
	b = b[q.at:]
	if d.Checksum != 0 {
		binary.BigEndian.PutUint16(b[2:], binary.BigEndian.Uint16(b[2:])^d.Checksum)
	}
	m.Off, m.N = q.at, len(b)
	if packet && !r.pack(m, d, local) {
		return Unsendable
	}
	r.address(m, d, d.Source, packet)
	return Replied
}

// packs tells whether an answer is to be an IP packet: from an address that may be that
// of another, or because the kernel would do what it is not to. It is not ok if it is to
// be one and cannot.
func (r *Responder) packs(source netip.Addr, needed bool) (packet, ok bool) {
	if r.framed {
		return true, true
	}
	if r.cfg.Forge != nil {
		return needed || source.IsValid() && source != r.asked.to, true
	}
	return false, !needed
}

// pack puts the ICMP message that m is into an IP packet.
func (r *Responder) pack(m *transport.Message, d *rules.Decision, local netip.Addr) bool {
	q, p := &r.asked, &r.out
	*p = codec.Packet{Source: local, Destination: q.from, TTL: d.TTL, TOS: q.tos, Payload: m.Bytes()}
	if p.TTL == 0 {
		p.TTL = defaultTTL
	}
	if d.HasTOS {
		p.TOS = d.TOS
	}
	var b []byte
	var err error
	if q.v6 {
		p.Protocol = codec.ProtocolICMPv6
		b, err = r.ip6.Append(m.Buf[:0], p)
	} else {
		p.Protocol = codec.ProtocolICMPv4
		b, err = r.ip4.Append(m.Buf[:0], p)
	}
	if err != nil {
		return false
	}
	m.Off, m.N = 0, len(b)
	return true
}

// address says where an answer goes, from where and how, if its packet does not.
func (r *Responder) address(m *transport.Message, d *rules.Decision, source netip.Addr, packet bool) {
	m.Reply()
	if r.framed {
		return
	}
	if packet {
		m.Peer, m.Local, m.TOS = netip.AddrPort{}, netip.Addr{}, 0
		r.mark.forged = true
		return
	}
	if r.asked.many {
		m.Local = netip.Addr{}
	}
	if source.IsValid() {
		m.Local = source
	}
	m.TTL = d.TTL
	if d.HasTOS {
		m.TOS = d.TOS
	}
}
