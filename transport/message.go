package transport

import (
	"net/netip"
	"time"
)

// Message is one packet and what belongs to it. The caller owns Buf and may
// use it again as soon as the call returns: a Transport keeps nothing.
type Message struct {
	// Buf is the space to receive into, or what holds the payload to send.
	Buf []byte
	// Off and N bound the payload: Buf[Off:Off+N], in bytes. Off is positive
	// where the kernel delivers a header in front of it.
	Off, N int
	// Peer is the other side: sender or destination. The port is 0 for ICMP; it
	// is the zero AddrPort for link-layer and byte devices. It never has a zone
	// (the scope is Ifindex) and is never a 4-in-6 address.
	Peer netip.AddrPort
	// Link is the link-layer address, on AF_PACKET only.
	Link LinkAddr
	// Local is the address that a received message was sent to, or the source
	// address to send from; the zero Addr leaves that to the kernel.
	Local netip.Addr
	// Ifindex is the interface that a message came in by or, if positive, is to
	// go out by (netdevice(7)).
	Ifindex int
	// TTL is the IPv4 time to live or IPv6 hop limit, and TOS the type of
	// service or traffic class, received or to send. Zero sends the default.
	TTL, TOS uint8
	// Time is when the kernel received the message (CLOCK_REALTIME), zero where
	// it does not say.
	Time time.Time
	// ID is the number under which a transmit time stamp or an error of a sent
	// message comes back, on transports that have those.
	ID uint32
	// Segment is the size of the datagrams that the payload is made of, in
	// bytes (UDP_SEGMENT and UDP_GRO in udp(7)); 0 means that it is one.
	Segment uint16
	// Flags tell about a received message.
	Flags Flags
}

// Flags tell about a received message.
type Flags uint8

const (
	// Truncated: the message was longer than Buf; the end of it is lost.
	Truncated Flags = 1 << iota
	// Broadcast: the message was sent to a broadcast or multicast address, so
	// that Local cannot be the source of an answer.
	Broadcast
)

// LinkAddr is a link-layer address as packet(7) has it.
type LinkAddr struct {
	Addr      [8]byte // the first Len bytes are the hardware address
	Len       uint8
	EtherType uint16 // in host byte order: 0x0800 is IPv4
	Type      uint8  // PACKET_HOST, PACKET_BROADCAST, ...
}

// Bytes returns the payload, Buf[Off:Off+N].
func (m *Message) Bytes() []byte { return m.Buf[m.Off : m.Off+m.N] }

// Reply turns a received message round, so that sending it answers: it goes to
// Peer from Local. The payload and its Segment stay for the caller to edit. What
// was true of the way here only is cleared: TTL, Time, ID and Flags; Ifindex,
// unless the peer is link-local or has a link-layer address only, and cannot be
// reached without it; and Local if it is a broadcast or multicast address, which nothing
// can be sent from. The TOS is kept, as an echo reply should have that of its
// request (RFC 1349, 5.1).
func (m *Message) Reply() {
	if m.Flags&Broadcast != 0 || m.Local.IsMulticast() || m.Local == limitedBroadcast {
		m.Local = netip.Addr{}
	}
	if m.Peer.IsValid() && !m.Peer.Addr().IsLinkLocalUnicast() {
		m.Ifindex = 0
	}
	m.TTL, m.Time, m.ID, m.Flags = 0, time.Time{}, 0, 0
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
