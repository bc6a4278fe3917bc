package sock

import (
	"fmt"
	"math"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
)

// Limits of the kernel.
const (
	maxBatch  = 1024              // UIO_MAXIOV: sendmmsg(2) moves no more in one call
	maxFilter = 4096              // BPF_MAXINSNS: longer programs are EINVAL
	maxBuffer = math.MaxInt32 / 2 // bytes; the kernel doubles them in an int
)

// Open creates a socket, or takes that of Config.Files, and applies what all sockets have in common: the
// batch size, the buffers, the interface and the mark of the Config, which may
// be nil. The socket receives nothing before Start.
func Open(spec Spec, cfg *transport.Config) (*Socket, error) {
	if cfg == nil {
		cfg = &transport.Config{}
	}
	if err := check(cfg); err != nil {
		return nil, opError("open", spec.Network, nil, err)
	}
	if len(cfg.Files) > 0 {
		fd, err := takeSocket(spec, cfg.Files)
		if err != nil {
			return nil, opError("open", spec.Network, nil, err)
		}
		return adopt(fd, spec, cfg)
	}
	fd, err := unix.Socket(spec.Domain, spec.Type|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, spec.Protocol)
	if err != nil {
		return nil, opError("open", spec.Network, nil,
			explain(os.NewSyscallError("socket", err), spec.Denied.Capability, spec.Denied.Advice))
	}
	return adopt(fd, spec, cfg)
}

// Pair is Open for two sockets that are connected to each other
// (socketpair(2)). Each receives nothing before its Start.
func Pair(spec Spec, cfg *transport.Config) (a, b *Socket, err error) {
	if cfg == nil {
		cfg = &transport.Config{}
	}
	if err := check(cfg); err != nil {
		return nil, nil, opError("open", spec.Network, nil, err)
	}
	fds, err := unix.Socketpair(spec.Domain, spec.Type|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, spec.Protocol)
	if err != nil {
		return nil, nil, opError("open", spec.Network, nil, os.NewSyscallError("socketpair", err))
	}
	if a, err = adopt(fds[0], spec, cfg); err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	if b, err = adopt(fds[1], spec, cfg); err != nil {
		a.Close()
		return nil, nil, err
	}
	return a, b, nil
}

// adopt makes a Socket of a descriptor, which it closes if it fails.
func adopt(fd int, spec Spec, cfg *transport.Config) (*Socket, error) {
	s := &Socket{network: spec.Network, domain: spec.Domain, format: spec.Format, bare: spec.Bare, headroom: spec.Headroom, earlier: spec.Earlier, adopted: len(cfg.Files) > 0}
	s.stamps.off, s.queue.off = errNoStamps, errNoReports
	s.fd.Store(int64(fd))
	if err := s.configure(cfg); err != nil {
		unix.Close(fd)
		return nil, err
	}
	size := defaultBatch
	if cfg.Batch > 0 {
		size = cfg.Batch
	}
	s.in.batch, s.out.batch = newBatch(size), newBatch(size)
	return s, nil
}

// check reports what no socket can honour.
func check(cfg *transport.Config) error {
	switch {
	case cfg.Batch < 0 || cfg.Batch > maxBatch:
		return fmt.Errorf("Config.Batch is %d: want 1 to %d, or 0 for %d", cfg.Batch, maxBatch, defaultBatch)
	case cfg.RecvBuffer < 0:
		return fmt.Errorf("Config.RecvBuffer is %d: want bytes, or 0 for the system's default", cfg.RecvBuffer)
	case cfg.RecvBuffer > maxBuffer:
		return fmt.Errorf("Config.RecvBuffer is %d: the kernel takes at most %d bytes", cfg.RecvBuffer, maxBuffer)
	case cfg.SendBuffer < 0:
		return fmt.Errorf("Config.SendBuffer is %d: want bytes, or 0 for the system's default", cfg.SendBuffer)
	case cfg.SendBuffer > maxBuffer:
		return fmt.Errorf("Config.SendBuffer is %d: the kernel takes at most %d bytes", cfg.SendBuffer, maxBuffer)
	case cfg.Queues < 0 || cfg.Queues > 1:
		return fmt.Errorf("Config.Queues is %d: a socket has one queue, want 0 or 1", cfg.Queues)
	case len(cfg.Interface) >= unix.IFNAMSIZ: // the kernel would cut it off
		return fmt.Errorf("Config.Interface is %q: an interface name has at most %d bytes", cfg.Interface, unix.IFNAMSIZ-1)
	case len(cfg.Files) > 1:
		return fmt.Errorf("Config.Files has %d descriptors: a socket is one", len(cfg.Files))
	case len(cfg.Filter) > maxFilter: // the length would wrap round in a uint16
		return fmt.Errorf("Config.Filter has %d instructions: the kernel takes at most %d", len(cfg.Filter), maxFilter)
	}
	return nil
}

func (s *Socket) configure(cfg *transport.Config) error {
	// First of all, so that as little as possible gets in.
	if err := s.attach([]bpf.RawInstruction{{Op: unix.BPF_RET | unix.BPF_K}}); err != nil {
		return err
	}
	if s.adopted {
		s.reset()
	}
	if cfg.RecvBuffer > 0 {
		if err := s.setBuffer("SO_RCVBUF", unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, cfg.RecvBuffer); err != nil {
			return err
		}
	}
	if cfg.SendBuffer > 0 {
		if err := s.setBuffer("SO_SNDBUF", unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, cfg.SendBuffer); err != nil {
			return err
		}
	}
	if cfg.Interface != "" && !s.boundTo(cfg.Interface) {
		err := setsockoptError("SO_BINDTODEVICE", unix.BindToDevice(s.FD(), cfg.Interface))
		if err != nil {
			return opError("open", s.network, nil, fmt.Errorf("interface %s: %w", cfg.Interface, err))
		}
	}
	if cfg.Mark != 0 && !s.is(unix.SOL_SOCKET, unix.SO_MARK, int(cfg.Mark)) {
		err := setsockoptError("SO_MARK", unix.SetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_MARK, int(cfg.Mark)))
		return opError("open", s.network, nil, explain(err, "CAP_NET_ADMIN", Grant("CAP_NET_ADMIN")))
	}
	return nil
}

// setBuffer sets the size past the system's limit where that is allowed.
func (s *Socket) setBuffer(name string, force, plain, size int) error {
	if s.is(unix.SOL_SOCKET, plain, 2*size) { // as the kernel has doubled it
		return nil // which keeps one past the limit as it is
	}
	if unix.SetsockoptInt(s.FD(), unix.SOL_SOCKET, force, size) == nil {
		return nil
	}
	return s.Set(name, unix.SOL_SOCKET, plain, size)
}

// Set sets an option of the kind int; the name is for the error. If an adopted
// socket has that value, a refusal does not matter.
func (s *Socket) Set(name string, level, option, value int) error {
	err := unix.SetsockoptInt(s.FD(), level, option, value)
	if err != nil && s.is(level, option, value) {
		return nil
	}
	return opError("open", s.network, nil, setsockoptError(name, err))
}

// SetBytes sets an option of another kind.
func (s *Socket) SetBytes(name string, level, option int, value []byte) error {
	return opError("open", s.network, nil, setsockoptError(name, unix.SetsockoptString(s.FD(), level, option, string(value))))
}

// Bind binds the socket to an address (bind(2)), unless it is [Socket.Bound].
func (s *Socket) Bind(addr unix.Sockaddr) error {
	err := unix.Bind(s.FD(), addr)
	if err != nil && s.Bound(addr) {
		return nil
	}
	return opError("open", s.network, nil, os.NewSyscallError("bind", err))
}

// Connect fixes the peer (connect(2)), also of a socket in use. The error is
// net.ErrClosed or that of the system call.
func (s *Socket) Connect(addr unix.Sockaddr) error {
	s.out.Lock()
	defer s.out.Unlock()
	fd := s.FD()
	if fd < 0 {
		return net.ErrClosed
	}
	return os.NewSyscallError("connect", unix.Connect(fd, addr))
}

// Start lets packets in: through the filter of the Config where it has one. It
// first throws away what arrived between socket(2) and the filter that Open put
// in its way, or before the socket was adopted. Nothing else may be set afterwards.
func (s *Socket) Start(cfg *transport.Config) error {
	for errs := 0; ; {
		_, _, err := unix.Recvfrom(s.FD(), nil, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			break
		}
		if err == nil || err == unix.EINTR {
			continue
		}
		// With error reports it may be that of another program's message, which
		// the error queue has as well. The socket's own never ends.
		if errs++; s.queue.off != nil || errs > queuePasses {
			return opError("open", s.network, nil, os.NewSyscallError("recvfrom", err))
		}
	}
	if s.adopted {
		n, err := s.Dropped()
		if err != nil {
			return err
		}
		s.dropped = n
	}
	if cfg != nil && len(cfg.Filter) > 0 {
		return s.attach(cfg.Filter)
	}
	return s.Set("SO_DETACH_FILTER", unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
}

// attach puts a filter in the place of the one that is there.
func (s *Socket) attach(filter []bpf.RawInstruction) error {
	program := make([]unix.SockFilter, len(filter))
	for i, ins := range filter {
		program[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	err := unix.SetsockoptSockFprog(s.FD(), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	return opError("open", s.network, nil, setsockoptError("SO_ATTACH_FILTER", err))
}

func setsockoptError(option string, err error) error {
	return os.NewSyscallError("setsockopt "+option, err)
}

// explain adds to a refusal which capability was missing and what can be done.
// Other errors, nil included, are returned as they are.
func explain(err error, capability, advice string) error {
	if e, ok := err.(*os.SyscallError); ok && (e.Err == syscall.EPERM || e.Err == syscall.EACCES) {
		return &transport.PermissionError{Capability: capability, Advice: advice, Err: err}
	}
	return err
}

// Grant says how this program gets a capability, "CAP_NET_RAW" for instance.
func Grant(capability string) string {
	program, err := os.Executable()
	if err != nil {
		program = "PROGRAM"
	}
	return fmt.Sprintf("grant it by `sudo setcap %s+ep %s`, or run as root", strings.ToLower(capability), quote(program))
}

// quote makes a path one word of a shell command.
func quote(path string) string {
	if strings.ContainsAny(path, " \t\n\"'\\$`&;()<>|*?[#~") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}
