package icmp

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

// openRaw opens socket(AF_INET, SOCK_RAW, IPPROTO_ICMP). Textbooks have PF_INET
// there, which is the same number.
func openRaw(network, address string, cfg *transport.Config) (transport.Transport, error) {
	if cfg == nil {
		cfg = &transport.Config{}
	}
	var blocked uint32 // bit n is set: type n is discarded
	switch o := cfg.Options.(type) {
	case nil:
	case Options:
		blocked = block(o.Types)
	default:
		return nil, optionsError(network, o, "icmp.Options")
	}
	s, err := open(sock.Spec{
		Network: network, Domain: unix.AF_INET, Type: unix.SOCK_RAW, Protocol: unix.IPPROTO_ICMP,
		Format: &rawFormat{source: cfg.Source},
		Denied: transport.PermissionError{
			Capability: "CAP_NET_RAW",
			Advice:     sock.Grant("CAP_NET_RAW") + `, or use the network "udp4:icmp" if replies are all that is wanted`,
		},
	}, address, cfg, func(s *sock.Socket) error {
		if err := s.Set("IP_PKTINFO", unix.SOL_IP, unix.IP_PKTINFO, 1); err != nil {
			return err
		}
		return s.Set("ICMP_FILTER", unix.SOL_RAW, unix.ICMP_FILTER, int(int32(blocked)))
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// block returns the ICMP_FILTER that delivers these types.
func block(types []uint8) uint32 {
	if len(types) == 0 {
		return 0
	}
	var pass uint32
	for _, t := range types {
		pass |= 1 << t // nothing is left of it above 31
	}
	return ^pass
}

// rawFormat is for messages with their IPv4 header when received and without
// it when sent.
type rawFormat struct {
	source netip.Addr
}

// Decode reads the header (RFC 791, 3.1). A Buf that is too short for it gets
// what there is of it, and no payload.
func (*rawFormat) Decode(m *transport.Message, p *sock.Packet) {
	sock.DecodeIPv4(m, p)
	header := m.Buf[:m.N]
	if len(header) > 0 {
		m.Off = min(int(header[0]&0x0f)*4, m.N)
	}
	m.N -= m.Off
	if len(header) >= 20 {
		m.TOS, m.TTL = header[1], header[8]
	}
}

func (f *rawFormat) Encode(m *transport.Message, p *sock.Packet) error {
	if m.N < 2 { // the kernel, which looks for type and code, would say EFAULT
		return fmt.Errorf("an ICMP message of %d bytes has no type and code", m.N)
	}
	return sock.EncodeIPv4(m, p, f.source)
}

func (*rawFormat) Addr(m *transport.Message) net.Addr { return peerAddr(m) }
