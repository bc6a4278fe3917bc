package icmp_test

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/mux"
	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/netlab"
)

// faults are what may go wrong around a transport. ICMP has no connections, so
// that nobody closes one: a peer stops answering, which nobody reports, or the
// network says that there is none, which is an ErrorReport.
var faults = []fault{
	{
		name:  "interface_down",
		told:  "Send: ENETUNREACH",
		begin: func(s *scene) func() error { return s.link(false) },
	},
	{
		name:   "send_queue_full", // that of the interface, which drops what finds no room
		told:   "Send: ENOBUFS",
		untold: map[string]string{ping6.name: "the kernel takes a message of an IPv6 ping socket for sent (ping_v6_sendmsg, Linux 6.18)"},
		begin:  func(s *scene) func() error { return s.throttle(netlab.Throttle{Rate: 40, Burst: 160, Limit: 1}) },
	},
	{
		name:    "send_buffer_full", // as the interface keeps what it is given
		told:    "Send: 0, nil",
		config:  transport.Config{SendBuffer: 1},
		begin:   (*scene).hold,
		provoke: (*scene).fill,
		silent:  mux.Readable | mux.Writable,
	},
	{
		name:    "receive_queue_overflows",
		told:    "Dropped",
		config:  transport.Config{RecvBuffer: 1},
		begin:   func(*scene) func() error { return func() error { return nil } },
		provoke: (*scene).overflow,
	},
	{
		name:  "peer_stops_answering",
		begin: (*scene).silencePeer,
	},
	{
		name:  "peer_gone", // as nobody on the link has its address, our own kernel says
		told:  "ErrorReport: EHOSTUNREACH",
		begin: (*scene).removePeer,
	},
	{
		name:    "peer_refuses", // as the host says that has the address
		told:    "ErrorReport: ECONNREFUSED",
		begin:   (*scene).silencePeer,
		provoke: (*scene).refuse,
	},
}

// fault is one of them. It comes and goes twice.
type fault struct {
	name string
	// told is what is told once of each message that it concerns; "" is nothing.
	told string
	// untold are the networks on which nothing is told all the same, and why.
	untold map[string]string
	config transport.Config
	// begin returns what ends the fault.
	begin func(*scene) (end func() error)
	// provoke sends, and returns how often something is to be told. Without it
	// that is two requests.
	provoke func(*scene) (times int)
	// silent is for what the descriptor is not ready afterwards; Readable if it
	// is not set.
	silent mux.Interest
}

// What goes wrong is told once, the mux has nothing to report afterwards, and
// requests are answered again when it is over.
func TestFaultsAreToldOnce(t *testing.T) {
	onAll(t, networks, func(t *testing.T, n network) {
		for _, f := range faults {
			t.Run(f.name, func(t *testing.T) {
				for _, backend := range mux.Backends() {
					t.Run(backend, func(t *testing.T) { f.test(t, n, backend) })
				}
			})
		}
	})
}

func (f *fault) test(t *testing.T, n network, backend string) {
	s := newScene(t, n, backend, f.config)
	s.answered()
	for range 2 {
		clear(s.told)
		end := f.begin(s)
		times := 2
		if f.provoke != nil {
			times = f.provoke(s)
		} else {
			for range times {
				s.send()
			}
		}
		want := map[string]int{}
		if f.told != "" && f.untold[n.name] == "" {
			want[f.told] = times
			if strings.HasPrefix(f.told, "ErrorReport") {
				s.awaitReports(times)
			}
		}
		s.quiet()
		s.silent(max(f.silent, mux.Readable))
		if err := end(); err != nil {
			t.Fatal(err)
		}
		s.answered()
		s.quiet()
		s.silent(mux.Readable)
		if !maps.Equal(s.told, want) {
			t.Fatalf("told were %v, want %v", s.told, want)
		}
	}
}

// scene is a transport at the near end of a cable, a mux that watches it, and a
// peer that answers.
type scene struct {
	network
	t     *testing.T
	tr    transport.Transport
	mux   mux.Mux
	cable *wiretest.Cable
	peer  netip.Addr
	seq   uint16
	told  map[string]int // how often
}

func newScene(t *testing.T, n network, backend string, cfg transport.Config) *scene {
	t.Helper()
	s := &scene{network: n, t: t, cable: wiretest.NewCable(t), peer: n.far, told: map[string]int{}}
	// Nothing but the messages of the test is to cross the cable: what finds a
	// receive buffer full counts as dropped, be it for the transport or not.
	s.pin(&s.cable.Near, n.far, s.cable.Far.MAC)
	s.pin(&s.cable.Far, n.near, s.cable.Near.MAC)
	cfg.Options = n.reporting().Options
	s.tr = open(t, n.name, "", &cfg)
	var err error
	if s.mux, err = mux.Open(backend); err == nil {
		t.Cleanup(func() { s.mux.Close() })
		err = s.mux.Add(s.tr.FD(), mux.Readable, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pin has an end of the cable know a hardware address of the other for ever.
func (s *scene) pin(e *wiretest.End, addr netip.Addr, mac [6]byte) {
	s.t.Helper()
	e.Do(s.t, func() {
		if err := netlink.NeighSet(&netlink.Neigh{LinkIndex: e.Index, State: netlink.NUD_PERMANENT, IP: addr.AsSlice(), HardwareAddr: mac[:]}); err != nil {
			s.t.Fatal(err)
		}
	})
}

// wait asks the mux, which waits until the watchdog barks or not at all.
func (s *scene) wait(want mux.Interest, block bool) (n int) {
	s.t.Helper()
	err := s.mux.Modify(s.tr.FD(), want, 1)
	if err == nil {
		timeout := wiretest.Watchdog
		if !block {
			timeout = 0
		}
		n, err = s.mux.Wait(make([]mux.Event, 1), timeout)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *scene) await(want mux.Interest) {
	s.t.Helper()
	if s.wait(want, true) == 0 {
		s.t.Fatalf("never %v, told were %v", want, s.told)
	}
}

func (s *scene) silent(want mux.Interest) {
	s.t.Helper()
	if s.wait(want, false) != 0 {
		s.t.Fatalf("the descriptor is ready although there is nothing to do, told were %v", s.told)
	}
}

// tell counts an error that says where it comes from.
func (s *scene) tell(where string, err error) {
	s.t.Helper()
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		s.t.Fatalf("%s: %v", where, err)
	}
	s.told[where+": "+unix.ErrnoName(errno)]++
}

// send makes the attempt to send one request, and tells whether it was sent.
func (s *scene) send() bool {
	s.t.Helper()
	s.seq++
	n, err := s.tr.Send([]transport.Message{message(s.request, s.peer, 1, s.seq, nil)})
	if err != nil {
		s.tell("Send", err)
	}
	return n == 1
}

// receive receives what is there, messages and reports, and returns the
// messages. That there is no end to it, is what makes a program spin.
func (s *scene) receive() (ms []transport.Message) {
	s.t.Helper()
	reports := make([]transport.ErrorReport, 4)
	for range 1000 {
		in := slots(4, 1500)
		n, err := s.tr.Recv(in)
		if err != nil {
			s.tell("Recv", err)
		}
		ms = append(ms, in[:n]...)
		found, lost, failed := s.tr.(transport.ErrorReporter).ErrorReports(reports)
		if lost > 0 || failed != nil {
			s.t.Fatalf("ErrorReports = %d, %d, %v", found, lost, failed)
		}
		for i := range reports[:found] {
			s.tell("ErrorReport", reports[i].Errno)
			if peer := reports[i].Peer.Addr(); peer != s.peer {
				s.t.Errorf("the report is about %v, want %v", peer, s.peer)
			}
		}
		if n+found == 0 && err == nil {
			return ms
		}
	}
	s.t.Fatalf("Recv never comes to an end, told were %v", s.told)
	return nil
}

// quiet demands that there are no messages.
func (s *scene) quiet() {
	s.t.Helper()
	if ms := s.receive(); len(ms) > 0 {
		s.t.Errorf("%d messages came: %v", len(ms), ms)
	}
}

func (s *scene) awaitReports(n int) {
	s.t.Helper()
	for total := 0; total < n; {
		s.await(mux.Readable)
		s.quiet()
		total = 0
		for what, times := range s.told {
			if strings.HasPrefix(what, "ErrorReport") {
				total += times
			}
		}
	}
}

// answered demands the reply to a request, which is sent once.
func (s *scene) answered() {
	s.t.Helper()
	for told := maps.Clone(s.told); !s.send(); {
		if !maps.Equal(s.told, told) {
			s.t.Fatalf("the request was refused, told were %v", s.told)
		}
		s.await(mux.Writable)
	}
	var ms []transport.Message
	for len(ms) == 0 {
		s.await(mux.Readable)
		ms = s.receive()
	}
	if m := &ms[0]; len(ms) > 1 || m.Bytes()[0] != s.reply || sequence(m) != s.seq || m.Peer.Addr() != s.peer {
		s.t.Fatalf("%d messages came, the first from %v: % x, want the reply %d", len(ms), m.Peer, m.Bytes(), s.seq)
	}
}

func (s *scene) link(up bool) (end func() error) {
	s.t.Helper()
	if err := s.cable.SetLink(up); err != nil {
		s.t.Fatal(err)
	}
	return func() error { return s.cable.SetLink(!up) }
}

func (s *scene) throttle(to netlab.Throttle) (end func() error) {
	s.t.Helper()
	near := s.cable.Near
	if err := near.Namespace.SetThrottle(near.Name, to); err != nil {
		s.t.Fatal(err)
	}
	return func() error { return near.Namespace.SetThrottle(near.Name, netlab.Throttle{}) }
}

// hold keeps all requests but the first, which nobody answers.
func (s *scene) hold() (end func() error) {
	s.t.Helper()
	speak := s.silencePeer()
	release := s.throttle(netlab.Throttle{Rate: 40, Burst: 160, Limit: 1 << 24})
	return func() error { return errors.Join(release(), speak()) }
}

// fill sends until that would block.
func (s *scene) fill() (times int) {
	s.t.Helper()
	for range 10_000 {
		if !s.send() {
			if len(s.told) == 0 {
				s.told["Send: 0, nil"]++
			}
			return 1
		}
	}
	s.t.Fatal("the send buffer does not fill")
	return 0
}

// overflow sends until a reply was dropped, and demands that every one was either
// received or counted.
func (s *scene) overflow() (times int) {
	s.t.Helper()
	before, sent := dropped(s.t, s.tr), 0
	lost := func() int { return int(dropped(s.t, s.tr) - before) }
	for ; lost() == 0; sent++ {
		if sent == 10_000 || !s.send() {
			s.t.Fatalf("nothing was dropped after %d requests, told were %v", sent, s.told)
		}
	}
	// What is dropped from now on finds a full buffer: there is something to wait for.
	got := len(s.receive())
	for got+lost() < sent {
		s.await(mux.Readable)
		got += len(s.receive())
	}
	if got+lost() != sent {
		s.t.Errorf("%d replies were received and %d dropped, want %d in all", got, lost(), sent)
	}
	s.told["Dropped"] = 1
	return 1
}

func (s *scene) silencePeer() (end func() error) {
	s.t.Helper()
	far := s.cable.Far.Namespace
	if err := far.SetEchoReplies(false); err != nil {
		s.t.Fatal(err)
	}
	return func() error { return far.SetEchoReplies(true) }
}

// removePeer takes the address away that the peer has, and what is known about
// it. That nobody else has it is known after one question.
func (s *scene) removePeer() (end func() error) {
	s.t.Helper()
	near, far := &s.cable.Near, &s.cable.Far
	family, bits := "ipv4", 24
	if s.v6 {
		family, bits = "ipv6", 64
	}
	for setting, value := range map[string]string{"mcast_solicit": "1", "retrans_time_ms": "10"} {
		if err := near.Namespace.SetSysctl("net."+family+".neigh."+near.Name+"."+setting, value); err != nil {
			s.t.Fatal(err)
		}
	}
	far.Do(s.t, func() {
		link, err := netlink.LinkByName(far.Name)
		if err == nil {
			err = netlink.AddrDel(link, &netlink.Addr{IPNet: &net.IPNet{IP: s.peer.AsSlice(), Mask: net.CIDRMask(bits, s.peer.BitLen())}})
		}
		if err != nil {
			s.t.Fatal(err)
		}
	})
	if err := netlink.NeighDel(&netlink.Neigh{LinkIndex: near.Index, IP: s.peer.AsSlice()}); err != nil {
		s.t.Fatal(err)
	}
	return func() error {
		err := far.Namespace.AddAddr(far.Name, netip.PrefixFrom(s.peer, bits))
		s.pin(near, s.peer, far.MAC)
		s.pin(far, s.near, near.MAC)
		return err
	}
}

// header6 is the IPv6 header (RFC 8200, 3) of an ICMP message of n bytes to the
// peer.
func (s *scene) header6(n int) []byte {
	h := []byte{6 << 4, 0, 0, 0, 0, byte(n), unix.IPPROTO_ICMPV6, 64}
	return slices.Concat(h, s.near.AsSlice(), s.peer.AsSlice())
}

// refuse sends requests, to which an error is the answer: port unreachable, of
// which the kernel makes ECONNREFUSED. The host's own kernel is silent.
func (s *scene) refuse() (times int) {
	s.t.Helper()
	const n = 2
	peer := s.cable.Far.Open(s.t, s.raw, "", only(s.request))
	defer peer.Close()
	for range n {
		s.send()
		got := &wiretest.Recv(s.t, peer, 1)[0]
		kind, code, quote := uint8(3), uint8(3), got.Buf[:got.Off+got.N] // RFC 792
		if s.v6 {                                                        // RFC 4443, 3.1
			kind, code, quote = 1, 4, slices.Concat(s.header6(got.N), got.Bytes())
		}
		refusal := message(kind, s.near, 0, 0, quote)
		refusal.Bytes()[1] = code
		setChecksum(refusal.Bytes())
		wiretest.Send(s.t, peer, refusal)
	}
	return n
}
