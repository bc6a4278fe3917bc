package icmp_test

import (
	"bytes"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/icmp"
)

// only delivers these ICMP types.
func only(types ...uint8) *transport.Config {
	return &transport.Config{Options: icmp.Options{Types: types}}
}

func TestRawRoundTripIsByteExact(t *testing.T) {
	tr := open(t, "ip4:icmp", "", only(reply))
	sizes := []int{65507}
	for n := range 1473 {
		sizes = append(sizes, n)
	}
	ms := slots(32, 1<<16)
	for chunk := range slices.Chunk(sizes, len(ms)) {
		var out []transport.Message
		for _, size := range chunk {
			out = append(out, message(request, loopback, 1, uint16(size), pattern(size)))
		}
		send(t, tr, out...)
		recvInto(t, tr, ms[:len(chunk)])
		for i, size := range chunk {
			want := message(reply, loopback, 1, uint16(size), pattern(size))
			if !bytes.Equal(ms[i].Bytes(), want.Bytes()) || ms[i].Off != ipv4Header || ms[i].Flags != 0 {
				t.Fatalf("payload of %d bytes: %d bytes at %d came back, flags %b, or they differ", size, ms[i].N, ms[i].Off, ms[i].Flags)
			}
		}
	}
	recvNone(t, tr)
}

func TestRawReceivesTheFieldsThatWereSent(t *testing.T) {
	tr := open(t, "ip4:icmp", "", only(request))
	to := netip.MustParseAddr("127.0.0.5")
	plain := message(request, to, 1, 2, nil)
	full := message(request, to, 1, 2, nil)
	full.Local, full.Ifindex, full.TTL, full.TOS = netip.MustParseAddr("127.0.0.3"), ifindex(t, "lo"), 9, 0x10
	send(t, tr, plain, full, plain) // the last has nothing of the one before
	got := recv(t, tr, 3)
	for i, want := range []transport.Message{
		{Peer: netip.MustParseAddrPort("127.0.0.1:0"), TTL: 64},
		{Peer: netip.MustParseAddrPort("127.0.0.3:0"), TTL: 9, TOS: 0x10},
		{Peer: netip.MustParseAddrPort("127.0.0.1:0"), TTL: 64},
	} {
		want.Buf, want.Off, want.N, want.Local, want.Ifindex = got[i].Buf, ipv4Header, icmpHeader, to, ifindex(t, "lo")
		if !reflect.DeepEqual(got[i], want) {
			t.Errorf("message %d: got %+v, want %+v", i, head(got[i]), head(want))
		}
	}
}

// head is the message without its bytes, to be printed.
func head(m transport.Message) transport.Message {
	m.Buf = nil
	return m
}

func TestRawRecvOverwritesWhatWasInTheMessage(t *testing.T) {
	tr := open(t, "ip4:icmp", "", only(request))
	send(t, tr, message(request, loopback, 1, 2, nil))
	fresh, used := slots(1, 100), slots(1, 100)
	recvInto(t, tr, fresh)
	used[0] = transport.Message{Buf: used[0].Buf, Off: 50, N: 60, Peer: netip.MustParseAddrPort("[::1]:8"),
		Link: transport.LinkAddr{Len: 6}, Local: netip.IPv6Loopback(), Ifindex: 77, TTL: 3, TOS: 4,
		ID: 5, Segment: 6, Flags: transport.Truncated | transport.Broadcast}
	send(t, tr, message(request, loopback, 1, 2, nil))
	recvInto(t, tr, used)
	copy(used[0].Buf[4:6], fresh[0].Buf[4:6])     // IPv4 identification
	copy(used[0].Buf[10:12], fresh[0].Buf[10:12]) // and the header checksum over it
	if !reflect.DeepEqual(used, fresh) {
		t.Errorf("got %+v, want %+v", used[0], fresh[0])
	}
}

func TestRawPayloadBeginsAfterTheHeadersOptions(t *testing.T) {
	tr := open(t, "ip4:icmp", "", only(request))
	from := open(t, "ip4:icmp", "", only(reply))
	recordRoute := append([]byte{7, 39, 4}, make([]byte, 37)...) // RFC 791: room for 9 addresses, end of options
	if err := unix.SetsockoptString(from.FD(), unix.SOL_IP, unix.IP_OPTIONS, string(recordRoute)); err != nil {
		t.Fatal(err)
	}
	want := message(request, loopback, 1, 2, pattern(56))
	send(t, from, want)
	got := recv(t, tr, 1)[0]
	if got.Off != 60 || !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("payload of %d bytes at %d, want %d at 60", got.N, got.Off, want.N)
	}
	if got.TTL != 64 || got.Local != loopback {
		t.Errorf("TTL %d, Local %v, want 64, %v", got.TTL, got.Local, loopback)
	}
}

func TestRawBatches(t *testing.T) {
	const batch = 5
	cfg := only(request)
	cfg.Batch = batch
	tr := open(t, "ip4:icmp", "", cfg)
	if tr.BatchSize() != batch {
		t.Fatalf("BatchSize() = %d, want %d", tr.BatchSize(), batch)
	}
	for _, n := range []int{1, 2, batch, batch + 1} {
		var out []transport.Message
		for i := range n {
			out = append(out, message(request, loopback, 1, uint16(i), pattern(i)))
		}
		// A busy machine may deliver late, so that a batch comes in parts. It
		// does not always.
		largest := 0
		for range 100 {
			if sent, err := tr.Send(out); sent != min(n, batch) || err != nil {
				t.Fatalf("Send of %d = %d, %v, want %d", n, sent, err, min(n, batch))
			}
			send(t, tr, out[min(n, batch):]...)
			in := slots(n, 100)
			got, err := tr.Recv(in)
			if err != nil {
				t.Fatalf("Recv: %v", err)
			}
			largest = max(largest, got)
			recvInto(t, tr, in[got:])
			for i := range in {
				if !bytes.Equal(in[i].Bytes(), out[i].Bytes()) {
					t.Errorf("message %d of %d differs or is out of order", i, n)
				}
			}
			recvNone(t, tr)
		}
		if largest != min(n, batch) {
			t.Errorf("with %d messages there, Recv returned %d at the most, want %d", n, largest, min(n, batch))
		}
	}
}

func TestRawEmptySliceConsumesNothing(t *testing.T) {
	tr := open(t, "ip4:icmp", "", only(request))
	if n, err := tr.Send(nil); n != 0 || err != nil {
		t.Errorf("Send(nil) = %d, %v", n, err)
	}
	send(t, tr, message(request, loopback, 1, 2, nil))
	if n, err := tr.Recv(nil); n != 0 || err != nil {
		t.Errorf("Recv(nil) = %d, %v", n, err)
	}
	recv(t, tr, 1)
}

func TestRawRecvLeavesTheRestUntouched(t *testing.T) {
	tr := open(t, "ip4:icmp", "", only(request))
	send(t, tr, message(request, loopback, 1, 2, nil))
	poll(t, tr, unix.POLLIN, watchdog)
	ms, want := slots(3, 100), slots(3, 100)
	for i := range ms {
		ms[i].TTL, ms[i].Off, ms[i].N = 5, 6, 7
		want[i].TTL, want[i].Off, want[i].N = 5, 6, 7
	}
	if n, err := tr.Recv(ms); n != 1 || err != nil {
		t.Fatalf("Recv = %d, %v", n, err)
	}
	if !reflect.DeepEqual(ms[1:], want[1:]) {
		t.Error("Recv changed messages that it did not fill")
	}
}

func TestRawSendLeavesMessagesUntouched(t *testing.T) {
	tr := open(t, "ip4:icmp", "", only(request))
	make := func() []transport.Message {
		m := message(request, loopback, 1, 2, pattern(10))
		m.Local, m.Ifindex, m.TTL, m.TOS, m.ID, m.Flags = loopback, 1, 9, 0x10, 3, transport.Truncated
		return []transport.Message{m, message(request, netip.Addr{}, 1, 2, nil)}
	}
	ms := make()
	if n, err := tr.Send(ms); n != 1 || err != nil {
		t.Fatalf("Send = %d, %v, want 1", n, err)
	}
	if !reflect.DeepEqual(ms, make()) {
		t.Error("Send changed messages")
	}
}

func TestRawTruncationIsFlaggedAndTheNextPacketIntact(t *testing.T) {
	tr := open(t, "ip4:icmp", "", only(request))
	sent := message(request, loopback, 1, 2, pattern(56))
	whole := ipv4Header + sent.N
	for size := range whole + 2 {
		send(t, tr, sent, sent)
		ms := slots(2, whole)
		ms[0].Buf = make([]byte, size)
		recvInto(t, tr, ms)
		m := ms[0]
		if truncated := m.Flags&transport.Truncated != 0; truncated != (size < whole) {
			t.Fatalf("Buf of %d bytes: truncated is %v", size, truncated)
		}
		if m.Off != min(size, ipv4Header) || m.Off+m.N != min(size, whole) {
			t.Fatalf("Buf of %d bytes: Off %d, N %d", size, m.Off, m.N)
		}
		if !bytes.Equal(m.Bytes(), sent.Bytes()[:m.N]) {
			t.Fatalf("Buf of %d bytes: the payload differs", size)
		}
		if m.Peer.Addr() != loopback || m.Local != loopback || m.Ifindex == 0 {
			t.Fatalf("Buf of %d bytes: %+v", size, m)
		}
		if want := uint8(64); size >= ipv4Header && m.TTL != want {
			t.Fatalf("Buf of %d bytes: TTL %d, want %d", size, m.TTL, want)
		}
		if !bytes.Equal(ms[1].Bytes(), sent.Bytes()) || ms[1].Flags != 0 {
			t.Fatalf("after a Buf of %d bytes: the next packet is not intact", size)
		}
	}
}

func TestRawReplyLeavesFromTheRequestsDestination(t *testing.T) {
	silenceKernel(t)
	server := open(t, "ip4:icmp", "", only(request))
	client := open(t, "ip4:icmp", "", only(reply))
	to := netip.MustParseAddr("127.0.0.5")
	out := message(request, to, 1, 2, pattern(56))
	out.TTL, out.TOS = 1, 0x10
	send(t, client, out)

	ms := recv(t, server, 1)
	ms[0].Reply()
	ms[0].Bytes()[0] = reply
	setChecksum(ms[0].Bytes())
	send(t, server, ms...)

	got := recv(t, client, 1)[0]
	if got.Peer.Addr() != to {
		t.Errorf("the reply came from %v, want %v", got.Peer.Addr(), to)
	}
	if got.TTL != 64 || got.TOS != 0x10 {
		t.Errorf("the reply has TTL %d and TOS %#x, want the default 64 and the request's 0x10", got.TTL, got.TOS)
	}
	if want := message(reply, to, 1, 2, pattern(56)); !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Error("the reply is not the request turned round")
	}
}

func TestRawFlagsWhatWasSentToMany(t *testing.T) {
	tr := open(t, "ip4:icmp", "", only(request))
	if err := unix.SetsockoptInt(tr.FD(), unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
		t.Fatal(err)
	}
	for addr, broadcast := range map[string]bool{
		"127.255.255.255": true,
		"255.255.255.255": true,
		"224.0.0.1":       true,
		"127.0.0.1":       false,
		"127.0.0.5":       false,
	} {
		m := message(request, netip.MustParseAddr(addr), 1, 2, nil)
		m.Ifindex, m.Local = ifindex(t, "lo"), loopback
		send(t, tr, m)
		got := recv(t, tr, 1)[0]
		if got.Local.String() != addr {
			t.Errorf("sent to %s, Local is %v", addr, got.Local)
		}
		if (got.Flags == transport.Broadcast) != broadcast || !broadcast && got.Flags != 0 {
			t.Errorf("sent to %s, Flags are %b", addr, got.Flags)
		}
		if got.Reply(); got.Local.IsValid() == broadcast {
			t.Errorf("sent to %s, a reply leaves from %v", addr, got.Local)
		}
	}
}

func TestRawDeliversOnlyTheTypesAskedFor(t *testing.T) {
	silenceKernel(t)
	sent := []uint8{0, 3, 8, 10, 13, 31, 32, 42, 255}
	for _, c := range []struct{ types, want []uint8 }{
		{nil, sent},
		{[]uint8{8}, []uint8{8, 32, 42, 255}}, // those above 31 cannot be kept out
		{[]uint8{0, 3, 31}, []uint8{0, 3, 31, 32, 42, 255}},
		{[]uint8{42}, []uint8{32, 42, 255}},
	} {
		tr := open(t, "ip4:icmp", "", only(c.types...))
		for _, kind := range sent {
			send(t, tr, message(kind, loopback, 1, 2, nil))
		}
		var got []uint8
		for _, m := range recv(t, tr, len(c.want)) {
			got = append(got, m.Bytes()[0])
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("Types %v: got %v, want %v", c.types, got, c.want)
		}
		recvNone(t, tr)
		tr.Close()
	}
}

func TestRawBatchThereAndBackAllocatesNothing(t *testing.T) {
	silenceKernel(t)
	tr := open(t, "ip4:icmp", "", only(request))
	const batch = 32
	out, in := make([]transport.Message, batch), slots(batch, 1500)
	for i := range out {
		out[i] = message(request, loopback, 1, uint16(i), pattern(56))
		out[i].Local, out[i].TTL, out[i].TOS = loopback, 9, 0x10
	}
	if n := testing.AllocsPerRun(100, func() {
		if sent, err := tr.Send(out); sent != batch || err != nil {
			t.Fatalf("Send = %d, %v", sent, err)
		}
		recvInto(t, tr, in)
		if idle, err := tr.Recv(in); idle != 0 || err != nil {
			t.Fatalf("Recv = %d, %v, want nothing", idle, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a batch there and back, want 0", n)
	}
}
