package packet_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/mux"
	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/netlab"
)

// faults are what may go wrong around a transport. Below IP there are no
// connections, so that no peer closes one: an interface that is deleted is the
// nearest.
var faults = []struct {
	name    string
	config  transport.Config
	all     bool // the transport is that of all interfaces
	happens func(*scene)
	forGood bool
}{
	{name: "interface_down", happens: (*scene).interfaceDown},
	{name: "one_interface_of_all_down", all: true, happens: (*scene).oneInterfaceDown},
	{name: "send_buffer_full", config: transport.Config{SendBuffer: 5000}, happens: (*scene).sendBufferFull},
	{name: "send_queue_full", happens: (*scene).sendQueueFull},
	{name: "receive_queue_overflows", config: transport.Config{RecvBuffer: 5000}, happens: (*scene).receiveQueueOverflows},
	{name: "interface_deleted", happens: (*scene).interfaceDeleted, forGood: true},
	{name: "one_interface_of_all_deleted", all: true, happens: (*scene).oneInterfaceDeleted},
}

// A fault is reported or counted once, the descriptor is silent about it
// afterwards, and when it is over traffic goes on.
func TestFaults(t *testing.T) {
	for _, network := range networks {
		for _, f := range faults {
			t.Run(network+"/"+f.name, func(t *testing.T) {
				s := newScene(t, network, f.config, f.all)
				s.traffic()
				for range 2 {
					f.happens(s)
					s.silent()
					if f.forGood {
						s = newScene(t, network, f.config, f.all)
					}
					s.traffic()
				}
			})
		}
	}
}

// scene is a transport at the near end of a cable, watched, and its peer.
type scene struct {
	t         *testing.T
	network   string
	cable     *wiretest.Cable
	near, far transport.Transport
	all       bool
	watcher   *wiretest.Watcher
	seq       int
}

func newScene(t *testing.T, network string, cfg transport.Config, all bool) *scene {
	t.Helper()
	s := &scene{t: t, network: network, all: all}
	s.lay()
	cfg.Options = only(experiment).Options
	address := "near"
	if all {
		address = ""
	}
	s.near = wiretest.Open(t, network, address, &cfg)
	s.watcher = wiretest.Watch(t, s.near)
	return s
}

// lay lays the cable and opens the peer, and cut deletes the interfaces again.
func (s *scene) lay() {
	s.t.Helper()
	s.cable = wiretest.NewCable(s.t)
	s.far = openFar(s.t, s.cable, s.network)
}

func (s *scene) cut() {
	s.t.Helper()
	near, err := netlink.LinkByName("near")
	s.must(err)
	s.must(netlink.LinkDel(near))
}

// next is a message that differs from the last 255.
func (s *scene) next(to, from wiretest.End) transport.Message {
	s.seq++
	return experimental(s.network, to, from, wiretest.Pattern(s.seq, 100))
}

func (s *scene) toFar() transport.Message {
	m := s.next(s.cable.Far, s.cable.Near)
	if s.all {
		m.Ifindex = s.cable.Near.Index
	}
	return m
}

func (s *scene) toNear() transport.Message { return s.next(s.cable.Near, s.cable.Far) }

// traffic demands that a message each way arrives, and no other.
func (s *scene) traffic() {
	s.t.Helper()
	out, in := s.toFar(), s.toNear()
	s.watcher.Await(mux.Writable)
	wiretest.Send(s.t, s.near, out)
	s.arrive(out)
	wiretest.Send(s.t, s.far, in)
	s.watcher.Await(mux.Readable)
	if got := wiretest.Recv(s.t, s.near, 1)[0]; string(got.Bytes()) != string(in.Bytes()) {
		s.t.Fatalf("received % x, want % x", got.Bytes(), in.Bytes())
	}
	s.silent()
}

// arrive demands that these messages are what the peer receives, in any order.
func (s *scene) arrive(want ...transport.Message) {
	s.t.Helper()
	got := wiretest.Recv(s.t, s.far, len(want))
	if !slices.Equal(payloads(got), payloads(want)) {
		s.t.Fatalf("the peer received %.20q..., want %.20q...", payloads(got), payloads(want))
	}
	wiretest.RecvNone(s.t, s.far)
}

func payloads(ms []transport.Message) (all []string) {
	for i := range ms {
		all = append(all, string(ms[i].Bytes()))
	}
	slices.Sort(all)
	return all
}

// silent demands that there is nothing to receive or to wait for.
func (s *scene) silent() {
	s.t.Helper()
	wiretest.RecvNone(s.t, s.near)
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
func (s *scene) says(n int, err, want error, text string) {
	s.t.Helper()
	if n != 0 || !errors.Is(err, want) || !strings.HasSuffix(err.Error(), text) {
		s.t.Fatalf("got  %d, %v\nwant %v: %s", n, err, want, text)
	}
}

// reported demands that the descriptor becomes ready, and Recv an error.
func (s *scene) reported(want error, text string) {
	s.t.Helper()
	s.watcher.Await(mux.Readable)
	n, err := s.near.Recv(wiretest.Slots(2, 100))
	s.says(n, err, want, text)
	s.silent()
}

// refused demands an error for each message, be the interface named or not, and
// nothing of Recv.
func (s *scene) refused(want error, text string) {
	s.t.Helper()
	for _, named := range []bool{false, true} {
		m := s.toFar()
		if named {
			m.Ifindex = s.cable.Near.Index
		}
		n, err := s.near.Send([]transport.Message{m})
		s.says(n, err, want, text)
		s.silent()
	}
}

func (s *scene) interfaceDown() {
	s.must(s.cable.SetLink(false))
	s.reported(unix.ENETDOWN, "recvmmsg: network is down (the interface is off or, for good, deleted: Send tells which)")
	s.refused(unix.ENETDOWN, "sendmmsg: network is down")
	s.must(s.cable.SetLink(true))
}

// oneInterfaceDown is none of Recv's business, as there are others.
func (s *scene) oneInterfaceDown() {
	s.must(s.cable.SetLink(false))
	s.refused(unix.ENETDOWN, "sendmmsg: network is down")
	s.must(s.cable.SetLink(true))
}

// sendBufferFull has the interface keep what is sent.
func (s *scene) sendBufferFull() {
	release, err := wiretest.Hold(160)
	s.must(err)
	for n, tries := 1, 0; n > 0; tries++ {
		if n, err = s.near.Send([]transport.Message{s.toFar()}); err != nil || tries > 1000 {
			s.t.Fatalf("Send = %d, %v after %d messages, want 0, nil", n, err, tries)
		}
	}
	s.watcher.Silent(mux.Readable | mux.Writable)
	s.must(release())
	s.watcher.Await(mux.Writable)
	wiretest.Drain(s.t, s.far) // what passed at first
}

// sendQueueFull has the interface keep a few messages, and refuse the next.
func (s *scene) sendQueueFull() {
	near := s.cable.Near
	s.must(near.Namespace.SetThrottle(near.Name, netlab.Throttle{Rate: 40, Burst: 160, Limit: 1000}))
	var sent []transport.Message
	for {
		m := s.toFar()
		n, err := s.near.Send([]transport.Message{m})
		if err != nil {
			s.says(n, err, unix.ENOBUFS, "sendmmsg: no buffer space available")
			break
		}
		if sent = append(sent, m); n != 1 || len(sent) > 100 {
			s.t.Fatalf("Send = %d, nil after %d messages, want ENOBUFS", n, len(sent))
		}
	}
	s.refused(unix.ENOBUFS, "sendmmsg: no buffer space available")
	s.must(near.Namespace.SetThrottle(near.Name, netlab.Throttle{Rate: 1 << 30, Burst: 1 << 16, Limit: 1 << 20}))
	m := s.toFar()
	wiretest.Send(s.t, s.near, m) // takes the others with it
	s.arrive(append(sent, m)...)
	s.must(near.Namespace.SetThrottle(near.Name, netlab.Throttle{}))
}

func (s *scene) receiveQueueOverflows() {
	before, sent := wiretest.Dropped(s.t, s.near), 0
	dropped := func() int { return int(wiretest.Dropped(s.t, s.near) - before) }
	for ; dropped() == 0; sent++ {
		if sent > 1000 {
			s.t.Fatalf("nothing is dropped of %d messages", sent)
		}
		wiretest.Send(s.t, s.far, s.toNear())
	}
	s.watcher.Await(mux.Readable)
	came := wiretest.Drain(s.t, s.near)
	for came+dropped() < sent { // there is room for what is still on its way
		s.watcher.Await(mux.Readable)
		came += wiretest.Drain(s.t, s.near)
	}
	stats, err := unix.GetsockoptTpacketStats(s.near.FD(), unix.SOL_PACKET, unix.PACKET_STATISTICS) // since the last time
	s.must(err)
	if came == 0 || came+dropped() != sent || int(stats.Drops) != dropped() {
		s.t.Errorf("%d were sent, %d came and %d were dropped; PACKET_STATISTICS says %d", sent, came, dropped(), stats.Drops)
	}
}

// interfaceDeleted is for good: another of the same name does not bring it back.
func (s *scene) interfaceDeleted() {
	s.cut()
	s.reported(unix.ENETDOWN, "recvmmsg: network is down (the interface is off or, for good, deleted: Send tells which)")
	const gone = "sendmmsg: no such device or address (the interface has been deleted: close the transport)"
	s.refused(unix.ENXIO, gone)
	next := newScene(s.t, s.network, transport.Config{}, false)
	next.traffic()
	s.refused(unix.ENXIO, gone)
	next.cut()
}

// oneInterfaceDeleted leaves the others, and the next of that name.
func (s *scene) oneInterfaceDeleted() {
	s.cut()
	s.refused(unix.ENXIO, fmt.Sprintf("sendmmsg: no such device or address (Message.Ifindex is %d: there is no such interface)", s.cable.Near.Index))
	s.lay()
}
