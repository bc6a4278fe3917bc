package sock

import (
	"encoding/binary"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// DecodeIPv4 fills m from the address and the control messages of an IPv4
// packet: Peer always, Local, Ifindex and the flag Broadcast with IP_PKTINFO
// set, TTL with IP_RECVTTL and TOS with IP_RECVTOS (ip(7)).
func DecodeIPv4(m *transport.Message, p *Packet) {
	m.Peer = p.addr4()
	for h, data := range p.each {
		if h.Level != unix.SOL_IP {
			continue
		}
		switch {
		case h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			decodePktinfo(m, data)
		case h.Type == unix.IP_TTL && len(data) >= 4:
			m.TTL = uint8(binary.NativeEndian.Uint32(data))
		case h.Type == unix.IP_TOS && len(data) >= 1:
			m.TOS = data[0]
		}
	}
}

// addr4 is the address of an IPv4 packet, the zero AddrPort if there is none.
func (p *Packet) addr4() netip.AddrPort {
	if p.nameLen < unix.SizeofSockaddrInet4 {
		return netip.AddrPort{}
	}
	sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&p.name))
	port := (*[2]byte)(unsafe.Pointer(&sa.Port))
	return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), binary.BigEndian.Uint16(port[:]))
}

// decodePktinfo reads a struct in_pktinfo: interface, local address, address in
// the header. The last two differ where the packet was sent to a broadcast or
// multicast address.
func decodePktinfo(m *transport.Message, data []byte) {
	m.Ifindex = int(int32(binary.NativeEndian.Uint32(data)))
	local := netip.AddrFrom4([4]byte(data[4:8]))
	m.Local = netip.AddrFrom4([4]byte(data[8:12]))
	if m.Local != local {
		m.Flags |= transport.Broadcast
	}
}

// EncodeIPv4 puts into p the destination and, where m has them, the source,
// the interface, the time to live and the type of service. The source of a
// message without one is the address given, and the kernel's choice if that is
// the zero Addr.
func EncodeIPv4(m *transport.Message, p *Packet, source netip.Addr) error {
	peer, local := m.Peer.Addr(), m.Local
	if !local.IsValid() {
		local = source
	}
	switch {
	case !peer.Is4():
		return &net.AddrError{Err: "the peer is not an IPv4 address", Addr: peer.String()}
	case local.IsValid() && !local.Is4():
		return &net.AddrError{Err: "the local address is not an IPv4 address", Addr: local.String()}
	}
	sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&p.name))
	*sa = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: peer.As4()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], m.Peer.Port())
	p.nameLen = unix.SizeofSockaddrInet4

	if local.IsValid() || m.Ifindex > 0 {
		data := p.append(unix.SOL_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
		clear(data)
		binary.NativeEndian.PutUint32(data, uint32(max(m.Ifindex, 0)))
		if local.IsValid() {
			*(*[4]byte)(data[4:]) = local.As4()
		}
	}
	if m.TTL > 0 {
		p.appendUint32(unix.SOL_IP, unix.IP_TTL, uint32(m.TTL))
	}
	if m.TOS > 0 {
		p.appendUint32(unix.SOL_IP, unix.IP_TOS, uint32(m.TOS))
	}
	return nil
}
