package rules

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What scalars look like. The schema has the same patterns.
const (
	percentPattern  = `^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$`
	sharePattern    = `^0(\.[0-9]+)?$`
	durationPattern = `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
)

var (
	isPercent  = regexp.MustCompile(percentPattern)
	isShare    = regexp.MustCompile(sharePattern)
	isDuration = regexp.MustCompile(durationPattern)
)

// scalar returns whether a value is a scalar of one of the forms, and says so if it is
// not. What is loose is of any form.
func (r *reader) scalar(v value, what, example string, allowed ...form) bool {
	if v.form == wrong {
		return false
	}
	for _, f := range append(allowed, loose) {
		if v.form == f {
			return true
		}
	}
	if v.form == mapping {
		example += "; if it has colons, put it in quotes"
	}
	r.fault(v.at, "%s: it is %s; write %s", what, forms[v.form], example)
	return false
}

// probability reads 1%, or 0.01, which must be below 1: 1 could mean 1% as well.
func (r *reader) probability(v value, what string) (p probability, ok bool) {
	const example = "a probability such as 1% or 0.01"
	if !r.scalar(v, what, example, text, number) {
		return 0, false
	}
	percent := strings.HasSuffix(v.text, "%")
	digits := strings.TrimSuffix(v.text, "%")
	x, err := strconv.ParseFloat(digits, 64)
	switch {
	case err != nil || strings.Trim(digits, "0123456789.eE+-") != "" || v.form == text && !percent && x < 1 && !isShare.MatchString(v.text):
		r.fault(v.at, "%s: %s is no probability; write one such as 1%% or 0.01", what, v)
	case x < 0:
		r.fault(v.at, "%s: %s is below 0; write %s", what, v, example)
	case percent && x > 100:
		r.fault(v.at, "%s: %s is more than 100%%; write %s", what, v, example)
	case percent && !isPercent.MatchString(v.text):
		r.fault(v.at, "%s: %s is no probability; write digits and a percent sign, such as 0.5%%", what, v)
	case !percent && x == 1:
		r.fault(v.at, "%s: %s can mean 1%% and 100%%; write one of these", what, v)
	case !percent && x > 1:
		r.fault(v.at, "%s: %s is more than 1; write %s", what, v, example)
	case percent:
		return probabilityOf(x / 100), true
	default:
		return probabilityOf(x), true
	}
	return 0, false
}

// duration reads a duration as Go writes it, from 0 to maxTime, without a sign.
func (r *reader) duration(v value, what string) (d time.Duration, ok bool) {
	const example = "a time with a unit, such as 20ms"
	if !r.scalar(v, what, example, text, number) {
		return 0, false
	}
	d, err := time.ParseDuration(v.text)
	switch _, noUnit := strconv.ParseFloat(v.text, 64); {
	case err == nil && d < 0:
		r.fault(v.at, "%s: %s is below 0; write %s", what, v, example)
	case noUnit == nil && v.text != "0":
		r.fault(v.at, "%s: %s has no unit; write a time with one, such as %sms", what, v, strings.Trim(v.text, "+-"))
	case err != nil || !isDuration.MatchString(v.text):
		r.fault(v.at, "%s: %s is no time; write %s or 1m30s", what, v, example)
	case d > maxTime:
		r.fault(v.at, "%s: %s is more than %v; write a shorter time", what, v, short(maxTime))
	default:
		return d, true
	}
	return 0, false
}

// short writes a duration without what is zero at its end.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// integer reads a whole number from least to most.
func (r *reader) integer(v value, what string, least, most int64) (n int64, ok bool) {
	example := fmt.Sprintf("a whole number from %d to %d", least, most)
	if !r.scalar(v, what, example, number) {
		return 0, false
	}
	n, err := strconv.ParseInt(v.text, 0, 64)
	if err != nil || n < least || n > most {
		r.fault(v.at, "%s: %s is not %s", what, v, example)
		return 0, false
	}
	return n, true
}

// decimal reads a number from least to most.
func (r *reader) decimal(v value, what string, least, most float64) (x float64, ok bool) {
	example := fmt.Sprintf("a number from %v to %.0f", least, most)
	if !r.scalar(v, what, example, number) {
		return 0, false
	}
	x, err := strconv.ParseFloat(v.text, 64)
	if err != nil || !(least <= x && x <= most) {
		r.fault(v.at, "%s: %s is not %s", what, v, example)
		return 0, false
	}
	return x, true
}

// truth reads true or false.
func (r *reader) truth(v value, what string) (b, ok bool) {
	if !r.scalar(v, what, "true or false", boolean) {
		return false, false
	}
	switch v.text {
	case "true", "True", "TRUE":
		return true, true
	case "false", "False", "FALSE":
		return false, true
	}
	r.fault(v.at, "%s: %s is neither true nor false; write one of these", what, v)
	return false, false
}

// many returns the elements of a list, or a scalar as the only one.
func (r *reader) many(v value, what, example string) []value {
	switch v.form {
	case list:
		all := r.elements(v)
		if len(all) == 0 {
			r.fault(v.at, "%s: the list is empty; write %s, or leave %s out", what, example, what)
		}
		return all
	case wrong:
		return nil
	}
	return []value{v}
}

// prefix reads a prefix, or an address as a prefix of its own.
func (r *reader) prefix(v value, what string) (b block, v6, ok bool) {
	const example = "a prefix such as 192.0.2.0/24 or 2001:db8::/32"
	if !r.scalar(v, what, example, text) {
		return b, false, false
	}
	p, err := netip.ParsePrefix(v.text)
	if addr, errAddr := netip.ParseAddr(v.text); errAddr == nil {
		p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		if addr.Zone() != "" {
			r.fault(v.at, "%s: %s has a zone; write the address alone, which then counts in every zone", what, v)
			return b, false, false
		}
	}
	switch {
	case err != nil:
		r.fault(v.at, "%s: %s is no prefix; write %s", what, v, example)
	case p.Addr().Is4In6() && p.Bits() >= 96:
		r.fault(v.at, "%s: %s is IPv4 mapped into IPv6; write %v", what, v, netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96))
	case p != p.Masked():
		r.fault(v.at, "%s: %s has bits set after the first %d; write %v, or %v for the address alone", what, v, p.Bits(), p.Masked(), p.Addr())
	default:
		b, v6 = blockOf(p)
		return b, v6, true
	}
	return b, false, false
}

// address reads an address that packets can come from.
func (r *reader) address(v value, what string) (a netip.Addr, ok bool) {
	const example = "an address such as 192.0.2.1 or 2001:db8::1"
	if !r.scalar(v, what, example, text) {
		return a, false
	}
	a, err := netip.ParseAddr(v.text)
	switch {
	case err != nil:
		r.fault(v.at, "%s: %s is no address; write %s", what, v, example)
	case a.Zone() != "":
		r.fault(v.at, "%s: %s has a zone; write the address alone", what, v)
	case a.Is4In6():
		r.fault(v.at, "%s: %s is IPv4 mapped into IPv6; write %v", what, v, a.Unmap())
	case a.IsUnspecified(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		r.fault(v.at, "%s: nothing comes from %s; write the address of a host", what, v)
	default:
		return a, true
	}
	return netip.Addr{}, false
}
