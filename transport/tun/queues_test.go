package tun_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/tun"
)

// twoQueues opens a device with two queues that only the tests send to.
func twoQueues(t *testing.T) (first, second transport.Transport) {
	t.Helper()
	quietly(t)
	cfg := routed4()
	cfg.Queues = 2
	d := open(t, "", cfg)
	all := d.Queues()
	if len(all) != 2 || all[0] != transport.Transport(d) || all[0].FD() == all[1].FD() {
		t.Fatalf("Queues() = %v of %v, want the device and another", all, d)
	}
	return all[0], all[1]
}

// Which queue a flow is on is up to a hash that nobody knows; that all of 64
// flows are on one is less likely than that the machine breaks.
func TestKernelSpreadsFlowsOverTheQueues(t *testing.T) {
	const flows = 64
	first, second := twoQueues(t)
	for i := range flows {
		datagram(t, 10_000+i, somebody4)
	}
	one, two := wiretest.Drain(t, first), wiretest.Drain(t, second)
	if one == 0 || two == 0 || one+two != flows {
		t.Errorf("%d and %d packets of %d flows on two queues", one, two, flows)
	}
}

func TestFlowIsReceivedWhereItWasSent(t *testing.T) {
	first, second := twoQueues(t)
	const ours, theirs = 9, 20_000
	reply := udp(netip.AddrPortFrom(somebody4, ours), netip.AddrPortFrom(kernel4.Addr(), theirs), 0, 28)
	for i, c := range []struct{ here, there transport.Transport }{{first, second}, {second, first}, {first, second}} {
		if n, err := c.here.Send([]transport.Message{wiretest.Message(reply)}); n != 1 || err != nil {
			t.Fatalf("Send = %d, %v", n, err)
		}
		wiretest.Drain(t, c.here) // nobody has the port: the kernel says so
		wiretest.Drain(t, c.there)
		datagram(t, theirs, somebody4)
		if here, there := wiretest.Drain(t, c.here), wiretest.Drain(t, c.there); here != 1 || there != 0 {
			t.Errorf("round %d: the flow is received %d times where it was sent and %d times on the other queue", i, here, there)
		}
	}
}

func TestClosedQueueLeavesItsFlowsToTheOthers(t *testing.T) {
	const flows = 64
	first, second := twoQueues(t)
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range flows {
		datagram(t, 10_000+i, somebody4)
	}
	if n := wiretest.Drain(t, first); n != flows {
		t.Errorf("%d of %d packets on the queue that is left", n, flows)
	}
	if _, err := second.Recv(wiretest.Slots(1, 2048)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Recv on a closed queue: %v, want net.ErrClosed", err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("Close of a device of which a queue is closed: %v", err)
	}
}

func TestCloseOfTheDeviceClosesItsQueues(t *testing.T) {
	first, second := twoQueues(t)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tr := range []transport.Transport{first, second} {
		if err := tr.Close(); !errors.Is(err, net.ErrClosed) || tr.FD() != -1 {
			t.Errorf("after Close of the device: %v, FD() = %d, want net.ErrClosed and -1", err, tr.FD())
		}
	}
	d := first.(*tun.Device)
	if err := d.Up(); err != net.ErrClosed {
		t.Errorf("Up after Close: %v, want net.ErrClosed", err)
	}
	if n, err := d.Dropped(); n != 0 || err != net.ErrClosed {
		t.Errorf("Dropped after Close: %d, %v, want net.ErrClosed", n, err)
	}
}

func TestManyQueues(t *testing.T) {
	quietly(t)
	cfg := routed4()
	cfg.Queues = 256
	d := open(t, "", cfg)
	if n := len(d.Queues()); n != cfg.Queues {
		t.Fatalf("%d queues, want %d", n, cfg.Queues)
	}
	datagram(t, 10_000, netip.MustParseAddr("198.51.100.1"))
	total := 0
	for _, q := range d.Queues() {
		total += wiretest.Drain(t, q)
	}
	if total != 1 {
		t.Errorf("%d packets received, want 1", total)
	}
}
