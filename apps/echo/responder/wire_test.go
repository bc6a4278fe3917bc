package responder_test

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"iomux/apps/echo/responder"
	"iomux/apps/echo/responder/rules"
	"iomux/codec"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/mux/muxtest"
	"iomux/transport"
)

const ms = time.Millisecond

var (
	start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	local = netip.MustParseAddr("192.0.2.1")
	peerA = netip.MustParseAddr("192.0.2.11")
	peerB = netip.MustParseAddr("192.0.2.12")
	peerC = netip.MustParseAddr("192.0.2.13")
)

// wire is a transport in simulated time. Messages have room for an IP header of 20
// bytes in front, unless they are IPv6 or whole packets.
type wire struct {
	mux      *muxtest.Fake
	fd       int // if it is not wireFD
	framing  transport.Framing
	bare     bool
	size     int     // of a batch
	room     int     // how many more messages there is room for before it would block
	recvErrs []error // what the next calls of Recv return
	onSend   func(*transport.Message) error

	queue []transport.Message
	sent  []transport.Message // with buffers of their own
	when  []time.Duration     // when each of sent was
	quiet bool                // sent is not kept
	calls []string
}

const (
	wireFD    = 3
	header    = 20
	unlimited = 1 << 30
)

func (w *wire) FD() int        { return cmp.Or(w.fd, wireFD) }
func (w *wire) BatchSize() int { return w.size }
func (w *wire) Close() error   { return nil }

func (w *wire) Framing() transport.Framing { return w.framing }

func (w *wire) Recv(ms []transport.Message) (int, error) {
	defer w.update()
	if len(w.recvErrs) > 0 {
		err := w.recvErrs[0]
		w.recvErrs = w.recvErrs[1:]
		w.call("recv error")
		return 0, err
	}
	n := min(len(ms), len(w.queue), w.size)
	header := header
	if w.bare || w.framing != transport.Payload {
		header = 0
	}
	for i, m := range w.queue[:n] {
		b := ms[i].Buf
		m.Off, m.N = header, copy(b[header:], m.Buf)
		m.Buf = b
		ms[i] = m
	}
	w.queue = w.queue[n:]
	w.call("recv ", n)
	return n, nil
}

func (w *wire) Send(ms []transport.Message) (int, error) {
	defer w.update()
	n := min(len(ms), w.size, w.room)
	for i := range ms[:n] {
		m := &ms[i]
		if w.onSend != nil {
			if err := w.onSend(m); err != nil {
				n = i // and the error with the next call
				if i == 0 {
					w.call("send error")
					return 0, err
				}
				break
			}
		}
		if !w.quiet {
			w.sent = append(w.sent, *m)
			w.sent[len(w.sent)-1].Buf = slices.Clone(m.Buf)
			w.when = append(w.when, w.mux.Clock().Sub(start))
		}
	}
	w.room -= n
	w.call("send ", n)
	return n, nil
}

func (w *wire) call(args ...any) {
	if !w.quiet {
		w.calls = append(w.calls, fmt.Sprint(args...))
	}
}

// update tells the Mux what the wire is ready for.
func (w *wire) update() {
	var ready mux.Interest
	if len(w.queue) > 0 || len(w.recvErrs) > 0 {
		ready |= mux.Readable
	}
	if w.room > 0 {
		ready |= mux.Writable
	}
	w.mux.Set(w.FD(), ready)
}

// at calls fn in simulated time, and tells the Mux.
func (w *wire) at(d time.Duration, fn func()) {
	w.mux.At(d, func() {
		fn()
		w.update()
	})
}

// message is a message as Recv is to return it, but for the header.
func message(from netip.Addr, b []byte) transport.Message {
	return transport.Message{Buf: b, Peer: netip.AddrPortFrom(from, 0), Local: local, Ifindex: 2, TTL: 1, TOS: 0x10, Time: start}
}

// request is an echo request.
func request(from netip.Addr, seq uint16, data string) transport.Message {
	return message(from, encode(codec.Echo{Type: codec.EchoRequest, ID: 7, Seq: seq, Data: []byte(data)}))
}

func encode(e codec.Echo) []byte {
	var c codec.EchoV4
	b, err := c.Append(nil, &e)
	if err != nil {
		panic(err)
	}
	return b
}

// policy is that of some rules, in simulated time and without a limit for each source.
func policy(t testing.TB, list ...string) *responder.Policy {
	t.Helper()
	return responder.NewPolicy(responder.PolicyConfig{Rules: set(t, list...), Rate: -1, Start: start})
}

// set makes rules of their text in YAML.
func set(t testing.TB, list ...string) *rules.Set {
	t.Helper()
	text := "version: 1\nseed: 42\nrules:\n"
	none := true
	for _, rule := range list {
		if rule != "" {
			text, none = text+"  - "+rule+"\n", false
		}
	}
	if none {
		return nil
	}
	set, err := rules.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// lab is a responder on a wire.
type lab struct {
	*responder.Responder
	t        testing.TB
	mux      *muxtest.Fake
	loop     *loop.Loop
	wire     *wire
	failures []error
	modifies int // calls of the Mux
}

// counted counts the changes of a Mux.
type counted struct {
	mux.Mux
	modifies *int
}

func (c counted) Modify(fd int, want mux.Interest, token uint64) error {
	*c.modifies++
	return c.Mux.Modify(fd, want, token)
}

func newLab(t testing.TB, w *wire, cfg responder.Config) *lab {
	t.Helper()
	lab := &lab{t: t, mux: muxtest.NewFake(start), wire: w}
	lab.loop = loop.New(counted{lab.mux, &lab.modifies}, loop.Clock(lab.mux.Clock))
	t.Cleanup(func() { lab.loop.Close() })
	w.mux, w.room = lab.mux, unlimited
	w.update()
	if cfg.OnFailure == nil {
		cfg.OnFailure = func(err error) { lab.failures = append(lab.failures, err) }
	}
	var err error
	if lab.Responder, err = responder.New(lab.loop, w, cfg); err != nil {
		t.Fatal(err)
	}
	return lab
}

// run runs the loop until a time.
func (lab *lab) run(until time.Duration) {
	lab.t.Helper()
	lab.mux.At(until, lab.loop.Stop)
	if err := lab.loop.Run(context.Background()); err != nil {
		lab.t.Fatal(err)
	}
}

// wantReplies compares what was sent: to whom, the sequence number, the code
// and the data.
func (lab *lab) wantReplies(want ...string) {
	lab.t.Helper()
	var got []string
	for i := range lab.wire.sent {
		m := &lab.wire.sent[i]
		var c codec.EchoV4
		var e codec.Echo
		if err := c.Decode(m.Bytes(), &e); err != nil || e.Type != codec.EchoReply || e.ID != 7 {
			lab.t.Errorf("%v was sent: %v", m.Bytes(), err)
		}
		got = append(got, fmt.Sprintf("%v %d %d %s", m.Peer.Addr(), e.Seq, e.Code, e.Data))
	}
	if !slices.Equal(got, want) {
		lab.t.Errorf("sent were\n\t%q\nwant\n\t%q", got, want)
	}
}

func (lab *lab) wantCalls(want ...string) {
	lab.t.Helper()
	if !slices.Equal(lab.wire.calls, want) {
		lab.t.Errorf("the calls were\n\t%q\nwant\n\t%q", lab.wire.calls, want)
	}
}

func (lab *lab) wantStats(want responder.Stats) {
	lab.t.Helper()
	if got := lab.Stats(); got != want {
		lab.t.Errorf("the counts are %+v, want %+v", got, want)
	}
}
