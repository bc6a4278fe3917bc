// Package transport moves packets in batches through one descriptor.
//
// A Transport is a non-blocking descriptor and two batch calls, Recv and Send.
// It knows nothing of multiplexers: any of them (package mux, another library,
// a bare poll(2)) watches the descriptor, and the caller calls Recv when it is
// readable. Transports register themselves under network names in the manner
// of net.Dial, so that programs open them by name:
//
//	import _ "iomux/transport/icmp"
//
//	t, err := transport.Open("ip4:icmp", "", nil)
//	if err != nil {
//		return err
//	}
//	defer t.Close()
//	ms := make([]transport.Message, t.BatchSize())
//	for i := range ms {
//		ms[i].Buf = make([]byte, 2048)
//	}
//	n, err := t.Recv(ms) // 0, nil: nothing there, wait until readable
//	for i := range ms[:n] {
//		ms[i].Reply() // turn round; edit the payload in place
//	}
//	n, err = t.Send(ms[:n])
//
// A transport of one's own implements the five methods and calls Register, and
// package [iomux/transport/transporttest] proves it.
package transport

// Transport sends and receives batches of packets without ever blocking.
//
// One Recv and one Send may run at the same time. Close may come from any
// goroutine at any time: it lets calls in flight end, and no later call touches
// the number of the descriptor. A Mux that watches the descriptor must Remove
// it first.
//
// Errors are *[net.OpError] around *[os.SyscallError]; after Close they are
// [net.ErrClosed]. An error that is permanent repeats: stop watching then.
//
// What only some transports can do is an optional interface, found with [As].
type Transport interface {
	// FD is the descriptor to watch: non-blocking and close-on-exec, the same
	// from opening to Close, and -1 afterwards.
	FD() int
	// BatchSize is the number of messages that one call moves at the most.
	// Longer slices are allowed; the rest is not looked at.
	BatchSize() int
	// Recv fills ms in order and returns how many messages it filled; the rest
	// stay untouched. 0, nil means that it would block: the descriptor is
	// then silent. A short count means only: call again. The error is non-nil
	// only if the count is 0. A message longer than its Buf is cut off and
	// flagged Truncated.
	Recv(ms []Message) (int, error)
	// Send sends ms in order and returns how many were sent. 0, nil means that
	// it would block: wait until writable. A short count means only: call
	// again with the rest. The error is non-nil only if the count is 0, and
	// concerns ms[0]: skip that message and go on. An asynchronous error, which
	// an earlier message left on the socket, is not about ms[0]: Send leaves it
	// to the next Recv, and tries ms[0] once more. Such an error does not make
	// the descriptor readable; of several only the first is kept. The messages
	// are unchanged.
	Send(ms []Message) (int, error)
	// Close closes the descriptor. A second Close returns net.ErrClosed.
	Close() error
}

// As finds the first transport of type T in t and, where t wraps another one
// (has an Unwrap() Transport), in what it wraps. T is usually one of the
// optional interfaces:
//
//	if f, ok := transport.As[transport.Framer](t); ok {
//		framing = f.Framing()
//	}
func As[T any](t Transport) (T, bool) {
	for t != nil {
		if v, ok := t.(T); ok {
			return v, true
		}
		u, ok := t.(interface{ Unwrap() Transport })
		if !ok {
			break
		}
		t = u.Unwrap()
	}
	var none T
	return none, false
}

// Framing is what the payload of a transport's messages begins with.
type Framing uint8

const (
	// Payload is the bare payload of the network that was named: an ICMP
	// message for "ip4:icmp". A transport without Framer has it.
	Payload Framing = iota
	// IPPacket is an IPv4 or IPv6 header.
	IPPacket
	// Ethernet is an Ethernet header.
	Ethernet
)

// Framer is an optional interface of transports whose payload may be framed.
type Framer interface {
	Framing() Framing
}

// Identifier is an optional interface of transports on which the kernel owns
// the ICMP identifier: ping sockets (icmp(7)). It overwrites the identifier of
// each echo request sent, and delivers only replies that carry it.
type Identifier interface {
	Identifier() uint16
}
