package prober_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/netlab"
)

// patience is a timeout that no reply exceeds, however slow the machine.
const patience = 30 * time.Second

// kernelReplies switches the kernel's echo replies in the private namespace that
// the test runs in.
func kernelReplies(t *testing.T, on bool) *netlab.Namespace {
	t.Helper()
	netlab.Need(t)
	ns, err := netlab.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	if err := ns.SetEchoReplies(on); err != nil {
		t.Fatal(err)
	}
	return ns
}

func newLoop(t *testing.T, backend string) *loop.Loop {
	t.Helper()
	m, err := mux.Open(backend)
	if err != nil {
		t.Fatal(err)
	}
	l := loop.New(m)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// newProber makes a prober on real sockets, the failure of which ends the test.
func newProber(t *testing.T, l *loop.Loop, cfg prober.Config) *prober.Prober {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = patience
	}
	cfg.OnFailure = func(err error) {
		t.Error(err)
		l.Stop()
	}
	p, err := prober.New(l, cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.Own(p)
	return p
}

// run runs the loop until it is stopped.
func run(t *testing.T, l *loop.Loop) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// wantAll checks that all probes of both kinds were answered, and there was nothing
// else.
func wantAll(t *testing.T, p *prober.Prober, n uint64) {
	t.Helper()
	want := stats.Counts{Sent: n}
	want.Of[stats.Reply] = n
	if c := p.Total().Counts(); c != want || p.Stray() != 0 {
		t.Errorf("%+v, %d stray, want %d replies and nothing else", c, p.Stray(), n)
	}
}

// openPing opens a ping socket even where a raw one may be had.
func openPing(o prober.Opening) (transport.Transport, error) {
	network := "udp4:icmp"
	if o.IPv6 {
		network = "udp6:ipv6-icmp"
	}
	cfg := o.Config
	cfg.Options = icmp.Options{Stamps: o.Stamps, Errors: true, DontFragment: o.DontFragment, Broadcast: o.Broadcast}
	return transport.Open(network, "", &cfg)
}

func TestNoReplyIsLostOnAnyBackendAndSocket(t *testing.T) {
	ns := kernelReplies(t, true)
	if err := ns.SetPingGroups(0, 0); err != nil {
		t.Fatal(err)
	}
	for _, backend := range mux.Backends() {
		for name, open := range map[string]func(prober.Opening) (transport.Transport, error){"raw": nil, "ping": openPing} {
			t.Run(backend+"/"+name, func(t *testing.T) {
				l := newLoop(t, backend)
				p := newProber(t, l, prober.Config{Targets: list("127.0.0.1", "::1", "127.0.0.5"), Count: 300, Interval: time.Millisecond,
					Data: make([]byte, 56), Open: open, OnDone: l.Stop})
				p.Start()
				run(t, l)
				wantAll(t, p, 900)
				if s := p.Total().Summary(); s.Min <= 0 || s.Max > patience {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}

// Flat out, the receive buffer holds what comes.
func TestLargeRoundsLoseNoReplies(t *testing.T) {
	kernelReplies(t, true)
	l := newLoop(t, "")
	p := newProber(t, l, prober.Config{Targets: list("127.1.0.0/18"), Count: 2, Data: make([]byte, 56), OnDone: l.Stop})
	p.Start()
	run(t, l)
	wantAll(t, p, 2<<14)
}

func TestProbersSideBySideSeeTheirOwnReplies(t *testing.T) {
	kernelReplies(t, true)
	l := newLoop(t, "")
	var probers []*prober.Prober
	left := 4
	for range left {
		probers = append(probers, newProber(t, l, prober.Config{Targets: list("127.0.0.1", "::1"), Count: 500, Window: 16, Data: sixteen,
			OnDone: func() {
				if left--; left == 0 {
					l.Stop()
				}
			}}))
	}
	for _, p := range probers {
		p.Start()
	}
	run(t, l)
	for _, p := range probers {
		wantAll(t, p, 1000)
	}
}

// One target that cannot be reached takes nothing from the others.
func TestTargetWithoutARouteIsASendError(t *testing.T) {
	kernelReplies(t, true)
	l := newLoop(t, "")
	outcomes := map[string]int{}
	p := newProber(t, l, prober.Config{Targets: list("192.0.2.1", "127.0.0.1", "2001:db8::1", "::1"), Count: 5, OnDone: l.Stop,
		OnResult: func(r *prober.Result) { outcomes[fmt.Sprint(r.Addr, " ", r.Outcome, " ", r.Err != nil)]++ }})
	p.Start()
	run(t, l)
	for _, want := range []string{"192.0.2.1 send error true", "127.0.0.1 reply false", "2001:db8::1 send error true", "::1 reply false"} {
		if outcomes[want] != 5 {
			t.Errorf("%q is not among %v", want, outcomes)
		}
	}
	if len(outcomes) != 4 {
		t.Errorf("outcomes %v", outcomes)
	}
}

// A network that answers nothing: more probes are in flight than there are
// sequence numbers, and each ends in a timeout.
func TestMoreInFlightThanSequenceNumbersOnASocket(t *testing.T) {
	ns := kernelReplies(t, false)
	if err := ns.AddLocalRoute(netip.MustParsePrefix("10.0.0.0/8")); err != nil {
		t.Fatal(err)
	}
	const n = 1 << 17
	l := newLoop(t, "")
	p := newProber(t, l, prober.Config{Targets: list("10.0.0.0/15"), Count: 1, Window: prober.MaxWindow, Data: sixteen, OnDone: l.Stop})
	p.Start()
	l.Every(time.Millisecond, func() {
		if p.Total().Counts().InFlight() == n {
			l.Stop()
		}
	})
	run(t, l)
	if c := p.Total().Counts(); c.InFlight() != n {
		t.Fatalf("%+v", c)
	}
	l = newLoop(t, "")
	p = newProber(t, l, prober.Config{Targets: list("10.0.0.0/15"), Count: 1, Window: prober.MaxWindow, Data: sixteen, Timeout: 100 * time.Millisecond,
		OnDone: l.Stop})
	p.Start()
	run(t, l)
	want := stats.Counts{Sent: n}
	want.Of[stats.Timeout] = n
	if c := p.Total().Counts(); c != want {
		t.Errorf("%+v, want %d timeouts", c, n)
	}
}

// A target with a zone is probed on its link.
func TestLinkLocalTargets(t *testing.T) {
	kernelReplies(t, true)
	far, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	const a, b = "fe80::a", "fe80::b"
	if err := netlab.Veth(netlab.End{Name: "near0", Addrs: []netip.Prefix{netip.MustParsePrefix(a + "/64")}},
		netlab.End{In: far, Name: "far0", Addrs: []netip.Prefix{netip.MustParsePrefix(b + "/64")}}); err != nil {
		t.Fatal(err)
	}
	l := newLoop(t, "")
	p := newProber(t, l, prober.Config{Targets: list(b + "%near0"), Count: 3, Retries: 1, OnDone: l.Stop,
		OnResult: func(r *prober.Result) {
			if r.Addr.String() != b+"%near0" || r.From != r.Addr || r.Outcome != stats.Reply {
				t.Errorf("%+v", *r)
			}
		}})
	p.Start()
	run(t, l)
	wantAll(t, p, 3)
}
