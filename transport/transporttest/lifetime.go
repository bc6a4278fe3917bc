package transporttest

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// lifetime: what Close ends, and what it leaves.
var lifetime = []testCase{
	{"after_close_errclosed", afterCloseErrClosed},
	{"no_leak", noLeak},
}

func afterCloseErrClosed(e *env) {
	p := e.open(nil)
	if p.ToA != nil {
		e.sendAll(p.B, messages(1, 0, e.typical(), p.ToA))
		e.readable(p.A)
	}
	if err := p.A.Close(); err != nil {
		e.fatalf("Close: %v", err)
	}
	if fd := p.A.FD(); fd != -1 {
		e.fatalf("FD() = %d after Close, want -1", fd)
	}
	for range 2 {
		_, recv := p.A.Recv(slots(1, e.typical()))
		_, send := p.A.Send(slots(1, 0))
		for call, err := range map[string]error{"Recv": recv, "Send": send, "Close": p.A.Close()} {
			if !isClosed(err) {
				e.fatalf("%s after Close: %v, want net.ErrClosed", call, err)
			}
		}
	}
	const rounds = 20
	reused := 0
	for range rounds {
		if e.closeInFlight() {
			reused++
		}
	}
	if reused == 0 {
		e.fatalf("preparing the case: the number of the descriptor was not free after any of %d Closes", rounds)
	}
}

// closeInFlight closes a transport while two goroutines use it, and gives its
// number to a socket at once, which nobody may touch. It reports whether it got
// the number.
func (e *env) closeInFlight() bool {
	e.t.Helper()
	p := e.open(nil)
	defer p.B.Close()
	in, out := slots(4, e.typical()), messages(4, 0, e.typical(), p.ToB)
	var closed atomic.Bool
	var running, done sync.WaitGroup
	loop := func(name string, call func() (int, error)) {
		running.Add(1)
		ran := sync.OnceFunc(running.Done)
		done.Go(func() {
			defer ran()
			for {
				late := closed.Load()
				n, err := call()
				ran()
				switch {
				case isClosed(err):
					return
				case late:
					e.failf("%s after Close: %d, %v, want net.ErrClosed", name, n, err)
					return
				case err != nil:
					e.failf("%s while Close may come: %v", name, err)
					return
				}
			}
		})
	}
	fd := p.A.FD()
	loop("Recv", func() (int, error) { return p.A.Recv(in) })
	if len(out) > 0 {
		loop("Send", func() (int, error) { return p.A.Send(out) })
	}
	running.Wait()
	if err := p.A.Close(); err != nil {
		e.failf("Close while Recv and Send run: %v", err)
	}
	closed.Store(true)
	canary, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	e.must(err)
	number, err := unix.FcntlInt(uintptr(canary[0]), unix.F_DUPFD_CLOEXEC, fd)
	e.must(err)
	_, err = unix.Write(canary[1], []byte("x"))
	e.must(err)
	done.Wait()
	var buf [16]byte
	if n, err := unix.Read(number, buf[:]); n != 1 || err != nil {
		e.failf("what the next file with the number had to read is gone: %d, %v", n, err)
	}
	if n, err := unix.Read(canary[1], buf[:]); err != unix.EAGAIN {
		e.failf("%d bytes were written to the next file with the number, %v", n, err)
	}
	used := number == fd || canary[0] == fd || canary[1] == fd
	for _, fd := range []int{number, canary[0], canary[1]} {
		if err := unix.Close(fd); err != nil {
			e.failf("the next file with the number is closed: %v", err)
		}
	}
	return used
}

func noLeak(e *env) {
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors()
	for range 5 {
		p := e.open(nil)
		e.move(p.A, p.B, messages(4, 0, e.typical(), p.ToB), e.typical())
		e.move(p.B, p.A, messages(4, 0, e.typical(), p.ToA), e.typical())
		e.sendAll(p.B, messages(1, 0, e.typical(), p.ToA)) // left there
		if err := p.A.Close(); err != nil {
			e.fatalf("Close: %v", err)
		}
		if err := p.B.Close(); err != nil {
			e.fatalf("Close of the other end: %v", err)
		}
	}
	// Nor does an Open that fails leave anything.
	for what, cfg := range map[string]*transport.Config{
		"a negative Batch":              {Batch: -1},
		"Options that it does not know": {Options: unknown{}},
	} {
		if tr, err := transport.Open(e.s.Network, "", cfg); err == nil {
			tr.Close()
			e.fatalf("Open accepts %s", what)
		}
	}
	if leaked := since(descriptors); len(leaked) > 0 {
		e.fatalf("descriptors %v are open that were not before", leaked)
	}
	for deadline := time.Now().Add(watchdog / 2); runtime.NumGoroutine() > goroutines; pause() {
		if time.Now().After(deadline) {
			e.fatalf("%d goroutines run, %d before:\n%s", runtime.NumGoroutine(), goroutines, stacks())
		}
	}
}

// unknown are Options that no transport knows.
type unknown struct{}
