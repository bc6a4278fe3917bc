package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
		Example: `  sudo ./echo server --take-over
  sudo ./echo server --take-over --data "Hello from server!" --quiet`,
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
	end := onInterrupt(l.Stop, kernel.restoreAtOnce, endings...)
	defer end()
	defer func() { err = join(err, kernel.restore()) }()
	if o.network == rawNetwork {
		var notes []string
		notes, err = kernel.leaveToUs(o.takeOver)
		for _, note := range notes {
			fmt.Fprintln(stderr, "echo:", note)
		}
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
	switch o.network {
	case rawNetwork:
		t, err := transport.Open(rawNetwork, "", &transport.Config{
			Options: icmp.Options{Types: []uint8{8}}, // echo requests
		})
		if errors.Is(err, fs.ErrPermission) && o.takeOver {
			err = fmt.Errorf("%w; --take-over needs CAP_NET_ADMIN too: setcap cap_net_raw,cap_net_admin+ep", err)
		}
		return t, err
	case pingNetwork:
		return nil, fmt.Errorf("--network %s: a ping socket receives no echo requests, want %s", pingNetwork, rawNetwork)
	}
	return transport.Open(o.network, "", nil)
}

// kernelReplies sees to it that the kernel does not answer as well.
type kernelReplies struct {
	mu    sync.Mutex
	taken *responder.Takeover
}

// leaveToUs returns an error if the kernel answers and may not be stopped, and
// what is to be told about what it found.
func (k *kernelReplies) leaveToUs(takeOver bool) (notes []string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if takeOver {
		if k.taken, err = responder.TakeOver(); err != nil {
			return nil, fmt.Errorf("--take-over: %w", err)
		}
		if note := k.taken.Note(); note != "" {
			notes = append(notes, "found that "+note)
		}
		return notes, nil
	}
	answers, err := responder.KernelReplies()
	if err != nil {
		return nil, err
	}
	if answers {
		return nil, errors.New(`the kernel answers echo requests too (net.ipv4.icmp_echo_ignore_all=0), so clients would see every reply twice; switch that off
  while the server runs, by the option --take-over, or
  until the machine restarts, by sudo sysctl net.ipv4.icmp_echo_ignore_all=1`)
	}
	if note := responder.Leftover(); note != "" {
		notes = append(notes, "found that "+note, "with --take-over, this server restores it when it ends")
	}
	return notes, nil
}

// restore undoes leaveToUs. It may be called from any goroutine and more than
// once.
func (k *kernelReplies) restore() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.restoreLocked()
}

func (k *kernelReplies) restoreLocked() error {
	if k.taken == nil {
		return nil
	}
	return k.taken.Restore()
}

// restoreAtOnce does not wait for a takeover that is stuck halfway; the next
// server finds what it has left behind.
func (k *kernelReplies) restoreAtOnce() {
	if k.mu.TryLock() {
		defer k.mu.Unlock()
		k.restoreLocked()
	}
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
