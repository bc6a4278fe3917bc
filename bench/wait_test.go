package bench

import (
	"context"
	"fmt"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"iomux/mux"
	"iomux/mux/loop"
)

// BenchmarkWait waits for a descriptor that is ready, and for one that another
// goroutine makes ready once the waiter sleeps or is about to: what a time
// limit costs.
func BenchmarkWait(b *testing.B) {
	for _, limit := range []struct {
		name    string
		timeout time.Duration
	}{{"none", -1}, {"1s", time.Second}} {
		b.Run("state=ready/limit="+limit.name, func(b *testing.B) {
			eachBackend(b, func(b *testing.B, m mux.Mux) {
				p, err := watched(m, 1, mux.Readable)
				if err != nil {
					b.Fatal(err)
				}
				defer p.close()
				unix.Write(p.fds[0][1], []byte{1})
				events := make([]mux.Event, 1)
				b.ReportAllocs()
				for b.Loop() {
					if n, err := m.Wait(events, limit.timeout); n != 1 || err != nil {
						b.Fatalf("Wait = %d, %v; want 1, nil", n, err)
					}
				}
			})
		})
		b.Run("state=asleep/limit="+limit.name, func(b *testing.B) {
			eachBackend(b, func(b *testing.B, m mux.Mux) { benchAsleep(b, m, limit.timeout) })
		})
	}
}

// benchAsleep passes a byte to and fro between two waiters, each of which sleeps
// while the other has it.
func benchAsleep(b *testing.B, here mux.Mux, timeout time.Duration) {
	there, err := mux.Open(here.Name())
	if err != nil {
		b.Fatal(err)
	}
	defer there.Close()
	pair := socketpair(b)
	type player struct {
		events [1]mux.Event
		data   [1]byte
	}
	pass := func(p *player, m mux.Mux, fd int) (more bool) {
		if n, err := m.Wait(p.events[:], timeout); n != 1 || err != nil {
			b.Errorf("Wait = %d, %v; want 1, nil", n, err)
			return false
		}
		unix.Read(fd, p.data[:])
		unix.Write(fd, p.data[:])
		return p.data[0] != 0
	}
	var first, second player
	for i, m := range []mux.Mux{here, there} {
		if err := m.Add(pair[i], mux.Readable, 1); err != nil {
			b.Fatal(err)
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for pass(&second, there, pair[1]) {
		}
	}()
	unix.Write(pair[0], []byte{1})
	b.ReportAllocs()
	for b.Loop() {
		if !pass(&first, here, pair[0]) {
			b.Fatal("the other side has ended")
		}
	}
	unix.Write(pair[0], []byte{0})
	<-ended
}

func socketpair(b *testing.B) [2]int {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
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
				other, err := mux.Open(m.Name())
				if err != nil {
					b.Fatal(err)
				}
				here, there := loop.New(m, loop.Spin(spin)), loop.New(other, loop.Spin(spin))
				defer there.Close()
				pair, data := socketpair(b), []byte{1}
				left := b.N
				watch(b, here, pair[0], mux.Readable, func(mux.Event) {
					unix.Read(pair[0], data)
					if left--; left == 0 {
						here.Stop()
						return
					}
					unix.Write(pair[0], data)
				})
				var back [1]byte
				watch(b, there, pair[1], mux.Readable, func(mux.Event) {
					unix.Read(pair[1], back[:])
					unix.Write(pair[1], back[:])
				})
				ended := make(chan error, 1)
				go func() { ended <- there.Run(context.Background()) }()
				b.ReportAllocs()
				b.ResetTimer()
				unix.Write(pair[0], data)
				if err := here.Run(context.Background()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				there.Stop()
				if err := <-ended; err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// BenchmarkPingPongBare is how fast the byte can be passed at all by two
// goroutines that do nothing but ask epoll(7), read and write: what Spin can come
// to at the best.
func BenchmarkPingPongBare(b *testing.B) {
	pair := socketpair(b)
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

func watch(b *testing.B, l *loop.Loop, fd int, want mux.Interest, fn func(mux.Event)) *loop.Watch {
	w, err := l.Watch(fd, want, fn)
	if err != nil {
		b.Fatal(err)
	}
	return w
}
