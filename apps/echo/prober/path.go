package prober

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"time"

	"iomux/codec"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
)

const (
	batch   = 64 // messages that one call moves at the most
	tooMany = 16 // failed receptions in a row: it is no use to go on
	// headroom is what a received message has beside the data of an echo reply: an
	// IPv4 header with options and the ICMP header.
	headroom = 60 + codec.EchoHeaderLen
	// longestError is the longest ICMP error (RFC 4443, 2.4 (c)).
	longestError = 1280
)

// path is the way to the targets of one address family: a transport and what turns
// probes into its messages and back.
type path struct {
	p     *Prober
	t     transport.Transport
	v6    bool
	id    uint16
	watch *loop.Watch
	want  mux.Interest // what watch waits for

	ledger ledger
	doubts map[uint64]reason // by serial number: errors without a cookie
	expiry *loop.Timer
	armed  bool          // expire will be called
	lost   uint64        // packets the kernel dropped that explain no probe yet
	lately time.Duration // when that was noticed
	asked  time.Duration // when the kernel was asked last

	ping    bool // a ping socket: it receives replies only, and errors by reports alone
	framed  bool // the transport carries IP packets
	echo4   codec.EchoV4
	echo6   codec.EchoV6
	icmp4   codec.ICMPv4
	icmp6   codec.ICMPv6
	quote4  codec.QuoteV4
	quote6  codec.QuoteV6
	ip4     codec.IPv4
	ip6     codec.IPv6
	packet  codec.Packet
	echo    codec.Echo // what the message in hand says, or one of the others
	message codec.Message
	quote   codec.Quote
	hand    answer
	payload []byte // of a packet that is being made

	out    []transport.Message // out[:n] are to be sent, from at on
	serial []uint64            // their serial numbers
	added  []time.Duration     // and since when they wait
	stuck  bool                // there has been no room for a Timeout, and none since
	at, n  int

	in       []transport.Message
	stamper  transport.TransmitStamper // nil if there is none
	stamps   []transport.TransmitStamp
	reporter transport.ErrorReporter // nil if there is none
	reports  []transport.ErrorReport
	drops    transport.DropCounter // nil if there is none
	dropped  uint32                // what it said last
	damaged  uint64                // the number of bad checksums then, on raw IPv6
	failures int                   // of Recv, in a row
}

// failure is why a path could not be opened.
type failure struct {
	err   error
	again time.Duration // when to try again: what is missing may come
}

// reopening is how long to wait before a path is opened again that could not be.
const reopening = time.Second

// path returns the way to an address, and opens it if need be.
func (p *Prober) path(a netip.Addr) (*path, error) {
	i := 0
	if a.Is6() {
		i = 1
	}
	f := &p.fails[i]
	if p.paths[i] == nil && (f.err == nil || p.elapsed() >= f.again) {
		p.paths[i], f.err = p.open(i == 1)
		f.again = p.elapsed() + reopening
	}
	return p.paths[i], f.err
}

func (p *Prober) open(v6 bool) (*path, error) {
	o := Opening{IPv6: v6, Identifier: p.id, DontFragment: p.cfg.DontFragment, Broadcast: p.cfg.Broadcast, Stamps: !p.cfg.UserClock}
	o.Config.Interface, o.Config.Mark = p.cfg.Interface, p.cfg.Mark
	if s := p.cfg.Source; s.IsValid() && s.Is6() == v6 {
		o.Config.Source = s
	}
	o.Config.RecvBuffer, o.Config.SendBuffer = recvBuffer, sendBuffer
	t, err := p.cfg.Open(o)
	if err != nil {
		return nil, err
	}
	w := &path{p: p, t: t, v6: v6, id: p.id, want: mux.Readable, ledger: newLedger()}
	if k, ok := transport.As[transport.Identifier](t); ok {
		w.id, w.ping = k.Identifier(), true
	}
	if f, ok := transport.As[transport.Framer](t); ok {
		switch f.Framing() {
		case transport.IPPacket:
			w.framed = true
		case transport.Ethernet:
			t.Close()
			return nil, errEthernet
		}
	}
	if w.framed && !o.Config.Source.IsValid() {
		t.Close()
		return nil, errNoSource
	}
	w.echo6.KernelChecksum, w.icmp6.KernelChecksum = !w.framed, !w.framed
	if s, ok := transport.As[transport.TransmitStamper](t); ok {
		if _, _, err := s.TransmitStamps(nil); err == nil {
			w.stamper, w.stamps = s, make([]transport.TransmitStamp, 2*batch)
		}
	}
	if r, ok := transport.As[transport.ErrorReporter](t); ok {
		if _, _, err := r.ErrorReports(nil); err == nil {
			w.reporter, w.reports = r, make([]transport.ErrorReport, batch)
		}
	}
	if d, ok := transport.As[transport.DropCounter](t); ok {
		w.drops = d
		w.damaged, _ = badChecksums()
	}
	n := max(1, min(t.BatchSize(), batch))
	w.out, w.in, w.serial = make([]transport.Message, n), make([]transport.Message, n), make([]uint64, n)
	w.added = make([]time.Duration, n)
	size := max(headroom+len(p.cfg.Data)+batch, longestError+headroom)
	space := make([]byte, 2*n*size)
	for i := range n {
		w.in[i].Buf, space = space[:size:size], space[size:]
		w.out[i].Buf, space = space[:0:size], space[size:]
	}
	if w.watch, err = p.l.Watch(t.FD(), w.want, w.ready); err != nil {
		t.Close()
		return nil, err
	}
	w.expiry = p.l.AfterFunc(time.Hour, w.expire)
	w.expiry.Stop() // arm arms it
	return w, nil
}

// recvBuffer holds the answers and the transmit stamps of several batches, also
// while the loop does something else, in bytes.
const recvBuffer = 4 << 20

// sendBuffer holds what waits for neighbours that are not there, each for some 3 s
// (arp(7)), in bytes: they must not keep the probes to others from leaving.
const sendBuffer = 4 << 20

// full reports whether no probe can be added before flush.
func (w *path) full() bool { return w.n == len(w.out) }

// add puts a probe into the ledger and into the batch that is sent next. The error is
// about an address that no packet can have; the probe is not in either then.
func (w *path) add(pr *probe) error {
	p := w.p
	if !w.ledger.advance() && p.now-w.asked >= p.cfg.Timeout {
		w.countDrops(p.now) // those are not about this probe
	}
	serial := w.ledger.next
	m := &w.out[w.n]
	a := pr.address()
	b := m.Buf[:0]
	*m = transport.Message{Buf: b, Peer: netip.AddrPortFrom(a, 0), Ifindex: int(pr.zone), TTL: p.cfg.TTL, TOS: p.cfg.TOS, ID: uint32(serial)}
	if w.framed {
		m.Peer = netip.AddrPort{} // the packet says it
	}
	e := &w.echo
	*e = codec.Echo{Type: codec.EchoRequest, ID: w.id, Seq: uint16(serial), Data: w.data(serial)}
	var err error
	switch {
	case !w.framed && w.v6:
		b, err = w.echo6.Append(b, e)
	case !w.framed:
		b, err = w.echo4.Append(b, e)
	default:
		b, err = w.frame(b, a, e)
	}
	if err != nil {
		return err
	}
	pr.sent = p.now
	if serial%pageSize == 0 {
		w.forget(pr.sent)
	}
	w.ledger.add(pr)
	p.awaiting++
	m.Buf, m.N = b, len(b)
	w.serial[w.n], w.added[w.n] = serial, pr.sent
	w.n++
	return nil
}

// frame appends the packet that carries an echo request.
func (w *path) frame(b []byte, to netip.Addr, e *codec.Echo) (_ []byte, err error) {
	p := w.p
	w.packet = codec.Packet{Source: p.cfg.Source, Destination: to, TTL: p.cfg.TTL, TOS: p.cfg.TOS, DontFragment: p.cfg.DontFragment}
	if w.packet.TTL == 0 {
		w.packet.TTL = 64
	}
	if w.v6 {
		w.echo6.Source, w.echo6.Destination = p.cfg.Source, to
		w.payload, err = w.echo6.Append(w.payload[:0], e)
		w.packet.Protocol, w.packet.Payload = codec.ProtocolICMPv6, w.payload
		if err != nil {
			return b, err
		}
		return w.ip6.Append(b, &w.packet)
	}
	w.payload, err = w.echo4.Append(w.payload[:0], e)
	w.packet.Protocol, w.packet.Payload = codec.ProtocolICMPv4, w.payload
	if err != nil {
		return b, err
	}
	return w.ip4.Append(b, &w.packet)
}

// flush sends the batch, and reports whether all of it is out.
func (w *path) flush() bool {
	p := w.p
	for w.at < w.n && !p.stopped {
		now := p.elapsed()
		// The kernel may hand a reply over before it returns.
		for _, s := range w.serial[w.at:w.n] {
			pr := w.ledger.at(s)
			pr.sent, pr.state = now, awaited
		}
		k, err := w.t.Send(w.out[w.at:w.n])
		for _, s := range w.serial[w.at : w.at+k] {
			p.sent(w.ledger.at(s))
		}
		w.at += k
		w.stuck = w.stuck && k == 0 && err == nil
		switch {
		case w.at == w.n:
		case err != nil:
			s := w.serial[w.at]
			w.at++
			if pr := w.ledger.at(s); w.skips(pr, err) {
				w.end(pr, ended)
			} else {
				w.refused(pr, err)
			}
		case k == 0:
			for i := w.at; i < w.n; i++ {
				pr := w.ledger.at(w.serial[i])
				pr.state, pr.sent = queued, w.added[i]
			}
			w.wait(mux.Readable | mux.Writable)
			return false
		}
	}
	w.at, w.n = 0, 0
	if w.want&mux.Writable != 0 {
		w.wait(mux.Readable)
	}
	return true
}

// wait changes what the loop waits for.
func (w *path) wait(want mux.Interest) {
	if w.p.stopped || want == w.want {
		return
	}
	if err := w.watch.Set(want); err != nil {
		w.p.fail(err)
		return
	}
	w.want = want
}

// ready is called when the transport is readable, or writable while a batch waits.
func (w *path) ready(ev mux.Event) {
	if ev.Ready&mux.Readable != 0 {
		w.receive()
	}
	w.p.pump()
}

// receive takes one batch and what the kernel has to say about those sent. What is
// left is reported again.
func (w *path) receive() {
	n, err := w.t.Recv(w.in)
	now := w.p.elapsed()
	w.takeStamps()
	for i := 0; i < n && !w.p.stopped; i++ {
		w.take(&w.in[i], now)
	}
	w.takeReports() // an error that came after an answer concerns it no more
	if err == nil {
		w.failures = 0
	} else if w.failures++; w.failures == tooMany && !w.p.stopped {
		w.p.fail(err) // one error may pass; one that stays must not keep the loop busy
	}
}

func (w *path) takeStamps() {
	if w.stamper == nil {
		return
	}
	for n := len(w.stamps); n == len(w.stamps); {
		n, _, _ = w.stamper.TransmitStamps(w.stamps)
		for _, s := range w.stamps[:n] {
			if pr := w.ledger.byID(s.ID); pr != nil {
				pr.left = s.Time.UnixNano()
			}
		}
	}
}

func (w *path) takeReports() {
	if w.reporter == nil {
		return
	}
	for n := len(w.reports); n == len(w.reports) && !w.p.stopped; {
		n, _, _ = w.reporter.ErrorReports(w.reports)
		for i := range w.reports[:n] {
			r := &w.reports[i]
			m := r.Quote()
			if w.p.stopped {
				return
			}
			if w.ours(m) && (w.v6 || r.Type != sourceQuench && r.Type != redirect) {
				w.reported(about{to: r.Peer.Addr(), from: r.From, typ: r.Type, code: r.Code, mtu: r.MTU, message: m, copied: !w.ping})
			} else { // of another program's probe, on a raw socket, or no error
				w.p.stray++
			}
		}
	}
}

const (
	sourceQuench = 4 // RFC 792
	redirect     = 5
)

// ours reports whether an ICMP message is an echo request with our identifier.
func (w *path) ours(m []byte) bool {
	request := uint8(8) // RFC 792
	if w.v6 {
		request = 128 // RFC 4443, 4.1
	}
	return len(m) >= codec.EchoHeaderLen && m[0] == request && binary.BigEndian.Uint16(m[4:]) == w.id
}

// data returns the data of a probe. It is valid until the next call.
func (w *path) data(serial uint64) []byte {
	p := w.p
	if p.signed {
		copy(p.sending, w.cookie(serial))
	}
	return p.sending
}

// cookie returns that of a probe. It is valid until the next call.
func (w *path) cookie(serial uint64) []byte { return w.p.cookies.of(serial, w.v6) }

// end ends a probe in the ledger.
func (w *path) end(pr *probe, how state) {
	pr.state = how
	w.p.awaiting--
}

// skips reports whether a probe was refused because its address is a broadcast address,
// which is counted once for each target, and not reported.
func (w *path) skips(pr *probe, err error) bool {
	p := w.p
	if p.cfg.Broadcast || w.v6 || !errors.Is(err, fs.ErrPermission) || !p.isBroadcast(pr.address()) {
		return false
	}
	if pr.number == 1 {
		p.skipped++
	}
	return true
}

// refused ends a probe that the transport would not send.
func (w *path) refused(pr *probe, err error) {
	w.end(pr, ended)
	w.p.unsent(pr, err)
}

// rtt is the round-trip time of a message received before now.
func (w *path) rtt(pr *probe, m *transport.Message, now time.Duration) (time.Duration, Clock) {
	bracket := now - pr.sent
	if pr.left == 0 || m.Time.IsZero() {
		return bracket, User
	}
	rtt := time.Duration(m.Time.UnixNano() - pr.left)
	if rtt < 0 || rtt > bracket+bracket/1000+time.Microsecond {
		w.p.clockSteps++
		return bracket, User
	}
	return rtt, Kernel
}
