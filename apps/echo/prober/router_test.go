package prober_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
	"iomux/transport/netlab"
)

// road is the way from the namespace of the test over a router to a server, each in
// a namespace of its own, by two cables: near to left, and right to far.
type road struct {
	t                    *testing.T
	here, router, server *netlab.Namespace
}

var (
	roadNear, roadLeft = [2]string{"172.20.1.1", "fd77:1::1"}, [2]string{"172.20.1.2", "fd77:1::2"}
	roadRight, roadFar = [2]string{"172.20.2.1", "fd77:2::1"}, [2]string{"172.20.2.2", "fd77:2::2"}
)

func newRoad(t *testing.T) *road {
	t.Helper()
	r := &road{t: t, here: kernelReplies(t, true)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(r.here.SetPingGroups(0, 0))
	var err error
	for _, ns := range []**netlab.Namespace{&r.router, &r.server} {
		*ns, err = netlab.New()
		must(err)
		t.Cleanup(func() { (*ns).Close() })
	}
	for name, value := range map[string]string{
		"net.ipv4.icmp_ratelimit": "0", "net.ipv6.icmp.ratelimit": "0",
		"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1",
	} {
		must(r.router.SetSysctl(name, value))
	}
	prefixes := func(addrs [2]string) []netip.Prefix {
		return []netip.Prefix{netip.MustParsePrefix(addrs[0] + "/24"), netip.MustParsePrefix(addrs[1] + "/64")}
	}
	must(netlab.Veth(netlab.End{In: r.here, Name: "near", Addrs: prefixes(roadNear)}, netlab.End{In: r.router, Name: "left", Addrs: prefixes(roadLeft)}))
	t.Cleanup(func() {
		if l, err := netlink.LinkByName("near"); err == nil {
			netlink.LinkDel(l)
		}
	})
	must(netlab.Veth(netlab.End{In: r.router, Name: "right", Addrs: prefixes(roadRight)}, netlab.End{In: r.server, Name: "far", Addrs: prefixes(roadFar)}))
	r.route(r.here, "172.16.0.0/12", roadLeft[0], unix.RTN_UNICAST)
	r.route(r.here, "fd00::/8", roadLeft[1], unix.RTN_UNICAST)
	r.route(r.server, "172.20.1.0/24", roadRight[0], unix.RTN_UNICAST)
	r.route(r.server, "fd77:1::/64", roadRight[1], unix.RTN_UNICAST)
	return r
}

// route adds a route over a router, or without one of a type.
func (r *road) route(ns *netlab.Namespace, prefix, via string, typ int) {
	r.t.Helper()
	route := netlab.Route{Prefix: netip.MustParsePrefix(prefix), Type: typ}
	if via != "" {
		route.Via = netip.MustParseAddr(via)
	}
	if err := ns.AddRoute(route); err != nil {
		r.t.Fatal(err)
	}
}

func (r *road) setMTU(ns *netlab.Namespace, link string, mtu int) {
	r.t.Helper()
	if err := ns.SetMTU(link, mtu); err != nil {
		r.t.Fatal(err)
	}
}

// sockets are those that OpenSocket chooses from.
var sockets = []struct {
	name string
	open func(prober.Opening) (transport.Transport, error)
}{{"raw", prober.OpenSocket}, {"ping", openPing}}

// one probes a target once and returns what became of it.
func one(t *testing.T, cfg prober.Config) (got prober.Result) {
	t.Helper()
	l := newLoop(t, "")
	n := 0
	cfg.Count, cfg.OnDone = 1, l.Stop
	if cfg.Data == nil {
		cfg.Data = pattern(56)
	}
	cfg.OnResult = func(r *prober.Result) {
		got = *r
		n++
	}
	p := newProber(t, l, cfg)
	p.Start()
	run(t, l)
	c := p.Total().Counts()
	if n != 1 || c.Of[got.Outcome] != 1 || c.Finished() != 1 {
		t.Errorf("%d results, %+v", n, c)
	}
	if unsent := got.Outcome == stats.SendError; c.Sent != 1 && !unsent || c.Sent != 0 && unsent || c.Loss() > 0 && got.Outcome != stats.Timeout && got.Outcome != stats.ICMPError {
		t.Errorf("%v: %+v", got.Outcome, c)
	}
	return got
}

// What a router of the kernel's reports ends the probe at once.
func TestErrorsOfARouter(t *testing.T) {
	r := newRoad(t)
	r.route(r.router, "172.22.0.0/16", "", unix.RTN_UNREACHABLE)
	r.route(r.router, "172.23.0.0/16", "", unix.RTN_PROHIBIT)
	r.route(r.router, "fda1::/16", "", unix.RTN_UNREACHABLE)
	r.route(r.router, "fda2::/16", "", unix.RTN_PROHIBIT)
	r.setMTU(r.router, "right", 1300)
	source := netip.MustParseAddr("172.20.1.100")
	long := prober.Config{DontFragment: true, Data: pattern(1400)}
	for _, c := range []struct {
		name, to  string
		cfg       prober.Config
		typ, code uint8
		mtu       uint32
	}{
		{"no route", "172.21.0.1", prober.Config{}, 3, 0, 0},
		{"unreachable", "172.22.0.1", prober.Config{}, 3, 1, 0},
		{"prohibited", "172.23.0.1", prober.Config{}, 3, 13, 0},
		{"time exceeded", roadFar[0], prober.Config{TTL: 1}, 11, 0, 0},
		{"too long", roadFar[0], long, 3, 4, 1300},
		{"no route", "fd99::1", prober.Config{}, 1, 0, 0},
		{"unreachable", "fda1::1", prober.Config{}, 1, 0, 0},
		{"prohibited", "fda2::1", prober.Config{}, 1, 1, 0},
		{"time exceeded", roadFar[1], prober.Config{TTL: 1}, 3, 0, 0},
		{"too long", roadFar[1], long, 2, 0, 1300},
	} {
		v6 := strings.Contains(c.to, ":")
		for _, s := range sockets {
			t.Run(fmt.Sprintf("%s/%s/%s", c.name, c.to, s.name), func(t *testing.T) {
				c.cfg.Targets, c.cfg.Open = list(c.to), s.open
				if !v6 { // a router of Linux tells one source of five bad routes at once, and of one in a second
					source = source.Next()
					if err := r.here.AddAddr("near", netip.PrefixFrom(source, 24)); err != nil {
						t.Fatal(err)
					}
					c.cfg.Source = source
				}
				got := one(t, c.cfg)
				from := netip.MustParseAddr(pick(v6, roadLeft[0], roadLeft[1]))
				if got.Outcome != stats.ICMPError || got.From != from || got.Type != c.typ || got.Code != c.code || got.MTU != c.mtu {
					t.Errorf("%+v, want type %d, code %d, MTU %d from %v", got, c.typ, c.code, c.mtu, from)
				}
			})
		}
	}
}

// A router that drops in silence is loss: the kernel here knows nothing about it.
func TestBlackholeOfARouterIsATimeout(t *testing.T) {
	r := newRoad(t)
	r.route(r.router, "172.24.0.0/16", "", unix.RTN_BLACKHOLE)
	r.route(r.router, "fd20::/16", "", unix.RTN_BLACKHOLE)
	for _, to := range []string{"172.24.0.1", "fd20::1"} {
		for _, s := range sockets {
			if got := one(t, prober.Config{Targets: list(to), Open: s.open, Timeout: 50 * ms}); got.Outcome != stats.Timeout {
				t.Errorf("%s over %s: %+v, want a timeout", to, s.name, got)
			}
		}
	}
}

// Routes by which this host refuses to send are no loss.
func TestRefusedRoutesAreSendErrors(t *testing.T) {
	r := newRoad(t)
	for _, c := range []struct {
		prefix string
		typ    int
		errno  syscall.Errno
	}{
		{"172.25.0.0/16", unix.RTN_BLACKHOLE, unix.EINVAL},
		{"172.26.0.0/16", unix.RTN_PROHIBIT, unix.EACCES},
		{"172.27.0.0/16", unix.RTN_UNREACHABLE, unix.EHOSTUNREACH},
		{"fd01::/16", unix.RTN_BLACKHOLE, unix.EINVAL},
		{"fd02::/16", unix.RTN_PROHIBIT, unix.EACCES},
		{"fd03::/16", unix.RTN_UNREACHABLE, unix.EHOSTUNREACH},
	} {
		r.route(r.here, c.prefix, "", c.typ)
		to := netip.MustParsePrefix(c.prefix).Addr().Next()
		t.Cleanup(func() {
			dst, _ := netlink.ParseIPNet(c.prefix)
			netlink.RouteDel(&netlink.Route{Dst: dst, Type: c.typ})
		})
		for _, s := range sockets {
			got := one(t, prober.Config{Targets: list(to.String()), Open: s.open})
			if got.Outcome != stats.SendError || !errors.Is(got.Err, c.errno) {
				t.Errorf("%v over %s: %+v, want %v", to, s.name, got, c.errno)
			}
		}
	}
}

// What is too long for the first link is not sent if it must not be divided.
func TestTooLongForTheLinkIsASendError(t *testing.T) {
	newRoad(t)
	for _, to := range roadLeft {
		for _, s := range sockets {
			got := one(t, prober.Config{Targets: list(to), Open: s.open, DontFragment: true, Data: pattern(1500)})
			if got.Outcome != stats.SendError || !errors.Is(got.Err, unix.EMSGSIZE) {
				t.Errorf("%s over %s: %+v, want %v", to, s.name, got, unix.EMSGSIZE)
			}
			got = one(t, prober.Config{Targets: list(to), Open: s.open, DontFragment: true, Data: pattern(1400)})
			if got.Outcome != stats.Reply {
				t.Errorf("%s over %s: %+v, want a reply", to, s.name, got)
			}
		}
	}
}

// The longest echo there is goes in fragments, over a router with a smaller link.
func TestLongestEcho(t *testing.T) {
	r := newRoad(t)
	r.setMTU(r.router, "right", 1300)
	r.setMTU(r.server, "far", 1300)
	for i, to := range roadFar {
		if i == 1 { // in IPv6 routers divide nothing
			r.setMTU(r.here, "near", 1300)
			r.setMTU(r.router, "left", 1300)
		}
		for _, s := range sockets {
			got := one(t, prober.Config{Targets: list(to), Open: s.open, Data: pattern(65507)})
			if got.Outcome != stats.Reply || got.Size != 65515 {
				got.Data = nil
				t.Errorf("%s over %s: %+v", to, s.name, got)
			}
		}
	}
}

// What a queue of this host drops is no loss on the network, where the kernel says that
// it was dropped: of an IPv6 ping socket it does not.
func TestQueueThatOverflowsIsNoLoss(t *testing.T) {
	for _, to := range roadLeft {
		for _, s := range sockets {
			t.Run(to+"/"+s.name, func(t *testing.T) {
				outcome := stats.SendError
				if s.name == "ping" && strings.Contains(to, ":") {
					outcome = stats.Timeout
				}
				throttled(t, to, s.open, outcome)
			})
		}
	}
}

// throttled probes once, so that the neighbours know each other, and then through a
// throttle that lets nothing pass: each probe is longer than its burst.
func throttled(t *testing.T, to string, open func(prober.Opening) (transport.Transport, error), outcome stats.Outcome) {
	r := newRoad(t)
	const probes = 20
	var ahead time.Duration
	clock := func() time.Time { return time.Now().Add(ahead) }
	m, err := mux.Open("")
	if err != nil {
		t.Fatal(err)
	}
	l := loop.New(m, loop.Clock(clock))
	defer l.Close()
	set := func(to netlab.Throttle) {
		if err := r.here.SetThrottle("near", to); err != nil {
			t.Error(err)
			l.Stop()
		}
	}
	p := newProber(t, l, prober.Config{Targets: list(to), Count: 1 + probes, Interval: time.Second, Data: pattern(1000), Open: open, Clock: clock, OnDone: l.Stop,
		OnResult: func(r *prober.Result) {
			if r.Number == 1 {
				set(netlab.Throttle{Rate: 40, Burst: 4, Limit: 1 << 20})
				ahead += time.Minute
			}
		}})
	// What does not leave is never answered: time passes.
	l.Every(time.Second, func() {
		if p.Total().Counts().Received() == 1 {
			ahead += time.Second
		}
	})
	p.Start()
	run(t, l)
	set(netlab.Throttle{})
	if c := p.Total().Counts(); c.Of[outcome] != probes || c.Received() != 1 {
		t.Errorf("%+v, want one reply and %d of %v", c, probes, outcome)
	}
}

// Without CAP_NET_RAW a prober has a ping socket, and where there are none either it
// says what would help.
func TestProberWithoutPrivilege(t *testing.T) {
	const variable = "IOMUX_PROBER_TEST_UNPRIVILEGED"
	if os.Getenv(variable) != "" {
		for _, to := range []string{"127.0.0.1", "::1"} {
			l := newLoop(t, "")
			var kind string
			p, err := prober.New(l, prober.Config{Targets: list(to), Count: 3, Data: pattern(56), Timeout: patience, OnDone: l.Stop,
				Open: func(o prober.Opening) (transport.Transport, error) {
					tr, err := prober.OpenSocket(o)
					if _, ping := transport.As[transport.Identifier](tr); ping {
						kind = "ping"
					}
					return tr, err
				}})
			if err != nil {
				fmt.Printf("%s: %s\n", to, strings.ReplaceAll(err.Error(), "\n", "; "))
				continue
			}
			l.Own(p)
			p.Start()
			run(t, l)
			fmt.Println(to, kind, p.Total().Counts().Received(), p.Stray())
		}
		return
	}
	netlab.Need(t)
	unprivileged := func(pings bool) string {
		ns, err := netlab.New() // where nobody may open a ping socket
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if pings {
			if err := ns.SetPingGroups(0, 0); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestProberWithoutPrivilege$", "-test.count=1")
		cmd.Env = append(os.Environ(), variable+"=1")
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		err = ns.Do(func() error { return netlab.WithoutCapabilities(cmd, unix.CAP_NET_RAW) })
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		return out.String()
	}
	if out := unprivileged(true); !strings.HasPrefix(out, "127.0.0.1 ping 3 0\n::1 ping 3 0\n") {
		t.Errorf("with ping sockets: %s", out)
	}
	out := unprivileged(false)
	for _, to := range []string{"127.0.0.1: ", "::1: "} {
		_, why, found := strings.Cut(out, to)
		why, _, _ = strings.Cut(why, "\n")
		if !found || !strings.Contains(why, "CAP_NET_RAW") || !strings.Contains(why, "net.ipv4.ping_group_range") {
			t.Errorf("without any: %s%s", to, why)
		}
	}
}
