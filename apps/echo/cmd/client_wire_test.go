package cmd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/netlab"
)

// The addresses of the two ends of a cable; the kernel at the far one answers. By
// itself the kernel sends from the first IPv4 address and the last IPv6 address.
var (
	near4, near4b, far4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.3"), netip.MustParseAddr("192.0.2.2")
	near6, near6b, far6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::3"), netip.MustParseAddr("2001:db8::2")
)

// wire is a cable to another namespace. A raw socket there sees the requests that the
// kernel there answers.
type wire struct {
	near, far *netlab.Namespace
	requests  [2]transport.Transport // IPv4, IPv6
}

// newWire lays a cable with near0, or that name, at the end of the test.
func newWire(t *testing.T, near string) *wire {
	t.Helper()
	w := &wire{near: inLab(t, true)}
	far, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	w.far = far
	prefix := func(addrs ...netip.Addr) (ps []netip.Prefix) {
		for _, a := range addrs {
			ps = append(ps, netip.PrefixFrom(a, a.BitLen()-8))
		}
		return ps
	}
	err = netlab.Veth(netlab.End{Name: near, Addrs: prefix(near4, near4b, near6, near6b)},
		netlab.End{In: far, Name: "far0", Addrs: prefix(far4, far6)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { exec.Command("ip", "link", "delete", near).Run() })
	err = far.Do(func() (err error) {
		w.requests[0], err = transport.Open(rawNetwork, "", &transport.Config{Options: icmp.Options{Types: []uint8{8}}})
		if err == nil {
			w.requests[1], err = transport.Open(rawNetwork6, "", &transport.Config{Options: icmp.Options{Types: []uint8{128}}})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.requests[0].Close(); w.requests[1].Close() })
	return w
}

// next returns a request that has arrived.
func (w *wire) next(t *testing.T, v6 bool) transport.Message {
	t.Helper()
	r := w.requests[0]
	if v6 {
		r = w.requests[1]
	}
	ms := []transport.Message{{Buf: make([]byte, 1<<16)}}
	unix.Poll([]unix.PollFd{{Fd: int32(r.FD()), Events: unix.POLLIN}}, int(watchdog.Milliseconds()))
	if n, err := r.Recv(ms); n != 1 {
		t.Fatalf("Recv = %d, %v", n, err)
	}
	return ms[0]
}

// data is what a request carries behind the ICMP header.
func data(m transport.Message) []byte { return m.Bytes()[8:] }

// dontFragment is the flag in the IPv4 header.
func dontFragment(m transport.Message) bool { return binary.BigEndian.Uint16(m.Buf[6:])&0x4000 != 0 }

func TestFlagsAreHeededOnTheWire(t *testing.T) {
	w := newWire(t, "near0")
	ramp := make([]byte, 300)
	for i := range ramp {
		ramp[i] = byte(i)
	}
	for _, c := range []struct {
		args  string
		check func(m transport.Message, v6 bool) bool
	}{
		{"", func(m transport.Message, v6 bool) bool {
			return m.TTL == 64 && m.TOS == 0 && len(data(m)) == 56 && bytes.Equal(data(m)[8:], ramp[8:56]) &&
				(m.Peer.Addr() == near4 || m.Peer.Addr() == near6b)
		}},
		{"--ttl 7", func(m transport.Message, v6 bool) bool { return m.TTL == 7 }},
		{"-t 255", func(m transport.Message, v6 bool) bool { return m.TTL == 255 }},
		{"--tos 0xb8", func(m transport.Message, v6 bool) bool { return m.TOS == 0xb8 }},
		{"-Q 16", func(m transport.Message, v6 bool) bool { return m.TOS == 16 }},
		{"--size 0", func(m transport.Message, v6 bool) bool { return len(data(m)) == 0 }},
		{"-s 300", func(m transport.Message, v6 bool) bool {
			return len(data(m)) == 300 && bytes.Equal(data(m)[8:], ramp[8:])
		}},
		{"-s 4000", func(m transport.Message, v6 bool) bool { return len(data(m)) == 4000 }},
		{"--pattern a55a -s 13", func(m transport.Message, v6 bool) bool {
			return bytes.Equal(data(m)[8:], []byte{0xa5, 0x5a, 0xa5, 0x5a, 0xa5})
		}},
		{"-p 00 -s 20", func(m transport.Message, v6 bool) bool { return bytes.Equal(data(m)[8:], make([]byte, 12)) }},
		{"--data hello", func(m transport.Message, v6 bool) bool { return string(data(m)) == "hello" }},
		{"--data hello --size 12", func(m transport.Message, v6 bool) bool { return string(data(m)) == "hellohellohe" }},
		{"--data hello --size 3", func(m transport.Message, v6 bool) bool { return string(data(m)) == "hel" }},
		{"--data=", func(m transport.Message, v6 bool) bool { return len(data(m)) == 0 }},
		{"--data= --size 2", func(m transport.Message, v6 bool) bool { return bytes.Equal(data(m), []byte{0, 0}) }},
		{"--pmtudisc do", func(m transport.Message, v6 bool) bool { return v6 || dontFragment(m) }},
		{"-M probe", func(m transport.Message, v6 bool) bool { return v6 || dontFragment(m) }},
		{"--interface near0", func(m transport.Message, v6 bool) bool { return m.Peer.Addr() == near4 || m.Peer.Addr() == near6b }},
		{"--network SOCKET --ttl 9", func(m transport.Message, v6 bool) bool { return m.TTL == 9 }},
		{"--network SOCKET --interface SOURCE", func(m transport.Message, v6 bool) bool {
			return m.Peer.Addr() == near4b || m.Peer.Addr() == near6
		}},
		{"--interface SOURCE", func(m transport.Message, v6 bool) bool { return m.Peer.Addr() == near4b || m.Peer.Addr() == near6 }},
		{"--interface SOURCE -I near0", func(m transport.Message, v6 bool) bool {
			return m.Peer.Addr() == near4b || m.Peer.Addr() == near6
		}},
	} {
		for _, v6 := range []bool{false, true} {
			host, source, socket := far4, near4b, rawNetwork
			if v6 {
				host, source, socket = far6, near6, rawNetwork6
			}
			args := strings.NewReplacer("SOURCE", source.String(), "SOCKET", socket).Replace(c.args)
			t.Run(fmt.Sprintf("%s %v", args, host), func(t *testing.T) {
				out, errs, code := runEcho(append([]string{"client", "--count", "1", "--timeout", "30s", host.String()}, strings.Fields(args)...)...)
				if code != exitOK {
					t.Errorf("exit code %d\n%s%s", code, out, errs)
				}
				if m := w.next(t, v6); !c.check(m, v6) {
					t.Errorf("on the wire: from %v, ttl %d, tos %#x, header % x, %d bytes of data: % x",
						m.Peer.Addr(), m.TTL, m.TOS, m.Buf[:m.Off], len(data(m)), data(m)[:min(len(data(m)), 100)])
				}
			})
		}
	}
}

// A request that is too long for the interface leaves in fragments, unless that is
// forbidden.
func TestNothingIsFragmentedWhereThatIsForbidden(t *testing.T) {
	newWire(t, "near0")
	for _, host := range []string{far4.String(), far6.String()} {
		for flags, sent := range map[string]bool{"": true, "-M want": true, "-M do": false, "-M probe": false} {
			out, _, code := runEcho(append([]string{"client", "--count", "1", "--timeout", "30s", "--size", "2000", host}, strings.Fields(flags)...)...)
			if sent != (code == exitOK) || sent == strings.Contains(out, "message too long") {
				t.Errorf("%s %s: exit code %d\n%s", host, flags, code, out)
			}
		}
	}
}

func TestMarkSelectsARoute(t *testing.T) {
	newWire(t, "near0")
	ip := need(t, "ip", "iproute2")
	mustRun(t, exec.Command(ip, "rule", "add", "fwmark", "0x17", "unreachable"))
	t.Cleanup(func() { exec.Command(ip, "rule", "delete", "fwmark", "0x17").Run() })
	for flags, want := range map[string]int{"": exitOK, "--mark 23": exitUnanswered, "-m 0x17": exitUnanswered, "-m 24": exitOK} {
		out, _, code := runEcho(append([]string{"client", "--count", "1", "--timeout", "30s", far4.String()}, strings.Fields(flags)...)...)
		if code != want {
			t.Errorf("%s: exit code %d, want %d\n%s", flags, code, want, out)
		}
	}
}

func TestALinkLocalAddressIsReachedThroughItsZone(t *testing.T) {
	w := newWire(t, "near0")
	var local string
	err := w.far.Do(func() error {
		out, err := exec.Command(need(t, "ip", "iproute2"), "-6", "-brief", "address", "show", "dev", "far0", "scope", "link").Output()
		local, _, _ = strings.Cut(strings.Fields(string(out) + " ? ? ?")[2], "/")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	out, errs, code := runEcho("client", "--count", "2", "--interval", "1ms", "--timeout", "30s", local+"%near0")
	mustContain(t, "client", out, "PING "+local+"%near0", "64 bytes from "+local, "2 received")
	if code != exitOK {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	out, _, code = runEcho("client", "--count", "1", local+"%nosuch0")
	mustContain(t, "client", out, "not sent", "nosuch0", "no such network interface")
	if code != exitUnanswered {
		t.Errorf("exit code %d", code)
	}
}

func TestBroadcastAddressesAreSkippedUnlessAskedFor(t *testing.T) {
	w := newWire(t, "near0")
	if err := w.far.SetSysctl("net.ipv4.icmp_echo_ignore_broadcasts", "0"); err != nil {
		t.Fatal(err)
	}
	args := []string{"client", "--json", "--timeout", "30s", "192.0.2.2", "192.0.2.255"}
	out, errs, code := runEcho(args...)
	mustContain(t, "client", out, `"sent":1,`, `"skipped":1,`)
	if code != exitOK {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	for _, args := range []string{"192.0.2.255", "--count 1 192.0.2.255", "192.0.2.255 --count 0 --interval 1ms 192.0.2.255"} {
		out, errs, code = runEcho(append([]string{"client"}, strings.Fields(args)...)...)
		mustContain(t, "error", errs, "only broadcast addresses", "--broadcast")
		if code != exitError {
			t.Errorf("%s: exit code %d, want %d\n%s", args, code, exitError, out)
		}
	}
	out, errs, _ = runEcho(append(args, "--broadcast", "--count", "2", "--interval", "1ms")...)
	mustContain(t, "client", out, `"addr":"192.0.2.255","number":1,`, `"sent":4,`, `"skipped":0,`)
	if errs != "" {
		t.Error(errs)
	}
	out, errs, _ = runEcho("client", "--broadcast", "--network", "ip4:icmp", "--count", "1", "192.0.2.255")
	mustContain(t, "client", out, "1 packets transmitted")
	if errs != "" {
		t.Error(errs)
	}
}
