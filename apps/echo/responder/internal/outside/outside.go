// Package outside runs responders for tests and looks at them from outside: it asks
// them with packets on a socket and sees what comes back on the interface, whatever
// its checksum and from whomever.
//
//	s := outside.New(t, outside.Config{
//		Place: outside.Raw4,
//		Rules: outside.Rules(t, 42, "loss: 1%", "ttl: 9"), // the first is number 0
//		Clock: outside.NewClock(),                      // which stands still
//	})
//	s.Exchange(1000, func(i int) outside.Request {
//		return outside.Request{To: s.Address(0, i), Number: uint32(i)}
//	}, func(a *outside.Answer) { seen[a.Number]++ })
//	s.Settle(func(a *outside.Answer) { seen[a.Number]++ })
//	s.Close() // fails the test if the kernel has dropped a packet
//
// A site is a network namespace of its own, in which the kernel answers nothing. Its
// addresses are the same in all places, so that the luck of the rules is.
package outside

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iomux/apps/echo/responder"
	"iomux/apps/echo/responder/rules"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/netlab"
	"iomux/transport/packet"
	_ "iomux/transport/rawip" // what a raw socket does not send itself
	"iomux/transport/tun"
)

// Place is where a responder answers.
type Place struct {
	Name string
	V6   bool
	TUN  bool // and otherwise a raw socket on the loopback interface
}

// The places there are.
var (
	Raw4 = Place{Name: "raw IPv4"}
	Raw6 = Place{Name: "raw IPv6", V6: true}
	TUN4 = Place{Name: "TUN IPv4", TUN: true}
	TUN6 = Place{Name: "TUN IPv6", TUN: true, V6: true}
)

// Places are all of them.
var Places = []Place{Raw4, Raw6, TUN4, TUN6}

// Need skips the test, a testing.TB, where a site cannot be.
func (p Place) Need(t testing.TB) {
	t.Helper()
	netlab.Need(t)
	if !p.TUN {
		return
	}
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no TUN device can be made: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// Start is when the time of a Clock begins, and that of the rules.
var Start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Clock is a clock that stands still unless it is moved. A nil *Clock is the real one.
type Clock struct{ elapsed atomic.Int64 }

// NewClock returns a Clock that shows Start.
func NewClock() *Clock { return &Clock{} }

// Now returns the time.
func (c *Clock) Now() time.Time { return Start.Add(time.Duration(c.elapsed.Load())) }

// Config says what is to answer.
type Config struct {
	Place    Place
	Rules    *rules.Set
	Clock    *Clock // of the responders
	Loops    int    // how many share the requests; 0 is one
	Backend  string // of the loops
	Requests bool   // Settle and Exchange tell about requests as well, as they are seen on the interface
}

// Site is one or more responders that share their work, each on a loop and a goroutine
// of its own, and a client.
type Site struct {
	Place Place
	// Client is the address that asks.
	Client netip.Addr

	t          testing.TB
	clock      *Clock
	loops      []*loop.Loop
	responders []*responder.Responder
	ended      []chan error
	closers    []func()
	counters   map[string]transport.Transport

	sender transport.Transport
	tap    transport.Transport
	out    []transport.Message
	in     []transport.Message
	asked  uint64 // how many requests were sent
	seen   uint64 // how many answers came
	marker uint32 // the last that was sent
	mark   uint32 // the last that came back
	closed bool
}

const (
	batch    = 64
	watchdog = 60 * time.Second
	largest  = 1 << 16
	// Numbers from here on are those of markers, which follow each batch of requests
	// to an address without a rule: when one comes back the batch has been dealt with.
	firstMarker = 0xfff00000
	markerRule  = 63
)

// New makes a site, which ends with the test.
func New(t testing.TB, cfg Config) *Site {
	t.Helper()
	cfg.Place.Need(t)
	s := &Site{
		Place: cfg.Place, Client: netip.MustParseAddr("10.127.0.1"), t: t, clock: cfg.Clock,
		counters: make(map[string]transport.Transport), marker: firstMarker, mark: firstMarker,
	}
	if cfg.Place.V6 {
		s.Client = netip.MustParseAddr("fd00:65::1")
	}
	t.Cleanup(s.close)
	ns, err := netlab.New()
	s.must(err)
	s.closers = append(s.closers, func() { ns.Close() })
	s.must(ns.SetEchoReplies(false))
	loops := max(cfg.Loops, 1)
	var served []transport.Transport
	var forge transport.Transport
	link := "lo"
	s.must(ns.Do(func() (err error) {
		if cfg.Place.TUN {
			served, link, err = s.device(ns, loops)
		} else {
			served, forge, err = s.sockets(ns, loops)
		}
		if err != nil {
			return err
		}
		network := "ip4:icmp"
		if cfg.Place.V6 {
			network = "ip6:ipv6-icmp"
		}
		// It receives no type that anybody sends.
		if s.sender, err = transport.Open(network, "", &transport.Config{Batch: batch, Options: icmp.Options{Types: []uint8{2}}}); err != nil {
			return err
		}
		s.own(s.sender)
		program, err := answers(cfg.Requests)
		if err != nil {
			return err
		}
		s.tap, err = transport.Open("packet", link, &transport.Config{
			Batch: batch, Filter: program, Options: packet.Options{Outgoing: cfg.Requests && cfg.Place.TUN},
		})
		if err == nil {
			s.own(s.tap)
			s.counters["the client's socket"] = s.tap
		}
		return err
	}))
	s.out, s.in = slots(largest), slots(largest)
	policy := responder.NewPolicy(responder.PolicyConfig{Rules: cfg.Rules, Rate: -1, Start: Start})
	if cfg.Clock == nil {
		policy = responder.NewPolicy(responder.PolicyConfig{Rules: cfg.Rules, Rate: -1})
	}
	for _, tr := range served {
		s.serve(tr, cfg, responder.Config{IPv6: cfg.Place.V6, Policy: policy, Forge: forge})
	}
	return s
}

func slots(size int) []transport.Message {
	ms := make([]transport.Message, batch)
	for i := range ms {
		ms[i].Buf = make([]byte, size+64)
	}
	return ms
}

func (s *Site) own(tr transport.Transport) { s.closers = append(s.closers, func() { tr.Close() }) }

func (s *Site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

var (
	all4 = netip.MustParsePrefix("10.64.0.0/10")
	all6 = netip.MustParsePrefix("fd00:64::/32")
)

// device makes a TUN device to which all addresses are routed.
func (s *Site) device(ns *netlab.Namespace, queues int) (all []transport.Transport, name string, err error) {
	cfg := &transport.Config{Options: tun.Options{
		Addrs:  []netip.Prefix{netip.PrefixFrom(s.Client, s.Client.BitLen())},
		Routes: []netip.Prefix{all4, all6}, QueueLen: 1000, MTU: 65535,
	}}
	if queues > 1 {
		cfg.Queues = queues
	}
	t, err := transport.Open("tun", "", cfg)
	if err != nil {
		return nil, "", err
	}
	s.own(t)
	d, _ := transport.As[*tun.Device](t)
	s.counters["the device"] = t
	return d.Queues(), d.Name(), ns.SetLink(d.Name(), true) // and its addresses can be used
}

// sockets makes raw sockets in a namespace to which all addresses belong.
func (s *Site) sockets(ns *netlab.Namespace, loops int) (all []transport.Transport, forge transport.Transport, err error) {
	network, raw, request := "ip4:icmp", "ip4:raw", uint8(8)
	steer, prefix := icmp.SteerFilter, all4
	if s.Place.V6 {
		network, raw, request = "ip6:ipv6-icmp", "ip6:raw", 128
		steer, prefix = icmp.SteerFilter6, all6
	}
	if err := ns.AddLocalRoute(prefix); err != nil {
		return nil, nil, err
	}
	if err := ns.AddAddr("lo", netip.PrefixFrom(s.Client, s.Client.BitLen())); err != nil {
		return nil, nil, err
	}
	for i := range loops {
		cfg := &transport.Config{Batch: batch, Options: icmp.Options{Types: []uint8{request}, AnyLocal: true}}
		if loops > 1 {
			if cfg.Filter, err = steer(i, loops, 7); err != nil {
				return nil, nil, err
			}
		}
		tr, err := transport.Open(network, "", cfg)
		if err != nil {
			return nil, nil, err
		}
		s.own(tr)
		s.counters[fmt.Sprint("the responder's socket ", i)] = tr
		all = append(all, tr)
	}
	if forge, err = transport.Open(raw, "", nil); err == nil {
		s.own(forge)
	}
	return all, forge, err
}

// serve answers on a transport.
func (s *Site) serve(tr transport.Transport, cfg Config, rc responder.Config) {
	s.t.Helper()
	m, err := mux.Open(cfg.Backend)
	s.must(err)
	var options []loop.Option
	if cfg.Clock != nil {
		options = append(options, loop.Clock(cfg.Clock.Now))
	}
	l := loop.New(m, options...)
	rc.OnFailure = func(err error) { s.t.Error(err) }
	r, err := responder.New(l, tr, rc)
	if err != nil {
		l.Close()
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	s.loops, s.responders, s.ended = append(s.loops, l), append(s.responders, r), append(s.ended, ended)
}

// close ends all.
func (s *Site) close() {
	if s.closed {
		return
	}
	s.closed = true
	for i, l := range s.loops {
		l.Stop()
		if err := <-s.ended[i]; err != nil {
			s.t.Error(err)
		}
		if err := l.Close(); err != nil {
			s.t.Error(err)
		}
	}
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

// Close ends the site, and fails the test if the kernel has dropped a packet, in
// which case nothing that was seen says anything about the responder.
func (s *Site) Close() {
	s.t.Helper()
	for name, tr := range s.counters {
		c, ok := transport.As[transport.DropCounter](tr)
		if !ok {
			s.t.Errorf("%s counts no drops", name)
			continue
		}
		if n, err := c.Dropped(); n > 0 || err != nil {
			s.t.Errorf("%s: %d packets were dropped, %v", name, n, err)
		}
	}
	s.close()
}

// Address returns an address that a rule is for, a different one for each number below
// 65,536.
func (s *Site) Address(rule, number int) netip.Addr {
	if s.Place.V6 {
		return netip.AddrFrom16([16]byte{0xfd, 0, 0, 0x64, 0, byte(rule), 14: byte(number >> 8), 15: byte(number)})
	}
	return netip.AddrFrom4([4]byte{10, byte(64 + rule), byte(number >> 8), byte(number)})
}

// Rules makes rules, each for the addresses of its number, of what they are to do, as
// in "loss: 1%, ttl: 9".
func Rules(t testing.TB, seed uint64, list ...string) *rules.Set {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nseed: %d\nrules:\n", seed)
	for i, what := range list {
		fmt.Fprintf(&b, "- {to: [10.%d.0.0/16, 'fd00:64:%x::/48'], %s}\n", 64+i, i, what)
	}
	set, err := rules.Parse("test", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return set
}
