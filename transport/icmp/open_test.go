package icmp_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/netlab"
)

func TestNetworksAreRegistered(t *testing.T) {
	for _, n := range networks {
		if !slices.Contains(transport.Networks(), n.name) {
			t.Errorf("%s is not among %q", n.name, transport.Networks())
		}
	}
	_, err := transport.Open("ip4:igmp", "", nil)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "ip4:icmp, ip6:ipv6-icmp, udp4:icmp, udp6:ipv6-icmp") {
		t.Errorf("an unknown network is %v, want fs.ErrNotExist with a list of the known", err)
	}
}

func TestDescriptorIsNonBlockingAndCloseOnExec(t *testing.T) {
	onAll(t, networks, func(t *testing.T, n network) {
		tr := open(t, n.name, "", nil)
		status, err := unix.FcntlInt(uintptr(tr.FD()), unix.F_GETFL, 0)
		if err != nil || status&unix.O_NONBLOCK == 0 {
			t.Errorf("status flags %#x, %v, want O_NONBLOCK", status, err)
		}
		flags, err := unix.FcntlInt(uintptr(tr.FD()), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor flags %#x, %v, want FD_CLOEXEC", flags, err)
		}
		recvNone(t, tr)
		if tr.BatchSize() != 64 {
			t.Errorf("BatchSize() = %d, want 64", tr.BatchSize())
		}
	})
}

func TestBoundTransportReceivesOnlyWhatIsSentToItsAddress(t *testing.T) {
	addOther(t)
	onAll(t, []network{raw4, raw6}, func(t *testing.T, n network) {
		tr := open(t, n.name, n.other.String(), only(n.request))
		send(t, tr, message(n.request, n.loopback, 1, 1, nil), message(n.request, n.other, 1, 2, nil))
		got := recv(t, tr, 1)[0]
		if got.Local != n.other || got.Peer.Addr() != n.other {
			t.Errorf("received %v to %v, want from and to %v", got.Peer.Addr(), got.Local, n.other)
		}
		recvNone(t, tr)
	})
}

func TestBoundToALinkLocalAddress(t *testing.T) {
	cable(t)
	link := linkLocal(t, "near")
	for _, zone := range []string{"near", strconv.Itoa(ifindex(t, "near"))} {
		for _, n := range []network{raw6, ping6} {
			tr := open(t, n.name, link.String()+"%"+zone, n.config(nil))
			m := message(request6, link, 1, 1, nil)
			m.Ifindex = ifindex(t, "near")
			send(t, tr, m)
			got := recv(t, tr, 1)[0]
			if got.Local != link || got.Peer.Addr() != link {
				t.Errorf("%s: received %v to %v, want from and to %v", n.name, got.Peer, got.Local, link)
			}
		}
	}
}

func TestSourceIsForMessagesWithoutLocal(t *testing.T) {
	addOther(t)
	onAll(t, networks, func(t *testing.T, n network) {
		tr, witness := open(t, n.name, "", &transport.Config{Source: n.other}), open(t, n.raw, "", only(n.request))
		if n.name == ping6.name { // it has no other
			send(t, tr, message(n.request, n.loopback, 1, 2, nil))
			if got := recv(t, witness, 1)[0]; got.Peer.Addr() != n.other {
				t.Errorf("sent from %v, want %v", got.Peer, n.other)
			}
			return
		}
		own := message(n.request, n.loopback, 1, 1, nil)
		own.Local = n.loopback
		send(t, tr, message(n.request, n.loopback, 1, 2, nil), own)
		got := recv(t, witness, 2)
		if got[0].Peer.Addr() != n.other || got[1].Peer.Addr() != own.Local {
			t.Errorf("sent from %v and %v, want %v and %v", got[0].Peer, got[1].Peer, n.other, own.Local)
		}
	})
}

func TestConfigReachesTheSocket(t *testing.T) {
	option := func(tr transport.Transport, name int) int {
		v, err := unix.GetsockoptInt(tr.FD(), unix.SOL_SOCKET, name)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	onAll(t, networks, func(t *testing.T, n network) {
		tr := open(t, n.name, "", &transport.Config{RecvBuffer: 10_000, SendBuffer: 20_000, Batch: 1024, Queues: 1, Mark: 1<<31 + 7, Interface: "lo"})
		if got := option(tr, unix.SO_RCVBUF); got != 2*10_000 { // socket(7): the kernel doubles it
			t.Errorf("SO_RCVBUF is %d, want 20000", got)
		}
		if got := option(tr, unix.SO_SNDBUF); got != 2*20_000 {
			t.Errorf("SO_SNDBUF is %d, want 40000", got)
		}
		if got := uint32(option(tr, unix.SO_MARK)); got != 1<<31+7 {
			t.Errorf("SO_MARK is %#x, want 0x80000007", got)
		}
		if got, err := unix.GetsockoptString(tr.FD(), unix.SOL_SOCKET, unix.SO_BINDTODEVICE); got != "lo" || err != nil {
			t.Errorf("SO_BINDTODEVICE is %q, %v, want lo", got, err)
		}
		if tr.BatchSize() != 1024 {
			t.Errorf("BatchSize() = %d, want 1024", tr.BatchSize())
		}
	})
}

func TestBuffersPassTheLimitOfTheSystemWhereAllowed(t *testing.T) {
	probe := open(t, "ip4:icmp", "", nil)
	for name, option := range map[string]struct{ plain, force int }{
		"RecvBuffer": {unix.SO_RCVBUF, unix.SO_RCVBUFFORCE},
		"SendBuffer": {unix.SO_SNDBUF, unix.SO_SNDBUFFORCE},
	} {
		if err := unix.SetsockoptInt(probe.FD(), unix.SOL_SOCKET, option.plain, 1<<29); err != nil {
			t.Fatal(err)
		}
		limit, err := unix.GetsockoptInt(probe.FD(), unix.SOL_SOCKET, option.plain)
		if err != nil {
			t.Fatal(err)
		}
		want := limit
		if unix.SetsockoptInt(probe.FD(), unix.SOL_SOCKET, option.force, limit) == nil {
			want = 2 * limit
		}
		tr := open(t, "ip4:icmp", "", &transport.Config{RecvBuffer: limit, SendBuffer: limit})
		if got, err := unix.GetsockoptInt(tr.FD(), unix.SOL_SOCKET, option.plain); got != want || err != nil {
			t.Errorf("%s beyond the limit: %d, %v, want %d", name, got, err, want)
		}
	}
}

func TestOpenRefusesWhatItCannotHonour(t *testing.T) {
	if err := lab(t).SetPingGroups(0, 0); err != nil {
		t.Fatal(err)
	}
	family := func(networks []network, address string, cfg transport.Config, want string) {
		t.Helper()
		for _, n := range networks {
			refused(t, n.name, address, cfg, want)
		}
	}
	all := func(address string, cfg transport.Config, want string) {
		t.Helper()
		family(networks, address, cfg, want)
	}
	v4, v6 := networks[:2], networks[2:]
	for _, address := range []string{"localhost", "127.0.0.1:0", "::1", "::ffff:127.0.0.1", "fe80::1%lo", " ", "127.0.0.1/8"} {
		family(v4, address, transport.Config{}, "address "+address+`: want an IPv4 address to bind to, "192.0.2.1" for instance, without a port, or ""`)
	}
	for _, address := range []string{"localhost", "[::1]:0", "127.0.0.1", "::ffff:127.0.0.1", " ", "::1/128"} {
		family(v6, address, transport.Config{}, "address "+address+`: want an IPv6 address to bind to, "2001:db8::1" for instance, without a port, or ""`)
	}
	family(v6, "fe80::1%nosuch", transport.Config{}, "address fe80::1%nosuch: no interface is called nosuch")
	family(v4, "192.0.2.1", transport.Config{}, "bind: cannot assign requested address")
	family(v6, "2001:db8:7::1", transport.Config{}, "bind: cannot assign requested address")
	all("", transport.Config{Batch: -1}, "Config.Batch is -1: want 1 to 1024, or 0 for 64")
	all("", transport.Config{Batch: 1025}, "Config.Batch is 1025: want 1 to 1024, or 0 for 64")
	all("", transport.Config{RecvBuffer: -1}, "Config.RecvBuffer is -1: want bytes, or 0 for the system's default")
	all("", transport.Config{SendBuffer: -1}, "Config.SendBuffer is -1: want bytes, or 0 for the system's default")
	all("", transport.Config{RecvBuffer: 1 << 30}, "Config.RecvBuffer is 1073741824: the kernel takes at most 1073741823 bytes")
	all("", transport.Config{SendBuffer: 1 << 30}, "Config.SendBuffer is 1073741824: the kernel takes at most 1073741823 bytes")
	all("", transport.Config{Queues: -1}, "Config.Queues is -1: a socket has one queue, want 0 or 1")
	all("", transport.Config{Queues: 2}, "Config.Queues is 2: a socket has one queue, want 0 or 1")
	all("", transport.Config{Interface: "nosuch"}, "interface nosuch: setsockopt SO_BINDTODEVICE: no such device")
	all("", transport.Config{Interface: "0123456789abcdef"}, `Config.Interface is "0123456789abcdef": an interface name has at most 15 bytes`)
	family(v4, "", transport.Config{Source: netip.IPv6Loopback()}, "address ::1: Config.Source is not an IPv4 address")
	family(v4, "", transport.Config{Source: netip.MustParseAddr("::ffff:127.0.0.1")}, "address ::ffff:127.0.0.1: Config.Source is not an IPv4 address")
	family(v6, "", transport.Config{Source: loopback}, "address 127.0.0.1: Config.Source is not an IPv6 address")
	family(v6, "", transport.Config{Source: netip.MustParseAddr("::ffff:127.0.0.1")}, "address ::ffff:127.0.0.1: Config.Source is not an IPv6 address")
	family(v6, "", transport.Config{Source: netip.MustParseAddr("fe80::1%lo")}, "address fe80::1%lo: Config.Source has a zone: want the interface in Config.Interface")
	refused(t, ping6.name, "::1", transport.Config{Source: raw6.other}, "address 2001:db8:5::5: Config.Source of an IPv6 ping socket that is bound to another address")
	all("", transport.Config{Filter: make([]bpf.RawInstruction, 1<<16+1)}, "Config.Filter has 65537 instructions: the kernel takes at most 4096")
	all("", transport.Config{Filter: []bpf.RawInstruction{{Op: 0xffff}}}, "setsockopt SO_ATTACH_FILTER: invalid argument")

	all("", transport.Config{Options: &icmp.Options{}}, "Config.Options is a *icmp.Options: want icmp.Options")
	all("", transport.Config{Options: 8}, "Config.Options is a int: want icmp.Options")
	const types = "Options.Types: want none, as a ping socket receives echo replies only"
	refused(t, ping4.name, "", *only(reply), types)
	refused(t, ping6.name, "", *only(reply6), types)
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

// TestWithoutPrivileges runs itself again without the capabilities. The second
// run, which has them taken away, prints the errors and what it could have.
func TestWithoutPrivileges(t *testing.T) {
	lab(t)
	const variable = "ICMP_TEST_UNPRIVILEGED"
	if os.Getenv(variable) != "" {
		for _, n := range networks {
			_, err := transport.Open(n.name, "", &transport.Config{Mark: 1})
			if errors.Is(err, fs.ErrPermission) {
				fmt.Println(err)
			}
		}
		if tr, err := transport.Open("udp4:icmp", "", &transport.Config{RecvBuffer: 10_000, SendBuffer: 20_000}); err == nil {
			in, _ := unix.GetsockoptInt(tr.FD(), unix.SOL_SOCKET, unix.SO_RCVBUF)
			out, _ := unix.GetsockoptInt(tr.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF)
			fmt.Println("buffers", in, out)
		}
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	setcap := func(capability string) string {
		return "grant it by `sudo setcap " + capability + "+ep " + program + "`, or run as root"
	}
	raw := func(n network) string {
		return "open " + n.raw + ": socket: operation not permitted: it needs CAP_NET_RAW; " + setcap("cap_net_raw") +
			`, or use the network "` + n.ping + `" if replies are all that is wanted` + "\n"
	}
	ping := func(n network) string {
		return "open " + n.ping + ": socket: permission denied: no group of the process is in net.ipv4.ping_group_range: " +
			"set it by `sudo sysctl net.ipv4.ping_group_range=\"0 2147483647\"`, or use the network \"" + n.raw + "\", which needs CAP_NET_RAW instead\n"
	}
	mark := func(n network) string {
		return "open " + n.ping + ": setsockopt SO_MARK: operation not permitted: it needs CAP_NET_ADMIN; " + setcap("cap_net_admin") + "\n"
	}
	for _, c := range []struct {
		pings bool // whether the group of the process may open ping sockets
		want  string
	}{
		{false, raw(raw4) + ping(ping4) + raw(raw6) + ping(ping6)},
		{true, raw(raw4) + mark(ping4) + raw(raw6) + mark(ping6) + "buffers 20000 40000\n"},
	} {
		ns, err := netlab.New() // there nobody may
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if c.pings {
			if err := ns.SetPingGroups(0, 0); err != nil {
				t.Fatal(err)
			}
		}
		var out strings.Builder
		cmd := exec.Command(program, "-test.run=^TestWithoutPrivileges$")
		cmd.Env = append(os.Environ(), variable+"=1")
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := ns.Do(func() error { return netlab.WithoutCapabilities(cmd, unix.CAP_NET_RAW, unix.CAP_NET_ADMIN) }); err != nil {
			t.Fatal(err)
		}
		err = cmd.Wait()
		if got, _, _ := strings.Cut(out.String(), "PASS"); got != c.want || err != nil {
			t.Errorf("ping sockets allowed: %v: %v\ngot  %swant %s", c.pings, err, got, c.want)
		}
	}
}

func TestInterfaceDirectsWhatIsSent(t *testing.T) {
	cable(t)
	near := ifindex(t, "near")
	onAll(t, []network{raw4, raw6}, func(t *testing.T, n network) {
		tr := open(t, n.name, "", only(n.reply))
		send(t, tr, message(n.request, n.far, 1, 1, nil))
		if got := recv(t, tr, 1)[0]; got.Ifindex != near || got.Local != n.near {
			t.Errorf("the reply came in by %d to %v, want %d and %v", got.Ifindex, got.Local, near, n.near)
		}
	})
	onAll(t, networks, func(t *testing.T, n network) {
		tr := open(t, n.name, "", nil)
		m := message(n.request, n.far, 1, 1, nil)
		m.Ifindex = 1 << 20
		if n, err := tr.Send([]transport.Message{m}); n != 0 || err == nil {
			t.Errorf("by an interface that there is not: Send = %d, %v", n, err)
		}
	})
	tr := open(t, raw4.name, "", only(reply))
	m := message(request, netip.MustParseAddr("198.51.100.1"), 1, 1, nil) // there is no route to it
	for _, c := range []struct {
		ifindex, n int
		err        error
	}{{0, 0, syscall.ENETUNREACH}, {near, 1, nil}, {1 << 20, 0, syscall.ENODEV}} {
		m.Ifindex = c.ifindex
		if n, err := tr.Send([]transport.Message{m}); n != c.n || !errors.Is(err, c.err) {
			t.Errorf("by interface %d: Send = %d, %v, want %d, %v", c.ifindex, n, err, c.n, c.err)
		}
	}
}

// A link-local address says nothing without an interface.
func TestInterfaceOfALinkLocalPeer(t *testing.T) {
	far := cable(t)
	near := ifindex(t, "near")
	var peer netip.Addr
	if err := far.Do(func() error { peer = linkLocal(t, "far"); return nil }); err != nil {
		t.Fatal(err)
	}
	onAll(t, []network{raw6, ping6}, func(t *testing.T, n network) {
		for _, to := range []netip.Addr{peer, netip.MustParseAddr("ff02::1")} {
			tr := open(t, n.name, "", n.config(nil))
			m := message(request6, to, 1, 1, nil)
			m.Ifindex = near
			send(t, tr, m)
			for got := recv(t, tr, 1)[0]; got.Peer.Addr() != peer; got = recv(t, tr, 1)[0] { // our own kernel answers to ff02::1 too
			}
		}
	})
}

func TestAfterCloseEveryCallIsErrClosed(t *testing.T) {
	onAll(t, networks, func(t *testing.T, n network) {
		tr := open(t, n.name, "", nil)
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
		ms := []transport.Message{message(n.request, n.loopback, 1, 1, nil)}
		_, recvErr := tr.Recv(ms)
		_, sendErr := tr.Send(ms)
		_, _, stampsErr := tr.(transport.TransmitStamper).TransmitStamps(nil)
		_, _, reportsErr := tr.(transport.ErrorReporter).ErrorReports(nil)
		for call, err := range map[string]error{"Recv": recvErr, "Send": sendErr,
			"TransmitStamps": stampsErr, "ErrorReports": reportsErr, "Close": tr.Close()} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s = %v, want net.ErrClosed", call, err)
			}
		}
		if tr.FD() != -1 {
			t.Errorf("FD() = %d, want -1", tr.FD())
		}
	})
}
