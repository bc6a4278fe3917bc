package tun_test

import (
	"errors"
	"io/fs"
	"net"
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
	"iomux/transport/netlab"
	"iomux/transport/tun"
)

func prefixes(s ...string) (ps []netip.Prefix) {
	for _, s := range s {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// Nothing of this needs a device.
func TestOpenSaysWhatItCannotHonour(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  transport.Config
		want string
	}{
		{"sixteen-bytes-xx", transport.Config{}, "open tun sixteen-bytes-xx: the name has 16 bytes: an interface name has at most 15"},
		{"", transport.Config{Batch: 1025}, "Config.Batch is 1025: want 1 to 1024, or 0 for 64"},
		{"", transport.Config{Queues: -1}, "Config.Queues is -1: want 1 to 256, or 0 for 1"},
		{"", transport.Config{Queues: 257}, "Config.Queues is 257"},
		{"", transport.Config{Filter: []bpf.RawInstruction{{}}}, "Config.Filter: the kernel has no packet filter"},
		{"", transport.Config{RecvBuffer: 1}, "want Options.QueueLen"},
		{"", transport.Config{SendBuffer: 1}, "Config.SendBuffer"},
		{"", transport.Config{Interface: "lo"}, "Config.Interface: the address names the device"},
		{"", transport.Config{Mark: 1}, "Config.Mark"},
		{"", transport.Config{Source: kernel4.Addr()}, "Config.Source"},
		{"", transport.Config{Options: 7}, "open tun: Config.Options is a int: want tun.Options"},
		{"", transport.Config{Options: tun.Options{MTU: 67}}, "Options.MTU is 67: want 68 to 65535 bytes"},
		{"", transport.Config{Options: tun.Options{MTU: 65536}}, "Options.MTU is 65536"},
		{"", transport.Config{Options: tun.Options{QueueLen: -1}}, "Options.QueueLen is -1"},
		{"", transport.Config{Options: tun.Options{Addrs: []netip.Prefix{{}}}}, "Options.Addrs has invalid Prefix"},
		{"", transport.Config{Options: tun.Options{Addrs: prefixes("::ffff:192.0.2.1/128")}}, "Options.Addrs has ::ffff:192.0.2.1/128"},
		{"", transport.Config{Options: tun.Options{Routes: prefixes("192.0.2.1/24")}}, "Options.Routes has 192.0.2.1/24: want"},
	} {
		tr, err := transport.Open("tun", c.name, &c.cfg)
		var op *net.OpError
		if err == nil || tr != nil || !errors.As(err, &op) || op.Op != "open" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %+v: %v, want %q", c.name, c.cfg, err, c.want)
		}
	}
}

func TestOpenSaysWhatTheKernelRefuses(t *testing.T) {
	quietly(t)
	open(t, "taken", nil)
	ip(t, "route", "add", "203.0.113.0/24", "dev", "lo")
	ip(t, "route", "add", "203.0.114.0/24", "dev", "lo")
	for _, c := range []struct {
		name string
		cfg  transport.Config
		is   error
		want string
	}{
		{"taken", transport.Config{}, syscall.EBUSY, "open tun taken: ioctl TUNSETIFF: device or resource busy (another program has opened the device)"},
		{"taken", transport.Config{Queues: 2}, syscall.EINVAL, "differs in being multi-queue"},
		{"lo", transport.Config{}, syscall.EINVAL, "the interface is no TUN device"},
		{"no/name", transport.Config{}, syscall.EINVAL, "the name is none for an interface"},
		{"routed", transport.Config{Options: tun.Options{Routes: prefixes("203.0.113.0/24")}}, fs.ErrExist,
			"open tun routed: add route 203.0.113.0/24: file exists (it goes elsewhere)"},
	} {
		tr, err := transport.Open("tun", c.name, &c.cfg)
		if err == nil || tr != nil || !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.name, err, c.want)
		}
	}
	_, err := transport.Open("tun", "routed", &transport.Config{
		Options: tun.Options{Addrs: prefixes("192.0.2.9/32"), Routes: prefixes("203.0.113.0/24", "198.51.100.0/24", "203.0.114.0/24")}})
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
