package bench

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/hashicorp/go-multierror"
	"golang.org/x/sys/unix"

	"iomux/apps/echo/responder"
	"iomux/bench/internal/jobs"
	"iomux/codec"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/netlab"
)

// BenchmarkEchoRoundTrip sends a request to the echo server when the reply to the one
// before is there, over raw sockets on loopback, with client and server on a loop
// each. Spin needs two idle processors.
func BenchmarkEchoRoundTrip(b *testing.B) {
	for _, spin := range []time.Duration{0, 50 * time.Microsecond} {
		b.Run(fmt.Sprintf("spin=%v", spin), func(b *testing.B) {
			eachBackend(b, func(b *testing.B, m mux.Mux) {
				between(b, m, spin, 1, 500)
				reportCost(b, echo(1).name(), m.Name())
			})
		})
	}
}

// BenchmarkEchoWindow sends as many requests as replies arrive, so that so many are
// outstanding: what client and server, on a loop each, get through.
func BenchmarkEchoWindow(b *testing.B) {
	for _, window := range *windowSizes {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			eachBackend(b, func(b *testing.B, m mux.Mux) {
				c := between(b, m, 0, window, max(2048, 8*window))
				b.ReportMetric(1e9/c.Wall(), "packets/s")
				reportCost(b, echo(window).name(), m.Name())
			})
		})
	}
}

// between measures rounds of so many packets there and back, with client and server on
// a goroutine each, and closes both: who counts the costs, of both on one loop, has the
// network to himself.
func between(b *testing.B, m mux.Mux, spin time.Duration, window, packets int) *jobs.Comparison {
	netlab.Need(b)
	if err := silenceKernel(); err != nil {
		b.Fatal(err)
	}
	defer serving(b, m.Name(), spin)()
	l := loop.New(m, loop.Spin(spin))
	defer l.Close()
	play, err := exchange(l, window, packets)
	if err != nil {
		b.Fatal(err)
	}
	return rounds(b, func() (jobs.Sample, error) { return jobs.Timed(packets, play) })
}

// silenceKernel leaves the requests to the server.
func silenceKernel() error {
	lab, err := netlab.Current()
	if err != nil {
		return err
	}
	defer lab.Close()
	return lab.SetEchoReplies(false)
}

// exchange puts a client on a loop. A round of it runs the loop until so many replies
// have arrived, with a window of requests outstanding.
func exchange(l *loop.Loop, window, packets int) (round func() error, err error) {
	c, err := newClient(window)
	if err != nil {
		return nil, err
	}
	l.Own(c.t)
	var unsent, missing int
	var failure error
	if _, err := l.Watch(c.t.FD(), mux.Readable, func(mux.Event) {
		n, err := c.t.Recv(c.in)
		missing -= n
		if err == nil {
			more := min(n, unsent)
			unsent -= more
			err = c.send(more)
		}
		if missing <= 0 || err != nil {
			failure = err
			l.Stop()
		}
	}); err != nil {
		return nil, err
	}
	return func() error {
		unsent, missing = packets-window, packets
		if err := c.send(window); err != nil {
			return err
		}
		if err := l.Run(context.Background()); err != nil {
			return err
		}
		if failure == nil && missing < 0 {
			failure = fmt.Errorf("%d replies too many", -missing)
		}
		return failure
	}, nil
}

// open opens a raw ICMP socket that receives one type.
func open(receives uint8) (transport.Transport, error) {
	return transport.Open("ip4:icmp", "", &transport.Config{
		RecvBuffer: 1 << 20,
		Options:    icmp.Options{Types: []uint8{receives}},
	})
}

// serve has a responder on a loop answer whatever comes.
func serve(l *loop.Loop) error {
	t, err := open(8)
	if err != nil {
		return err
	}
	l.Own(t)
	_, err = responder.New(l, t, responder.Config{Policy: responder.NewPolicy(responder.PolicyConfig{Rate: -1})})
	return err
}

// serving runs a responder on a goroutine of its own, until stop.
func serving(b *testing.B, backend string, spin time.Duration) (stop func()) {
	m, err := mux.Open(backend)
	if err != nil {
		b.Fatal(err)
	}
	l := loop.New(m, loop.Spin(spin))
	if err := serve(l); err != nil {
		l.Close()
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	return func() {
		l.Stop()
		var all *multierror.Error
		all = multierror.Append(all, <-ended, l.Close())
		if err := all.ErrorOrNil(); err != nil {
			b.Error(err)
		}
	}
}

// client sends echo requests to 127.0.0.1.
type client struct {
	t       transport.Transport
	out, in []transport.Message
}

// newClient opens a client that has up to window requests outstanding.
func newClient(window int) (*client, error) {
	t, err := open(0)
	if err != nil {
		return nil, err
	}
	c := &client{t: t}
	var icmp codec.EchoV4
	for seq := range window {
		msg, err := icmp.Append(nil, &codec.Echo{Type: codec.EchoRequest, ID: 1, Seq: uint16(seq), Data: make([]byte, 56)})
		if err != nil {
			t.Close()
			return nil, err
		}
		c.out = append(c.out, transport.Message{Buf: msg, N: len(msg),
			Peer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)})
		c.in = append(c.in, transport.Message{Buf: make([]byte, 256)})
	}
	return c, nil
}

// send sends n requests, which are a window at the most, and waits where there is no
// room for them.
func (c *client) send(n int) error {
	for left := c.out[:n]; len(left) > 0; {
		sent, err := c.t.Send(left)
		if err != nil {
			return err
		}
		if sent == 0 {
			unix.Poll([]unix.PollFd{{Fd: int32(c.t.FD()), Events: unix.POLLOUT}}, -1)
		}
		left = left[sent:]
	}
	return nil
}
