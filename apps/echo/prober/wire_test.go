package prober_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/resolve"
	"iomux/apps/echo/prober/stats"
	"iomux/apps/echo/prober/targets"
	"iomux/codec"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/mux/muxtest"
	"iomux/transport"
)

const (
	ms        = time.Millisecond
	unlimited = 1 << 60
)

// Simulated hosts and routers; the prober is at the last two addresses.
var (
	hostA, hostB = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	hostA6       = netip.MustParseAddr("2001:db8::1")
	router       = netip.MustParseAddr("192.0.2.254")
	router6      = netip.MustParseAddr("2001:db8::fe")
	here, here6  = netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("2001:db8::100")

	// start is when simulated time begins.
	start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// list makes the targets from what targets.Parse takes.
func list(specs ...string) *targets.List {
	l, err := targets.Parse(specs...)
	if err != nil {
		panic(err)
	}
	return l
}

// wire is a transport in simulated time, of one address family.
type wire struct {
	lab *lab
	fd  int
	v6  bool
	id  uint16

	// onSend is asked about each probe; an error is that of Send. A nil one answers
	// all at once.
	onSend func(probe) error
	room   int64   // how many more messages there is room for
	errs   []error // what the next calls of Recv return

	sent   []probe
	quiet  bool // sent is not kept
	count  uint64
	queue  []transport.Message // of which the first ones are received already
	first  int
	closed bool

	reports []transport.ErrorReport
	dropped uint32
	stamps  []transport.TransmitStamp
	stamped bool // there are transmit and receive stamps

	echo4   codec.EchoV4
	echo6   codec.EchoV6
	buffers [256][]byte
	turn    int
}

var (
	_ transport.ErrorReporter   = (*wire)(nil)
	_ transport.DropCounter     = (*wire)(nil)
	_ transport.TransmitStamper = (*wire)(nil)
)

// probe is an echo request on the wire.
type probe struct {
	w       *wire
	at      time.Duration
	to      netip.Addr
	seq, id uint16
	data    []byte
	raw     []byte
}

func (p probe) String() string { return fmt.Sprintf("%v %v", p.at, p.to) }

func (w *wire) FD() int        { return w.fd }
func (w *wire) BatchSize() int { return 64 }
func (w *wire) Close() error   { w.closed = true; return nil }

func (w *wire) Recv(out []transport.Message) (int, error) {
	w.lab.alive(w)
	defer w.update()
	if len(w.errs) > 0 {
		err := w.errs[0]
		w.errs = w.errs[1:]
		return 0, err
	}
	n := min(len(out), len(w.queue)-w.first)
	for i, m := range w.queue[w.first:][:n] {
		b := out[i].Buf
		m.Off, m.N = 0, copy(b, m.Buf)
		if m.N < len(m.Buf) {
			m.Flags |= transport.Truncated
		}
		m.Buf = b
		out[i] = m
	}
	if w.first += n; w.first == len(w.queue) {
		w.queue, w.first = w.queue[:0], 0
	}
	return n, nil
}

func (w *wire) Send(out []transport.Message) (int, error) {
	w.lab.alive(w)
	defer w.update()
	for i := range out {
		if w.room == 0 {
			return i, nil
		}
		p := w.decode(&out[i])
		if w.onSend == nil {
			b := &w.buffers[w.turn%len(w.buffers)]
			w.turn++
			*b = w.encode((*b)[:0], codec.Echo{Type: codec.EchoReply, ID: p.id, Seq: p.seq, Data: p.data})
			w.queue = append(w.queue, transport.Message{Buf: *b, Peer: out[i].Peer})
		} else if err := w.onSend(p); err != nil {
			if i > 0 {
				w.onSend = again(w.onSend, err)
				return i, nil // and the error with the next call
			}
			return 0, err
		}
		if w.stamped {
			w.stamps = append(w.stamps, transport.TransmitStamp{ID: out[i].ID, Time: start.Add(p.at)})
		}
		if !w.quiet {
			p.data, p.raw = slices.Clone(p.data), slices.Clone(p.raw)
			w.sent = append(w.sent, p)
		}
		w.room--
		w.count++
	}
	return len(out), nil
}

// again returns err for the next probe, about which onSend has been asked.
func again(onSend func(probe) error, err error) func(probe) error {
	return func(p probe) error {
		p.w.onSend = onSend
		return err
	}
}

func (w *wire) decode(m *transport.Message) probe {
	var e codec.Echo
	var err error
	if w.v6 {
		err = w.echo6.Decode(m.Bytes(), &e)
	} else {
		err = w.echo4.Decode(m.Bytes(), &e)
	}
	if err != nil || e.Type != codec.EchoRequest || e.ID != w.id {
		panic(fmt.Sprint(e, err))
	}
	return probe{w, w.lab.now(), m.Peer.Addr(), e.Seq, e.ID, e.Data, m.Bytes()}
}

func (w *wire) encode(b []byte, e codec.Echo) []byte {
	var err error
	if w.v6 {
		b, err = w.echo6.Append(b, &e)
	} else {
		b, err = w.echo4.Append(b, &e)
	}
	if err != nil {
		panic(err)
	}
	return b
}

func (w *wire) TransmitStamps(dst []transport.TransmitStamp) (int, uint64, error) {
	n := copy(dst, w.stamps)
	w.stamps = append(w.stamps[:0], w.stamps[n:]...)
	return n, 0, nil
}

func (w *wire) ErrorReports(dst []transport.ErrorReport) (int, uint64, error) {
	n := copy(dst, w.reports)
	w.reports = w.reports[n:]
	return n, 0, nil
}

func (w *wire) Dropped() (uint32, error) { return w.dropped, nil }

// update tells the Mux what the wire is ready for.
func (w *wire) update() {
	var ready mux.Interest
	if len(w.queue) > 0 || len(w.errs) > 0 || len(w.reports) > 0 {
		ready |= mux.Readable
	}
	if w.room > 0 {
		ready |= mux.Writable
	}
	w.lab.mux.Set(w.fd, ready)
}

// at has something happen to the wire.
func (w *wire) at(at time.Duration, fn func()) {
	w.lab.mux.At(at, func() { fn(); w.update() })
}

// deliver has a message arrive.
func (w *wire) deliver(at time.Duration, from netip.Addr, b []byte) {
	b = slices.Clone(b)
	w.at(at, func() {
		m := transport.Message{Buf: b, Peer: netip.AddrPortFrom(from, 0), TTL: 61, TOS: 8}
		if w.stamped {
			m.Time = start.Add(at)
		}
		w.queue = append(w.queue, m)
	})
}

// reply is the reply to the probe, with other data.
func (p probe) reply(data []byte) []byte {
	return p.w.encode(nil, codec.Echo{Type: codec.EchoReply, ID: p.id, Seq: p.seq, Data: data})
}

// answer has the reply arrive after some time.
func (p probe) answer(after time.Duration) { p.w.deliver(p.at+after, p.to, p.reply(p.data)) }

// packet is the probe as it is on its way.
func (p probe) packet() []byte {
	k := codec.Packet{Source: here, Destination: p.to, TTL: 3, Protocol: codec.ProtocolICMPv4, Payload: p.raw}
	var b []byte
	var err error
	if p.w.v6 {
		k.Source, k.Protocol = here6, codec.ProtocolICMPv6
		var c codec.IPv6
		b, err = c.Append(nil, &k)
	} else {
		var c codec.IPv4
		b, err = c.Append(nil, &k)
	}
	if err != nil {
		panic(err)
	}
	return b
}

// error has an ICMP message about a packet arrive after some time.
func (p probe) error(after time.Duration, m codec.Message) {
	var b []byte
	var err error
	from := router
	if p.w.v6 {
		from = router6
		var c codec.ICMPv6
		c.KernelChecksum = true
		b, err = c.Append(nil, &m)
	} else {
		var c codec.ICMPv4
		b, err = c.Append(nil, &m)
	}
	if err != nil {
		panic(err)
	}
	p.w.deliver(p.at+after, from, b)
}

// lab is a prober on two wires.
type lab struct {
	*prober.Prober
	t      *testing.T
	mux    *muxtest.Fake
	loop   *loop.Loop
	v4, v6 *wire
	log    []string
	onLog  func(line string)

	names resolver
	woken chan struct{}

	mu      sync.Mutex
	pending bool       // Wake has been called, and Wait has not returned since
	roused  *sync.Cond // it is called

	ended  bool // no callback may come any more
	ndones int
}

// clocked is a Fake whose time does not move while a lookup is under way.
type clocked struct {
	*muxtest.Fake
	lab *lab
}

// Wake tells both at once, so that nobody finds the one without the other.
func (c clocked) Wake() error {
	c.lab.mu.Lock()
	defer c.lab.mu.Unlock()
	err := c.Fake.Wake()
	c.lab.pending = true
	c.lab.roused.Signal()
	select {
	case c.lab.woken <- struct{}{}:
	default:
	}
	return err
}

func (c clocked) Wait(events []mux.Event, timeout time.Duration) (int, error) {
	c.lab.mu.Lock()
	for p := c.lab.Prober; p != nil && !c.lab.pending && min(p.Asking(), prober.MaxLookups) > int(c.lab.names.held.Load()); {
		c.lab.roused.Wait()
	}
	c.lab.mu.Unlock()
	n, err := c.Fake.Wait(events, timeout)
	c.lab.mu.Lock()
	c.lab.pending = false // what was posted before is seen to in this turn
	c.lab.mu.Unlock()
	return n, err
}

// resolver looks names up.
type resolver struct {
	lab    *lab
	answer func(host string) (resolve.Answer, error)
	hold   chan struct{} // lookups wait until it is closed
	held   atomic.Int32
	asked  atomic.Int32
}

func (r *resolver) lookup(ctx context.Context, _, host string) (resolve.Answer, error) {
	r.asked.Add(1)
	if r.hold != nil {
		r.held.Add(1)
		clocked{r.lab.mux, r.lab}.Wake()
		select {
		case <-r.hold:
		case <-ctx.Done():
			return resolve.Answer{}, ctx.Err()
		}
		r.held.Add(-1)
	}
	return r.answer(host)
}

// release lets the lookups go on that are held, and waits for the first result. It is
// called within Wait.
func (r *resolver) release() {
	select {
	case <-r.lab.woken: // by the last lookup that was held
	default:
	}
	close(r.hold)
	<-r.lab.woken
	for r.held.Load() > 0 {
		runtime.Gosched()
	}
}

// newLab makes a prober whose callbacks write the log. Nothing is answered. Where there
// is no Config.Open, or it returns nothing, a wire is opened.
func newLab(t *testing.T, cfg prober.Config) *lab {
	t.Helper()
	lab := &lab{t: t, mux: muxtest.NewFake(start), woken: make(chan struct{}, 1)}
	lab.names.lab = lab
	lab.roused = sync.NewCond(&lab.mu)
	lab.loop = loop.New(clocked{lab.mux, lab}, loop.Clock(lab.mux.Clock))
	nothing := func(probe) error { return nil }
	lab.v4 = &wire{lab: lab, fd: 3, room: unlimited, onSend: nothing}
	lab.v6 = &wire{lab: lab, fd: 4, room: unlimited, onSend: nothing, v6: true}
	lab.v6.echo6.KernelChecksum = true
	if cfg.Targets == nil {
		cfg.Targets = list(hostA.String())
	}
	open := cfg.Open
	cfg.Open = func(o prober.Opening) (transport.Transport, error) {
		if open != nil {
			if t, err := open(o); t != nil || err != nil {
				return t, err
			}
		}
		w := lab.v4
		if o.IPv6 {
			w = lab.v6
		}
		w.id = o.Identifier
		w.update()
		return w, nil
	}
	if cfg.Lookup == nil {
		cfg.Lookup = lab.names.lookup
	}
	cfg.Clock = lab.mux.Clock
	onResult, onDone, onFailure := cfg.OnResult, cfg.OnDone, cfg.OnFailure
	cfg.OnResult = func(r *prober.Result) {
		lab.callback()
		if onResult != nil {
			onResult(r)
			return
		}
		s := fmt.Sprintf("%v %v %d", r.Addr, r.Outcome, r.Number)
		if r.Try > 0 {
			s += fmt.Sprintf(".%d", r.Try)
		}
		if r.RTT != 0 {
			s += fmt.Sprintf(" rtt %v", r.RTT)
		}
		if r.Outcome.Final() && !r.Last {
			s += " again"
		}
		if r.Err != nil {
			s += ": " + r.Err.Error()
		}
		lab.logf("%s", s)
	}
	cfg.OnDone = func() {
		lab.callback()
		if lab.ndones++; lab.ndones > 1 {
			t.Error("OnDone is called twice")
		}
		if onDone != nil {
			onDone()
			return
		}
		lab.logf("done")
	}
	cfg.OnFailure = func(err error) {
		if onFailure != nil {
			onFailure(err)
			return
		}
		lab.logf("failure: %v", err)
	}
	p, err := prober.New(lab.loop, cfg)
	if err != nil {
		t.Fatal(err)
	}
	lab.Prober = p
	t.Cleanup(func() {
		p.Close()
		lab.loop.Close()
	})
	return lab
}

// callback checks that one may be called.
func (lab *lab) callback() {
	if lab.ended {
		lab.t.Error("a callback after Stop")
	}
}

func (lab *lab) alive(w *wire) {
	if lab.ended || w.closed {
		lab.t.Error("the transport is used after Stop")
	}
}

func (lab *lab) now() time.Duration { return lab.mux.Clock().Sub(start) }

func (lab *lab) logf(format string, args ...any) {
	line := fmt.Sprintf("%v ", lab.now()) + fmt.Sprintf(format, args...)
	lab.log = append(lab.log, line)
	if lab.onLog != nil {
		lab.onLog(line)
	}
}

// run runs the loop until a time.
func (lab *lab) run(until time.Duration) {
	lab.t.Helper()
	lab.mux.At(until, lab.loop.Stop)
	if err := lab.loop.Run(context.Background()); err != nil {
		lab.t.Fatal(err)
	}
}

// wantNothingToDo checks that the loop has nothing left to wait for but one timer
// that was armed for probes which are answered by now.
func (lab *lab) wantNothingToDo() {
	lab.t.Helper()
	if err := lab.loop.Run(context.Background()); !errors.Is(err, syscall.EDEADLK) {
		lab.t.Errorf("Run = %v, want %v", err, syscall.EDEADLK)
	}
}

// want compares the log.
func (lab *lab) want(lines ...string) {
	lab.t.Helper()
	if !slices.Equal(lab.log, lines) {
		lab.t.Errorf("the log is\n\t%q\nwant\n\t%q", lab.log, lines)
	}
}

// wantSent compares what was sent by a wire.
func (lab *lab) wantSent(w *wire, lines ...string) {
	lab.t.Helper()
	var got []string
	for _, p := range w.sent {
		got = append(got, p.String())
	}
	if !slices.Equal(got, lines) {
		lab.t.Errorf("sent were\n\t%q\nwant\n\t%q", got, lines)
	}
}

// counts are those of the outcomes that occur.
type counts map[stats.Outcome]uint64

// wantCounts compares all counts, those that are not said with 0.
func (lab *lab) wantCounts(sent uint64, want counts) {
	lab.t.Helper()
	got := lab.Total().Counts()
	w := stats.Counts{Sent: sent}
	for o, n := range want {
		w.Of[o] = n
	}
	if got != w {
		lab.t.Errorf("counts\n\t%+v, want\n\t%+v", got, w)
	}
	if handed := lab.v4.count + lab.v6.count; got.Sent != handed {
		lab.t.Errorf("%d are counted as sent, and %d were handed over", got.Sent, handed)
	}
}
