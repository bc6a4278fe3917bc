package slip_test

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	_ "example.org/slip"
	"iomux/apps/echo/cmd"
	"iomux/transport"
	"iomux/transport/transporttest"
)

// The test binary is the echo command, too.
func TestMain(m *testing.M) {
	if os.Getenv("BE_ECHO") != "" {
		os.Exit(cmd.Main())
	}
	os.Exit(m.Run())
}

// TestConformance proves the transport, against another implementation of the
// framing at the other end of a pseudo-terminal.
func TestConformance(t *testing.T) {
	transporttest.Run(t, transporttest.Subject{
		Network: "slip",
		Open: func(cfg *transport.Config) (p transporttest.Pair, err error) {
			far, terminal, err := openFar()
			if err != nil {
				return p, err
			}
			near, err := transport.Open("slip", nearAddr.String()+"@"+terminal, cfg)
			if err != nil {
				far.Close()
				return p, err
			}
			return transporttest.Pair{A: near, B: far, ToB: to(farAddr), ToA: to(nearAddr)}, nil
		},
		MaxSize: 1006 - 20,
		Unsendable: func(p transporttest.Pair) []transport.Message {
			nobody, six, from6 := p.ToB(0, 1), p.ToB(0, 1), p.ToB(0, 1)
			nobody.Peer = netip.AddrPort{}
			six.Peer = netip.MustParseAddrPort("[2001:db8::1]:0")
			from6.Local = six.Peer.Addr()
			return []transport.Message{p.ToB(0, 1006-20+1), nobody, six, from6}
		},
		Deny: func(open func()) error {
			terminal := t.TempDir() + "/terminal"
			t.Setenv("SLIP_LINE", nearAddr.String()+"@"+terminal)
			return errors.Join(os.WriteFile(terminal, nil, 0),
				transporttest.WithoutCapabilities(unix.CAP_DAC_OVERRIDE)(open))
		},
		Without: map[string]string{
			"filter_before_the_first_message": "a Config.Filter is refused",
			"pending_error_reported_once":     "an error of a terminal is about the line, and stays",
			"enobufs_blocks_or_is_an_error":   "a terminal says EAGAIN",
			"link_down_and_up":                "there is no interface",
		},
	})
}

var nearAddr, farAddr = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

// to makes messages to an address, with every byte in them sooner or later.
func to(peer netip.Addr) func(seq, size int) transport.Message {
	return func(seq, size int) transport.Message {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(seq + i*7 + i>>8)
		}
		return transport.Message{Buf: b, N: size, Peer: netip.AddrPortFrom(peer, 0)}
	}
}
