package cmd

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"iomux/transport/netlab"
)

// needTUN skips the test where TUN devices are root's alone.
func needTUN(t *testing.T, kernelReplies bool) *netlab.Namespace {
	t.Helper()
	lab := inLab(t, kernelReplies)
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	f.Close()
	return lab
}

// probe sends a request to each host and returns how many answer in time.
func probe(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	out, errs, code := runEcho(append([]string{"client", "--count", "1", "--timeout", "30s"}, args...)...)
	if errs != "" {
		t.Errorf("client %v: %s", args, errs)
	}
	return out, code
}

func TestServerOnATUNDeviceAnswersForAllOfItsPrefixes(t *testing.T) {
	for _, replies := range []bool{true, false} { // which are the server's business on raw sockets only
		for _, loops := range []string{"1", "3"} {
			t.Run(fmt.Sprintf("kernel replies %v, loops %s", replies, loops), func(t *testing.T) {
				needTUN(t, replies)
				s := startServer(t, "--quiet", "--tun", "10.64.0.0/10,fd00:64::/32", "--tun", "192.0.2.7", "--tun-name", "ours0", "--tun-mtu", "9000", "--loops", loops)
				if _, code := probe(t, "--quiet", "10.64.0.0/25", "10.127.255.255", "192.0.2.7", "fd00:64::/121", "fd00:64:ffff::1"); code != exitOK {
					t.Errorf("exit code %d", code)
				}
				link, err := net.InterfaceByName("ours0")
				if err != nil {
					t.Fatal(err)
				}
				addrs, err := link.Addrs()
				if err != nil {
					t.Fatal(err)
				}
				for _, want := range []string{"10.127.255.254/32", "fd00:64:ffff:ffff:ffff:ffff:ffff:ffff/128"} {
					if !slices.ContainsFunc(addrs, func(a net.Addr) bool { return a.String() == want }) {
						t.Errorf("the kernel has no address %s, but %v", want, addrs)
					}
				}
				if link.MTU != 9000 {
					t.Errorf("MTU %d", link.MTU)
				}
				rest, code := s.signal(syscall.SIGTERM)
				if code != exitOK {
					t.Errorf("exit code %d\n%s", code, &s.stderr)
				}
				mustContain(t, "summary", rest, "259 answered", "from 10.127.255.0/24: 130 requests", "from fd00:64:ffff::/48: 129 requests")
				if _, err := net.InterfaceByName("ours0"); err == nil {
					t.Error("the device is still there")
				}
			})
		}
	}
}

func TestServerRestoresTheRoutesOfADeviceThatWasDown(t *testing.T) {
	lab := needTUN(t, false)
	s := startServer(t, "--quiet", "--tun", "10.64.0.0/10,fd00:64::/32", "--tun-name", "ours0")
	for range 3 {
		if err := lab.SetLink("ours0", false); err != nil {
			t.Fatal(err)
		}
		s.awaitLine("ours0 is down")
		if err := lab.SetLink("ours0", true); err != nil {
			t.Fatal(err)
		}
		s.awaitLine("ours0 is up again")
		if _, code := probe(t, "--quiet", "10.64.0.1", "fd00:64::1"); code != exitOK {
			t.Errorf("exit code %d", code)
		}
	}
	if rest, code := s.signal(syscall.SIGTERM); code != exitOK || !strings.Contains(rest, "6 answered") {
		t.Errorf("exit code %d\n%s%s", code, rest, &s.stderr)
	}
}

// The kernel tells only so much to one that does not listen.
func TestServerLooksWhatItHasMissedOfItsDevice(t *testing.T) {
	lab := needTUN(t, false)
	s := startServer(t, "--quiet", "--tun", "10.64.0.0/10", "--tun-name", "ours0")
	device, err := netlink.LinkByName("ours0")
	if err != nil {
		t.Fatal(err)
	}
	for _, up := range []bool{false, true} {
		s.Process.Signal(syscall.SIGSTOP)
		awaitStop(t, s.Process.Pid)
		for i := range 2000 { // of more than 1 kB each, where there is room for some 200 kB
			if err := netlink.LinkSetAlias(device, fmt.Sprint("other ", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := lab.SetLink("ours0", up); err != nil {
			t.Fatal(err)
		}
		s.Process.Signal(syscall.SIGCONT)
		s.awaitLine(map[bool]string{false: "ours0 is down", true: "ours0 is up again"}[up])
	}
	if _, code := probe(t, "--quiet", "10.64.0.1"); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// A device that is down stays down: that was somebody's wish.
func TestServerLeavesADeviceDown(t *testing.T) {
	lab := needTUN(t, false)
	s := startServer(t, "--quiet", "--tun", "10.64.0.0/10", "--tun-name", "ours0")
	if err := lab.SetLink("ours0", false); err != nil {
		t.Fatal(err)
	}
	s.awaitLine("ours0 is down")
	s.Process.Signal(syscall.SIGUSR1)
	s.awaitLine("so far")
	if link, err := net.InterfaceByName("ours0"); err != nil || link.Flags&net.FlagUp != 0 {
		t.Errorf("the device is up: %v", err)
	}
}

func TestServerEndsWithItsDevice(t *testing.T) {
	needTUN(t, false)
	for _, loops := range []string{"1", "2"} {
		s := startServer(t, "--quiet", "--tun", "10.64.0.0/10", "--tun-name", "ours0", "--loops", loops)
		link, err := netlink.LinkByName("ours0")
		if err == nil {
			err = netlink.LinkDel(link)
		}
		if err != nil {
			t.Fatal(err)
		}
		rest, code := s.end()
		mustContain(t, "summary", rest, "echo server statistics")
		if got := s.stderr.String(); code != exitError || got != "echo: the device ours0 is gone: somebody has deleted it or moved it to another network namespace\n" {
			t.Errorf("loops %s: exit code %d, %q", loops, code, got)
		}
	}
}

func TestServerOnADeviceAndOnRawSocketsAtOnce(t *testing.T) {
	needTUN(t, false)
	s := startServer(t, "--quiet", "--tun", "10.64.0.0/10", "--tun-address", "10.64.0.1", "-4", "-6")
	if _, code := probe(t, "--quiet", "10.64.0.2", "127.0.0.1", "::1"); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if _, _, code := runEcho("client", "--quiet", "--count", "1", "--timeout", "30s", "10.64.0.1"); code != exitOK { // the kernel's own, by the raw socket
		t.Errorf("the kernel's own address: exit code %d", code)
	}
	if rest, _ := s.signal(syscall.SIGTERM); !strings.Contains(rest, "4 answered") {
		t.Errorf("%s", rest)
	}
}

func TestTheKernelsOwnAddressOnADevice(t *testing.T) {
	for _, c := range []struct{ prefixes, address, want string }{
		{"10.64.0.0/10", "", "10.127.255.254/32"},
		{"192.0.2.0/30", "", "192.0.2.2/32"},
		{"192.0.2.0/31", "", "192.0.2.1/32"},
		{"192.0.2.1/32", "", ""},
		{"192.0.2.1", "", ""},
		{"fd00::/127,10.0.0.0/8,fd01::/64,11.0.0.0/8", "", "fd00::1/128 10.255.255.254/32"},
		{"fd00::1,10.0.0.0/8", "", "10.255.255.254/32"},
		{"0.0.0.0/0", "", "255.255.255.254/32"},
		{"10.64.0.0/10,fd00::/64", "none", ""},
		{"10.64.0.0/10,fd00::/64", "192.0.2.1,fd99::1", "192.0.2.1/32 fd99::1/128"},
	} {
		o := serverOptions{tun: strings.Split(c.prefixes, ","), tunMTU: 1500, given: func(flag string) bool { return flag == "tun-address" && c.address != "" }}
		if c.address != "" {
			o.tunAddress = strings.Split(c.address, ",")
		}
		options, err := o.tunOptions()
		var want []netip.Prefix
		for _, text := range strings.Fields(c.want) {
			want = append(want, netip.MustParsePrefix(text))
		}
		if err != nil || !slices.Equal(options.Addrs, want) {
			t.Errorf("--tun %s --tun-address %q: %v, %v, want %v", c.prefixes, c.address, options.Addrs, err, want)
		}
	}
}
