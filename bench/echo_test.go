package bench

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/apps/echo/responder"
	"iomux/codec"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/netlab"
)

// BenchmarkEcho sends windows of echo requests to the echo server and waits for
// all replies: the cost of a round trip, over a raw socket on loopback, with
// client and server on a backend each.
func BenchmarkEcho(b *testing.B) {
	netlab.Need(b)
	lab, err := netlab.Current()
	if err != nil {
		b.Fatal(err)
	}
	defer lab.Close()
	if err := lab.SetEchoReplies(false); err != nil {
		b.Fatal(err)
	}
	for _, window := range []int{1, 32} {
		b.Run(fmt.Sprintf("outstanding=%d", window), func(b *testing.B) {
			eachBackend(b, func(b *testing.B, m mux.Mux) {
				stop := serve(b, m.Name())
				defer stop()
				c := newClient(b, m, window)
				b.ResetTimer()
				for done := 0; done < b.N; done += window {
					c.roundTrips()
				}
			})
		})
	}
}

// open opens a raw ICMP socket that receives one type.
func open(b *testing.B, receives uint8) transport.Transport {
	t, err := transport.Open("ip4:icmp", "", &transport.Config{
		RecvBuffer: 1 << 20,
		Options:    icmp.Options{Types: []uint8{receives}},
	})
	if err != nil {
		b.Fatal(err)
	}
	return t
}

// serve runs a responder on a goroutine of its own, until stop.
func serve(b *testing.B, backend string) (stop func()) {
	m, err := mux.Open(backend)
	if err != nil {
		b.Fatal(err)
	}
	l := loop.New(m)
	t := open(b, 8)
	l.Own(t)
	if _, err := responder.New(l, t, responder.Config{Policy: responder.NewPolicy(responder.PolicyConfig{Rate: -1})}); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	return func() {
		l.Stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	}
}

// client sends a window of requests at a time.
type client struct {
	b      *testing.B
	m      mux.Mux
	t      transport.Transport
	out    []transport.Message
	in     []transport.Message
	events []mux.Event
}

func newClient(b *testing.B, m mux.Mux, window int) *client {
	c := &client{b: b, m: m, t: open(b, 0), events: make([]mux.Event, 1)}
	b.Cleanup(func() { c.t.Close() })
	var icmp codec.EchoV4
	for seq := range window {
		msg, err := icmp.Append(nil, &codec.Echo{Type: codec.EchoRequest, ID: 1, Seq: uint16(seq), Data: make([]byte, 56)})
		if err != nil {
			b.Fatal(err)
		}
		c.out = append(c.out, transport.Message{Buf: msg, N: len(msg),
			Peer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)})
		c.in = append(c.in, transport.Message{Buf: make([]byte, 256)})
	}
	if err := m.Add(c.t.FD(), mux.Readable, 1); err != nil {
		b.Fatal(err)
	}
	return c
}

// roundTrips sends the window and receives the replies to it.
func (c *client) roundTrips() {
	for sent := 0; sent < len(c.out); {
		n, err := c.t.Send(c.out[sent:])
		if err != nil {
			c.b.Fatal(err)
		}
		if n == 0 {
			poll := []unix.PollFd{{Fd: int32(c.t.FD()), Events: unix.POLLOUT}}
			unix.Poll(poll, -1)
		}
		sent += n
	}
	for got := 0; got < len(c.out); {
		if _, err := c.m.Wait(c.events, -1); err != nil {
			c.b.Fatal(err)
		}
		n, err := c.t.Recv(c.in[:len(c.out)-got])
		if err != nil {
			c.b.Fatal(err)
		}
		got += n
	}
}
