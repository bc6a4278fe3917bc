package packet

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

// fanoutModes are the kernel's numbers.
var fanoutModes = map[FanoutMode]int{
	Hash: unix.PACKET_FANOUT_HASH, LB: unix.PACKET_FANOUT_LB, CPU: unix.PACKET_FANOUT_CPU,
	Rollover: unix.PACKET_FANOUT_ROLLOVER, Random: unix.PACKET_FANOUT_RND, QM: unix.PACKET_FANOUT_QM,
}

// open opens socket(AF_PACKET, SOCK_DGRAM or SOCK_RAW, 0), to which nothing is
// delivered before it is bound.
func open(network, address string, cfg *transport.Config) (transport.Transport, error) {
	if cfg == nil {
		cfg = &transport.Config{}
	}
	o, err := check(address, cfg)
	if err != nil {
		return nil, openError(network, err)
	}
	c := &conn{format: format{framed: network == "packet:raw", etherType: o.EtherType}}
	kind := unix.SOCK_DGRAM
	if c.format.framed {
		kind = unix.SOCK_RAW
	}
	c.Socket, err = sock.Open(sock.Spec{
		Network: network, Domain: unix.AF_PACKET, Type: kind, Format: &c.format,
		Headroom: sock.TagSize, Earlier: []unix.Errno{unix.ENETDOWN},
		Denied: transport.PermissionError{Capability: "CAP_NET_RAW", Advice: sock.Grant("CAP_NET_RAW")},
	}, cfg)
	if err != nil {
		return nil, err
	}
	c.format.fd = c.FD()
	if err := c.start(network, address, o, cfg); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// check reads the Options, and reports what packet sockets cannot honour.
func check(address string, cfg *transport.Config) (o Options, err error) {
	switch options := cfg.Options.(type) {
	case nil:
	case Options:
		o = options
	default:
		return o, fmt.Errorf("Config.Options is a %T: want packet.Options", options)
	}
	switch {
	case cfg.Interface != "":
		return o, fmt.Errorf("Config.Interface is %q: want the interface as the address", cfg.Interface)
	case cfg.Source.IsValid():
		return o, errors.New("Config.Source: a packet socket has no IP address")
	case o.Promiscuous && address == "":
		return o, errors.New("Options.Promiscuous: want an interface as the address")
	case o.EtherType != 0 && len(cfg.Filter) > maxFilter:
		return o, fmt.Errorf("Config.Filter has %d instructions: with Options.EtherType, want %d at the most", len(cfg.Filter), maxFilter)
	case o.Fanout.Mode > QM:
		return o, fmt.Errorf("Options.Fanout.Mode is %d: want packet.Hash to packet.QM, or 0 for no fan-out", o.Fanout.Mode)
	case o.Fanout.Mode == 0 && o.Fanout.Group != 0:
		return o, fmt.Errorf("Options.Fanout.Mode is 0: want packet.Hash to packet.QM for group %d", o.Fanout.Group)
	}
	return o, nil
}

// start binds the socket to the interface and, at the end, lets packets in.
func (c *conn) start(network, address string, o Options, cfg *transport.Config) error {
	link := func(err error) error {
		return openError(network, fmt.Errorf("interface %s: %w", address, err))
	}
	if address != "" {
		index, err := c.index(address)
		if err != nil {
			return link(err)
		}
		c.format.ifindex = index
	}
	if err := c.Set("PACKET_AUXDATA", unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return err
	}
	if !o.Outgoing {
		if err := c.Set("PACKET_IGNORE_OUTGOING", unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return err
		}
	}
	if err := c.SetReceiveTime(); err != nil {
		return err
	}
	if o.Promiscuous {
		if err := unix.SetsockoptPacketMreq(c.FD(), unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(c.format.ifindex), Type: unix.PACKET_MR_PROMISC}); err != nil {
			return link(os.NewSyscallError("setsockopt PACKET_ADD_MEMBERSHIP", err))
		}
	}
	if err := c.bind(); err != nil {
		return link(err)
	}
	if err := c.join(o); err != nil {
		return openError(network, err)
	}
	filter, err := c.format.filter(cfg.Filter)
	if err != nil {
		return openError(network, err)
	}
	err = c.Start(&transport.Config{Filter: filter})
	if errors.Is(err, unix.ENETDOWN) { // which bind(2) leaves to the first call after it
		return link(fmt.Errorf("%w (want it up: `ip link set %s up`)", unix.ENETDOWN, address))
	}
	return err
}

// index is the number of an interface.
func (c *conn) index(name string) (int, error) {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("%w (a name has at most %d bytes)", err, unix.IFNAMSIZ-1)
	}
	if err := unix.IoctlIfreq(c.FD(), unix.SIOCGIFINDEX, r); err != nil {
		return 0, os.NewSyscallError("ioctl SIOCGIFINDEX", err)
	}
	return int(r.Uint32()), nil
}

// bind has the kernel deliver packets, to the filter that keeps them out. It is
// for every protocol: where packets are sorted by EtherType, the kernel has
// already thrown away the tags of VLANs without an interface.
func (c *conn) bind() error {
	to := &unix.SockaddrLinklayer{Protocol: sock.NetworkOrder(unix.ETH_P_ALL), Ifindex: c.format.ifindex}
	if err := unix.Bind(c.FD(), to); err != nil && !c.Bound(to) {
		return os.NewSyscallError("bind", err)
	}
	name, err := unix.Getsockname(c.FD())
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	hardware := name.(*unix.SockaddrLinklayer).Hatype
	if c.format.framed && c.format.ifindex != 0 && hardware != unix.ARPHRD_ETHER && hardware != unix.ARPHRD_LOOPBACK {
		return fmt.Errorf(`it has no Ethernet header, but hardware type %d: use the network "packet"`, hardware)
	}
	return nil
}

// join makes the socket one of its group.
func (c *conn) join(o Options) error {
	if o.Fanout.Mode == 0 {
		return nil
	}
	kind := fanoutModes[o.Fanout.Mode]
	if !o.Outgoing { // the group has a setting of its own
		kind |= unix.PACKET_FANOUT_FLAG_IGNORE_OUTGOING
	}
	if err := c.Set("PACKET_FANOUT", unix.SOL_PACKET, unix.PACKET_FANOUT, int(o.Fanout.Group)|kind<<16); err != nil {
		return fmt.Errorf("fan-out group %d, mode %v: %w (all of a group have the same address, Outgoing and Mode)",
			o.Fanout.Group, o.Fanout.Mode, errors.Unwrap(err))
	}
	return nil
}

// maxFilter leaves room for what filter puts in front of a program: the kernel
// takes 4096 instructions (BPF_MAXINSNS).
const maxFilter = 4096 - 4

// filter is the program given, for packets with the EtherType.
func (f *format) filter(program []bpf.RawInstruction) ([]bpf.RawInstruction, error) {
	if f.etherType == 0 {
		return program, nil
	}
	sorted, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtProto},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(f.etherType), SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadConstant{Dst: bpf.RegA, Val: 0}, // as at the start of a program
	})
	if err != nil {
		return nil, err
	}
	if len(program) == 0 {
		program = []bpf.RawInstruction{{Op: unix.BPF_RET | unix.BPF_K, K: math.MaxUint32}}
	}
	return append(sorted, program...), nil
}

func openError(network string, err error) error {
	return &net.OpError{Op: "open", Net: network, Err: err}
}
