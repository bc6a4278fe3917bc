package responder_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"iomux/apps/echo/responder"
	"iomux/apps/echo/responder/rules"
	"iomux/codec"
	"iomux/transport"
)

// sight is an answer as whoever asked sees it.
type sight struct {
	at         time.Duration
	from, to   netip.Addr
	ttl, tos   uint8
	kind, code uint8  // of the ICMP message
	good       bool   // its checksum
	rest       string // what comes after it
}

func (s sight) String() string {
	return fmt.Sprintf("at %v, %v to %v, ttl %d, tos %d: type %d, code %d, checksum good %v, %x", s.at, s.from, s.to, s.ttl, s.tos, s.kind, s.code, s.good, s.rest)
}

// see reads what was sent. Where the kernel makes the checksum, it is good; where it
// chooses the time to live, that is 64.
func see(t *testing.T, m *transport.Message, at time.Duration, framed, v6 bool) sight {
	t.Helper()
	s := sight{at: at, from: m.Local, to: m.Peer.Addr(), ttl: m.TTL, tos: m.TOS}
	b := m.Bytes()
	if framed {
		if m.Peer.IsValid() {
			t.Errorf("a packet has the peer %v", m.Peer)
		}
		var p codec.Packet
		var err error
		if v6 = b[0]>>4 == 6; v6 {
			err = new(codec.IPv6).Decode(b, &p)
		} else {
			err = new(codec.IPv4).Decode(b, &p)
		}
		if err != nil || len(p.ExtensionHeaders) > 0 {
			t.Fatalf("the packet % x was sent: %v", b, err)
		}
		s.from, s.to, s.ttl, s.tos, b = p.Source, p.Destination, p.TTL, p.TOS, p.Payload
	}
	if s.ttl == 0 {
		s.ttl = 64
	}
	s.kind, s.code, s.rest = b[0], b[1], string(b[4:])
	switch {
	case !v6:
		s.good = codec.Checksum(b) == 0
	case !framed:
		s.good = true
	default:
		s.good = codec.Checksum(slices.Concat(s.from.AsSlice(), s.to.AsSlice(), binary.BigEndian.AppendUint32(nil, uint32(len(b))), []byte{0, 0, 0, 58}, b)) == 0
	}
	return s
}

// expect is what a decision means.
func expect(d rules.Decision, at time.Duration, from, to netip.Addr, id, seq uint16, data string, quote []byte) (all []sight) {
	if d.Drop != rules.Answered {
		return nil
	}
	s := sight{at: at + d.Delay, from: to, to: from, ttl: 64, tos: 0x10, good: d.Checksum == 0, code: d.Code}
	if from.Is6() {
		s.kind = 129
	}
	if d.TTL > 0 {
		s.ttl = d.TTL
	}
	if d.HasTOS {
		s.tos = d.TOS
	}
	if d.Source.IsValid() {
		s.from = d.Source
	}
	header := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, id), seq)
	s.rest = string(header) + string(d.AppendData(nil, []byte(data)))
	if e := d.Error; e != nil {
		if e.From.IsValid() {
			s.from = e.From
		}
		most := 576 - 28
		if from.Is6() {
			most = 1280 - 48
		}
		if e.Quote >= 0 {
			most = e.Quote
		}
		s.kind, s.code, s.good = e.Type, e.Code, true
		s.rest = string(binary.BigEndian.AppendUint32(nil, e.MTU)) + string(quote[:min(most, len(quote))])
	}
	for range 1 + d.Copies {
		all = append(all, s)
	}
	return all
}

// Each rule does on every kind of transport what was decided, to the byte and to the
// nanosecond. What was decided a Decider of the same rules tells.
func TestWhatWasDecidedIsDone(t *testing.T) {
	for _, rule := range []string{
		"",
		"{silent: true}",
		"{loss: 50%}",
		"{delay: 20ms}",
		"{delay: 20ms, jitter: 20ms}",
		"{delay: 'uniform:0s,10ms'}",
		"{delay: 'normal:5ms,5ms'}",
		"{delay: 'pareto:1ms,1.5,1s'}",
		"{reorder: '30%,by=7500us'}",
		"{delay: 3ms, reorder: '30%,by=7ms', duplicate: '30%,copies=2'}",
		"{duplicate: 50%}",
		"{duplicate: '20%,copies=100'}", // more than a batch
		"{corrupt: {flip: 50%}}",
		"{corrupt: {flip: 50%, at: -1}}",
		"{corrupt: {checksum: 50%}}",
		"{corrupt: {truncate: 50%}}",
		"{corrupt: {lengthen: 50%}}",
		"{corrupt: {flip: 30%, checksum: 30%, truncate: 30%, lengthen: 30%}, duplicate: 10%, delay: 'uniform:0s,10ms'}",
		"{code: 7}",
		"{ttl: 3}",
		"{tos: 0}",
		"{tos: 184, ttl: 255, code: 255, corrupt: {lengthen: 100%}}",
		"{source: [198.51.100.9, '2001:db8::9']}",
		"{source: [198.51.100.9, '2001:db8::9'], corrupt: {checksum: 50%, truncate: 50%}, ttl: 9, tos: 4, delay: 1ms}",
		"{error: {type: port unreachable}}",
		"{error: {type: port unreachable, probability: 50%, quote: 28}}",
		"{to: 0.0.0.0/0, error: {type: 3, code: 200, quote: 0}}\n{to: '::/0', error: {type: 1, code: 200, quote: 0}}",
		"{to: 0.0.0.0/0, error: {type: 77, code: 3, quote: 60000, from: 198.51.100.9}, duplicate: 50%, tos: 2, ttl: 2, delay: 'uniform:0s,10ms'}\n{to: '::/0', error: {type: 77, code: 3, quote: 60000, from: '2001:db8::9'}}",
		"{error: {type: packet too big, mtu: 1300}}",
		"{rate: '100,burst=3'}",
		"{down: {from: 20ms, to: 30ms, every: 50ms}}",
	} {
		for _, k := range kinds {
			t.Run(rule+" on "+k.name, func(t *testing.T) {
				// Decisions depend on the buckets of the set too, so each has its own.
				decider := (*rules.Decider)(nil)
				list := strings.Split(rule, "\n")
				if s := set(t, list...); s != nil {
					decider = s.NewDecider(0)
				}
				framed := k.name == "IP"
				w := &wire{size: 64, bare: k.v6}
				if framed {
					w.framing = transport.IPPacket
				}
				var log []sight
				forge := &wire{fd: wireFD + 1, size: 64, framing: transport.IPPacket, room: unlimited}
				cfg := responder.Config{IPv6: k.v6, Policy: policy(t, list...), Forge: forge}
				lab := newLab(t, w, cfg)
				forge.mux = lab.mux
				note := func(framed bool) func(*transport.Message) error {
					return func(m *transport.Message) error {
						log = append(log, see(t, m, lab.mux.Clock().Sub(start), framed, k.v6))
						return nil
					}
				}
				w.onSend, forge.onSend = note(framed), note(true)
				const n = 200
				var want []sight
				for i := range n {
					at := time.Duration(i) * ms
					data := strings.Repeat("data", 400)[:i%7+i%4*390]
					from, to := far4(i), near4(i)
					if k.v6 || framed && i%2 == 1 {
						from, to = far6(i), near6(i)
					}
					seq := uint16(i / 2 * 2) // some come twice
					var m transport.Message
					quote := packet(from, to, seq, data)
					switch {
					case framed:
						m = framedMessage(quote)
					case k.v6:
						m = request6(from, to, seq, data)
						m.TTL = 9
					default:
						m = request(from, seq, data)
						m.TTL = 9
						m.Local = to
						// There is no header in front that could be quoted, so it is made anew.
						quote[4], quote[5], quote[6] = 0, 0, 0 // identification, don't fragment
						quote[10], quote[11] = 0, 0
						binary.BigEndian.PutUint16(quote[10:], codec.Checksum(quote[:20]))
					}
					lab.wire.at(at, func() { lab.wire.queue = append(lab.wire.queue, m) })
					d := rules.Decision{Rule: -1}
					if decider != nil {
						d = decider.Decide(&rules.Packet{From: from, To: to, ID: 7, Seq: seq, Data: []byte(data)}, at)
					}
					want = append(want, expect(d, at, from, to, 7, seq, data, quote)...)
				}
				slices.SortStableFunc(want, func(a, b sight) int { return int(a.at - b.at) })
				lab.run(time.Minute)
				for i := range max(len(want), len(log)) {
					switch {
					case i >= len(want):
						t.Fatalf("answer %d of %d is %v, and there should be none", i, len(log), log[i])
					case i >= len(log):
						t.Fatalf("answer %d is missing, %v", i, want[i])
					case log[i] != want[i]:
						t.Fatalf("answer %d of %d is\n%v, want\n%v", i, len(want), log[i], want[i])
					}
				}
				s := lab.Stats()
				if s.Received != n || accounted(s) != n || s.Queued+s.SendErrors+s.CopiesLost+s.Ignored+s.Corrupt > 0 {
					t.Errorf("the counts are %+v", s)
				}
				if s.Answered+s.Errors+s.Duplicated != uint64(len(want)) {
					t.Errorf("%d answers were counted, and %d sent", s.Answered+s.Errors+s.Duplicated, len(want))
				}
				var sum responder.RuleStats
				for _, c := range lab.RuleStats() {
					sum.Requests += c.Requests
					sum.Replied += c.Replied
					sum.Errored += c.Errored
					sum.Silent += c.Silent
					sum.Down += c.Down
					sum.Lost += c.Lost
					sum.Limited += c.Limited
					sum.Delayed += c.Delayed
					sum.Damaged += c.Damaged
					sum.Duplicated += c.Duplicated
				}
				all := responder.RuleStats{Requests: n, Replied: s.Answered, Errored: s.Errors, Silent: s.Silent, Down: s.Down, Lost: s.Lost,
					Limited: s.Limited, Delayed: s.Delayed, Damaged: s.Damaged, Duplicated: s.Duplicated}
				if rule != "" && sum != all {
					t.Errorf("the rules have %+v, all have %+v", sum, all)
				}
			})
		}
	}
}
