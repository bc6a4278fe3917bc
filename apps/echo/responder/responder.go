// Package responder answers ICMP echo requests on an event loop.
//
// It is the server behind the echo command, as a library: a batch of requests
// is received with one system call, turned into replies in place, and sent with
// another.
//
//	t, err := transport.Open("ip4:icmp", "", &transport.Config{
//		Options: icmp.Options{Types: []uint8{8}},
//	})
//	if err != nil {
//		return err
//	}
//	l.Own(t) // l is a *loop.Loop
//	r, err := responder.New(l, t, responder.Config{})
//	if err != nil {
//		return err
//	}
//	err = l.Run(ctx)
//	fmt.Println(r.Stats().Answered, "answered")
//
// The kernel answers echo requests too, so that every client sees two replies
// unless it is told not to: see [KernelReplies] and [TakeOver].
package responder

import (
	"errors"
	"fmt"
	"slices"

	"iomux/codec"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
)

// Config says how to answer. The zero value answers as RFC 1122, 3.2.2.6, asks:
// with the data of the request.
type Config struct {
	// Data, if not nil, is sent in place of the request's data, at most
	// codec.MaxEchoDataV4 bytes. Where the sources of requests can be forged,
	// much data makes an amplifier for attacks on others.
	Data []byte
	// OnRequest, if not nil, is called on the loop for each request before it
	// is answered.
	OnRequest func(Request)
	// OnFailure, if not nil, is called on the loop when the transport keeps
	// failing and the responder has stopped for that reason. Without it,
	// failures show in Stats only.
	OnFailure func(error)
}

// Request is an echo request as it came in.
type Request struct {
	// Message is the packet; it belongs to the responder and must not be
	// changed.
	Message *transport.Message
	// Echo is what it says. Data is valid during the call only.
	Echo *codec.Echo
}

// Stats counts since New. What was received and is neither answered, corrupt,
// ignored nor a send error is still to be sent, or was dropped by Stop.
type Stats struct {
	Received   uint64 // messages of any kind
	Answered   uint64 // replies that were sent
	Corrupt    uint64 // not answered: bad checksum, shorter than an echo header, or truncated
	Ignored    uint64 // not answered: no echo request, or sent to a broadcast or multicast address
	SendErrors uint64 // replies that could not be sent
	RecvErrors uint64 // failed receptions
}

// Responder answers what arrives on one transport. Its methods belong to the
// loop.
type Responder struct {
	t     transport.Transport
	watch *loop.Watch
	want  mux.Interest // what watch waits for
	cfg   Config
	codec codec.EchoV4
	echo  codec.Echo // what the message in hand says
	stats Stats

	ms       []transport.Message
	pending  []transport.Message // replies that are still to be sent: part of ms
	failures int                 // of Recv, in a row
	stopped  bool
}

// bufferSize holds the largest IPv4 packet.
const bufferSize = 1 << 16

// tooMany failed receptions in a row mean that it is no use to go on.
const tooMany = 16

// New answers echo requests that arrive on t, from the next turn of the loop
// until Stop or until the loop is closed. The transport must carry bare ICMPv4
// messages (transport.Payload) and stays the caller's.
func New(l *loop.Loop, t transport.Transport, cfg Config) (*Responder, error) {
	if f, ok := transport.As[transport.Framer](t); ok && f.Framing() != transport.Payload {
		return nil, errors.New("responder: the transport frames its messages; one that carries bare ICMP is needed")
	}
	if len(cfg.Data) > codec.MaxEchoDataV4 {
		return nil, fmt.Errorf("responder: %d bytes of data, at most %d fit a packet", len(cfg.Data), codec.MaxEchoDataV4)
	}
	cfg.Data = slices.Clone(cfg.Data)
	r := &Responder{t: t, want: mux.Readable, cfg: cfg, ms: make([]transport.Message, t.BatchSize())}
	space := make([]byte, len(r.ms)*bufferSize)
	for i := range r.ms {
		r.ms[i].Buf = space[i*bufferSize : (i+1)*bufferSize : (i+1)*bufferSize]
	}
	var err error
	if r.watch, err = l.Watch(t.FD(), r.want, r.ready); err != nil {
		return nil, err
	}
	return r, nil
}

// Stats returns the counts so far. Call it on the loop, or after the loop.
func (r *Responder) Stats() Stats { return r.stats }

// Stop ends the answering. Replies that have not been sent yet are dropped, and
// no function of the Config is called after Stop.
func (r *Responder) Stop() error {
	r.stopped = true
	return r.watch.Stop()
}

// ready receives one batch and answers it. What is left is reported again, so
// there is no need to receive until nothing comes.
func (r *Responder) ready(mux.Event) {
	if len(r.pending) > 0 {
		r.send()
		return // what has been received meanwhile keeps the descriptor readable
	}
	n, err := r.t.Recv(r.ms)
	if err != nil {
		r.failed(err)
		return
	}
	r.failures = 0
	replies := 0
	for i := range r.ms[:n] {
		if r.answer(&r.ms[i]) {
			r.ms[replies], r.ms[i] = r.ms[i], r.ms[replies]
			replies++
		}
		if r.stopped {
			return
		}
	}
	r.pending = r.ms[:replies]
	r.send()
}

// answer turns m into the reply to it, if it is to have one.
func (r *Responder) answer(m *transport.Message) bool {
	r.stats.Received++
	e := &r.echo
	err := r.codec.Decode(m.Bytes(), e)
	switch {
	case m.Flags&transport.Broadcast != 0, errors.Is(err, codec.ErrType), err == nil && e.Type != codec.EchoRequest:
		r.stats.Ignored++
		return false
	case err != nil, m.Flags&transport.Truncated != 0:
		r.stats.Corrupt++
		return false
	}
	if r.cfg.OnRequest != nil {
		r.cfg.OnRequest(Request{m, e})
	}
	if r.cfg.Data == nil {
		err = r.codec.Reply(m.Bytes())
	} else {
		e.Type, e.Data = codec.EchoReply, r.cfg.Data
		var b []byte
		b, err = r.codec.Append(m.Buf[:0], e)
		m.Off, m.N = 0, len(b)
	}
	m.Reply()
	return err == nil
}

// send sends what is pending. While the transport would block it waits for it
// to become writable, and receives nothing: the requests queue in the kernel.
func (r *Responder) send() {
	for len(r.pending) > 0 {
		n, err := r.t.Send(r.pending)
		switch {
		case err != nil:
			r.stats.SendErrors++
			n = 1
		case n == 0:
			r.wait(mux.Writable)
			return
		default:
			r.stats.Answered += uint64(n)
		}
		r.pending = r.pending[n:]
	}
	r.wait(mux.Readable)
}

// wait changes what the loop waits for.
func (r *Responder) wait(want mux.Interest) {
	if want == r.want {
		return
	}
	if err := r.watch.Set(want); err != nil {
		r.fail(err)
		return
	}
	r.want = want
}

// failed counts an error of Recv. One may pass, such as an interface that went
// down and comes up again; one that stays must not keep the loop busy.
func (r *Responder) failed(err error) {
	r.stats.RecvErrors++
	if r.failures++; r.failures == tooMany {
		r.fail(err)
	}
}

func (r *Responder) fail(err error) {
	r.Stop()
	if r.cfg.OnFailure != nil {
		r.cfg.OnFailure(err)
	}
}
