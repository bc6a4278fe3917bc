package prober_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/codec"
	"iomux/mux/loop"
	"iomux/mux/muxtest"
	"iomux/transport"
)

func TestConfigErrorsSayWhatIsWrong(t *testing.T) {
	one := []netip.Addr{hostA}
	const forever = 1<<63 - 1
	for _, c := range []struct {
		cfg  prober.Config
		want string // "" if it is right
	}{
		{prober.Config{}, "no targets"},
		{prober.Config{Targets: []netip.Addr{hostA, hostB, hostA}}, "target 192.0.2.1 twice"},
		{prober.Config{Targets: []netip.Addr{hostA, netip.MustParseAddr("::ffff:192.0.2.1")}}, "target 192.0.2.1 twice"},
		{prober.Config{Targets: []netip.Addr{hostA, netip.MustParseAddr("2001:db8::1")}}, "target 2001:db8::1, an IPv4 address of a host is needed"},
		{prober.Config{Targets: []netip.Addr{{}}}, "target invalid IP, an IPv4 address of a host is needed"},
		{prober.Config{Targets: []netip.Addr{netip.IPv4Unspecified()}}, "target 0.0.0.0, an IPv4 address of a host is needed"},
		{prober.Config{Targets: one, Count: -1}, "count -1, it must not be negative"},
		{prober.Config{Targets: one, Interval: -1}, "interval -1ns, it must be positive"},
		{prober.Config{Targets: one, Timeout: -time.Second}, "timeout -1s, it must be positive"},
		{prober.Config{Targets: one, Data: make([]byte, codec.MaxEchoDataV4)}, ""},
		{prober.Config{Targets: one, Data: make([]byte, codec.MaxEchoDataV4+1)}, "65508 bytes of data, at most 65507 fit a packet"},
		{prober.Config{Targets: one, Interval: ms, Timeout: 65_533 * ms}, ""},
		{prober.Config{Targets: one, Interval: ms, Timeout: 65_534 * ms},
			"with an interval of 1ms and a timeout of 1m5.534s, 65537 probes of a target would be in flight; there are only 65536 sequence numbers"},
		{prober.Config{Targets: one, Interval: 1, Timeout: forever}, "9223372036854775810 probes of a target would be in flight"},
		{prober.Config{Targets: one, Interval: 1, Timeout: 1 << 62}, "probes of a target would be in flight"},
		{prober.Config{Targets: one, Interval: 1, Timeout: forever, Count: 65_536}, ""},
		{prober.Config{Targets: one, Interval: 1, Timeout: forever, Count: 65_537}, "65537 probes of a target would be in flight"},
		{prober.Config{Targets: one, Interval: forever, Timeout: forever}, ""},
	} {
		l := loop.New(muxtest.NewFake(start))
		p, err := prober.New(l, &wire{mux: muxtest.NewFake(start), size: 1}, c.cfg)
		switch {
		case c.want == "" && (err != nil || p == nil):
			t.Errorf("%+v is refused: %v", c.cfg, err)
		case c.want != "" && (err == nil || p != nil):
			t.Errorf("%+v is accepted, want %q", c.cfg, c.want)
		case c.want != "" && (!strings.HasPrefix(err.Error(), "prober: ") || !strings.Contains(err.Error(), c.want)):
			t.Errorf("the error is %q, want %q", err, c.want)
		}
		l.Close()
	}
}

// framed is a transport whose messages begin with an IP header.
type framed struct{ transport.Transport }

func (framed) Framing() transport.Framing { return transport.IPPacket }

func TestFramedTransportIsRefused(t *testing.T) {
	m := muxtest.NewFake(start)
	tr := transport.Trace(framed{&wire{mux: m, size: 1}}, func(transport.Call) {})
	p, err := prober.New(loop.New(m), tr, prober.Config{Targets: []netip.Addr{hostA}})
	if err == nil || p != nil || !strings.Contains(err.Error(), "bare ICMP") {
		t.Errorf("New = %v, %v", p, err)
	}
}

func TestLoopThatDoesNotWatchTheTransportIsAnError(t *testing.T) {
	lab := newLab(t, prober.Config{})
	cfg := prober.Config{Targets: []netip.Addr{hostA}}
	if p, err := prober.New(lab.loop, lab.wire, cfg); p != nil || !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second prober on the same transport: %v, %v", p, err)
	}
	lab.loop.Close()
	if p, err := prober.New(lab.loop, lab.wire, cfg); p != nil || !errors.Is(err, os.ErrClosed) {
		t.Errorf("on a closed loop: %v, %v", p, err)
	}
}

// pingSocket is a transport that has its own identifier.
type pingSocket struct{ *wire }

func (pingSocket) Identifier() uint16 { return 4711 }

func TestIdentifierOfThePingSocketIsUsed(t *testing.T) {
	lab := newLab(t, prober.Config{})
	lab.Stop()
	tr := transport.Trace(pingSocket{lab.wire}, func(transport.Call) {})
	p, err := prober.New(lab.loop, tr, prober.Config{Targets: []netip.Addr{hostA}, Count: 1, ID: id, Clock: lab.mux.Clock})
	if err != nil {
		t.Fatal(err)
	}
	lab.wire.onSend = func(p probe) error {
		if p.id != 4711 {
			t.Errorf("identifier %d", p.id)
		}
		p.answer(ms)
		return nil
	}
	p.Start()
	lab.run(time.Second)
	if s := p.Stats(0); s.Received != 1 {
		t.Errorf("%+v", s)
	}
}

func TestNewIDsDiffer(t *testing.T) {
	seen := map[uint16]bool{}
	for range 1000 {
		seen[prober.NewID()] = true
	}
	if len(seen) < 900 { // 992 on average
		t.Errorf("%d different ones in 1000", len(seen))
	}
}
