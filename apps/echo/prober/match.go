package prober

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"iomux/apps/echo/prober/stats"
	"iomux/codec"
	"iomux/transport"
)

// take finds out what a received message is about.
func (w *path) take(m *transport.Message, now time.Duration) {
	b, from := m.Bytes(), m.Peer.Addr()
	ttl, tos := m.TTL, m.TOS
	if w.framed {
		protocol := uint8(codec.ProtocolICMPv4)
		if w.v6 {
			protocol = codec.ProtocolICMPv6
		}
		if k, err := w.unframe(b, m.Flags&transport.Truncated != 0); err != nil || k.Protocol != protocol || k.Destination != w.p.cfg.Source ||
			k.Fragment == codec.First || k.Fragment == codec.Later {
			w.p.stray++
			return
		}
		b, from, ttl, tos = w.packet.Payload, w.packet.Source, w.packet.TTL, w.packet.TOS
		w.echo6.Source, w.echo6.Destination = w.packet.Source, w.packet.Destination
	}
	e := &w.echo
	var err error
	if w.v6 {
		err = w.echo6.Decode(b, e)
	} else {
		err = w.echo4.Decode(b, e)
	}
	switch {
	case errors.Is(err, codec.ErrType):
		w.other(b, from)
		return
	case err != nil && !errors.Is(err, codec.ErrChecksum), e.Type != codec.EchoReply, e.ID != w.id:
		w.p.stray++
		return
	}
	w.hand = answer{echo: e, err: err, message: b, from: from, ttl: ttl, tos: tos, at: m, now: now}
	w.answer(&w.hand)
}

// unframe decodes an IP packet into w.packet. One that was longer than there was room
// for, which no genuine answer is, is taken as far as it goes.
func (w *path) unframe(b []byte, cut bool) (*codec.Packet, error) {
	var err error
	switch {
	case cut && w.v6:
		err = w.quote6.Decode(b, &w.quote)
		w.packet = w.quote.Packet
	case cut:
		err = w.quote4.Decode(b, &w.quote)
		w.packet = w.quote.Packet
	case w.v6:
		err = w.ip6.Decode(b, &w.packet)
	default:
		err = w.ip4.Decode(b, &w.packet)
	}
	return &w.packet, err
}

// answer is an echo reply with our identifier.
type answer struct {
	echo     *codec.Echo
	err      error // of decoding: the checksum
	message  []byte
	from     netip.Addr
	ttl, tos uint8
	at       *transport.Message
	now      time.Duration
}

// tries is how many probes with the same sequence number are looked at for the one
// that a message is about: the latest ones, 4,194,304 probes back.
const tries = 64

// answer finds the probe that is answered.
func (w *path) answer(a *answer) {
	p := w.p
	d := a.echo.Data
	if !p.signed || len(d) < cookieSize {
		w.unsigned(a)
		return
	}
	var near *probe // of the same source and sequence number, and not answered
	var nearSerial uint64
	serial, ok := w.ledger.latest(a.echo.Seq)
	for i := 0; ok && i < tries; i++ {
		cookie := w.cookie(serial)
		pr := w.ledger.at(serial)
		if string(cookie) == string(d[:cookieSize]) {
			w.genuine(a, pr, serial)
			return
		}
		if near == nil && pr != nil && pr.state == awaited && p.mayAnswer(pr, a.from) && alike(cookie, d) {
			near, nearSerial = pr, serial
		}
		ok = serial >= 1<<16
		serial -= 1 << 16
	}
	if near != nil { // damaged within the cookie
		w.genuine(a, near, nearSerial)
		return
	}
	p.total.Count(stats.Forged)
	p.report(w.result(stats.Forged, nil, a))
}

// alike reports whether half of the cookie is there: what was damaged on its way
// still resembles the original, and what was forged does not.
func alike(cookie, data []byte) bool {
	same := 0
	for i, c := range cookie {
		if data[i] == c {
			same++
		}
	}
	return same >= cookieSize/2
}

// unsigned is answer for those that have no cookie, because none was sent or since
// they are too short.
func (w *path) unsigned(a *answer) {
	p := w.p
	forgotten := false
	var found *probe
	var foundSerial uint64
	serial, ok := w.ledger.latest(a.echo.Seq)
	for i := 0; ok && i < tries; i++ {
		pr := w.ledger.at(serial)
		if pr == nil {
			forgotten = w.ledger.forgot(serial)
			break
		}
		if pr.state != queued && p.mayAnswer(pr, a.from) && (found == nil || found.state != awaited && pr.state == awaited) {
			found, foundSerial = pr, serial
		}
		ok = serial >= 1<<16
		serial -= 1 << 16
	}
	switch {
	case found != nil:
		w.genuine(a, found, foundSerial)
	case forgotten:
		w.genuine(a, nil, 0)
	default:
		p.total.Count(stats.Forged)
		p.report(w.result(stats.Forged, nil, a))
	}
}

// genuine is an answer to the probe, which is nil if it has been forgotten.
func (w *path) genuine(a *answer, pr *probe, serial uint64) {
	p := w.p
	if pr == nil {
		p.total.Count(stats.Late)
		p.report(w.result(stats.Late, nil, a))
		return
	}
	r := w.result(stats.Reply, pr, a)
	r.RTT, r.Clock = w.rtt(pr, a.at, a.now)
	switch sent := w.data(serial); {
	case !p.mayAnswer(pr, a.from):
		r.Outcome = stats.WrongSource
	case pr.state == answered:
		r.Outcome = stats.Duplicate
	case pr.state == ended:
		r.Outcome = stats.Late
		r.RTT, r.Clock = a.now-pr.sent, User // by which it was given up
	case a.err != nil:
		r.Outcome, r.Offset, r.Err = stats.Corrupt, -1, a.err
	case a.echo.Code != 0:
		r.Outcome, r.Offset, r.Err = stats.Corrupt, -1, errCode
	default:
		r.Outcome, r.Offset, r.Err = compare(sent, a.echo.Data)
	}
	if r.Outcome == stats.Reply && p.targets != nil && p.target(pr.target).overtaken(pr.sent, serial) {
		r.Outcome = stats.Reordered
	}
	if r.Outcome.Final() {
		r.Last = true
		w.end(pr, answered)
	}
	p.finished(pr, r)
}

var (
	errCode    = errors.New("a code other than 0")
	errAltered = errors.New("altered data")
	errLonger  = errors.New("more data than was sent")
	errShorter = errors.New("less data than was sent")
)

// compare tells what an answer's data is, compared to what was sent.
func compare(sent, got []byte) (o stats.Outcome, offset int, err error) {
	for i := range min(len(sent), len(got)) {
		if sent[i] != got[i] {
			return stats.Corrupt, i, errAltered
		}
	}
	switch {
	case len(got) < len(sent):
		return stats.Truncated, -1, errShorter
	case len(got) > len(sent):
		return stats.Corrupt, -1, errLonger
	}
	return stats.Reply, 0, nil
}

// mayAnswer reports whether a probe may be answered from an address. Many answer one
// that was sent to many, each from its own address.
func (p *Prober) mayAnswer(pr *probe, from netip.Addr) bool {
	a := pr.address()
	return a == from || a.IsMulticast() || a == everybody || p.cfg.Broadcast && a.Is4() && p.isBroadcast(a)
}

// everybody is the limited broadcast address (RFC 919, 7), whatever the routes are.
var everybody = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// maxWide bounds the memory for addresses that the kernel was asked about.
const maxWide = 1024

// isBroadcast reports whether an address is a broadcast address of an interface.
func (p *Prober) isBroadcast(a netip.Addr) bool {
	is, known := p.wide[a]
	if !known {
		if len(p.wide) >= maxWide {
			clear(p.wide)
		}
		is = isBroadcast(a, p.cfg.Interface, p.cfg.Mark)
		p.wide[a] = is
	}
	return is
}

// result fills in what an answer says.
func (w *path) result(o stats.Outcome, pr *probe, a *answer) *Result {
	r := &w.p.res
	*r = Result{Outcome: o, Target: NoTarget, From: a.from, TTL: a.ttl, TOS: a.tos,
		Type: a.message[0], Code: a.echo.Code, Size: len(a.message), Data: a.echo.Data}
	if pr != nil {
		w.p.identify(r, pr)
	}
	return r
}

// about is an ICMP error about a message of ours, whose beginning it quotes.
type about struct {
	to, from  netip.Addr
	typ, code uint8
	mtu       uint32
	message   []byte
	copied    bool // the ICMP error itself is received as well
}

// other takes a message that is no echo.
func (w *path) other(b []byte, from netip.Addr) {
	m, q := &w.message, &w.quote
	var err error
	if w.v6 {
		w.icmp6.Source, w.icmp6.Destination = w.echo6.Source, w.echo6.Destination
		err = w.icmp6.Decode(b, m)
	} else {
		err = w.icmp4.Decode(b, m)
	}
	switch m.Type {
	case codec.DestinationUnreachable, codec.PacketTooBig, codec.TimeExceeded, codec.ParameterProblem:
	default: // a redirect or source quench: the probe goes on
		w.p.stray++
		return
	}
	if err == nil || errors.Is(err, codec.ErrLength) {
		if w.v6 {
			err = w.quote6.Decode(m.Quote, q)
		} else {
			err = w.quote4.Decode(m.Quote, q)
		}
	}
	if err != nil || q.Echo.Type != codec.EchoRequest || q.Echo.ID != w.id {
		w.p.stray++
		return
	}
	w.reported(about{to: q.Packet.Destination, from: from, typ: b[0], code: m.Code, mtu: m.MTU, message: q.Packet.Payload})
}

// reason is what an ICMP error says, without what it is about.
type reason struct {
	from      netip.Addr
	mtu       uint32
	typ, code uint8
}

func (a *about) reason() reason { return reason{a.from, a.mtu, a.typ, a.code} }

// fail ends a probe by an ICMP error.
func (w *path) fail(pr *probe, why reason) {
	w.end(pr, ended)
	r := &w.p.res
	*r = Result{Outcome: stats.ICMPError, Last: true, From: why.from, Type: why.typ, Code: why.code, MTU: why.mtu}
	w.p.identify(r, pr)
	w.p.finished(pr, r)
}

// maxDoubts is how many probes are remembered about which there is an error that
// anybody may have made up.
const maxDoubts = 1 << 12

// doubt remembers an error that quotes too little for a cookie: everybody whom we probe
// can make up one about a probe to another, as the sequence numbers count. It is the
// outcome if no answer comes in time.
func (w *path) doubt(serial uint64, a about) {
	if len(w.doubts) == maxDoubts {
		for s := range w.doubts {
			if s < w.ledger.head {
				delete(w.doubts, s) // it was answered
			}
		}
	}
	if len(w.doubts) == maxDoubts {
		w.p.stray++
		return
	}
	if w.doubts == nil {
		w.doubts = make(map[uint64]reason)
	}
	w.doubts[serial] = a.reason()
}

// reported ends the probe that an error is about. What says so anew is ignored.
func (w *path) reported(a about) {
	p := w.p
	seq := binary.BigEndian.Uint16(a.message[6:])
	cookie := a.message[codec.EchoHeaderLen:]
	whole := p.signed && len(cookie) >= cookieSize
	serial, ok := w.ledger.latest(seq)
	for i := 0; ok && i < tries; i++ {
		pr := w.ledger.at(serial)
		genuine := whole && string(w.cookie(serial)) == string(cookie[:cookieSize])
		if pr == nil && (genuine || !whole && w.ledger.forgot(serial)) {
			return // of a probe that ended long ago
		}
		if pr == nil && !whole {
			break
		}
		if pr != nil && pr.address() == a.to && (genuine || !whole) {
			switch {
			case pr.state != awaited:
			case p.signed && !whole:
				w.doubt(serial, a)
			default:
				w.fail(pr, a.reason())
			}
			return
		}
		ok = serial >= 1<<16
		serial -= 1 << 16
	}
	if a.copied {
		return // it is counted once
	}
	p.total.Count(stats.Forged)
	p.res = Result{Outcome: stats.Forged, Target: NoTarget, From: a.from, Type: a.typ, Code: a.code}
	p.report(&p.res)
}
