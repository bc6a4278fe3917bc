package rules_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"iomux/apps/echo/responder/rules"
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func prefixes(s string) (all []netip.Prefix) {
	for _, p := range strings.Fields(s) {
		all = append(all, prefix(p))
	}
	return all
}

// mustParse parses the rules of a file.
func mustParse(t testing.TB, text string) *rules.Set {
	t.Helper()
	s, err := rules.Parse("rules.yaml", []byte("version: 1\nseed: 42\nrules:\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFirstRuleForTheAddressesIsTaken(t *testing.T) {
	s := mustParse(t, `
- {name: host, to: 10.1.2.3}
- {name: asker, to: 10.1.0.0/16, from: [192.0.2.0/24, 198.51.100.1]}
- {name: net, to: [10.1.0.0/16, "fd00:1::/32"]}
- {name: outside, to: 10.0.0.0/8, from: 192.0.2.0/24}
- {name: v6 asker, to: "fd00::/16", from: 2001:db8::/32}
- {name: v6 host, to: "fd00::1"}
- {name: top, to: [255.255.255.255, "ffff::/16"]}
- {name: from anywhere, from: 203.0.113.0/24}
- {name: bottom, to: [0.0.0.0, "::"]}
`)
	for _, c := range []struct{ from, to, rule string }{
		{"192.0.2.1", "10.1.2.3", "host"},
		{"192.0.2.1", "10.1.2.2", "asker"},
		{"192.0.2.255", "10.1.2.4", "asker"},
		{"198.51.100.1", "10.1.2.4", "asker"},
		{"198.51.100.2", "10.1.2.4", "net"},
		{"198.51.100.0", "10.1.2.4", "net"},
		{"192.0.1.255", "10.1.255.255", "net"},
		{"192.0.2.9", "10.2.0.0", "outside"},
		{"192.0.3.0", "10.2.0.0", ""},
		{"192.0.2.9", "10.0.255.255", "outside"},
		{"192.0.2.9", "11.0.0.0", ""},
		{"192.0.2.9", "9.255.255.255", ""},
		{"2001:db8::5", "fd00:1::", "net"},
		{"2001:db8::5", "fd00:2::", "v6 asker"},
		{"2001:db9::5", "fd00:2::", ""},
		{"2001:db9::5", "fd00::1", "v6 host"},
		{"2001:db9::5", "fd00::1%eth0", "v6 host"},
		{"fe80::1%eth0", "fd00:1:ffff:ffff:ffff:ffff:ffff:ffff", "net"},
		{"::ffff:192.0.2.1", "::ffff:10.1.2.2", "asker"},
		{"2001:db8::5", "10.1.2.2", "net"},
		{"1.1.1.1", "255.255.255.255", "top"},
		{"1.1.1.1", "255.255.255.254", ""},
		{"::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "top"},
		{"203.0.113.7", "8.8.8.8", "from anywhere"},
		{"203.0.113.7", "0.0.0.0", "from anywhere"},
		{"203.0.114.7", "0.0.0.0", "bottom"},
		{"203.0.114.7", "0.0.0.1", ""},
		{"::1", "::", "bottom"},
		{"::1", "::1", ""},
	} {
		name := ""
		if n := s.Match(addr(c.from), addr(c.to)); n >= 0 {
			name = s.Rule(n).Name
		}
		if name != c.rule {
			t.Errorf("%s asks %s: rule %q, want %q", c.from, c.to, name, c.rule)
		}
	}
	if n := s.Match(netip.Addr{}, addr("10.1.2.2")); s.Rule(n).Name != "net" {
		t.Errorf("if nobody knows who asks, the rule is %q", s.Rule(n).Name)
	}
	if n := s.Match(addr("10.0.0.1"), netip.Addr{}); n != -1 {
		t.Errorf("no address is asked, and the rule is %d", n)
	}
}

func TestWithoutRulesThereIsNoMatch(t *testing.T) {
	s := mustParse(t, "  []\n")
	for _, to := range []string{"0.0.0.0", "10.0.0.1", "::", "fd00::1"} {
		if n := s.Match(addr("10.0.0.1"), addr(to)); n != -1 {
			t.Errorf("%s has rule %d", to, n)
		}
	}
}

// linear is the meaning of Match.
func linear(all []rules.Addresses, from, to netip.Addr) int {
	has := func(in []netip.Prefix, a netip.Addr) bool {
		return slices.ContainsFunc(in, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	for i, r := range all {
		if !has(r.To, to) {
			continue
		}
		everyone := func(p netip.Prefix) bool { return p.Bits() == 0 && p.Addr().Is4() == to.Is4() }
		if len(r.From) == 0 || slices.ContainsFunc(r.From, everyone) || from.Is4() == to.Is4() && has(r.From, from) {
			return i
		}
	}
	return -1
}

// useless is the meaning of a rule that is never used: each combination of its
// prefixes is in one of an earlier rule.
func useless(all []rules.Addresses, n int) bool {
	within := func(in, p netip.Prefix) bool { return in.Bits() <= p.Bits() && in.Contains(p.Addr()) }
	anyone := []netip.Prefix{prefix("0.0.0.0/0"), prefix("::/0")}
	froms := func(r rules.Addresses) []netip.Prefix {
		if len(r.From) == 0 {
			return anyone
		}
		return r.From
	}
	pairs := 0
	for _, to := range all[n].To {
		for _, from := range froms(all[n]) {
			if from.Addr().Is4() != to.Addr().Is4() {
				continue
			}
			pairs++
			found := slices.ContainsFunc(all[:n], func(r rules.Addresses) bool {
				return slices.ContainsFunc(r.To, func(p netip.Prefix) bool { return within(p, to) }) &&
					slices.ContainsFunc(froms(r), func(p netip.Prefix) bool { return within(p, from) })
			})
			if !found {
				return false
			}
		}
	}
	return pairs > 0
}

// checkLookup compares Match with a scan at the bounds of all prefixes and beside them.
func checkLookup(t *testing.T, all []rules.Addresses) {
	t.Helper()
	s, unused := rules.Lookup(all)
	for i, got := range unused {
		if want := useless(all, i); got != want {
			t.Fatalf("rule %d is never used: %v, want %v; %v", i, got, want, all)
		}
	}
	var tos, froms []netip.Addr
	edges := func(out []netip.Addr, p netip.Prefix) []netip.Addr {
		first := p.Masked().Addr()
		last := lastOf(p)
		for _, a := range []netip.Addr{first, last, first.Prev(), last.Next()} {
			if a.IsValid() {
				out = append(out, a)
			}
		}
		return out
	}
	for _, r := range all {
		for _, p := range r.To {
			tos = edges(tos, p)
		}
		for _, p := range r.From {
			froms = edges(froms, p)
		}
	}
	froms = append(froms, addr("192.0.2.1"), addr("2001:db8::1"), netip.Addr{})
	for _, to := range tos {
		for _, from := range froms {
			if got, want := s.Match(from, to), linear(all, from, to); got != want {
				t.Fatalf("%v asks %v: rule %d, want %d; %v", from, to, got, want, all)
			}
		}
	}
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// somePrefix returns a prefix of few addresses, so that many are equal, in one another
// or side by side.
func somePrefix(number func(n int) int) netip.Prefix {
	if number(2) == 0 {
		a := netip.AddrFrom4([4]byte{[]byte{0, 10, 255}[number(3)], byte(number(3)), 0, byte(255 * number(2))})
		return netip.PrefixFrom(a, []int{0, 1, 7, 8, 9, 15, 16, 17, 24, 31, 32}[number(11)]).Masked()
	}
	var b [16]byte
	b[0] = []byte{0, 0xfd, 0xff}[number(3)]
	b[7], b[8], b[15] = byte(number(3)), byte(128*number(2)), byte(number(2))
	return netip.PrefixFrom(netip.AddrFrom16(b), []int{0, 1, 8, 62, 63, 64, 65, 66, 127, 128}[number(10)]).Masked()
}

func someRules(number func(n int) int) []rules.Addresses {
	all := make([]rules.Addresses, number(14))
	for i := range all {
		for range 1 + number(3) {
			all[i].To = append(all[i].To, somePrefix(number))
		}
		for range number(3) {
			all[i].From = append(all[i].From, somePrefix(number))
		}
	}
	return all
}

func TestMatchIsALinearScan(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		checkLookup(t, someRules(rng.IntN))
	}
}

func FuzzMatchIsALinearScan(f *testing.F) {
	f.Add([]byte("any bytes will do, and the more there are the more rules"))
	f.Add([]byte{5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 200, 201, 202, 203, 204, 205, 206})
	f.Fuzz(func(t *testing.T, data []byte) {
		checkLookup(t, someRules(func(n int) int {
			if len(data) == 0 {
				return 0
			}
			c := data[0]
			data = data[1:]
			return int(c) % n
		}))
	})
}

// manyRules returns as many rules for neighbouring prefixes, with some around them and
// some gaps.
func manyRules(n int, v6 bool) (all []rules.Addresses) {
	for i := range n {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 9), byte(i >> 1), byte(i << 7)}), 25)
		if v6 {
			p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 3: 0x64, 5: byte(i >> 16), 6: byte(i >> 8), 7: byte(i)}), 64)
		}
		if n > 1 && i%7 == 3 {
			continue
		}
		all = append(all, rules.Addresses{To: []netip.Prefix{p}})
	}
	return all
}

func TestMatchOfManyRulesIsALinearScan(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		all := manyRules(1000, v6)
		all = append(all, rules.Addresses{To: prefixes("10.0.0.0/12 fd00:64::/40")}, rules.Addresses{To: prefixes("8.0.0.0/6 fc00::/7")})
		s, unused := rules.Lookup(all)
		if slices.Contains(unused, true) {
			t.Fatal("a rule is never used")
		}
		rng := rand.New(rand.NewPCG(3, 4))
		for range 20000 {
			var to netip.Addr
			if v6 {
				to = netip.AddrFrom16([16]byte{0: 0xfd, 3: 0x64, 5: byte(rng.IntN(2)), 6: byte(rng.IntN(5)), 7: byte(rng.Uint32()), 15: byte(rng.Uint32())})
			} else {
				to = netip.AddrFrom4([4]byte{10, byte(rng.IntN(3)), byte(rng.Uint32()), byte(rng.Uint32())})
			}
			if got, want := s.Match(to, to), linear(all, to, to); got != want {
				t.Fatalf("%v: rule %d, want %d", to, got, want)
			}
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	s := mustParse(t, "- {to: 10.0.0.0/8, from: 192.0.2.0/24}\n- {to: [10.1.0.0/16, 'fd00::/8']}\n")
	n := testing.AllocsPerRun(100, func() {
		s.Match(addrFrom, addrTo)
		s.Match(addrTo6, addrTo6)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

var addrFrom, addrTo, addrTo6 = addr("192.0.2.1"), addr("10.1.2.3"), addr("fd00::1")

func BenchmarkMatch(b *testing.B) {
	for _, v6 := range []bool{false, true} {
		for _, n := range []int{1, 100, 100_000} {
			all := manyRules(n, v6)
			s, _ := rules.Lookup(all)
			rng := rand.New(rand.NewPCG(5, 6))
			asked := make([]netip.Addr, 1<<16)
			for i := range asked {
				asked[i] = all[rng.IntN(len(all))].To[0].Addr()
			}
			b.Run(fmt.Sprintf("v6=%v/rules=%d", v6, n), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if s.Match(addrFrom, asked[i&(1<<16-1)]) < 0 {
						b.Fatal("no match")
					}
					i++
				}
			})
		}
	}
	all := make([]rules.Addresses, 100_000)
	for i := range all {
		all[i].To = prefixes("10.0.0.0/8")
		all[i].From = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(i >> 16), byte(i >> 8), byte(i)}), 32)}
	}
	s, _ := rules.Lookup(all)
	rng := rand.New(rand.NewPCG(7, 8))
	askers := make([]netip.Addr, 1<<16)
	for i := range askers {
		askers[i] = all[rng.IntN(len(all))].From[0].Addr()
	}
	b.Run("from/rules=100000", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if s.Match(askers[i&(1<<16-1)], addrTo) < 0 {
				b.Fatal("no match")
			}
			i++
		}
	})
}
