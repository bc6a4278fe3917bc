package transport

import (
	"net/netip"
	"syscall"
	"time"
)

// TransmitStamper is an optional interface of transports on which the kernel
// says when it handed a message to the network device (SO_TIMESTAMPING in
// timestamping.rst of the kernel's documentation). Where that is not asked for
// when the transport is opened, or the kernel refuses it, the error says so, the
// same every time. After Close it is net.ErrClosed.
//
// Until Recv the kernel keeps stamps in the receive buffer, about 250 in one of
// the default size, and drops the rest uncounted: call Recv after every batch or
// two. A missing stamp does not prove that the message stayed.
type TransmitStamper interface {
	// TransmitStamps moves the stamps that Recv has found so far, in their
	// order, to the beginning of dst, and returns how many. As a transport keeps
	// a few thousand of them, it is to be called after each Recv. Lost is
	// how many found no room since the transport was opened.
	TransmitStamps(dst []TransmitStamp) (n int, lost uint64, err error)
}

// TransmitStamp is when the message with an ID was sent (CLOCK_REALTIME).
type TransmitStamp struct {
	ID   uint32 // that of the Message
	Time time.Time
}

// ErrorReporter is an optional interface of transports on which the kernel
// queues what the network reports about messages that were sent (IP_RECVERR in
// ip(7)). Where that is not asked for when the transport is opened, or the
// kernel refuses it, the error says so, the same every time. After Close it is
// net.ErrClosed.
type ErrorReporter interface {
	// ErrorReports moves the reports that Recv has found so far, in their
	// order, to the beginning of dst, and returns how many. As a transport keeps
	// a few hundred of them, it is to be called after each Recv. Lost is how
	// many found no room since the transport was opened.
	ErrorReports(dst []ErrorReport) (n int, lost uint64, err error)
}

// ErrorReport is what the network reports about one message.
type ErrorReport struct {
	Peer       netip.AddrPort // the message's destination
	From       netip.Addr     // who reports; the zero Addr if that is unknown
	Errno      syscall.Errno  // what it means: EHOSTUNREACH, EMSGSIZE, ...
	Type, Code uint8          // of the ICMP error (RFC 792, RFC 4443)
	// Ifindex is the interface that the report came in by; 0 if that is unknown.
	// With a link-local Peer it tells whose neighbour that is. What this host's
	// own kernel reports about IPv4 comes in by the loopback interface.
	Ifindex int
	// MTU is the longest packet, in bytes, that the hop which reports
	// EMSGSIZE can pass on; 0 if it does not say.
	MTU   uint32
	quote [64]byte
	n     uint8
}

// Quote is the beginning of the message as it was sent, as far as the report
// quotes it and at most 64 bytes. It is valid as long as the report.
func (r *ErrorReport) Quote() []byte { return r.quote[:r.n] }

// SetQuote stores the beginning of b as the Quote.
func (r *ErrorReport) SetQuote(b []byte) {
	n := copy(r.quote[:], b)
	clear(r.quote[n:])
	r.n = uint8(n)
}

// DropCounter is an optional interface of transports that know how many packets
// the kernel did not deliver to them.
type DropCounter interface {
	// Dropped returns how many there were since the transport was opened,
	// modulo 1<<32. Most were dropped because the receive buffer was full. On a
	// raw IPv6 socket a packet with a bad checksum counts too, so that a peer
	// can raise the number. While the buffer is full so do packets that a filter
	// would have discarded: the number is an upper bound.
	Dropped() (uint32, error)
}
