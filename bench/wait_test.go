package bench

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"iomux/mux"
	"iomux/mux/loop"
)

// limits are time limits on a wait.
var limits = []struct {
	name    string
	timeout time.Duration
}{{"none", -1}, {"1s", time.Second}}

// BenchmarkWait waits for a descriptor that is ready, and for one that another
// goroutine makes ready once the waiter sleeps or is about to: what a time
// limit costs.
func BenchmarkWait(b *testing.B) {
	for _, limit := range limits {
		b.Run("state=ready/limit="+limit.name, func(b *testing.B) {
			eachBackend(b, func(b *testing.B, m mux.Mux) {
				p, err := watched(m, 1, mux.Readable)
				if err != nil {
					b.Fatal(err)
				}
				defer p.close()
				unix.Write(p.fds[0][1], []byte{1})
				events := make([]mux.Event, 1)
				for b.Loop() {
					if err := waitFor(m, events, limit.timeout); err != nil {
						b.Fatal(err)
					}
				}
				reportCost(b, "Wait/state=ready/limit="+limit.name, m.Name())
			})
		})
		b.Run("state=asleep/limit="+limit.name, func(b *testing.B) {
			eachBackend(b, func(b *testing.B, m mux.Mux) {
				benchAsleep(b, m, limit.timeout)
				reportCost(b, "Wait/state=asleep/limit="+limit.name, m.Name())
			})
		})
	}
}

func waitFor(m mux.Mux, events []mux.Event, timeout time.Duration) error {
	if n, err := m.Wait(events, timeout); n != 1 || err != nil {
		return fmt.Errorf("Wait = %d, %v; want 1, nil", n, err)
	}
	return nil
}

// waits are the scenarios of BenchmarkWait. Two waiters on one thread have the byte in
// turn: one that falls asleep makes the same calls.
func waits() (all []scenario) {
	for _, limit := range limits {
		all = append(all,
			scenario{group: "Wait", params: "state=ready/limit=" + limit.name, open: func(m mux.Mux) (*stage, error) {
				p, err := watched(m, 1, mux.Readable)
				if err == nil {
					_, err = unix.Write(p.fds[0][1], []byte{1})
				}
				events := make([]mux.Event, 1)
				return repeated(func() error { return waitFor(m, events, limit.timeout) }, p.close), err
			}},
			scenario{group: "Wait", params: "state=asleep/limit=" + limit.name, open: func(m mux.Mux) (*stage, error) {
				first, second, close, err := waiters(m, limit.timeout)
				if err != nil {
					return nil, err
				}
				return repeated(func() error {
					err := second.pass()
					if err == nil {
						err = first.pass()
					}
					return err
				}, close), nil
			}})
	}
	return all
}

// waiter is one of two that pass a byte to and fro.
type waiter struct {
	m       mux.Mux
	fd      int
	timeout time.Duration
	events  [1]mux.Event
	data    [1]byte
}

// waiters are one on a multiplexer and one on another of its kind, who has the byte 1.
func waiters(m mux.Mux, timeout time.Duration) (first, second *waiter, close func(), err error) {
	other, err := mux.Open(m.Name())
	if err != nil {
		return nil, nil, nil, err
	}
	pair, err := socketpair()
	if err != nil {
		other.Close()
		return nil, nil, nil, err
	}
	close = func() {
		other.Close()
		unix.Close(pair[0])
		unix.Close(pair[1])
	}
	first, second = &waiter{m: m, fd: pair[0], timeout: timeout}, &waiter{m: other, fd: pair[1], timeout: timeout}
	for _, w := range []*waiter{first, second} {
		if err := w.m.Add(w.fd, mux.Readable, 1); err != nil {
			close()
			return nil, nil, nil, err
		}
	}
	first.send(1)
	return first, second, close, nil
}

// pass waits for the byte and passes it back.
func (w *waiter) pass() error {
	if err := waitFor(w.m, w.events[:], w.timeout); err != nil {
		return err
	}
	if n, err := unix.Read(w.fd, w.data[:]); n != 1 || err != nil {
		return fmt.Errorf("read = %d, %v; want 1, nil", n, err)
	}
	return w.send(w.data[0])
}

func (w *waiter) send(b byte) error {
	w.data[0] = b
	_, err := unix.Write(w.fd, w.data[:])
	return err
}

// benchAsleep passes a byte to and fro between two waiters, each of which sleeps
// while the other has it. 0 is the last one.
func benchAsleep(b *testing.B, m mux.Mux, timeout time.Duration) {
	first, second, close, err := waiters(m, timeout)
	if err != nil {
		b.Fatal(err)
	}
	defer close()
	ended := make(chan error, 1)
	go func() {
		err := second.pass()
		for err == nil && second.data[0] != 0 {
			err = second.pass()
		}
		ended <- err
	}()
	for b.Loop() {
		if err := first.pass(); err != nil {
			b.Error(err)
			break
		}
	}
	first.send(0)
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

func socketpair() ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// newPair is a socketpair for the length of a benchmark.
func newPair(b *testing.B) [2]int {
	pair, err := socketpair()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		unix.Close(pair[0])
		unix.Close(pair[1])
	})
	return pair
}

// BenchmarkPingPong passes a byte to and fro over a socketpair between two
// loops, with and without Spin. It needs two idle processors.
func BenchmarkPingPong(b *testing.B) {
	for _, spin := range []time.Duration{0, 50 * time.Microsecond} {
		b.Run(fmt.Sprintf("spin=%v", spin), func(b *testing.B) {
			eachBackend(b, func(b *testing.B, m mux.Mux) {
				playPingPong(b, m, spin)
				reportCostWith(b, spin, pingPong().name(), m.Name())
			})
		})
	}
}

func playPingPong(b *testing.B, m mux.Mux, spin time.Duration) {
	other, err := mux.Open(m.Name())
	if err != nil {
		b.Fatal(err)
	}
	here, there := loop.New(m, loop.Spin(spin)), loop.New(other, loop.Spin(spin))
	defer here.Close()
	defer there.Close()
	pair := newPair(b)
	first, err := kickOff(here, pair[0], b.N)
	if err == nil {
		err = kickBack(there, pair[1])
	}
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- there.Run(context.Background()) }()
	b.ResetTimer()
	err = first()
	b.StopTimer()
	there.Stop()
	if err := errors.Join(err, <-ended); err != nil {
		b.Fatal(err)
	}
}

// kickOff has a loop pass a byte to and fro so many times in a round.
func kickOff(l *loop.Loop, fd, times int) (round func() error, err error) {
	left, data := 0, []byte{1}
	_, err = l.Watch(fd, mux.Readable, func(mux.Event) {
		unix.Read(fd, data)
		if left--; left == 0 {
			l.Stop()
			return
		}
		unix.Write(fd, data)
	})
	return func() error {
		left = times
		unix.Write(fd, data)
		return l.Run(context.Background())
	}, err
}

// kickBack has a loop return what it receives.
func kickBack(l *loop.Loop, fd int) error {
	data := []byte{1}
	_, err := l.Watch(fd, mux.Readable, func(mux.Event) {
		unix.Read(fd, data)
		unix.Write(fd, data)
	})
	return err
}

// pingPong is BenchmarkPingPong with both ends on one loop, which takes turns as two do.
func pingPong() scenario {
	return scenario{group: "PingPong", params: "spin=0s", open: func(m mux.Mux) (*stage, error) {
		pair, err := socketpair()
		if err != nil {
			return nil, err
		}
		l := loop.New(m)
		close := func() {
			l.Close()
			unix.Close(pair[0])
			unix.Close(pair[1])
		}
		round, err := kickOff(l, pair[0], once)
		if err == nil {
			err = kickBack(l, pair[1])
		}
		if err != nil {
			close()
			return nil, err
		}
		return &stage{events: once, play: round, close: close}, nil
	}}
}

// BenchmarkPingPongBare is how fast the byte can be passed at all by two
// goroutines that do nothing but ask epoll(7), read and write: what Spin can come
// to at the best.
func BenchmarkPingPongBare(b *testing.B) {
	pair := newPair(b)
	here, there := newBarePlayer(b, pair[0]), newBarePlayer(b, pair[1])
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for there.receive() {
			there.send()
		}
		there.send()
	}()
	here.data[0] = 1
	for b.Loop() {
		here.send()
		here.receive()
	}
	here.data[0] = 0
	here.send()
	here.receive()
	<-ended
}

type barePlayer struct {
	epfd, fd int
	event    unix.EpollEvent
	data     [1]byte
}

func newBarePlayer(b *testing.B, fd int) *barePlayer {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(epfd) })
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		b.Fatal(err)
	}
	return &barePlayer{epfd: epfd, fd: fd}
}

func (p *barePlayer) send() {
	unix.RawSyscall(unix.SYS_WRITE, uintptr(p.fd), uintptr(unsafe.Pointer(&p.data[0])), 1)
}

// receive reports whether the byte is to be passed on.
func (p *barePlayer) receive() (more bool) {
	for ready := uintptr(0); ready == 0; {
		ready, _, _ = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epfd), uintptr(unsafe.Pointer(&p.event)), 1, 0, 0, 0)
	}
	unix.RawSyscall(unix.SYS_READ, uintptr(p.fd), uintptr(unsafe.Pointer(&p.data[0])), 1)
	return p.data[0] != 0
}
