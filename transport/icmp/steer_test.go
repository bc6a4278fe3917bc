package icmp_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/icmp"
)

// steered opens n sockets that share the echo requests of one family.
func steered(t *testing.T, network string, kind uint8, n int) []transport.Transport {
	t.Helper()
	steer := icmp.SteerFilter
	if network == "ip6:ipv6-icmp" {
		steer = icmp.SteerFilter6
	}
	var all []transport.Transport
	for i := range n {
		filter, err := steer(i, n, 0x5eed)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, open(t, network, "", &transport.Config{Filter: filter, RecvBuffer: 4 << 20,
			Options: icmp.Options{Types: []uint8{kind}}}))
	}
	return all
}

// collect receives what has come, and returns how often each sequence number came, by
// socket. What is sent on loopback has been delivered when Send returns.
func collect(t *testing.T, sockets []transport.Transport, count []map[uint16]int) {
	t.Helper()
	ms := slots(64, 2048)
	for i, s := range sockets {
		for {
			n, err := s.Recv(ms)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
			for j := range ms[:n] {
				count[i][sequence(&ms[j])]++
			}
		}
	}
}

func TestEachRequestReachesOneOfTheSocketsThatShare(t *testing.T) {
	silenceKernel(t)
	ns := lab(t)
	if err := ns.AddLocalRoute(netip.MustParsePrefix("fd00:53::/64")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		network   string
		kind      uint8
		to        netip.Addr
		from, and func(r *rand.Rand) netip.Addr
	}{
		{"ip4:icmp", request, loopback,
			func(r *rand.Rand) netip.Addr {
				return netip.AddrFrom4([4]byte{127, byte(r.Uint32()), byte(r.Uint32()), 9})
			},
			func(*rand.Rand) netip.Addr { return loopback }},
		{"ip6:ipv6-icmp", request6, netip.MustParseAddr("::1"),
			func(r *rand.Rand) netip.Addr {
				b := netip.MustParseAddr("fd00:53::").As16()
				b[14], b[15] = byte(r.Uint32()), byte(r.Uint32())
				return netip.AddrFrom16(b)
			},
			func(*rand.Rand) netip.Addr { return netip.MustParseAddr("::1") }},
	} {
		for _, n := range []int{1, 2, 3, 8} {
			t.Run(fmt.Sprintf("%s/%d", c.network, n), func(t *testing.T) {
				sockets := steered(t, c.network, c.kind, n)
				sender := open(t, c.network, "", &transport.Config{Options: icmp.Options{Types: []uint8{17}}})
				if c.kind == request6 { // any source will do
					if err := unix.SetsockoptInt(sender.FD(), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1); err != nil {
						t.Fatal(err)
					}
				}
				for what, from := range map[string]func(*rand.Rand) netip.Addr{"random sources": c.from, "one source, random identifiers": c.and} {
					r := rand.New(rand.NewPCG(uint64(n), 1))
					count := make([]map[uint16]int, n)
					for i := range count {
						count[i] = map[uint16]int{}
					}
					const requests = 4096
					for seq := range requests {
						id := uint16(7)
						if what != "random sources" {
							id = uint16(r.Uint32())
						}
						m := message(c.kind, c.to, id, uint16(seq), nil)
						m.Local = from(r)
						send(t, sender, m)
						if seq%256 == 255 {
							collect(t, sockets, count)
						}
					}
					seen := map[uint16]int{}
					for i := range count {
						for seq, times := range count[i] {
							seen[seq] += times
						}
						// Five standard deviations of a binomial distribution.
						share := 1 / float64(n)
						fair, spread := requests*share, 5*math.Sqrt(requests*share*(1-share))
						if got := float64(len(count[i])); math.Abs(got-fair) > spread {
							t.Errorf("%s: socket %d has %v of %d requests, want %v, give or take %.0f", what, i, got, requests, fair, spread)
						}
					}
					for seq := range requests {
						if seen[uint16(seq)] != 1 {
							t.Fatalf("%s: request %d came %d times, want once", what, seq, seen[uint16(seq)])
						}
					}
				}
			})
		}
	}
}

// What is alike goes to the same socket, so that it stays in order and its repetitions
// are known as such.
func TestAProbersRequestsStayTogether(t *testing.T) {
	silenceKernel(t)
	for network, kind := range map[string]uint8{"ip4:icmp": request, "ip6:ipv6-icmp": request6} {
		to := loopback
		if kind == request6 {
			to = netip.MustParseAddr("::1")
		}
		sockets := steered(t, network, kind, 8)
		sender := open(t, network, "", &transport.Config{Options: icmp.Options{Types: []uint8{17}}})
		for id := range uint16(32) {
			count := make([]map[uint16]int, len(sockets))
			for i := range count {
				count[i] = map[uint16]int{}
			}
			for seq := range uint16(64) {
				send(t, sender, message(kind, to, id, seq, pattern(int(seq))))
			}
			collect(t, sockets, count)
			for i := range count {
				if len(count[i]) != 0 && len(count[i]) != 64 {
					t.Errorf("%s, identifier %d: socket %d has %d of 64 requests", network, id, i, len(count[i]))
				}
			}
		}
	}
}

// An ICMPv6 message may be too short for an identifier. It must not be lost: it is to
// be counted as corrupt.
func TestShortMessagesReachASocketToo(t *testing.T) {
	silenceKernel(t)
	sockets := steered(t, "ip6:ipv6-icmp", request6, 3)
	sender := open(t, "ip6:ipv6-icmp", "", &transport.Config{Options: icmp.Options{Types: []uint8{17}}})
	for n := 4; n < 8; n++ {
		m := message(request6, netip.MustParseAddr("::1"), 1, 1, nil)
		m.N = n
		send(t, sender, m)
	}
	got := 0
	for _, s := range sockets {
		ms := slots(8, 64)
		n, err := s.Recv(ms)
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	if got != 4 {
		t.Errorf("%d of 4 short messages came", got)
	}
}

// Behind options the identifier is elsewhere, and the share is the same.
func TestSteerFilterFindsTheIdentifierBehindOptions(t *testing.T) {
	share := func(header int, id uint16) int {
		m := message(request, loopback, id, 1, nil)
		b := packet(header, m.Bytes())
		for i := range 8 {
			f, err := icmp.SteerFilter(i, 8, 1)
			if err != nil {
				t.Fatal(err)
			}
			if accepts(t, f, b) {
				return i
			}
		}
		t.Fatal("no filter passes it")
		return -1
	}
	different := false
	for id := range uint16(32) {
		plain := share(20, id)
		if got := share(60, id); got != plain {
			t.Errorf("identifier %d: share %d with options, %d without", id, got, plain)
		}
		different = different || plain != share(20, 0)
	}
	if !different {
		t.Error("the share does not depend on the identifier")
	}
}

// Another key is another way to share, or a peer could send all to one socket.
func TestTheKeyDecidesHowMessagesAreShared(t *testing.T) {
	moved := 0
	for id := range uint16(256) {
		m := message(request, loopback, id, 1, nil)
		b := packet(20, m.Bytes())
		a, err := icmp.SteerFilter(0, 2, 1)
		if err != nil {
			t.Fatal(err)
		}
		c, err := icmp.SteerFilter(0, 2, 2)
		if err != nil {
			t.Fatal(err)
		}
		if accepts(t, a, b) != accepts(t, c, b) {
			moved++
		}
	}
	if moved < 64 {
		t.Errorf("with another key %d of 256 go elsewhere", moved)
	}
}

func TestSharesThatAreNone(t *testing.T) {
	for _, c := range [][2]int{{0, 0}, {-1, 2}, {2, 2}, {0, -1}, {0, icmp.MaxSteered + 1}} {
		for _, steer := range []func(int, int, uint32) ([]bpf.RawInstruction, error){icmp.SteerFilter, icmp.SteerFilter6} {
			if _, err := steer(c[0], c[1], 0); err == nil {
				t.Errorf("share %d of %d is no error", c[0], c[1])
			}
		}
	}
}
