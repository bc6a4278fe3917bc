package packet_test

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/transporttest"
)

// mtu is the longest payload of a frame.
const mtu = 1500

// TestConformance runs the suite over a cable to another namespace.
func TestConformance(t *testing.T) {
	c := newCable(t)
	subject := transporttest.Subject{
		Hold: func(transporttest.Pair) (func() error, error) { return hold() },
		Starve: func(p transporttest.Pair) (transport.Message, func() error, error) {
			release, err := hold()
			return p.ToB(0, 1000), release, err // longer than what hold lets pass
		},
		Disturb: func(transporttest.Pair) (want, err error) {
			if err := setLink(false); err != nil {
				return nil, err
			}
			if err := setLink(true); err != nil {
				return nil, err
			}
			c.awaitLink()
			return unix.ENETDOWN, nil
		},
		Deny:    transporttest.WithoutCapabilities(unix.CAP_NET_RAW),
		SetLink: func(_ transporttest.Pair, up bool) error { return setLink(up) },
	}
	with := func(name, why string) map[string]string {
		return map[string]string{name: why, "order_kept": "frames on one processor may overtake those on another"}
	}
	// ends opens both with the filter of the suite.
	ends := func(network string, cfg *transport.Config) (p transporttest.Pair, err error) {
		if err = c.far.Do(func() error { p.B, err = transport.Open(network, "far", only(experiment)); return err }); err != nil {
			return p, err
		}
		experiments := only(experiment)
		if cfg != nil {
			experiments.Filter = cfg.Filter
		}
		if p.A, err = transport.Open(network, "near", experiments); err != nil {
			p.B.Close()
		}
		return p, err
	}

	t.Run("packet", func(t *testing.T) {
		s := subject
		s.Network, s.MinSize, s.MaxSize = "packet", 1, mtu
		s.Without = with("empty_message", "the kernel delivers no frame that ends with its header")
		s.Open = func(cfg *transport.Config) (transporttest.Pair, error) {
			p, err := ends("packet", cfg)
			to := func(e *end) func(seq, size int) transport.Message {
				return func(seq, size int) transport.Message {
					m := message(pattern(seq, size))
					m.Link = e.link(experiment)
					return m
				}
			}
			p.ToA, p.ToB = to(&c.near), to(&c.other)
			return p, err
		}
		s.Unsendable = func(p transporttest.Pair) []transport.Message {
			nowhere, lost, long, peer := p.ToB(0, 1), p.ToB(0, 1), p.ToB(0, 1), p.ToB(0, 1)
			nowhere.Link.Len, lost.Ifindex, long.Link.Len, peer.Peer = 0, 1<<20, 9, ipPeer
			return []transport.Message{p.ToB(0, mtu+1), nowhere, lost, long, peer}
		}
		transporttest.Run(t, s)
	})

	t.Run("packet:raw", func(t *testing.T) {
		s := subject
		s.Network, s.MinSize, s.MaxSize = "packet:raw", headerSize, headerSize+mtu
		s.Without = with("empty_message", "a frame has a header")
		s.Open = func(cfg *transport.Config) (transporttest.Pair, error) {
			p, err := ends("packet:raw", cfg)
			p.ToA = func(seq, size int) transport.Message {
				return message(frame(c.near.mac, c.other.mac, experiment, pattern(seq, size-headerSize)...))
			}
			p.ToB = func(seq, size int) transport.Message {
				return message(frame(c.other.mac, c.near.mac, experiment, pattern(seq, size-headerSize)...))
			}
			return p, err
		}
		s.Answer = func(frame []byte) {
			to, from := [6]byte(frame), [6]byte(frame[6:])
			copy(frame, from[:])
			copy(frame[6:], to[:])
		}
		s.Unsendable = func(p transporttest.Pair) []transport.Message {
			lost, peer := p.ToB(0, headerSize), p.ToB(0, headerSize)
			lost.Ifindex, peer.Peer = 1<<20, ipPeer
			return []transport.Message{p.ToB(0, headerSize+mtu+1), message(make([]byte, headerSize-1)), lost, peer}
		}
		transporttest.Run(t, s)
	})
}

// awaitLink returns when the cable carries frames.
func (c *cable) awaitLink() {
	near := open(c.t, "packet", "near", only(another))
	defer near.Close()
	var far transport.Transport
	c.there(func() { far = open(c.t, "packet", "far", only(another)) })
	defer far.Close()
	probe := message([]byte{1})
	probe.Link = c.other.link(another)
	for {
		near.Send([]transport.Message{probe})
		if poll(c.t, far, unix.POLLIN, 20) {
			return
		}
	}
}

// hold keeps in the queueing discipline what is sent through near, until
// release, which throws it away: 40 bytes leave in a second. Frames longer than
// 160 bytes are dropped.
func hold() (release func() error, err error) {
	link, err := netlink.LinkByName("near")
	if err != nil {
		return nil, err
	}
	bucket := &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       40,           // bytes per second
		Buffer:     4 * 1e9 / 64, // 4 seconds' worth of tokens, in ticks of 64 ns
		Limit:      1 << 24,      // bytes
	}
	return func() error { return netlink.QdiscDel(bucket) }, netlink.QdiscAdd(bucket)
}

// ipPeer is what messages below IP do not have.
var ipPeer = netip.MustParseAddrPort("192.0.2.2:7")
