package cmd

import (
	"time"

	"github.com/spf13/cobra"
)

// clientOptions are the flags of the client, as they were given.
type clientOptions struct {
	common
	network string
	given   func(flag string) bool // whether it is on the command line
	alone   bool                   // the target is one host, on the command line

	files, excludes, excludeFiles []string
	random, yes                   bool

	count             whole
	interval, timeout time.Duration
	deadline          time.Duration
	rate, backoff     float64
	retries, window   whole
	jitter, flood     bool

	data, pattern         string
	size                  whole
	ttl, tos, mark        whole
	from                  []string
	pmtu                  string
	ipv4, ipv6, broadcast bool
	userClock, numeric    bool

	json, csv, quiet, verbose, timestamps bool
	alive, unreachable                    bool
	enough, enoughAtOnce                  whole
	failIf, pcap                          string
}

func (o *clientOptions) clientFlags(c *cobra.Command) {
	f := c.Flags()
	o.given = f.Changed
	f.SortFlags = false

	f.StringArrayVarP(&o.files, "file", "f", nil, "read targets from this `FILE`, - for standard input")
	f.StringArrayVar(&o.excludes, "exclude", nil, "leave out this `TARGET`: an address, block, range or name")
	f.StringArrayVar(&o.excludeFiles, "exclude-file", nil, "leave out what is in this `FILE`")
	f.BoolVar(&o.random, "random", false, "probe in a random order")
	f.BoolVarP(&o.broadcast, "broadcast", "b", false, "probe broadcast addresses too, which are skipped otherwise")
	f.BoolVar(&o.yes, "yes", false, "do not ask about more than 16,777,216 targets")
	f.BoolVarP(&o.ipv4, "ipv4", "4", false, "IPv4 only")
	f.BoolVarP(&o.ipv6, "ipv6", "6", false, "IPv6 only")

	o.interval, o.timeout = time.Second, time.Second
	f.VarP(&o.count, "count", "c", "requests to each host, 0 for no end (default no end for one host on the command line, else 1)")
	f.VarP((*seconds)(&o.interval), "interval", "i", "time between two requests to a host, such as 200ms or 0.2")
	f.VarP((*seconds)(&o.timeout), "timeout", "W", "time to wait for a reply")
	f.VarP((*seconds)(&o.deadline), "deadline", "w", "end after this time")
	f.Float64Var(&o.rate, "rate", 0, "most requests per second, 0 for no limit (default 1000 for many hosts without --interval)")
	f.VarP(&o.retries, "retries", "r", "further tries where no reply came")
	f.Float64VarP(&o.backoff, "backoff", "B", 1.5, "`factor` by which each wait for the next try is longer")
	f.Var(&o.window, "window", "most requests whose fate is not known yet (default 64 for each host)")
	f.BoolVar(&o.flood, "flood", false, "no interval, and no rate but --rate: as fast as replies come")
	f.BoolVar(&o.jitter, "jitter", false, "begin at a random time within the first interval")

	o.size = 56
	f.VarP(&o.size, "size", "s", "bytes of data in each request; --data and --pattern are repeated or cut to fit")
	f.StringVar(&o.data, "data", "", "`text` to send in each request, as it is")
	f.StringVarP(&o.pattern, "pattern", "p", "", "hexadecimal `bytes` to fill the data with, behind the 8 bytes that tell replies apart")
	f.VarP(&o.ttl, "ttl", "t", "time to live, or hop limit (default the system's)")
	f.VarP(&o.tos, "tos", "Q", "type of service, or traffic class, such as 0x10")
	f.StringVarP(&o.pmtu, "pmtudisc", "M", "", "`do` or probe: never send fragments, whatever the path is known to take; want: as the system does")
	f.StringArrayVarP(&o.from, "interface", "I", nil, "`interface` or address to send from; given twice, both")
	f.VarP(&o.mark, "mark", "m", "firewall mark; needs CAP_NET_ADMIN")
	f.BoolVar(&o.userClock, "user-clock", false, "measure in user space, not by the kernel's time stamps")
	f.StringVar(&o.network, "network", "", "transport to send on, by `name` (default raw ICMP sockets, else ping sockets)")

	f.BoolVar(&o.json, "json", false, "print newline-delimited JSON")
	f.BoolVar(&o.csv, "csv", false, "print comma-separated values")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print the summary only")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print more about each result")
	f.BoolVarP(&o.numeric, "numeric", "n", false, "print the address of each result without its name")
	f.BoolVarP(&o.timestamps, "timestamps", "D", false, "print the time in front of each result")
	f.BoolVarP(&o.alive, "alive", "a", false, "print the hosts that answer, and nothing else")
	f.BoolVarP(&o.unreachable, "unreachable", "u", false, "print the hosts that do not answer, and nothing else")
	f.VarP(&o.enough, "reachable", "x", "tell whether so many hosts answer, and nothing else")
	f.VarP(&o.enoughAtOnce, "fast-reachable", "X", "the same, and end as soon as so many have")
	f.StringVar(&o.failIf, "fail-if", "", "exit with 1 if one of these `conditions` holds for all hosts together, such as loss>1%,p99>20ms")
	f.StringVar(&o.pcap, "pcap", "", "write what is sent and received to this `FILE`, for wireshark(1)")
}

// required is how many hosts have to answer; 0 if that is not asked.
func (o *clientOptions) required() uint64 { return uint64(max(o.enough, o.enoughAtOnce)) }

// chosen reports whether certain hosts, or their number, are all that is asked for.
func (o *clientOptions) chosen() bool { return o.alive || o.unreachable || o.required() > 0 }
