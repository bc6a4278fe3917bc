package transporttest

import (
	"errors"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"iomux/mux"
	"iomux/transport"
)

// sending: what becomes of messages that cannot leave, or not now, and what
// interrupts.
var sending = []testCase{
	{"short_send_then_writable", shortSendThenWritable},
	{"send_error_is_about_the_first", sendErrorIsAboutTheFirst},
	{"pending_error_reported_once", pendingErrorReportedOnce},
	{"enobufs_blocks_or_is_an_error", enobufsBlocksOrIsAnError},
	{"eintr_invisible", eintrInvisible},
}

func shortSendThenWritable(e *env) {
	p := e.open(nil)
	e.needs(p.ToB, "ToB")
	release := func() error { return nil }
	if e.s.Hold != nil {
		var err error
		release, err = e.s.Hold(p)
		e.must(err)
	}
	const limit = 1 << 20
	var sent []transport.Message
	for full := false; !full; {
		out := messages(8, len(sent), e.typical(), p.ToB)
		n := e.send(p.A, out)
		sent = append(sent, out[:n]...)
		full = n == 0
		if len(sent) > limit {
			release()
			e.fatalf("%d messages were sent, and none would block", len(sent))
		}
	}
	if reports := e.ready(p.A, mux.Writable); reports != "" {
		release()
		e.fatalf("the descriptor is ready although Send has returned 0, nil: %s", reports)
	}
	e.must(release())
	if e.s.Hold == nil {
		in := slots(len(sent), e.typical())
		e.recvAll(p.B, in)
		e.inAnyOrder(in, sent)
		e.writable(p.A)
		rest := messages(8, len(sent), e.typical(), p.ToB)
		e.inAnyOrder(e.move(p.A, p.B, rest, e.typical()), rest)
		return
	}
	e.writable(p.A)
	last := messages(1, 0, e.typical()+1, p.ToB) // another length, to tell it from those that were held
	e.sendAll(p.A, last)
	for in := slots(1, e.typical()+1); in[0].N != last[0].N; {
		e.recvAll(p.B, in)
	}
}

func sendErrorIsAboutTheFirst(e *env) {
	p := e.open(nil)
	e.needs(p.ToB, "ToB")
	const bad = 2
	for _, unsendable := range e.s.Unsendable(p) {
		ms := messages(4, 0, e.typical(), p.ToB)
		ms[bad] = unsendable
		at := 0
		for at < bad {
			n, err := p.A.Send(ms[at:])
			if err != nil {
				e.fatalf("Send of messages %d to 3 returned %d, %v: the bad one is number %d", at, n, err, bad)
			}
			if n == 0 {
				e.writable(p.A)
			}
			at += n
		}
		if at != bad {
			e.fatalf("Send counts %d messages as sent: number %d cannot be", at, bad)
		}
		for range 2 {
			n, err := p.A.Send(ms[bad:])
			e.refused(n, err, "Send of a message that cannot be sent")
		}
		e.sendAll(p.A, ms[bad+1:])
		in := slots(3, e.typical())
		e.recvAll(p.B, in)
		e.inAnyOrder(in, []transport.Message{ms[0], ms[1], ms[3]})
		e.nothing(p.B)
	}
}

// refused demands that a call moved nothing and failed as the contract has it.
func (e *env) refused(n int, err error, what string) {
	e.t.Helper()
	var op *net.OpError
	if n != 0 || err == nil {
		e.fatalf("%s: %d, %v, want 0 and an error", what, n, err)
	}
	if !errors.As(err, &op) {
		e.fatalf("%s: the error is a %T, %v, want a *net.OpError", what, err, err)
	}
}

func pendingErrorReportedOnce(e *env) {
	disturbed := func() (Pair, error) {
		e.t.Helper()
		p := e.open(nil)
		e.needs(p.ToB, "ToB")
		e.move(p.A, p.B, messages(1, 0, e.typical(), p.ToB), e.typical())
		want, err := e.s.Disturb(p)
		e.must(err)
		return p, want
	}
	reported := func(p Pair, want error) {
		e.t.Helper()
		n, err := p.A.Recv(slots(1, e.typical()))
		e.refused(n, err, "Recv with an error pending")
		if !errors.Is(err, want) {
			e.fatalf("Recv: %v, want the pending error: %v", err, want)
		}
		e.nothing(p.A)
	}
	send := func(p Pair) {
		e.t.Helper()
		out := messages(3, 1, e.typical(), p.ToB)
		in := slots(len(out), e.typical())
		e.sendAll(p.A, out) // without a look at what A has to receive
		e.recvAll(p.B, in)
		e.inAnyOrder(in, out)
	}

	// A pending error is not about the message that is sent meanwhile.
	p, want := disturbed()
	send(p)
	reported(p, want)
	send(p)

	p, want = disturbed()
	if n, err := p.A.Recv(nil); n != 0 || err != nil {
		e.fatalf("Recv of no messages, with an error pending: %d, %v, want 0, nil", n, err)
	}
	reported(p, want)
	send(p)
	e.nothing(p.A)
}

// enobufsBlocksOrIsAnError is about an ENOBUFS that waiting does not cure. That
// of a full buffer is in short_send_then_writable.
func enobufsBlocksOrIsAnError(e *env) {
	p := e.open(nil)
	e.needs(p.ToB, "ToB")
	m, feed, err := e.s.Starve(p)
	e.must(err)
	for range 2 {
		n, err := p.A.Send([]transport.Message{m})
		if n != 0 || !errors.Is(err, syscall.ENOBUFS) {
			feed()
			e.fatalf("Send of what is dropped: %d, %v, want 0, ENOBUFS", n, err)
		}
		e.refused(n, err, "Send of what is dropped")
		e.writable(p.A)
	}
	e.must(feed())
	e.move(p.A, p.B, messages(2, 0, e.typical(), p.ToB), e.typical())
}

// eintrInvisible sends signals, each after the one before has arrived, to the
// thread that calls Recv and Send.
func eintrInvisible(e *env) {
	p := e.open(nil)
	e.needs(p.ToB, "ToB")
	arrived := make(chan os.Signal, 1)
	signal.Notify(arrived, unix.SIGWINCH)
	defer signal.Stop(arrived)
	threads, stop, done := make(chan int), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		threads <- unix.Gettid()
		out, in := messages(1, 0, e.typical(), p.ToB), slots(1, e.typical())
		for {
			select {
			case <-stop:
				return
			default:
			}
			if n := e.recv(p.A, in); n != 0 {
				e.fatalf("Recv = %d, want nothing", n)
			}
			e.sendAll(p.A, out)
			e.recvAll(p.B, in)
		}
	}()
	thread := <-threads
	for range 300 {
		if err := unix.Tgkill(os.Getpid(), thread, unix.SIGWINCH); err != nil {
			break // the thread has ended, and the case with it
		}
		select {
		case <-arrived:
		case <-done:
		}
	}
	close(stop)
	<-done
}
