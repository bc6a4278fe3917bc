package sock

import (
	"encoding/binary"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// DecodeIPv6 fills m from the address and the control messages of an IPv6
// packet: Peer always, Local, Ifindex and the flag Broadcast with
// IPV6_RECVPKTINFO set, TTL with IPV6_RECVHOPLIMIT and TOS with
// IPV6_RECVTCLASS (ipv6(7), RFC 3542).
func DecodeIPv6(m *transport.Message, p *Packet) {
	m.Peer = p.addr6()
	for h, data := range p.each {
		if h.Level != unix.SOL_IPV6 {
			continue
		}
		switch {
		case h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			m.Local = netip.AddrFrom16([16]byte(data)).Unmap()
			m.Ifindex = int(int32(binary.NativeEndian.Uint32(data[16:])))
			if m.Local.IsMulticast() {
				m.Flags |= transport.Broadcast
			}
		case h.Type == unix.IPV6_HOPLIMIT && len(data) >= 4:
			m.TTL = uint8(binary.NativeEndian.Uint32(data))
		case h.Type == unix.IPV6_TCLASS && len(data) >= 4:
			m.TOS = uint8(binary.NativeEndian.Uint32(data))
		}
	}
}

// addr6 is the address of an IPv6 packet, the zero AddrPort if there is none.
func (p *Packet) addr6() netip.AddrPort {
	if p.nameLen < unix.SizeofSockaddrInet6 {
		return netip.AddrPort{}
	}
	sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(&p.name))
	port := (*[2]byte)(unsafe.Pointer(&sa.Port))
	return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), binary.BigEndian.Uint16(port[:]))
}

// EncodeIPv6 puts into p the destination and, where m has them, the source,
// the interface, the hop limit and the traffic class. The source of a message
// without one is the address given, and the kernel's choice if that is the zero
// Addr.
func EncodeIPv6(m *transport.Message, p *Packet, source netip.Addr) error {
	peer, local := m.Peer.Addr(), m.Local
	if !local.IsValid() {
		local = source
	}
	switch {
	case !peer.Is6() || peer.Is4In6():
		return &net.AddrError{Err: "the peer is not an IPv6 address", Addr: peer.String()}
	case local.IsValid() && (!local.Is6() || local.Is4In6()):
		return &net.AddrError{Err: "the local address is not an IPv6 address", Addr: local.String()}
	case peer.Zone() != "":
		return &net.AddrError{Err: "the peer has a zone: want the interface in Ifindex", Addr: peer.String()}
	case local.Zone() != "":
		return &net.AddrError{Err: "the local address has a zone: want the interface in Ifindex", Addr: local.String()}
	}
	ifindex := uint32(max(m.Ifindex, 0))
	sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(&p.name))
	*sa = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: peer.As16()}
	if peer.IsLinkLocalUnicast() || peer.IsLinkLocalMulticast() || peer.IsInterfaceLocalMulticast() {
		sa.Scope_id = ifindex // ping sockets do not look for it elsewhere
	}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], m.Peer.Port())
	p.nameLen = unix.SizeofSockaddrInet6

	if local.IsValid() || ifindex > 0 {
		data := p.append(unix.SOL_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
		clear(data)
		if local.IsValid() {
			*(*[16]byte)(data) = local.As16()
		}
		binary.NativeEndian.PutUint32(data[16:], ifindex)
	}
	if m.TTL > 0 {
		p.appendUint32(unix.SOL_IPV6, unix.IPV6_HOPLIMIT, uint32(m.TTL))
	}
	if m.TOS > 0 {
		p.appendUint32(unix.SOL_IPV6, unix.IPV6_TCLASS, uint32(m.TOS))
	}
	return nil
}
