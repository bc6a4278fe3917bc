package icmp

import (
	"errors"
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

// openPing opens socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), or its like for
// IPv6, and binds it, so that the kernel chooses the identifier now and not
// with the first message.
func (f *family) openPing(network, address string, cfg *transport.Config) (transport.Transport, error) {
	if cfg == nil {
		cfg = &transport.Config{}
	}
	o, err := f.check(network, cfg)
	if err != nil {
		return nil, err
	}
	switch {
	case len(o.Types) > 0:
		return nil, openError(network, errors.New("Options.Types: want none, as a ping socket receives echo replies only"))
	case o.Identifier != 0:
		return nil, openError(network, errors.New("Options.Identifier: want 0, as the kernel chooses that of a ping socket"))
	}
	addr, err := f.parse(network, address)
	if err != nil {
		return nil, err
	}
	var translate sock.Format = &notToMany{format{f, cfg.Source, 0}}
	if f == ip6 {
		if source := cfg.Source; source.IsValid() {
			if addr != f.unspecified && addr.WithZone("") != source {
				return nil, openError(network, &net.AddrError{Addr: source.String(),
					Err: "Config.Source of an IPv6 ping socket that is bound to another address"})
			}
			if addr == f.unspecified {
				addr = source
			}
		}
		translate = &settled{format{f, cfg.Source, 0}, addr.WithZone("")}
	}
	s, err := f.open(sock.Spec{
		Network: network, Type: unix.SOCK_DGRAM, Format: translate,
		Denied: transport.PermissionError{
			Advice: "no group of the process is in net.ipv4.ping_group_range: set it by " +
				"`sudo sysctl net.ipv4.ping_group_range=\"0 2147483647\"`, " +
				`or use the network "` + f.raw + `", which needs CAP_NET_RAW instead`,
		},
	}, addr, cfg, func(s *sock.Socket) error {
		if err := f.receive(s, f.ttl, f.tos); err != nil {
			return err
		}
		return f.enable(s, o)
	})
	if err != nil {
		return nil, err
	}
	name, err := unix.Getsockname(s.FD())
	if err != nil {
		s.Close()
		return nil, openError(network, os.NewSyscallError("getsockname", err))
	}
	if v4, ok := name.(*unix.SockaddrInet4); ok {
		return &ping{s, uint16(v4.Port)}, nil
	}
	return &ping{s, uint16(name.(*unix.SockaddrInet6).Port)}, nil
}

// notToMany takes back the flag Broadcast. The kernel fills in no local address
// for an IPv4 ping socket, so that all replies look as if sent to many; it
// discards those that were.
type notToMany struct{ format }

func (f *notToMany) Decode(m *transport.Message, p *sock.Packet) {
	f.decode(m, p)
	m.Flags &^= transport.Broadcast
}

// settled is for the IPv6 ping socket, on which the kernel does not look at a
// message's source address (Linux 6.18): it sends from the one that the socket
// is bound to.
type settled struct {
	format
	bound netip.Addr // without its zone
}

func (f *settled) Encode(m *transport.Message, p *sock.Packet) error {
	if m.Local.IsValid() && m.Local != f.bound {
		return &net.AddrError{Err: "an IPv6 ping socket sends from no address but the one it is bound to", Addr: m.Local.String()}
	}
	return f.format.Encode(m, p)
}
