package cmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/cobra"

	"iomux/apps/echo/responder"
	"iomux/apps/echo/responder/rules"
)

// serverCommand is the server: on its own in a process, where it gives up its
// privileges, or in one that does other things as well.
func serverCommand(alone bool) *cobra.Command {
	var o serverOptions
	c := &cobra.Command{
		Use:   "server",
		Short: "Answer echo requests, exactly as told",
		Long: `Answer echo requests: at once and with their own data, or late, twice, damaged, with
an ICMP error or not at all, as rules say. It answers on raw sockets, for this
machine, and on a TUN device, for as many addresses as its prefixes have.

On raw sockets the kernel answers as well, so that clients would see every reply
twice: the server refuses to start while it does. --take-over switches the
kernel's replies off (net.ipv4.icmp_echo_ignore_all and
net.ipv6.icmp.echo_ignore_all) and restores the settings when the server ends. What
is sent to a TUN device is the server's alone, but for the device's own address.

RULES. A rule is made of the flags marked "rule:", or --rules names a file of them, in
YAML; the first rule for the addresses of a request decides:
  version: 1
  rules:
    - to: 10.64.0.0/16
      delay: normal:80ms,5ms
      loss: 1%
    - to: 10.65.0.0/16
      error: host unreachable
Words that only one family knows, such as host unreachable, take a rule that is for that
family: by --to, by -4 or -6, or by the prefixes of --tun. Flags and a file exclude each
other. SIGHUP reads the file again; if anything is
wrong with it, all of that is printed and the old rules stay. The server that answers
must be allowed to read it, see PRIVILEGES.

PRIVILEGES. Raw sockets take CAP_NET_RAW, --take-over and --tun CAP_NET_ADMIN:
  sudo setcap cap_net_raw,cap_net_admin+ep ./echo
When all is open the server starts itself again without any, of which --tun keeps
CAP_NET_ADMIN, and as --user. With --take-over a second process stays as it was, to
restore the settings. Only where --network names a transport that this program does not
know of its own is everything kept.

COUNTERS. Each message received is counted once: answered, ICMP errors, send errors,
queued (still to be sent), corrupt, fragments, silent, down, lost, limited (the rate of a
rule), throttled (--rate), unwell (--health), refused (the queue of delayed answers is
full) or ignored (no echo request, as the router solicitations that the kernel sends on a
TUN device, or one that must not be answered). Besides: delayed, damaged, duplicated and
lost copies, failed receptions. What is said of a rule and of a request is what was
decided about it.

SIGNALS. SIGINT (Ctrl-C) and SIGTERM end the server with a summary, a second one at
once; so does SIGHUP without --rules. SIGUSR1 prints the summary so far.

JSON. Each line is an object with type, version (1) and time (RFC 3339, UTC). Keys
that end in _ns are nanoseconds. What is not known is left out.
  start    networks, device, prefixes, multiplexer, loops, rules (how many), pid
  request  from, to, id, seq, ttl, size_bytes (of data), rule (from 1), delay_ns, and
           outcome: replied, error, silent, down, lost, limited, throttled, unwell,
           refused, ignored or unsendable; not with --quiet
  stats    counters (since the start), rates (a second, since the last), elapsed_ns
  reload   ok, rules or faults: file, line, column, text
  health   well, cause
  link     device, up, error
  summary  counters, rules, sources, interim (SIGUSR1), elapsed_ns

Exit codes: 0 at the end, 2 on a usage or system error, 141 if nobody reads the output
any more, 128 and the number of a signal that came a second time.`,
		Example: `  sudo ./echo server --take-over
  sudo ./echo server --tun 10.64.0.0/10,fd00:64::/32 --rules rules.yaml --stats 1s --quiet
  sudo ./echo server --take-over -4 --delay uniform:10ms,30ms --loss 1%`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			set, err := o.flagRules()
			if err = join(append(each(o.check()), each(err)...)...); err != nil {
				return err
			}
			if alone {
				return o.process(c.Context(), set)
			}
			return o.serve(c.Context(), set, nil, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	o.serverFlags(c)
	o.flags(c)
	o.traceFlag(c)
	return c
}

// serve answers until the end. What was handed over it does not open.
func (o *serverOptions) serve(ctx context.Context, set *rules.Set, files handed, stdout, stderr io.Writer) (err error) {
	s, err := newServer(o, stdout, stderr)
	if err != nil {
		return err
	}
	defer func() {
		err = join(err, s.close())
		if s.out.unread() {
			err = exitCode(128 + int(syscall.SIGPIPE)) // as if the signal had ended it
		}
	}()
	s.listen()
	if s.places, err = o.open(files, stderr); err != nil {
		return err
	}

	// The watch comes first, so that no signal finds the setting changed and
	// nobody to restore it; deferred, so that a panic restores it too.
	var kernel kernelReplies
	end := onInterrupt(s.stop, kernel.restoreAtOnce, s.endings()...)
	defer end()
	defer func() { err = join(err, kernel.restore()) }()
	if files == nil {
		if err := kernel.leaveToUs(o.takeOver, families(s.places), stderr); err != nil {
			return err
		}
	}
	if set, err = s.firstRules(set, files); err != nil {
		return err
	}
	if err := s.prepare(set, files); err != nil {
		return err
	}
	return s.run(ctx)
}

// endings are the signals that end the server.
func (s *server) endings() []os.Signal {
	if s.o.rulesFile == "" {
		return endings
	}
	return []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT}
}

// families are those that the kernel must not answer.
func families(places []*place) (all []responder.Family) {
	for _, p := range places {
		switch p.network {
		case rawNetwork:
			all = append(all, responder.IPv4)
		case rawNetwork6:
			all = append(all, responder.IPv6)
		}
	}
	return all
}

// note tells the user something.
func note(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "echo: "+format+"\n", args...)
}

// join returns all errors that are not nil: one as itself, several as a
// *multierror.Error.
func join(errs ...error) error {
	var all *multierror.Error
	var last error
	for _, err := range errs {
		if err != nil {
			all, last = multierror.Append(all, err), err
		}
	}
	if all != nil && len(all.Errors) == 1 {
		return last
	}
	return all.ErrorOrNil()
}
