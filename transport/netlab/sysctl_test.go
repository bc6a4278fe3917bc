package netlab_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"iomux/transport/netlab"
)

// family is what the echo tests need to know of IPv4 and IPv6.
type family struct {
	domain, proto               int
	loopback                    netip.Addr
	request, reply, unreachable icmp.Type
}

var families = map[string]family{
	"IPv4": {unix.AF_INET, unix.IPPROTO_ICMP, netip.MustParseAddr("127.0.0.1"),
		ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply, ipv4.ICMPTypeDestinationUnreachable},
	"IPv6": {unix.AF_INET6, unix.IPPROTO_ICMPV6, netip.IPv6Loopback(),
		ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply, ipv6.ICMPTypeDestinationUnreachable},
}

func (f family) sockaddr(port int) unix.Sockaddr {
	if f.loopback.Is4() {
		return &unix.SockaddrInet4{Addr: f.loopback.As4(), Port: port}
	}
	return &unix.SockaddrInet6{Addr: f.loopback.As16(), Port: port}
}

func TestSetEchoReplies(t *testing.T) {
	for name, f := range families {
		t.Run(name, func(t *testing.T) {
			n := newNamespace(t)
			for _, on := range []bool{false, true, false} {
				if err := n.SetEchoReplies(on); err != nil {
					t.Fatal(err)
				}
				err := n.Do(func() error { return f.expectReply(on) })
				if err != nil {
					t.Errorf("echo replies %t: %v", on, err)
				}
			}
			other := newNamespace(t)
			if err := other.Do(func() error { return f.expectReply(true) }); err != nil {
				t.Errorf("a namespace in which they were not set: %v", err)
			}
		})
	}
}

// expectReply sends an echo request, and behind it a datagram to a port where
// nobody listens. The calling thread stays on one CPU, whose queue keeps their
// order, so the port unreachable message comes after the reply if there is one.
func (f family) expectReply(want bool) error {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	defer unix.SchedSetaffinity(0, &all)

	raw, err := unix.Socket(f.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, f.proto)
	if err != nil {
		return err
	}
	defer unix.Close(raw)
	udp, err := unix.Socket(f.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(udp)
	timeout := unix.NsecToTimeval(watchdog.Nanoseconds())
	if err := unix.SetsockoptTimeval(raw, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return err
	}

	request := icmp.Message{Type: f.request, Body: &icmp.Echo{ID: 7, Seq: 1, Data: []byte("netlab")}}
	packet, err := request.Marshal(nil)
	if err != nil {
		return err
	}
	if err := unix.Sendto(raw, packet, 0, f.sockaddr(0)); err != nil {
		return fmt.Errorf("echo request: %w", err)
	}
	if err := unix.Sendto(udp, []byte("marker"), 0, f.sockaddr(9)); err != nil {
		return fmt.Errorf("marker: %w", err)
	}

	seen := map[icmp.Type]bool{}
	buf := make([]byte, 1500)
	for !seen[f.unreachable] {
		n, _, err := unix.Recvfrom(raw, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		message := buf[:n]
		if f.loopback.Is4() {
			message = message[ipv4.HeaderLen:]
		}
		m, err := icmp.ParseMessage(f.proto, message)
		if err != nil {
			return err
		}
		seen[m.Type] = true
	}
	if !seen[f.request] {
		return errors.New("the raw socket did not see the request")
	}
	if seen[f.reply] != want {
		return fmt.Errorf("the kernel replied: %t", seen[f.reply])
	}
	return nil
}

func TestSetPingGroups(t *testing.T) {
	n := newNamespace(t)
	ping := func() error {
		return n.Do(func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
			if err == nil {
				unix.Close(fd)
			}
			return err
		})
	}
	if err := ping(); err != unix.EACCES {
		t.Fatalf("ping socket in a new namespace: %v, want EACCES", err)
	}
	if err := n.SetPingGroups(0, 0); err != nil {
		t.Fatal(err)
	}
	if err := ping(); err != nil {
		t.Errorf("ping socket of an allowed group: %v", err)
	}
	if err := n.SetPingGroups(0, -1); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "net.ipv4.ping_group_range") {
		t.Errorf("negative group: %v, want EINVAL and the name of the setting", err)
	}
}

func TestReadOnlySettingsAreAnErrorThatSaysSo(t *testing.T) {
	cmd := inUserNamespace(outside(t, "read-only settings"))
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNS
	lines, code := run(t, cmd)
	if code != 0 || len(lines) != 2 {
		t.Fatalf("exit code %d, output %q", code, lines)
	}
	for _, want := range []string{"net.ipv4.icmp_echo_ignore_all", "/proc/sys is mounted read-only"} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("SetEchoReplies: %q does not mention %q", lines[0], want)
		}
	}
	if lines[1] != "veth: <nil>" {
		t.Errorf("%q, want veth pairs to work without changing a setting", lines[1])
	}
}

// readOnlySettings runs in a mount namespace of its own.
func readOnlySettings() int {
	err := unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, "")
	if err == nil {
		err = unix.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mount:", err)
		return 1
	}
	a, err := netlab.New()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer a.Close()
	b, err := netlab.New()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer b.Close()
	fmt.Println(a.SetEchoReplies(false))
	err = netlab.Veth(
		netlab.End{In: a, Name: "left", Addrs: []netip.Prefix{netip.MustParsePrefix("fd00::1/64")}},
		netlab.End{In: b, Name: "right", Addrs: []netip.Prefix{netip.MustParsePrefix("fd00::2/64")}})
	if err == nil {
		err = exchange(a, b, netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2"))
	}
	fmt.Println("veth:", err)
	return 0
}
