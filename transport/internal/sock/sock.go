// Package sock is the datagram socket that several transports have in common:
// non-blocking, with batches by recvmmsg(2) and sendmmsg(2).
//
// A transport says in a [Spec] which socket it wants and, in a [Format], how the
// addresses and control messages of its family become fields of a Message:
//
//	s, err := sock.Open(sock.Spec{
//		Network: "udp4", Domain: unix.AF_INET, Type: unix.SOCK_DGRAM, Format: format{},
//	}, cfg)
//	if err != nil {
//		return nil, err
//	}
//	if err = s.Bind(&unix.SockaddrInet4{}); err == nil {
//		err = s.Start(cfg)
//	}
//	if err != nil {
//		s.Close()
//		return nil, err
//	}
//	return s, nil
//
// A Socket is a [transport.Transport]. What else it can do is switched on before
// Start: time stamps by SetStamps, error reports by SetErrors. Between Open and
// Start the kernel drops whatever arrives, so that no packet gets round the
// options that are set in between.
package sock

import (
	"net"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// defaultBatch is the batch size where the Config names none.
const defaultBatch = 64

// Spec is what a transport knows about its socket.
type Spec struct {
	// Network is the name in errors.
	Network string
	// Domain, Type and Protocol are the arguments of socket(2). SOCK_NONBLOCK
	// and SOCK_CLOEXEC are added to the type.
	Domain, Type, Protocol int
	// Format translates messages.
	Format Format
	// Denied goes round the error of a socket(2) that was refused (EPERM or
	// EACCES): its Capability and Advice.
	Denied transport.PermissionError
	// Bare keeps control messages out. Where a peer may attach descriptors
	// (SCM_RIGHTS in unix(7)) they would become ours to close.
	Bare bool
	// Headroom is how many bytes Recv leaves free at the beginning of each Buf,
	// where there are so many, for Decode to fill: Off is 0 to Headroom.
	Headroom int
	// Earlier are the errors in which Send may find out about an earlier
	// message, or about the connection. It leaves such an error to the next Recv
	// and tries the message once more.
	Earlier []unix.Errno
}

// Format translates between what the kernel says about a packet and a Message.
// Its methods are called by one Recv and one Send at once, and keep nothing.
type Format interface {
	// Decode fills m from p. Buf, Off, N and the flag Truncated are set already,
	// the other fields are zero.
	Decode(m *transport.Message, p *Packet)
	// Encode puts the destination and the control messages for m into p, which
	// is empty. Its error becomes the error of that message.
	Encode(m *transport.Message, p *Packet) error
	// Addr is the peer of m, for an error; nil if it has none.
	Addr(m *transport.Message) net.Addr
}

// Socket is a non-blocking datagram socket.
type Socket struct {
	network  string
	domain   int
	format   Format
	bare     bool
	headroom int
	earlier  []unix.Errno
	fd       atomic.Int64  // -1 once closed; changes under both locks
	adopted  bool          // from Config.Files
	dropped  uint32        // before it was adopted
	pending  atomic.Uint32 // the Errno that Send has left to Recv, 0 if none

	// Recv works on in and Send on out, so that they can run at once. Close
	// takes both locks: the number is given back when nobody uses it any more.
	in, out struct {
		sync.Mutex
		batch
	}
	stamps stamper    // both
	queue  errorQueue // in
}

var _ interface {
	transport.Transport
	transport.TransmitStamper
	transport.ErrorReporter
	transport.DropCounter
} = (*Socket)(nil)

// FD returns the descriptor, -1 after Close.
func (s *Socket) FD() int { return int(s.fd.Load()) }

// BatchSize returns how many messages one system call moves at the most.
func (s *Socket) BatchSize() int { return len(s.in.headers) }

// Close waits for calls in flight, which do not block, and closes the
// descriptor.
func (s *Socket) Close() error {
	s.in.Lock()
	defer s.in.Unlock()
	s.out.Lock()
	defer s.out.Unlock()
	fd := s.FD()
	if fd < 0 {
		return net.ErrClosed
	}
	s.fd.Store(-1)
	return opError("close", s.network, nil, os.NewSyscallError("close", unix.Close(fd)))
}

// opError makes every error of this package: nil in, nil out.
func opError(op, network string, addr net.Addr, err error) error {
	if err == nil {
		return nil
	}
	return &net.OpError{Op: op, Net: network, Addr: addr, Err: err}
}
