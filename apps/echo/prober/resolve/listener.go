package resolve

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"
)

// listener makes the connections to name servers for one lookup, and listens on them.
type listener struct {
	ctx                context.Context // of the lookup
	positive, negative ttl             // of the answers that were used
}

// ttl is the smallest of what several goroutines find.
type ttl struct {
	mu    sync.Mutex
	least time.Duration
	known bool
}

func (t *ttl) note(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.known || d < t.least {
		t.least, t.known = d, true
	}
}

func (t *ttl) get() (least time.Duration, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.least, t.known
}

// dial is for net.Resolver. The resolver closes the connection after one exchange, and
// reads nothing more once it has the response to its query; but it does not stop
// waiting for that when the lookup has been cancelled. The end of ctx is no use for it:
// it is also that of the exchange, which is to end by the resolver's own deadline.
func (l *listener) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := l.ctx.Err(); err != nil {
		return nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	t := tap{listener: l, forget: context.AfterFunc(l.ctx, func() { c.Close() })}
	if u, ok := c.(*net.UDPConn); ok {
		return &datagrams{u, t}, nil
	}
	return &stream{Conn: c, tap: t}, nil
}

// tap listens on one connection.
type tap struct {
	listener *listener
	forget   func() bool // ends the wait for the end of the lookup
	query    []byte
}

// hear takes a message from the server.
func (t *tap) hear(message []byte, datagram bool) {
	switch held, verdict := examine(t.query, message, datagram); verdict {
	case present:
		t.listener.positive.note(held)
	case absent:
		t.listener.negative.note(held)
	}
}

// datagrams is a connection over UDP. The resolver knows it by the methods of
// net.PacketConn, and uses Read and Write alone.
type datagrams struct {
	*net.UDPConn
	tap
}

func (c *datagrams) Write(b []byte) (int, error) {
	c.query = slices.Clone(b)
	return c.UDPConn.Write(b)
}

func (c *datagrams) Read(b []byte) (int, error) {
	n, err := c.UDPConn.Read(b)
	if err == nil {
		c.hear(b[:n], true)
	}
	return n, err
}

func (c *datagrams) Close() error {
	c.forget()
	return c.UDPConn.Close()
}

// stream is a connection over TCP, where the length of a message comes before it (RFC
// 1035, section 4.2.2). It carries one query, written at once, and one response.
type stream struct {
	net.Conn
	tap
	received []byte
}

const prefix = 2 // bytes

func (c *stream) Write(b []byte) (int, error) {
	c.query = slices.Clone(b[min(prefix, len(b)):])
	return c.Conn.Write(b)
}

func (c *stream) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	before := c.missing()
	c.received = append(c.received, b[:min(n, before)]...)
	if before > 0 && c.missing() == 0 {
		c.hear(c.received[prefix:], false)
	}
	return n, err
}

// missing is how many bytes of the response are still to come, so far as is known.
func (c *stream) missing() int {
	have := len(c.received)
	if have < prefix {
		return prefix - have
	}
	return prefix + int(c.received[0])<<8 + int(c.received[1]) - have
}

func (c *stream) Close() error {
	c.forget()
	return c.Conn.Close()
}
