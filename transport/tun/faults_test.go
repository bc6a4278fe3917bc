package tun_test

import (
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/mux"
	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/tun"
	_ "iomux/transport/udp"
)

// faults are what may go wrong around a device.
var faults = []struct {
	name    string
	happens func(*scene)
	forGood bool
}{
	{name: "interface_down", happens: (*scene).interfaceDown},
	{name: "send_queue_full", happens: (*scene).sendQueueFull}, // there is none: the kernel takes or refuses each packet at once
	{name: "receive_queue_overflows", happens: (*scene).receiveQueueOverflows},
	{name: "peer_closed", happens: (*scene).peerClosed},
	{name: "interface_deleted", happens: (*scene).interfaceDeleted, forGood: true},
}

// A fault is reported or counted once, the descriptor is silent about it
// afterwards, and when it is over traffic goes on.
func TestFaults(t *testing.T) {
	for _, f := range faults {
		t.Run("tun/"+f.name, func(t *testing.T) {
			s := newScene(t)
			s.traffic()
			for range 2 {
				f.happens(s)
				if f.forGood {
					s = newScene(t)
				}
				s.silent()
				s.traffic()
			}
		})
	}
}

// queueLen is how many packets the device holds.
const queueLen = 7

// scene is a device, watched, and a UDP socket on the kernel's side of it.
type scene struct {
	t       *testing.T
	device  *tun.Device
	peer    transport.Transport
	watcher *wiretest.Watcher
	seq     int
}

func newScene(t *testing.T) *scene {
	t.Helper()
	quietly(t)
	s := &scene{t: t}
	s.must(wiretest.Lab(t).SetSysctl("net.ipv4.icmp_ratelimit", "0"))
	cfg := routed4()
	o := cfg.Options.(tun.Options)
	o.QueueLen = queueLen
	cfg.Options = o
	s.device = open(t, "lab", cfg)
	s.watcher = wiretest.Watch(t, s.device)
	s.openPeer()
	return s
}

// The peer is the kernel's, and we are somebody.
var (
	peerPort = netip.AddrPortFrom(kernel4.Addr(), 9)
	ourPort  = netip.AddrPortFrom(somebody4, 10)
)

func (s *scene) openPeer() {
	s.t.Helper()
	s.peer = wiretest.Open(s.t, "udp4", peerPort.String(), &transport.Config{RecvBuffer: 5000})
}

// out is a packet to the peer that differs from the last 255, and in is what it
// sends.
func (s *scene) out() transport.Message {
	s.seq++
	return wiretest.Message(udp(ourPort, peerPort, s.seq, headers+100))
}

func (s *scene) in() transport.Message {
	s.seq++
	m := wiretest.Message(wiretest.Pattern(s.seq, 100))
	m.Peer = ourPort
	return m
}

// headers are those of IPv4 and UDP, in bytes.
const headers = 28

// traffic demands that a packet each way arrives, and no other.
func (s *scene) traffic() {
	s.t.Helper()
	out, in := s.out(), s.in()
	s.watcher.Await(mux.Writable)
	wiretest.Send(s.t, s.device, out)
	if got := wiretest.Recv(s.t, s.peer, 1)[0]; string(got.Bytes()) != string(out.Bytes()[headers:]) || got.Peer != ourPort {
		s.t.Fatalf("the kernel received % x from %v, want % x", got.Bytes(), got.Peer, out.Bytes()[headers:])
	}
	wiretest.RecvNone(s.t, s.peer)
	wiretest.Send(s.t, s.peer, in)
	s.watcher.Await(mux.Readable)
	if got := wiretest.Recv(s.t, s.device, 1)[0]; string(got.Bytes()[headers:]) != string(in.Bytes()) {
		s.t.Fatalf("received % x, want % x", got.Bytes(), in.Bytes())
	}
	s.silent()
}

// silent demands that there is nothing to receive or to wait for.
func (s *scene) silent() {
	s.t.Helper()
	wiretest.RecvNone(s.t, s.device)
	s.watcher.Silent(mux.Readable)
}

// must ends the test where the fault cannot be made.
func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// says demands an error.
func (s *scene) says(err, want error, text string) {
	s.t.Helper()
	if !errors.Is(err, want) || err.Error() != text {
		s.t.Fatalf("got  %v\nwant %s", err, text)
	}
}

// interfaceDown is an error of each Send. The device has room again when it is up.
func (s *scene) interfaceDown() {
	s.must(wiretest.Lab(s.t).SetLink("lab", false))
	for range 2 {
		_, err := s.device.Send([]transport.Message{s.out()})
		s.says(err, unix.EIO, "write tun lab: write: input/output error (the device is down)")
		wiretest.RecvNone(s.t, s.device)
		s.watcher.Silent(mux.Readable | mux.Writable)
	}
	s.must(s.device.Up())
}

// sendQueueFull sends to a socket that does not receive, until its buffer is full:
// that is the peer's to count.
func (s *scene) sendQueueFull() {
	before, sent := wiretest.Dropped(s.t, s.peer), 0
	dropped := func() int { return int(wiretest.Dropped(s.t, s.peer) - before) }
	for ; dropped() == 0; sent++ {
		if n, err := s.device.Send([]transport.Message{s.out()}); n != 1 || err != nil || sent > 1000 {
			s.t.Fatalf("Send = %d, %v after %d packets, want 1", n, err, sent)
		}
	}
	s.watcher.Await(mux.Writable)
	if came := wiretest.Drain(s.t, s.peer); came == 0 || came+dropped() != sent {
		s.t.Errorf("%d were sent, %d came and %d were dropped", sent, came, dropped())
	}
}

func (s *scene) receiveQueueOverflows() {
	const sent = queueLen + 3
	before := wiretest.Dropped(s.t, s.device)
	for range sent {
		wiretest.Send(s.t, s.peer, s.in())
	}
	s.watcher.Await(mux.Readable)
	came, dropped := wiretest.Drain(s.t, s.device), int(wiretest.Dropped(s.t, s.device)-before)
	if came != queueLen || came+dropped != sent {
		s.t.Errorf("%d came and %d were dropped, want %d and %d", came, dropped, queueLen, sent-queueLen)
	}
}

// peerClosed is what the kernel reports by ICMP: nobody has the port.
func (s *scene) peerClosed() {
	s.must(s.peer.Close())
	for range 2 {
		wiretest.Send(s.t, s.device, s.out())
		s.watcher.Await(mux.Readable)
		got := wiretest.Recv(s.t, s.device, 1)[0]
		if b := got.Bytes(); len(b) < 28 || b[9] != unix.IPPROTO_ICMP || b[20] != unreachable || b[21] != port {
			s.t.Fatalf("received % x, want that the port is unreachable", b)
		}
		s.silent()
	}
	s.openPeer()
}

// unreachable and port are a type and a code of ICMP (RFC 792).
const unreachable, port = 3, 3

// interfaceDeleted is for good, and says so for as long as somebody asks: another
// of the same name does not bring it back.
func (s *scene) interfaceDeleted() {
	ip(s.t, "link", "delete", "lab")
	gone := func() {
		s.t.Helper()
		for range 2 {
			s.watcher.Await(mux.Readable)
			_, err := s.device.Recv(wiretest.Slots(2, 100))
			s.says(err, syscall.EBADFD, "read tun lab: readv: file descriptor in bad state (the device has been deleted: close the transport)")
			_, err = s.device.Send([]transport.Message{s.out()})
			s.says(err, syscall.EBADFD, "write tun lab: write: file descriptor in bad state (the device has been deleted: close the transport)")
		}
		_, errDropped := s.device.Dropped()
		for _, err := range []error{s.device.Up(), errDropped} {
			if err == nil || !strings.Contains(err.Error(), "has it been deleted") {
				s.t.Fatalf("got %v, want that the device has been deleted", err)
			}
		}
	}
	gone()
	s.must(s.peer.Close())
	next := newScene(s.t)
	next.traffic()
	gone()
	s.must(next.peer.Close())
	s.must(next.device.Close())
}
