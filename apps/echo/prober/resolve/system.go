package resolve

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
)

// System is the Lookup of this host, by Go's own resolver: /etc/hosts and DNS in the
// order of nsswitch.conf(5), with the name servers, the search list and the options of
// resolv.conf(5), over UDP, and over TCP where an answer is truncated. Both files are
// looked at again when they have changed, after 5 seconds or later. An address in
// place of a name stands for itself, and its zone is kept.
//
// How long a lookup takes at the most is up to resolv.conf: for each name of the search
// list, the time-out (5 seconds) times the attempts (2) times the number of servers
// (3 at the most), twice that where TCP is tried too. The context ends it sooner.
//
// Of nsswitch.conf only "files" and "dns" are heeded, without actions such as
// [NOTFOUND=return]. The other sources are the C library's: with mdns4_minimal, names
// in .local go to the name servers instead of to the link; with resolve, what
// systemd-resolved alone knows is found only if resolv.conf names its stub
// (127.0.0.53); with myhostname, this host's own name, _gateway and *.localhost need a
// line in /etc/hosts or a server that knows them; likewise for nis, ldap and wins. If
// "dns" is not mentioned an unknown source stands for it. The environment variables
// LOCALDOMAIN, RES_OPTIONS and HOSTALIASES are ignored, and a name outside of ASCII must
// be given in its encoded form (xn--...).
func System() Lookup { return system }

func system(ctx context.Context, network, host string) (Answer, error) {
	switch network {
	case "ip", "ip4", "ip6":
	default:
		return Answer{}, net.UnknownNetworkError(network)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return answer(network, host, []netip.Addr{addr})
	}
	// A net.Resolver merges lookups of the same name, and the records would reach only
	// one of them. Each has its own.
	seen := listener{ctx: ctx}
	r := net.Resolver{PreferGo: true, Dial: seen.dial}
	addrs, err := r.LookupNetIP(ctx, network, host)
	if err != nil {
		return failure(ctx, host, err, &seen.negative)
	}
	if slices.ContainsFunc(addrs, scoped) {
		addrs = withZones(ctx, &r, host, addrs)
	}
	a, err := answer(network, host, addrs)
	a.TTL, a.HasTTL = seen.positive.get()
	return a, err
}

// scoped reports whether an address means nothing without a zone.
func scoped(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }

// withZones adds the zones of /etc/hosts, which LookupNetIP leaves out. LookupIPAddr
// does not, but it is not told the network.
func withZones(ctx context.Context, r *net.Resolver, host string, addrs []netip.Addr) []netip.Addr {
	all, _ := r.LookupIPAddr(ctx, host) // without an answer there are no zones
	zones := make(map[netip.Addr][]string)
	for _, a := range all {
		if addr, ok := netip.AddrFromSlice(a.IP); ok && a.Zone != "" {
			zones[addr] = append(zones[addr], a.Zone)
		}
	}
	var zoned []netip.Addr
	for _, addr := range addrs {
		if len(zones[addr]) == 0 {
			zoned = append(zoned, addr)
		}
		for _, zone := range zones[addr] {
			zoned = append(zoned, addr.WithZone(zone))
		}
	}
	return zoned
}

// answer keeps of the addresses those that belong to the network, each once.
func answer(network, host string, addrs []netip.Addr) (Answer, error) {
	var a Answer
	known := make(map[netip.Addr]bool, len(addrs))
	for _, addr := range addrs {
		addr = addr.Unmap()
		if known[addr] || network == "ip4" && !addr.Is4() || network == "ip6" && !addr.Is6() {
			continue
		}
		known[addr] = true
		a.Addrs = append(a.Addrs, addr)
	}
	if len(a.Addrs) == 0 {
		return a, notFound(host, noSuitableAddress)
	}
	return a, nil
}

// failure makes a *net.DNSError of err, and an Answer that says how long to believe it.
func failure(ctx context.Context, host string, err error, absent *ttl) (Answer, error) {
	var a Answer
	failed, ok := errors.AsType[*net.DNSError](err)
	_, unsuitable := errors.AsType[*net.AddrError](err)
	switch {
	case ctx.Err() != nil:
		// The connections have been closed under the resolver: what it says of them is
		// of no interest.
		failed = &net.DNSError{Err: ctx.Err().Error(), Name: host, UnwrapErr: ctx.Err(),
			IsTimeout: errors.Is(ctx.Err(), context.DeadlineExceeded)}
	case unsuitable:
		failed = notFound(host, noSuitableAddress)
	case !ok:
		failed = &net.DNSError{Err: err.Error(), Name: host, UnwrapErr: err}
	case failed.IsNotFound:
		a.TTL, a.HasTTL = absent.get()
	}
	return a, failed
}
