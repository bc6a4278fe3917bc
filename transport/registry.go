package transport

import (
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/bpf"
)

// Config adjusts a transport when it is opened. A nil *Config, and the zero
// value of each field, mean the defaults. A transport reports a field that it
// cannot honour as an error rather than ignoring it.
type Config struct {
	// Filter is a classic BPF program that the kernel runs on each packet
	// (bpf.Assemble in golang.org/x/net/bpf). It is in force before the first
	// message is received.
	Filter []bpf.RawInstruction
	// RecvBuffer and SendBuffer are the kernel's buffer sizes in bytes, as
	// SO_RCVBUF and SO_SNDBUF in socket(7); cut to the system's limit
	// (net.core.rmem_max, wmem_max) without CAP_NET_ADMIN.
	RecvBuffer, SendBuffer int
	// Batch is the number of messages that one Recv or Send moves at the most.
	Batch int
	// Queues is the number of queues of a multi-queue device.
	Queues int
	// Interface names the network interface to stay on (SO_BINDTODEVICE).
	Interface string
	// Mark is the firewall mark of what is sent (SO_MARK); it needs
	// CAP_NET_ADMIN.
	Mark uint32
	// Source is the source address of messages that do not name one.
	Source netip.Addr
	// Files are open descriptors to use in place of opening any, as a process with
	// more privileges hands them over (see [Files]): one, or for a device one per
	// queue. Open takes them in any case: it closes them, and the transport works on
	// duplicates. They are set up like new ones, from the rest of the Config; what
	// is already as it should be needs no privilege. One of another kind is an
	// error. A transport that has no use for them refuses them.
	Files []*os.File
	// Options is the transport's own type; one it does not know is an error.
	Options any
}

// OpenFunc opens a transport. The network is the name it was registered under,
// the address is what the network makes of it, "" is always allowed and means
// its default. The Config may be nil. Of its Files an OpenFunc keeps duplicates
// (F_DUPFD_CLOEXEC in fcntl(2)), as Open closes them.
type OpenFunc func(network, address string, cfg *Config) (Transport, error)

var registry = struct {
	sync.Mutex
	open map[string]OpenFunc
}{open: map[string]OpenFunc{}}

// Register makes a transport available to Open under a network name. It is
// meant for init functions: an empty name, a nil function and a name that is
// taken are panics.
func Register(network string, open OpenFunc) {
	registry.Lock()
	defer registry.Unlock()
	switch {
	case network == "":
		panic("transport: Register of a network without a name")
	case open == nil:
		panic("transport: Register of network " + network + " without an OpenFunc")
	case registry.open[network] != nil:
		panic("transport: Register of network " + network + " twice")
	}
	registry.open[network] = open
}

// Networks returns the registered names in alphabetical order.
func Networks() []string {
	registry.Lock()
	defer registry.Unlock()
	return slices.Sorted(maps.Keys(registry.open))
}

// Open opens the transport that is registered for the network. An unknown
// network is fs.ErrNotExist, and the error lists the known ones. Files of the
// Config are closed when it returns, also with an error.
func Open(network, address string, cfg *Config) (Transport, error) {
	if cfg != nil {
		defer closeAll(cfg.Files)
	}
	registry.Lock()
	open := registry.open[network]
	registry.Unlock()
	if open == nil {
		known := "none: import a transport, _ \"iomux/transport/icmp\" for instance"
		if names := Networks(); len(names) > 0 {
			known = strings.Join(names, ", ")
		}
		return nil, &net.OpError{Op: "open", Net: network,
			Err: fmt.Errorf("unknown network: %w (known: %s)", fs.ErrNotExist, known)}
	}
	return open(network, address, cfg)
}
