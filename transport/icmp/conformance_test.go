package icmp_test

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/netlab"
	"iomux/transport/transporttest"
)

// The suite runs over a cable to another namespace, where a raw socket is the
// other end. The kernels answer nothing.
func TestConformance(t *testing.T) {
	near := lab(t)
	silenceKernel(t)
	if err := near.SetPingGroups(0, 0); err != nil {
		t.Fatal(err)
	}
	far := cable(t)
	if err := far.SetEchoReplies(false); err != nil {
		t.Fatal(err)
	}
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) { transporttest.Run(t, subject(t, n, far)) })
	}
}

func subject(t *testing.T, n network, far *netlab.Namespace) transporttest.Subject {
	const shortest = icmpHeader // the kernel delivers nothing below that
	s := transporttest.Subject{
		Network: n.name, Header: n.header, Reporting: icmp.Options{Stamps: true, Errors: true}, MinSize: shortest, MaxSize: n.longest,
		Without: map[string]string{
			"empty_message":               "an ICMP message has a header of 8 bytes",
			"order_kept":                  "IP promises no order: packets on one processor may overtake those on another",
			"pending_error_reported_once": "without IP_RECVERR no error of an earlier message is reported",
		},
		Unsendable: func(p transporttest.Pair) []transport.Message {
			nowhere, broken := p.ToB(0, shortest), p.ToB(0, shortest)
			nowhere.Peer = netip.AddrPort{}
			broken.Peer = netip.AddrPortFrom(n.refused, 0)
			return []transport.Message{p.ToB(0, n.longest+1), nowhere, broken}
		},
		Hold: func(transporttest.Pair) (func() error, error) {
			release := hold(t)
			return func() error { release(); return nil }, nil
		},
		SetLink: func(_ transporttest.Pair, up bool) error { return setLink("near", up) },
		Normalize: func(payload []byte) {
			if n.v6 { // the kernel fills in the checksum, which takes in the addresses
				payload[2], payload[3] = 0, 0
			}
		},
	}
	// echo makes messages of a kind, their number in the sequence number.
	echo := func(kind uint8, to netip.Addr, id uint16) func(seq, size int) transport.Message {
		return func(seq, size int) transport.Message {
			return message(kind, to, id, uint16(seq), pattern(size-icmpHeader))
		}
	}
	s.Open = func(cfg *transport.Config) (p transporttest.Pair, err error) {
		err = far.Do(func() error {
			p.B, err = transport.Open(n.raw, "", only(n.request, n.reply))
			return err
		})
		if err != nil {
			return p, err
		}
		if p.A, err = transport.Open(n.name, "", n.config(cfg)); err != nil {
			p.B.Close()
			return p, err
		}
		answer, id := n.request, uint16(1)
		if n.isPing() {
			answer, id = n.reply, p.A.(transport.Identifier).Identifier()
		}
		p.ToB, p.ToA = echo(n.request, n.far, id), echo(answer, n.near, id)
		return p, nil
	}
	s.Starve = func(p transporttest.Pair) (transport.Message, func() error, error) {
		buffer := func(size int) error {
			return unix.SetsockoptInt(p.A.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, size)
		}
		return p.ToB(0, 60_000), func() error { return buffer(1 << 17) }, buffer(1)
	}
	if n.isPing() {
		s.Without["echo_in_place"] = "a ping socket receives no requests"
		s.Deny = func(open func()) error { // in a new namespace nobody may
			ns, err := netlab.New()
			if err != nil {
				return err
			}
			defer ns.Close()
			return ns.Do(func() error { open(); return nil })
		}
		return s
	}
	s.Answer = func(payload []byte) {
		payload[0] = n.reply
		setChecksum(payload)
	}
	s.Deny = transporttest.WithoutCapabilities(unix.CAP_NET_RAW)
	return s
}
