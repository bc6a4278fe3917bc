// Package check holds what a prober must be able to tell: a table of faults that an
// echo server has on purpose, what the echo client must say of each, and judges of
// what it said, or what another prober did.
//
//	site := check.Site{IPv6: false, On: check.Raw, Backend: "epoll"}
//	for _, part := range check.Parts(site) {
//		os.WriteFile("rules.yaml", part.Rules(), 0o600)
//		// echo server --rules rules.yaml, with part.Server, and then
//		out, err := exec.Command("echo", part.ClientArgs()...).Output()
//		...
//		rows, err := part.Judge(out)
//		matrix.Rows = append(matrix.Rows, rows...)
//	}
//	matrix.WriteText(os.Stdout)
//
// Everything that is expected is exact and does not depend on how fast the machine is,
// as long as nothing stands still for seconds: no time is judged but for being too short,
// where something is to be silent there is no answer at all, and where something is to be
// late it is later than the client waits, by far.
//
// A [Seat] is a fault as any other prober meets it, and a [Chair] how it fares.
package check

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Where a server answers.
const (
	Raw = "raw" // on raw sockets, beside the kernel
	TUN = "tun" // on a TUN device, where the kernel has no say
)

// Site is one way to run client and server.
type Site struct {
	IPv6    bool
	On      string // Raw or TUN
	Backend string // the I/O multiplexer of both
}

// Family returns "IPv4" or "IPv6".
func (s Site) Family() string {
	if s.IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// Prefixes that have all addresses of the table. Nobody else is meant by them: they are
// for private networks (RFC 1918, RFC 4193).
var (
	prefix4 = netip.MustParsePrefix("10.64.0.0/16")
	prefix6 = netip.MustParsePrefix("fd00:64::/64")
)

// Prefix returns the prefix that the server has to answer for.
func (s Site) Prefix() netip.Prefix { return pick(s, prefix4, prefix6) }

// address returns the address that has fault number n, from 0.
func (s Site) address(n int) netip.Addr {
	n++ // the first address is that of the network
	if s.IPv6 {
		a := prefix6.Addr().As16()
		a[14], a[15] = byte(n>>8), byte(n)
		return netip.AddrFrom16(a)
	}
	a := prefix4.Addr().As4()
	a[2], a[3] = byte(n>>8), byte(n)
	return netip.AddrFrom4(a)
}

// elsewhere is an address that nobody asks: that of a router, or of a liar.
func (s Site) elsewhere() netip.Addr {
	return pick(s, netip.MustParseAddr("10.64.200.1"), netip.MustParseAddr("fd00:64::ffff:1"))
}

// pick is the first for IPv4 and the second for IPv6.
func pick[T any](s Site, four, six T) T {
	if s.IPv6 {
		return six
	}
	return four
}

// Part is what one server and one run of the client can show together.
type Part struct {
	Name   string
	Site   Site
	Server []string      // flags of the server
	Client []string      // flags of the client, but for those that ClientArgs adds
	Rounds int           // how many requests each fault gets
	Takes  time.Duration // about how long the client runs
	Faults []*Fault
}

// Rules returns the rules file of the server: a rule for each fault.
func (p *Part) Rules() []byte {
	rules := make([]string, len(p.Faults))
	for i, f := range p.Faults {
		rules[i] = f.rule
	}
	return p.rulesWith(rules)
}

// rulesWith returns the file with those rules for the faults.
func (p *Part) rulesWith(rules []string) []byte {
	var b strings.Builder
	b.WriteString("version: 1\nrules:\n")
	for i, f := range p.Faults {
		fmt.Fprintf(&b, "  - name: %q\n    to: %q\n", f.Name, f.Addr)
		if rules[i] != "" {
			fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(rules[i], "\n", "\n    "))
		}
	}
	return []byte(b.String())
}

// ClientArgs returns the command line of the client.
func (p *Part) ClientArgs() []string {
	args := append([]string{"client", "--json", "--count", strconv.Itoa(p.Rounds)}, p.Client...)
	if p.Site.Backend != "" {
		args = append(args, "--backend", p.Site.Backend)
	}
	for _, f := range p.Faults {
		args = append(args, f.Addr.String())
	}
	return args
}
