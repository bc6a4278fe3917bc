package udp_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"iomux/mux"
	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/netlab"
	"iomux/transport/udp"
)

// faults are what can go wrong between the ends of a cable.
var faults = []struct {
	name string
	test func(*line)
}{
	{"interface down", (*line).interfaceDown},            // the error of each Send, and no other
	{"send buffer full", (*line).sendBufferFull},         // Send would block
	{"queueing discipline full", (*line).disciplineFull}, // without IP_RECVERR ENOBUFS is not reported; nstat(8) counts
	{"receive buffer full", (*line).receiveBufferFull},   // transport.DropCounter counts
	{"peer closed", (*line).peerClosed},                  // without IP_RECVERR port unreachable is not reported
}

// TestFaults: each is reported as said above, nobody who waits spins, and traffic
// goes on when it is over.
func TestFaults(t *testing.T) {
	cable := wiretest.NewCable(t)
	for _, s := range sides(cable.Near.Addr4, cable.Near.Addr6, cable.Far.Addr4, cable.Far.Addr6) {
		for _, f := range faults {
			t.Run(s.name+"/"+f.name, func(t *testing.T) {
				l := newLine(t, cable, s)
				l.goesOn()
				f.test(l)
				l.goesOn()
			})
		}
	}
}

// line is two transports that know each other, one at each end of a cable. Near is
// the one under test, with small buffers.
type line struct {
	*testing.T
	cable         *wiretest.Cable
	network       string
	near, far     udp.Conn
	toNear, toFar netip.AddrPort
	watch         *wiretest.Watcher // of near
	sent          int
}

func newLine(t *testing.T, cable *wiretest.Cable, s side) *line {
	l := &line{T: t, cable: cable, network: s.network}
	t.Cleanup(func() { // what a failure may have left
		cable.SetLink(true)
		cable.Near.Namespace.SetThrottle("near", netlab.Throttle{})
	})
	l.near = open(t, s.network, "", &transport.Config{SendBuffer: 10_000, RecvBuffer: 10_000})
	l.far = openFar(t, cable, s.network, "")
	l.toNear = netip.AddrPortFrom(s.a, l.near.LocalAddr().Port())
	l.toFar = netip.AddrPortFrom(s.b, l.far.LocalAddr().Port())
	l.watch = wiretest.Watch(t, l.near)
	return l
}

// message differs from the last 255.
func (l *line) message(to netip.AddrPort, size int) transport.Message {
	l.sent++
	return datagram(to, wiretest.Pattern(l.sent, size))
}

// goesOn demands that a datagram arrives at each end, and nothing else at the near
// one.
func (l *line) goesOn() {
	l.Helper()
	for _, way := range []struct {
		from, to udp.Conn
		m        transport.Message
	}{{l.near, l.far, l.message(l.toFar, 61)}, {l.far, l.near, l.message(l.toNear, 61)}} {
		wiretest.Send(l, way.from, way.m)
		got := wiretest.Recv(l, way.to, 1)[0]
		for way.to == l.far && got.N != 61 { // what the fault let through
			got = wiretest.Recv(l, way.to, 1)[0]
		}
		if string(got.Bytes()) != string(way.m.Bytes()) {
			l.Errorf("received % x, want % x", got.Bytes(), way.m.Bytes())
		}
	}
	l.quiet()
	l.watch.Await(mux.Writable)
}

// quiet demands that the near end has nothing to say.
func (l *line) quiet() {
	l.Helper()
	wiretest.RecvNone(l, l.near)
	l.watch.Silent(mux.Readable)
}

func (l *line) interfaceDown() {
	if err := l.cable.SetLink(false); err != nil {
		l.Fatal(err)
	}
	for range 3 {
		if n, err := l.near.Send([]transport.Message{l.message(l.toFar, 60)}); n != 0 || !errors.Is(err, syscall.ENETUNREACH) {
			l.Errorf("Send = %d, %v, want ENETUNREACH", n, err)
		}
		l.quiet()
	}
	if err := l.cable.SetLink(true); err != nil {
		l.Fatal(err)
	}
}

func (l *line) sendBufferFull() {
	release, err := wiretest.Hold(2000)
	if err != nil {
		l.Fatal(err)
	}
	for n := 1; n > 0; {
		if n, err = l.near.Send([]transport.Message{l.message(l.toFar, 60)}); err != nil || l.sent > 1000 {
			l.Fatalf("message %d: Send = %d, %v, want 0, nil when the buffer is full", l.sent, n, err)
		}
	}
	wiretest.RecvNone(l, l.near)
	l.watch.Silent(mux.Readable | mux.Writable)
	if err := release(); err != nil {
		l.Fatal(err)
	}
	l.watch.Await(mux.Writable)
}

func (l *line) disciplineFull() {
	if err := l.cable.Near.Namespace.SetThrottle("near", netlab.Throttle{Rate: 40, Burst: 500, Limit: 500}); err != nil {
		l.Fatal(err)
	}
	before := sendErrors(l)
	const sent = 100
	for range sent {
		l.unreported()
	}
	if lost := sendErrors(l) - before; lost == 0 || lost >= sent {
		l.Errorf("the kernel counts %d of %d datagrams that found no room, want some", lost, sent)
	}
	l.quiet()
	l.watch.Await(mux.Writable)
	if err := l.cable.Near.Namespace.SetThrottle("near", netlab.Throttle{}); err != nil {
		l.Fatal(err)
	}
}

// sendErrors is how many datagrams found no room below UDP in this namespace
// (UdpSndbufErrors and Udp6SndbufErrors of nstat(8)).
func sendErrors(t testing.TB) (total int) {
	t.Helper()
	for file, value := range map[string]string{"snmp": `(?m)^Udp:(?: \d+){5} (\d+)`, "snmp6": `Udp6SndbufErrors\s+(\d+)`} {
		text, err := os.ReadFile("/proc/thread-self/net/" + file)
		if err != nil {
			t.Fatal(err)
		}
		match := regexp.MustCompile(value).FindSubmatch(text)
		if match == nil {
			t.Fatalf("%s has no SndbufErrors:\n%s", file, text)
		}
		n, err := strconv.Atoi(string(match[1]))
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}

func (l *line) receiveBufferFull() {
	const sent = 200
	for range sent {
		wiretest.Send(l, l.far, l.message(l.toNear, 500))
	}
	l.until("nothing is dropped", func() bool { return wiretest.Dropped(l, l.near) > 0 })
	l.watch.Await(mux.Readable)
	came := 0
	l.until("some datagrams neither came nor count as dropped", func() bool {
		came += wiretest.Drain(l, l.near)
		return came+int(wiretest.Dropped(l, l.near)) >= sent
	})
	dropped := wiretest.Dropped(l, l.near)
	if came == 0 || came+int(dropped) != sent {
		l.Errorf("%d were sent, %d came and %d count as dropped", sent, came, dropped)
	}
	l.goesOn()
	if now := wiretest.Dropped(l, l.near); now != dropped {
		l.Errorf("%d count as dropped when it is over, want %d still", now, dropped)
	}
}

// until waits for what no descriptor tells.
func (l *line) until(otherwise string, done func() bool) {
	l.Helper()
	for deadline := time.Now().Add(wiretest.Watchdog); !done(); {
		if time.Now().After(deadline) {
			l.Fatal(otherwise)
		}
	}
}

func (l *line) peerClosed() {
	if err := l.far.Close(); err != nil {
		l.Fatal(err)
	}
	l.unreported()
	l.refused()
	l.quiet()
	l.unreported() // neither does it come now
	l.quiet()
	l.far = openFar(l.T, l.cable, l.network, ":"+strconv.Itoa(int(l.toFar.Port())))
}

// unreported demands that Send knows nothing of what becomes of a datagram.
func (l *line) unreported() {
	l.Helper()
	if n, err := l.near.Send([]transport.Message{l.message(l.toFar, 60)}); n != 1 || err != nil {
		l.Errorf("Send = %d, %v, want 1, nil", n, err)
	}
}

// refused waits until the far end says that its port is closed, to one who asks to
// be told.
func (l *line) refused() {
	l.Helper()
	witness, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(l.toFar)) // connected
	if err != nil {
		l.Fatal(err)
	}
	defer witness.Close()
	if err := witness.SetDeadline(time.Now().Add(wiretest.Watchdog)); err != nil {
		l.Fatal(err)
	}
	if _, err = witness.Write([]byte("hello")); err == nil {
		_, err = witness.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		l.Fatalf("a connected socket: %v, want ECONNREFUSED", err)
	}
}
