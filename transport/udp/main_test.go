package udp_test

import (
	"net/netip"
	"os"
	"testing"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/netlab"
	"iomux/transport/udp"
)

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

var networks = []string{"udp4", "udp6", "udp"}

// loopback is where the tests of a network listen.
var loopback = map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0", "udp": ":0"}

// open opens a transport until the end of the test.
func open(t *testing.T, network, address string, cfg *transport.Config) udp.Conn {
	t.Helper()
	return conn(t, wiretest.Open(t, network, address, cfg))
}

// openFar opens a transport at the other end of the cable.
func openFar(t *testing.T, cable *wiretest.Cable, network, address string) udp.Conn {
	t.Helper()
	return conn(t, cable.Far.Open(t, network, address, &transport.Config{RecvBuffer: 1 << 20}))
}

func conn(t *testing.T, tr transport.Transport) udp.Conn {
	t.Helper()
	c, ok := transport.As[udp.Conn](tr)
	if !ok {
		t.Fatalf("%T is not a udp.Conn", tr)
	}
	return c
}

// to is the address of a transport on the host, where it listens on all.
func to(c udp.Conn, host string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(host), c.LocalAddr().Port())
}

func datagram(peer netip.AddrPort, payload []byte) transport.Message {
	m := wiretest.Message(payload)
	m.Peer = peer
	return m
}
