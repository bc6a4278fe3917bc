package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/cobra"

	"iomux/apps/echo/responder"
	"iomux/transport"
	"iomux/transport/icmp"
)

// rawNetwork is the transport of a raw ICMPv4 socket, beside which the kernel
// answers too.
const rawNetwork = "ip4:icmp"

type serverOptions struct {
	common
	network  string
	data     string
	hasData  bool
	quiet    bool
	takeOver bool
}

func serverCommand() *cobra.Command {
	var o serverOptions
	c := &cobra.Command{
		Use:   "server",
		Short: "Answer echo requests",
		Long: `Answer echo requests, with their own data or with that of --data.

The kernel answers echo requests too, so that clients would see every reply
twice: the server refuses to start while it does. --take-over switches the
kernel's replies off (net.ipv4.icmp_echo_ignore_all) and restores the setting
when the server ends.

The server needs CAP_NET_RAW, and CAP_NET_ADMIN for --take-over:
  sudo setcap cap_net_raw,cap_net_admin+ep ./echo`,
		Example: `  sudo echo server --take-over
  sudo echo server --take-over --data "Hello from server!" --quiet`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.hasData = c.Flags().Changed("data")
			return o.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	o.flags(c)
	o.traceFlag(c)
	c.Flags().StringVar(&o.network, "network", rawNetwork, "transport to serve on")
	c.Flags().StringVar(&o.data, "data", "", "answer with this text instead of the request's data")
	c.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "do not print what is received")
	c.Flags().BoolVar(&o.takeOver, "take-over", false, "switch the kernel's own replies off while the server runs")
	return c
}

func (o *serverOptions) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	traceMux, traceTransport := o.tracer(stderr)
	l, err := o.openLoop(traceMux)
	if err != nil {
		return err
	}
	defer func() { err = join(err, l.Close()) }()
	t, err := o.open()
	if err != nil {
		return err
	}
	t = traced(t, traceTransport)
	l.Own(t)

	// The watch comes first, so that no signal finds the setting changed and
	// nobody to restore it; deferred, so that a panic restores it too.
	var kernel kernelReplies
	end := onInterrupt(l.Stop, func() { kernel.restore() })
	defer end()
	defer func() { err = join(err, kernel.restore()) }()
	if o.network == rawNetwork {
		err = kernel.leaveToUs(o.takeOver, stderr)
	} else if o.takeOver {
		err = fmt.Errorf("--take-over: the kernel answers on %s only, not on %s", rawNetwork, o.network)
	}
	if err != nil {
		return err
	}

	out := newOutput(l, stdout)
	cfg := responder.Config{}
	if o.hasData {
		cfg.Data = append([]byte{}, o.data...)
	}
	if !o.quiet {
		cfg.OnRequest = func(r responder.Request) {
			m := r.Message
			fmt.Fprintf(out, "%d bytes from %v to %v: echo request code=%d id=%d icmp_seq=%d ttl=%d data: %s\n",
				m.N, m.Peer.Addr(), m.Local, r.Echo.Code, r.Echo.ID, r.Echo.Seq, m.TTL, text(r.Echo.Data))
		}
	}
	var failure error
	cfg.OnFailure = func(err error) {
		failure = err
		l.Stop()
	}
	r, err := responder.New(l, t, cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "answering on %s, multiplexer %s; Ctrl-C ends\n", o.network, o.backend)
	err = l.Run(ctx)
	s := r.Stats()
	fmt.Fprintf(out, "\n--- echo server statistics ---\n%d received, %d answered, %d corrupt, %d ignored, %d send errors\n",
		s.Received, s.Answered, s.Corrupt, s.Ignored, s.SendErrors)
	out.flush()
	return join(err, failure, out.err)
}

// open opens the network to serve on.
func (o *serverOptions) open() (transport.Transport, error) {
	var cfg transport.Config
	if o.network == rawNetwork {
		cfg.Options = icmp.Options{Types: []uint8{8}} // echo requests
	}
	return transport.Open(o.network, "", &cfg)
}

// kernelReplies sees to it that the kernel does not answer as well.
type kernelReplies struct {
	mu    sync.Mutex
	taken *responder.Takeover
}

// leaveToUs returns an error if the kernel answers and may not be stopped.
func (k *kernelReplies) leaveToUs(takeOver bool, stderr io.Writer) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if takeOver {
		t, err := responder.TakeOver()
		if err != nil {
			return fmt.Errorf("--take-over: %w", err)
		}
		k.taken = t
		if note := t.Note(); note != "" {
			fmt.Fprintln(stderr, "echo: found that", note)
		}
		return nil
	}
	answers, err := responder.KernelReplies()
	if err != nil {
		return err
	}
	if answers {
		return errors.New(`the kernel answers echo requests too (net.ipv4.icmp_echo_ignore_all=0), so clients would see every reply twice; switch it off for as long as the server runs with
  echo server --take-over
or until the machine restarts with
  sudo sysctl net.ipv4.icmp_echo_ignore_all=1`)
	}
	if note := responder.Leftover(); note != "" {
		fmt.Fprintln(stderr, "echo: found that", note)
		fmt.Fprintln(stderr, "echo: with --take-over, this server restores it when it ends")
	}
	return nil
}

// restore undoes leaveToUs. It may be called from any goroutine and more than
// once.
func (k *kernelReplies) restore() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.taken == nil {
		return nil
	}
	return k.taken.Restore()
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
