package udp_test

import (
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"iomux/transport"
	"iomux/transport/netlab"
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

// TestConformance runs the suite over a cable to another namespace.
func TestConformance(t *testing.T) {
	near, far := cable(t)
	for _, s := range []side{
		{"udp4", "udp4", near4.Addr(), far4.Addr(), 65507},
		{"udp6", "udp6", near6.Addr(), far6.Addr(), 65527},
		{"udp of IPv4 peers", "udp", near4.Addr(), far4.Addr(), 65507},
		{"udp of IPv6 peers", "udp", near6.Addr(), far6.Addr(), 65527},
	} {
		t.Run(s.name, func(t *testing.T) {
			subject := s.subject(far.Do)
			subject.Hold = func(transporttest.Pair) (func() error, error) { return hold() }
			subject.SetLink = func(_ transporttest.Pair, up bool) error { return setLink(near, up) }
			transporttest.Run(t, subject)
		})
	}
}

// TestConformanceOnLoopback needs no namespace.
func TestConformanceOnLoopback(t *testing.T) {
	lo4, lo6 := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	for _, s := range []side{
		{"udp4", "udp4", lo4, lo4, 65507},
		{"udp6", "udp6", lo6, lo6, 65527},
		{"udp of IPv4 peers", "udp", lo4, lo4, 65507},
		{"udp of IPv6 peers", "udp", lo6, lo6, 65527},
	} {
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
			p.ToA = func(seq, size int) transport.Message { return datagram(toA, pattern(seq, size)) }
			p.ToB = func(seq, size int) transport.Message { return datagram(toB, pattern(seq, size)) }

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

// setLink switches the interface near, which loses its IPv6 address when down.
func setLink(near *netlab.Namespace, up bool) error {
	link, err := netlink.LinkByName("near")
	if err != nil {
		return err
	}
	if !up {
		return netlink.LinkSetDown(link)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	if err := near.AddAddr("near", near6); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
