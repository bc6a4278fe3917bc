package transport_test

import (
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"reflect"
	"sync"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// pipe is a transport that receives what it sends: a pipe in packet mode
// (O_DIRECT in pipe(2)), in which each write is a message. A pipe does not tell
// that a message was longer than the buffer, so this one takes long buffers only.
type pipe struct {
	mu   sync.Mutex // lets calls in flight end before Close
	r, w int        // -1 once closed
}

// longest is the longest message. Up to 4096 bytes pipe(2) would write as one packet,
// but a caller may have no buffer for that many.
const longest = 1280

func openPipe(network, address string, cfg *transport.Config) (transport.Transport, error) {
	if cfg != nil && !reflect.ValueOf(*cfg).IsZero() {
		return nil, &net.OpError{Op: "open", Net: network, Err: errors.New("a pipe has nothing to configure")}
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_DIRECT|unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil, &net.OpError{Op: "open", Net: network, Err: os.NewSyscallError("pipe2", err)}
	}
	return &pipe{r: fds[0], w: fds[1]}, nil
}

func (p *pipe) FD() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.r
}

func (p *pipe) BatchSize() int { return 32 }

func (p *pipe) Recv(ms []transport.Message) (int, error) {
	return p.each(ms, "read", func(m *transport.Message) error {
		if len(m.Buf) < longest {
			return unix.EMSGSIZE
		}
		n, err := unix.Read(p.r, m.Buf)
		if err == nil {
			*m = transport.Message{Buf: m.Buf, N: n}
		}
		return err
	})
}

func (p *pipe) Send(ms []transport.Message) (int, error) {
	return p.each(ms, "write", func(m *transport.Message) error {
		if m.N > longest {
			return unix.EMSGSIZE
		}
		_, err := unix.Write(p.w, m.Bytes())
		return err
	})
}

// each makes a call for one message after the other, until one fails.
func (p *pipe) each(ms []transport.Message, op string, call func(*transport.Message) error) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.r < 0 {
		return 0, net.ErrClosed
	}
	for n := range ms[:min(len(ms), p.BatchSize())] {
		switch err := call(&ms[n]); {
		case err == nil:
		case n > 0 || errors.Is(err, unix.EAGAIN):
			return n, nil // 0, nil means that it would block
		default:
			return 0, &net.OpError{Op: op, Net: "pipe", Err: os.NewSyscallError(op, err)}
		}
	}
	return min(len(ms), p.BatchSize()), nil
}

func (p *pipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.r < 0 {
		return net.ErrClosed
	}
	err := errors.Join(unix.Close(p.r), unix.Close(p.w))
	p.r, p.w = -1, -1
	return err
}

// A package that brings a transport registers it when it is imported.
func init() { transport.Register("pipe", openPipe) }

func ExampleRegister() {
	t, err := transport.Open("pipe", "", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()
	hello := transport.Message{Buf: []byte("Hello!"), N: 6}
	n, err := t.Send([]transport.Message{hello, hello})
	fmt.Println(n, err)

	ms := make([]transport.Message, t.BatchSize())
	for i := range ms {
		ms[i].Buf = make([]byte, 4096)
	}
	n, err = t.Recv(ms)
	fmt.Println(n, err, string(ms[0].Bytes()))
	n, err = t.Recv(ms)
	fmt.Println(n, err)
	// Output:
	// 2 <nil>
	// 2 <nil> Hello!
	// 0 <nil>
}
