package transporttest

import (
	"bytes"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"

	"iomux/transport"
)

// exchange: messages there and back.
var exchange = []testCase{
	{"round_trip_byte_exact", roundTripByteExact},
	{"batches_of_every_size", batchesOfEverySize},
	{"order_kept", orderKept},
	{"send_leaves_messages_untouched", sendLeavesMessagesUntouched},
	{"nothing_retained", nothingRetained},
	{"echo_in_place", echoInPlace},
	{"recv_and_send_at_once", recvAndSendAtOnce},
	{"zero_allocs", zeroAllocs},
}

func roundTripByteExact(e *env) {
	p := e.open(nil)
	sizes := []int{e.s.MinSize, e.s.MinSize + 1, e.s.MinSize + 2, e.s.MinSize + 3, e.s.MaxSize - 1, e.s.MaxSize}
	for size := 16; size < e.s.MaxSize; size *= 2 {
		for _, size := range []int{size - 1, size, size + 1} {
			if size > e.s.MinSize {
				sizes = append(sizes, size)
			}
		}
	}
	for i, size := range sizes {
		toB, toA := messages(1, i, size, p.ToB), messages(1, i, size, p.ToA)
		for _, way := range []struct {
			from, to  transport.Transport
			out, back []transport.Message
		}{{p.A, p.B, toB, toA}, {p.B, p.A, toA, toB}} {
			if i%2 == 1 && len(way.out) > 0 {
				way.out = []transport.Message{indented(way.out[0])}
			}
			for at, got := range e.move(way.from, way.to, way.out, size) {
				e.same(&got, &way.out[at], at)
				if len(way.back) > 0 && got.Peer != way.back[0].Peer {
					e.fatalf("a message was received from %v, where messages are sent to %v", got.Peer, way.back[0].Peer)
				}
				if got.Flags != 0 {
					e.fatalf("a message of %d bytes was received with flags %#x", size, got.Flags)
				}
			}
		}
	}
}

// indented is the message with other bytes around its payload.
func indented(m transport.Message) transport.Message {
	const off = 13
	m.Buf = slices.Concat(bytes.Repeat([]byte{0x55}, off), m.Bytes(), []byte{0x66, 0x66})
	m.Off = off
	return m
}

func batchesOfEverySize(e *env) {
	p := e.open(nil)
	batch := p.A.BatchSize()
	if batch < 1 {
		e.fatalf("BatchSize() = %d, want 1 or more", batch)
	}
	for _, n := range []int{1, 2, batch, batch + 1} {
		for range 3 {
			toB, toA := messages(n, 0, e.typical(), p.ToB), messages(n, 0, e.typical(), p.ToA)
			e.inAnyOrder(e.move(p.A, p.B, toB, e.typical()), toB)
			e.inAnyOrder(e.move(p.B, p.A, toA, e.typical()), toA)
		}
	}
}

func orderKept(e *env) {
	p := e.open(nil)
	for round := range 20 {
		toB, toA := messages(32, round, e.typical(), p.ToB), messages(32, round, e.typical(), p.ToA)
		e.inOrder(e.move(p.A, p.B, toB, e.typical()), toB)
		e.inOrder(e.move(p.B, p.A, toA, e.typical()), toA)
	}
}

func sendLeavesMessagesUntouched(e *env) {
	p := e.open(nil)
	e.needs(p.ToB, "ToB")
	out := messages(4, 0, e.typical(), p.ToB)
	for i := range out {
		out[i] = indented(out[i])
		out[i].ID, out[i].Time, out[i].Flags = uint32(i), time.Unix(3, 4), transport.Truncated
	}
	if e.s.Unsendable != nil {
		out = append(out, e.s.Unsendable(p)[0])
	}
	want, buffers := clone(out), slices.Clone(out)
	for rest := out; len(rest) > 0; {
		n, err := p.A.Send(rest)
		if rest = rest[n:]; err != nil {
			break
		}
		if n == 0 {
			e.writable(p.A)
		}
	}
	e.recvAll(p.B, slots(4, e.typical()))
	for i := range out {
		if unsafe.SliceData(out[i].Buf) != unsafe.SliceData(buffers[i].Buf) || !reflect.DeepEqual(out[i], want[i]) {
			e.fatalf("Send changed message %d", i)
		}
	}
}

// nothingRetained changes buffers as soon as it may. The race detector sees who
// still looks at them; without it the changed bytes are what arrives.
func nothingRetained(e *env) {
	p := e.open(nil)
	for round := range 50 {
		out := messages(4, round, e.typical(), p.ToB)
		want := clone(out)
		for rest := out; len(rest) > 0; {
			n := e.send(p.A, rest)
			for i := range rest[:n] {
				clear(rest[i].Buf)
				rest[i] = transport.Message{}
			}
			if rest = rest[n:]; n == 0 {
				e.writable(p.A)
			}
		}
		in := slots(len(want), e.typical())
		e.recvAll(p.B, in)
		e.inAnyOrder(in, want)
	}
	sent, next := messages(4, 0, e.typical(), p.ToA), messages(4, 4, e.typical(), p.ToA)
	in := e.move(p.B, p.A, sent, e.typical())
	e.inAnyOrder(in, sent)
	e.inAnyOrder(e.move(p.B, p.A, next, e.typical()), next)
	e.inAnyOrder(in, sent) // still
}

func echoInPlace(e *env) {
	p := e.open(nil)
	e.needs(p.ToA, "ToA")
	e.needs(p.ToB, "ToB")
	n := min(p.A.BatchSize(), 8)
	requests := messages(n, 0, e.typical(), p.ToA)
	got := e.echo(p, requests)
	e.inAnyOrder(got, e.answers(requests))

	// What a request came with is not sent back.
	usual := e.move(p.A, p.B, messages(1, 0, e.typical(), p.ToB), e.typical())[0].TTL
	if usual == 0 {
		return // the transport does not tell
	}
	named := messages(1, 0, e.typical(), p.ToB)
	named[0].TTL = usual - 1
	if got := e.move(p.A, p.B, named, e.typical()); got[0].TTL != usual-1 {
		e.fatalf("a message to be sent with TTL %d was received with %d", usual-1, got[0].TTL)
	}
	requests = messages(1, 0, e.typical(), p.ToA)
	requests[0].TTL = 1
	if got := e.echo(p, requests); got[0].TTL != usual {
		e.fatalf("the answer to a request with TTL 1 has TTL %d, want the default, %d", got[0].TTL, usual)
	}
}

// echo has A send back, in the same slice, what B sends, and B receive it.
func (e *env) echo(p Pair, requests []transport.Message) []transport.Message {
	e.t.Helper()
	e.sendAll(p.B, requests)
	ms := slots(len(requests), e.typical())
	e.recvAll(p.A, ms)
	for i := range ms {
		ms[i].Reply()
		if e.s.Answer != nil {
			e.s.Answer(ms[i].Bytes())
		}
	}
	return e.move(p.A, p.B, ms, e.typical())
}

// answers is what should come back.
func (e *env) answers(requests []transport.Message) []transport.Message {
	want := clone(requests)
	if e.s.Answer != nil {
		for i := range want {
			e.s.Answer(want[i].Bytes())
		}
	}
	return want
}

// recvAndSendAtOnce has all four calls run at the same time. Credit bounds what
// is on its way, so that nothing is lost.
func recvAndSendAtOnce(e *env) {
	const numbers, total = 256, 1024
	p := e.open(nil)
	e.needs(p.ToA, "ToA")
	e.needs(p.ToB, "ToB")
	var sides sync.WaitGroup
	way := func(from, to transport.Transport, out []transport.Message) {
		credit := make(chan struct{}, 8)
		sides.Go(func() {
			for i := range total {
				select {
				case credit <- struct{}{}:
				case <-e.ended:
					return
				}
				e.sendAll(from, out[i%numbers:i%numbers+1])
			}
		})
		sides.Go(func() {
			left := make(map[string]int)
			for i := range out {
				left[string(e.normal(out[i].Bytes()))] = total / numbers
			}
			ms := slots(4, e.typical())
			for got := 0; got < total; {
				n := e.recv(to, ms)
				for i := range ms[:n] {
					payload := string(e.normal(ms[i].Bytes()))
					if left[payload]--; left[payload] < 0 {
						e.fatalf("received a message of %d bytes that was not sent, or once too often: %.64x", len(payload), payload)
					}
					<-credit
				}
				if got += n; n == 0 {
					e.readable(to)
				}
			}
		})
	}
	way(p.A, p.B, messages(numbers, 0, e.typical(), p.ToB))
	way(p.B, p.A, messages(numbers, 0, e.typical(), p.ToA))
	sides.Wait()
}

// zeroAllocs counts what the calls of A allocate; what B does is its own affair.
func zeroAllocs(e *env) {
	const rounds = 50
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := e.open(nil)
	n := min(p.A.BatchSize(), 8)
	requests := messages(n, 0, e.typical(), p.ToA)
	answers := messages(n, 0, e.typical(), p.ToB)
	in, back := slots(len(requests), e.typical()), slots(len(answers), e.typical())
	var before, after runtime.MemStats
	var allocs [2]uint64 // of Recv, of Send
	call := func(i int, f func([]transport.Message) (int, error), ms []transport.Message) int {
		e.t.Helper()
		runtime.ReadMemStats(&before)
		n, err := f(ms)
		runtime.ReadMemStats(&after)
		allocs[i] += after.Mallocs - before.Mallocs
		if err != nil {
			e.fatalf("Recv or Send: %v", err)
		}
		return n
	}
	for round := range 1 + rounds {
		if round == 1 {
			allocs = [2]uint64{} // the first time is for practice
		}
		e.sendAll(p.B, requests)
		for rest := in; len(rest) > 0; {
			e.readable(p.A)
			rest = rest[call(0, p.A.Recv, rest):]
		}
		if call(0, p.A.Recv, in) != 0 {
			e.fatalf("received more than was sent")
		}
		for rest := answers; len(rest) > 0; {
			e.writable(p.A)
			rest = rest[call(1, p.A.Send, rest):]
		}
		e.recvAll(p.B, back)
	}
	for i, name := range []string{"Recv", "Send"} {
		if each := allocs[i] / rounds; each > 0 {
			e.fatalf("%s allocates %d times for a batch of %d", name, each, n)
		}
	}
}
