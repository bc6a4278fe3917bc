package packet_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/packet"
)

func TestConfigReachesTheSocket(t *testing.T) {
	newCable(t)
	option := func(tr transport.Transport, name int) int {
		v, err := unix.GetsockoptInt(tr.FD(), unix.SOL_SOCKET, name)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, network := range networks {
		tr := open(t, network, "near", &transport.Config{RecvBuffer: 10_000, SendBuffer: 20_000, Batch: 1024, Queues: 1, Mark: 7})
		if got := option(tr, unix.SO_RCVBUF); got != 2*10_000 { // socket(7): the kernel doubles it
			t.Errorf("%s: SO_RCVBUF is %d, want 20000", network, got)
		}
		if got := option(tr, unix.SO_SNDBUF); got != 2*20_000 {
			t.Errorf("%s: SO_SNDBUF is %d, want 40000", network, got)
		}
		if got := option(tr, unix.SO_MARK); got != 7 {
			t.Errorf("%s: SO_MARK is %d, want 7", network, got)
		}
		if tr.BatchSize() != 1024 {
			t.Errorf("%s: BatchSize() = %d, want 1024", network, tr.BatchSize())
		}
	}
}

func TestOpenRefusesWhatItCannotHonour(t *testing.T) {
	newCable(t)
	both := func(address string, cfg transport.Config, want string) {
		t.Helper()
		for _, network := range networks {
			refused(t, network, address, cfg, want)
		}
	}
	options := func(o packet.Options) transport.Config { return transport.Config{Options: o} }
	both("nosuch", transport.Config{}, "interface nosuch: ioctl SIOCGIFINDEX: no such device")
	both("0123456789abcdef", transport.Config{}, "interface 0123456789abcdef: invalid argument (a name has at most 15 bytes)")
	both("near", transport.Config{Batch: -1}, "Config.Batch is -1: want 1 to 1024, or 0 for 64")
	both("near", transport.Config{Queues: 2}, "Config.Queues is 2: a socket has one queue, want 0 or 1")
	both("near", transport.Config{Interface: "near"}, `Config.Interface is "near": want the interface as the address`)
	both("near", transport.Config{Source: netip.IPv6Loopback()}, "Config.Source: a packet socket has no IP address")
	both("near", transport.Config{Options: &packet.Options{}}, "Config.Options is a *packet.Options: want packet.Options")
	both("near", transport.Config{Filter: []bpf.RawInstruction{{Op: 0xffff}}}, "setsockopt SO_ATTACH_FILTER: invalid argument")
	both("near", transport.Config{Filter: make([]bpf.RawInstruction, 4093), Options: packet.Options{EtherType: ipv4}},
		"Config.Filter has 4093 instructions: with Options.EtherType, want 4092 at the most")
	both("", options(packet.Options{Promiscuous: true}), "Options.Promiscuous: want an interface as the address")
	both("near", options(packet.Options{Fanout: packet.Fanout{Mode: 7}}), "Options.Fanout.Mode is 7: want packet.Hash to packet.QM, or 0 for no fan-out")
	both("near", options(packet.Options{Fanout: packet.Fanout{Group: 3}}), "Options.Fanout.Mode is 0: want packet.Hash to packet.QM for group 3")

	if err := setLink(false); err != nil {
		t.Fatal(err)
	}
	both("near", transport.Config{}, "interface near: network is down (want it up: `ip link set near up`)")
}

// refused checks the error, and that no descriptor is left of the attempt.
func refused(t *testing.T, network, address string, cfg transport.Config, want string) {
	t.Helper()
	before := descriptors(t)
	tr, err := transport.Open(network, address, &cfg)
	if tr != nil || err == nil {
		t.Fatalf("%s %q: Open = %T, %v, want an error: %s", network, address, tr, err, want)
	}
	if op, ok := err.(*net.OpError); !ok || op.Op != "open" || op.Net != network {
		t.Errorf("the error is %T %v, want a *net.OpError with Op open and Net %s", err, err, network)
	}
	if got := err.Error(); got != "open "+network+": "+want {
		t.Errorf("got  %s\nwant open %s: %s", got, network, want)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%s: %d descriptors are open, %d before", err, after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// A TUN device carries IP packets without a header.
func TestInterfaceWithoutEthernetHeader(t *testing.T) {
	newCable(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "level3"
	tun := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TUN, NonPersist: true, Queues: 1}
	if err := netlink.LinkAdd(tun); errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
		t.Skipf("a TUN device takes /dev/net/tun: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, f := range tun.Fds {
			f.Close()
		}
	}()
	if err := netlink.LinkSetUp(tun); err != nil {
		t.Fatal(err)
	}
	refused(t, "packet:raw", "level3", transport.Config{}, `interface level3: it has no Ethernet header, but hardware type 65534: use the network "packet"`)
	tr := open(t, "packet", "level3", only(ipv4))
	sent := append([]byte{0x45}, pattern(1, 40)...)
	send(t, tr, message(sent)) // it has no hardware addresses either
	got := make([]byte, 100)
	for { // the kernel sends as well
		n, err := tun.Fds[0].Read(got)
		if err != nil {
			t.Fatal(err)
		}
		if n >= len(sent) && string(got[n-len(sent):n]) == string(sent) {
			break
		}
	}
}

// The loopback interface has frames, and needs no address.
func TestLoopback(t *testing.T) {
	newCable(t)
	for _, network := range networks {
		tr := open(t, network, "lo", only(experiment))
		m := message([]byte("hello"))
		if network == "packet:raw" {
			m = message(frame([6]byte{}, [6]byte{}, experiment, []byte("hello")...))
		}
		send(t, tr, m)
		if got := recv(t, tr, 1)[0]; !strings.HasSuffix(string(got.Bytes()), "hello") {
			t.Errorf("%s: received % x", network, got.Bytes())
		}
	}
}
