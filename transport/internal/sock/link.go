package sock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// TagSize is the length of a VLAN tag (IEEE 802.1Q, 9.3) in bytes, for which
// DecodeLink needs Headroom.
const TagSize = 4

// addrsSize is the length of the two addresses in front of the tag of an
// Ethernet frame.
const addrsSize = 12

// DecodeLink fills m from the address of a packet socket: Link, Ifindex and the
// flag Broadcast. Where PACKET_AUXDATA is set (packet(7)) it flags what a filter
// has cut off as Truncated, and puts a VLAN tag, which the kernel has taken out,
// back in its place in what follows: a whole Ethernet frame or, if it is not
// framed, what comes after EtherType.
func DecodeLink(m *transport.Message, p *Packet, framed bool) {
	if p.nameLen < unix.SizeofSockaddrLinklayer {
		return
	}
	sa := (*unix.RawSockaddrLinklayer)(unsafe.Pointer(&p.name))
	m.Ifindex = int(sa.Ifindex)
	m.Link = transport.LinkAddr{Addr: sa.Addr, Len: min(sa.Halen, uint8(len(sa.Addr))), EtherType: NetworkOrder(sa.Protocol), Type: sa.Pkttype}
	if sa.Pkttype == unix.PACKET_BROADCAST || sa.Pkttype == unix.PACKET_MULTICAST {
		m.Flags |= transport.Broadcast
	}
	for h, data := range p.each {
		if h.Level == unix.SOL_PACKET && h.Type == unix.PACKET_AUXDATA && len(data) >= int(unsafe.Sizeof(unix.TpacketAuxdata{})) {
			aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&data[0]))
			if aux.Snaplen < aux.Len {
				m.Flags |= transport.Truncated // by the filter
			}
			insertTag(m, aux, framed)
		}
	}
}

// insertTag puts the tag back: type, in place of that of the packet, and control
// information.
func insertTag(m *transport.Message, aux *unix.TpacketAuxdata, framed bool) {
	if aux.Status&unix.TP_STATUS_VLAN_VALID == 0 || m.Off < TagSize {
		return
	}
	tpid := aux.Vlan_tpid
	if aux.Status&unix.TP_STATUS_VLAN_TPID_VALID == 0 {
		tpid = unix.ETH_P_8021Q // from before Linux 3.14
	}
	start := m.Off - TagSize
	switch {
	case !framed:
		tag := m.Buf[start:m.Off]
		binary.BigEndian.PutUint16(tag, aux.Vlan_tci)
		binary.BigEndian.PutUint16(tag[2:], m.Link.EtherType)
	case m.N >= addrsSize:
		copy(m.Buf[start:], m.Buf[m.Off:m.Off+addrsSize])
		tag := m.Buf[start+addrsSize:]
		binary.BigEndian.PutUint16(tag, tpid)
		binary.BigEndian.PutUint16(tag[2:], aux.Vlan_tci)
	default:
		return // cut off in front of it
	}
	m.Off, m.N, m.Link.EtherType = start, m.N+TagSize, tpid
}

// EncodeLink puts into p where m goes: through its interface or the one given,
// to its hardware address, under its EtherType or the one given. What is framed
// has the last two in its header.
func EncodeLink(m *transport.Message, p *Packet, ifindex int, etherType uint16, framed bool) error {
	if m.Ifindex > 0 {
		ifindex = m.Ifindex
	}
	if m.Link.EtherType != 0 {
		etherType = m.Link.EtherType
	}
	switch {
	case m.Peer.IsValid():
		return fmt.Errorf("Message.Peer is %v: want the zero AddrPort, and the hardware address in Link", m.Peer)
	case ifindex == 0:
		return errors.New("Message.Ifindex is 0: want an interface, as the transport is open on all of them")
	case m.Link.Len > uint8(len(m.Link.Addr)):
		return fmt.Errorf("Message.Link.Len is %d: an address has at most %d bytes", m.Link.Len, len(m.Link.Addr))
	case etherType == 0 && !framed:
		return errors.New("Message.Link.EtherType is 0: want what the payload is, 0x0800 for IPv4")
	}
	if framed {
		etherType = 0 // the kernel looks into the frame
	}
	sa := (*unix.RawSockaddrLinklayer)(unsafe.Pointer(&p.name))
	*sa = unix.RawSockaddrLinklayer{Family: unix.AF_PACKET, Protocol: NetworkOrder(etherType), Ifindex: int32(ifindex), Halen: m.Link.Len, Addr: m.Link.Addr}
	p.nameLen = unix.SizeofSockaddrLinklayer
	return nil
}

// NetworkOrder converts from host to network byte order, and back.
func NetworkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
