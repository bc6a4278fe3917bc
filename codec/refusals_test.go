package codec_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/codec"
)

// refuse has the router's firewall answer what it should forward to each of the
// destinations with an unreachable error of that code: nft(8), reject.
func (n *network) refuse(codes map[netip.Addr]uint8) {
	n.t.Helper()
	path, err := exec.LookPath("nft")
	if err != nil {
		n.t.Skip("nft is not installed (apt-get install nftables)")
	}
	rules := []string{"add table inet t", "add chain inet t forward { type filter hook forward priority 0; }"}
	for to, code := range codes {
		family, icmp := "ip", "icmp"
		if to.Is6() {
			family, icmp = "ip6", "icmpv6"
		}
		rules = append(rules, fmt.Sprintf("add rule inet t forward %s daddr %v reject with %s %d", family, to, icmp, code))
	}
	cmd := exec.Command(path, "-f", "-")
	cmd.Stdin = strings.NewReader(strings.Join(rules, "\n"))
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := n.router.Do(cmd.Run); err != nil {
		n.t.Fatalf("nft: %v: %s", err, out.String())
	}
}

// A firewall sends every code of destination unreachable, those too that no route
// has.
func TestKernelRefusesWithEveryCode(t *testing.T) {
	n := newNetwork(t)
	n.route(n.router, "10.88.0.0/16", "right", serverV4.String(), unix.RTN_UNICAST)
	n.route(n.router, "fd88::/16", "right", serverV6.String(), unix.RTN_UNICAST)
	codes := map[netip.Addr]uint8{}
	for code := codec.NetUnreachableV4; code <= codec.PrecedenceCutoffV4; code++ {
		codes[netip.AddrFrom4([4]byte{10, 88, code, 1})] = code
	}
	for code := codec.NoRouteV6; code <= codec.HeadersTooLongV6; code++ {
		codes[netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x88, 14: code, 15: 1})] = code
	}
	n.refuse(codes)
	for to, code := range codes {
		name, from := codec.DestinationUnreachable.NameV4(code), routerV4
		if to.Is6() {
			name, from = codec.DestinationUnreachable.NameV6(code), routerV6
		}
		packet := echoTo(t, to, pattern(56))
		p, m := n.exchange(name, packet, codec.DestinationUnreachable)
		quote := m.Quote
		m.Quote = nil
		if want := (codec.Message{Type: codec.DestinationUnreachable, Code: code}); p.Source != from || !same(m, want) {
			t.Errorf("%s: from %v %+v, want from %v %+v", name, p.Source, m, from, want)
		}
		m.Quote = quote
		n.checkQuote(name, &m, packet)
	}
}

// A time to live that is over at the second of two routers.
func TestKernelErrorsFromTheSecondHop(t *testing.T) {
	n := newNetwork(t)
	n.set(n.server, "net.ipv4.ip_forward", "1")
	n.set(n.server, "net.ipv6.conf.all.forwarding", "1")
	n.route(n.router, "10.88.0.0/16", "right", serverV4.String(), unix.RTN_UNICAST)
	n.route(n.router, "fd88::/16", "right", serverV6.String(), unix.RTN_UNICAST)
	n.route(n.server, "10.88.0.0/16", "up", serverV4.Next().String(), unix.RTN_UNICAST)
	n.route(n.server, "fd88::/16", "up", serverV6.Next().String(), unix.RTN_UNICAST)
	for to, from := range map[string]netip.Addr{"10.88.0.1": serverV4, "fd88::1": serverV6} {
		packet := echoTo(t, netip.MustParseAddr(to), pattern(56))
		packet.TTL = 2
		p, m := n.exchange(to, packet, codec.TimeExceeded)
		if p.Source != from || m.Code != codec.HopLimitExceeded {
			t.Errorf("%s: from %v %+v, want from %v", to, p.Source, m, from)
		}
		n.checkQuote(to, &m, packet)
	}
}

// A neighbour that does not answer is host unreachable from the router that looks
// for it.
func TestKernelErrorsForANeighbourThatIsNotThere(t *testing.T) {
	n := newNetwork(t)
	nobody := serverV4.Next().Next()
	packet := echoTo(t, nobody, pattern(56))
	p, m := n.exchange("nobody there", packet, codec.DestinationUnreachable)
	if p.Source != routerV4 || m.Code != codec.HostUnreachableV4 {
		t.Errorf("from %v %+v, want code %d from %v", p.Source, m, codec.HostUnreachableV4, routerV4)
	}
	n.checkQuote("nobody there", &m, packet)
}

// A router says nothing about what it drops by a blackhole route: what comes next is
// about the packet after it.
func TestKernelSendsNothingForABlackholeRoute(t *testing.T) {
	n := newNetwork(t)
	n.route(n.router, "10.120.0.0/16", "", "", unix.RTN_BLACKHOLE)
	n.route(n.router, "fd20::/16", "", "", unix.RTN_BLACKHOLE)
	for hole, next := range map[string]string{"10.120.0.1": "10.99.0.1", "fd20::1": "fd99::1"} {
		w := tapOn(t, n.client, "up")
		for _, to := range []string{hole, next} {
			p := echoTo(t, netip.MustParseAddr(to), pattern(56))
			var c codec.Codec[codec.Packet] = new(codec.IPv4)
			if p.Source.Is6() {
				c = new(codec.IPv6)
			}
			send(t, n.client, must[[]byte](t)(c.Append(nil, &p)), p.Destination)
		}
		for {
			b, ok := w.next()
			if !ok {
				t.Fatal("nothing came for the packet after it")
			}
			_, m, err := decodeICMP(t, b)
			if errors.Is(err, codec.ErrType) {
				continue // a neighbour is looked for
			}
			q, _ := decodeQuote(m.Quote)
			if q.Packet.Destination == netip.MustParseAddr(hole) {
				t.Errorf("%v: %+v", hole, m)
			}
			if q.Packet.Destination == netip.MustParseAddr(next) {
				break
			}
		}
	}
}
