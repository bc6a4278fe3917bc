package targets

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// spec is what was written, taken apart: a name, or the addresses from first to last.
type spec struct {
	name        string
	first, last netip.Addr // of the same family; only a single address has a zone
}

// String returns a spec that means the same.
func (s spec) String() string {
	switch {
	case s.name != "":
		return s.name
	case s.first == s.last:
		return s.first.String()
	}
	return s.first.String() + "-" + s.last.String()
}

// parse parses a spec. The error says what is wrong with it and what would be right.
func parse(s string) (spec, error) {
	switch {
	case s == "":
		return spec{}, errors.New("it is empty; write an address, a name, a block such as 192.0.2.0/24 or a range such as 192.0.2.10-20")
	case strings.ContainsAny(s, blanks):
		return spec{}, errors.New("there is a blank in it; give each target by itself")
	case strings.Contains(s, "://"):
		return spec{}, errors.New("it is a URL; write the host alone, such as host.example")
	case strings.Contains(s, "["), strings.Contains(s, "]"):
		return parseBrackets(s)
	}
	// A zone may have hyphens, so an address comes before a range.
	if a, err := netip.ParseAddr(s); err == nil {
		return single(a)
	}
	if addr, length, found := strings.Cut(s, "/"); found {
		return parseBlock(addr, length)
	}
	if from, to, found := strings.Cut(s, "-"); found {
		if a, err := netip.ParseAddr(from); err == nil {
			// The fourth number of an address may also be the begin of a label, as
			// in 192.0.2.7-static.example.
			if a.Is4() && strings.Contains(to, ".") && checkName(s) == nil {
				return spec{name: s}, nil
			}
			return parseRange(a, from, to)
		}
	}
	if strings.Contains(s, ":") {
		if host, port, _ := strings.Cut(s, ":"); isNumber(port) && host != "" {
			return spec{}, fmt.Errorf("there is a port in it; write the host alone: %s", quote(host))
		}
		return spec{}, errors.New("it has colons and is no IPv6 address; write eight groups of up to four hexadecimal digits, with :: once for groups of zeros, such as 2001:db8::1")
	}
	if strings.Contains(s, "%") {
		return spec{}, errors.New("only an IPv6 address can have a zone; write one such as fe80::1%eth0")
	}
	if err := checkName(s); err != nil {
		return spec{}, err
	}
	return spec{name: s}, nil
}

const blanks = " \t\r\n"

func parseBrackets(s string) (spec, error) {
	inner, opened := strings.CutPrefix(s, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	a, err := netip.ParseAddr(inner)
	if !opened || !closed || err != nil || !a.Is6() {
		return spec{}, errors.New("brackets are for one IPv6 address and nothing else, such as [2001:db8::1]")
	}
	return single(a)
}

// single returns the spec of one address.
func single(a netip.Addr) (spec, error) {
	zone := a.Zone()
	switch {
	case a.Is6() && zone == "" || a.Is4():
		a = a.Unmap()
	case a.Is4In6():
		return spec{}, fmt.Errorf("an IPv4 address has no zone; write %s", a.Unmap())
	case strings.Contains(zone, "/"):
		return spec{}, errors.New("a block cannot have a zone; write each address by itself, such as fe80::1%eth0")
	case strings.Contains(zone, ":"):
		return spec{}, errZonedRange
	case !isZone(zone):
		return spec{}, errors.New("the zone is not the name of an interface; write 1 to 15 printable characters after the %, such as fe80::1%eth0")
	}
	return spec{first: a, last: a}, nil
}

var errZonedRange = errors.New("a range cannot have a zone; write each address by itself, such as fe80::1%eth0")

// isZone tells whether the kernel can have an interface of that name: IFNAMSIZ
// bytes with the zero at its end (dev_valid_name in net/core/dev.c), here of ASCII.
func isZone(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 15
}

func parseBlock(addr, length string) (spec, error) {
	a, err := netip.ParseAddr(addr)
	switch {
	case err != nil && checkName(addr) == nil:
		return spec{}, fmt.Errorf("only an address can have a prefix length; write the name alone: %s", quote(addr))
	case err != nil:
		return spec{}, fmt.Errorf("%s before the slash is no address; write a block such as 192.0.2.0/24 or 2001:db8::/120", quote(addr))
	case a.Zone() != "":
		return spec{}, errors.New("a block cannot have a zone; write each address by itself, such as fe80::1%eth0")
	}
	bits, err := strconv.Atoi(length)
	if err != nil || bits > a.BitLen() || strconv.Itoa(bits) != length || bits < 0 {
		return spec{}, fmt.Errorf("the prefix length %s is not a number from 0 to %d; write a block such as %s/%d",
			quote(length), a.BitLen(), addr, a.BitLen()-8)
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return spec{}, err
	}
	first := p.Addr()
	if first.Is4() {
		k := ipv4Of(first)
		return spec{first: first, last: (k | ipv4(1<<(32-bits)-1)).addr()}, nil
	}
	k := ipv6Of(first)
	if bits < 64 {
		k.hi |= 1<<(64-bits) - 1
		k.lo = 1<<64 - 1
	} else {
		k.lo |= 1<<(128-bits) - 1
	}
	return unmap(first, k.addr()), nil
}

// unmap returns the addresses from first to last, as IPv4 if both are mapped.
func unmap(first, last netip.Addr) spec {
	if first.Is4In6() && last.Is4In6() {
		first, last = first.Unmap(), last.Unmap()
	}
	return spec{first: first, last: last}
}

// parseRange parses a range that begins at an address.
func parseRange(first netip.Addr, from, to string) (spec, error) {
	last, err := netip.ParseAddr(to)
	short := false
	if n, errShort := strconv.ParseUint(to, 10, 8); first.Is4() && errShort == nil && strconv.FormatUint(n, 10) == to {
		b := first.As4()
		b[3] = byte(n)
		last, err, short = netip.AddrFrom4(b), nil, true
	}
	switch {
	case err != nil && first.Is4():
		return spec{}, fmt.Errorf("%s at the end of the range is neither an address nor a number from 0 to 255; write a range such as 192.0.2.10-20 or 192.0.2.10-192.0.3.20", quote(to))
	case err != nil:
		return spec{}, fmt.Errorf("%s at the end of the range is no address; write a range such as 2001:db8::1-2001:db8::ff", quote(to))
	case first.Zone() != "" || last.Zone() != "":
		return spec{}, errZonedRange
	case first.Is4() != last.Is4():
		return spec{}, errors.New("one end of the range is IPv4 and the other IPv6; write both of one family, such as 192.0.2.10-192.0.3.20")
	}
	r := unmap(first, last)
	if r.last.Less(r.first) {
		right := spec{first: r.last, last: r.first}.String()
		if short {
			right = fmt.Sprintf("%s-%d", r.last, r.first.As4()[3])
		}
		return spec{}, fmt.Errorf("the range ends before it begins; write %s", right)
	}
	return r, nil
}

// checkName says what is wrong with the name of a host: labels of RFC 1123, section
// 2.1, which may have underscores too, and a last one that cannot be taken for a
// part of an IPv4 address.
func checkName(s string) error {
	name := strings.TrimSuffix(s, ".")
	if len(name) > 253 {
		return fmt.Errorf("a name has at most 253 characters and this one has %d; write a shorter name", len(name))
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if err := checkLabel(label); err != nil {
			return err
		}
		last = label
	}
	if isNumber(last) || strings.Trim(last, "0123456789-") == "" {
		return errors.New("it ends in a number as an IPv4 address does and is none; write four numbers from 0 to 255 without leading zeros, such as 192.0.2.7, or a range such as 192.0.2.10-192.0.3.20")
	}
	return nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("a name has no empty parts; write one such as host.example")
	case len(label) > 63:
		return fmt.Errorf("a part of a name has at most 63 characters and %s has %d; write a shorter name", quote(label), len(label))
	}
	for _, c := range label {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == ',' || c == ';':
			return fmt.Errorf("%q does not separate targets; write a blank, or give each by itself", c)
		case c > '~':
			return fmt.Errorf("a name has no %q; write its ASCII form, which begins with xn--", c)
		default:
			return fmt.Errorf("a name has no %q; write letters, digits, hyphens and dots, such as host.example", c)
		}
	}
	if label[0] == '-' || label[len(label)-1] == '-' {
		return fmt.Errorf("the part %s begins or ends with a hyphen; write a name such as host.example", quote(label))
	}
	return nil
}

// isNumber tells whether inet_aton(3) takes the text for a number: decimal, or
// hexadecimal after 0x.
func isNumber(s string) bool {
	if digits, hex := strings.CutPrefix(strings.ToLower(s), "0x"); hex {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// nameKey returns what names of the same host have in common: neither case nor one
// dot at the end matters (RFC 4343, RFC 1034 section 3.1).
func nameKey(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// quote quotes a text for an error, the begin of it if it is long.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}
