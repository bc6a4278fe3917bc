package unix

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	sys "golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

// named is a socket with a name, or whose peer has one.
type named struct {
	*sock.Socket
	peer string // "" if there is none
	file string // the absolute path that it was bound to, "" if none
	info fs.FileInfo
}

// bind gives the socket its name.
func (n *named) bind(o Options) error {
	if o.Mode != 0 { // the file has it from the first
		if err := sys.Fchmod(n.FD(), uint32(o.Mode)); err != nil {
			return bindError(o.Local, "fchmod", err)
		}
	}
	if err := sys.Bind(n.FD(), &sys.SockaddrUnix{Name: o.Local}); err != nil || !isPath(o.Local) {
		return bindError(o.Local, "bind", err)
	}
	file, err := filepath.Abs(o.Local)
	if err == nil {
		n.info, err = os.Lstat(file)
	}
	if err != nil {
		return openError(o.Local, err)
	}
	n.file = file
	return nil
}

// connect connects to the peer.
func (n *named) connect(op string) error {
	err := n.Connect(&sys.SockaddrUnix{Name: n.peer})
	if err == nil || errors.Is(err, net.ErrClosed) {
		return err
	}
	return &net.OpError{Op: op, Net: network, Addr: addr(n.peer), Err: explain(err)}
}

// Send connects first if the peer was not there, or has come back.
func (n *named) Send(ms []transport.Message) (int, error) {
	sent, err := n.Socket.Send(ms)
	gone := errors.Is(err, sys.ENOTCONN) || errors.Is(err, sys.ECONNREFUSED)
	if !gone || n.peer == "" {
		return sent, err
	}
	if err := n.connect("write"); err != nil {
		return 0, err
	}
	return n.Socket.Send(ms)
}

// Close also removes the file that the socket was bound to.
func (n *named) Close() error {
	err := n.Socket.Close()
	if err != nil || n.file == "" {
		return err
	}
	if now, err := os.Lstat(n.file); err != nil || !os.SameFile(now, n.info) {
		return nil // somebody removed it, or put another in its place
	}
	if err := os.Remove(n.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &net.OpError{Op: "close", Net: network, Addr: addr(n.file), Err: err}
	}
	return nil
}
