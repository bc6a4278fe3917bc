package prober

import (
	"errors"
	"io/fs"

	"iomux/transport"
	"iomux/transport/icmp"
)

// Opening is what a transport is opened for.
type Opening struct {
	IPv6 bool
	// Identifier is what the probes carry. A transport that is an Identifier has its
	// own in place of it.
	Identifier uint16
	// Config has the fields that a prober's Config has, a receive buffer for the
	// answers to a full window, and a send buffer for what waits for its neighbour.
	Config transport.Config
	// DontFragment, Broadcast and Stamps ask for icmp.Options of those names.
	DontFragment, Broadcast, Stamps bool
	// PacketInfo asks for Local and Ifindex of received messages, of which a prober
	// makes no use. It is for an Open that wraps OpenSocket.
	PacketInfo bool
}

// OpenSocket opens a raw socket, which needs CAP_NET_RAW, or else a ping socket,
// which the sysctl net.ipv4.ping_group_range must allow. The kernel lets through
// only what belongs to the prober.
func OpenSocket(o Opening) (transport.Transport, error) {
	raw, ping, filter := "ip4:icmp", "udp4:icmp", icmp.ProbeFilter
	types := []uint8{0, 3, 4, 5, 11, 12} // the reply, and errors
	if o.IPv6 {
		raw, ping, filter = "ip6:ipv6-icmp", "udp6:ipv6-icmp", icmp.ProbeFilter6
		types = []uint8{129, 1, 2, 3, 4}
	}
	options := icmp.Options{Types: types, Stamps: o.Stamps, Errors: true, DontFragment: o.DontFragment, Broadcast: o.Broadcast,
		NoPacketInfo: !o.PacketInfo, Identifier: o.Identifier}
	cfg := o.Config
	var err error
	if cfg.Filter, err = filter(o.Identifier); err != nil {
		return nil, err
	}
	cfg.Options = options
	t, err := transport.Open(raw, "", &cfg)
	if !errors.Is(err, fs.ErrPermission) {
		return t, err
	}
	options.Types, options.Identifier = nil, 0
	cfg.Filter, cfg.Options = nil, options
	t, errPing := transport.Open(ping, "", &cfg)
	if errPing != nil {
		return nil, join(err, errPing)
	}
	return t, nil
}
