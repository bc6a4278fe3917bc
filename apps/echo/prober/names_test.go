package prober_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/resolve"
	"iomux/apps/echo/prober/stats"
	"iomux/apps/echo/prober/targets"
	"iomux/transport"
)

func addresses(ttl time.Duration, addrs ...netip.Addr) (resolve.Answer, error) {
	return resolve.Answer{Addrs: addrs, TTL: ttl, HasTTL: true}, nil
}

func TestFirstProbeWaitsForItsAddress(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list("host.example"), Count: 2, Interval: 100 * ms,
		OnResult: func(r *prober.Result) {
			if r.Name != "host.example" || r.Addr != hostA || r.Outcome != stats.Reply {
				t.Errorf("%+v", *r)
			}
		}})
	lab.names.answer = func(string) (resolve.Answer, error) { return addresses(time.Hour, hostA, hostB) }
	lab.v4.onSend = func(p probe) error { p.answer(ms); return nil }
	lab.Start()
	lab.run(2 * time.Second)
	lab.wantSent(lab.v4, "0s 192.0.2.1", "100ms 192.0.2.1")
	lab.wantCounts(2, counts{stats.Reply: 2})
	if n := lab.names.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestNameThatCannotBeResolvedIsASendErrorUntilItCan(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list("host.example"), Count: 5, Interval: 20 * time.Second})
	failure := errors.New("no such host")
	lab.names.answer = func(string) (resolve.Answer, error) {
		if lab.names.asked.Load() == 1 {
			return resolve.Answer{}, failure
		}
		return addresses(time.Hour, hostA)
	}
	lab.Start()
	lab.run(2 * time.Minute)
	lab.want("0s invalid IP send error 1: no such host", "20s invalid IP send error 2: no such host",
		"41s 192.0.2.1 timeout 3", "1m1s 192.0.2.1 timeout 4", "1m21s 192.0.2.1 timeout 5", "1m21s done")
	lab.wantCounts(3, counts{stats.SendError: 2, stats.Timeout: 3})
}

// A rename is followed, and a failure keeps what was known.
func TestRenamedTargetIsFollowed(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list("host.example"), Count: 5, Interval: 30 * time.Second})
	lab.names.answer = func(string) (resolve.Answer, error) {
		switch lab.names.asked.Load() {
		case 1:
			return addresses(10*time.Second, hostA)
		case 2:
			return addresses(10*time.Second, hostB)
		}
		return resolve.Answer{}, errors.New("no server")
	}
	lab.Start()
	lab.run(5 * time.Minute)
	// A lookup runs beside the probe that asks for it.
	lab.wantSent(lab.v4, "0s 192.0.2.1", "30s 192.0.2.1", "1m0s 192.0.2.2", "1m30s 192.0.2.2", "2m0s 192.0.2.2")
}

func TestExcludedAddressIsNotProbed(t *testing.T) {
	var b targets.Builder
	if err := errors.Join(b.Add("host.example"), b.Add("none.example"), b.Exclude(hostA.String())); err != nil {
		t.Fatal(err)
	}
	l, err := b.List()
	if err != nil {
		t.Fatal(err)
	}
	lab := newLab(t, prober.Config{Targets: l, Count: 1})
	lab.names.answer = func(host string) (resolve.Answer, error) {
		if host == "none.example" {
			return addresses(time.Hour, netip.IPv4Unspecified(), hostA)
		}
		return addresses(time.Hour, hostA, hostB)
	}
	lab.Start()
	lab.run(2 * time.Second)
	lab.wantSent(lab.v4, "0s 192.0.2.2")
	lab.wantCounts(1, counts{stats.SendError: 1, stats.Timeout: 1})
	if !strings.Contains(strings.Join(lab.log, "\n"), "the name has no address to probe") {
		t.Errorf("the log is %q", lab.log)
	}
}

// The only target is looked up before its first round.
func TestTheOnlyNameIsWaitedFor(t *testing.T) {
	for _, known := range []bool{true, false} {
		lab := newLab(t, prober.Config{Targets: list("host.example"), Count: 3, Interval: 100 * ms})
		lab.names.hold = make(chan struct{})
		lab.names.answer = func(string) (resolve.Answer, error) {
			if !known {
				return resolve.Answer{}, errors.New("no such host")
			}
			return addresses(time.Hour, hostA)
		}
		lab.mux.At(150*ms, lab.names.release)
		lab.Start()
		lab.Start()
		lab.run(5 * time.Second)
		if known {
			lab.wantSent(lab.v4, "150ms 192.0.2.1", "250ms 192.0.2.1", "350ms 192.0.2.1")
			lab.wantCounts(3, counts{stats.Timeout: 3})
		} else {
			lab.wantCounts(0, counts{stats.SendError: 3})
		}
		if lab.ndones != 1 {
			t.Errorf("done %d times", lab.ndones)
		}
	}
}

// While one of several names is looked up one probe waits, and those after it end at
// once.
func TestSlowLookupHoldsOneProbe(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list("host.example", hostB.String()), Count: 3, Interval: 100 * ms})
	lab.names.hold = make(chan struct{})
	lab.names.answer = func(string) (resolve.Answer, error) { return addresses(time.Hour, hostA) }
	lab.mux.At(150*ms, lab.names.release)
	lab.Start()
	lab.run(5 * time.Second)
	lab.wantSent(lab.v4, "50ms 192.0.2.2", "150ms 192.0.2.2", "150ms 192.0.2.1", "200ms 192.0.2.1", "250ms 192.0.2.2")
	if lab.log[0] != "100ms invalid IP send error 2: the name is still being looked up" {
		t.Errorf("the log is %q", lab.log)
	}
	lab.wantCounts(5, counts{stats.SendError: 1, stats.Timeout: 5})
}

// More names are known at a time than the path has room for.
func TestNamesWaitForRoom(t *testing.T) {
	var specs []string
	for i := range 200 {
		specs = append(specs, fmt.Sprintf("host%d.example", i))
	}
	lab := newLab(t, prober.Config{Targets: list(specs...), Count: 1, Timeout: 5 * time.Second})
	lab.names.answer = func(string) (resolve.Answer, error) { return addresses(time.Hour, hostA) }
	lab.v4.room = 0
	lab.v4.at(time.Second, func() { lab.v4.room = unlimited })
	lab.Start()
	lab.run(10 * time.Second)
	lab.wantCounts(200, counts{stats.Timeout: 200})
	if lab.ndones != 1 {
		t.Errorf("done %d times", lab.ndones)
	}
}

func TestNameOfAFamilyWithoutATransport(t *testing.T) {
	failure := errors.New("no IPv6 here")
	var lab *lab
	cfg := prober.Config{Targets: list("both.example", "six.example"), Count: 1,
		Open: func(o prober.Opening) (transport.Transport, error) {
			if o.IPv6 {
				return nil, failure
			}
			lab.v4.id = o.Identifier
			return lab.v4, nil
		}}
	lab = newLab(t, cfg)
	lab.names.answer = func(host string) (resolve.Answer, error) {
		if host == "six.example" {
			return addresses(time.Hour, hostA6)
		}
		return addresses(time.Hour, hostA6, hostA)
	}
	lab.Start()
	lab.run(5 * time.Second)
	lab.wantSent(lab.v4, "0s 192.0.2.1")
	lab.want("0s invalid IP send error 1: no IPv6 here", "1s 192.0.2.1 timeout 1", "1s done")
}

// No lookup takes for ever, and none outlives Close.
func TestLookupIsBounded(t *testing.T) {
	deadline := make(chan time.Duration, 1)
	returned := make(chan error, 1)
	lab := newLab(t, prober.Config{Targets: list("host.example"), Count: 1,
		Lookup: func(ctx context.Context, _, _ string) (resolve.Answer, error) {
			d, _ := ctx.Deadline()
			deadline <- time.Until(d)
			<-ctx.Done()
			returned <- ctx.Err()
			return resolve.Answer{}, ctx.Err()
		}})
	lab.Start()
	if d := <-deadline; d <= 0 || d > prober.MaxLookup {
		t.Errorf("the lookup may take %v, want at most %v", d, prober.MaxLookup)
	}
	if err := lab.Close(); err != nil {
		t.Error(err)
	}
	if err := <-returned; !errors.Is(err, context.Canceled) {
		t.Errorf("the lookup ended with %v", err)
	}
}

func TestUnknownZoneIsASendError(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list("fe80::1%nosuchinterface", "fe80::1%7"), Count: 1})
	lab.Start()
	lab.run(2 * time.Second)
	if len(lab.log) != 3 || !strings.Contains(lab.log[0], `send error 1: zone "nosuchinterface": `) || lab.log[1] != "1s fe80::1%7 timeout 1" {
		t.Errorf("the log is %q", lab.log)
	}
}

// Probes that have waited for their addresses leave no faster than others.
func TestNamesKeepToTheRate(t *testing.T) {
	var specs []string
	for i := range 100 {
		specs = append(specs, fmt.Sprintf("host%d.example", i))
	}
	for _, behind := range []string{"", "198.51.100.0/24"} { // nothing else is left to send, or much
		if behind != "" {
			specs = append(specs, behind)
		}
		lab := newLab(t, prober.Config{Targets: list(specs...), Count: 1, Rate: 100, OnResult: func(*prober.Result) {}})
		lab.names.hold = make(chan struct{})
		lab.names.answer = func(string) (resolve.Answer, error) { return addresses(time.Hour, hostA) }
		lab.mux.At(1100*ms, lab.names.release)
		lab.Start()
		lab.run(time.Minute)
		for i, p := range lab.v4.sent {
			if i >= 100 && p.at-lab.v4.sent[i-100].at < 970*ms {
				t.Fatalf("%d probes within %v at 100/s", 100, p.at-lab.v4.sent[i-100].at)
			}
		}
		if n := lab.Total().Counts().Sent; n != list(specs...).Len() || lab.ndones != 1 {
			t.Errorf("%d sent, done %d times", n, lab.ndones)
		}
	}
}

// No more wait at a time than there is memory for, and all have their turn.
func TestParkedProbesAreBounded(t *testing.T) {
	var specs []string
	for i := range prober.MaxParked + 100 {
		specs = append(specs, fmt.Sprintf("host%d.example", i))
	}
	lab := newLab(t, prober.Config{Targets: list(specs...), Count: 1, OnResult: func(*prober.Result) {}})
	lab.names.hold = make(chan struct{})
	lab.names.answer = func(string) (resolve.Answer, error) { return addresses(time.Hour, hostA) }
	lab.v4.onSend = nil
	lab.mux.At(100*ms, func() {
		if n := lab.Hosts(); n != prober.MaxParked {
			t.Errorf("%d names are known, want %d", n, prober.MaxParked)
		}
		lab.names.release()
	})
	lab.Start()
	lab.run(time.Minute)
	lab.wantCounts(uint64(len(specs)), counts{stats.Reply: uint64(len(specs))})
	if n := lab.Hosts(); n != 0 || lab.ndones != 1 {
		t.Errorf("%d names are known at the end; done %d times", n, lab.ndones)
	}
}

// An address keeps its zone, by name, in each retry.
func TestRetryHasTheZoneOfItsTarget(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list("fe80::1%lo"), Count: 2, Retries: 3, OnResult: func(r *prober.Result) {
		if r.Addr.String() != "fe80::1%lo" {
			t.Errorf("%v", r.Addr)
		}
	}})
	lab.Start()
	lab.run(time.Minute)
	lab.wantCounts(8, counts{stats.Timeout: 8})
}
