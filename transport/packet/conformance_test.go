package packet_test

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/transporttest"
)

// mtu is the longest payload of a frame.
const mtu = 1500

// TestConformance runs the suite over a cable to another namespace.
func TestConformance(t *testing.T) {
	c := wiretest.NewCable(t)
	subject := transporttest.Subject{
		Hold: func(transporttest.Pair) (func() error, error) { return wiretest.Hold(160) },
		Starve: func(p transporttest.Pair) (transport.Message, func() error, error) {
			release, err := wiretest.Hold(160)
			return p.ToB(0, 1000), release, err // longer than what hold lets pass
		},
		Disturb: func(transporttest.Pair) (want, err error) {
			if err := c.SetLink(false); err != nil {
				return nil, err
			}
			return unix.ENETDOWN, c.SetLink(true)
		},
		Deny:    transporttest.WithoutCapabilities(unix.CAP_NET_RAW),
		SetLink: func(_ transporttest.Pair, up bool) error { return c.SetLink(up) },
	}
	with := func(name, why string) map[string]string {
		return map[string]string{name: why, "order_kept": "frames on one processor may overtake those on another"}
	}
	// ends opens both with the filter of the suite.
	ends := func(network string, cfg *transport.Config) (p transporttest.Pair, err error) {
		if err = c.Far.Namespace.Do(func() error { p.B, err = transport.Open(network, "far", only(experiment)); return err }); err != nil {
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
			p.ToA = func(seq, size int) transport.Message {
				return experimental("packet", c.Near, c.Far, wiretest.Pattern(seq, size))
			}
			p.ToB = func(seq, size int) transport.Message {
				return experimental("packet", c.Far, c.Near, wiretest.Pattern(seq, size))
			}
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
				return experimental("packet:raw", c.Near, c.Far, wiretest.Pattern(seq, size-headerSize))
			}
			p.ToB = func(seq, size int) transport.Message {
				return experimental("packet:raw", c.Far, c.Near, wiretest.Pattern(seq, size-headerSize))
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
			return []transport.Message{p.ToB(0, headerSize+mtu+1), wiretest.Message(make([]byte, headerSize-1)), lost, peer}
		}
		transporttest.Run(t, s)
	})
}

// ipPeer is what messages below IP do not have.
var ipPeer = netip.MustParseAddrPort("192.0.2.2:7")
