package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/cobra"

	"iomux/apps/echo/responder/queue"
	"iomux/apps/echo/responder/rules"
	"iomux/codec"
	"iomux/transport"
	"iomux/transport/icmp"
)

// serverOptions are the flags of the server, as they were given.
type serverOptions struct {
	common
	given func(flag string) bool // whether it is on the command line

	ipv4, ipv6 bool
	networks   []string
	takeOver   bool

	tun, tunAddress []string
	tunName         string
	tunMTU          whole

	rulesFile string
	seed      string
	rule      []ruleFlag

	rate, queue whole
	broadcast   bool
	data        string

	loops whole

	quiet, json bool
	stats       time.Duration
	pcap        string

	health          string
	healthInterval  time.Duration
	healthTimeout   time.Duration // 0 is the interval
	healthThreshold whole

	user string
	keep bool
}

// ruleFlag is the flag of a key that a rule can have.
type ruleFlag struct {
	key, flag string
	values    *ruleValues
}

// ruleValues are what was given, as it is: FromSettings reads it.
type ruleValues struct {
	given []string
	word  string // what the help calls a value
}

func (v *ruleValues) Set(text string) error {
	v.given = append(v.given, text)
	return nil
}

func (v *ruleValues) String() string { return "" }
func (v *ruleValues) Type() string   { return v.word }

// valueWords are what the help calls the values of a key; others are a number.
var valueWords = map[string]string{
	"to": "prefix", "from": "prefix", "silent": "bool", "loss": "probability", "delay": "time", "jitter": "time",
	"reorder": "probability", "duplicate": "probability", "corrupt": "damage", "source": "address",
	"error": "message", "rate": "rate", "down": "window",
}

// keyFlag is the flag of a key. Without a rule, --rate is that of each source.
func keyFlag(key string) string {
	if key == "rate" {
		return "total-rate"
	}
	return key
}

func (o *serverOptions) serverFlags(c *cobra.Command) {
	f := c.Flags()
	o.given = f.Changed
	f.SortFlags = false

	f.BoolVarP(&o.ipv4, "ipv4", "4", false, "answer on a raw IPv4 socket")
	f.BoolVarP(&o.ipv6, "ipv6", "6", false, "answer on a raw IPv6 socket (default both, unless --tun or --network is given)")
	f.BoolVar(&o.takeOver, "take-over", false, "switch the kernel's own replies off while the server runs")
	f.StringSliceVar(&o.tun, "tun", nil, "answer for these `prefixes` on a TUN device, such as 10.64.0.0/10,fd00:64::/32")
	f.StringVar(&o.tunName, "tun-name", "", "`name` of the device (default tun0, or the next that is free)")
	f.StringSliceVar(&o.tunAddress, "tun-address", nil, "the kernel's own `address` on the device, one per family, or none\n(default the last usable one of the first prefix of each)")
	o.tunMTU = math.MaxUint16
	f.Var(&o.tunMTU, "tun-mtu", "longest packet on the device, in bytes")
	f.StringArrayVar(&o.networks, "network", nil, "answer on the transport of this `name`; it may be given several times")

	f.StringVar(&o.rulesFile, "rules", "", "answer as this `FILE` says, see below; SIGHUP reads it again")
	f.StringVar(&o.seed, "seed", "", "`number` that decides all luck; the same one and the same packets have the same answers")
	for _, k := range rules.Keys() {
		if k.Name == "name" {
			continue
		}
		r := ruleFlag{k.Name, keyFlag(k.Name), &ruleValues{word: cmp.Or(valueWords[k.Name], "number")}}
		o.rule = append(o.rule, r)
		f.Var(r.values, r.flag, "rule: "+strings.TrimSuffix(k.Usage, ": true"))
		if k.Name == "silent" {
			f.Lookup(r.flag).NoOptDefVal = "true"
		}
	}

	o.rate = 1000
	f.Var(&o.rate, "rate", "most replies per second to an IPv4 address or IPv6 /64, in bursts of as many; 0 for no limit")
	o.queue = 1 << 16
	f.Var(&o.queue, "queue", "most delayed answers that wait, of each transport and loop")
	f.BoolVar(&o.broadcast, "answer-broadcast", false, "answer requests to broadcast and multicast addresses, too")
	f.StringVar(&o.data, "data", "", "answer with this `text` instead of the request's data")

	o.loops = 1
	f.Var(&o.loops, "loops", "share the work between so many loops, up to one for each core")
	o.spinFlag(c)

	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not print what is received")
	f.Var((*seconds)(&o.stats), "stats", "print a line of statistics so often, such as 1s")
	f.BoolVar(&o.json, "json", false, "print newline-delimited JSON, see below")
	f.StringVar(&o.pcap, "pcap", "", "write what is received and sent to this `FILE`, for wireshark(1)")

	f.StringVar(&o.health, "health", "", "answer only while this `command`, run as --user, succeeds, or this http:// or https:// URL is found")
	o.healthInterval = 5 * time.Second
	f.Var((*seconds)(&o.healthInterval), "health-interval", "time between two checks")
	f.Var((*seconds)(&o.healthTimeout), "health-timeout", "longest time of a check (default the interval)")
	o.healthThreshold = 1
	f.Var(&o.healthThreshold, "health-threshold", "checks in a row that it takes to change what is believed")

	f.StringVar(&o.user, "user", "", "`name` of the user to become when all is opened (default nobody, of root)")
	f.BoolVar(&o.keep, "keep-privileges", false, "stay what the server was started as")
}

// raw tells which raw sockets are asked for.
func (o *serverOptions) raw() (ip4, ip6 bool) {
	named4, named6 := slices.Contains(o.networks, rawNetwork), slices.Contains(o.networks, rawNetwork6)
	if !o.ipv4 && !o.ipv6 && len(o.networks) == 0 && len(o.tun) == 0 {
		return true, true
	}
	return o.ipv4 || named4, o.ipv6 || named6
}

// others are the networks that nothing is known about.
func (o *serverOptions) others() []string {
	var names []string
	for _, name := range o.networks {
		if name != rawNetwork && name != rawNetwork6 {
			names = append(names, name)
		}
	}
	return names
}

// settings are the flags of a rule that were given.
func (o *serverOptions) settings() (all []rules.Setting) {
	if o.given("seed") {
		all = append(all, rules.Setting{Key: "seed", Value: o.seed})
	}
	rule := false
	for _, r := range o.rule {
		if o.given(r.flag) {
			rule = true
			for _, value := range r.values.given {
				all = append(all, rules.Setting{Key: r.key, Value: value})
			}
		}
	}
	if to := o.everything(); rule && to != "" && !o.given("to") {
		all = append(all, rules.Setting{Key: "to", Value: to})
	}
	return all
}

// everything is all there is of the one family that is answered; "" if there are two, or
// may be. A rule without addresses is for that, and may have what the other lacks.
func (o *serverOptions) everything() string {
	ip4, ip6 := o.raw()
	for _, prefix := range o.tun {
		six := strings.Contains(prefix, ":")
		ip4, ip6 = ip4 || !six, ip6 || six
	}
	switch {
	case ip4 == ip6 || len(o.others()) > 0:
		return ""
	case ip4:
		return "0.0.0.0/0"
	}
	return "::/0"
}

// flagRules makes the set of rules that the flags say, nil with --rules.
func (o *serverOptions) flagRules() (*rules.Set, error) {
	settings := o.settings()
	if o.rulesFile == "" {
		set, err := rules.FromSettings(settings...)
		return set, flagFaults(err)
	}
	if len(settings) == 0 {
		return nil, nil
	}
	return nil, fmt.Errorf("--%s and --rules: want one of them; what the flag says can be in the file", keyFlag(settings[0].Key))
}

// flagFaults gives the faults of settings the names of the flags.
func flagFaults(err error) error {
	var errs []error
	for _, err := range each(err) {
		var f *rules.Fault
		if errors.As(err, &f) && f.Setting != "" {
			err = errors.New("--" + keyFlag(f.Setting) + strings.TrimPrefix(f.Text, f.Setting))
		}
		errs = append(errs, err)
	}
	return join(errs...)
}

// each takes apart what join has put together.
func each(err error) []error {
	var all *multierror.Error
	if errors.As(err, &all) {
		return all.Errors
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// check reports everything that is wrong with the flags themselves.
func (o *serverOptions) check() error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	between := func(flag string, n whole, low, high int64) {
		refuse(int64(n) < low || int64(n) > high, "--%s %d: want %d to %d", flag, n, low, high)
	}
	lasting := func(flag string, d time.Duration) { // neither a loop without a pause nor one that never ends
		const shortest, longest = time.Millisecond, 24 * time.Hour
		refuse(o.given(flag) && (d < shortest || d > longest), "--%s %v: want a time from %v to %v", flag, d, shortest, longest)
	}
	needs := func(flag, other string) {
		refuse(o.given(flag) && !o.given(other), "--%s: want --%s too", flag, other)
	}

	ip4, ip6 := o.raw()
	refuse(o.takeOver && !ip4 && !ip6, "--take-over: the kernel answers on raw sockets only (-4, -6), which are not asked for")
	known := transport.Networks()
	for i, name := range o.networks {
		switch {
		case name == pingNetwork || name == pingNetwork6:
			refuse(true, "--network %s: a ping socket receives no echo requests, want %s or %s", name, rawNetwork, rawNetwork6)
		case name == tunNetwork:
			refuse(true, "--network %s: want --tun and the prefixes to answer for", name)
		case name == forgeNetwork || name == forgeNetwork6:
			refuse(true, "--network %s: it only sends; want %s or %s", name, rawNetwork, rawNetwork6)
		case !slices.Contains(known, name):
			refuse(true, "--network %s: no such network; known: %s", name, strings.Join(known, ", "))
		case slices.Contains(o.networks[:i], name):
			refuse(true, "--network %s: it is there twice", name)
		}
	}
	if o.given("tun") {
		_, err := o.tunOptions()
		errs = append(errs, each(err)...)
	}
	for _, flag := range []string{"tun-name", "tun-address", "tun-mtu"} {
		needs(flag, "tun")
	}

	between("rate", o.rate, 0, math.MaxInt32)
	between("queue", o.queue, 1, queue.MaxItems)
	refuse(len(o.data) > codec.MaxEchoDataV4, "--data: it has %d bytes, want at most %d", len(o.data), codec.MaxEchoDataV4)
	between("loops", o.loops, 1, min(maxLoops, icmp.MaxSteered))
	for _, name := range o.others() {
		refuse(o.loops > 1, "--loops %d: --network %s has one descriptor, which one loop watches; raw sockets and --tun can be shared", o.loops, name)
	}
	lasting("stats", o.stats)
	lasting("health-interval", o.healthInterval)
	lasting("health-timeout", o.healthTimeout)
	refuse(o.given("health") && strings.TrimSpace(o.health) == "", "--health: want a command or a URL")
	between("health-threshold", o.healthThreshold, 1, 1000)
	needs("health-interval", "health")
	needs("health-timeout", "health")
	needs("health-threshold", "health")
	refuse(o.given("user") && o.keep, "--user and --keep-privileges: want one of them")
	refuse(o.pcap == "-", "--pcap -: want the name of a file")
	return join(errs...)
}

// maxLoops is more than there are cores, and as many queues as a TUN device has.
const maxLoops = 256

// describeRules says where the rules are from.
func (o *serverOptions) describeRules(set *rules.Set) string {
	where := "the command line"
	if o.rulesFile != "" {
		where = o.rulesFile
	}
	return strconv.Itoa(set.Len()) + " rules from " + where
}
