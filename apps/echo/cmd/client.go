package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"iomux/apps/echo/prober"
	"iomux/codec"
	"iomux/transport"
	"iomux/transport/icmp"
)

// pingNetwork is the transport of an ICMPv4 ping socket, which needs no
// capability where net.ipv4.ping_group_range allows it.
const pingNetwork = "udp4:icmp"

type clientOptions struct {
	common
	network  string
	data     string
	size     int
	count    int
	interval time.Duration
	timeout  time.Duration
	quiet    bool
}

func clientCommand() *cobra.Command {
	var o clientOptions
	c := &cobra.Command{
		Use:   "client HOST...",
		Short: "Send echo requests and print the replies",
		Long: `Send echo requests to one host or many, from one socket, and print the replies.

With CAP_NET_RAW the client uses a raw socket, and otherwise a ping socket,
where net.ipv4.ping_group_range allows it:
  sudo setcap cap_net_raw+ep ./echo

Exit codes: 0 if every host answered, 1 if one did not, 2 on a usage or system
error.`,
		Example: `  ./echo client --count 3 127.0.0.1
  ./echo client --interval 10ms --data "Hello from client!" 192.0.2.1 192.0.2.2`,
		Args: func(_ *cobra.Command, hosts []string) error {
			if len(hosts) == 0 {
				return errors.New("client: no host given, want one or more, such as 127.0.0.1")
			}
			return nil
		},
		RunE: func(c *cobra.Command, hosts []string) error {
			payload, err := o.payload(c.Flags().Changed("data"), c.Flags().Changed("size"))
			if err != nil {
				return err
			}
			return o.run(c.Context(), hosts, payload, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	o.flags(c)
	o.traceFlag(c)
	f := c.Flags()
	f.StringVar(&o.network, "network", "", "transport to send on (default "+rawNetwork+", else "+pingNetwork+")")
	f.StringVar(&o.data, "data", "", "text to send in each request")
	f.IntVarP(&o.size, "size", "s", 56, "bytes of data in each request; --data is repeated or cut to fit")
	f.IntVarP(&o.count, "count", "c", 0, "requests to each host (default: until interrupted)")
	o.interval, o.timeout = time.Second, time.Second
	f.VarP((*seconds)(&o.interval), "interval", "i", "time between two requests to a host, such as 200ms or 0.2")
	f.VarP((*seconds)(&o.timeout), "timeout", "W", "time to wait for a reply")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print the summary only")
	return c
}

// seconds is a duration on the command line. Without a unit it is in seconds, as
// ping(8) has it.
type seconds time.Duration

func (s *seconds) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		if d, err = time.ParseDuration(text + "s"); err != nil {
			return errors.New("want a duration such as 200ms, or a number of seconds")
		}
	}
	*s = seconds(d)
	return nil
}

func (s *seconds) String() string { return time.Duration(*s).String() }
func (s *seconds) Type() string   { return "duration" }

// payload makes the data of the requests: the text, the bytes 0, 1, 2, ... as
// ping(8) sends them, or the text again and again for a size.
func (o *clientOptions) payload(hasData, hasSize bool) ([]byte, error) {
	switch {
	case o.size < 0 || o.size > codec.MaxEchoDataV4:
		return nil, fmt.Errorf("--size %d: want 0 to %d bytes", o.size, codec.MaxEchoDataV4)
	case len(o.data) > codec.MaxEchoDataV4:
		return nil, fmt.Errorf("--data: %d bytes, want at most %d", len(o.data), codec.MaxEchoDataV4)
	case o.count < 0:
		return nil, fmt.Errorf("--count %d: want a positive number, or 0 for no end", o.count)
	case o.interval <= 0:
		return nil, fmt.Errorf("--interval %v: want a positive duration, such as 200ms", o.interval)
	case o.timeout <= 0:
		return nil, fmt.Errorf("--timeout %v: want a positive duration, such as 1s", o.timeout)
	case hasData && (!hasSize || o.data == ""):
		return []byte(o.data), nil
	case hasData:
		return bytes.Repeat([]byte(o.data), o.size/len(o.data)+1)[:o.size], nil
	}
	pattern := make([]byte, o.size)
	for i := range pattern {
		pattern[i] = byte(i)
	}
	return pattern, nil
}

func (o *clientOptions) run(ctx context.Context, hosts []string, payload []byte, stdout, stderr io.Writer) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	end := onInterrupt(cancel, func() {})
	defer end()
	defer cancel()

	traceMux, traceTransport := o.tracer(stderr)
	l, err := o.openLoop(traceMux)
	if err != nil {
		return err
	}
	defer func() { err = join(err, l.Close()) }()
	id := prober.NewID()
	t, err := o.open(id)
	if err != nil {
		return err
	}
	t = traced(t, traceTransport)
	l.Own(t)

	targets, unknown := resolve(ctx, hosts)
	for _, err := range unknown {
		fmt.Fprintln(stderr, "echo:", err)
	}
	if n := len(hosts) - len(targets) - len(unknown); n > 0 {
		fmt.Fprintf(stderr, "echo: %d of the hosts have the address of another one and are left out\n", n)
	}
	if len(targets) == 0 {
		return exitCode(exitError)
	}
	out := newOutput(l, stdout)
	rep := report{out: out, targets: targets, payload: payload, quiet: o.quiet}
	cfg := prober.Config{
		Count: o.count, Interval: o.interval, Timeout: o.timeout, Data: payload, ID: id,
		OnResult: rep.result,
		OnDone:   l.Stop,
	}
	var failure error
	cfg.OnFailure = func(err error) {
		failure = err
		l.Stop()
	}
	for _, t := range targets {
		cfg.Targets = append(cfg.Targets, t.addr)
	}
	p, err := prober.New(l, t, cfg)
	if err != nil {
		return err
	}
	rep.header(o.network, o.backend)
	start := time.Now()
	p.Start()
	if err = l.Run(ctx); errors.Is(err, context.Canceled) {
		err = nil
	}
	answered := rep.summary(p, time.Since(start))
	out.flush()
	switch err := join(err, failure, out.err); {
	case err != nil:
		return err
	case len(unknown) > 0:
		return exitCode(exitError)
	case answered < len(targets):
		return exitCode(exitUnanswered)
	}
	return nil
}

// open opens the network to send on: a raw socket that receives only replies to
// these requests or, where that is not permitted, a ping socket.
func (o *clientOptions) open(id uint16) (transport.Transport, error) {
	if o.network != "" && o.network != rawNetwork {
		return transport.Open(o.network, "", nil)
	}
	filter, err := icmp.EchoReplyFilter(id)
	if err != nil {
		return nil, err
	}
	t, err := transport.Open(rawNetwork, "", &transport.Config{Filter: filter, Options: icmp.Options{Types: []uint8{0}}})
	if o.network != "" || !errors.Is(err, fs.ErrPermission) {
		o.network = rawNetwork
		return t, err
	}
	o.network = pingNetwork
	t, errPing := transport.Open(pingNetwork, "", nil)
	if errPing != nil {
		return nil, join(err, errPing)
	}
	return t, nil
}

// host is a target with the name that the user gave it.
type host struct {
	name string
	addr netip.Addr
}

// resolve looks up the hosts' IPv4 addresses. An address that occurs again is
// left out; every name that has none is an error of its own.
func resolve(ctx context.Context, names []string) (hosts []host, failed []error) {
	seen := map[netip.Addr]bool{}
	for _, name := range names {
		addr, err := lookup(ctx, name)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if !seen[addr] {
			seen[addr] = true
			hosts = append(hosts, host{name, addr})
		}
	}
	return hosts, failed
}

func lookup(ctx context.Context, name string) (netip.Addr, error) {
	if name == "" {
		return netip.Addr{}, errors.New("a host without a name")
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		if addr = addr.Unmap(); !addr.Is4() {
			return addr, fmt.Errorf("%s: an IPv6 address; only IPv4 is supported", name)
		}
		if addr.IsUnspecified() {
			return addr, fmt.Errorf("%s: the address of no host", name)
		}
		return addr, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s: %w", name, err)
	}
	return addrs[0].Unmap(), nil
}
