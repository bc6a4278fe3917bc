package icmp_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/net/bpf"

	"iomux/transport"
	"iomux/transport/icmp"
)

func TestIPv6ReceivesTheFieldsThatWereSent(t *testing.T) {
	addOther(t)
	tr := open(t, raw6.name, "", only(request6))
	full := message(request6, raw6.other, 1, 2, nil)
	full.Local, full.Ifindex, full.TTL, full.TOS = raw6.other, ifindex(t, "lo"), 9, 0x10
	plain := message(request6, raw6.loopback, 1, 2, nil)
	send(t, tr, plain, full, plain) // the last has nothing of the one before
	got := recv(t, tr, 3)
	for i, want := range []transport.Message{
		{Peer: netip.AddrPortFrom(raw6.loopback, 0), Local: raw6.loopback, TTL: 64},
		{Peer: netip.AddrPortFrom(raw6.other, 0), Local: raw6.other, TTL: 9, TOS: 0x10},
		{Peer: netip.AddrPortFrom(raw6.loopback, 0), Local: raw6.loopback, TTL: 64},
	} {
		want.Buf, want.N, want.Ifindex = got[i].Buf, icmpHeader, ifindex(t, "lo")
		if !reflect.DeepEqual(got[i], want) {
			t.Errorf("message %d: got %+v, want %+v", i, head(got[i]), head(want))
		}
	}
}

func TestIPv6PingSendsAndReceivesTheFields(t *testing.T) {
	tr, witness := open(t, ping6.name, "", nil), open(t, raw6.name, "", only(request6))
	m := message(request6, ping6.loopback, 0, 7, pattern(56))
	m.Ifindex, m.TTL, m.TOS = ifindex(t, "lo"), 9, 0x10
	send(t, tr, m)
	if got := recv(t, witness, 1)[0]; got.TTL != 9 || got.TOS != 0x10 || identifier(&got) != tr.(transport.Identifier).Identifier() {
		t.Errorf("the request has TTL %d, TOS %#x and identifier %d", got.TTL, got.TOS, identifier(&got))
	}
	got := recv(t, tr, 1)[0]
	want := transport.Message{Buf: got.Buf, N: m.N, Peer: m.Peer, Local: ping6.loopback, Ifindex: ifindex(t, "lo"), TTL: 64, TOS: got.TOS}
	if !reflect.DeepEqual(got, want) || !slices.Equal(got.Bytes()[icmpHeader:], pattern(56)) {
		t.Errorf("got %+v, want %+v", head(got), head(want))
	}
}

func TestIPv6PingRefusesASourceThatTheKernelWouldIgnore(t *testing.T) {
	addOther(t)
	tr := open(t, ping6.name, "", &transport.Config{Source: raw6.other})
	m := message(request6, ping6.loopback, 0, 1, nil)
	m.Local = raw6.other
	send(t, tr, m)
	if got := recv(t, tr, 1)[0]; got.Local != raw6.other {
		t.Errorf("the reply went to %v, want %v", got.Local, raw6.other)
	}
	m.Local = raw6.loopback
	if n, err := tr.Send([]transport.Message{m}); n != 0 || err == nil {
		t.Errorf("Send from %v = %d, %v, want an error", m.Local, n, err)
	}
}

func TestIPv6PingSendsFromWhereItIsBound(t *testing.T) {
	for _, c := range []struct {
		address string
		source  netip.Addr
	}{{"::1", netip.Addr{}}, {"0::1", ping6.loopback}, {"::", ping6.loopback}} {
		tr := open(t, ping6.name, c.address, &transport.Config{Source: c.source})
		m := message(request6, ping6.loopback, 0, 1, nil)
		m.Local = ping6.loopback
		send(t, tr, m)
		if got := recv(t, tr, 1)[0]; got.Local != ping6.loopback {
			t.Errorf("bound to %q: the reply went to %v, want %v", c.address, got.Local, ping6.loopback)
		}
	}
}

func TestIPv6FlagsWhatWasSentToMany(t *testing.T) {
	cable(t)
	tr := open(t, raw6.name, "", only(request6))
	for addr, many := range map[string]bool{"ff02::1": true, "2001:db8::1": false} {
		m := message(request6, netip.MustParseAddr(addr), 1, 1, nil)
		m.Ifindex = ifindex(t, "near")
		send(t, tr, m)
		got := recv(t, tr, 1)[0]
		if got.Local.String() != addr || (got.Flags == transport.Broadcast) != many || !many && got.Flags != 0 {
			t.Errorf("sent to %s: Local %v, Flags %b", addr, got.Local, got.Flags)
		}
	}
}

func TestIPv6DeliversOnlyTheTypesAskedFor(t *testing.T) {
	silenceKernel(t)
	sent := []uint8{0, 1, 31, 32, request6, reply6, 200, 255}
	for _, types := range [][]uint8{{request6}, {0, 32, 255}, {1, 31, reply6, 200}, sent} {
		tr, from := open(t, raw6.name, "", only(types...)), open(t, raw6.name, "", only(request6))
		for _, kind := range sent {
			send(t, from, message(kind, raw6.loopback, 1, 2, nil))
		}
		var got []uint8
		for _, m := range recv(t, tr, len(types)) {
			got = append(got, m.Bytes()[0])
		}
		if !slices.Equal(got, types) {
			t.Errorf("Types %v: got %v", types, got)
		}
		recvNone(t, tr)
	}
}

// The kernel fills in the checksum, for which there must be room.
func TestIPv6ShortMessageIsAnError(t *testing.T) {
	tr := open(t, raw6.name, "", only(request6))
	m := message(request6, raw6.loopback, 1, 1, nil)
	for m.N = range 4 {
		n, err := tr.Send([]transport.Message{m})
		if n != 0 || err == nil || errors.Is(err, syscall.EFAULT) || m.N >= 2 && !errors.Is(err, syscall.EINVAL) {
			t.Errorf("Send of %d bytes = %d, %v", m.N, n, err)
		}
	}
}

func TestIPv6BatchThereAndBackAllocatesNothing(t *testing.T) {
	onAll(t, []network{raw6, ping6}, func(t *testing.T, n network) {
		tr := open(t, n.name, "", &transport.Config{Filter: assemble(t,
			bpf.LoadAbsolute{Off: 0, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(reply6), SkipTrue: 1},
			bpf.RetConstant{Val: 1 << 16},
			bpf.RetConstant{Val: 0},
		)})
		const batch = 32
		out, in := slices.Repeat([]transport.Message{message(request6, n.loopback, 0, 1, pattern(56))}, batch), slots(batch, 1500)
		for i := range out {
			out[i].Ifindex, out[i].TTL, out[i].TOS = 1, 9, 0x10
		}
		if n := testing.AllocsPerRun(100, func() {
			if sent, err := tr.Send(out); sent != batch || err != nil {
				t.Fatalf("Send = %d, %v", sent, err)
			}
			recvInto(t, tr, in)
		}); n != 0 {
			t.Errorf("%v allocations for a batch there and back, want 0", n)
		}
	})
}

// quote6 is an ICMPv6 error about a packet whose headers have these numbers.
func quote6(kind uint8, quoted []byte, next ...uint8) []byte {
	b := make([]byte, 8+40)
	b[0], b[8], b[8+6] = kind, 6<<4, next[0]
	for _, n := range next[1:] { // a fragment header each
		b = append(b, n, 0, 0, 1, 0, 0, 0, 1) // the first of several
	}
	return append(b, quoted...)
}

func TestIPv6FiltersPassOnlyWhatTheyAreFor(t *testing.T) {
	const id = 0xabcd
	echo6 := func(kind uint8, id uint16) []byte { m := message(kind, raw6.loopback, id, 1, nil); return m.Bytes() }
	own, foreign := echo6(request6, id), echo6(request6, id^1)
	type verdicts struct{ echo, probe bool }
	type packetCase struct {
		icmp []byte
		want verdicts
	}
	cases := map[string]packetCase{
		"own reply":     {echo6(reply6, id), verdicts{true, true}},
		"foreign reply": {echo6(reply6, id^0x8000), verdicts{}},
		"reply cut off": {echo6(reply6, id)[:5], verdicts{}},
		"own request":   {own, verdicts{}},
		"nothing":       {nil, verdicts{}},
	}
	add := func(name string, icmp []byte, probe bool) { cases[name] = packetCase{icmp, verdicts{false, probe}} }
	for kind := range uint8(6) {
		add("own probe, type "+string('0'+rune(kind)), quote6(kind, own, 58), 1 <= kind && kind <= 4)
		add("foreign probe, type "+string('0'+rune(kind)), quote6(kind, foreign, 58), false)
	}
	add("first fragment", quote6(2, own, 44, 58), true)
	add("first fragment, foreign", quote6(2, foreign, 44, 58), false)
	add("first fragment of UDP", quote6(2, own, 44, 17), false)
	later := quote6(2, own, 44, 58)
	binary.BigEndian.PutUint16(later[8+40+2:], 8|1)
	add("later fragment", later, false)
	add("quote of UDP", quote6(1, own, 17), false)
	add("quote of a reply", quote6(1, echo6(reply6, id), 58), false)
	add("quote cut off", quote6(1, own[:5], 58), false)
	add("quote cut off in its header", quote6(1, nil, 58)[:20], false)
	add("neighbour advertisement", append([]byte{136, 0, 0, 0, 0xab, 0xcd}, make([]byte, 18)...), false)

	filters := make(map[bool][]bpf.RawInstruction)
	for probe, make := range map[bool]func(uint16) ([]bpf.RawInstruction, error){false: icmp.EchoReplyFilter6, true: icmp.ProbeFilter6} {
		filter, err := make(id)
		if err != nil {
			t.Fatal(err)
		}
		filters[probe] = filter
	}
	for name, c := range cases {
		if got := (verdicts{accepts(t, filters[false], c.icmp), accepts(t, filters[true], c.icmp)}); got != c.want {
			t.Errorf("%s: EchoReplyFilter6, ProbeFilter6 say %v, want %v", name, got, c.want)
		}
	}
}

func TestIPv6ProbeFilterInTheKernel(t *testing.T) {
	const id = 0xabcd
	filter, err := icmp.ProbeFilter6(id)
	if err != nil {
		t.Fatal(err)
	}
	tr, other := open(t, raw6.name, "", &transport.Config{Filter: filter}), open(t, raw6.name, "", nil)
	about := func(id uint16) transport.Message {
		quoted := message(request6, raw6.loopback, id, 1, nil)
		b := quote6(3, quoted.Bytes(), 58)
		return transport.Message{Buf: b, N: len(b), Peer: netip.AddrPortFrom(raw6.loopback, 0)}
	}
	send(t, other, about(id^1), about(id),
		message(reply6, raw6.loopback, id^1, 3, nil), message(reply6, raw6.loopback, id, 4, pattern(60_000)))
	got := recv(t, tr, 2)
	if got[0].Bytes()[0] != 3 || got[1].Bytes()[0] != reply6 || sequence(&got[1]) != 4 || got[1].N != icmpHeader+60_000 {
		t.Errorf("got types %d and %d, the latter with %d bytes", got[0].Bytes()[0], got[1].Bytes()[0], got[1].N)
	}
	recvNone(t, tr)
}
