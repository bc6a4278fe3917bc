// Package slip exchanges ICMP messages over a serial line.
//
// It is an example of a transport in a module of its own: nothing in iomux knows
// it. It frames packets as RFC 1055 does, which any serial line will carry: a
// cable between two machines, a radio, a pair of pseudo-terminals. Importing the
// package registers the network "slip". The address is the IPv4 address of this
// end and the terminal, joined by an @; "" means what the environment variable
// SLIP_LINE says.
//
//	t, err := transport.Open("slip", "192.0.2.1@/dev/ttyUSB0", nil)
//	if err != nil {
//		return err
//	}
//	defer t.Close()
//
// What is sent is an ICMP message, Bytes(), of up to 986 bytes. The transport puts
// an IPv4 header in front of it, to Peer, from Local or else from the address of
// this end, with TTL and TOS. Received is what carries an ICMP message and is
// intact as far as its header tells; Off is behind that header. Other packets are
// dropped, as a line has noise.
//
// The speed and the handshake are those that stty(1) has set; the rest of the
// terminal's settings is changed, and left so by Close. A line that hangs up is an
// error of every Recv and Send from then on.
//
// Nothing in a Config can be honoured, so all of it has to be zero.
package slip

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// A package that brings a transport registers it when it is imported.
func init() { transport.Register(network, open) }

const (
	network  = "slip"
	variable = "SLIP_LINE"
)

func open(_, address string, cfg *transport.Config) (transport.Transport, error) {
	if cfg != nil && !reflect.ValueOf(*cfg).IsZero() {
		return nil, opError("open", address, errors.New("a line honours no Config: want nil"))
	}
	if address == "" {
		if address = os.Getenv(variable); address == "" {
			return nil, opError("open", "", fmt.Errorf("no address and no %s in the environment: want 192.0.2.1@/dev/ttyUSB0 for instance", variable))
		}
	}
	host, terminal, _ := strings.Cut(address, "@")
	local, err := netip.ParseAddr(host)
	if err != nil || !local.Is4() || terminal == "" {
		return nil, opError("open", address, errors.New("want an IPv4 address and a terminal, 192.0.2.1@/dev/ttyUSB0 for instance"))
	}
	fd, err := openTerminal(terminal)
	if err != nil {
		return nil, opError("open", terminal, err)
	}
	l := &line{terminal: terminal, local: local}
	l.fd.Store(int64(fd))
	return l, nil
}

// openTerminal opens a terminal (termios(3)) that hands over whole frames: in
// canonical mode a read returns one line at the most, and the descriptor is
// readable when there is one. The kernel thus does what a transport over a stream
// of bytes would have to do itself: it never reads beyond a frame, so no message
// waits in the program while the descriptor is silent.
func openTerminal(name string) (fd int, err error) {
	fd, err = unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrPermission) {
		return -1, &transport.PermissionError{Err: os.NewSyscallError("open", err),
			Advice: "it takes permission to read and write the terminal, which the members of its group have: `ls -l " + name + "` tells it"}
	}
	if err != nil {
		return -1, os.NewSyscallError("open", err)
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err == nil {
		t.Iflag, t.Oflag, t.Lflag = 0, 0, unix.ICANON
		t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8 | unix.CREAD | unix.CLOCAL
		t.Cc = [len(t.Cc)]uint8{unix.VEOL: end} // 0 is no character at all
		err = unix.IoctlSetTermios(fd, unix.TCSETS, t)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("%w (is it a terminal?)", os.NewSyscallError("ioctl", err))
	}
	return fd, nil
}

// terminal is the name of one, as the address in an error.
type terminal string

func (terminal) Network() string  { return network }
func (t terminal) String() string { return string(t) }

// opError makes every error of this package.
func opError(op, name string, err error) error {
	return &net.OpError{Op: op, Net: network, Addr: terminal(name), Err: err}
}
