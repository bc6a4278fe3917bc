package unix_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"iomux/mux"
	"iomux/transport"
	"iomux/transport/internal/wiretest"
)

// faults are what can go wrong. There is no interface that could go down and no
// queueing discipline; and a receive queue that is full holds its senders up, so
// that none overflows.
var faults = []struct {
	name string
	test func(*line)
}{
	{"queue full", (*line).queueFull},   // Send would block
	{"peer left", (*line).peerLeft},     // the error of one Recv
	{"peer closed", (*line).peerClosed}, // the error of each Send
}

// lines are two transports, the first of which is the one under test.
var lines = []struct {
	name  string
	lay   func(t *testing.T) *line
	gone  []error           // what Send says when the peer is closed, the last for good
	never map[string]string // the faults that cannot be
}{
	{"pair", pairLine, []error{syscall.ECONNREFUSED, syscall.ENOTCONN}, nil},
	{"named", namedLine, []error{syscall.ENOENT}, nil},
	{"server", serverLine, []error{syscall.ECONNREFUSED}, map[string]string{"peer left": "a server has no peer"}},
}

// TestFaults: each is reported as said above, nobody who waits spins, nothing is
// dropped, and traffic goes on when it is over.
func TestFaults(t *testing.T) {
	for _, kind := range lines {
		for _, f := range faults {
			if why, ok := kind.never[f.name]; ok {
				t.Logf("%s: there is no %s: %s", kind.name, f.name, why)
				continue
			}
			t.Run(kind.name+"/"+f.name, func(t *testing.T) {
				l := kind.lay(t)
				l.T, l.gone, l.watch = t, kind.gone, wiretest.Watch(t, l.a)
				l.goesOn()
				f.test(l)
				l.goesOn()
				if n := wiretest.Dropped(t, l.a); n != 0 {
					t.Errorf("Dropped() = %d, want 0 always", n)
				}
			})
		}
	}
}

type line struct {
	*testing.T
	a, b   transport.Transport
	reopen func() transport.Transport // b again; nil if it cannot be found again
	oneWay bool                       // b has no peer
	gone   []error
	watch  *wiretest.Watcher // of a
	sent   int
}

func pairLine(t *testing.T) *line {
	a, b := pair(t, nil)
	return &line{a: a, b: b}
}

// namedLine is two programs that name each other.
func namedLine(t *testing.T) *line {
	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	l := &line{reopen: func() transport.Transport { return open(t, one, local(two)) }}
	l.a, l.b = open(t, two, local(one)), l.reopen()
	return l
}

// serverLine is a client, and a server that takes messages from all.
func serverLine(t *testing.T) *line {
	name := unique(t.Name())
	l := &line{oneWay: true, reopen: func() transport.Transport { return open(t, "", local(name)) }}
	l.b = l.reopen()
	l.a = open(t, name, nil)
	return l
}

// message differs from the last 255.
func (l *line) message() transport.Message {
	l.sent++
	return wiretest.Message(wiretest.Pattern(l.sent, 60))
}

// goesOn demands that a message arrives at each end, and nothing else.
func (l *line) goesOn() {
	l.Helper()
	for _, way := range [][2]transport.Transport{{l.a, l.b}, {l.b, l.a}} {
		if l.b == nil || l.oneWay && way[0] == l.b {
			continue
		}
		m := l.message()
		wiretest.Send(l, way[0], m)
		if got := wiretest.Recv(l, way[1], 1)[0]; string(got.Bytes()) != string(m.Bytes()) {
			l.Errorf("received % x, want % x", got.Bytes(), m.Bytes())
		}
		wiretest.RecvNone(l, way[1])
	}
	l.quiet()
	l.watch.Await(mux.Writable)
}

// quiet demands that the transport under test has nothing to say.
func (l *line) quiet() {
	l.Helper()
	wiretest.RecvNone(l, l.a)
	l.watch.Silent(mux.Readable)
}

// fill sends until that would block.
func (l *line) fill() (sent []transport.Message) {
	l.Helper()
	for n := 1; n > 0; {
		ms := []transport.Message{l.message(), l.message()}
		var err error
		if n, err = l.a.Send(ms); err != nil || l.sent > 10_000 {
			l.Fatalf("message %d: Send = %d, %v, want 0, nil when the queue is full", l.sent, n, err)
		}
		sent = append(sent, ms[:n]...)
	}
	wiretest.RecvNone(l, l.a)
	l.watch.Silent(mux.Readable | mux.Writable)
	return sent
}

// queueFull is about the send buffer where the two are connected to each other,
// and about the peer's queue where not.
func (l *line) queueFull() {
	sent := l.fill()
	for i, got := range wiretest.Recv(l, l.b, len(sent)) {
		if string(got.Bytes()) != string(sent[i].Bytes()) {
			l.Errorf("message %d: received % x, want % x", i, got.Bytes(), sent[i].Bytes())
		}
	}
	wiretest.RecvNone(l, l.b)
}

// peerLeft is about what the kernel throws away when the peer turns to nobody.
func (l *line) peerLeft() {
	wiretest.Send(l, l.a, l.message(), l.message())
	l.quiet()
	if err := disconnect(l.b); err != nil {
		l.Fatal(err)
	}
	l.watch.Await(mux.Readable)
	if n, err := l.a.Recv(wiretest.Slots(1, 100)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		l.Errorf("Recv = %d, %v, want ECONNRESET", n, err)
	}
	l.quiet()
	l.oneWay = l.reopen == nil // a pair has no name to connect to again
}

// peerClosed ends the wait for room in the peer's queue. What the peer has sent is
// still there.
func (l *line) peerClosed() {
	l.fill()
	var last []transport.Message
	if !l.oneWay {
		last = append(last, l.message())
		wiretest.Send(l, l.b, last...)
	}
	if err := l.b.Close(); err != nil {
		l.Fatal(err)
	}
	l.watch.Await(mux.Writable)
	for i, got := range wiretest.Recv(l, l.a, len(last)) {
		if string(got.Bytes()) != string(last[i].Bytes()) {
			l.Errorf("received % x, want % x", got.Bytes(), last[i].Bytes())
		}
	}
	for i := range 3 {
		want := l.gone[min(i, len(l.gone)-1)]
		if n, err := l.a.Send([]transport.Message{l.message()}); n != 0 || !errors.Is(err, want) {
			l.Errorf("Send = %d, %v, want %v", n, err, want)
		}
		l.quiet()
	}
	if l.b = nil; l.reopen != nil {
		l.b = l.reopen()
	}
}
