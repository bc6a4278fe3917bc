package udp

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

// open opens socket(AF_INET or AF_INET6, SOCK_DGRAM, 0).
func open(network, address string, cfg *transport.Config) (transport.Transport, error) {
	if cfg == nil {
		cfg = &transport.Config{}
	}
	var o Options
	switch options := cfg.Options.(type) {
	case nil:
	case Options:
		o = options
	default:
		return nil, openError(network, nil, fmt.Errorf("Config.Options is a %T: want udp.Options", options))
	}
	f := families[network]
	local, err := f.parse(address)
	if err != nil {
		return nil, openError(network, nil, &net.AddrError{Addr: address, Err: err.Error()})
	}
	if s := cfg.Source; s.IsValid() && (!f.has(s) || s.Zone() != "") {
		return nil, openError(network, nil, &net.AddrError{Addr: s.String(),
			Err: fmt.Sprintf("Config.Source is not %s address without a zone", f.name)})
	}
	s, err := sock.Open(sock.Spec{
		Network: network, Domain: f.domain, Type: unix.SOCK_DGRAM,
		Format: &format{family: f, source: cfg.Source},
	}, cfg)
	if err != nil {
		return nil, err
	}
	c := &conn{Socket: s, parts: make([]transport.Message, s.BatchSize())}
	if err := c.start(f, o, local, cfg); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// start sets the options, binds and lets datagrams in.
func (c *conn) start(f *family, o Options, local netip.AddrPort, cfg *transport.Config) error {
	options := f.options
	if o.ReusePort {
		options = append([]option{{"SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}}, options...)
	}
	for _, o := range options {
		if o.number == unix.IPV6_V6ONLY && o.level == unix.SOL_IPV6 && len(cfg.Files) > 0 && c.settled() {
			continue
		}
		if err := c.Set(o.name, o.level, o.number, o.value); err != nil {
			return err
		}
	}
	if err := c.SetReceiveTime(); err != nil {
		return err
	}
	c.probe(o.GRO)
	sa, err := f.sockaddr(local)
	if err != nil {
		return openError(f.network, net.UDPAddrFromAddrPort(local), err)
	}
	if err := unix.Bind(c.FD(), sa); err != nil && !c.Bound(sa) {
		return bindError(f.network, local, err)
	}
	if c.local, err = c.name(); err != nil {
		return openError(f.network, nil, err)
	}
	if err := c.Start(cfg); err != nil {
		return err
	}
	c.dropped, err = c.Socket.Dropped()
	return err
}

// settled tells whether the socket is bound to one IPv6 address, by which the kernel
// has decided that it gets no IPv4, whatever it was told.
func (c *conn) settled() bool {
	local, err := c.name()
	return err == nil && local.Addr().Is6() && !local.Addr().IsUnspecified()
}

// name is the address that the socket is bound to.
func (c *conn) name() (netip.AddrPort, error) {
	sa, err := unix.Getsockname(c.FD())
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port)), nil
	}
	return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
}

// parse reads the address to listen on.
func (f *family) parse(address string) (netip.AddrPort, error) {
	if address == "" {
		return netip.AddrPortFrom(f.unspecified, 0), nil
	}
	host, service, err := net.SplitHostPort(address)
	port, portErr := strconv.ParseUint(service, 10, 16)
	addr := f.unspecified
	if err == nil && host != "" {
		addr, err = netip.ParseAddr(host)
	}
	if err != nil || portErr != nil || !f.has(addr) {
		return netip.AddrPort{}, fmt.Errorf(`want %s address and a port to listen on, %q for instance, ":7" for every address, or ""`, f.name, f.example)
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}

// bindError is about an address to listen on, with what would be right.
func bindError(network string, local netip.AddrPort, err error) error {
	err = os.NewSyscallError("bind", err)
	if errors.Is(err, fs.ErrPermission) {
		err = &transport.PermissionError{Capability: "CAP_NET_BIND_SERVICE", Err: err,
			Advice: sock.Grant("CAP_NET_BIND_SERVICE") + "; ports from net.ipv4.ip_unprivileged_port_start on, usually 1024, need none"}
	}
	return openError(network, net.UDPAddrFromAddrPort(local), err)
}

func openError(network string, addr net.Addr, err error) error {
	return &net.OpError{Op: "open", Net: network, Addr: addr, Err: err}
}
