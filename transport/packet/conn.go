package packet

import (
	"errors"
	"net"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

// conn is a packet socket.
type conn struct {
	*sock.Socket
	format format
}

var (
	_ transport.Framer      = (*conn)(nil)
	_ transport.DropCounter = (*conn)(nil)
)

// Framing tells the networks apart.
func (c *conn) Framing() transport.Framing {
	if c.format.framed {
		return transport.Ethernet
	}
	return transport.IPPacket
}

// format is for messages with link-layer addresses.
type format struct {
	framed    bool   // with an Ethernet header
	ifindex   int    // of messages that name none
	etherType uint16 // likewise
	ethernet  bool   // the interface is one
}

func (f *format) Decode(m *transport.Message, p *sock.Packet) {
	sock.DecodeLink(m, p, f.framed)
	sock.DecodeReceiveTime(m, p)
}

func (f *format) Encode(m *transport.Message, p *sock.Packet) error {
	if f.ethernet && !f.framed && m.Link.Len == 0 {
		return errNoAddr // the kernel would say that it was sent
	}
	return sock.EncodeLink(m, p, f.ifindex, f.etherType, f.framed)
}

var errNoAddr = errors.New("Message.Link.Len is 0: want a hardware address, as the interface is an Ethernet")

// Addr is the hardware address of the peer, nil if it has none.
func (*format) Addr(m *transport.Message) net.Addr {
	if m.Link.Len == 0 || int(m.Link.Len) > len(m.Link.Addr) {
		return nil
	}
	return hardwareAddr(m.Link.Addr[:m.Link.Len])
}

// hardwareAddr is a net.HardwareAddr as a net.Addr.
type hardwareAddr net.HardwareAddr

func (hardwareAddr) Network() string  { return "packet" }
func (a hardwareAddr) String() string { return net.HardwareAddr(a).String() }
