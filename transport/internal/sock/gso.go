package sock

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// DecodeSegment fills in Segment where the kernel has joined datagrams, which it
// does with UDP_GRO set (udp(7), Linux 5.0).
func DecodeSegment(m *transport.Message, p *Packet) {
	for h, data := range p.each {
		if h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 4 {
			m.Segment = uint16(binary.NativeEndian.Uint32(data))
		}
	}
}

// EncodeSegment has the kernel cut the payload of m into datagrams if it is more
// than one (UDP_SEGMENT in udp(7), Linux 4.18).
func EncodeSegment(m *transport.Message, p *Packet) {
	if Segmented(m) {
		binary.NativeEndian.PutUint16(p.append(unix.SOL_UDP, unix.UDP_SEGMENT, 2), m.Segment)
	}
}

// Segmented tells whether m is several datagrams.
func Segmented(m *transport.Message) bool { return m.Segment > 0 && m.N > int(m.Segment) }
