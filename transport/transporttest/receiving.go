package transporttest

import (
	"bytes"
	"net/netip"
	"reflect"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"

	"iomux/transport"
)

// receiving: what Recv makes of the messages it is given.
var receiving = []testCase{
	{"empty_message", emptyMessage},
	{"truncation_flagged", truncationFlagged},
	{"empty_slice_consumes_nothing", emptySliceConsumesNothing},
	{"recv_leaves_the_rest_untouched", recvLeavesTheRestUntouched},
	{"filter_before_the_first_message", filterBeforeTheFirstMessage},
}

func emptyMessage(e *env) {
	p := e.open(nil)
	for _, sizes := range [][]int{{0}, {0, 0, 0}, {20, 0, 30, 0}} {
		var toA, toB []transport.Message
		for i, size := range sizes {
			toA = append(toA, messages(1, i, size, p.ToA)...)
			toB = append(toB, messages(1, i, size, p.ToB)...)
		}
		e.inAnyOrder(e.move(p.A, p.B, toB, 30), toB)
		e.inAnyOrder(e.move(p.B, p.A, toA, 30), toA)
	}
}

// truncationFlagged sends each message twice, into a Buf that may be too short
// and into one that is not, so that their order does not matter.
func truncationFlagged(e *env) {
	p := e.open(nil)
	e.needs(p.ToA, "ToA")
	size := e.typical()
	sent := p.ToA(1, size)
	header := e.move(p.B, p.A, []transport.Message{sent}, size)[0].Off
	whole := header + size
	for _, length := range []int{0, 1, header, header + 1, whole - 1, whole, whole + 1, whole + headroom} {
		e.sendAll(p.B, []transport.Message{sent, sent})
		ms := slots(2, size)
		// What is behind Buf in the same array is not ours to give.
		array := bytes.Repeat([]byte{0xa5}, length+headroom)
		ms[0].Buf = array[:length]
		e.recvAll(p.A, ms)
		m := &ms[0]
		if cut := m.Flags&transport.Truncated != 0; cut != (length < whole) {
			e.fatalf("a message of %d bytes in a Buf of %d: Truncated is %v", whole, length, cut)
		}
		if m.Off != min(length, header) || m.Off+m.N != min(length, whole) {
			e.fatalf("a message of %d bytes, %d of them header, in a Buf of %d: Off is %d and N %d", whole, header, length, m.Off, m.N)
		}
		if !bytes.Equal(array[length:], bytes.Repeat([]byte{0xa5}, headroom)) {
			e.fatalf("Recv wrote beyond a Buf of %d bytes", length)
		}
		filled := clone([]transport.Message{sent})[0] // the lost end is as it was sent
		copy(filled.Bytes(), m.Bytes())
		e.inAnyOrder([]transport.Message{filled}, []transport.Message{sent})
		e.same(&ms[1], &sent, 1)
		e.nothing(p.A)
	}
}

func emptySliceConsumesNothing(e *env) {
	p := e.open(nil)
	e.needs(p.ToA, "ToA")
	none := func() {
		e.t.Helper()
		for _, ms := range [][]transport.Message{nil, {}, make([]transport.Message, 0, 4)} {
			if n, err := p.A.Recv(ms); n != 0 || err != nil {
				e.fatalf("Recv of no messages: %d, %v, want 0, nil", n, err)
			}
			if n, err := p.A.Send(ms); n != 0 || err != nil {
				e.fatalf("Send of no messages: %d, %v, want 0, nil", n, err)
			}
		}
	}
	none()
	sent := messages(3, 0, e.typical(), p.ToA)
	e.sendAll(p.B, sent)
	e.readable(p.A)
	none()
	got := slots(3, e.typical())
	e.recvAll(p.A, got)
	e.inAnyOrder(got, sent)
	none()
	e.nothing(p.A)
	e.nothing(p.B)
}

// recvLeavesTheRestUntouched is also about the other half: of what is filled
// nothing old remains, but for Buf.
func recvLeavesTheRestUntouched(e *env) {
	p := e.open(nil)
	e.needs(p.ToA, "ToA")
	used := func() []transport.Message {
		ms := slots(4, e.typical())
		for i := range ms {
			ms[i] = transport.Message{Buf: ms[i].Buf, Off: 5, N: 6, Peer: netip.MustParseAddrPort("[2001:db8::1]:9"),
				Link: transport.LinkAddr{Len: 6, Type: 3}, Local: netip.MustParseAddr("2001:db8::2"), Ifindex: 1 << 20, TTL: 77, TOS: 78,
				Time: time.Unix(1, 2), ID: 79, Segment: 80, Flags: ^transport.Flags(0)}
			for at := range ms[i].Buf {
				ms[i].Buf[at] = byte(i + at)
			}
		}
		return ms
	}
	ms, want := used(), used()
	if n := e.recv(p.A, ms); n != 0 || !reflect.DeepEqual(ms, want) {
		e.fatalf("Recv, which had nothing, returned %d and changed the messages: %v", n, !reflect.DeepEqual(ms, want))
	}
	buf := ms[0].Buf
	sent := messages(1, 0, e.typical(), p.ToA)
	fresh := e.move(p.B, p.A, sent, e.typical())[0]
	e.sendAll(p.B, sent)
	e.readable(p.A)
	if n := e.recv(p.A, ms); n != 1 {
		e.fatalf("Recv of one message returned %d", n)
	}
	if !reflect.DeepEqual(ms[1:], want[1:]) {
		e.fatalf("Recv filled one message and changed others")
	}
	m := ms[0]
	e.same(&m, &sent[0], 0)
	if unsafe.SliceData(m.Buf) != unsafe.SliceData(buf) || len(m.Buf) != len(buf) || cap(m.Buf) != cap(buf) {
		e.fatalf("Recv replaced Buf")
	}
	m.Buf, m.Time, fresh.Buf, fresh.Time = nil, time.Time{}, nil, time.Time{}
	if !reflect.DeepEqual(m, fresh) {
		e.fatalf("received into a message that was used before: %+v, into a fresh one: %+v", m, fresh)
	}
}

// filterBeforeTheFirstMessage has messages of one length pass.
func filterBeforeTheFirstMessage(e *env) {
	size := e.typical()
	other := size - 1
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(e.s.Header + size), SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 20},
		bpf.RetConstant{Val: 0},
	})
	e.must(err)
	cfg := &transport.Config{Filter: filter}
	for range 5 {
		p := e.open(cfg)
		e.needs(p.ToA, "ToA")
		out := []transport.Message{p.ToA(0, other), p.ToA(1, size), p.ToA(2, other), p.ToA(3, size)}
		e.sendAll(p.B, out)
		in := slots(2, size)
		e.recvAll(p.A, in)
		e.inAnyOrder(in, []transport.Message{out[1], out[3]})
		e.nothing(p.A)
	}

	// Where the transport shares an address with others, messages come while it
	// is being opened.
	flood := e.open(nil)
	out := messages(1, 0, other, flood.ToA)
	e.sendAll(flood.B, out)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				if n, _ := flood.B.Send(out); n == 0 {
					pause()
				}
			}
		}
	}()
	e.cleanup(func() { close(stop); <-stopped })
	for range 20 {
		p := e.open(cfg)
		if n := e.recv(p.A, slots(4, e.s.MaxSize)); n != 0 {
			e.fatalf("%d messages that the filter keeps out came before it", n)
		}
		p.A.Close()
		p.B.Close()
	}
}
