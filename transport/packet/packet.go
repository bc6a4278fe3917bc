// Package packet sends and receives what an interface carries, below IP, through
// packet sockets (packet(7)).
//
// It is for monitors, for protocols without a socket of their own, and for
// probers that build their packets themselves. It needs CAP_NET_RAW. Importing
// it registers two networks:
//
//   - "packet" is what the link layer carries: the payload of a message is an
//     IP packet, or whatever Link.EtherType says. The kernel takes off the
//     link-layer header and, from Link, makes one for what is sent. It delivers
//     no frame without a payload.
//   - "packet:raw" is whole Ethernet frames, without the frame check sequence.
//     Of Link only what is received is used.
//
// The address is the name of an interface, or "" for all of them; what is sent
// then has to have an Ifindex.
//
//	t, err := transport.Open("packet", "eth0", &transport.Config{
//		Options: packet.Options{EtherType: 0x0800},
//	})
//	if err != nil {
//		return err
//	}
//	defer t.Close()
//	ms := []transport.Message{{Buf: make([]byte, 1<<16)}}
//	n, err := t.Recv(ms) // 0, nil until t.FD() is readable
//	for i := range ms[:n] {
//		fmt.Printf("from % x: % x\n", ms[i].Link.Addr[:ms[i].Link.Len], ms[i].Bytes())
//	}
//
// Link and Ifindex are received; Link is the sender's address, so that an
// answer goes there. Type in it tells what came for this host from what did not
// (PACKET_OTHERHOST). Time is received. Peer is the zero AddrPort, and has to be
// of what is sent; the other fields about IP are not used.
//
// # What the kernel does to packets
//
// A VLAN tag, which the kernel or the network card takes out before anybody
// sees the packet, is put back: a frame of "packet:raw" is as it was on the wire.
// For "packet" EtherType is then that of the tag, 0x8100, and the payload begins
// with the tag's control information and the EtherType of the packet behind it,
// two bytes each. (It has room for one tag: frames with two are for
// "packet:raw".) Off is 4 where there was none, for that is its place. A filter
// runs before that: it sees no tag, but can ask for it (bpf.ExtVLANTag).
//
// The kernel may have joined what came in several packets (generic receive
// offload), so that a message is longer than the MTU, up to 64 KiB as a rule.
// Packets from this host, or from another that shares its memory (veth(4)), may
// have transport checksums that nobody has filled in.
//
// # What comes, and what does not
//
// The filter of the Config is in force before anything is received: for "packet"
// it sees the payload, for "packet:raw" the frame. If it keeps only the beginning
// of a packet, that is flagged Truncated. What this host sends is not
// received unless Options ask for it (PACKET_IGNORE_OUTGOING, Linux 4.20); what
// one program sends to another on the loopback interface is incoming as well.
// Packets dropped because the receive buffer is full are counted
// ([transport.DropCounter]).
//
// When the interface goes down the next Recv reports ENETDOWN, once, and each
// Send does. Once it is up again both go on. An interface that is down cannot be
// opened. One that is deleted is ENETDOWN once, too, and gone for good: nothing is
// received any more, and each Send is ENXIO. Close the transport then. On a
// transport for all interfaces Recv reports neither.
//
// A full send buffer is 0, nil of Send. A queueing discipline that drops what is
// sent is ENOBUFS. To an Ethernet "packet" sends nothing without a hardware
// address: Link.Len is 6, or Send says so.
//
// Of the Config, Interface is refused, since that is the address, and so are
// Source and more than one of Queues; see [Fanout].
package packet

import "iomux/transport"

func init() {
	transport.Register("packet", open)
	transport.Register("packet:raw", open)
}

// Options are the [transport.Config] Options of this package's networks.
type Options struct {
	// EtherType is the protocol to receive (IEEE 802 numbers, 0x0800 for IPv4),
	// with a VLAN tag in front of it or without, and to send where a message
	// names none; 0 is every protocol. A filter in front of that of the Config
	// sorts it out, since sockets for one protocol lose the tags.
	EtherType uint16
	// Promiscuous has the interface receive what is not addressed to it
	// (PACKET_MR_PROMISC), for as long as the transport is open.
	Promiscuous bool
	// Outgoing also receives what this host sends.
	Outgoing bool
	// Fanout shares what is received with other transports.
	Fanout Fanout
}

// Fanout makes transports a group, each packet for which goes to one of them
// (PACKET_FANOUT in packet(7), Linux 3.1). All of them have the same address,
// EtherType, Outgoing and Mode, and are of one network namespace. What would go
// to a transport that is just being opened is lost.
type Fanout struct {
	Group uint16
	Mode  FanoutMode
}

// FanoutMode is the way in which a packet's transport is chosen.
type FanoutMode uint8

// The modes. Zero is no fan-out.
const (
	Hash     FanoutMode = iota + 1 // by flow, of which it keeps the order
	LB                             // one after the other
	CPU                            // by the processor that received it
	Rollover                       // the first whose buffer is not full
	Random                         // by chance
	QM                             // by the receive queue of the network card
)

func (m FanoutMode) String() string {
	if m > QM {
		return "unknown"
	}
	return [...]string{"none", "hash", "lb", "cpu", "rollover", "random", "qm"}[m]
}
