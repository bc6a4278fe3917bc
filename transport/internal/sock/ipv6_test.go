package sock

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

func TestEncodeIPv6RefusesWhatIsNoIPv6Address(t *testing.T) {
	for _, c := range []struct{ peer, local, want string }{
		{"", "", "the peer is not an IPv6 address"},
		{"192.0.2.1", "", "address 192.0.2.1: the peer is not an IPv6 address"},
		{"::ffff:192.0.2.1", "", "the peer is not an IPv6 address"},
		{"fe80::1%lo", "", "address fe80::1%lo: the peer has a zone: want the interface in Ifindex"},
		{"::1", "192.0.2.1", "address 192.0.2.1: the local address is not an IPv6 address"},
		{"::1", "::ffff:192.0.2.1", "the local address is not an IPv6 address"},
		{"::1", "fe80::1%lo", "address fe80::1%lo: the local address has a zone: want the interface in Ifindex"},
	} {
		peer, _ := netip.ParseAddr(c.peer)
		local, _ := netip.ParseAddr(c.local)
		m := transport.Message{Peer: netip.AddrPortFrom(peer, 7), Local: local}
		if err := EncodeIPv6(&m, new(Packet), netip.Addr{}); err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("from %s to %s: %v, want %s", c.local, c.peer, err, c.want)
		}
		if !local.IsValid() {
			continue
		}
		m.Local = netip.Addr{}
		if err := EncodeIPv6(&m, new(Packet), local); err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("from the source %s to %s: %v, want %s", c.local, c.peer, err, c.want)
		}
	}
}

func TestDecodeIPv6SkipsWhatItDoesNotKnow(t *testing.T) {
	build := func() *Packet {
		var p Packet
		p.append(unix.SOL_SOCKET, unix.IPV6_HOPLIMIT, 4)[0] = 99 // another level: same number, other meaning
		p.append(unix.SOL_IPV6, 200, 3)
		p.append(unix.SOL_IPV6, unix.IPV6_HOPLIMIT, 2)[0] = 98 // too short
		p.appendUint32(unix.SOL_IPV6, unix.IPV6_TCLASS, 0x10)
		p.appendUint32(unix.SOL_IPV6, unix.IPV6_HOPLIMIT, 7)
		return &p
	}
	var m transport.Message
	DecodeIPv6(&m, build())
	if want := (transport.Message{TOS: 0x10, TTL: 7}); !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v, want %+v", m, want)
	}
	for length := range build().controlLen {
		cut := build()
		cut.controlLen = length
		m = transport.Message{}
		DecodeIPv6(&m, cut)
		if m.TTL != 0 && m.TTL != 7 || m.TOS != 0 && m.TOS != 0x10 || m.Peer.IsValid() {
			t.Errorf("cut off at %d bytes: %+v", length, m)
		}
	}
}
