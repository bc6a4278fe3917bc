package prober_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/mux/loop"
	"iomux/mux/muxtest"
	"iomux/transport"
)

func newOn(t *testing.T, cfg prober.Config) error {
	t.Helper()
	l := loop.New(muxtest.NewFake(start))
	t.Cleanup(func() { l.Close() })
	p, err := prober.New(l, cfg)
	if err == nil {
		p.Close()
		t.Error("a prober, want an error")
		return errors.New("none")
	}
	return err
}

func TestConfigErrors(t *testing.T) {
	one := list(hostA.String())
	for _, c := range []struct {
		cfg  prober.Config
		want string
	}{
		{prober.Config{}, "prober: no targets"},
		{prober.Config{Targets: one, Interval: -1}, "prober: interval -1ns, want a positive one, or 0 for none"},
		{prober.Config{Targets: one, Timeout: -1}, "prober: timeout -1ns, want a positive one of at most 24h0m0s"},
		{prober.Config{Targets: one, Timeout: 24*time.Hour + 1}, "prober: timeout 24h0m0.000000001s, want a positive one of at most 24h0m0s"},
		{prober.Config{Targets: one, Rate: -1}, "prober: rate -1, want a positive one, or 0 for no limit"},
		{prober.Config{Targets: one, Rate: math.NaN()}, "prober: rate NaN, want a positive one, or 0 for no limit"},
		{prober.Config{Targets: one, Window: -1}, "prober: window -1, want 1 to 262144 probes in flight"},
		{prober.Config{Targets: one, Window: 1<<18 + 1}, "prober: window 262145, want 1 to 262144 probes in flight"},
		{prober.Config{Targets: one, Retries: -1}, "prober: -1 retries, want 0 to 100"},
		{prober.Config{Targets: one, Retries: 101}, "prober: 101 retries, want 0 to 100"},
		{prober.Config{Targets: one, Backoff: 1001}, "prober: backoff factor 1001, want 1 to 1000"},
		{prober.Config{Targets: one, Backoff: math.NaN()}, "prober: backoff factor NaN, want 1 to 1000"},
		{prober.Config{Targets: one, Data: make([]byte, 65508)}, "prober: 65508 bytes of data, want at most 65507"},
		{prober.Config{Targets: one, Network: "udp"}, `prober: network "udp", want ip, ip4 or ip6`},
		{prober.Config{Targets: list("2001:db8::/66"), TargetStats: true}, "prober: statistics of more than 268435456 targets"},
	} {
		if err := newOn(t, c.cfg); err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

func TestAllConfigErrorsAtOnce(t *testing.T) {
	err := newOn(t, prober.Config{Interval: -1, Timeout: -1, Rate: -1, Window: -1, Retries: -1, Backoff: 1e9,
		Data: make([]byte, 1<<17), Network: "x"}).Error()
	for _, part := range []string{"no targets", "interval", "timeout", "rate", "window", "retries", "backoff", "data", "network"} {
		if !strings.Contains(err, part) {
			t.Errorf("nothing about %s in %s", part, err)
		}
	}
}

func TestTransportThatDoesNotOpen(t *testing.T) {
	failure := errors.New("not today")
	err := newOn(t, prober.Config{Targets: list(hostA.String(), hostA6.String()),
		Open: func(prober.Opening) (transport.Transport, error) { return nil, failure }})
	if !errors.Is(err, failure) {
		t.Errorf("%v", err)
	}
}

func TestOpeningSaysWhatConfigSays(t *testing.T) {
	var got prober.Opening
	newOn(t, prober.Config{Targets: list(hostA.String()), Interface: "lo", Mark: 7, Source: here, DontFragment: true, UserClock: true,
		Open: func(o prober.Opening) (transport.Transport, error) { got = o; return nil, errors.New("none") }})
	if c := got.Config; c.Interface != "lo" || c.Mark != 7 || c.Source != here || c.RecvBuffer == 0 ||
		got.IPv6 || !got.DontFragment || got.Stamps || got.Identifier == 0 {
		t.Errorf("%+v", got)
	}
	newOn(t, prober.Config{Targets: list(hostA6.String()), Source: here,
		Open: func(o prober.Opening) (transport.Transport, error) { got = o; return nil, errors.New("none") }})
	if got.Config.Source.IsValid() || !got.IPv6 || !got.Stamps {
		t.Errorf("%+v", got)
	}
}
