package tun_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/netlab"
	"iomux/transport/tun"
)

// adopterVariable tells, in a test that is run again, how many queues it has been
// given; behind a + it has kept CAP_NET_ADMIN.
const adopterVariable = "IOMUX_TEST_ADOPT"

func adoptedConfig() *transport.Config {
	cfg := routed()
	o := cfg.Options.(tun.Options)
	o.MTU, o.QueueLen = 9000, 100
	cfg.Options = o
	return cfg
}

// A device that one process has made is used by another, without capabilities too:
// addresses, routes, MTU and queue length are there already.
func TestQueuesAreAdopted(t *testing.T) {
	if how := os.Getenv(adopterVariable); how != "" {
		queues, err := strconv.Atoi(strings.TrimPrefix(how, "+"))
		if err != nil {
			t.Fatal(err)
		}
		adopter(t, queues, how[0] == '+')
		return
	}
	for _, how := range []string{"1", "3", "+1", "+3"} {
		t.Run(how, func(t *testing.T) {
			cfg := adoptedConfig()
			cfg.Queues, _ = strconv.Atoi(strings.TrimPrefix(how, "+"))
			d := open(t, "handed%d", cfg)
			awaitAddrs(t, d)
			files, err := transport.Files(d)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("/proc/self/exe", "-test.run", "^TestQueuesAreAdopted$")
			cmd.Env = append(os.Environ(), adopterVariable+"="+how)
			cmd.ExtraFiles = files
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &out
			lost := []uintptr{unix.CAP_NET_ADMIN}
			if how[0] == '+' {
				lost = nil
			}
			if err := netlab.WithoutCapabilities(cmd, lost...); err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				f.Close()
			}
			d.Close() // from now on the device is the other's
			if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "PASS") {
				t.Errorf("%v:\n%s", err, out.String())
			}
			if exists(d.Name()) {
				t.Errorf("%s has outlived its last queue", d.Name())
			}
		})
	}
}

func adopter(t *testing.T, queues int, capable bool) {
	cfg := adoptedConfig()
	for i := range queues {
		cfg.Files = append(cfg.Files, os.NewFile(uintptr(3+i), "queue"))
	}
	tr, err := transport.Open("tun", "handed%d", cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	d := tr.(*tun.Device)
	if n := len(d.Queues()); n != queues || !strings.HasPrefix(d.Name(), "handed") {
		t.Fatalf("the device %s has %d queues, want %d", d.Name(), n, queues)
	}
	for i, q := range d.Queues() {
		flags, err1 := unix.FcntlInt(uintptr(q.FD()), unix.F_GETFL, 0)
		after, err2 := unix.FcntlInt(uintptr(q.FD()), unix.F_GETFD, 0)
		if err := errors.Join(err1, err2); err != nil || flags&unix.O_NONBLOCK == 0 || after&unix.FD_CLOEXEC == 0 {
			t.Errorf("queue %d: flags %#x and %#x, %v: want non-blocking and close-on-exec", i, flags, after, err)
		}
	}
	if err := d.Up(); err != nil {
		t.Errorf("Up of what is up: %v", err)
	}
	// It carries packets.
	datagram(t, 4711, somebody4)
	got := false
	for i := 0; !got; i++ {
		for _, q := range d.Queues() {
			ms := wiretest.Slots(1, 9000)
			if n, err := q.Recv(ms); err != nil {
				t.Fatal(err)
			} else if n == 1 && ms[0].Bytes()[0]>>4 == 4 {
				got = strings.HasSuffix(string(ms[0].Bytes()), "datagram")
			}
		}
	}
	// What is not as it should be takes the capability.
	cfg.Files, err = transport.Files(d)
	if err != nil {
		t.Fatal(err)
	}
	o := cfg.Options.(tun.Options)
	o.Addrs = append(o.Addrs, netip.MustParsePrefix("192.0.2.77/32"))
	o.Routes = append(o.Routes, netip.MustParsePrefix("203.0.113.0/24"))
	cfg.Options = o
	again, err := transport.Open("tun", d.Name(), cfg)
	if err == nil {
		again.Close()
	}
	if capable && err != nil || !capable && (!errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_ADMIN")) {
		t.Errorf("one more address and route, capable %v: %v", capable, err)
	}
}

// handed are duplicates of a device's queues.
func handed(t *testing.T, d *tun.Device, n int) []*os.File {
	t.Helper()
	files, err := transport.Files(d)
	if err != nil {
		t.Fatal(err)
	}
	for len(files) < n {
		more, err := transport.Files(d)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	return files
}

func TestOpenSaysWhatItCannotAdopt(t *testing.T) {
	quietly(t)
	d := open(t, "handed", nil)
	null := func() []*os.File {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		return []*os.File{f}
	}
	clone, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	tap, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	framed, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for f, c := range map[*os.File]struct {
		name  string
		flags uint16
	}{tap: {"tapped", unix.IFF_TAP | unix.IFF_NO_PI}, framed: {"framed", unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR}} {
		r, err := unix.NewIfreq(c.name)
		if err != nil {
			t.Fatal(err)
		}
		r.SetUint16(c.flags)
		if err := unix.IoctlIfreq(int(f.Fd()), unix.TUNSETIFF, r); err != nil {
			t.Fatal(err)
		}
	}
	closed := null()
	closed[0].Close()
	for _, c := range []struct {
		name   string
		files  []*os.File
		queues int
		want   string
	}{
		{"", null(), 0, "Config.Files[0]: ioctl TUNGETIFF: inappropriate ioctl for device (want a queue of a TUN device)"},
		{"", []*os.File{clone}, 0, "Config.Files[0]: ioctl TUNGETIFF: file descriptor in bad state (want a queue of a TUN device)"},
		{"", closed, 0, "Config.Files[0]: file already closed"},
		{"", []*os.File{nil}, 0, "Config.Files[0]: invalid argument"},
		{"other", handed(t, d, 1), 0, "other: Config.Files[0]: it is a queue of the device handed: want other"},
		{"tun%d", handed(t, d, 1), 0, "tun%d: Config.Files[0]: it is a queue of the device handed: want tun%d"},
		{"", handed(t, d, 2), 0, "Config.Files[0]: handed has one queue: want one file"},
		{"", handed(t, d, 1), 2, "Config.Files has 1 descriptors and Config.Queues is 2: want one for each queue"},
		{"", handed(t, d, 257), 0, "Config.Files has 257 descriptors: want 1 to 256"},
		{"", []*os.File{tap}, 0, "Config.Files[0]: tapped is a TAP device: want a TUN device"},
		{"", []*os.File{framed}, 0, "Config.Files[0]: framed puts a header before each packet (IFF_VNET_HDR): want none"},
	} {
		tr, err := transport.Open("tun", c.name, &transport.Config{Files: c.files, Queues: c.queues})
		if err == nil {
			tr.Close()
		}
		if err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}
