package unix_test

import (
	"net/netip"
	"path/filepath"
	"testing"

	sys "golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/transporttest"
	"iomux/transport/unix"
)

// TestConformance runs the suite on what unix.Pair makes, and on sockets that
// find each other by name.
func TestConformance(t *testing.T) {
	t.Run("pair", func(t *testing.T) {
		run(t, func(cfg *transport.Config) (a, b transport.Transport, err error) { return unix.Pair(cfg) })
	})
	t.Run("path", func(t *testing.T) {
		dir := t.TempDir()
		run(t, connected(filepath.Join(dir, "a"), filepath.Join(dir, "b")))
	})
	t.Run("abstract", func(t *testing.T) {
		run(t, connected(unique("a"), unique("b")))
	})
}

func run(t *testing.T, open func(*transport.Config) (a, b transport.Transport, err error)) {
	transporttest.Run(t, transporttest.Subject{
		Network: "unixgram",
		Open: func(cfg *transport.Config) (transporttest.Pair, error) {
			a, b, err := open(cfg)
			return transporttest.Pair{A: a, B: b, ToB: numbered, ToA: numbered}, err
		},
		MaxSize: 1 << 16,
		Unsendable: func(transporttest.Pair) []transport.Message {
			addressed := numbered(0, 1)
			addressed.Peer = netip.MustParseAddrPort("192.0.2.1:7")
			return []transport.Message{numbered(0, 1<<22), addressed} // longer than the send buffer
		},
		Disturb: func(p transporttest.Pair) (want, err error) {
			if _, err := p.A.Send([]transport.Message{numbered(0, 1)}); err != nil {
				return nil, err
			}
			return sys.ECONNRESET, disconnect(p.B)
		},
		Without: map[string]string{
			"enobufs_blocks_or_is_an_error": "no queueing discipline is in the way, and a full buffer is EAGAIN",
			"unprivileged_open":             "everybody may open one",
			"link_down_and_up":              "there is no interface",
		},
	})
}

// connected opens two sockets that name each other. The first to be opened
// connects when it sends.
func connected(a, b string) func(*transport.Config) (transport.Transport, transport.Transport, error) {
	open := func(local, peer string, cfg *transport.Config) (transport.Transport, error) {
		if cfg == nil {
			cfg = &transport.Config{}
		}
		named := *cfg
		named.Options = unix.Options{Local: local}
		return transport.Open("unixgram", peer, &named)
	}
	n := 0
	return func(cfg *transport.Config) (transport.Transport, transport.Transport, error) {
		n++ // a pair has its names for itself
		first, err := open(numberedName(a, n), numberedName(b, n), cfg)
		if err != nil {
			return nil, nil, err
		}
		second, err := open(numberedName(b, n), numberedName(a, n), cfg)
		if err != nil {
			first.Close()
			return nil, nil, err
		}
		return first, second, nil
	}
}
