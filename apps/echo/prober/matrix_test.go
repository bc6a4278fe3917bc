package prober_test

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
)

// columns of the matrix, in the order of input.want.
var columns = [6]struct {
	name   string
	framed bool
	v6     bool
	open   func(prober.Opening) (transport.Transport, error) // unless it is framed
}{
	{name: "raw IPv4", open: prober.OpenSocket},
	{name: "ping IPv4", open: openPing},
	{name: "framed IPv4", framed: true},
	{name: "raw IPv6", v6: true, open: prober.OpenSocket},
	{name: "ping IPv6", v6: true, open: openPing},
	{name: "framed IPv6", v6: true, framed: true},
}

// Every input that a prober has to survive, over each kind of transport: what it
// counts, exactly.
func TestEveryInput(t *testing.T) {
	for i, column := range columns {
		t.Run(column.name, func(t *testing.T) {
			var cable transport.Transport
			var device string
			if !column.framed {
				d := openCable(t)
				cable, device = d, d.Name()
			}
			for n, in := range inputs() {
				if in.want[i] == "" {
					continue
				}
				t.Run(in.name, func(t *testing.T) {
					c := &cell{t: t, v6: column.v6, in: in, device: device, target: far(n, column.v6)}
					var open func(prober.Opening) (transport.Transport, error)
					if column.framed {
						here, there := newPipe(t)
						c.pipe, c.peer = here, newPeer(t, there)
						open = func(prober.Opening) (transport.Transport, error) { return here, nil }
					} else {
						c.peer, open = newPeer(t, cable), column.open
					}
					c.run(open)
					c.compare(in.want[i])
				})
			}
		})
	}
}

// The matrix is complete: in each column each outcome occurs.
func TestEveryOutcomeOccursInEveryColumn(t *testing.T) {
	for i, column := range columns {
		seen := map[string]bool{}
		for _, in := range inputs() {
			for name := range parseWant(t, in.want[i]) {
				seen[name] = true
			}
		}
		for o := range stats.Outcomes {
			if !seen[o.Key()] {
				t.Errorf("no input is to be %q over %s", o, column.name)
			}
		}
	}
}

// cell is one prober and one input. The prober sends four probes to one target, an
// hour apart and with a timeout of two hours and a half. The peer answers the first
// one with the input and the others honestly. Answers come in the order in which
// they were sent, so that when an honest one has come the prober has seen what was
// sent before it; then the clock is put forward to the next probe, and nothing
// depends on how fast the machine is.
type cell struct {
	t      *testing.T
	in     input
	v6     bool
	device string // the cable's
	pipe   *pipe  // the prober's end, if the cable is one
	peer   *peer
	target netip.Addr
	id     uint16

	recvBuffer int                  // if not 0
	onResult   func(*prober.Result) // if not nil

	l        *loop.Loop
	p        *prober.Prober
	ahead    time.Duration // of the clock
	requests int           // that the peer has seen, or that could not be sent
	first    *request
	last     *request // until it is answered
	ended    bool     // the first probe has
	told     bool     // a result is about an answer
	done     int
}

func (c *cell) clock() time.Time { return time.Now().Add(c.ahead) }

func (c *cell) run(open func(prober.Opening) (transport.Transport, error)) {
	t := c.t
	m, err := mux.Open("")
	if err != nil {
		t.Fatal(err)
	}
	l := loop.New(m, loop.Clock(c.clock))
	defer l.Close()
	c.l = l
	cfg := prober.Config{Targets: list(c.target.String()), Count: 4, Interval: time.Hour, Timeout: 150 * time.Minute,
		Data: pattern(56), TargetStats: true, Clock: c.clock}
	if c.pipe != nil {
		cfg.Source = pick(c.v6, near4, near6)
	}
	if c.in.cfg != nil {
		c.in.cfg(&cfg, c)
	}
	cfg.Open = func(o prober.Opening) (transport.Transport, error) {
		if c.recvBuffer != 0 {
			o.Config.RecvBuffer = c.recvBuffer
		}
		tr, err := open(o)
		c.id = o.Identifier
		if own, ok := transport.As[transport.Identifier](tr); ok {
			c.id = own.Identifier()
		}
		return tr, err
	}
	cfg.OnResult = c.result
	cfg.OnDone = func() { c.done++; l.Stop() }
	cfg.OnFailure = func(err error) { t.Error(err); l.Stop() }
	if c.p, err = prober.New(l, cfg); err != nil {
		t.Fatal(err)
	}
	defer c.p.Close()
	if c.in.begin != nil {
		c.in.begin(c.p, c)
	}
	c.peer.drain()
	if _, err := l.Watch(c.peer.tr.FD(), mux.Readable, func(mux.Event) { c.answer() }); err != nil {
		t.Fatal(err)
	}
	c.p.Start()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatalf("%v: %d probes are sent, the first one has ended: %v, %+v", err, c.requests, c.ended, c.p.Total().Counts())
	}
}

// answer is the peer.
func (c *cell) answer() {
	for _, r := range c.peer.receive() {
		if r.v6 != c.v6 || r.id != c.id {
			continue
		}
		r.pipe = c.pipe
		switch c.requests++; c.requests {
		case 1:
			c.first = r
			c.sendAll(c.in.now)
			c.ahead += time.Hour
		case 4:
			c.last = r
			c.finish()
		default:
			c.peer.send(r.honest())
		}
	}
}

// honest is the reply; that to many comes from one of them.
func (r *request) honest() []byte {
	return r.reply(func(e *echo) {
		if e.src.IsMulticast() || e.src == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			e.src = far(60_000, r.v6)
		}
	})
}

// result is the prober's OnResult.
func (c *cell) result(r *prober.Result) {
	if c.onResult != nil {
		c.onResult(r)
	}
	if r.RTT < 0 || r.RTT > 4*time.Hour {
		c.t.Errorf("a round-trip time of %v", r.RTT)
	}
	switch {
	case r.Number == 1 || r.Target == prober.NoTarget:
		if about := r.From.IsValid() || r.Err != nil; about && !c.told {
			c.told = true
			if c.in.check != nil && !c.in.check(c.first, r) {
				c.t.Errorf("%+v", *r)
			}
		}
		c.ended = c.ended || r.Outcome.Final()
		if r.Outcome == stats.SendError {
			c.requests++
			c.ahead += time.Hour
		}
		c.finish()
	case r.Number == 2 && r.Outcome == stats.Reply:
		c.sendAll(c.in.after)
		c.ahead += time.Hour
	case r.Number == 3 && r.Outcome == stats.Reply:
		c.ahead += time.Hour
	case r.Outcome != stats.Reply:
		c.t.Errorf("of an honest reply: %+v", *r)
		c.l.Stop()
	}
}

// finish answers the last probe once the first one has ended.
func (c *cell) finish() {
	if c.ended && c.last != nil {
		c.sendAll(c.in.late)
		c.peer.send(c.last.honest())
		c.last = nil
	}
}

func (c *cell) sendAll(answers func(*request) [][]byte) {
	if answers != nil {
		c.peer.send(answers(c.first)...)
	}
}

// compare demands that the counters are as said, but for the three honest replies.
func (c *cell) compare(want string) {
	t := c.t
	t.Helper()
	got, stray := c.p.Total().Counts(), c.p.Stray()
	wanted := parseWant(t, want)
	sent := uint64(4)
	for o := range stats.Outcomes {
		n, some := wanted[o.Key()].n, wanted[o.Key()].orMore
		if o == stats.Reply {
			n += 3
		}
		if o == stats.SendError {
			sent -= n
		}
		if got.Of[o] != n && (!some || got.Of[o] < n) {
			t.Errorf("%v: %d, want %d: %q", o, got.Of[o], n, want)
		}
	}
	if got.Sent != sent || got.InFlight() != 0 || c.done != 1 {
		t.Errorf("%d sent, %d in flight, done %d times, want %d, 0, 1", got.Sent, got.InFlight(), c.done, sent)
	}
	if n := wanted["stray"].n; stray != n {
		t.Errorf("%d stray, want %d: %q", stray, n, want)
	}
	if n := c.p.ClockSteps(); n != 0 {
		t.Errorf("%d clock steps", n)
	}
	target := c.p.Target(0).Counts() // of which all are but those that are nobody's
	if target.Of[stats.Forged] = got.Of[stats.Forged]; target != got {
		t.Errorf("the target has %+v, all have %+v", target, got)
	}
}

// number is that of a counter.
type number struct {
	n      uint64
	orMore bool
}

// parseWant reads a cell.
func parseWant(t *testing.T, s string) map[string]number {
	t.Helper()
	want := map[string]number{}
	if s == "kernel" {
		s = "timeout"
	}
	for _, word := range strings.Fields(strings.TrimPrefix(s, "kernel ")) {
		name, times, many := strings.Cut(word, "*")
		v := number{n: 1}
		if many {
			n, err := strconv.ParseUint(times, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			v.n = n
		}
		name, v.orMore = strings.CutSuffix(name, "+")
		if _, err := stats.ParseOutcome(name); err != nil && name != "stray" {
			t.Fatalf("%q: %v", s, err)
		}
		want[name] = v
	}
	return want
}

// unreachable makes a prefix unreachable until remove.
func (c *cell) unreachable(prefix netip.Prefix) (remove func()) {
	dst, err := netlink.ParseIPNet(prefix.String())
	if err != nil {
		c.t.Fatal(err)
	}
	route := &netlink.Route{Dst: dst, Type: unix.RTN_UNREACHABLE}
	if err := netlink.RouteAdd(route); err != nil {
		c.t.Fatal(fmt.Errorf("route %v: %w", prefix, err))
	}
	return func() {
		if err := netlink.RouteDel(route); err != nil {
			c.t.Error(err)
		}
	}
}
