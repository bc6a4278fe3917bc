package prober_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/codec"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/mux/muxtest"
	"iomux/transport"
)

// The hosts in simulated time, and the identifier of the prober.
var (
	hostA   = netip.MustParseAddr("192.0.2.1")
	hostB   = netip.MustParseAddr("192.0.2.2")
	hostC   = netip.MustParseAddr("192.0.2.3")
	foreign = netip.MustParseAddr("192.0.2.99")
)

const id = 0xbeef

// start is when simulated time begins.
var start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// wire is a transport in simulated time.
type wire struct {
	mux  *muxtest.Fake
	size int // of a batch

	// onSend is asked about each probe. A nil one answers all at once.
	onSend func(probe) error
	// room is how many more messages there is room for before it would block.
	room int
	// recvErrs are what the next calls of Recv return.
	recvErrs []error

	sent   []probe
	quiet  bool // sent is not kept
	queue  []transport.Message
	peak   int // the longest that queue has been
	recvs  int
	header int // bytes in front of each message received
	codec  codec.EchoV4
	echo   codec.Echo

	buffers [256][]byte // for replies without onSend
	turn    int
}

// probe is an echo request on the wire.
type probe struct {
	w    *wire
	at   time.Duration
	to   netip.Addr
	seq  uint16
	id   uint16
	data []byte
}

func (p probe) String() string { return fmt.Sprintf("%v %v %d", p.at, p.to, p.seq) }

const (
	wireFD    = 3
	unlimited = 1 << 30
)

func (w *wire) FD() int        { return wireFD }
func (w *wire) BatchSize() int { return w.size }
func (w *wire) Close() error   { return nil }

func (w *wire) Recv(ms []transport.Message) (int, error) {
	defer w.update()
	w.recvs++
	if len(w.recvErrs) > 0 {
		err := w.recvErrs[0]
		w.recvErrs = w.recvErrs[1:]
		return 0, err
	}
	n := min(len(ms), len(w.queue), w.size)
	for i, m := range w.queue[:n] {
		b := ms[i].Buf
		m.Off, m.N = w.header, copy(b[min(w.header, len(b)):], m.Buf)
		if m.N < len(m.Buf) {
			m.Flags |= transport.Truncated
		}
		m.Buf = b
		ms[i] = m
	}
	w.queue = slices.Delete(w.queue, 0, n)
	return n, nil
}

func (w *wire) Send(ms []transport.Message) (int, error) {
	defer w.update()
	n := min(len(ms), w.size, w.room)
	for i := range ms[:n] {
		if err := w.codec.Decode(ms[i].Bytes(), &w.echo); err != nil {
			panic(err)
		}
		p := probe{w, w.now(), ms[i].Peer.Addr(), w.echo.Seq, w.echo.ID, w.echo.Data}
		if w.onSend == nil {
			// As the kernel does on loopback, without an allocation.
			w.queue = append(w.queue, transport.Message{Buf: w.replyNow(p), Peer: ms[i].Peer})
			w.peak = max(w.peak, len(w.queue))
		} else if err := w.onSend(p); err != nil {
			if i > 0 {
				return i, nil // and the error with the next call
			}
			return 0, err
		} else if !w.quiet {
			p.data = slices.Clone(p.data)
			w.sent = append(w.sent, p)
		}
		w.room--
	}
	return n, nil
}

// replyNow is the reply to p in one of the buffers, which are used in turn.
func (w *wire) replyNow(p probe) []byte {
	b := &w.buffers[w.turn%len(w.buffers)]
	w.turn++
	var err error
	*b, err = w.codec.Append((*b)[:0], &codec.Echo{Type: codec.EchoReply, ID: p.id, Seq: p.seq, Data: p.data})
	if err != nil {
		panic(err)
	}
	return *b
}

func (w *wire) now() time.Duration { return w.mux.Clock().Sub(start) }

// update tells the Mux what the wire is ready for.
func (w *wire) update() {
	var ready mux.Interest
	if len(w.queue) > 0 || len(w.recvErrs) > 0 {
		ready |= mux.Readable
	}
	if w.room > 0 {
		ready |= mux.Writable
	}
	w.mux.Set(wireFD, ready)
}

// allow makes room for n more messages at a time.
func (w *wire) allow(at time.Duration, n int) {
	w.mux.At(at, func() {
		w.room = n
		w.update()
	})
}

// deliver has a message arrive.
func (w *wire) deliver(at time.Duration, from netip.Addr, b []byte) {
	b = slices.Clone(b)
	w.mux.At(at, func() {
		w.queue = append(w.queue, transport.Message{Buf: b, Peer: netip.AddrPortFrom(from, 0)})
		w.update()
	})
}

// reply is the reply to the probe, byte for byte.
func (p probe) reply() []byte {
	return encode(codec.Echo{Type: codec.EchoReply, ID: p.id, Seq: p.seq, Data: p.data})
}

// answer has the reply arrive after some time.
func (p probe) answer(after time.Duration) {
	p.w.deliver(p.at+after, p.to, p.reply())
}

func encode(e codec.Echo) []byte {
	var c codec.EchoV4
	b, err := c.Append(nil, &e)
	if err != nil {
		panic(err)
	}
	return b
}

// lab is a prober on a wire.
type lab struct {
	*prober.Prober
	t     *testing.T
	mux   *muxtest.Fake
	loop  *loop.Loop
	wire  *wire
	log   []string // results and callbacks with their times
	onLog func()

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

// newLab makes a prober on a wire that moves 64 messages at a time. Its
// callbacks write the log.
func newLab(t *testing.T, cfg prober.Config) *lab {
	t.Helper()
	return newLabOn(t, &wire{size: 64}, cfg)
}

// newLabOn makes a prober on a given wire.
func newLabOn(t *testing.T, w *wire, cfg prober.Config) *lab {
	t.Helper()
	lab := &lab{t: t, mux: muxtest.NewFake(start), wire: w}
	lab.loop = loop.New(counted{lab.mux, &lab.modifies}, loop.Clock(lab.mux.Clock))
	t.Cleanup(func() { lab.loop.Close() })
	w.mux, w.room, w.header = lab.mux, unlimited, 20
	w.onSend = func(probe) error { return nil }
	w.update()
	if cfg.ID == 0 {
		cfg.ID = id
	}
	if cfg.Targets == nil {
		cfg.Targets = []netip.Addr{hostA}
	}
	cfg.Clock = lab.mux.Clock
	if cfg.OnResult == nil {
		cfg.OnResult = func(r prober.Result) {
			s := fmt.Sprintf("%v %v %d", cfg.Targets[r.Target], r.Outcome, r.Seq)
			if r.RTT != 0 {
				s += fmt.Sprintf(" rtt %v", r.RTT)
			}
			if r.Altered {
				s += " altered"
			}
			if r.Err != nil {
				s += ": " + r.Err.Error()
			}
			if answered := r.Outcome <= prober.Late; (r.Message != nil) != answered || (r.Echo != nil) != answered {
				t.Errorf("%s has the message %v and the echo %v", s, r.Message, r.Echo)
			}
			lab.logf("%s", s)
		}
	}
	if cfg.OnDone == nil {
		cfg.OnDone = func() { lab.logf("done") }
	}
	if cfg.OnFailure == nil {
		cfg.OnFailure = func(err error) { lab.logf("failure: %v", err) }
	}
	var err error
	if lab.Prober, err = prober.New(lab.loop, lab.wire, cfg); err != nil {
		t.Fatal(err)
	}
	return lab
}

func (lab *lab) logf(format string, args ...any) {
	lab.log = append(lab.log, fmt.Sprintf("%v ", lab.wire.now())+fmt.Sprintf(format, args...))
	if lab.onLog != nil {
		lab.onLog()
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

// wantNothingToDo checks that the loop has nothing left to wait for, apart from
// what the hosts still have to send within 10 milliseconds.
func (lab *lab) wantNothingToDo() {
	lab.t.Helper()
	now := lab.wire.now()
	if err := lab.loop.Run(context.Background()); !errors.Is(err, syscall.EDEADLK) {
		lab.t.Errorf("Run = %v, want %v", err, syscall.EDEADLK)
	}
	if waited := lab.wire.now() - now; waited > 10*ms {
		lab.t.Errorf("the loop has waited for %v", waited)
	}
}

// want compares the log.
func (lab *lab) want(lines ...string) {
	lab.t.Helper()
	if !slices.Equal(lab.log, lines) {
		lab.t.Errorf("the log is\n\t%q\nwant\n\t%q", lab.log, lines)
	}
}

// wantSent compares what was sent.
func (lab *lab) wantSent(lines ...string) {
	lab.t.Helper()
	var got []string
	for _, p := range lab.wire.sent {
		got = append(got, p.String())
	}
	if !slices.Equal(got, lines) {
		lab.t.Errorf("sent were\n\t%q\nwant\n\t%q", got, lines)
	}
}

// counts are the counts of a target's Stats.
type counts struct {
	Sent, Received, Duplicates, Late, Lost, SendErrors, Altered uint64
}

func (lab *lab) wantCounts(target int, want counts) {
	lab.t.Helper()
	s := lab.Stats(target)
	got := counts{s.Sent, s.Received, s.Duplicates, s.Late, s.Lost, s.SendErrors, s.Altered}
	if got != want {
		lab.t.Errorf("the counts of target %d are %+v, want %+v", target, got, want)
	}
}

func (lab *lab) wantRefused(stray, corrupt uint64) {
	lab.t.Helper()
	if lab.Stray() != stray || lab.Corrupt() != corrupt {
		lab.t.Errorf("%d stray and %d corrupt, want %d and %d", lab.Stray(), lab.Corrupt(), stray, corrupt)
	}
}
