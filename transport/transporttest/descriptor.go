package transporttest

import (
	"time"

	"golang.org/x/sys/unix"

	"iomux/mux"
	"iomux/transport"
)

// descriptor: what a multiplexer sees.
var descriptor = []testCase{
	{"descriptor_is_stable", descriptorIsStable},
	{"idle_recv_is_0_nil", idleRecvIs0Nil},
	{"readable_on_every_backend", readableOnEveryBackend},
	{"drained_is_silent", drainedIsSilent},
}

func descriptorIsStable(e *env) {
	p := e.open(nil)
	fd := p.A.FD()
	for range 3 {
		if now := p.A.FD(); now != fd || fd < 0 {
			e.fatalf("FD() = %d, want the same every time; it was %d", now, fd)
		}
		status, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil || status&unix.O_NONBLOCK == 0 {
			e.fatalf("descriptor %d has status flags %#x, %v, want O_NONBLOCK", fd, status, err)
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			e.fatalf("descriptor %d has flags %#x, %v, want FD_CLOEXEC", fd, flags, err)
		}
		e.move(p.A, p.B, messages(1, 0, e.typical(), p.ToB), e.typical())
		e.move(p.B, p.A, messages(1, 0, e.typical(), p.ToA), e.typical())
	}
}

func idleRecvIs0Nil(e *env) {
	p := e.open(nil)
	for range 3 {
		e.nothing(p.A)
	}
	e.move(p.B, p.A, messages(1, 0, e.typical(), p.ToA), e.typical())
	e.move(p.A, p.B, messages(1, 0, e.typical(), p.ToB), e.typical())
	for range 3 {
		e.nothing(p.A)
	}
}

func readableOnEveryBackend(e *env) {
	p := e.open(nil)
	e.needs(p.ToA, "ToA")
	for _, backend := range mux.Backends() {
		m, err := mux.Open(backend)
		e.must(err)
		e.cleanup(func() { m.Close() })
		events := make([]mux.Event, 4)
		expect := func(when string, timeout time.Duration, want mux.Interest) {
			e.t.Helper()
			n, err := m.Wait(events, timeout)
			if err != nil {
				e.fatalf("%s, %s: Wait: %v", backend, when, err)
			}
			if want == 0 && n == 0 || n == 1 && events[0] == (mux.Event{Token: 7, Ready: want}) {
				return
			}
			e.fatalf("%s, %s: Wait reports %+v, want %v", backend, when, events[:n], want)
		}
		e.must(m.Add(p.A.FD(), mux.Readable|mux.Writable, 7))
		for range 3 {
			expect("idle", 0, mux.Writable)
			e.must(m.Modify(p.A.FD(), mux.Readable, 7))
			expect("idle", 0, 0)
			e.sendAll(p.B, messages(1, 0, e.typical(), p.ToA))
			expect("with a message there", forever, mux.Readable)
			expect("with a message there", 0, mux.Readable)
			e.recvAll(p.A, slots(1, e.typical()))
			e.nothing(p.A)
			expect("drained", 0, 0)
			e.must(m.Modify(p.A.FD(), mux.Writable, 7))
			expect("with room to send", forever, mux.Writable)
			e.must(m.Modify(p.A.FD(), mux.Readable|mux.Writable, 7))
		}
		e.must(m.Remove(p.A.FD()))
	}
}

// drainedIsSilent is about what Recv leaves behind. A message or a time stamp
// that comes between Recv and the look at it makes a descriptor ready again that was
// silent, so once says little; but not every time.
func drainedIsSilent(e *env) {
	e.drains(e.open(nil))
	if e.s.Reporting == nil {
		return
	}
	p := e.open(&transport.Config{Options: e.s.Reporting})
	e.needs(p.ToB, "ToB")
	const tries = 100
	for range tries {
		e.sendAll(p.A, messages(4, 0, e.typical(), p.ToB))
		e.recvAll(p.B, slots(4, e.typical()))
		quiet := 0
		for range tries {
			if e.recv(p.A, slots(1, e.typical())) != 0 {
				e.fatalf("with reports on: received a message that nobody sent")
			}
			if quiet++; e.ready(p.A, mux.Readable) != "" {
				quiet = 0
			}
			if quiet == 2 {
				break
			}
			pause()
		}
		if quiet < 2 {
			e.fatalf("with reports on: the descriptor stays ready although Recv has returned 0, nil %d times: %s",
				tries, e.ready(p.A, mux.Readable))
		}
	}
}

func (e *env) drains(p Pair) {
	e.t.Helper()
	const rounds, n = 50, 4
	e.needs(p.ToA, "ToA")
	left := 0
	for range rounds {
		e.sendAll(p.B, messages(n, 0, e.typical(), p.ToA))
		ready := false
		for in := slots(n, e.typical()); len(in) > 0; {
			got := e.recv(p.A, in)
			if in = in[got:]; got == 0 {
				ready = ready || e.ready(p.A, mux.Readable) != ""
				e.readable(p.A)
			}
		}
		e.nothing(p.A)
		if ready {
			left++
		}
	}
	if left == rounds {
		e.fatalf("Recv returns 0, nil although there are messages left, and the descriptor is ready")
	}
}
