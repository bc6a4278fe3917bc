package prober_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/responder"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/netlab"
)

// patience is a timeout that no reply exceeds, however slow the machine.
const patience = 30 * time.Second

var loopback = netip.MustParseAddr("127.0.0.1")

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

// open opens a transport that the loop closes.
func open(t *testing.T, l *loop.Loop, network string, cfg *transport.Config) transport.Transport {
	t.Helper()
	tr, err := transport.Open(network, "", cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.Own(tr)
	return tr
}

// openFor opens a raw socket that receives replies with one identifier.
func openFor(t *testing.T, l *loop.Loop, id uint16) transport.Transport {
	t.Helper()
	filter, err := icmp.EchoReplyFilter(id)
	if err != nil {
		t.Fatal(err)
	}
	return open(t, l, "ip4:icmp", &transport.Config{Filter: filter})
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

// newProber makes a patient prober, the failure of which ends the test.
func newProber(t *testing.T, l *loop.Loop, tr transport.Transport, cfg prober.Config) *prober.Prober {
	t.Helper()
	cfg.Timeout = patience
	cfg.OnFailure = func(err error) {
		t.Error(err)
		l.Stop()
	}
	p, err := prober.New(l, tr, cfg)
	if err != nil {
		t.Fatal(err)
	}
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

// respond answers echo requests on a loop of its own until the end of the test.
func respond(t *testing.T, backend string) {
	t.Helper()
	l := newLoop(t, backend)
	tr := open(t, l, "ip4:icmp", &transport.Config{Options: icmp.Options{Types: []uint8{8}}})
	if _, err := responder.New(l, tr, responder.Config{}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- l.Run(context.Background()) }()
	t.Cleanup(func() {
		l.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestNoReplyIsLostOnAnyBackend(t *testing.T) {
	for _, backend := range mux.Backends() {
		for _, from := range []string{"kernel", "responder"} {
			t.Run(backend+"/"+from, func(t *testing.T) {
				kernelReplies(t, from == "kernel")
				if from == "responder" {
					respond(t, backend)
				}
				l := newLoop(t, backend)
				id := prober.NewID()
				p := newProber(t, l, openFor(t, l, id), prober.Config{
					Targets: []netip.Addr{loopback}, ID: id, Count: 1000, Interval: time.Millisecond,
					Data:   []byte("Hello from client!"),
					OnDone: l.Stop,
				})
				p.Start()
				run(t, l)
				s := p.Stats(0)
				if s.Sent != 1000 || s.Received != 1000 || s.Duplicates+s.Late+s.Lost+s.SendErrors+s.Altered+p.Stray()+p.Corrupt() != 0 {
					t.Errorf("%+v, %d stray, %d corrupt", s, p.Stray(), p.Corrupt())
				}
				if s.Min <= 0 || s.Max > patience || s.Mean() < s.Min || s.Mean() > s.Max || s.Deviation() > s.Max {
					t.Errorf("round-trip times: %+v", s)
				}
			})
		}
	}
}

// Every one of these rounds brings more replies than a receive buffer holds.
func TestLargeRoundsLoseNoReplies(t *testing.T) {
	kernelReplies(t, true)
	l := newLoop(t, "")
	var targets []netip.Addr
	for a := netip.MustParseAddr("127.1.0.1"); len(targets) < 4096; a = a.Next() {
		targets = append(targets, a)
	}
	id := prober.NewID()
	p := newProber(t, l, openFor(t, l, id), prober.Config{
		Targets: targets, ID: id, Count: 3, Interval: 10 * time.Millisecond, OnDone: l.Stop,
	})
	p.Start()
	run(t, l)
	for i, a := range targets {
		if s := p.Stats(i); s.Sent != 3 || s.Received != 3 {
			t.Fatalf("%v: %+v", a, s)
		}
	}
}

func TestPingSocket(t *testing.T) {
	ns := kernelReplies(t, true)
	if err := ns.SetPingGroups(0, 0); err != nil {
		t.Fatal(err)
	}
	for _, backend := range mux.Backends() {
		t.Run(backend, func(t *testing.T) {
			l := newLoop(t, backend)
			p := newProber(t, l, open(t, l, "udp4:icmp", nil), prober.Config{
				Targets: []netip.Addr{loopback, netip.MustParseAddr("127.0.0.5")},
				Count:   200, Interval: time.Millisecond, Data: make([]byte, 56), OnDone: l.Stop,
			})
			p.Start()
			run(t, l)
			for i := range 2 {
				if s := p.Stats(i); s.Sent != 200 || s.Received != 200 || s.Duplicates+s.Altered+p.Stray()+p.Corrupt() != 0 {
					t.Errorf("%+v, %d stray, %d corrupt", s, p.Stray(), p.Corrupt())
				}
			}
		})
	}
}

func TestProbersWithFiltersDoNotSeeEachOthersReplies(t *testing.T) {
	kernelReplies(t, true)
	l := newLoop(t, "")
	var probers []*prober.Prober
	left := 2
	for id := range uint16(2) {
		p := newProber(t, l, openFor(t, l, 100+id), prober.Config{
			Targets: []netip.Addr{loopback}, ID: 100 + id, Count: 500, Interval: time.Millisecond,
			OnDone: func() {
				if left--; left == 0 {
					l.Stop()
				}
			},
		})
		probers = append(probers, p)
		p.Start()
	}
	run(t, l)
	for _, p := range probers {
		if s := p.Stats(0); s.Received != 500 || s.Duplicates+p.Stray()+p.Corrupt() != 0 {
			t.Errorf("%+v, %d stray, %d corrupt", s, p.Stray(), p.Corrupt())
		}
	}
}

// Without a filter a raw socket is offered its own requests and the replies to
// others; they are told apart all the same.
func TestProbersWithoutFiltersCountOthersRepliesAsStray(t *testing.T) {
	kernelReplies(t, true)
	l := newLoop(t, "")
	var probers []*prober.Prober
	for id := range uint16(2) {
		probers = append(probers, newProber(t, l, open(t, l, "ip4:icmp", nil), prober.Config{
			Targets: []netip.Addr{loopback}, ID: 100 + id, Count: 1,
		}))
	}
	for _, p := range probers {
		p.Start()
	}
	l.Every(time.Millisecond, func() {
		left := 2 * 4 // each socket is offered two requests and two replies
		for _, p := range probers {
			left -= int(p.Stats(0).Received + p.Stray())
		}
		if left == 0 {
			l.Stop()
		}
	})
	run(t, l)
	for _, p := range probers {
		if s := p.Stats(0); s.Received != 1 || s.Duplicates+s.Altered+p.Corrupt() != 0 || p.Stray() != 3 {
			t.Errorf("%+v, %d stray, %d corrupt", s, p.Stray(), p.Corrupt())
		}
	}
}

func TestUnreachableTargetIsASendErrorEachTime(t *testing.T) {
	kernelReplies(t, true)
	l := newLoop(t, "")
	var outcomes []string
	p := newProber(t, l, openFor(t, l, 100), prober.Config{
		Targets: []netip.Addr{hostA, loopback}, ID: 100, Count: 2, Interval: time.Millisecond, OnDone: l.Stop,
		OnResult: func(r prober.Result) {
			if r.Target == 0 {
				outcomes = append(outcomes, fmt.Sprint(r.Outcome, r.Seq, r.Err != nil))
			}
		},
	})
	p.Start()
	run(t, l)
	if got, want := fmt.Sprint(outcomes), "[send error 1 true send error 2 true]"; got != want {
		t.Errorf("outcomes %v, want %v", got, want)
	}
	if s := p.Stats(1); s.Received != 2 {
		t.Errorf("the other target: %+v", s)
	}
}
