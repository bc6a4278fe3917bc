package udp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/netlab"
	"iomux/transport/udp"
)

// segmented is a message of datagrams, each of which begins with its number.
func segmented(peer netip.AddrPort, segment, n int) transport.Message {
	m := datagram(peer, wiretest.Pattern(0, n))
	for i := 0; i*segment+4 <= n; i++ {
		binary.BigEndian.PutUint32(m.Buf[i*segment:], uint32(i))
	}
	m.Segment = uint16(segment)
	return m
}

// joined puts datagrams of at least 4 bytes in order.
func joined(datagrams [][]byte) []byte {
	slices.SortFunc(datagrams, bytes.Compare)
	return slices.Concat(datagrams...)
}

// listen opens a socket of package net, a peer that knows nothing of this one.
func listen(t *testing.T, network, address string) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	pc, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	c := pc.(*net.UDPConn)
	if err := c.SetReadDeadline(time.Now().Add(wiretest.Watchdog)); err != nil {
		t.Fatal(err)
	}
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// read reads datagrams of so many bytes in total.
func read(t *testing.T, c *net.UDPConn, n int) (datagrams [][]byte) {
	t.Helper()
	for n > 0 {
		buf := make([]byte, 1<<16)
		k, err := c.Read(buf)
		if err != nil {
			t.Fatalf("%d bytes are missing: %v", n, err)
		}
		datagrams = append(datagrams, buf[:k])
		n -= k
	}
	return datagrams
}

// expect checks that the datagrams of a message have arrived.
func expect(t *testing.T, datagrams [][]byte, m transport.Message) {
	t.Helper()
	lengths := make(map[int]int)
	for _, d := range datagrams {
		lengths[len(d)]++
	}
	whole, rest := m.N/int(m.Segment), m.N%int(m.Segment)
	if lengths[int(m.Segment)] != whole || rest > 0 && lengths[rest] != 1 {
		t.Errorf("%d bytes by %d arrived as %v (length: number)", m.N, m.Segment, lengths)
	}
	if !bytes.Equal(joined(datagrams), m.Bytes()) {
		t.Errorf("%d bytes by %d arrived changed", m.N, m.Segment)
	}
}

func needGSO(t *testing.T, c udp.Conn) {
	t.Helper()
	if err := c.GSO(); err != nil {
		t.Skipf("this kernel has no GSO for UDP: %v", err)
	}
}

func TestSegmentedMessageIsManyDatagrams(t *testing.T) {
	for _, network := range []string{"udp4", "udp6"} {
		c := open(t, network, loopback[network], nil)
		needGSO(t, c)
		peer, addr := listen(t, network, loopback[network])
		for _, size := range []struct{ segment, n int }{
			{1000, 1000}, {1000, 1004}, {1000, 2000}, {1000, 64_000}, {999, 63_999}, {1472, 1473 * 40}, {4, 256}, {60_000, 65_000},
			{10, 2000},       // more than the kernel takes at once
			{1400, 84_000},   // more than a packet can be
			{65_507, 65_508}, // a datagram as long as it can be
		} {
			m := segmented(addr, size.segment, size.n-size.n%size.segment%4) // of 4 bytes or more each
			wiretest.Send(t, c, m)
			expect(t, read(t, peer, m.N), m)
		}
		if err := c.GSO(); err != nil {
			t.Errorf("%s: GSO is off: %v", network, err)
		}
	}
}

// A GRO receiver on the same machine is given what the kernel did not even cut.
func TestKernelCutsAndJoins(t *testing.T) {
	for _, network := range networks {
		a, b := open(t, network, loopback[network], nil), open(t, network, loopback[network], &transport.Config{Options: udp.Options{GRO: true}})
		needGSO(t, a)
		if err := b.GRO(); err != nil {
			t.Skipf("this kernel has no GRO for UDP: %v", err)
		}
		host := "127.0.0.1"
		if network == "udp6" {
			host = "::1"
		}
		m, one := segmented(to(b, host), 1000, 20_500), datagram(to(b, host), wiretest.Pattern(1, 1000))
		wiretest.Send(t, a, one, m, one)
		got := wiretest.Recv(t, b, 3)
		for i, want := range []transport.Message{one, m, one} {
			if !bytes.Equal(got[i].Bytes(), want.Bytes()) || got[i].Segment != want.Segment || got[i].Flags != 0 {
				t.Errorf("%s: received %d bytes, Segment %d, flags %d, want %d bytes, Segment %d", network, got[i].N, got[i].Segment, got[i].Flags, want.N, want.Segment)
			}
		}
		// There and back in place: the Segment goes along.
		got[1].Reply()
		peer := recvJoined(t, a, b, got[1])
		expect(t, peer, m)

		wiretest.Send(t, a, m)
		short := []transport.Message{{Buf: make([]byte, 1500)}}
		wiretest.Await(t, b, unix.POLLIN)
		if n, err := b.Recv(short); n != 1 || err != nil || short[0].Flags != transport.Truncated || short[0].Segment != 1000 {
			t.Errorf("%s: into a Buf of 1500: %d, %v, flags %d, Segment %d, want 1 Truncated of 1000", network, n, err, short[0].Flags, short[0].Segment)
		}
	}
}

// recvJoined sends a message and receives its datagrams.
func recvJoined(t *testing.T, to, from transport.Transport, m transport.Message) (datagrams [][]byte) {
	t.Helper()
	wiretest.Send(t, from, m)
	for got := 0; got < m.N; {
		one := wiretest.Recv(t, to, 1)[0]
		datagrams = append(datagrams, one.Bytes())
		got += one.N
	}
	return datagrams
}

// What package net has the kernel cut arrives joined.
func TestGROJoinsWhatAnotherProgramSends(t *testing.T) {
	c := open(t, "udp4", "127.0.0.1:0", &transport.Config{Options: udp.Options{GRO: true}})
	if err := c.GRO(); err != nil {
		t.Skipf("this kernel has no GRO for UDP: %v", err)
	}
	peer, addr := listen(t, "udp4", "127.0.0.1:0")
	cut := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&cut[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(cut[unix.CmsgLen(0):], 700)
	want := wiretest.Pattern(3, 7000)
	if _, _, err := peer.WriteMsgUDPAddrPort(want, cut, c.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if got := wiretest.Recv(t, c, 1)[0]; got.Segment != 700 || !bytes.Equal(got.Bytes(), want) || got.Peer != addr {
		t.Errorf("received %d bytes from %v, Segment %d, want 7000 from %v, Segment 700", got.N, got.Peer, got.Segment, addr)
	}
}

func TestWithoutGRONothingIsJoined(t *testing.T) {
	a, b := open(t, "udp4", "127.0.0.1:0", nil), open(t, "udp4", "127.0.0.1:0", nil)
	if err := b.GRO(); err == nil || err.Error() != "Options.GRO is not set" {
		t.Errorf("GRO() = %v", err)
	}
	wiretest.Send(t, a, segmented(b.LocalAddr(), 100, 1000))
	for i, m := range wiretest.Recv(t, b, 10) {
		if m.N != 100 || m.Segment != 0 {
			t.Errorf("datagram %d has %d bytes, Segment %d, want 100 and 0", i, m.N, m.Segment)
		}
	}
}

// Off because of EIO, each datagram is sent for itself: GRO, which otherwise
// shows the message as it was, has nothing to join.
func TestRefusalSwitchesGSOOffAndLosesNothing(t *testing.T) {
	a, b := open(t, "udp4", "127.0.0.1:0", nil), open(t, "udp4", "127.0.0.1:0", &transport.Config{Options: udp.Options{GRO: true}, RecvBuffer: 1 << 20})
	for _, err := range []error{syscall.EINVAL, syscall.EMSGSIZE} {
		if !udp.Refused(a, err) {
			t.Errorf("%v is not taken for a refusal", err)
		}
	}
	if udp.Refused(a, syscall.ENETUNREACH) {
		t.Error("ENETUNREACH is taken for a refusal to cut up a message")
	}
	needGSO(t, a)
	if reason := (&net.OpError{Op: "write", Err: syscall.EIO}); !udp.Refused(a, reason) || a.GSO() != error(reason) {
		t.Fatalf("GSO() = %v, want EIO", a.GSO())
	}
	one := datagram(b.LocalAddr(), wiretest.Pattern(1, 300))
	m := segmented(b.LocalAddr(), 100, 6_450)
	ms := []transport.Message{one, m, one, m, m}
	for _, want := range []int{1, 1, 1, 1, 1} { // in front of a message that is cut up, and it alone
		n, err := a.Send(ms)
		if n != want || err != nil {
			t.Fatalf("Send of %d = %d, %v, want %d", len(ms), n, err, want)
		}
		ms = ms[n:]
	}
	if udp.Retains(a) {
		t.Error("Send keeps a buffer")
	}
	var datagrams [][]byte
	ones := 0
	for _, got := range wiretest.Recv(t, b, 2+3*65) {
		switch {
		case got.Segment != 0:
			t.Fatalf("received %d bytes, Segment %d: the kernel has cut it", got.N, got.Segment)
		case got.N == one.N:
			ones++
		default:
			datagrams = append(datagrams, bytes.Clone(got.Bytes()))
		}
	}
	slices.SortFunc(datagrams, bytes.Compare)
	for i := range 3 {
		var each [][]byte
		for at := i; at < len(datagrams); at += 3 {
			each = append(each, datagrams[at])
		}
		expect(t, each, m)
	}
	if ones != 2 {
		t.Errorf("%d datagrams of messages without Segment arrived, want 2", ones)
	}
	wiretest.RecvNone(t, b)
}

// Over an Ethernet, longer datagrams than its MTU are cut up here, and the kernel
// makes fragments of them.
func TestSegmentLongerThanTheMTU(t *testing.T) {
	cable := wiretest.NewCable(t)
	for network, host := range map[string]string{"udp4": cable.Far.Addr4.String(), "udp6": cable.Far.Addr6.String()} {
		a, b := open(t, network, "", nil), openFar(t, cable, network, "")
		needGSO(t, a)
		long, short := segmented(to(b, host), 3000, 20_000), segmented(to(b, host), 1400, 20_000)
		for _, m := range []transport.Message{long, short, long} {
			expect(t, recvJoined(t, b, a, m), m)
		}
		wiretest.RecvNone(t, b)
		if err := a.GSO(); err != nil {
			t.Errorf("GSO is off for what was too long: %v", err)
		}
	}
}

// A message whose datagrams are sent one by one may fill the send buffer. None
// gets lost, or doubled, if it is sent until it has gone. If it is given up, the
// next is sent whole.
func TestWouldBlockInTheMiddleOfAMessage(t *testing.T) {
	cable := wiretest.NewCable(t)
	a, b := open(t, "udp4", "", &transport.Config{SendBuffer: 10_000}), openFar(t, cable, "udp4", "")
	udp.Refused(a, syscall.EIO)
	host := cable.Far.Addr4.String()
	m, other := segmented(to(b, host), 1000, 60_000), segmented(to(b, host), 900, 27_000)
	throttle := func(rate uint64, burst uint32) {
		t.Helper()
		if err := cable.Near.Namespace.SetThrottle("near", netlab.Throttle{Rate: rate, Burst: burst, Limit: 1 << 24}); err != nil {
			t.Fatal(err)
		}
	}
	block := func() {
		t.Helper()
		throttle(10_000, 2_500)
		for range 3 { // it stays where it is
			if n, err := a.Send([]transport.Message{m}); n != 0 || err != nil {
				t.Fatalf("Send = %d, %v, want 0, nil: the send buffer is full", n, err)
			}
		}
		throttle(1<<30, 1<<20) // what waits stays
	}
	block()
	expect(t, recvJoined(t, b, a, m), m)
	wiretest.RecvNone(t, b)

	block()
	wiretest.Send(t, a, other)
	var datagrams [][]byte
	for len(datagrams) < 30 {
		if got := wiretest.Recv(t, b, 1)[0]; got.N == 900 {
			datagrams = append(datagrams, got.Bytes())
		}
	}
	expect(t, datagrams, other)
	wiretest.RecvNone(t, b)
	expect(t, recvJoined(t, b, a, m), m)
	wiretest.RecvNone(t, b)
}

func TestSegmentsAllocateNothing(t *testing.T) {
	a, b := open(t, "udp4", "127.0.0.1:0", nil), open(t, "udp4", "127.0.0.1:0", &transport.Config{Options: udp.Options{GRO: true}, RecvBuffer: 1 << 20})
	in, out := wiretest.Slots(70, 1<<16), []transport.Message{segmented(b.LocalAddr(), 100, 6_000)}
	roundTrip := func() {
		if n, err := a.Send(out); n != 1 || err != nil {
			t.Fatalf("Send = %d, %v", n, err)
		}
		for got := 0; got < out[0].N; {
			n, err := b.Recv(in)
			if err != nil {
				t.Fatal(err)
			}
			for i := range in[:n] {
				got += in[i].N
			}
			if n == 0 {
				wiretest.Await(t, b, unix.POLLIN)
			}
		}
	}
	for _, how := range []string{"by the kernel", "one by one"} {
		if n := testing.AllocsPerRun(100, roundTrip); n != 0 {
			t.Errorf("%s: %v allocations, want 0", how, n)
		}
		udp.Refused(a, errors.ErrUnsupported)
		udp.Refused(a, syscall.EIO)
	}
}
