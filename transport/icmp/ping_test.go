package icmp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
)

func TestPingRoundTripIsByteExact(t *testing.T) {
	tr := open(t, "udp4:icmp", "", nil)
	own, ok := transport.As[transport.Identifier](tr)
	if !ok {
		t.Fatal("a ping socket is no transport.Identifier")
	}
	id := own.Identifier()
	for _, size := range []int{0, 1, 2, 56, 1472, 65507} {
		send(t, tr, message(request, loopback, ^id, 7, pattern(size))) // the identifier is not ours to choose
		got := recv(t, tr, 1)[0]
		if want := message(reply, loopback, id, 7, pattern(size)); !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("payload of %d bytes: the reply differs", size)
		}
	}
	recvNone(t, tr)
}

func TestPingIdentifierIsKnownBeforeTheFirstMessageAndUnique(t *testing.T) {
	one, two := open(t, "udp4:icmp", "", nil), open(t, "udp4:icmp", "", nil)
	a, b := one.(transport.Identifier).Identifier(), two.(transport.Identifier).Identifier()
	if a == 0 || b == 0 || a == b {
		t.Errorf("identifiers %d and %d, want two different ones", a, b)
	}
	send(t, one, message(request, loopback, 0, 1, nil))
	if got := recv(t, one, 1)[0]; identifier(&got) != a {
		t.Errorf("the reply has identifier %d, want %d", identifier(&got), a)
	}
	recvNone(t, two)
}

func TestPingReceivesTheFieldsOfTheReply(t *testing.T) {
	tr := open(t, "udp4:icmp", "", nil)
	to, local := netip.MustParseAddr("127.0.0.5"), netip.MustParseAddr("127.0.0.3")
	m := message(request, to, 0, 1, nil)
	m.Local, m.Ifindex, m.TTL, m.TOS = local, ifindex(t, "lo"), 9, 0x10
	send(t, tr, m)
	got := recv(t, tr, 1)[0]
	want := transport.Message{Buf: got.Buf, N: icmpHeader, Peer: netip.AddrPortFrom(to, 0), Local: local,
		Ifindex: ifindex(t, "lo"), TTL: 64, TOS: 0x10} // the kernel answers with the request's TOS
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", head(got), head(want))
	}
}

func TestPingNeverReceivesWhatWasSentToMany(t *testing.T) {
	tr, other := open(t, "udp4:icmp", "", nil), open(t, "ip4:icmp", "", nil)
	if err := unix.SetsockoptInt(other.FD(), unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
		t.Fatal(err)
	}
	for seq, addr := range []string{"224.0.0.1", "127.255.255.255", "255.255.255.255", "127.0.0.1"} {
		m := message(reply, netip.MustParseAddr(addr), tr.(transport.Identifier).Identifier(), uint16(seq), nil)
		m.Local, m.Ifindex = loopback, ifindex(t, "lo")
		send(t, other, m)
	}
	if got := recv(t, tr, 1)[0]; sequence(&got) != 3 || got.Flags != 0 {
		t.Errorf("received %v, flags %b, want only what was sent to 127.0.0.1", got.Local, got.Flags)
	}
	recvNone(t, tr)
}

func TestPingSendsTheTTLGiven(t *testing.T) {
	tr, witness := open(t, "udp4:icmp", "", nil), open(t, "ip4:icmp", "", only(request))
	m := message(request, loopback, 0, 1, nil)
	m.TTL = 9
	send(t, tr, m)
	if got := recv(t, witness, 1)[0]; got.TTL != 9 {
		t.Errorf("the request has TTL %d, want 9", got.TTL)
	}
}

func TestPingReplyIsCutOffToTheBuffer(t *testing.T) {
	tr := open(t, "udp4:icmp", "", nil)
	m := message(request, loopback, 0, 1, pattern(56))
	for _, size := range []int{0, 1, 8, 63} {
		send(t, tr, m, m)
		ms := slots(2, 100)
		ms[0].Buf = make([]byte, size)
		recvInto(t, tr, ms)
		if ms[0].Off != 0 || ms[0].N != size || ms[0].Flags != transport.Truncated {
			t.Errorf("Buf of %d bytes: Off %d, N %d, Flags %b", size, ms[0].Off, ms[0].N, ms[0].Flags)
		}
		if ms[1].N != m.N || ms[1].Flags != 0 {
			t.Errorf("after a Buf of %d bytes: N %d, Flags %b, want %d and none", size, ms[1].N, ms[1].Flags, m.N)
		}
	}
}

func TestPingFilterSeesTheICMPMessage(t *testing.T) {
	tr := open(t, "udp4:icmp", "", &transport.Config{Filter: assemble(t,
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 2, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	)})
	for seq := range uint16(4) {
		send(t, tr, message(request, loopback, 0, seq, nil))
	}
	if got := recv(t, tr, 1)[0]; sequence(&got) != 2 {
		t.Errorf("sequence number %d passed the filter, want 2", sequence(&got))
	}
	recvNone(t, tr)
}

func TestPingRefusesAllButEchoRequests(t *testing.T) {
	tr := open(t, "udp4:icmp", "", nil)
	good, bad, short := message(request, loopback, 0, 1, nil), message(reply, loopback, 0, 1, nil), message(request, loopback, 0, 1, nil)
	short.N = 7
	for _, m := range []transport.Message{bad, short} {
		if n, err := tr.Send([]transport.Message{m, good}); n != 0 || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("Send = %d, %v, want EINVAL", n, err)
		}
	}
	send(t, tr, good)
	recv(t, tr, 1)
}

// A ping socket says EAGAIN where a raw one says ENOBUFS.
func TestPingFullSendBufferWouldBlockUntilWritable(t *testing.T) {
	cable(t)
	peer := raw4.far
	tr := open(t, "udp4:icmp", "", &transport.Config{SendBuffer: 1})
	release := hold(t)
	fill(t, tr, peer)
	release()
	if !poll(t, tr, unix.POLLOUT, watchdog) {
		t.Fatal("never writable again")
	}
	send(t, tr, message(request, peer, 0, 2, nil))
	for got := recv(t, tr, 1); sequence(&got[0]) != 2; got = recv(t, tr, 1) {
	}
}

// Without IP_RECVERR a raw socket does not say so.
func TestPingPacketDroppedByTheQueueingDisciplineIsAnError(t *testing.T) {
	cable(t)
	peer := raw4.far
	tr, raw := open(t, "udp4:icmp", "", nil), open(t, "ip4:icmp", "", only(reply))
	release := hold(t)
	long := []transport.Message{message(request, peer, 0, 1, pattern(1000))}
	if n, err := tr.Send(long); n != 0 || !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("ping socket: Send = %d, %v, want ENOBUFS", n, err)
	}
	if n, err := raw.Send(long); n != 1 || err != nil {
		t.Errorf("raw socket: Send = %d, %v, want 1", n, err)
	}
	release()
	send(t, tr, message(request, peer, 0, 2, nil))
	recv(t, tr, 1)
}

func TestPingBatchThereAndBackAllocatesNothing(t *testing.T) {
	tr := open(t, "udp4:icmp", "", nil)
	const batch = 32
	out, in := slices.Repeat([]transport.Message{message(request, loopback, 0, 1, pattern(56))}, batch), slots(batch, 1500)
	if n := testing.AllocsPerRun(100, func() {
		if sent, err := tr.Send(out); sent != batch || err != nil {
			t.Fatalf("Send = %d, %v", sent, err)
		}
		recvInto(t, tr, in)
	}); n != 0 {
		t.Errorf("%v allocations for a batch there and back, want 0", n)
	}
}

func TestPingBoundToAnAddressSendsFromIt(t *testing.T) {
	tr := open(t, "udp4:icmp", "127.0.0.3", nil)
	send(t, tr, message(request, loopback, 0, 1, nil))
	got := recv(t, tr, 1)[0]
	if got.Local.String() != "127.0.0.3" || binary.BigEndian.Uint16(got.Bytes()[4:]) != tr.(transport.Identifier).Identifier() {
		t.Errorf("the reply went to %v with identifier %d", got.Local, identifier(&got))
	}
}
