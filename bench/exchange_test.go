package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/codec"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
	"iomux/transport/netlab"
)

// patience is how long a round of an exchange, or a probe, may take.
const patience = 10 * time.Second

// exchange is a client on a loop that sends packets, and has a window of them
// outstanding.
//
// How long each round trip takes is seen by a look at the clock for each batch, which is
// when its replies have arrived and the next requests leave: about 50 ns where a round
// trip takes 5 microseconds. What becomes of the times is done outside of the clock.
type exchange struct {
	*client
	l       *loop.Loop
	packets int
	unsent  int             // in this round
	trips   []time.Duration // of this round
	failure error
	late    *time.Timer
}

// newExchange puts a client on a loop, which closes it.
func newExchange(l *loop.Loop, window, packets int) (*exchange, error) {
	c, err := newClient(window)
	if err != nil {
		return nil, err
	}
	l.Own(c.t)
	e := &exchange{client: c, l: l, packets: packets, trips: make([]time.Duration, 0, packets)}
	e.late = time.AfterFunc(patience, func() { l.Post(e.giveUp) })
	e.late.Stop()
	_, err = l.Watch(c.t.FD(), mux.Readable, func(mux.Event) { e.receive() })
	return e, err
}

// round runs the loop until all replies have arrived.
func (e *exchange) round() error {
	e.unsent, e.trips, e.failure = e.packets, e.trips[:0], nil
	if err := e.send(len(e.requests), time.Now()); err != nil {
		return err
	}
	e.late.Reset(patience)
	defer e.late.Stop()
	if err := e.l.Run(context.Background()); err != nil {
		return err
	}
	return e.failure
}

// receive takes a batch of replies and sends a request for each.
func (e *exchange) receive() {
	n, err := e.t.Recv(e.in)
	now := time.Now()
	for i := 0; i < n && err == nil; i++ {
		var trip time.Duration
		if trip, err = e.answered(&e.in[i], now); err == nil {
			e.trips = append(e.trips, trip)
		}
	}
	if err == nil {
		err = e.send(n, now)
	}
	if len(e.trips) == e.packets || err != nil {
		e.failure = err
		e.l.Stop()
	}
}

// send sends up to n requests, as far as the round has any left.
func (e *exchange) send(n int, now time.Time) error {
	n = min(n, e.unsent)
	e.unsent -= n
	return e.client.send(n, now)
}

func (e *exchange) giveUp() {
	if missing := e.packets - len(e.trips); missing > 0 && e.failure == nil {
		e.failure = fmt.Errorf("%d of %d requests without a reply after %v; are the %d outstanding more than a receive buffer holds (net.core.rmem_max)?",
			missing-e.unsent, e.packets, patience, len(e.requests))
		e.l.Stop()
	}
}

// maxWindow is how many requests the sequence numbers tell apart.
const maxWindow = 1 << 16

// client sends echo requests to 127.0.0.1, and knows when it sent which.
type client struct {
	t        transport.Transport
	requests []transport.Message // by sequence number
	sent     []time.Time         // zero: not outstanding
	free     []transport.Message // of the requests, those that are not outstanding
	in       []transport.Message
}

// newClient opens a client that has up to window requests outstanding.
func newClient(window int) (*client, error) {
	t, err := open(0, window)
	if err != nil {
		return nil, err
	}
	c := &client{t: t, sent: make([]time.Time, window)}
	var icmp codec.EchoV4
	for seq := range window {
		msg, err := icmp.Append(nil, &codec.Echo{Type: codec.EchoRequest, ID: 1, Seq: uint16(seq), Data: make([]byte, 56)})
		if err != nil {
			t.Close()
			return nil, err
		}
		c.requests = append(c.requests, transport.Message{Buf: msg, N: len(msg),
			Peer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)})
		c.in = append(c.in, transport.Message{Buf: make([]byte, 256)})
	}
	c.free = slices.Clone(c.requests)
	return c, nil
}

// send sends n requests that are not outstanding, and waits where there is no room for
// them.
func (c *client) send(n int, now time.Time) error {
	batch := c.free[len(c.free)-n:]
	c.free = c.free[:len(c.free)-n]
	for i := range batch {
		c.sent[sequence(&batch[i])] = now
	}
	for len(batch) > 0 {
		sent, err := c.t.Send(batch)
		if err != nil {
			return err
		}
		if sent == 0 {
			ready, err := unix.Poll([]unix.PollFd{{Fd: int32(c.t.FD()), Events: unix.POLLOUT}}, int(patience.Milliseconds()))
			if ready == 0 && err == nil {
				return fmt.Errorf("no room for a request in %v", patience)
			}
		}
		batch = batch[sent:]
	}
	return nil
}

// answered takes the reply to a request and returns how long it took.
func (c *client) answered(reply *transport.Message, now time.Time) (time.Duration, error) {
	if len(reply.Bytes()) < codec.EchoHeaderLen {
		return 0, fmt.Errorf("a reply of %d bytes", len(reply.Bytes()))
	}
	seq := sequence(reply)
	if seq >= len(c.sent) || c.sent[seq].IsZero() {
		return 0, fmt.Errorf("a reply too many: sequence number %d", seq)
	}
	trip := now.Sub(c.sent[seq])
	c.sent[seq] = time.Time{}
	c.free = append(c.free, c.requests[seq])
	return trip, nil
}

// sequence is the sequence number in a request or a reply (RFC 792).
func sequence(m *transport.Message) int { return int(binary.BigEndian.Uint16(m.Bytes()[6:])) }

// onLoop makes a loop with an exchange on it, and a server if it is to have one.
func onLoop(t *testing.T, window, packets int, served bool) (*loop.Loop, *exchange) {
	t.Helper()
	netlab.Need(t)
	if err := silenceKernel(); err != nil {
		t.Fatal(err)
	}
	m, err := mux.Open("")
	if err != nil {
		t.Fatal(err)
	}
	l := loop.New(m)
	t.Cleanup(func() { l.Close() })
	if served {
		err = serve(l, window)
	}
	var e *exchange
	if err == nil {
		e, err = newExchange(l, window, packets)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l, e
}

// Every request has a round trip, and none lasts longer than the round. No more of them
// overlap than the window has.
func TestTripsOfExchange(t *testing.T) {
	const packets = 1000
	for _, window := range []int{1, 2, 100, packets} {
		_, e := onLoop(t, window, packets, true)
		for range 2 {
			start := time.Now()
			if err := e.round(); err != nil {
				t.Fatal(err)
			}
			wall := time.Since(start)
			var sum time.Duration
			for _, trip := range e.trips {
				sum += trip
			}
			if len(e.trips) != packets || slices.Min(e.trips) <= 0 || slices.Max(e.trips) > wall {
				t.Errorf("window %d: %d round trips from %v to %v, in a round of %v", window, len(e.trips), slices.Min(e.trips), slices.Max(e.trips), wall)
			}
			if sum > time.Duration(window)*wall {
				t.Errorf("window %d: round trips of %v in all, in a round of %v", window, sum, wall)
			}
		}
	}
}

func TestExchangeFails(t *testing.T) {
	expect := func(t *testing.T, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	t.Run("no reply", func(t *testing.T) {
		l, e := onLoop(t, 4, 10, false)
		l.AfterFunc(0, e.giveUp)
		expect(t, e.round(), "4 of 10 requests without a reply after 10s; are the 4 outstanding more than")
	})
	t.Run("twice", func(t *testing.T) {
		_, e := onLoop(t, 4, 10, true)
		if err := kernelReplies(true); err != nil {
			t.Fatal(err)
		}
		expect(t, e.round(), "a reply too many: sequence number")
	})
	t.Run("foreign", func(t *testing.T) {
		_, e := onLoop(t, 4, 10, false)
		_, err := e.answered(&transport.Message{Buf: []byte{0, 0, 0, 0, 0, 1, 0, 4}, N: 8}, time.Now())
		expect(t, err, "a reply too many: sequence number 4")
		_, err = e.answered(&transport.Message{Buf: make([]byte, 7), N: 7}, time.Now())
		expect(t, err, "a reply of 7 bytes")
	})
}
