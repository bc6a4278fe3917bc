package icmp

import (
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

// ping is a ping socket. Its identifier takes the place of a port.
type ping struct {
	*sock.Socket
	identifier uint16
}

var _ transport.Identifier = (*ping)(nil)

// Identifier returns the identifier of all echo requests that the socket sends.
func (p *ping) Identifier() uint16 { return p.identifier }

// openPing opens socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP) and binds it, so
// that the kernel chooses the identifier now and not with the first message.
func openPing(network, address string, cfg *transport.Config) (transport.Transport, error) {
	if cfg == nil {
		cfg = &transport.Config{}
	}
	if cfg.Options != nil {
		return nil, optionsError(network, cfg.Options, "nil, as a ping socket receives echo replies only")
	}
	s, err := open(sock.Spec{
		Network: network, Domain: unix.AF_INET, Type: unix.SOCK_DGRAM, Protocol: unix.IPPROTO_ICMP,
		Format: &pingFormat{source: cfg.Source},
		Denied: transport.PermissionError{
			Advice: "no group of the process is in net.ipv4.ping_group_range: set it by " +
				"`sudo sysctl net.ipv4.ping_group_range=\"0 2147483647\"`, " +
				`or use the network "ip4:icmp", which needs CAP_NET_RAW instead`,
		},
	}, address, cfg, func(s *sock.Socket) error {
		for _, o := range [...]struct {
			name   string
			option int
		}{{"IP_PKTINFO", unix.IP_PKTINFO}, {"IP_RECVTTL", unix.IP_RECVTTL}, {"IP_RECVTOS", unix.IP_RECVTOS}} {
			if err := s.Set(o.name, unix.SOL_IP, o.option, 1); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	name, err := unix.Getsockname(s.FD())
	if err != nil {
		s.Close()
		return nil, openError(network, os.NewSyscallError("getsockname", err))
	}
	return &ping{s, uint16(name.(*unix.SockaddrInet4).Port)}, nil
}

// pingFormat is for messages without their IPv4 header.
type pingFormat struct {
	source netip.Addr
}

// Decode takes back the flag Broadcast. The kernel fills in no local address
// for a ping socket, so that all replies look as if sent to many; it discards
// those that were.
func (*pingFormat) Decode(m *transport.Message, p *sock.Packet) {
	sock.DecodeIPv4(m, p)
	m.Flags &^= transport.Broadcast
}

func (f *pingFormat) Encode(m *transport.Message, p *sock.Packet) error {
	return sock.EncodeIPv4(m, p, f.source)
}

func (*pingFormat) Addr(m *transport.Message) net.Addr { return peerAddr(m) }
