// Package responder answers ICMP echo requests on an event loop, as it is told to.
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
// The transport carries bare ICMPv4 or ICMPv6 messages, or IP packets of both
// families: then every address that is routed to it answers.
//
// What is done with each request, by whom it is from and whom it is for, say rules
// (package rules): whether, when, how often and how damaged it is answered. They
// belong to a [Policy], which responders on several loops share:
//
//	set, err := rules.ReadFile("rules.yaml")
//	...
//	p := responder.NewPolicy(responder.PolicyConfig{Rules: set})
//	r, err := responder.New(l, t, responder.Config{Policy: p})
//	...
//	p.Use(other) // from any goroutine
//
// # What is never answered
//
// Sources of requests can be forged, so a responder must not harm those who did not
// ask. It answers nothing that is damaged, no fragments, nothing from or to an
// address that is not that of one host (RFC 1122, 3.2.1.3), no packet with a source
// route, and of a transport of IP packets none from a loopback address or from the
// address that it is for. An answer has no more bytes than its request unless a rule
// or Config.Data says so, and each source gets so many answers a second at most.
//
// The kernel answers echo requests too, so that every client sees two replies
// unless it is told not to: see [KernelReplies] and [TakeOver].
package responder

import (
	"errors"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"iomux/apps/echo/responder/queue"
	"iomux/apps/echo/responder/rules"
	"iomux/codec"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
)

// Responder answers what arrives on one transport. Its methods belong to the
// loop.
type Responder struct {
	l      *loop.Loop
	t      transport.Transport
	watch  *loop.Watch
	want   mux.Interest // what watch waits for
	cfg    Config
	framed bool // the transport carries IP packets
	policy *Policy

	// Of the batch in hand.
	now     time.Duration // since the Policy's start
	well    bool
	looked  bool          // arrived is of this batch
	arrived time.Duration // since the Policy's start, when all of the batch had
	asked   asked         // the request in hand
	mark    mark          // and what is to be known of the answer to it

	rules    *ruleset
	decider  *rules.Decider // nil if there are no rules
	packet   rules.Packet
	decision rules.Decision
	counts   []ruleCounts // of each rule
	sources  *sources

	echo4 codec.EchoV4
	echo6 codec.EchoV6
	ip4   codec.IPv4
	ip6   codec.IPv6
	in    codec.Packet // the packet in hand
	out   codec.Packet // one that is being made

	stats    Stats
	ms       []transport.Message
	marks    []mark
	outgoing outgoing
	held     *queue.Queue[held] // nil before the first
	late     []transport.Message
	lateMark []mark
	timer    *loop.Timer // when the first of held is due, or a Forge without room is tried again
	armed    bool
	wake     time.Duration // when that is, since the Policy's start

	failures int // of Recv, in a row
	pausing  time.Duration
	resting  bool // until the pause is over, nothing is received
	pause    *loop.Timer
	stopped  bool
	dropped  uint64 // requests in hand when Stop was called
}

// bufferSize holds the largest IPv6 packet, and what an answer may have more than its
// request.
const bufferSize = 1<<16 + 256

// After so many failed receptions in a row there are pauses, which become longer.
const (
	tooMany    = 16
	firstPause = 10 * time.Millisecond
	longPause  = time.Second
)

// New answers echo requests that arrive on t, from the next turn of the loop
// until Stop or until the loop is closed. The transport carries bare ICMP messages
// (transport.Payload) or IP packets (transport.IPPacket) and stays the caller's.
func New(l *loop.Loop, t transport.Transport, cfg Config) (*Responder, error) {
	f := framing(t)
	if f != transport.Payload && f != transport.IPPacket {
		return nil, errors.New("responder: the transport carries frames; one that carries bare ICMP or IP packets is needed")
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Data = slices.Clone(cfg.Data)
	r := &Responder{l: l, t: t, want: mux.Readable, cfg: cfg, framed: f == transport.IPPacket, policy: cfg.Policy, sources: newSources()}
	if r.policy == nil {
		r.policy = NewPolicy(PolicyConfig{Start: l.Now()})
	}
	r.echo6.KernelChecksum = !r.framed
	r.ms, r.marks = newBatch(t.BatchSize())
	r.use(r.policy.current.Load())
	var err error
	if r.watch, err = l.Watch(t.FD(), r.want, r.ready); err != nil {
		return nil, err
	}
	return r, nil
}

// newBatch returns messages with room for any packet.
func newBatch(n int) ([]transport.Message, []mark) {
	ms := make([]transport.Message, n)
	space := make([]byte, n*bufferSize)
	for i := range ms {
		ms[i].Buf = space[i*bufferSize : (i+1)*bufferSize : (i+1)*bufferSize]
	}
	return ms, make([]mark, n)
}

// Stop ends the answering. Answers that have not been sent yet are dropped, and
// no function of the Config is called after Stop.
func (r *Responder) Stop() error {
	r.stopped = true
	for _, t := range []*loop.Timer{r.timer, r.pause} {
		if t != nil {
			t.Stop()
		}
	}
	return r.watch.Stop()
}

// ready receives one batch and answers it. What is left is reported again, so
// there is no need to receive until nothing comes. While answers wait for room
// nothing is received: the requests queue in the kernel.
func (r *Responder) ready(mux.Event) {
	switch {
	case r.outgoing.waits():
		r.send()
	case !r.resting:
		r.receive()
	}
}

func (r *Responder) receive() {
	n, err := r.t.Recv(r.ms)
	if err != nil {
		r.failed(err)
		return
	}
	r.failures = 0
	if current := r.policy.current.Load(); current != r.rules {
		r.use(current)
	}
	r.now, r.looked = r.l.Now().Sub(r.policy.start), false
	r.well = !r.policy.unwell.Load()
	replies, mixed := 0, false
	for i := 0; i < n && !r.stopped; i++ {
		r.stats.Received++
		if r.answer(&r.ms[i]) {
			if replies != i {
				r.ms[replies], r.ms[i] = r.ms[i], r.ms[replies]
			}
			r.marks[replies] = r.mark
			mixed = mixed || r.mark != mark{}
			replies++
		}
	}
	r.outgoing.begin(r.ms[:replies], r.marks, mixed)
	if !r.stopped {
		r.send()
	}
}

// wait changes what the loop waits for.
func (r *Responder) wait(want mux.Interest) {
	if r.resting && want == mux.Readable {
		want = 0
	}
	if want == r.want || r.stopped {
		return
	}
	if err := r.watch.Set(want); err != nil {
		r.fail(err)
		return
	}
	r.want = want
}

// failed counts an error of Recv. One may pass, and so may many: an interface that is
// down comes up again. They must not keep the loop busy until then.
func (r *Responder) failed(err error) {
	r.stats.RecvErrors++
	if gone(err) {
		r.fail(err)
		return
	}
	if r.failures++; r.failures < tooMany {
		return
	}
	if r.failures == tooMany {
		r.pausing = firstPause
	} else {
		r.pausing = min(2*r.pausing, longPause)
	}
	r.resting = true
	r.wait(mux.Readable)
	if r.stopped {
		return
	}
	if r.pause == nil {
		r.pause = r.l.AfterFunc(r.pausing, r.resume)
	} else {
		r.pause.Reset(r.pausing)
	}
}

func (r *Responder) resume() {
	r.resting = false
	if !r.outgoing.waits() {
		r.wait(mux.Readable)
	}
}

// gone tells an error that stays for good: of a device that was deleted, or of a
// transport that was closed.
func gone(err error) bool {
	return errors.Is(err, unix.EBADFD) || errors.Is(err, unix.EBADF) || errors.Is(err, net.ErrClosed)
}

func (r *Responder) fail(err error) {
	r.Stop()
	if r.cfg.OnFailure != nil {
		r.cfg.OnFailure(err)
	}
}
