package transporttest

import (
	"bytes"
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"iomux/mux"
	"iomux/transport"
)

// forever is a time-out of poll(2) that only the watchdog limits.
const forever = -1

// headroom is the space in a buffer for what the kernel puts in front of a
// payload, in bytes.
const headroom = 256

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }

// startPoller makes the Go runtime open the descriptors of its own poller, which
// it does on first use, so that they do not look like leaks.
func startPoller() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	return errors.Join(r.Close(), w.Close())
}

// openDescriptors returns the descriptors that are open in this process.
func openDescriptors() []int {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var fds []int
	for _, entry := range dir {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && isOpen(fd) { // that of the directory is not
			fds = append(fds, fd)
		}
	}
	return fds
}

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// since returns the descriptors that are open now and were not before.
func since(before []int) []int {
	return slices.DeleteFunc(openDescriptors(), func(fd int) bool { return slices.Contains(before, fd) })
}

// poll waits for one of some events, for a number of milliseconds or forever.
func (e *env) poll(fds []unix.PollFd, timeout int) bool {
	e.t.Helper()
	slice := timeout
	if timeout == forever {
		slice = 100 // to look whether the case was given up
	}
	for {
		n, err := unix.Poll(fds, slice)
		switch {
		case err == unix.EINTR:
		case err != nil:
			e.fatalf("poll: %v", err)
		case n > 0 || timeout != forever:
			return n > 0
		}
		select {
		case <-e.ended:
			runtime.Goexit()
		default:
		}
	}
}

// readable waits until there is something to receive.
func (e *env) readable(tr transport.Transport) {
	e.t.Helper()
	e.poll([]unix.PollFd{{Fd: int32(tr.FD()), Events: unix.POLLIN}}, forever)
}

// writable waits until there is room to send.
func (e *env) writable(tr transport.Transport) {
	e.t.Helper()
	e.poll([]unix.PollFd{{Fd: int32(tr.FD()), Events: unix.POLLOUT}}, forever)
}

// needs ends a case that is about messages of a kind that the pair does not have.
func (e *env) needs(make func(seq, size int) transport.Message, name string) {
	e.t.Helper()
	if make == nil {
		e.fatalf("Pair.%s is nil: declare the case in Without, with the reason", name)
	}
}

// typical is the length of a payload where it does not matter.
func (e *env) typical() int { return min(e.s.MinSize+64, e.s.MaxSize) }

// messages makes n messages, numbered from first; none where make is nil, since
// none are sent that way.
func messages(n, first, size int, make func(seq, size int) transport.Message) []transport.Message {
	var ms []transport.Message
	for i := range n {
		if make == nil {
			break
		}
		ms = append(ms, make(first+i, size))
	}
	return ms
}

// clone copies messages and what is in their buffers.
func clone(ms []transport.Message) []transport.Message {
	copies := slices.Clone(ms)
	for i := range copies {
		copies[i].Buf = bytes.Clone(ms[i].Buf)
	}
	return copies
}

// slots returns n messages to receive payloads of size bytes into.
func slots(n, size int) []transport.Message {
	ms := make([]transport.Message, n)
	for i := range ms {
		ms[i].Buf = make([]byte, headroom+size)
	}
	return ms
}

// send is one Send, of what has to be sendable. It checks what the call says.
func (e *env) send(tr transport.Transport, ms []transport.Message) int {
	e.t.Helper()
	n, err := tr.Send(ms)
	if err != nil {
		e.fatalf("Send of %d messages: %d, %v", len(ms), n, err)
	}
	if n < 0 || n > min(len(ms), tr.BatchSize()) {
		e.fatalf("Send of %d messages returned %d, with a BatchSize of %d", len(ms), n, tr.BatchSize())
	}
	return n
}

// recv is one Recv. It checks what the call says.
func (e *env) recv(tr transport.Transport, ms []transport.Message) int {
	e.t.Helper()
	n, err := tr.Recv(ms)
	if err != nil {
		e.fatalf("Recv: %d, %v", n, err)
	}
	if n < 0 || n > min(len(ms), tr.BatchSize()) {
		e.fatalf("Recv into %d messages returned %d, with a BatchSize of %d", len(ms), n, tr.BatchSize())
	}
	for i := range ms[:n] {
		m := &ms[i]
		if m.Off < 0 || m.N < 0 || m.Off+m.N > len(m.Buf) {
			e.fatalf("message %d has its payload at %d, %d bytes long, in a Buf of %d", i, m.Off, m.N, len(m.Buf))
		}
		if a := m.Peer.Addr(); a.Zone() != "" || a.Is4In6() {
			e.fatalf("message %d has the peer %v: want neither a zone nor a 4-in-6 address", i, m.Peer)
		}
	}
	return n
}

// sendAll sends all messages, waiting for room where there is none.
func (e *env) sendAll(tr transport.Transport, ms []transport.Message) {
	e.t.Helper()
	for len(ms) > 0 {
		n := e.send(tr, ms)
		if ms = ms[n:]; n == 0 {
			e.writable(tr)
		}
	}
}

// recvAll fills all messages, waiting for what is not there yet.
func (e *env) recvAll(tr transport.Transport, ms []transport.Message) {
	e.t.Helper()
	for len(ms) > 0 {
		n := e.recv(tr, ms)
		if ms = ms[n:]; n == 0 {
			e.readable(tr)
		}
	}
}

// move sends messages from one end and receives as many at the other, which
// must not have more. Neither waits for the other to be done.
func (e *env) move(from, to transport.Transport, out []transport.Message, size int) (in []transport.Message) {
	e.t.Helper()
	if len(out) == 0 {
		return nil
	}
	in = slots(len(out), size)
	for got := 0; got < len(in); {
		fds := []unix.PollFd{{Fd: int32(to.FD()), Events: unix.POLLIN}}
		if len(out) > 0 {
			out = out[e.send(from, out):]
			fds = append(fds, unix.PollFd{Fd: int32(from.FD()), Events: unix.POLLOUT})
		}
		n := e.recv(to, in[got:])
		if got += n; n == 0 {
			e.poll(fds[:min(len(fds), 1+len(out))], forever)
		}
	}
	e.nothing(to)
	return in
}

// nothing demands that there is nothing to receive, and that the descriptor is
// silent about it on every backend.
func (e *env) nothing(tr transport.Transport) {
	e.t.Helper()
	ms := slots(1, e.s.MaxSize)
	if n := e.recv(tr, ms); n != 0 {
		e.fatalf("Recv = %d, want nothing more; it is %d bytes: %.64x", n, ms[0].N, ms[0].Bytes())
	}
	if reports := e.ready(tr, mux.Readable); reports != "" {
		e.fatalf("the descriptor is ready although Recv has returned 0, nil: %s", reports)
	}
}

// normal is a copy of a payload without what changes on the way.
func (e *env) normal(payload []byte) []byte {
	payload = bytes.Clone(payload)
	if e.s.Normalize != nil {
		e.s.Normalize(payload)
	}
	return payload
}

// inOrder demands that just these messages were received, in order.
func (e *env) inOrder(got, sent []transport.Message) {
	e.t.Helper()
	for i := range got {
		e.same(&got[i], &sent[i], i)
	}
}

// same demands that a message was received as it was sent.
func (e *env) same(got, sent *transport.Message, i int) {
	e.t.Helper()
	if got.Flags&transport.Truncated != 0 {
		e.fatalf("message %d, of %d bytes, is flagged Truncated in a Buf of %d", i, sent.N, len(got.Buf))
	}
	g, s := e.normal(got.Bytes()), e.normal(sent.Bytes())
	if len(g) != len(s) {
		e.fatalf("message %d: %d bytes were received, %d sent", i, len(g), len(s))
	}
	for at := range g {
		if g[at] != s[at] {
			e.fatalf("message %d, of %d bytes: byte %d is %#x, was sent as %#x", i, len(s), at, g[at], s[at])
		}
	}
}

// inAnyOrder demands that these messages were received, each once.
func (e *env) inAnyOrder(got, sent []transport.Message) {
	e.t.Helper()
	left := make([][]byte, len(sent))
	for i := range sent {
		left[i] = e.normal(sent[i].Bytes())
	}
	for i := range got {
		payload := e.normal(got[i].Bytes())
		at := slices.IndexFunc(left, func(want []byte) bool { return bytes.Equal(want, payload) })
		if at < 0 {
			e.fatalf("received a message of %d bytes that was not sent, or twice: %.64x", len(payload), payload)
		}
		left = slices.Delete(left, at, at+1)
	}
}
