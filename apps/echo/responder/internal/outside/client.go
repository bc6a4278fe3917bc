package outside

import (
	"math"
	"net/netip"
	"reflect"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/apps/echo/responder"
	"iomux/apps/echo/responder/rules"
	"iomux/codec"
	"iomux/transport"
)

// Request is an echo request.
type Request struct {
	To     netip.Addr
	Number uint32 // its identifier, and its sequence number
	Data   []byte
}

// Packet returns the request as rules look at it.
func (s *Site) Packet(r Request) *rules.Packet {
	return &rules.Packet{From: s.Client, To: r.To, ID: uint16(r.Number >> 16), Seq: uint16(r.Number), Data: r.Data}
}

// Message returns the request as it is sent, but for the checksum of IPv6.
func (s *Site) Message(r Request) []byte { return s.encode(nil, r) }

func (s *Site) encode(dst []byte, r Request) []byte {
	e := codec.Echo{Type: codec.EchoRequest, ID: uint16(r.Number >> 16), Seq: uint16(r.Number), Data: r.Data}
	var b []byte
	var err error
	if s.Place.V6 {
		b, err = (&codec.EchoV6{PseudoHeader: codec.PseudoHeader{KernelChecksum: true}}).Append(dst, &e)
	} else {
		b, err = (&codec.EchoV4{}).Append(dst, &e)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// Ask sends requests, at most 64 of them.
func (s *Site) Ask(rs ...Request) {
	s.t.Helper()
	for i, r := range rs {
		m := &s.out[i]
		b := s.encode(m.Buf[:0], r)
		*m = transport.Message{Buf: m.Buf, N: len(b), Peer: netip.AddrPortFrom(r.To, 0), Local: s.Client}
	}
	for ms := s.out[:len(rs)]; len(ms) > 0; {
		n, err := s.sender.Send(ms)
		s.must(err)
		if n == 0 {
			s.poll(s.sender, unix.POLLOUT, watchdog)
		}
		ms = ms[n:]
	}
	s.asked += uint64(len(rs))
}

// Exchange sends n requests, at most two batches ahead of what has been dealt with, so
// that no buffer is full, and tells of the answers that come meanwhile.
func (s *Site) Exchange(n int, next func(i int) Request, got func(*Answer)) {
	s.t.Helper()
	rs := make([]Request, 0, batch)
	for i := 0; i < n; {
		rs = rs[:0]
		for ; i < n && len(rs) < batch-1; i++ {
			rs = append(rs, next(i))
		}
		before := s.marker
		s.marker = firstMarker | (before+1)&0xfffff
		s.Ask(append(rs, Request{To: s.Address(markerRule, 2), Number: s.marker})...)
		for s.mark != before && s.mark != s.marker {
			if !s.read(got) {
				s.poll(s.tap, unix.POLLIN, watchdog)
			}
		}
	}
}

// Settle waits until all that was asked has been dealt with and what was to be sent has
// come, on a Clock as far as it is due, and tells of the answers.
func (s *Site) Settle(got func(*Answer)) {
	s.t.Helper()
	deadline := time.Now().Add(watchdog)
	for {
		before := s.Stats()
		for s.read(got) {
		}
		now := s.Stats()
		taken := now.Received - now.Ignored - now.Corrupt - now.Fragments
		sent := now.Answered + now.Errors + now.Duplicated
		if now == before && taken == s.asked && s.seen == sent && (s.clock != nil || now.Queued == 0) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d requests were sent and %d answers have come; the responders say %+v", s.asked, s.seen, now)
		}
		if taken != s.asked || s.seen != sent || s.clock == nil {
			s.poll(s.tap, unix.POLLIN, time.Millisecond)
		}
	}
}

// Step moves the clock on.
func (s *Site) Step(d time.Duration) {
	s.clock.elapsed.Add(int64(d))
	for i := range s.loops {
		s.on(i, func() {})
	}
}

// Stats are the counts of all responders together.
func (s *Site) Stats() responder.Stats {
	s.t.Helper()
	var sum responder.Stats
	for i, r := range s.responders {
		var one responder.Stats
		s.on(i, func() { one = r.Stats() })
		total, part := reflect.ValueOf(&sum).Elem(), reflect.ValueOf(one)
		for f := range total.NumField() {
			total.Field(f).SetUint(total.Field(f).Uint() + part.Field(f).Uint())
		}
	}
	return sum
}

// Received returns how many messages each of the responders has received.
func (s *Site) Received() []uint64 {
	s.t.Helper()
	all := make([]uint64, len(s.responders))
	for i, r := range s.responders {
		s.on(i, func() { all[i] = r.Stats().Received })
	}
	return all
}

// on runs fn on a loop.
func (s *Site) on(i int, fn func()) {
	s.t.Helper()
	done := make(chan struct{})
	s.loops[i].Post(func() { fn(); close(done) })
	select {
	case <-done:
	case err := <-s.ended[i]:
		s.ended[i] <- err
		s.t.Fatalf("the loop has ended: %v", err)
	}
}

func (s *Site) poll(tr transport.Transport, events int16, d time.Duration) {
	s.t.Helper()
	fds := []unix.PollFd{{Fd: int32(tr.FD()), Events: events}}
	n, err := unix.Poll(fds, int(d.Milliseconds()))
	switch {
	case err != nil && err != unix.EINTR:
		s.t.Fatal(err)
	case n == 0 && err == nil && d == watchdog:
		s.t.Fatalf("nothing comes; %d requests were sent, and %d answers have come: %+v", s.asked, s.seen, s.Stats())
	}
}

// read tells of what has come, and whether there was any.
func (s *Site) read(got func(*Answer)) bool {
	s.t.Helper()
	n, err := s.tap.Recv(s.in)
	s.must(err)
	for i := range s.in[:n] {
		var a Answer
		if !a.parse(&s.in[i]) {
			continue
		}
		if a.Request {
			if a.Number < firstMarker {
				got(&a)
			}
			continue
		}
		s.seen++
		if !a.Error && a.Number >= firstMarker {
			s.mark = a.Number
			continue
		}
		got(&a)
	}
	return n > 0
}

// answers passes ICMP and ICMPv6 messages other than requests, or those too.
func answers(requests bool) ([]bpf.RawInstruction, error) {
	pass := uint32(math.MaxUint32)
	request := uint32(0)
	if requests {
		request = pass
	}
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 6, SkipTrue: 5},
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: codec.ProtocolICMPv4, SkipTrue: 10},
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.Jump{Skip: 3},
		bpf.LoadAbsolute{Off: 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: codec.ProtocolICMPv6, SkipTrue: 5},
		bpf.LoadAbsolute{Off: 40, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 8, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 128, SkipTrue: 1},
		bpf.RetConstant{Val: pass},
		bpf.RetConstant{Val: request},
		bpf.RetConstant{Val: 0},
	})
}
