package tun_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/transporttest"
	"iomux/transport/tun"
)

// experimental is a protocol that the kernel has no use for (RFC 3692).
const experimental = 253

// TestConformance runs the suite between a device and the kernel's side of it,
// which is a raw socket that sends and receives whole packets.
func TestConformance(t *testing.T) {
	quietly(t)
	lab, pairs := wiretest.Lab(t), 0
	transporttest.Run(t, transporttest.Subject{
		Network: "tun",
		Open: func(cfg *transport.Config) (p transporttest.Pair, err error) {
			if cfg == nil {
				cfg = &transport.Config{}
			}
			pairs++ // each has a prefix of its own, of which the kernel has .1 and we .2
			kernel := netip.AddrFrom4([4]byte{10, 9, byte(pairs), 1})
			us := kernel.Next()
			mine := *cfg
			mine.Options = tun.Options{Addrs: []netip.Prefix{netip.PrefixFrom(kernel, 24)}, MTU: longest}
			if p.A, err = transport.Open("tun", "", &mine); err != nil {
				return p, err
			}
			if p.B, err = openRaw(kernel); err != nil {
				p.A.Close()
				return p, err
			}
			p.ToB = func(seq, size int) transport.Message {
				return wiretest.Message(ipv4(experimental, us, kernel, seq, size))
			}
			p.ToA = func(seq, size int) transport.Message {
				m := wiretest.Message(ipv4(experimental, kernel, us, seq, size))
				m.Peer = netip.AddrPortFrom(us, 0)
				return m
			}
			return p, nil
		},
		MinSize: 20, MaxSize: longest,
		Answer: turnRound,
		Unsendable: func(p transporttest.Pair) []transport.Message {
			odd, addressed := p.ToB(0, 20), p.ToB(0, 20)
			odd.Buf[0] = 0x55
			addressed.Peer = netip.MustParseAddrPort("192.0.2.1:0")
			return []transport.Message{{}, odd, addressed, p.ToB(0, 19), p.ToB(0, longest+1)}
		},
		Deny: transporttest.WithoutCapabilities(unix.CAP_NET_ADMIN),
		SetLink: func(p transporttest.Pair, up bool) error {
			d := p.A.(*tun.Device)
			if up {
				return d.Up()
			}
			return lab.SetLink(d.Name(), false)
		},
		Without: map[string]string{
			"empty_message":                   "a packet has a header",
			"filter_before_the_first_message": "the kernel filters no packets for a TUN device",
			"short_send_then_writable":        "the kernel takes each packet at once",
			"enobufs_blocks_or_is_an_error":   "the kernel takes each packet at once",
			"pending_error_reported_once":     "a write fails for its own packet only",
		},
	})
}

// longest is the length of the longest IPv4 packet.
const longest = 65535

// raw is a raw socket that sends and receives IPv4 packets with their header.
type raw struct{ fd int }

func openRaw(local netip.Addr) (*raw, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, experimental)
	if err != nil {
		return nil, fmt.Errorf("raw socket: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_HDRINCL, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: local.As4()})
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("raw socket of %v: %w", local, err)
	}
	return &raw{fd}, nil
}

func (r *raw) FD() int        { return r.fd }
func (r *raw) BatchSize() int { return 1 }

func (r *raw) Recv(ms []transport.Message) (int, error) {
	if r.fd < 0 {
		return 0, net.ErrClosed
	}
	if len(ms) == 0 {
		return 0, nil
	}
	n, from, err := unix.Recvfrom(r.fd, ms[0].Buf, 0)
	if err != nil {
		return 0, unlessBlocked(err)
	}
	peer := netip.AddrFrom4(from.(*unix.SockaddrInet4).Addr)
	ms[0] = transport.Message{Buf: ms[0].Buf, N: n, Peer: netip.AddrPortFrom(peer, 0)}
	return 1, nil
}

func (r *raw) Send(ms []transport.Message) (int, error) {
	if r.fd < 0 {
		return 0, net.ErrClosed
	}
	if len(ms) == 0 {
		return 0, nil
	}
	to := &unix.SockaddrInet4{Addr: ms[0].Peer.Addr().As4()}
	if err := unix.Sendto(r.fd, ms[0].Bytes(), 0, to); err != nil {
		return 0, unlessBlocked(err)
	}
	return 1, nil
}

func unlessBlocked(err error) error {
	if err == unix.EAGAIN || err == unix.EINTR {
		return nil
	}
	return err
}

func (r *raw) Close() error {
	if r.fd < 0 {
		return net.ErrClosed
	}
	err := unix.Close(r.fd)
	r.fd = -1
	return err
}
