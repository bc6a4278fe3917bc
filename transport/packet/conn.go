package packet

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

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

// Recv is that of the socket. The kernel does not tell an interface that is off
// from one that is deleted.
func (c *conn) Recv(ms []transport.Message) (int, error) {
	n, err := c.Socket.Recv(ms)
	if errors.Is(err, unix.ENETDOWN) {
		err = explain(err, "the interface is off or, for good, deleted: Send tells which")
	}
	return n, err
}

// Send is that of the socket.
func (c *conn) Send(ms []transport.Message) (int, error) {
	n, err := c.Socket.Send(ms)
	if errors.Is(err, unix.ENXIO) {
		why := "the interface has been deleted: close the transport"
		if i := ms[0].Ifindex; i > 0 && i != c.format.ifindex {
			why = fmt.Sprintf("Message.Ifindex is %d: there is no such interface", i)
		}
		err = explain(err, why)
	}
	return n, err
}

// explain adds to an error of the socket what it means.
func explain(err error, why string) error {
	if op, ok := err.(*net.OpError); ok {
		op.Err = fmt.Errorf("%w (%s)", op.Err, why)
	}
	return err
}

// format is for messages with link-layer addresses.
type format struct {
	framed    bool   // with an Ethernet header
	ifindex   int    // of messages that name none
	etherType uint16 // likewise
	fd        int    // of the socket
	plain     int    // an interface that is no Ethernet, 0 if none is known
}

func (f *format) Decode(m *transport.Message, p *sock.Packet) {
	sock.DecodeLink(m, p, f.framed)
	sock.DecodeReceiveTime(m, p)
}

func (f *format) Encode(m *transport.Message, p *sock.Packet) error {
	if err := sock.EncodeLink(m, p, f.ifindex, f.etherType, f.framed); err != nil {
		return err
	}
	if f.framed || m.Link.Len == ethernetAddr {
		return nil
	}
	return f.short(m)
}

// ethernetAddr is the length of an Ethernet address.
const ethernetAddr = 6

// short is the error of a message without an address where there has to be one.
// The kernel would take the bytes of Addr for one, whatever its length, and say that
// the message was sent. That an interface needs none is remembered, so that it is
// not asked about for every message.
func (f *format) short(m *transport.Message) error {
	ifindex := f.ifindex
	if m.Ifindex > 0 {
		ifindex = m.Ifindex
	}
	if ifindex == f.plain {
		return nil
	}
	hardware, err := f.hardware(ifindex)
	switch {
	case err != nil: // sendmmsg(2) says that as well
	case hardware == unix.ARPHRD_ETHER:
		return fmt.Errorf("Message.Link.Len is %d: want %d and a hardware address, as interface %d is an Ethernet", m.Link.Len, ethernetAddr, ifindex)
	default:
		f.plain = ifindex
	}
	return nil
}

// hardware is the type of an interface (ARPHRD_ in linux/if_arp.h).
func (f *format) hardware(ifindex int) (uint16, error) {
	r, err := unix.NewIfreq("")
	if err != nil {
		return 0, err
	}
	r.SetUint32(uint32(ifindex))
	for _, request := range []uint{unix.SIOCGIFNAME, unix.SIOCGIFHWADDR} { // netdevice(7)
		if err := unix.IoctlIfreq(f.fd, request, r); err != nil {
			return 0, err
		}
	}
	return r.Uint16(), nil
}

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
