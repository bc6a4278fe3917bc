package prober_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/transport"
)

func TestFamilyThatWaitsForRoomDelaysNoTimeoutOfTheOther(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list(hostA.String(), hostA6.String()), Count: 1})
	lab.v4.room = 0
	lab.v4.at(900*ms, func() { lab.v4.room = unlimited })
	lab.Start()
	lab.run(5 * time.Second)
	lab.want("1s 2001:db8::1 timeout 1", "1.9s 192.0.2.1 timeout 1", "1.9s done")
}

// A family that has had no room for a Timeout is waited for no more.
func TestFamilyThatStaysBlockedHoldsTheOtherUpOnce(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list(hostA.String(), hostA6.String()), Interval: 100 * ms, OnResult: func(*prober.Result) {}})
	lab.v4.room = 0
	lab.v4.update()
	lab.v6.onSend = func(p probe) error { p.answer(ms); return nil }
	lab.v4.at(19*time.Second, func() { lab.v4.room = unlimited })
	lab.Start()
	lab.run(30 * time.Second)
	if n := len(lab.v6.sent); n < 280 {
		t.Errorf("%d probes to the other family in 30 s, want 300 but for those of about a second", n)
	}
	if n := len(lab.v4.sent); n < 100 {
		t.Errorf("%d probes after there was room again, want those of 11 s", n)
	}
}

func TestMappedSourceIsIPv4(t *testing.T) {
	var got netip.Addr
	newLab(t, prober.Config{Source: netip.MustParseAddr("::ffff:192.0.2.100"), Open: func(o prober.Opening) (transport.Transport, error) {
		got = o.Config.Source
		return nil, nil
	}})
	if got != here {
		t.Errorf("the source is %v, want %v", got, here)
	}
}

// What the kernel drops of one family explains no timeout of the other.
func TestDropsAreOfTheirFamily(t *testing.T) {
	lab := newLab(t, prober.Config{Targets: list(hostA.String(), hostA6.String()), Count: 1})
	lab.v4.at(500*ms, func() { lab.v4.dropped = 2 })
	lab.Start()
	lab.run(5 * time.Second)
	lab.want("1s 192.0.2.1 local drop 1", "1s 2001:db8::1 timeout 1", "1s done")
}

func TestTransportThatDoesNotOpenIsTriedAgain(t *testing.T) {
	missing := errors.New("not yet")
	opened := 0
	lab := newLab(t, prober.Config{Targets: list(hostA.String(), hostA6.String()), Count: 6, Interval: 500 * ms, Timeout: 100 * ms,
		Open: func(o prober.Opening) (transport.Transport, error) {
			if !o.IPv6 {
				return nil, nil
			}
			if opened++; opened <= 2 {
				return nil, missing
			}
			return nil, nil
		}})
	lab.v4.onSend, lab.v6.onSend = nil, nil
	lab.Start()
	lab.run(10 * time.Second)
	if opened != 3 {
		t.Errorf("opened %d times, want once a second until it works", opened)
	}
	// It was tried by New, with the probe at 1.25 s, and with that at 2.25 s.
	lab.wantCounts(6+2, counts{stats.Reply: 6 + 2, stats.SendError: 4})
	if last := lab.log[len(lab.log)-2]; last != "2.75s 2001:db8::1 reply 6" {
		t.Errorf("at the end there is %q", last)
	}
}

// Broadcast addresses are left out, unless they are asked for. Then hosts answer from
// their own addresses.
func TestBroadcastAddresses(t *testing.T) {
	ns := kernelReplies(t, true)
	if err := ns.SetPingGroups(0, 0); err != nil {
		t.Fatal(err)
	}
	if err := ns.SetSysctl("net.ipv4.icmp_echo_ignore_broadcasts", "0"); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func(prober.Opening) (transport.Transport, error){"raw": nil, "ping": openPing} {
		for _, wanted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, broadcast %v", name, wanted), func(t *testing.T) {
				l := newLoop(t, "")
				p := newProber(t, l, prober.Config{Targets: list("127.255.255.254-127.255.255.255"), Count: 3, Broadcast: wanted, Open: open,
					Data: make([]byte, 56), OnDone: l.Stop})
				p.Start()
				run(t, l)
				if wanted {
					wantAll(t, p, 6)
				} else {
					wantAll(t, p, 3)
				}
				if skipped := p.Skipped(); skipped != map[bool]uint64{false: 1, true: 0}[wanted] {
					t.Errorf("%d targets were skipped", skipped)
				}
			})
		}
	}
}
