package udp_test

import (
	"maps"
	"net/netip"
	"testing"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/transporttest"
	"iomux/transport/udp"
)

// header is that of UDP, which a filter sees.
const header = 8

// without is what UDP does not have anywhere.
var without = map[string]string{
	"order_kept":                    "IP promises no order: packets on one processor may overtake those on another",
	"pending_error_reported_once":   "without IP_RECVERR no error of an earlier message is reported",
	"enobufs_blocks_or_is_an_error": "without IP_RECVERR what a queueing discipline drops counts as sent, and a full buffer is EAGAIN",
	"unprivileged_open":             "everybody may open one",
}

// side is the addresses of a pair, and what an IPv4 or IPv6 datagram can hold.
type side struct {
	name, network string
	a, b          netip.Addr
	longest       int
}

// sides are the networks between two hosts, each of which has an address of both
// kinds.
func sides(a4, a6, b4, b6 netip.Addr) []side {
	return []side{
		{"udp4", "udp4", a4, b4, 65507},
		{"udp6", "udp6", a6, b6, 65527},
		{"udp of IPv4 peers", "udp", a4, b4, 65507},
		{"udp of IPv6 peers", "udp", a6, b6, 65527},
	}
}

// TestConformance runs the suite over a cable to another namespace.
func TestConformance(t *testing.T) {
	cable := wiretest.NewCable(t)
	for _, s := range sides(cable.Near.Addr4, cable.Near.Addr6, cable.Far.Addr4, cable.Far.Addr6) {
		t.Run(s.name, func(t *testing.T) {
			subject := s.subject(cable.Far.Namespace.Do)
			subject.Hold = func(transporttest.Pair) (func() error, error) { return wiretest.Hold(8000) }
			subject.SetLink = func(_ transporttest.Pair, up bool) error { return cable.SetLink(up) }
			transporttest.Run(t, subject)
		})
	}
}

// TestConformanceOnLoopback needs no namespace.
func TestConformanceOnLoopback(t *testing.T) {
	lo4, lo6 := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	for _, s := range sides(lo4, lo6, lo4, lo6) {
		t.Run(s.name, func(t *testing.T) {
			subject := s.subject(func(open func() error) error { return open() })
			subject.Without = maps.Clone(without)
			subject.Without["short_send_then_writable"] = "sending to oneself is receiving, which holds up nobody"
			subject.Without["link_down_and_up"] = "the interface is everybody's"
			transporttest.Run(t, subject)
		})
	}
}

// subject opens pairs, the other end of which is where there says.
func (s side) subject(there func(func() error) error) transporttest.Subject {
	return transporttest.Subject{
		Network: s.network, MaxSize: s.longest, Header: header, Without: without,
		Open: func(cfg *transport.Config) (p transporttest.Pair, err error) {
			if err = there(func() error { p.B, err = transport.Open(s.network, "", nil); return err }); err != nil {
				return p, err
			}
			if p.A, err = transport.Open(s.network, "", cfg); err != nil {
				p.B.Close()
				return p, err
			}
			toA := netip.AddrPortFrom(s.a, p.A.(udp.Conn).LocalAddr().Port())
			toB := netip.AddrPortFrom(s.b, p.B.(udp.Conn).LocalAddr().Port())
			p.ToA = func(seq, size int) transport.Message { return datagram(toA, wiretest.Pattern(seq, size)) }
			p.ToB = func(seq, size int) transport.Message { return datagram(toB, wiretest.Pattern(seq, size)) }

			return p, nil
		},
		Unsendable: func(p transporttest.Pair) []transport.Message {
			nowhere, elsewhere, many := p.ToB(0, 1), p.ToB(0, 1), p.ToB(0, 3)
			nowhere.Peer = netip.AddrPort{}
			elsewhere.Local = netip.MustParseAddr("198.51.100.1") // nobody's, or of another kind
			many.Local, many.Segment = elsewhere.Local, 1
			mapped := p.ToB(0, 1)
			mapped.Peer = netip.AddrPortFrom(netip.AddrFrom16(netip.MustParseAddr("127.0.0.1").As16()), 7)
			return []transport.Message{p.ToB(0, s.longest+1), nowhere, elsewhere, many, mapped}
		},
	}
}
