package transport

import (
	"fmt"
	"net"
	"strings"
	"time"
)

// Call is one call of a Transport, as [Trace] reports it.
type Call struct {
	Op string // "recv", "send" or "close"
	FD int    // the descriptor before the call
	// Messages are the messages received or sent, the first N of those
	// offered. They are valid during the report only.
	Messages []Message
	Offered  int // the number of messages that the caller passed
	N        int // the number of messages received or sent
	Err      error
	Start    time.Time
	Took     time.Duration
}

// Trace wraps a transport and reports each Recv, Send and Close when it is
// over, from the goroutine that made it: a Recv and a Send may be reported at
// the same time. [As] still finds the optional interfaces of t.
//
//	t = transport.Trace(t, func(c transport.Call) { fmt.Println(c) })
func Trace(t Transport, report func(Call)) Transport {
	return &traced{t, report}
}

type traced struct {
	Transport
	report func(Call)
}

func (t *traced) Unwrap() Transport { return t.Transport }

func (t *traced) Recv(ms []Message) (int, error) {
	c := t.begin("recv", len(ms))
	c.N, c.Err = t.Transport.Recv(ms)
	t.end(c, ms)
	return c.N, c.Err
}

func (t *traced) Send(ms []Message) (int, error) {
	c := t.begin("send", len(ms))
	c.N, c.Err = t.Transport.Send(ms)
	t.end(c, ms)
	return c.N, c.Err
}

func (t *traced) Close() error {
	c := t.begin("close", 0)
	c.Err = t.Transport.Close()
	t.end(c, nil)
	return c.Err
}

func (t *traced) begin(op string, offered int) Call {
	return Call{Op: op, FD: t.FD(), Offered: offered, Start: time.Now()}
}

func (t *traced) end(c Call, ms []Message) {
	c.Took = time.Since(c.Start)
	c.Messages = ms[:c.N]
	t.report(c)
}

// String writes the call with its arguments and result, in the manner of
// strace(1):
//
//	recv(fd 5, 64 messages) = 2 [127.0.0.1 ttl 64 27 bytes, 127.0.0.9 ttl 64 8 bytes]
func (c Call) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s(fd %d", c.Op, c.FD)
	switch {
	case c.Op == "close":
	case c.Offered == 1:
		b.WriteString(", 1 message")
	default:
		fmt.Fprintf(&b, ", %d messages", c.Offered)
	}
	switch {
	case c.Err != nil:
		fmt.Fprintf(&b, ") = %v", c.Err)
	case c.Op == "close":
		b.WriteString(") = ok")
	default:
		fmt.Fprintf(&b, ") = %d", c.N)
	}
	for i := range c.Messages {
		sep := ", "
		if i == 0 {
			sep = " ["
		}
		b.WriteString(sep)
		c.Messages[i].describe(&b)
	}
	if len(c.Messages) > 0 {
		b.WriteByte(']')
	}
	return b.String()
}

// describe writes the other side, the time to live, the length of the payload
// and the flags, as far as there are such.
func (m *Message) describe(b *strings.Builder) {
	switch {
	case m.Link.Len > 0:
		fmt.Fprintf(b, "%v ", net.HardwareAddr(m.Link.Addr[:min(int(m.Link.Len), len(m.Link.Addr))]))
	case m.Peer.Port() > 0:
		fmt.Fprintf(b, "%v ", m.Peer)
	case m.Peer.IsValid():
		fmt.Fprintf(b, "%v ", m.Peer.Addr())
	}
	if m.TTL > 0 {
		fmt.Fprintf(b, "ttl %d ", m.TTL)
	}
	fmt.Fprintf(b, "%d bytes", m.N)
	if m.Flags&Truncated != 0 {
		b.WriteString(" truncated")
	}
	if m.Flags&Broadcast != 0 {
		b.WriteString(" broadcast")
	}
}
