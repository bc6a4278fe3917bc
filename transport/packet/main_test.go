package packet_test

import (
	"os"
	"testing"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/netlab"
	"iomux/transport/packet"
)

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

// EtherTypes. The first two are for experiments (IEEE 802, 9.2.3), so that
// nothing but the tests uses them.
const (
	experiment = 0x88b5
	another    = 0x88b6
	ipv4       = 0x0800
	vlan       = 0x8100
)

// headerSize is the length of an Ethernet header.
const headerSize = 14

var networks = []string{"packet", "packet:raw"}

// openNear opens a transport for the experiment at this end of the cable.
func openNear(t *testing.T, network string) transport.Transport {
	t.Helper()
	return wiretest.Open(t, network, "near", only(experiment))
}

// openFar opens one at the other end.
func openFar(t *testing.T, c *wiretest.Cable, network string) transport.Transport {
	t.Helper()
	return c.Far.Open(t, network, "far", only(experiment))
}

func only(etherType uint16) *transport.Config {
	return &transport.Config{Options: packet.Options{EtherType: etherType}}
}

// link is the address of an end.
func link(to wiretest.End, etherType uint16) transport.LinkAddr {
	l := transport.LinkAddr{Len: 6, EtherType: etherType}
	copy(l.Addr[:], to.MAC[:])
	return l
}

// frame is an Ethernet frame from one end to the other.
func frame(to, from [6]byte, etherType uint16, payload ...byte) []byte {
	b := append(append([]byte{}, to[:]...), from[:]...)
	return append(append(b, byte(etherType>>8), byte(etherType)), payload...)
}

// experimental is a message of the network for the experiment from one end to the
// other.
func experimental(network string, to, from wiretest.End, payload []byte) transport.Message {
	if network == "packet:raw" {
		return wiretest.Message(frame(to.MAC, from.MAC, experiment, payload...))
	}
	m := wiretest.Message(payload)
	m.Link = link(to, experiment)
	return m
}
