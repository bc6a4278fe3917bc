package icmp

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

// openRaw opens socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) or socket(AF_INET6,
// SOCK_RAW, IPPROTO_ICMPV6). Textbooks have PF_INET there, which is the same
// number.
func (f *family) openRaw(network, address string, cfg *transport.Config) (transport.Transport, error) {
	if cfg == nil {
		cfg = &transport.Config{}
	}
	o, err := f.check(network, cfg)
	if err != nil {
		return nil, err
	}
	addr, err := f.parse(network, address)
	if err != nil {
		return nil, err
	}
	var translate sock.Format = &format{f, cfg.Source, 2}
	if f == ip4 {
		translate = &headed{format{f, cfg.Source, 2}}
	}
	s, err := f.open(sock.Spec{
		Network: network, Type: unix.SOCK_RAW, Format: translate,
		Denied: transport.PermissionError{
			Capability: "CAP_NET_RAW",
			Advice:     sock.Grant("CAP_NET_RAW") + `, or use the network "` + f.ping + `" if replies are all that is wanted`,
		},
	}, addr, cfg, func(s *sock.Socket) error {
		if err := f.deliver(s, o.Types, len(cfg.Files) > 0); err != nil {
			return err
		}
		if f == ip6 { // without the header that would say it
			if err := f.receive(s, f.ttl, f.tos); err != nil {
				return err
			}
		}
		return f.enable(s, o)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// deliver asks for these ICMP types, or for all if there are none. A socket that
// was adopted may have been asked for others.
func (f *family) deliver(s *sock.Socket, types []uint8, adopted bool) error {
	var pass [256 / 32]uint32 // bit n is set: type n is delivered
	if len(types) == 0 {
		if !adopted {
			return nil
		}
		for i := range pass {
			pass[i] = math.MaxUint32
		}
	}
	for _, t := range types {
		pass[t/32] |= 1 << (t % 32)
	}
	var block []byte // the kernel wants the opposite
	for _, word := range pass {
		block = binary.NativeEndian.AppendUint32(block, ^word)
	}
	if f == ip4 {
		return s.SetBytes("ICMP_FILTER", unix.SOL_RAW, unix.ICMP_FILTER, block[:4])
	}
	return s.SetBytes("ICMP6_FILTER", unix.SOL_ICMPV6, unix.ICMPV6_FILTER, block)
}

// headed is for messages with their IPv4 header when received and without it
// when sent.
type headed struct{ format }

// Decode reads the header (RFC 791, 3.1). A Buf that is too short for it gets
// what there is of it, and no payload.
func (f *headed) Decode(m *transport.Message, p *sock.Packet) {
	f.decode(m, p)
	header := m.Buf[:m.N]
	if len(header) > 0 {
		m.Off = min(int(header[0]&0x0f)*4, m.N)
	}
	m.N -= m.Off
	if len(header) >= 20 {
		m.TOS, m.TTL = header[1], header[8]
	}
}
