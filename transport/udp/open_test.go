package udp_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/transporttest"
	"iomux/transport/udp"
)

func TestAddressIsWhereToListen(t *testing.T) {
	for _, c := range []struct{ network, address, want string }{
		{"udp4", "", "0.0.0.0"},
		{"udp4", ":0", "0.0.0.0"},
		{"udp4", "127.0.0.5:0", "127.0.0.5"},
		{"udp6", "", "::"},
		{"udp6", "[::1]:0", "::1"},
		{"udp", "", "::"},
		{"udp", ":0", "::"},
		{"udp", "127.0.0.5:0", "127.0.0.5"},
		{"udp", "[::1]:0", "::1"},
	} {
		got := open(t, c.network, c.address, nil).LocalAddr()
		if got.Addr().String() != c.want || got.Port() == 0 {
			t.Errorf("%s %q listens on %v, want %s and a port", c.network, c.address, got, c.want)
		}
		again := netip.AddrPortFrom(got.Addr(), got.Port()).String()
		_, err := transport.Open(c.network, again, nil)
		if want := "open " + c.network + " " + again + ": bind: address already in use"; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestConfigReachesTheSocket(t *testing.T) {
	wiretest.Lab(t) // where a mark is allowed
	for _, network := range networks {
		cfg := &transport.Config{RecvBuffer: 10_000, SendBuffer: 20_000, Batch: 1024, Queues: 1, Mark: 7, Interface: "lo"}
		wiretest.Honours(t, wiretest.Open(t, network, "", cfg), cfg)
	}
}

func TestOpenRefusesWhatItCannotHonour(t *testing.T) {
	for network, want := range map[string]string{
		"udp4": `want an IPv4 address and a port to listen on, "192.0.2.1:7" for instance, ":7" for every address, or ""`,
		"udp6": `want an IPv6 address and a port to listen on, "[2001:db8::1]:7" for instance, ":7" for every address, or ""`,
		"udp":  `want an IP address and a port to listen on, "192.0.2.1:7" for instance, ":7" for every address, or ""`,
	} {
		wrong := []string{"7", "localhost:7", "192.0.2.1", ":http", ":65536", ":-1", "[::ffff:127.0.0.1]:7", "::1:7", " ", ":"}
		if network == "udp4" {
			wrong = append(wrong, "[::1]:7")
		}
		if network == "udp6" {
			wrong = append(wrong, "127.0.0.1:7")
		}
		for _, address := range wrong {
			wiretest.Refused(t, network, address, transport.Config{}, "address "+address+": "+want)
		}
		wiretest.Refused(t, network, "", transport.Config{Batch: -1}, "Config.Batch is -1: want 1 to 1024, or 0 for 64")
		wiretest.Refused(t, network, "", transport.Config{Queues: 2}, "Config.Queues is 2: a socket has one queue, want 0 or 1")
		wiretest.Refused(t, network, "", transport.Config{Options: &udp.Options{}}, "Config.Options is a *udp.Options: want udp.Options")
		wiretest.Refused(t, network, "", transport.Config{Options: 8}, "Config.Options is a int: want udp.Options")
		wiretest.Refused(t, network, "", transport.Config{Filter: []bpf.RawInstruction{{Op: 0xffff}}}, "setsockopt SO_ATTACH_FILTER: invalid argument")
	}
	wiretest.Refused(t, "udp4", "198.51.100.1:7", transport.Config{}, "198.51.100.1:7: bind: cannot assign requested address")
	wiretest.Refused(t, "udp4", "", transport.Config{Source: netip.IPv6Loopback()}, "address ::1: Config.Source is not an IPv4 address without a zone")
	wiretest.Refused(t, "udp6", "", transport.Config{Source: netip.MustParseAddr("127.0.0.1")}, "address 127.0.0.1: Config.Source is not an IPv6 address without a zone")
	wiretest.Refused(t, "udp6", "", transport.Config{Source: netip.MustParseAddr("fe80::1%lo")}, "address fe80::1%lo: Config.Source is not an IPv6 address without a zone")
	wiretest.Refused(t, "udp", "", transport.Config{Source: netip.MustParseAddr("::ffff:127.0.0.1")}, "address ::ffff:127.0.0.1: Config.Source is not an IP address without a zone")
	wiretest.Refused(t, "udp6", "[fe80::1%nosuch]:7", transport.Config{},
		"[fe80::1%nosuch]:7: the zone of fe80::1%nosuch names no interface: route ip+net: no such network interface")
}

func TestPrivilegedPortsTakeACapability(t *testing.T) {
	wiretest.Lab(t) // where ports below 1024 are privileged, and this program has the capability
	open(t, "udp4", "127.0.0.1:7", nil)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	err = transporttest.WithoutCapabilities(unix.CAP_NET_BIND_SERVICE)(func() {
		tr, err := transport.Open("udp4", "127.0.0.1:8", nil)
		if err == nil {
			tr.Close()
		}
		want := "open udp4 127.0.0.1:8: bind: permission denied: it needs CAP_NET_BIND_SERVICE; grant it by `sudo setcap cap_net_bind_service+ep " +
			program + "`, or run as root; ports from net.ipv4.ip_unprivileged_port_start on, usually 1024, need none"
		if !errors.Is(err, fs.ErrPermission) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
