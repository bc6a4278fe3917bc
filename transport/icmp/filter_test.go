package icmp_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/bpf"

	"iomux/transport"
	"iomux/transport/icmp"
)

// assemble joins instructions into a Config.Filter.
func assemble(t *testing.T, parts ...bpf.Instruction) []bpf.RawInstruction {
	t.Helper()
	raw, err := bpf.Assemble(parts)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// icmpError is an ICMP error that quotes a message behind an IPv4 header of a
// length.
func icmpError(kind uint8, quotedHeader int, protocol uint8, quoted []byte) []byte {
	b := make([]byte, 8+quotedHeader, 8+quotedHeader+len(quoted))
	b[0] = kind
	b[8] = 4<<4 | uint8(quotedHeader/4)
	b[8+9] = protocol
	return append(b, quoted...)
}

// packet puts an IPv4 header of a length in front of an ICMP message.
func packet(header int, icmp []byte) []byte {
	b := make([]byte, header, header+len(icmp))
	b[0] = 4<<4 | uint8(header/4)
	return append(b, icmp...)
}

func TestFiltersPassOnlyWhatTheyAreFor(t *testing.T) {
	const id = 0xabcd
	bytes := func(m transport.Message) []byte { return m.Bytes() }
	own, foreign := bytes(message(request, loopback, id, 1, nil)), bytes(message(request, loopback, id^1, 1, nil))
	type verdicts struct{ echo, probe bool }
	type packetCase struct {
		icmp []byte
		want verdicts
	}
	cases := map[string]packetCase{
		"own reply":          {bytes(message(reply, loopback, id, 1, pattern(56))), verdicts{true, true}},
		"own reply, bare":    {bytes(message(reply, loopback, id, 1, nil)), verdicts{true, true}},
		"foreign reply":      {bytes(message(reply, loopback, id^1, 1, nil)), verdicts{}},
		"foreign reply, too": {bytes(message(reply, loopback, id^0x8000, 1, nil)), verdicts{}},
		"reply cut off":      {bytes(message(reply, loopback, id, 1, nil))[:5], verdicts{}},
		"own request":        {own, verdicts{}},
		"time stamp reply":   {bytes(message(14, loopback, id, 1, nil)), verdicts{}},
		"nothing":            {nil, verdicts{}},
	}
	add := func(name string, icmp []byte, probe bool) {
		cases[name] = packetCase{icmp, verdicts{false, probe}}
	}
	for _, kind := range []uint8{3, 4, 5, 11, 12} {
		add(fmt.Sprint("own probe, type ", kind), icmpError(kind, 20, 1, own), true)
		add(fmt.Sprint("foreign probe, type ", kind), icmpError(kind, 20, 1, foreign), false)
	}
	for _, kind := range []uint8{1, 2, 6, 10, 13, 40} {
		add(fmt.Sprint("no error, type ", kind), icmpError(kind, 20, 1, own), false)
	}
	add("quote with options", icmpError(11, 60, 1, own), true)
	add("quote with options, foreign", icmpError(11, 60, 1, foreign), false)
	lie := icmpError(11, 20, 1, own)
	lie[8] = 4 << 4
	add("quote of a header without length", lie, false)
	add("quote of UDP", icmpError(11, 20, 17, own), false)
	add("quote of a reply", icmpError(11, 20, 1, bytes(message(reply, loopback, id, 1, nil))), false)
	add("quote cut off", icmpError(11, 20, 1, own[:5]), false)
	add("quote cut off in its header", icmpError(11, 20, 1, nil)[:12], false)

	echo, err := icmp.EchoReplyFilter(id)
	if err != nil {
		t.Fatal(err)
	}
	probe, err := icmp.ProbeFilter(id)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range cases {
		for _, header := range []int{20, 24, 60} {
			p := packet(header, c.icmp)
			if got := (verdicts{accepts(t, echo, p), accepts(t, probe, p)}); got != c.want {
				t.Errorf("%s behind a header of %d bytes: EchoReplyFilter, ProbeFilter say %v, want %v", name, header, got, c.want)
			}
		}
	}
}

// accepts runs a filter and reports whether it keeps the whole packet.
func accepts(t *testing.T, filter []bpf.RawInstruction, packet []byte) bool {
	t.Helper()
	program, ok := bpf.Disassemble(filter)
	if !ok {
		t.Fatal("the filter has unknown instructions")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(packet)
	if err != nil {
		t.Fatal(err)
	}
	if n != 0 && n < 0xffff {
		t.Fatalf("the filter keeps %d bytes, want none or the longest packet", n)
	}
	return n != 0
}

func TestProbeFilterInTheKernel(t *testing.T) {
	const id = 0xabcd
	filter, err := icmp.ProbeFilter(id)
	if err != nil {
		t.Fatal(err)
	}
	tr := open(t, "ip4:icmp", "", &transport.Config{Filter: filter})
	other := open(t, "ip4:icmp", "", nil)
	own := message(request, loopback, id, 1, nil)
	about := func(seq uint16, id uint16) transport.Message {
		quoted := message(request, loopback, id, seq, nil)
		b := icmpError(11, 20, 1, quoted.Bytes())
		setChecksum(b)
		return transport.Message{Buf: b, N: len(b), Peer: own.Peer}
	}
	send(t, other, about(1, id^1), about(2, id),
		message(reply, loopback, id^1, 3, nil), message(reply, loopback, id, 4, pattern(65507)))
	got := recv(t, tr, 2)
	if got[0].Bytes()[0] != 11 || got[1].Bytes()[0] != reply || sequence(&got[1]) != 4 || got[1].N != icmpHeader+65507 {
		t.Errorf("got types %d and %d, the latter with %d bytes", got[0].Bytes()[0], got[1].Bytes()[0], got[1].N)
	}
	recvNone(t, tr)
}

// A socket that is opened while foreign packets pour in never sees one.
func TestFilterIsInForceBeforeTheFirstPacket(t *testing.T) {
	const id = 0xabcd
	silenceKernel(t)
	filter, err := icmp.EchoReplyFilter(id)
	if err != nil {
		t.Fatal(err)
	}
	other := open(t, "ip4:icmp", "", nil)
	foreign := slices.Repeat([]transport.Message{message(reply, loopback, id^1, 1, nil)}, other.BatchSize())
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				other.Send(foreign)
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	for range 200 {
		tr := open(t, "ip4:icmp", "", &transport.Config{Filter: filter})
		recvNone(t, tr)
		tr.Close()
	}
}

func TestFilterOfAPacketsDestination(t *testing.T) {
	tr := open(t, "ip4:icmp", "", &transport.Config{Filter: assemble(t,
		bpf.LoadAbsolute{Off: 16, Size: 4}, // of the IPv4 header that a raw socket gets
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0x7f000005, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	)})
	to := netip.MustParseAddr("127.0.0.5")
	send(t, tr, message(request, loopback, 1, 1, nil), message(request, to, 1, 2, nil))
	if got := recv(t, tr, 1)[0]; got.Local != to {
		t.Errorf("a packet to %v passed the filter", got.Local)
	}
}
