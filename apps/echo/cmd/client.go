package cmd

import (
	"context"
	"fmt"
	"syscall"

	"github.com/spf13/cobra"

	"iomux/apps/echo/prober/stats"
)

func clientCommand() *cobra.Command {
	var o clientOptions
	c := &cobra.Command{
		Use:   "client TARGET...",
		Short: "Send echo requests to one host or a million, and tell what became of each",
		Long: `Send echo requests to one host or a million, and tell what became of each.

A target is an address, a name, a block such as 192.0.2.0/24 or a range such as
192.0.2.1-99. One host on the command line is probed until interrupted, in the
manner of ping(8); several, or those of a file, are probed once each, at --rate, in
the manner of fping(8). --count says otherwise; with 0 there is no end.

SIGQUIT (Ctrl-\) prints how things stand. SIGINT (Ctrl-C), SIGTERM and SIGHUP end the
run with a summary, and a second one at once.

Round-trip times are by the kernel's clock, from when it gave a request to the network
device to when it received the reply. What a request waits for before, in a queue of
this host or for a neighbour's address, is no part of them; --user-clock measures from
the call that sends.

--fail-if takes conditions on all hosts together: loss and unanswered in percent; min,
avg, max, mdev, jitter, p50, p90, p99 and p99.9; sent, received and the number of each
outcome, such as timeouts, icmp_errors, duplicates or forged. Loss is the share without
a good answer of what left this host; unanswered is that of all requests.

With CAP_NET_RAW the client uses raw sockets, and otherwise ping sockets, where
net.ipv4.ping_group_range allows it:
  sudo setcap cap_net_raw+ep ./echo

Exit codes:
  0    every host has answered, broadcast addresses that were skipped aside;
       with --reachable, enough of them have
  1    one has not, or a condition of --fail-if holds. With more than 262,144
       hosts, which are not told apart, every request has to be answered
  2    wrong usage, or the system refused
  141  nobody reads the output any more
  128 and the number of a signal: it came a second time`,
		Example: `  ./echo client --count 3 127.0.0.1
  ./echo client 192.0.2.0/24 --exclude 192.0.2.1
  ./echo client --count 100 --interval 10ms --fail-if 'loss>1%,p99>20ms' host.example`,
		RunE: func(c *cobra.Command, args []string) error { return o.run(c, args) },
	}
	o.clientFlags(c)
	o.flags(c)
	o.traceFlag(c)
	o.spinFlag(c)
	return c
}

// run probes.
func (o *clientOptions) run(c *cobra.Command, args []string) (err error) {
	stdin, stdout, stderr := c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr()
	errs := []error{o.check()}
	var failIf stats.Conditions
	if o.given("fail-if") {
		if failIf, err = stats.ParseConditions(o.failIf); err != nil {
			errs = append(errs, fmt.Errorf("--fail-if: %w", err))
		}
	}
	list, err := o.list(args, stdin)
	if err = join(append(errs, err)...); err != nil {
		return err
	}
	cfg, err := o.config(list)
	if err != nil {
		return err
	}
	if err := o.confirm(list.Len(), cfg.Rate, stdin, stderr); err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(c.Context())
	defer onInterrupt(cancel, func() {}, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)()
	defer cancel()
	if o.deadline > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.deadline)
		defer cancel()
	}
	s, err := newSession(o, cfg, stdout, stderr)
	if err != nil {
		return err
	}
	defer func() { err = s.verdict(failIf, join(err, s.close())) }()
	return s.run(ctx)
}
