package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/targets"
	"iomux/apps/echo/responder"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/netlab"
)

// What the two sides of the demo say to each other, and where.
const (
	clientGreeting = "Hello from client!"
	serverGreeting = "Hello from server!"
	patience       = 10 * time.Second // far more than a greeting takes
)

var demoAddr = netip.AddrFrom4([4]byte{127, 0, 0, 1})

type demoOptions struct {
	common
	count   int
	explain bool
}

func demoCommand() *cobra.Command {
	var o demoOptions
	c := &cobra.Command{
		Use:   "demo",
		Short: "Let a server and a client greet each other",
		Long: `Let a server and a client greet each other over raw ICMP, in a network namespace
of their own: no privilege is needed and nothing has to be set up.`,
		Example: `  ./echo demo --count 3 --backend poll
  ./echo demo --explain`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.count <= 0 {
				return fmt.Errorf("--count %d: want a positive number", o.count)
			}
			if netlab.Inside() {
				return o.run(c.Context(), c.OutOrStdout())
			}
			code, err := netlab.Reexec()
			if err == nil && code != exitOK {
				err = exitCode(code)
			}
			return err
		},
	}
	o.flags(c)
	c.Flags().IntVarP(&o.count, "count", "c", 1, "greetings to exchange")
	c.Flags().BoolVar(&o.explain, "explain", false, "tell each call as it happens, and what it is for")
	return c
}

// run holds the conversation, in a private network namespace.
func (o *demoOptions) run(ctx context.Context, w io.Writer) (err error) {
	lab, err := netlab.Current()
	if err != nil {
		return err
	}
	defer func() { err = join(err, lab.Close()) }()
	if err := lab.SetEchoReplies(false); err != nil { // the server answers
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	end := onInterrupt(cancel, func() {}, endings...)
	defer end()
	defer cancel()

	out := &lines{w: w, told: map[string]bool{}}
	server, err := o.open(out, "server", 8)
	if err != nil {
		return err
	}
	r, err := responder.New(server.loop, server.transport, responder.Config{
		Data: []byte(serverGreeting),
		OnRequest: func(r responder.Request) {
			server.received(r.Message.Peer.Addr(), r.Message.Bytes()[0], r.Echo.Code, r.Echo.Data)
		},
		OnFailure: server.failed,
	})
	if err != nil {
		return join(err, server.loop.Close())
	}
	served := make(chan error, 1)
	go func() { served <- server.run(ctx) }()

	sent, received, err := o.greet(ctx, out)
	server.loop.Stop()
	err = join(err, <-served, out.err)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n--- %s: the client sent %d and received %d, the server received %d and answered %d ---\n",
		o.backend, sent, received, r.Stats().Received, r.Stats().Answered)
	switch {
	case out.err != nil:
		return out.err
	case received < uint64(o.count):
		return exitCode(exitUnanswered)
	}
	return nil
}

// greet is the client. It sends each greeting when the one before has been answered.
func (o *demoOptions) greet(ctx context.Context, out *lines) (sent, received uint64, err error) {
	fmt.Fprintf(out, "IP Address: %v\n", demoAddr)
	list, err := targets.Parse(demoAddr.String())
	if err != nil {
		return 0, 0, err
	}
	client, err := o.open(out, "client", 0)
	if err != nil {
		return 0, 0, err
	}
	p, err := prober.New(client.loop, prober.Config{
		Targets: list,
		Count:   uint64(o.count),
		Timeout: patience,
		Window:  1,
		Data:    []byte(clientGreeting), Verbatim: true,
		Open: func(prober.Opening) (transport.Transport, error) { return client.transport, nil },
		OnResult: func(r *prober.Result) {
			if r.Size > 0 && r.Outcome.Final() { // with other data than was sent
				received++
				client.received(r.From, r.Type, r.Code, r.Data)
			}
		},
		OnDone:    client.loop.Stop,
		OnFailure: client.failed,
	})
	if err != nil {
		return 0, 0, join(err, client.loop.Close())
	}
	p.Start()
	err = client.run(ctx)
	return p.Total().Counts().Sent, received, err
}

// side is one of the two that talk.
type side struct {
	name      string
	out       *lines
	loop      *loop.Loop
	transport transport.Transport
	failure   error
}

// open opens a socket that receives one ICMP type, and a loop, in the order of
// the lesson.
func (o *demoOptions) open(out *lines, name string, receives uint8) (*side, error) {
	s := &side{name: name, out: out}
	var n *narrator
	if o.explain {
		n = &narrator{out, name}
	}
	t, err := transport.Open(rawNetwork, "", &transport.Config{Options: icmp.Options{Types: []uint8{receives}}})
	if err != nil {
		return nil, err
	}
	n.socket(t)
	var reportMux func(mux.Call)
	s.transport = t
	if n != nil {
		reportMux = n.mux
		s.transport = n.trace(t)
	}
	if s.loop, err = o.openLoop(reportMux); err != nil {
		return nil, join(err, t.Close())
	}
	n.create(o.backend)
	s.loop.Own(s.transport)
	return s, nil
}

// run runs and closes the loop.
func (s *side) run(ctx context.Context) error {
	err := s.loop.Run(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil // interrupted: the summary says how far it came
	}
	return join(err, s.failure, s.loop.Close())
}

func (s *side) failed(err error) {
	s.failure = err
	s.loop.Stop()
}

// received prints a message as the lesson does.
func (s *side) received(from netip.Addr, typ, code uint8, data []byte) {
	fmt.Fprintf(s.out, "\n%s:\nReceived ICMP message:\nSource IP: %v\nType: %d\nCode: %d\nOriginal Data: %s\n",
		s.name, from, typ, code, text(data))
}

// lines lets both sides print, one at a time. It keeps the first error.
type lines struct {
	mu   sync.Mutex
	w    io.Writer
	err  error
	told map[string]bool // steps that have been explained
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writeLocked(p)
}

func (l *lines) writeLocked(p []byte) (int, error) {
	n, err := l.w.Write(p)
	if l.err == nil {
		l.err = err
	}
	return n, err
}
