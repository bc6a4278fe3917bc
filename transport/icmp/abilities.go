package icmp

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

// enable switches on what raw sockets and ping sockets have in common.
func (f *family) enable(s *sock.Socket, o Options) error {
	if !o.NoPacketInfo {
		if err := f.receive(s, f.info); err != nil {
			return err
		}
	}
	if o.Stamps {
		s.SetStamps()
	}
	if o.Errors {
		s.SetErrors(func(r *transport.ErrorReport) bool { return o.Identifier == 0 || f.quotes(r, o.Identifier) })
	}
	if o.Broadcast {
		if err := s.Set("SO_BROADCAST", unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
			return err
		}
	}
	if o.AnyLocal && f == ip6 {
		if err := s.Set("IPV6_FREEBIND", unix.SOL_IPV6, unix.IPV6_FREEBIND, 1); err != nil {
			return err
		}
	}
	if !o.DontFragment {
		return nil
	}
	if f == ip4 {
		return s.Set("IP_MTU_DISCOVER", unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
	}
	return s.Set("IPV6_MTU_DISCOVER", unix.SOL_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
}

// quotes tells whether the report is about an echo request with the identifier.
func (f *family) quotes(r *transport.ErrorReport, identifier uint16) bool {
	q := r.Quote()
	return len(q) >= 6 && q[0] == f.request && binary.BigEndian.Uint16(q[4:]) == identifier
}
