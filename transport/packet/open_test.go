package packet_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/packet"
	_ "iomux/transport/tun"
)

func TestConfigReachesTheSocket(t *testing.T) {
	wiretest.NewCable(t)
	cfg := &transport.Config{RecvBuffer: 10_000, SendBuffer: 20_000, Batch: 1024, Queues: 1, Mark: 7}
	for _, network := range networks {
		wiretest.Honours(t, wiretest.Open(t, network, "near", cfg), cfg)
	}
}

func TestOpenRefusesWhatItCannotHonour(t *testing.T) {
	c := wiretest.NewCable(t)
	both := func(address string, cfg transport.Config, want string) {
		t.Helper()
		for _, network := range networks {
			wiretest.Refused(t, network, address, cfg, want)
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

	if err := c.SetLink(false); err != nil {
		t.Fatal(err)
	}
	both("near", transport.Config{}, "interface near: network is down (want it up: `ip link set near up`)")
}

// A TUN device carries IP packets without a header, and has no addresses either.
func TestInterfaceWithoutEthernetHeader(t *testing.T) {
	wiretest.NeedTUN(t)
	device := wiretest.Open(t, "tun", "level3", nil)
	wiretest.Refused(t, "packet:raw", "level3", transport.Config{}, `interface level3: it has no Ethernet header, but hardware type 65534: use the network "packet"`)
	tr, sent := wiretest.Open(t, "packet", "level3", only(ipv4)), append([]byte{0x45}, wiretest.Pattern(1, 40)...)
	wiretest.Send(t, tr, wiretest.Message(sent))
	for { // the kernel sends as well
		if got := wiretest.Recv(t, device, 1)[0]; bytes.Equal(got.Bytes(), sent) {
			return
		}
	}
}

// The kernel takes what stands in Addr for an address, whatever its length, and
// says that the message was sent. A loopback interface needs none.
func TestEthernetTakesAnAddress(t *testing.T) {
	c := wiretest.NewCable(t)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	far := openFar(t, c, "packet")
	for _, address := range []string{"", "near", "lo"} {
		tr, here := wiretest.Open(t, "packet", address, only(experiment)), wiretest.Open(t, "packet", "lo", only(experiment))
		to := func(ifindex int, length uint8) transport.Message {
			m := experimental("packet", c.Far, c.Near, []byte("hello"))
			m.Ifindex, m.Link.Len = ifindex, length
			return m
		}
		refused := func(m transport.Message, want string) {
			t.Helper()
			if n, err := tr.Send([]transport.Message{m}); n != 0 || err == nil || !strings.HasSuffix(err.Error(), ": "+want) {
				t.Errorf("%q: got  %d, %v\nwant %s", address, n, err, want)
			}
		}
		for _, length := range []uint8{0, 5, 7} {
			refused(to(c.Near.Index, length), fmt.Sprintf("Message.Link.Len is %d: want 6 and a hardware address, as interface %d is an Ethernet", length, c.Near.Index))
			wiretest.Send(t, tr, to(lo.Index, length), to(c.Near.Index, 6), to(lo.Index, length))
			wiretest.Recv(t, here, 2)
			wiretest.RecvNone(t, here)
			if got := wiretest.Recv(t, far, 1)[0]; got.Link.Type != unix.PACKET_HOST {
				t.Errorf("%q: received what was for somebody else: %+v", address, got.Link)
			}
			wiretest.RecvNone(t, far)
			refused(to(1<<20, length), "sendmmsg: no such device or address (Message.Ifindex is 1048576: there is no such interface)")
		}
	}
}

// The loopback interface has frames, and needs no address.
func TestLoopback(t *testing.T) {
	wiretest.NewCable(t)
	for _, network := range networks {
		tr := wiretest.Open(t, network, "lo", only(experiment))
		m := wiretest.Message([]byte("hello"))
		if network == "packet:raw" {
			m = wiretest.Message(frame([6]byte{}, [6]byte{}, experiment, []byte("hello")...))
		}
		wiretest.Send(t, tr, m)
		if got := wiretest.Recv(t, tr, 1)[0]; !strings.HasSuffix(string(got.Bytes()), "hello") {
			t.Errorf("%s: received % x", network, got.Bytes())
		}
	}
}
