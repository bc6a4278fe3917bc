package slip

import (
	"encoding/binary"
	"net/netip"

	"iomux/transport"
)

// The IPv4 header, without options (RFC 791, 3.1).
const (
	headerLen    = 20
	dontFragment = 0x4000
	moreOrOffset = 0x3fff // more fragments, or not the first
	defaultTTL   = 64
	icmp         = 1
)

// encode makes the frame of a message, with an end in front that cuts off
// whatever the line had on it before (RFC 1055).
func (l *line) encode(frame []byte, m *transport.Message) []byte {
	from, ttl := m.Local, m.TTL
	if !from.IsValid() {
		from = l.local
	}
	if ttl == 0 {
		ttl = defaultTTL
	}
	var header [headerLen]byte
	header[0], header[1] = 0x45, m.TOS
	binary.BigEndian.PutUint16(header[2:], uint16(headerLen+m.N))
	binary.BigEndian.PutUint16(header[6:], dontFragment)
	header[8], header[9] = ttl, icmp
	source, destination := from.As4(), m.Peer.Addr().As4()
	copy(header[12:], source[:])
	copy(header[16:], destination[:])
	binary.BigEndian.PutUint16(header[10:], checksum(header[:]))
	frame = appendEscaped(append(frame, end), header[:])
	return append(appendEscaped(frame, m.Bytes()), end)
}

// intact tells a whole packet that carries ICMP from everything else.
func intact(p []byte) bool {
	if len(p) < headerLen || p[0]>>4 != 4 {
		return false
	}
	n := int(p[0]&0xf) * 4
	return n >= headerLen && n <= len(p) && checksum(p[:n]) == 0 &&
		int(binary.BigEndian.Uint16(p[2:])) == len(p) &&
		binary.BigEndian.Uint16(p[6:])&moreOrOffset == 0 && p[9] == icmp
}

// fill makes a message of an intact packet.
func fill(m *transport.Message, p []byte) {
	header := int(p[0]&0xf) * 4
	n := copy(m.Buf, p)
	off := min(header, n)
	*m = transport.Message{
		Buf: m.Buf, Off: off, N: n - off,
		Peer:  netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[12:16])), 0),
		Local: netip.AddrFrom4([4]byte(p[16:20])),
		TOS:   p[1], TTL: p[8],
	}
	if n < len(p) {
		m.Flags = transport.Truncated
	}
}

// checksum is that of RFC 1071; of a header that contains its own it is 0.
func checksum(header []byte) uint16 {
	var sum uint32
	for i := 0; i < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
