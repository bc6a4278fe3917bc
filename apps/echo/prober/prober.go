// Package prober sends ICMP echo requests to many hosts from one socket and
// tells what became of each.
//
// It is the client behind the echo command, as a library. One descriptor, one
// loop and batches serve thousands of targets; what comes in is believed only
// as far as it can be checked:
//
//	id := prober.NewID()
//	filter, err := icmp.EchoReplyFilter(id)
//	if err != nil {
//		return err
//	}
//	t, err := transport.Open("ip4:icmp", "", &transport.Config{Filter: filter})
//	if err != nil {
//		return err
//	}
//	l.Own(t) // l is a *loop.Loop
//	p, err := prober.New(l, t, prober.Config{
//		Targets:  []netip.Addr{netip.MustParseAddr("127.0.0.1")},
//		ID:       id,
//		Count:    3,
//		OnResult: func(r prober.Result) { fmt.Println(r.Outcome, r.RTT) },
//		OnDone:   l.Stop,
//	})
//	if err != nil {
//		return err
//	}
//	p.Start()
//	err = l.Run(ctx)
package prober

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"iomux/codec"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
)

// NewID returns a random identifier for a prober, for Config.ID and the filter
// of its socket. It is never 0: to a request in which nothing is set, Linux
// sends a reply with a bad checksum.
func NewID() uint16 { return uint16(1 + rand.IntN(1<<16-1)) }

// Prober probes its targets. Its methods belong to the loop.
type Prober struct {
	l     *loop.Loop
	t     transport.Transport
	watch *loop.Watch
	want  mux.Interest // what watch waits for
	cfg   Config
	base  time.Time
	codec codec.EchoV4

	targets []target
	byAddr  map[netip.Addr]int32 // index in targets
	slots   []slot               // window of them for each target
	window  int                  // latest probes of a target that are remembered, a power of two

	// A round is one probe for each target, all of them the same request.
	ticker  *loop.Timer
	left    uint64 // rounds to begin
	seq     uint16 // of the latest round
	next    int    // the target that is next in it, or len(targets)
	request []byte
	out     []transport.Message

	waiting queue // probes in the order of sending; the first of them is awaited
	expiry  *loop.Timer

	in       []transport.Message
	echo     codec.Echo // what the message in hand says
	stray    uint64
	corrupt  uint64
	failures int // of Recv, in a row

	stopped bool
	done    bool // OnDone has been called
}

// target is what is known of one host.
type target struct {
	peer  netip.AddrPort
	stats Stats
}

// probe names one probe.
type probe struct {
	target int32
	seq    uint16
}

// slot is what is remembered of one probe.
type slot struct {
	sent  time.Duration // since the prober's base
	seq   uint16
	state state
}

type state uint8

const (
	unused state = iota
	awaited
	answered
	givenUp
)

const (
	batch      = 64      // messages that one call moves at the most
	bufferSize = 1 << 16 // holds the largest IPv4 packet
	tooMany    = 16      // failed receptions in a row: it is no use to go on
)

// New prepares a prober on t, which must carry bare ICMPv4 messages
// (transport.Payload) and stays the caller's. Start makes it begin. The error
// says what is wrong with the Config, or is that of loop.Watch.
func New(l *loop.Loop, t transport.Transport, cfg Config) (*Prober, error) {
	if f, ok := transport.As[transport.Framer](t); ok && f.Framing() != transport.Payload {
		return nil, errors.New("prober: the transport frames its messages; one that carries bare ICMP is needed")
	}
	if k, ok := transport.As[transport.Identifier](t); ok {
		cfg.ID = k.Identifier()
	}
	cfg.setDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Data = slices.Clone(cfg.Data)
	p := &Prober{l: l, t: t, want: mux.Readable, cfg: cfg, base: cfg.Clock(),
		window: cfg.window(), left: uint64(cfg.Count), next: len(cfg.Targets)}
	if cfg.Count == 0 {
		p.left = 1<<64 - 1
	}
	if err := p.setTargets(); err != nil {
		return nil, err
	}
	p.slots = make([]slot, uint64(len(p.targets))*uint64(p.window))
	n := min(t.BatchSize(), batch)
	p.out, p.in = make([]transport.Message, n), make([]transport.Message, n)
	space := make([]byte, n*bufferSize)
	for i := range p.in {
		p.in[i].Buf = space[i*bufferSize : (i+1)*bufferSize : (i+1)*bufferSize]
	}
	var err error
	if p.watch, err = l.Watch(t.FD(), p.want, p.ready); err != nil {
		return nil, err
	}
	return p, nil
}

// setTargets takes over the targets of the Config.
func (p *Prober) setTargets() error {
	p.targets = make([]target, len(p.cfg.Targets))
	p.byAddr = make(map[netip.Addr]int32, len(p.cfg.Targets))
	for i, a := range p.cfg.Targets {
		a = a.Unmap()
		if !a.Is4() || a.IsUnspecified() {
			return fmt.Errorf("prober: target %v, an IPv4 address of a host is needed", a)
		}
		if _, twice := p.byAddr[a]; twice {
			return fmt.Errorf("prober: target %v twice", a)
		}
		p.byAddr[a] = int32(i)
		p.targets[i].peer = netip.AddrPortFrom(a, 0)
	}
	return nil
}

// Start sends the first probe to each target, and the others at intervals. A
// second Start, or one after Stop, does nothing.
func (p *Prober) Start() {
	if p.ticker != nil || p.stopped {
		return
	}
	p.ticker = p.l.Every(p.cfg.Interval, p.tick)
	p.tick()
}

// Next begins the next round at once and counts the intervals from now. Called
// for each reply it makes the pace that of the slowest target, with one round
// under way, as ping -A does. It does nothing while a probe is awaited or a round
// is being sent (as it is during a SendError), before Start, after Stop, and when
// no round is left.
func (p *Prober) Next() {
	if p.ticker == nil || p.stopped || p.left == 0 || p.sending() || p.waiting.n > 0 {
		return
	}
	p.ticker.Reset(p.cfg.Interval)
	p.tick()
}

// Stop sends nothing more and receives nothing more. What has not been answered
// has no result: it is neither answered nor lost. No function of the Config is
// called after Stop.
func (p *Prober) Stop() error {
	p.stopped = true
	if p.ticker != nil {
		p.ticker.Stop()
	}
	if p.expiry != nil {
		p.expiry.Stop()
	}
	return p.watch.Stop()
}

// Stats returns the counts of a target, given by its index in Config.Targets.
func (p *Prober) Stats(target int) Stats { return p.targets[target].stats }

// Stray counts messages that answer no probe: from an unknown source, with a
// foreign identifier, with a sequence number that was not sent or is forgotten,
// or something else than echo replies.
func (p *Prober) Stray() uint64 { return p.stray }

// Corrupt counts messages from targets that are damaged: with a bad checksum,
// too short, or with a code other than 0.
func (p *Prober) Corrupt() uint64 { return p.corrupt }

// ready is called when the transport is readable, or writable while a round is
// being sent.
func (p *Prober) ready(ev mux.Event) {
	if ev.Ready&mux.Readable != 0 {
		p.receive()
	}
	if ev.Ready&mux.Writable != 0 {
		p.pump()
	}
}

// elapsed is the time since the prober was made.
func (p *Prober) elapsed() time.Duration { return p.cfg.Clock().Sub(p.base) }

func (p *Prober) slot(pr probe) *slot {
	return &p.slots[int(pr.target)*p.window+int(pr.seq)&(p.window-1)]
}

func (p *Prober) result(r Result) {
	if p.cfg.OnResult != nil {
		p.cfg.OnResult(r)
	}
}

// finish calls OnDone when nothing is left to do.
func (p *Prober) finish() {
	if p.stopped || p.done || p.left > 0 || p.sending() || p.waiting.n > 0 {
		return
	}
	p.done = true
	if p.cfg.OnDone != nil {
		p.cfg.OnDone()
	}
}

func (p *Prober) fail(err error) {
	p.Stop()
	if p.cfg.OnFailure != nil {
		p.cfg.OnFailure(err)
	}
}
