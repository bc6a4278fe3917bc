// Package icmp sends and receives ICMP messages, of IPv4 and of IPv6, through a
// raw socket or through a ping socket.
//
// It is for programs that answer or send echo requests to many peers on one
// descriptor. Importing it registers four networks:
//
//   - "ip4:icmp" and "ip6:ipv6-icmp" are raw sockets (raw(7)). They are offered
//     every ICMP message that the network namespace receives, their own requests
//     on loopback included. They send what they are given, so that the identifier
//     is the caller's. For IPv4 so is the checksum, and bad ones are received;
//     for IPv6 the kernel verifies and fills it in. They need CAP_NET_RAW.
//   - "udp4:icmp" and "udp6:ipv6-icmp" are ping sockets (icmp(7)). They send echo
//     requests and receive the replies to them; the kernel owns checksum and
//     identifier (see [transport.Identifier]). They need no capability, but the
//     group of the process must be in the range of the sysctl
//     net.ipv4.ping_group_range, which is for both.
//
// The address is one to bind to, with a zone if it is link-local, or "" for all
// of them. A bound socket receives only what is sent to that address, and sends
// from it.
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
// What is sent is the ICMP message, Bytes(); the raw socket for IPv4 receives
// the IP header in front of it, so that Off is 20 to 60 there. Local, Ifindex,
// TTL and TOS (for IPv6: hop limit and traffic class) are received and, where
// they are not zero, obeyed, but for Local on "udp6:ipv6-icmp": the kernel has
// its source chosen by the address to bind to only, and Config.Source is that;
// another Local is an error. Segment is not used.
//
// The Config is honoured but for Queues, as a socket has one queue. Source is
// put into each message that has no Local, by IP_PKTINFO: unlike an address to
// bind to, it does not restrict what is received. Sending to an IPv4 broadcast
// address is EACCES unless the [Options] ask for Broadcast.
//
// # Time stamps, errors and drops
//
// The transports are a [transport.TransmitStamper] and a
// [transport.ErrorReporter] if the [Options] ask for it. Recv fetches both, by
// one more system call, after the messages: the stamp of a request is there
// when its reply is. A round-trip time between two stamps of the kernel does
// not contain what user space takes to notice. The wall clock, which stamps are
// of, may be set meanwhile, so that such a time may be wrong, even negative.
//
// Until Recv the kernel keeps stamps in the receive buffer, where they take the
// room of replies: about 250 in one of the default size. The rest it drops
// uncounted, so call Recv after every batch or two. A missing stamp does not
// prove that the message stayed.
//
//	ms[i].ID = number                        // before Send
//	n, lost, err := s.TransmitStamps(stamps) // after Recv: number and Time
//
// Without Options.Errors no error of an earlier message is ever pending on the
// socket, and a raw socket counts a message as sent that a queueing discipline
// drops. With it that is an error, ENOBUFS, of Send. On "udp4:icmp" it always is
// one, and on "udp6:ipv6-icmp" it never is: there only a missing
// stamp hints at it.
//
// All of them are a [transport.DropCounter]. While the receive buffer is full,
// packets that Types or the Filter would have discarded count too.
package icmp

import (
	"fmt"
	"net"

	"iomux/transport"
)

func init() {
	for _, f := range []*family{ip4, ip6} {
		transport.Register(f.raw, f.openRaw)
		transport.Register(f.ping, f.openPing)
	}
}

// Options are the [transport.Config] Options of the networks of this package.
type Options struct {
	// Types are the ICMP types to deliver, on a raw socket; none means all. The
	// kernel discards the others before they take room in the receive buffer
	// (ICMP_FILTER in raw(7), ICMP6_FILTER in RFC 3542, 3.2). For IPv4 it cannot
	// discard types above 31, which come in any case.
	Types []uint8
	// Stamps asks for kernel time stamps: Time of each received message, and
	// [transport.TransmitStamper] for those sent, by their ID.
	Stamps bool
	// Errors asks for [transport.ErrorReporter]. It also makes a raw socket
	// notice that a queueing discipline has dropped a message (ENOBUFS).
	Errors bool
	// Identifier is that of the echo requests whose errors are to be reported,
	// on a raw socket, which the kernel tells about those of all programs in
	// the network namespace. 0 lets all through.
	Identifier uint16
	// DontFragment never sends a message in fragments, not here and not on the
	// way: one that is too long for the interface is EMSGSIZE. What the kernel
	// knows about the path does not count (IP_PMTUDISC_PROBE in ip(7)).
	DontFragment bool
	// NoPacketInfo leaves Local, Ifindex and the flag Broadcast of what is received
	// unknown, and spares what they cost: IP_PKTINFO takes a look at the routes for
	// each packet.
	NoPacketInfo bool
	// Broadcast allows sending to broadcast addresses (SO_BROADCAST in socket(7));
	// without it that is EACCES. IPv6 has none, so that it changes nothing there.
	Broadcast bool
	// AnyLocal allows IPv6 messages from addresses that are this host's by nothing but
	// a local route (`ip -6 route add local PREFIX dev lo`), which the kernel takes
	// for others' as sources, EINVAL (IPV6_FREEBIND, Linux 4.15). Those of IPv4 may be
	// used in any case.
	AnyLocal bool
}

// check reads what is the networks' own in a Config.
func (f *family) check(network string, cfg *transport.Config) (Options, error) {
	if source := cfg.Source; source.IsValid() && !f.has(source) {
		return Options{}, openError(network, &net.AddrError{Addr: source.String(),
			Err: fmt.Sprintf("Config.Source is not an %s address", f.name)})
	} else if source.Zone() != "" {
		return Options{}, openError(network, &net.AddrError{Addr: source.String(),
			Err: "Config.Source has a zone: want the interface in Config.Interface"})
	}
	switch o := cfg.Options.(type) {
	case nil:
		return Options{}, nil
	case Options:
		return o, nil
	default:
		return Options{}, openError(network, fmt.Errorf("Config.Options is a %T: want icmp.Options", o))
	}
}

func openError(network string, err error) error {
	return &net.OpError{Op: "open", Net: network, Err: err}
}
