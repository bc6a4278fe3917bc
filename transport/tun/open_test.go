package tun_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-multierror"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/netlab"
	"iomux/transport/tun"
)

func addrs(s ...string) transport.Config {
	return transport.Config{Options: tun.Options{Addrs: prefixes(s)}}
}

func routes(s ...string) transport.Config {
	return transport.Config{Options: tun.Options{Routes: prefixes(s)}}
}

func prefixes(s []string) (ps []netip.Prefix) {
	for _, s := range s {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// Nothing of this needs a device.
func TestOpenSaysWhatItCannotHonour(t *testing.T) {
	for _, c := range []struct {
		cfg  transport.Config
		want string
	}{
		{transport.Config{Batch: 1025}, "Config.Batch is 1025: want 1 to 1024, or 0 for 64"},
		{transport.Config{Queues: -1}, "Config.Queues is -1: want 1 to 256, or 0 for 1"},
		{transport.Config{Queues: 257}, "Config.Queues is 257: want 1 to 256, or 0 for 1"},
		{transport.Config{Filter: []bpf.RawInstruction{{}}}, "Config.Filter: the kernel has no packet filter for TUN devices; route less to it"},
		{transport.Config{RecvBuffer: 1}, "Config.RecvBuffer: a TUN device counts packets, want Options.QueueLen"},
		{transport.Config{SendBuffer: 1}, "Config.SendBuffer: the kernel takes each packet at once"},
		{transport.Config{Interface: "lo"}, "Config.Interface: the address names the device"},
		{transport.Config{Mark: 1}, "Config.Mark: packets from a TUN device are received ones, which have no mark"},
		{transport.Config{Source: kernel4.Addr()}, "Config.Source: the packet's header has the source address"},
		{transport.Config{Options: 7}, "Config.Options is a int: want tun.Options"},
		{transport.Config{Options: tun.Options{MTU: 67}}, "Options.MTU is 67: want 68 to 65535 bytes, or 0 for the kernel's choice"},
		{transport.Config{Options: tun.Options{MTU: 65536}}, "Options.MTU is 65536: want 68 to 65535 bytes, or 0 for the kernel's choice"},
		{transport.Config{Options: tun.Options{QueueLen: -1}}, "Options.QueueLen is -1: want a number of packets, or 0 for the kernel's choice"},
		{transport.Config{Options: tun.Options{Addrs: []netip.Prefix{{}}}},
			"Options.Addrs has invalid Prefix: want an IPv4 or IPv6 address and its prefix length, 192.0.2.1/32 for instance"},
		{addrs("::ffff:192.0.2.1/128"),
			"Options.Addrs has ::ffff:192.0.2.1/128: want an IPv4 or IPv6 address and its prefix length, 192.0.2.1/32 for instance"},
		{routes("192.0.2.1/24"),
			"Options.Routes has 192.0.2.1/24: want an IPv4 or IPv6 prefix with no bits set behind it, 198.51.100.0/24 for instance"},
	} {
		wiretest.Refused(t, "tun", "", c.cfg, c.want)
	}
	wiretest.Refused(t, "tun", "sixteen-bytes-xx", transport.Config{},
		"sixteen-bytes-xx: the name has 16 bytes: an interface name has at most 15")
}

func TestOpenSaysWhatTheKernelRefuses(t *testing.T) {
	quietly(t)
	open(t, "taken", nil)
	ip(t, "route", "add", "203.0.113.0/24", "dev", "lo")
	ip(t, "route", "add", "203.0.114.0/24", "dev", "lo")
	const unfit = "ioctl TUNSETIFF: invalid argument (the interface is no TUN device or differs in being multi-queue, or the name is none for an interface)"
	for _, c := range []struct {
		name string
		cfg  transport.Config
		is   error
		want string
	}{
		{"taken", transport.Config{}, syscall.EBUSY, "ioctl TUNSETIFF: device or resource busy (another program has opened the device)"},
		{"taken", transport.Config{Queues: 2}, syscall.EINVAL, unfit},
		{"lo", transport.Config{}, syscall.EINVAL, unfit},
		{"no/name", transport.Config{}, syscall.EINVAL, unfit},
		{"routed", routes("203.0.113.0/24"), fs.ErrExist, "add route 203.0.113.0/24: file exists (it goes elsewhere)"},
	} {
		if err := wiretest.Refused(t, "tun", c.name, c.cfg, c.name+": "+c.want); !errors.Is(err, c.is) {
			t.Errorf("%v is not %v", err, c.is)
		}
	}
	_, err := transport.Open("tun", "routed", &transport.Config{
		Options: tun.Options{Addrs: prefixes([]string{"192.0.2.9/32"}), Routes: prefixes([]string{"203.0.113.0/24", "198.51.100.0/24", "203.0.114.0/24"})}})
	var all *multierror.Error
	if !errors.As(err, &all) || len(all.Errors) != 2 {
		t.Errorf("two routes that go elsewhere: %v, want two errors", err)
	}
	if exists("routed") {
		t.Error("an Open that failed has left its device")
	}
}

// Each refusal is that of a thread with other files in /dev/net.
func TestOpenSaysWhatIsWrongWithTheCloneDevice(t *testing.T) {
	netlab.Need(t)
	for name, c := range map[string]struct {
		prepare func() error
		is      error
		advice  string
	}{
		"missing": {func() error { return nil }, fs.ErrNotExist, "sudo modprobe tun"},
		"root's alone": {func() error { return os.WriteFile("/dev/net/tun", nil, 0) }, fs.ErrPermission,
			"sudo chmod 0666 /dev/net/tun"},
		"another file": {func() error { return os.WriteFile("/dev/net/tun", nil, 0o666) }, syscall.ENOTTY, ""},
	} {
		err := withDevNet(c.prepare, func() error {
			tr, err := transport.Open("tun", "", nil)
			if err == nil {
				tr.Close()
			}
			return err
		})
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.advice) {
			t.Errorf("%s: %v, want %v with the advice %q", name, err, c.is, c.advice)
		}
		var refused *transport.PermissionError
		if denied := errors.As(err, &refused); denied != (c.is == fs.ErrPermission) {
			t.Errorf("%s: %v is a *transport.PermissionError: %v", name, err, denied)
		}
	}
}

// withDevNet runs fn on a thread of its own, which sees a /dev/net that prepare
// has filled, and is bound by the permissions of files.
func withDevNet(prepare, fn func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		if err = unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err == nil {
			err = errors.Join(
				unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
				unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, ""),
				prepare(),
			)
		}
		if err == nil {
			err = dropDACOverride()
		}
		if err == nil {
			err = fn()
		}
	}()
	<-done
	return err
}

func dropDACOverride() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&head, &sets[0]); err != nil {
		return err
	}
	sets[0].Effective &^= 1 << unix.CAP_DAC_OVERRIDE
	return unix.Capset(&head, &sets[0])
}
