package sock

import (
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// SetReceiveTime has the kernel say when it received each message, in
// nanoseconds (SO_TIMESTAMPNS in socket(7); the variant with 64-bit seconds of
// Linux 5.1). An older kernel says nothing.
func (s *Socket) SetReceiveTime() error {
	err := s.Set("SO_TIMESTAMPNS_NEW", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return nil
	}
	return err
}

// DecodeReceiveTime fills in Time where SetReceiveTime has asked for it.
func DecodeReceiveTime(m *transport.Message, p *Packet) {
	for h, data := range p.each {
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS_NEW && len(data) >= 16 {
			m.Time = time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:])))
		}
	}
}
