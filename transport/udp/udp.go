// Package udp sends and receives UDP datagrams in batches, to and from any
// number of peers on one descriptor.
//
// It is for servers and probers whose peers are many, and for bulk traffic.
// Importing it registers three networks, as net.Dial has them: "udp4" and "udp6"
// for one version of IP, and "udp" for both on one IPv6 socket. The address is
// where to listen, an IP address and a port: "192.0.2.1:7", "[2001:db8::1]:7",
// ":7" for every address, ":0" or "" for a port of the kernel's choice, which
// [Conn] tells. Names are not resolved. Peers are not connected to; each message
// names its own.
//
//	t, err := transport.Open("udp", ":7", nil)
//	if err != nil {
//		return err
//	}
//	defer t.Close()
//	ms := make([]transport.Message, t.BatchSize())
//	for i := range ms {
//		ms[i].Buf = make([]byte, 2048)
//	}
//	n, err := t.Recv(ms) // 0, nil until t.FD() is readable
//	for i := range ms[:n] {
//		ms[i].Reply() // from the address that it was sent to
//	}
//	n, err = t.Send(ms[:n])
//
// Local, Ifindex, TTL and TOS are received, and obeyed where they are not zero;
// Time is received. A datagram may be empty, and has 65,507 bytes at the most
// (IPv4) or 65,527.
//
// # Many datagrams in a Message
//
// A message with a Segment is sent as datagrams of so many bytes, the last of
// which may be shorter. The kernel cuts it up behind most of its protocol stack
// (UDP_SEGMENT in udp(7), Linux 4.18), which costs much less than sending each.
// Where it refuses, Send sends one after the other, at the price of a system
// call for each message: an older kernel, a route through IPsec (EIO, after
// which it is not asked again: see [Conn]), a Segment that exceeds the path's
// MTU, or more datagrams than it takes at once (64, in newer kernels 128).
// If the send buffer is full in the middle of that, the message counts as not
// sent, and goes on where it stopped when it is sent again; if it is given up,
// its first datagrams have left.
//
// With [Options].GRO, datagrams of one sender and one size that come together
// are received as one message with a Segment (UDP_GRO in udp(7), Linux 5.0).
// Whoever asks for it gives each message a Buf of 65,535 bytes, or has the rest
// Truncated. The answer to such a message is several datagrams as well: Reply
// keeps its Segment.
//
// # Errors
//
// The socket does not ask for IP_RECVERR. So nothing that becomes of a datagram
// after Send is reported: neither an ICMP error, port unreachable for instance,
// nor a queueing discipline that drops it, which the kernel counts
// (UdpSndbufErrors and Udp6SndbufErrors of nstat(8)). Recv has no pending errors
// therefore.
// Sending to a broadcast address is EACCES, as SO_BROADCAST is not set.
//
// What is dropped because the receive buffer is full is counted
// ([transport.DropCounter]), together with wrong checksums and what the filter
// keeps out, which the kernel does not tell apart.
//
// The Config is honoured but for Queues, as a socket has one queue. Its Filter
// sees the UDP header and what follows. Source is put into each message that has
// no Local and whose peer is of its kind.
package udp

import (
	"net/netip"

	"iomux/transport"
)

func init() {
	transport.Register("udp4", open)
	transport.Register("udp6", open)
	transport.Register("udp", open)
}

// Options are the [transport.Config] Options of this package's networks.
type Options struct {
	// GRO joins datagrams that come together: see above.
	GRO bool
	// ReusePort lets several transports of one user listen on one address
	// (SO_REUSEPORT in socket(7)), each of which has to set it. The kernel gives
	// all datagrams of a peer to the same one.
	ReusePort bool
}

// Conn is what these networks open, to be found with [transport.As].
type Conn interface {
	transport.Transport
	// LocalAddr returns where the transport listens, also after Close.
	LocalAddr() netip.AddrPort
	// GSO returns nil if the kernel is asked to cut up messages with a Segment,
	// otherwise why not. That may change once, when a Send is refused.
	GSO() error
	// GRO returns nil if the kernel joins datagrams, otherwise why not.
	GRO() error
}
