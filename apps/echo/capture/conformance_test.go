package capture_test

import (
	"io"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/apps/echo/capture"
	"iomux/transport"
	"iomux/transport/transporttest"
	iounix "iomux/transport/unix"
)

// A captured transport keeps the contract of transports.
func TestConformance(t *testing.T) {
	w := capture.NewWriter(io.Discard)
	numbered := func(seq, size int) transport.Message {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(seq + i*7 + i>>8)
		}
		return transport.Message{Buf: b, N: size}
	}
	transporttest.Run(t, transporttest.Subject{
		Network: "unixgram",
		Open: func(cfg *transport.Config) (p transporttest.Pair, err error) {
			p.ToA, p.ToB = numbered, numbered
			if p.A, p.B, err = iounix.Pair(cfg); err != nil {
				return p, err
			}
			p.A, err = w.Wrap(p.A, capture.Options{Payload: capture.Opaque})
			return p, err
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
			return unix.ECONNRESET, disconnect(p.B.FD())
		},
		Without: map[string]string{
			"enobufs_blocks_or_is_an_error": "no queueing discipline is in the way, and a full buffer is EAGAIN",
			"unprivileged_open":             "everybody may open one",
			"link_down_and_up":              "there is no interface",
		},
	})
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
