// Package unix exchanges datagrams with one other process of this machine, or
// within a process, through UNIX domain sockets (unix(7)).
//
// It is for programs that talk to a local service, and for tests: datagrams
// here arrive complete, in order and exactly once, without any privilege.
// [Pair] makes two transports that are connected to each other. Importing the
// package registers the network "unixgram", a datagram socket. The address is
// the name of the peer, as net.Dial has it: a path, or "@" and a name in the
// abstract namespace. [Options] give the socket a name of its own, by which the
// peer can reach it. Two programs that send to each other name each other:
//
//	t, err := transport.Open("unixgram", "/run/two.sock", &transport.Config{
//		Options: unix.Options{Local: "/run/one.sock"},
//	})
//	if err != nil {
//		return err
//	}
//	defer t.Close() // removes /run/one.sock
//	n, err := t.Send([]transport.Message{{Buf: []byte("hello"), N: 5}})
//
// A datagram may be empty. (Sequenced-packet sockets would do as well, but for
// them an empty packet is an end of file.)
//
// # One peer
//
// The peer is fixed when the transport is opened, as a Message has no place for
// a path: Peer is the zero AddrPort of what is received, and has to be of what
// is sent. (The other fields about addresses and headers are not used.) The peer
// need not be there yet. While it is not, Send fails with what connect(2) says,
// ENOENT or ECONNREFUSED, and tries to connect again with each call; a peer that
// ended and came back under its name is thus found again.
//
// Once connected, a socket takes messages from its peer alone: Send of others
// is EPERM. The kernel does not tell it that the peer is gone before it sends,
// so a peer that came back is among these others until then. A socket that has
// not connected takes messages from any process that may write to its file;
// Options.Mode restricts which may. The address "" means no peer: such a
// transport receives from all of them, and Send fails with ENOTCONN. Without a
// name of its own it has one that the kernel chooses (autobind in unix(7)).
//
// # Waiting
//
// Send would block while the peer's queue is full (net.unix.max_dgram_qlen) or
// this socket's send buffer is, in which a datagram counts until it is
// received. One that is longer than the buffer is EMSGSIZE. If the peer turns to
// another socket, the kernel throws away what it had not received yet, which is
// ECONNRESET: the next Recv reports it, once.
//
// As a full queue holds the sender up, none overflows: [transport.DropCounter] is
// there as with other sockets, and always 0. What a filter keeps out is not
// counted.
//
// # Files
//
// The file of a path appears when the transport is opened, and Close removes it
// unless another has taken its place. A program that is killed leaves it behind.
// It is not replaced then, since somebody else may be using it: Open is
// EADDRINUSE until it is removed. Abstract names leave nothing behind; any
// process in the network namespace may send to them.
//
// Of the Config, Filter (which sees the payload), SendBuffer and Batch are
// honoured. The receive queue is not counted in bytes, so RecvBuffer is refused,
// like all that concerns interfaces.
package unix

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	sys "golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

func init() { transport.Register(network, open) }

const network = "unixgram"

// Options are the [transport.Config] Options of "unixgram".
type Options struct {
	// Local is the name to bind to, a path or "@" and an abstract name; "" is
	// none.
	Local string
	// Mode has the permission bits of the file of Local, of which the umask
	// still takes some away; who may write to it may send. 0 means 0777.
	Mode fs.FileMode
}

// Pair opens two transports, each of which is the other's peer (socketpair(2)).
// They have no names. The Config applies to both; it may be nil, and its Options
// must be.
func Pair(cfg *transport.Config) (a, b transport.Transport, err error) {
	if cfg == nil {
		cfg = &transport.Config{}
	}
	if cfg.Options != nil {
		return nil, nil, openError("", fmt.Errorf("Config.Options is a %T: want nil, as a pair has no names", cfg.Options))
	}
	if err := check(cfg); err != nil {
		return nil, nil, err
	}
	one, two, err := sock.Pair(spec(""), cfg)
	if err != nil {
		return nil, nil, err
	}
	if err = one.Start(cfg); err == nil {
		err = two.Start(cfg)
	}
	if err != nil {
		one.Close()
		two.Close()
		return nil, nil, err
	}
	return one, two, nil
}

func open(_, address string, cfg *transport.Config) (transport.Transport, error) {
	if cfg == nil {
		cfg = &transport.Config{}
	}
	var o Options
	switch options := cfg.Options.(type) {
	case nil:
	case Options:
		o = options
	default:
		return nil, openError(address, fmt.Errorf("Config.Options is a %T: want unix.Options", options))
	}
	if err := check(cfg); err != nil {
		return nil, err
	}
	for _, name := range []string{address, o.Local} {
		if err := checkName(name); err != nil {
			return nil, openError(name, err)
		}
	}
	if o.Mode&^fs.ModePerm != 0 {
		return nil, openError(o.Local, fmt.Errorf("Options.Mode is %v: want permission bits, 0600 for instance", o.Mode))
	}
	if o.Mode != 0 && !isPath(o.Local) {
		return nil, openError(o.Local, fmt.Errorf("Options.Mode is %v: only a path has permissions", o.Mode))
	}
	s, err := sock.Open(spec(address), cfg)
	if err != nil {
		return nil, err
	}
	// Nobody can send to a socket without a name, so nothing is lost before the
	// filter of the Config is in force.
	if err := s.Start(cfg); err != nil {
		s.Close()
		return nil, err
	}
	n := &named{Socket: s, peer: address}
	if o.Local != "" || address == "" {
		err = n.bind(o)
	}
	if err == nil && address != "" {
		err = n.connect("open")
		if errors.Is(err, sys.ENOENT) || errors.Is(err, sys.ECONNREFUSED) || errors.Is(err, sys.EPERM) {
			err = nil // it is not there yet, or has another peer still
		}
	}
	if err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func spec(peer string) sock.Spec {
	return sock.Spec{
		Network: network, Domain: sys.AF_UNIX, Type: sys.SOCK_DGRAM, Format: format{addr(peer)},
		Bare: true, Earlier: []sys.Errno{sys.ECONNRESET},
	}
}

// check reports what the kernel would accept and ignore.
func check(cfg *transport.Config) error {
	for _, c := range []struct {
		set  bool
		what string
	}{
		{cfg.RecvBuffer != 0, "Config.RecvBuffer: a UNIX domain socket has none, as what waits counts in the sender's SendBuffer"},
		{len(cfg.Files) > 0, "Config.Files: opening a UNIX domain socket takes no privileges"},
		{cfg.Interface != "", "Config.Interface: a UNIX domain socket uses no network interface"},
		{cfg.Mark != 0, "Config.Mark: a UNIX domain socket sends no packets that could be marked"},
		{cfg.Source.IsValid(), "Config.Source: a UNIX domain socket has no IP address"},
	} {
		if c.set {
			return openError("", errors.New(c.what))
		}
	}
	return nil
}

// isPath tells a path from an abstract name and from none.
func isPath(name string) bool { return name != "" && name[0] != '@' }

// checkName reports what a struct sockaddr_un cannot hold.
func checkName(name string) error {
	const longest = len(sys.RawSockaddrUnix{}.Path) - 1
	switch {
	case len(name) > longest:
		return fmt.Errorf("the name has %d bytes: want %d at the most; a relative path may be shorter", len(name), longest)
	case strings.ContainsRune(name, 0):
		return errors.New("the name has a zero byte: abstract names begin with @")
	case name == "@":
		return errors.New("the abstract name is empty: want @ and a name")
	}
	return nil
}

// format is for messages without addresses.
type format struct{ peer net.Addr }

func (format) Decode(*transport.Message, *sock.Packet) {}

func (format) Encode(m *transport.Message, _ *sock.Packet) error {
	if m.Peer.IsValid() {
		return fmt.Errorf("Message.Peer is %v: want the zero AddrPort, as the peer was fixed by Open", m.Peer)
	}
	return nil
}

func (f format) Addr(*transport.Message) net.Addr { return f.peer }

// addr is a name for an error, nil if it is empty.
func addr(name string) net.Addr {
	if name == "" {
		return nil
	}
	return &net.UnixAddr{Name: name, Net: network}
}

func openError(name string, err error) error {
	return &net.OpError{Op: "open", Net: network, Addr: addr(name), Err: err}
}

// explain adds what would be right to what bind(2) or connect(2) says.
func explain(err error) error {
	switch {
	case errors.Is(err, sys.EADDRINUSE):
		return fmt.Errorf("%w (if no program uses it any more, remove the file)", err)
	case errors.Is(err, sys.EACCES):
		return &transport.PermissionError{Err: err,
			Advice: "binding takes write permission for the folder, connecting for the socket's file"}
	case errors.Is(err, sys.EPERM):
		return &transport.PermissionError{Err: err, Advice: "the peer is connected to another socket; if that is gone, the peer finds out when it sends"}
	}
	return err
}

// bindError is about the name that the socket was to have.
func bindError(name, call string, err error) error {
	if err == nil {
		return nil
	}
	return openError(name, explain(os.NewSyscallError(call, err)))
}
