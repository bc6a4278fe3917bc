// Package icmp sends and receives ICMPv4 messages, through a raw socket or
// through a ping socket.
//
// It is for programs that answer or send echo requests to many peers on one
// descriptor. Importing it registers two networks:
//
//   - "ip4:icmp" is a raw socket (raw(7)). It is offered every ICMP message that
//     the network namespace receives, whatever its checksum, its own requests
//     on loopback included, and it sends what it is given, so that the checksum
//     and the identifier are the caller's. It needs CAP_NET_RAW.
//   - "udp4:icmp" is a ping socket (icmp(7)). It sends echo requests and
//     receives the replies to them; the kernel owns checksum and identifier
//     (see [transport.Identifier]). It needs no capability, but the group of
//     the process must be in the range of the sysctl net.ipv4.ping_group_range.
//
// The address is an IPv4 address to bind to, or "" for all of them. A bound
// socket receives only what is sent to that address, and sends from it.
//
//	t, err := transport.Open("ip4:icmp", "", &transport.Config{
//		Options: icmp.Options{Types: []uint8{8}}, // echo requests only
//	})
//	if err != nil {
//		return err
//	}
//	defer t.Close()
//	ms := []transport.Message{{Buf: make([]byte, 1500)}}
//	n, err := t.Recv(ms) // 0, nil until t.FD() is readable
//	for i := range ms[:n] {
//		request := ms[i].Bytes() // ICMP header and payload
//		fmt.Println(ms[i].Peer.Addr(), ms[i].TTL, len(request))
//	}
//
// What is sent is the ICMP message, Bytes(); a raw socket receives the IPv4
// header in front of it, so that Off is 20 to 60. Local, Ifindex, TTL and TOS
// are received on both and obeyed on both, where they are not zero. Time, ID
// and Segment are not used.
//
// Neither socket asks for IP_RECVERR, so no error of an earlier message is ever
// pending on it. A message that a queueing discipline drops is an error,
// ENOBUFS, on a ping socket and counts as sent on a raw one. Sending to a
// broadcast address is EACCES, as SO_BROADCAST is not set.
//
// The Config is honoured but for Queues, as a socket has one queue. Source is
// put into each message that has no Local, by IP_PKTINFO: unlike an address to
// bind to, it does not restrict what is received.
package icmp

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

func init() {
	transport.Register("ip4:icmp", openRaw)
	transport.Register("udp4:icmp", openPing)
}

// Options are the [transport.Config] Options of "ip4:icmp".
type Options struct {
	// Types are the ICMP types to deliver; none means all. The kernel discards
	// the others before they take room in the receive buffer (ICMP_FILTER in
	// raw(7)). It cannot discard types above 31, which come in any case.
	Types []uint8
}

// open opens a socket, lets set adjust it, binds it and lets packets in.
func open(spec sock.Spec, address string, cfg *transport.Config, set func(*sock.Socket) error) (*sock.Socket, error) {
	local := netip.IPv4Unspecified()
	if address != "" {
		var err error
		if local, err = netip.ParseAddr(address); err != nil || !local.Is4() {
			return nil, openError(spec.Network, &net.AddrError{Addr: address,
				Err: `want an IPv4 address to bind to, "192.0.2.1" for instance, without a port, or ""`})
		}
	}
	if cfg.Source.IsValid() && !cfg.Source.Is4() {
		return nil, openError(spec.Network, &net.AddrError{Addr: cfg.Source.String(),
			Err: "Config.Source is not an IPv4 address"})
	}
	s, err := sock.Open(spec, cfg)
	if err != nil {
		return nil, err
	}
	if err = set(s); err == nil {
		err = s.Bind(&unix.SockaddrInet4{Addr: local.As4()})
	}
	if err == nil {
		err = s.Start(cfg)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func openError(network string, err error) error {
	return &net.OpError{Op: "open", Net: network, Err: err}
}

// optionsError is about Options that the network does not know.
func optionsError(network string, options any, want string) error {
	return openError(network, fmt.Errorf("Config.Options is a %T: want %s", options, want))
}

// peerAddr is the peer of a message for an error, nil if it has none.
func peerAddr(m *transport.Message) net.Addr {
	if !m.Peer.Addr().IsValid() {
		return nil
	}
	return &net.IPAddr{IP: m.Peer.Addr().AsSlice()}
}
