// Package tun answers and sends whole IP packets through a TUN device.
//
// A TUN device is a network interface whose other end is a program: what the
// kernel routes to it is received, and what is sent appears to the kernel as if
// it had come by a cable. It is for programs that are a network of their own: a
// responder for a prefix of any size, a tunnel, a simulated path. Importing the
// package registers the network "tun". The address is the name of the device; in
// "", which means "tun%d", and in any name with a %d the kernel puts a number.
//
//	t, err := transport.Open("tun", "", &transport.Config{Options: tun.Options{
//		Addrs:  []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")},   // of the kernel
//		Routes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, // ours to answer
//	}})
//	if err != nil {
//		return err
//	}
//	defer t.Close() // removes the device
//	ms := []transport.Message{{Buf: make([]byte, 1500)}}
//	n, err := t.Recv(ms) // 0, nil until t.FD() is readable
//	for i := range ms[:n] {
//		packet := ms[i].Bytes() // from the IP header on
//		fmt.Println(packet[0]>>4, len(packet))
//	}
//
// The payload is an IPv4 or IPv6 packet ([transport.IPPacket]). Nothing in it is
// filled in, and Send looks at its version and length only: what is wrong
// otherwise the kernel drops in silence. Of the other fields of a Message Flags
// alone is used, and Peer has to be the zero AddrPort, as the packet's header says
// where it goes. Where IPv6 is on, the router solicitations and multicast reports
// that the kernel sends on every interface are received as well.
//
// There are no batch calls for this descriptor: a packet costs one read(2) or
// one write(2), and one more read(2) finds that there are no more. Send never
// blocks, as the kernel takes each packet at once or refuses it. When a queue holds
// Options.QueueLen packets the kernel drops what comes, and counts it: see
// [transport.DropCounter].
//
// # Queues
//
// With Config.Queues of 2 or more the device has so many descriptors (multi-queue,
// Linux 3.8), each of which is a transport and can be watched by another goroutine.
// The kernel receives a flow on the queue on which its packets were last sent, and
// otherwise chooses by a hash of addresses and ports. Open returns the first
// queue; [Device] has them all.
//
// # Down, and gone
//
// While the device is down Send fails with EIO, nothing is received, and the
// descriptor is not ready. It loses its Options.Routes and its IPv6 addresses then,
// and does not have them when it is up again. [Device.Up] brings them back: call it
// when rtnetlink(7) reports the change, or when Send has failed.
//
// A device that somebody deletes is gone for good: from then on every Recv and
// every Send is EBADFD and the descriptor is ready at all times. Remove it from
// the Mux and close the transport.
//
// # Privileges
//
// Opening needs CAP_NET_ADMIN over the network namespace and write permission for
// /dev/net/tun. An ordinary user can open a device that an administrator has made,
// by `ip tuntap add dev NAME mode tun user USER`, with the addresses and routes
// that it has been given; Close leaves such a device where it is.
//
// Neither is needed for queues that another process has opened and hands over as
// Config.Files (with IFF_NO_PI), in the network namespace of the device: what of the Options is as
// it should be already is left alone. [Device.Up] does need CAP_NET_ADMIN to bring
// back what is missing.
//
// Of the Config, Batch, Queues and Files are honoured. The others are refused, as a
// device has no socket: the kernel filters no packets for it, for instance.
package tun

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

func init() { transport.Register(network, open) }

const network = "tun"

// Options are the [transport.Config] Options of "tun".
type Options struct {
	// Addrs are the kernel's own addresses on the device, which the kernel itself
	// answers. The rest of each prefix is routed to the device, but for the last
	// address of an IPv4 prefix: that is its broadcast address.
	Addrs []netip.Prefix
	// Routes are further prefixes to be routed to the device, all of their
	// addresses. If the same prefix is routed elsewhere already, Open is
	// fs.ErrExist.
	Routes []netip.Prefix
	// MTU is the length of the longest packet that is received, in bytes, 68 to
	// 65,535 and for IPv6 at least 1,280; 0 leaves it at 1,500.
	MTU int
	// QueueLen is the number of packets that each queue holds for Recv
	// (txqueuelen in ip-link(8)); 0 leaves it at 500.
	QueueLen int
}

// Limits.
const (
	defaultBatch = 64
	maxBatch     = 1024 // as of the other transports
	maxQueues    = 256  // MAX_TAP_QUEUES in drivers/net/tun.c
	minMTU       = 68   // RFC 791, 3.2
	maxMTU       = 65535
)

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
		return nil, opError("open", address, fmt.Errorf("Config.Options is a %T: want tun.Options", options))
	}
	if err := check(address, cfg, &o); err != nil {
		return nil, opError("open", address, err)
	}
	d, err := openDevice(address, cfg, o)
	if err != nil {
		return nil, opError("open", address, err)
	}
	return d, nil
}

// check reports what cannot be honoured.
func check(name string, cfg *transport.Config, o *Options) error {
	switch {
	case len(name) >= unix.IFNAMSIZ:
		return fmt.Errorf("the name has %d bytes: an interface name has at most %d", len(name), unix.IFNAMSIZ-1)
	case cfg.Batch < 0 || cfg.Batch > maxBatch:
		return fmt.Errorf("Config.Batch is %d: want 1 to %d, or 0 for %d", cfg.Batch, maxBatch, defaultBatch)
	case cfg.Queues < 0 || cfg.Queues > maxQueues:
		return fmt.Errorf("Config.Queues is %d: want 1 to %d, or 0 for 1", cfg.Queues, maxQueues)
	case len(cfg.Files) > 0 && cfg.Queues != 0 && cfg.Queues != len(cfg.Files):
		return fmt.Errorf("Config.Files has %d descriptors and Config.Queues is %d: want one for each queue", len(cfg.Files), cfg.Queues)
	case len(cfg.Files) > maxQueues:
		return fmt.Errorf("Config.Files has %d descriptors: want 1 to %d", len(cfg.Files), maxQueues)
	case len(cfg.Filter) > 0:
		return errors.New("Config.Filter: the kernel has no packet filter for TUN devices; route less to it")
	case cfg.RecvBuffer != 0:
		return errors.New("Config.RecvBuffer: a TUN device counts packets, want Options.QueueLen")
	case cfg.SendBuffer != 0:
		return errors.New("Config.SendBuffer: the kernel takes each packet at once")
	case cfg.Interface != "":
		return errors.New("Config.Interface: the address names the device")
	case cfg.Mark != 0:
		return errors.New("Config.Mark: packets from a TUN device are received ones, which have no mark")
	case cfg.Source.IsValid():
		return errors.New("Config.Source: the packet's header has the source address")
	case o.MTU != 0 && (o.MTU < minMTU || o.MTU > maxMTU):
		return fmt.Errorf("Options.MTU is %d: want %d to %d bytes, or 0 for the kernel's choice", o.MTU, minMTU, maxMTU)
	case o.QueueLen < 0:
		return fmt.Errorf("Options.QueueLen is %d: want a number of packets, or 0 for the kernel's choice", o.QueueLen)
	}
	for _, p := range o.Addrs {
		if !p.IsValid() || p.Addr().Is4In6() {
			return fmt.Errorf("Options.Addrs has %v: want an IPv4 or IPv6 address and its prefix length, 192.0.2.1/32 for instance", p)
		}
	}
	for _, p := range o.Routes {
		if !p.IsValid() || p.Addr().Is4In6() || p != p.Masked() {
			return fmt.Errorf("Options.Routes has %v: want an IPv4 or IPv6 prefix with no bits set behind it, 198.51.100.0/24 for instance", p)
		}
	}
	return nil
}
