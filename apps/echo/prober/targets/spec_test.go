package targets

import (
	"net/netip"
	"strings"
	"testing"
)

func TestSpecs(t *testing.T) {
	for _, c := range []struct{ spec, want string }{
		{"192.0.2.7", "192.0.2.7"},
		{"0.0.0.0", "0.0.0.0"},
		{"2001:DB8:0::7", "2001:db8::7"},
		{"[2001:db8::7]", "2001:db8::7"},
		{"[fe80::1%eth0]", "fe80::1%eth0"},
		{"fe80::1%eth0", "fe80::1%eth0"},
		{"fe80::1%eth0-5", "fe80::1%eth0-5"}, // no range: names of interfaces have hyphens
		{"fe80::1%123456789012345", "fe80::1%123456789012345"},
		{"::ffff:192.0.2.7", "192.0.2.7"},

		{"192.0.2.0/24", "192.0.2.0-192.0.2.255"},
		{"192.0.2.7/24", "192.0.2.0-192.0.2.255"},
		{"192.0.2.7/32", "192.0.2.7"},
		{"192.0.2.7/0", "0.0.0.0-255.255.255.255"},
		{"192.0.2.7/31", "192.0.2.6-192.0.2.7"},
		{"2001:db8::/120", "2001:db8::-2001:db8::ff"},
		{"2001:db8::7/64", "2001:db8::-2001:db8::ffff:ffff:ffff:ffff"},
		{"2001:db8::7/63", "2001:db8::-2001:db8:0:1:ffff:ffff:ffff:ffff"},
		{"2001:db8::7/128", "2001:db8::7"},
		{"::/0", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"::ffff:192.0.2.7/120", "192.0.2.0-192.0.2.255"},

		{"192.0.2.10-20", "192.0.2.10-192.0.2.20"},
		{"192.0.2.10-10", "192.0.2.10"},
		{"192.0.2.0-255", "192.0.2.0-192.0.2.255"},
		{"192.0.2.10-192.0.3.20", "192.0.2.10-192.0.3.20"},
		{"2001:db8::1-2001:db8::ff", "2001:db8::1-2001:db8::ff"},
		{"::ffff:192.0.2.1-::ffff:192.0.2.9", "192.0.2.1-192.0.2.9"},

		{"host.example", "host.example"},
		{"Host.Example.", "Host.Example."},
		{"localhost", "localhost"},
		{"my-host_1", "my-host_1"},
		{"_tcp.example", "_tcp.example"},
		{"1.2.3.example", "1.2.3.example"},
		{"192.0.2.7-static.example", "192.0.2.7-static.example"},
		{"0xfg", "0xfg"},
		{"10.1a", "10.1a"},
		{strings.Repeat("a", 63) + ".b", strings.Repeat("a", 63) + ".b"},
		{strings.Repeat("a.", 126) + "b.", strings.Repeat("a.", 126) + "b."},
	} {
		s, err := parse(c.spec)
		if err != nil || s.String() != c.want {
			t.Errorf("%s: %v, %v, want %s", c.spec, s, err, c.want)
		}
	}
}

func TestBadSpecs(t *testing.T) {
	const (
		number   = "it ends in a number as an IPv4 address does and is none; write four numbers from 0 to 255 without leading zeros, such as 192.0.2.7, or a range such as 192.0.2.10-192.0.3.20"
		brackets = "brackets are for one IPv6 address and nothing else, such as [2001:db8::1]"
		zone     = "the zone is not the name of an interface; write 1 to 15 printable characters after the %, such as fe80::1%eth0"
		zBlock   = "a block cannot have a zone; write each address by itself, such as fe80::1%eth0"
		zRange   = "a range cannot have a zone; write each address by itself, such as fe80::1%eth0"
		colons   = "it has colons and is no IPv6 address; write eight groups of up to four hexadecimal digits, with :: once for groups of zeros, such as 2001:db8::1"
		onlyZone = "only an IPv6 address can have a zone; write one such as fe80::1%eth0"
		end4     = " at the end of the range is neither an address nor a number from 0 to 255; write a range such as 192.0.2.10-20 or 192.0.2.10-192.0.3.20"
		families = "one end of the range is IPv4 and the other IPv6; write both of one family, such as 192.0.2.10-192.0.3.20"
		hyphen   = " begins or ends with a hyphen; write a name such as host.example"
	)
	for _, c := range []struct{ spec, want string }{
		{"", "it is empty; write an address, a name, a block such as 192.0.2.0/24 or a range such as 192.0.2.10-20"},
		{"a b", "there is a blank in it; give each target by itself"},
		{"a\n", "there is a blank in it; give each target by itself"},
		{"http://host.example/", "it is a URL; write the host alone, such as host.example"},

		{"1.2.3", number},
		{"256.1.1.1", number},
		{"010.0.0.1", number},
		{"10.0.0-5.1", number},
		{"10.0.0.1.", number},
		{"1", number},
		{"0x7f", number},
		{"a.0X7F", number},
		{"a.0x", number},
		{"1-2", number},
		{"10.0.0.256-9", number},

		{"[192.0.2.7]", brackets},
		{"[2001:db8::7]:80", brackets},
		{"[2001:db8::]/64", brackets},
		{"[2001:db8::7", brackets},
		{"2001:db8::7]", brackets},
		{"[]", brackets},

		{"fe80::1%", colons},
		{"fe80::1%1234567890123456", zone},
		{"fe80::1%a\x7f", zone},
		{"fe80::1%a\x01", zone},
		{"fe80::1%eth0/64", zBlock},
		{"fe80::%a-b/64", zBlock},
		{"fe80::1%eth0-fe80::5%eth0", zRange},
		{"fe80::1-fe80::5%eth0", zRange},
		{"192.0.2.7%eth0", onlyZone},
		{"host%eth0", onlyZone},

		{"192.0.2.0/33", `the prefix length "33" is not a number from 0 to 32; write a block such as 192.0.2.0/24`},
		{"192.0.2.0/024", `the prefix length "024" is not a number from 0 to 32; write a block such as 192.0.2.0/24`},
		{"192.0.2.0/+1", `the prefix length "+1" is not a number from 0 to 32; write a block such as 192.0.2.0/24`},
		{"192.0.2.0/-1", `the prefix length "-1" is not a number from 0 to 32; write a block such as 192.0.2.0/24`},
		{"192.0.2.0/", `the prefix length "" is not a number from 0 to 32; write a block such as 192.0.2.0/24`},
		{"192.0.2.0/255.255.255.0", `the prefix length "255.255.255.0" is not a number from 0 to 32; write a block such as 192.0.2.0/24`},
		{"2001:db8::/129", `the prefix length "129" is not a number from 0 to 128; write a block such as 2001:db8::/120`},
		{"host.example/24", `only an address can have a prefix length; write the name alone: "host.example"`},
		{"192.0.2/24", `"192.0.2" before the slash is no address; write a block such as 192.0.2.0/24 or 2001:db8::/120`},
		{"/24", `"" before the slash is no address; write a block such as 192.0.2.0/24 or 2001:db8::/120`},

		{"192.0.2.20-10", "the range ends before it begins; write 192.0.2.10-20"},
		{"192.0.2.20-192.0.2.10", "the range ends before it begins; write 192.0.2.10-192.0.2.20"},
		{"2001:db8::2-2001:db8::1", "the range ends before it begins; write 2001:db8::1-2001:db8::2"},
		{"192.0.2.10-256", `"256"` + end4},
		{"192.0.2.10-020", `"020"` + end4},
		{"192.0.2.10-", `""` + end4},
		{"192.0.2.10-2O", `"2O"` + end4},
		{"192.0.2.10-192.0.2.256", `"192.0.2.256"` + end4},
		{"2001:db8::1-9", `"9" at the end of the range is no address; write a range such as 2001:db8::1-2001:db8::ff`},
		{"192.0.2.1-2001:db8::1", families},
		{"2001:db8::1-192.0.2.1", families},
		{"192.0.2.1-::ffff:192.0.2.9", families},

		{"2001:db8:::1", colons},
		{"2001:db8::12345", colons},
		{"192.0.2.7:80", `there is a port in it; write the host alone: "192.0.2.7"`},
		{"host.example:80", `there is a port in it; write the host alone: "host.example"`},

		{".", "a name has no empty parts; write one such as host.example"},
		{"a..b", "a name has no empty parts; write one such as host.example"},
		{".a", "a name has no empty parts; write one such as host.example"},
		{"a..", "a name has no empty parts; write one such as host.example"},
		{"-4", `the part "-4"` + hyphen},
		{"a-.b", `the part "a-"` + hyphen},
		{"a,b", `',' does not separate targets; write a blank, or give each by itself`},
		{"a;b", `';' does not separate targets; write a blank, or give each by itself`},
		{"a*b", `a name has no '*'; write letters, digits, hyphens and dots, such as host.example`},
		{"a\x1b[2Jb", brackets},
		{"a\x1bb", `a name has no '\x1b'; write letters, digits, hyphens and dots, such as host.example`},
		{"bücher.example", `a name has no 'ü'; write its ASCII form, which begins with xn--`},
		{strings.Repeat("a", 64), `a part of a name has at most 63 characters and "` + strings.Repeat("a", 64) + `" has 64; write a shorter name`},
		{strings.Repeat("a.", 127), "a name has at most 253 characters and this one has 254; write a shorter name"},
	} {
		if c.spec == strings.Repeat("a.", 127) {
			c.spec = strings.Repeat("a.", 126) + "bb."
		}
		s, err := parse(c.spec)
		if err == nil || err.Error() != c.want {
			t.Errorf("%q: %v,\n%v, want\n%s", c.spec, s, err, c.want)
		}
	}
}

func TestMappedAddressWithZoneIsNoTarget(t *testing.T) {
	for _, spec := range []string{"::ffff:192.0.2.7%eth0", "[::ffff:192.0.2.7%eth0]"} {
		if s, err := parse(spec); err == nil {
			t.Errorf("%s: %v", spec, s)
		}
	}
}

func TestTooManySpecs(t *testing.T) {
	b := Builder{seq: maxSpecs - 1}
	if err := b.Add("a"); err != nil {
		t.Fatal(err)
	}
	const want = `target "b": there are 1073741824 targets and blocks before it, the most there can be; write larger blocks`
	if err := b.Add("b"); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// What is accepted means the same when it is written by its String, and what is
// refused is refused in printable words.
func FuzzSpec(f *testing.F) {
	for _, s := range []string{
		"192.0.2.7", "192.0.2.0/24", "192.0.2.10-20", "2001:db8::/66", "fe80::1%e-0", "host.example.",
		"::ffff:1.2.3.4/100", "::fffe:ffff:ffff-::ffff:0:1", "1.2.3.4-a.b", "[::1]", "a\x00", "0x1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var b Builder
		if err := b.Add(text); err != nil {
			for _, c := range err.Error() {
				if c < ' ' || c == 0x7f {
					t.Errorf("%q: %q", text, err)
				}
			}
		}
		s, err := parse(text)
		if err != nil {
			return
		}
		again, err := parse(s.String())
		if err != nil || again != s {
			t.Fatalf("%q: %v becomes %v, %v", text, s, again, err)
		}
		if s.name == "" && (s.last.Less(s.first) || s.first.Is4() != s.last.Is4() || s.first.Is4() && s.first.Is4In6()) {
			t.Fatalf("%q: %v", text, s)
		}
		if p, err := netip.ParsePrefix(text); err == nil && !p.Addr().Is4In6() &&
			(s.first != p.Masked().Addr() || !p.Contains(s.last) || p.Contains(s.last.Next())) {
			t.Fatalf("%q: %v", text, s)
		}
	})
}
