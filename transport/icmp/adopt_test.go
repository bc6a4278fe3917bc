package icmp_test

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/netlab"
)

// adopterVariable names, in a test that is run again without capabilities, the
// network whose socket it has been given.
const adopterVariable = "IOMUX_TEST_ADOPT"

// privileged is a Config that takes capabilities to honour, or did in older kernels.
func privileged() *transport.Config {
	return &transport.Config{
		RecvBuffer: 1 << 28, SendBuffer: 1 << 28, Interface: "lo", Mark: 7, Batch: 8,
		Options: icmp.Options{Types: []uint8{request, request6}, Stamps: true, Errors: true, Broadcast: true},
	}
}

// A raw socket opened by a process that may is used by one that may not, with the same
// Config: what is as it should be is left alone.
func TestARawSocketIsAdoptedWithoutCapabilities(t *testing.T) {
	if network := os.Getenv(adopterVariable); network != "" {
		adopter(t, network)
		return
	}
	silenceKernel(t)
	for _, network := range []string{"ip4:icmp", "ip6:ipv6-icmp"} {
		t.Run(network, func(t *testing.T) {
			tr, err := transport.Open(network, "", privileged())
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			files, err := transport.Files(tr)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("/proc/self/exe", "-test.run", "^TestARawSocketIsAdoptedWithoutCapabilities$")
			cmd.Env = append(os.Environ(), adopterVariable+"="+network)
			cmd.ExtraFiles = files
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := netlab.WithoutCapabilities(cmd, unix.CAP_NET_RAW, unix.CAP_NET_ADMIN); err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				f.Close()
			}
			if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "PASS") {
				t.Errorf("%v:\n%s", err, out.String())
			}
		})
	}
}

func adopter(t *testing.T, network string) {
	to, message := netip.MustParseAddr("127.0.0.1"), []byte{request, 0, 0xf7, 0xff, 0, 0, 0, 0}
	if network != "ip4:icmp" {
		to, message = netip.IPv6Loopback(), []byte{request6, 0, 0, 0, 0, 0, 0, 1}
	}
	if tr, err := transport.Open(network, "", nil); err == nil {
		tr.Close()
		t.Fatal("a socket could be opened, so that this shows nothing")
	}
	f := os.NewFile(3, network)
	before := map[int]int{}
	for _, option := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF, unix.SO_MARK} {
		var err error
		if before[option], err = unix.GetsockoptInt(3, unix.SOL_SOCKET, option); err != nil {
			t.Fatal(err)
		}
	}
	cfg := privileged()
	cfg.Files = []*os.File{f}
	tr, err := transport.Open(network, "", cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for option, want := range before {
		if got, err := unix.GetsockoptInt(tr.FD(), unix.SOL_SOCKET, option); got != want || err != nil {
			t.Errorf("option %d is %d, %v, want %d", option, got, err, want)
		}
	}
	if n, err := tr.Send([]transport.Message{{Buf: message, N: len(message), Peer: netip.AddrPortFrom(to, 0)}}); n != 1 || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
	ms := []transport.Message{{Buf: make([]byte, 1500)}}
	for n := 0; n == 0; {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(tr.FD()), Events: unix.POLLIN}}, watchdog); err != nil && err != unix.EINTR {
			t.Fatal(err)
		}
		if n, err = tr.Recv(ms); err != nil {
			t.Fatal(err)
		}
	}
	if b := ms[0].Bytes(); len(b) != len(message) || b[0] != message[0] || ms[0].Time.IsZero() {
		t.Errorf("received % x at %v, want % x with a time", b, ms[0].Time, message)
	}

	// What it is not, it cannot become.
	cfg.Files, cfg.Mark = dup(t, tr), 8
	if tr, err := transport.Open(network, "", cfg); err == nil {
		tr.Close()
		t.Error("another mark has been set")
	}
	if tr, err := transport.Open("udp4:icmp", "", &transport.Config{Files: dup(t, tr)}); err == nil || !strings.Contains(err.Error(), "want socket(AF_INET, SOCK_DGRAM, 1)") {
		t.Errorf("as a ping socket: %v, %v", tr, err)
	}
}

func dup(t *testing.T, tr transport.Transport) []*os.File {
	t.Helper()
	files, err := transport.Files(tr)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A ping socket keeps its identifier, which it is bound to.
func TestAPingSocketIsAdopted(t *testing.T) {
	ns := lab(t)
	if err := ns.SetPingGroups(0, 0); err != nil {
		t.Fatal(err)
	}
	defer ns.SetPingGroups(1, 0)
	for _, network := range []string{"udp4:icmp", "udp6:ipv6-icmp"} {
		first, err := transport.Open(network, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		second, err := transport.Open(network, "", &transport.Config{Files: dup(t, first)})
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		a, _ := transport.As[transport.Identifier](first)
		b, _ := transport.As[transport.Identifier](second)
		if a.Identifier() != b.Identifier() || a.Identifier() == 0 {
			t.Errorf("%s: the identifiers are %d and %d", network, a.Identifier(), b.Identifier())
		}
	}
}

// Types that an earlier owner did not want are delivered to one who wants all.
func TestAnAdoptedSocketDeliversWhatItsNewOwnerWants(t *testing.T) {
	lab(t)
	for _, network := range []string{"ip4:icmp", "ip6:ipv6-icmp"} {
		first, err := transport.Open(network, "", &transport.Config{Options: icmp.Options{Types: []uint8{3}}})
		if err != nil {
			t.Fatal(err)
		}
		second, err := transport.Open(network, "", &transport.Config{Files: dup(t, first)})
		first.Close()
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		level, option := unix.SOL_RAW, unix.ICMP_FILTER
		if network != "ip4:icmp" {
			level, option = unix.SOL_ICMPV6, unix.ICMPV6_FILTER
		}
		blocked, err := unix.GetsockoptString(second.FD(), level, option)
		if err != nil || strings.Trim(blocked, "\x00") != "" {
			t.Errorf("%s: the filter is %x, %v, want nothing blocked", network, blocked, err)
		}
	}
}
