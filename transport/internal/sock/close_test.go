package sock

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

func TestAfterCloseEveryCallIsErrClosed(t *testing.T) {
	s, to := open(t, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, recvErr := s.Recv(slots(1))
	_, sendErr := s.Send([]transport.Message{datagram(to, "x")})
	_, emptyErr := s.Recv(nil)
	_, _, stampsErr := s.TransmitStamps(nil)
	_, _, reportsErr := s.ErrorReports(nil)
	for call, err := range map[string]error{"Recv": recvErr, "Recv of nothing": emptyErr, "Send": sendErr,
		"TransmitStamps": stampsErr, "ErrorReports": reportsErr, "Close": s.Close()} {
		if err != net.ErrClosed {
			t.Errorf("%s = %v, want net.ErrClosed", call, err)
		}
	}
	if s.FD() != -1 {
		t.Errorf("FD() = %d, want -1", s.FD())
	}
}

func TestCloseFromManyGoroutinesClosesOnce(t *testing.T) {
	s, _ := open(t, nil)
	results := make(chan error)
	for range 8 {
		go func() { results <- s.Close() }()
	}
	closed := 0
	for range 8 {
		if err := <-results; err == nil {
			closed++
		} else if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Close = %v", err)
		}
	}
	if closed != 1 {
		t.Errorf("%d calls of Close succeeded, want 1", closed)
	}
}

// during is a Format that does something in the middle of a Recv or a Send.
type during struct {
	udp
	recv, send func()
}

func (d *during) Decode(m *transport.Message, p *Packet) { d.recv(); d.udp.Decode(m, p) }
func (d *during) Encode(m *transport.Message, p *Packet) error {
	d.send()
	return d.udp.Encode(m, p)
}

func TestCloseLetsCallsInFlightEnd(t *testing.T) {
	for _, name := range []string{"Recv", "Send"} {
		s, to := open(t, nil)
		send(t, s, datagram(to, "hello"))
		await(t, s)
		closed := make(chan error, 1)
		hook := func() {
			go func() { closed <- s.Close() }()
			for range 1000 {
				runtime.Gosched() // the other goroutine has every chance to be too early
			}
			if len(closed) > 0 || s.FD() < 0 {
				t.Errorf("Close did not wait for %s", name)
			}
		}
		s.format = &during{recv: hook, send: hook}
		call := s.Recv
		if name == "Send" {
			call = s.Send
		}
		if n, err := call([]transport.Message{datagram(to, "hello")}); n != 1 || err != nil {
			t.Errorf("%s = %d, %v, want 1", name, n, err)
		}
		if err := <-closed; err != nil {
			t.Errorf("Close = %v", err)
		}
	}
}

// Calls that run while the socket is closed either precede Close or fail with
// net.ErrClosed: they never reach a socket that got the same number.
func TestCloseDuringRecvAndSendNeverTouchesTheNumberAgain(t *testing.T) {
	_, nobody := unstarted(t, nil) // takes no datagrams
	out := make([]transport.Message, 32)
	for i := range out {
		out[i] = datagram(nobody, "x")
	}
	reused := 0
	for range 100 {
		s, _ := open(t, nil)
		fd := s.FD()
		var running, done sync.WaitGroup
		loop := func(name string, call func() (int, error)) {
			running.Add(1)
			done.Go(func() {
				ran := sync.OnceFunc(running.Done)
				for {
					n, err := call()
					ran()
					if err == net.ErrClosed {
						return
					}
					if err != nil || name == "Recv" && n > 0 {
						t.Errorf("%s = %d, %v", name, n, err)
						return
					}
				}
			})
		}
		in := slots(1)
		loop("Recv", func() (int, error) { return s.Recv(in) })
		loop("Send", func() (int, error) { return s.Send(out) })
		running.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if pair[0] == fd || pair[1] == fd {
			reused++
		}
		for i, p := range pair {
			if _, err := unix.Write(p, []byte{byte(i)}); err != nil {
				t.Error(err)
			}
		}
		done.Wait()
		for i, p := range pair {
			b := make([]byte, 2)
			if n, err := unix.Read(p, b); n != 1 || b[0] != byte(1-i) || err != nil {
				t.Errorf("the datagram in the socket that has the number now: %d bytes, %v", n, err)
			}
			unix.Close(p)
		}
		if t.Failed() {
			return
		}
	}
	if reused == 0 {
		t.Error("the number was never used again: nothing was tested")
	}
}

func TestRecvAndSendRunAtOnce(t *testing.T) {
	s, to := open(t, nil)
	const total = 10_000
	out, in := make([]transport.Message, 8), slots(8)
	for i := range out {
		out[i] = datagram(to, "hello")
		out[i].TTL = uint8(i + 1)
	}
	// credit bounds what is on the way, so that nothing is lost.
	credit := make(chan struct{}, 64)
	go func() {
		for sent := 0; sent < total; sent++ {
			credit <- struct{}{}
			if n, err := s.Send(out[sent%8 : sent%8+1]); n != 1 || err != nil {
				t.Errorf("Send = %d, %v", n, err)
				return
			}
		}
	}()
	for got := 0; got < total; {
		n, err := s.Recv(in)
		if err != nil {
			t.Fatalf("Recv: %v", err)
		}
		if n == 0 {
			await(t, s)
		}
		for i := range in[:n] {
			if want := uint8((got+i)%8 + 1); string(in[i].Bytes()) != "hello" || in[i].TTL != want {
				t.Fatalf("datagram %d is %q with TTL %d, want hello and %d", got+i, in[i].Bytes(), in[i].TTL, want)
			}
			<-credit
		}
		got += n
	}
}
