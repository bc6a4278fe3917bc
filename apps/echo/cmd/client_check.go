package cmd

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"iomux/codec"
	"iomux/transport"
)

const year = 365 * 24 * time.Hour

// check reports everything that is wrong with the flags themselves.
func (o *clientOptions) check() error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	atLeast := func(flag string, n whole, low int64) {
		refuse(o.given(flag) && int64(n) < low, "--%s %d: want %d or more", flag, n, low)
	}
	between := func(flag string, n whole, low, high int64) {
		refuse(o.given(flag) && (int64(n) < low || int64(n) > high), "--%s %d: want %d to %d", flag, n, low, high)
	}
	lasting := func(flag string, d, longest time.Duration) {
		refuse(o.given(flag) && (d <= 0 || d > longest), "--%s %v: want a time above 0 and up to %v", flag, d, longest)
	}
	together := func(a, b string) {
		refuse(o.given(a) && o.given(b), "--%s and --%s: want one of them", a, b)
	}

	atLeast("count", o.count, 0)
	switch {
	case o.given("interval") && o.interval == 0:
		refuse(true, "--interval 0: want a time above 0, or --flood for as fast as replies come")
	default:
		lasting("interval", o.interval, year)
	}
	lasting("timeout", o.timeout, 24*time.Hour)
	lasting("deadline", o.deadline, year)
	refuse(!(o.rate >= 0) || math.IsInf(o.rate, 0), "--rate %v: want a number above 0, or 0 for no limit", o.rate)
	between("retries", o.retries, 0, 100)
	refuse(!(o.backoff >= 1 && o.backoff <= 1000), "--backoff %v: want 1 to 1000", o.backoff)
	between("window", o.window, 1, 1<<18)

	refuse(o.size < 0 || o.size > codec.MaxEchoDataV4, "--size %d: want 0 to %d bytes", o.size, codec.MaxEchoDataV4)
	refuse(len(o.data) > codec.MaxEchoDataV4, "--data: it has %d bytes, want at most %d", len(o.data), codec.MaxEchoDataV4)
	if o.given("pattern") {
		_, err := decodePattern(o.pattern)
		refuse(err != nil, "--pattern %q: want hexadecimal digits, two for each byte, such as ff00", o.pattern)
	}
	between("ttl", o.ttl, 1, math.MaxUint8)
	between("tos", o.tos, 0, math.MaxUint8)
	between("mark", o.mark, 0, math.MaxUint32)
	switch o.pmtu {
	case "", "do", "probe", "want":
	case "dont":
		refuse(true, "--pmtudisc dont: whether routers may split what fits here is up to the system (sysctl net.ipv4.ip_no_pmtu_disc); want do, probe or want")
	default:
		refuse(true, "--pmtudisc %q: want do, probe or want", o.pmtu)
	}
	atLeast("reachable", o.enough, 1)
	atLeast("fast-reachable", o.enoughAtOnce, 1)

	if known := transport.Networks(); o.network != "" && !slices.Contains(known, o.network) {
		refuse(true, "--network %s: want one of %s", o.network, strings.Join(known, ", "))
	}

	together("data", "pattern")
	together("flood", "interval")
	together("flood", "jitter")
	together("ipv4", "ipv6")
	together("json", "csv")
	together("reachable", "fast-reachable")
	for _, format := range []string{"json", "csv"} {
		together("alive", format)
		together("unreachable", format)
	}
	return join(errs...)
}
