package udp_test

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
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
	lab(t) // where a mark is allowed
	option := func(tr transport.Transport, name int) int {
		v, err := unix.GetsockoptInt(tr.FD(), unix.SOL_SOCKET, name)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, network := range networks {
		tr := open(t, network, "", &transport.Config{RecvBuffer: 10_000, SendBuffer: 20_000, Batch: 1024, Queues: 1, Mark: 7, Interface: "lo"})
		if got := option(tr, unix.SO_RCVBUF); got != 2*10_000 { // socket(7): the kernel doubles it
			t.Errorf("%s: SO_RCVBUF is %d, want 20000", network, got)
		}
		if got := option(tr, unix.SO_SNDBUF); got != 2*20_000 {
			t.Errorf("%s: SO_SNDBUF is %d, want 40000", network, got)
		}
		if got := option(tr, unix.SO_MARK); got != 7 {
			t.Errorf("%s: SO_MARK is %d, want 7", network, got)
		}
		if got, err := unix.GetsockoptString(tr.FD(), unix.SOL_SOCKET, unix.SO_BINDTODEVICE); got != "lo" || err != nil {
			t.Errorf("%s: SO_BINDTODEVICE is %q, %v, want lo", network, got, err)
		}
		if tr.BatchSize() != 1024 {
			t.Errorf("%s: BatchSize() = %d, want 1024", network, tr.BatchSize())
		}
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
			refused(t, network, address, transport.Config{}, "address "+address+": "+want)
		}
		refused(t, network, "", transport.Config{Batch: -1}, "Config.Batch is -1: want 1 to 1024, or 0 for 64")
		refused(t, network, "", transport.Config{Queues: 2}, "Config.Queues is 2: a socket has one queue, want 0 or 1")
		refused(t, network, "", transport.Config{Options: &udp.Options{}}, "Config.Options is a *udp.Options: want udp.Options")
		refused(t, network, "", transport.Config{Options: 8}, "Config.Options is a int: want udp.Options")
		refused(t, network, "", transport.Config{Filter: []bpf.RawInstruction{{Op: 0xffff}}}, "setsockopt SO_ATTACH_FILTER: invalid argument")
	}
	refused(t, "udp4", "198.51.100.1:7", transport.Config{}, "198.51.100.1:7: bind: cannot assign requested address")
	refused(t, "udp4", "", transport.Config{Source: netip.IPv6Loopback()}, "address ::1: Config.Source is not an IPv4 address without a zone")
	refused(t, "udp6", "", transport.Config{Source: netip.MustParseAddr("127.0.0.1")}, "address 127.0.0.1: Config.Source is not an IPv6 address without a zone")
	refused(t, "udp6", "", transport.Config{Source: netip.MustParseAddr("fe80::1%lo")}, "address fe80::1%lo: Config.Source is not an IPv6 address without a zone")
	refused(t, "udp", "", transport.Config{Source: netip.MustParseAddr("::ffff:127.0.0.1")}, "address ::ffff:127.0.0.1: Config.Source is not an IP address without a zone")
	refused(t, "udp6", "[fe80::1%nosuch]:7", transport.Config{},
		"[fe80::1%nosuch]:7: the zone of fe80::1%nosuch names no interface: route ip+net: no such network interface")
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
	if got := strings.TrimPrefix(err.Error(), "open "+network); got != ": "+want && got != " "+want { // with and without an Addr
		t.Errorf("got  %s\nwant open %s: %s", err, network, want)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%s: %d descriptors are open, %d before", err, after, before)
	}
}

func TestPrivilegedPortsTakeACapability(t *testing.T) {
	lab(t) // where ports below 1024 are privileged, and this program has the capability
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
