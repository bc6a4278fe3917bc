package cmd

import (
	"fmt"
	"net/netip"

	"iomux/apps/echo/prober"
	"iomux/transport"
	"iomux/transport/icmp"
)

// The transports of ICMP sockets beside rawNetwork. Ping sockets need no capability
// where net.ipv4.ping_group_range allows them.
const (
	rawNetwork6  = "ip6:ipv6-icmp"
	pingNetwork  = "udp4:icmp"
	pingNetwork6 = "udp6:ipv6-icmp"
)

// opener returns what opens the transports of a run: a socket, or the network that was
// asked for.
func (o *clientOptions) opener() func(prober.Opening) (transport.Transport, error) {
	switch o.network {
	case "":
		return prober.OpenSocket
	case rawNetwork, rawNetwork6, pingNetwork, pingNetwork6:
		return o.openICMP
	}
	return o.openOther
}

// openICMP opens one kind of socket where prober.OpenSocket chooses.
func (o *clientOptions) openICMP(op prober.Opening) (transport.Transport, error) {
	v6 := o.network == rawNetwork6 || o.network == pingNetwork6
	if v6 != op.IPv6 {
		return nil, fmt.Errorf("--network %s: the target has an address of the other family", o.network)
	}
	options := icmp.Options{Stamps: op.Stamps, Errors: true, DontFragment: op.DontFragment, Broadcast: op.Broadcast,
		NoPacketInfo: !op.PacketInfo}
	cfg := op.Config
	var err error
	switch o.network {
	case rawNetwork:
		options.Types, options.Identifier = []uint8{0, 3, 4, 5, 11, 12}, op.Identifier
		cfg.Filter, err = icmp.ProbeFilter(op.Identifier)
	case rawNetwork6:
		options.Types, options.Identifier = []uint8{129, 1, 2, 3, 4}, op.Identifier
		cfg.Filter, err = icmp.ProbeFilter6(op.Identifier)
	}
	if err != nil {
		return nil, err
	}
	cfg.Options = options
	return transport.Open(o.network, "", &cfg)
}

// openOther opens a network of which nothing is known. It is told what the user has
// asked for, and nothing else, as it has to refuse what it cannot do.
func (o *clientOptions) openOther(op prober.Opening) (transport.Transport, error) {
	var cfg *transport.Config
	if c := (transport.Config{Interface: op.Config.Interface, Mark: op.Config.Mark}); c.Interface != "" || c.Mark != 0 {
		cfg = &c
	}
	t, err := transport.Open(o.network, "", cfg)
	if err != nil {
		return nil, err
	}
	framing := transport.Payload
	if f, ok := transport.As[transport.Framer](t); ok {
		framing = f.Framing()
	}
	switch {
	case framing == transport.IPPacket && !op.Config.Source.IsValid():
		err = fmt.Errorf("--network %s: it carries IP packets, so that --interface must be an address to send from", o.network)
	case framing != transport.IPPacket && op.DontFragment:
		err = fmt.Errorf("--pmtudisc: --network %s cannot be told not to send fragments", o.network)
	case framing == transport.Payload && op.Config.Source.IsValid():
		return sourced{t, op.Config.Source}, nil
	default:
		return t, nil
	}
	return nil, join(err, t.Close())
}

// sourced sends from an address, as Config.Source says, on a transport that may know
// the source of each message only.
type sourced struct {
	transport.Transport
	source netip.Addr
}

func (s sourced) Send(ms []transport.Message) (int, error) {
	for i := range ms {
		if !ms[i].Local.IsValid() {
			ms[i].Local = s.source
		}
	}
	return s.Transport.Send(ms)
}

func (s sourced) Unwrap() transport.Transport { return s.Transport }
