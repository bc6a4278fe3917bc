package hostile_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"iomux/apps/echo/internal/hostile"
)

func traffic(seed uint64) *hostile.Traffic {
	return hostile.New(hostile.Config{Seed: seed,
		To:      []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("fd00:64::/32")},
		From:    []netip.Prefix{netip.MustParsePrefix("100.64.0.0/12"), netip.MustParsePrefix("fd00:65::/32")},
		Victims: []netip.Addr{netip.MustParseAddr("192.0.2.255")},
		Own:     []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
}

// Of a kind that is called a request of a flood all are to be answered, of most kinds
// none, and every kind occurs.
func TestTheKindsAreWhatTheirNamesSay(t *testing.T) {
	tr, same := traffic(1), traffic(1)
	verdicts := map[string][3]int{}
	for range 20_000 {
		p, kind := tr.Next()
		if again, _ := same.Next(); !bytes.Equal(p, again) {
			t.Fatal("the same seed makes other packets")
		}
		v := verdicts[kind]
		v[tr.Verdict(p)]++
		verdicts[kind] = v
	}
	never := []string{"a bad ICMP checksum, IPv4", "a bad IPv4 header checksum", "a bad ICMPv6 checksum",
		"a request from an address that must not be answered, IPv4", "a request from an address that must not be answered, IPv6",
		"a request to an address that must not answer, IPv4", "a request to an address that must not answer, IPv6",
		"a request from who is to answer it, IPv4", "a request from who is to answer it, IPv6",
		"a fragment, IPv4", "a fragment, IPv6", "an echo reply, IPv4", "an echo reply, IPv6", "less than an ICMP header, IPv4", "less than an ICMPv6 header",
		"an ICMP error about a reply of ours, IPv4", "an ICMPv6 error about a reply of ours", "another protocol, IPv4"}
	must := []string{"a request of a flood, IPv4", "a request of a flood, IPv6", "the longest packet, IPv4", "the longest packet, IPv6", "padding behind an IPv4 packet"}
	for kind, v := range verdicts {
		if slices.Contains(never, kind) && v[hostile.Never] == 0 || slices.Contains(must, kind) && v[hostile.Must] == 0 ||
			slices.Contains(never, kind) && v[hostile.May]+v[hostile.Must] > 0 || slices.Contains(must, kind) && v[hostile.Never]+v[hostile.May] > 0 {
			t.Errorf("%s: never, may and must be answered: %v", kind, v)
		}
	}
	for _, kind := range append(never, must...) {
		if _, ok := verdicts[kind]; !ok {
			t.Errorf("there is no %s", kind)
		}
	}
}

func TestAFloodHasAMillionSources(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		tr := traffic(1)
		seen := make([]bool, hostile.Sources)
		for range seen {
			p, err := hostile.Parse(tr.Flood(v6, 0))
			if err != nil {
				t.Fatal(err)
			}
			b := p.From.As16() // of IPv4 the last 20 bits tell, of IPv6 the last of the network's 64
			at := 12
			if v6 {
				at = 4
			}
			seen[binary.BigEndian.Uint32(b[at:])%hostile.Sources] = true
		}
		if slices.Contains(seen, false) {
			t.Errorf("IPv6 %v: there are fewer sources", v6)
		}
	}
}

// What Judge finds fault with, so that a test which it passes says something.
func TestTheJudge(t *testing.T) {
	tr := traffic(1)
	a, b := netip.MustParseAddr("100.64.0.1"), netip.MustParseAddr("198.18.0.1")
	request := hostile.Request(nil, a, b, 4, 1, []byte("data"))
	// The reply to a request is the request of the other way round, with another type
	// and a checksum that is 0x800 more.
	reply := func(from, to netip.Addr, id, seq uint16, data string) []byte {
		p := hostile.Request(nil, from, to, id, seq, []byte(data))
		p[20] = 0
		if p[22] += 8; p[22] < 8 {
			p[23]++
		}
		return p
	}
	good := reply(b, a, 4, 1, "data")
	if err := tr.Judge(request, good); err != nil {
		t.Errorf("a good answer: %v", err)
	}
	bad := func(what string, request, answer []byte) {
		t.Helper()
		if tr.Judge(request, answer) == nil {
			t.Errorf("it has nothing to say about %s", what)
		}
	}
	bad("no answer", request, nil)
	bad("an answer to somebody else", request, reply(b, netip.MustParseAddr("100.64.0.2"), 4, 1, "data"))
	bad("an answer from somebody else", request, reply(netip.MustParseAddr("198.18.0.2"), a, 4, 1, "data"))
	bad("an answer to another", request, reply(b, a, 4, 2, "data"))
	bad("other data", request, reply(b, a, 4, 1, "date"))
	bad("more data", request, reply(b, a, 4, 1, "data!"))
	bad("a request as an answer", request, hostile.Request(nil, b, a, 4, 1, []byte("data")))
	bad("padding behind the answer", request, append(slices.Clone(good), 0))
	for _, address := range []string{"192.0.2.255", "192.0.2.1", "255.255.255.255", "224.0.0.1", "127.0.0.1", "0.0.0.0"} {
		victim := netip.MustParseAddr(address)
		bad("an answer to "+address, hostile.Request(nil, victim, b, 4, 1, []byte("data")), reply(b, victim, 4, 1, "data"))
	}
	damaged := slices.Clone(request)
	damaged[len(damaged)-1] ^= 1
	bad("an answer to what is damaged", damaged, good)
}
