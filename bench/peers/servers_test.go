package peers

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/transport/netlab"
)

// eachServer runs a test for every one.
func eachServer(t *testing.T, test func(t *testing.T, load *program, s *server)) {
	netlab.Need(t)
	dir := t.TempDir()
	load := built(t, bareC, "load")
	echo, err := buildEcho(dir)
	must(t, err)
	found := func(s *server) func() (*server, error) { return func() (*server, error) { return s, nil } }
	for name, find := range map[string]func() (*server, error){
		"lesson":     func() (*server, error) { return newLesson(dir) },
		"batch":      func() (*server, error) { return newBatch(dir, true) },
		"batch-bare": func() (*server, error) { return newBatch(dir, false) },
		"tun":        func() (*server, error) { return newTun(dir) },
		"echo":       found(newEchoServer(echo)),
		"echo-tun":   found(newEchoTun(echo)),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := find()
			must(t, err)
			if s.tun {
				needTun(t)
			}
			if !strings.HasPrefix(name, s.name) || s.about == "" || strings.Contains(s.about, "/") {
				t.Errorf("%s is called %s, and about it is said %q", name, s.name, s.about)
			}
			test(t, load, s)
		})
	}
}

// needTun skips a test or a benchmark where there is no device, or it is another user's.
func needTun(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) && os.Getuid() == 0 && mapped(t) || errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%v", err)
	}
	must(t, err)
	f.Close()
}

// mapped tells whether user 0 is somebody else outside of this user namespace.
func mapped(t testing.TB) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/self/uid_map")
	must(t, err)
	fields := strings.Fields(string(b))
	return len(fields) < 3 || fields[1] != "0"
}

// running starts a server, which must end well.
func running(t *testing.T, load *program, s *server, r requests) *session {
	t.Helper()
	run, err := s.start(load, r)
	must(t, err)
	t.Cleanup(func() { must(t, run.close()) })
	return run
}

// Every request of a round is answered, and what that took the server is known.
func TestServers(t *testing.T) {
	eachServer(t, func(t *testing.T, load *program, s *server) {
		for _, r := range []requests{{count: 100, window: 1}, {count: 100, window: 1, spin: time.Millisecond}, {count: 1001, window: 40},
			{count: 1000, window: 256, spin: time.Millisecond}} {
			expect(t, running(t, load, s, r).round, r.count)
		}
	})
}

// With one request outstanding it is known how long each round trip took: together they
// are the round. With more nothing is said of them.
func TestRoundTrips(t *testing.T) {
	netlab.Need(t)
	lesson, err := newLesson(t.TempDir())
	must(t, err)
	load := built(t, bareC, "load")
	for _, r := range []requests{{count: 100, window: 1}, {count: 100, window: 1, spin: time.Millisecond}, {count: 100, window: 2}} {
		s := running(t, load, lesson, r)
		for range 2 {
			sample, err := s.round()
			must(t, err)
			var sum time.Duration
			for _, trip := range s.trips {
				if trip <= 0 {
					t.Errorf("%+v: a round trip of %v", r, trip)
				}
				sum += trip
			}
			if want := map[bool]int{true: r.count}[r.window == 1]; len(s.trips) != want {
				t.Errorf("%+v: %d round trips are known, want %d", r, len(s.trips), want)
			} else if want > 0 && sum != sample.Wall {
				t.Errorf("%+v: round trips of %v in all in a round of %v", r, sum, sample.Wall)
			}
		}
	}
}

// What a reply is, byte for byte, seen by another than the program that counts them.
func TestReplyOfServers(t *testing.T) {
	request := []byte{8, 0, 0x12, 0x66, 0x12, 0x34, 0, 1, 'o', 'd', 'd'}
	reply := []byte{0, 0, 0x1a, 0x66, 0x12, 0x34, 0, 1, 'o', 'd', 'd'}
	eachServer(t, func(t *testing.T, load *program, s *server) {
		run := running(t, load, s, requests{count: 1, window: 1})
		expect(t, run.round, 1) // it is ready
		to := netip.MustParseAddr("127.0.0.1")
		if s.tun {
			to = netip.MustParseAddr("10.1.2.3")
		}
		must(t, run.in.Do(func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 30}); err != nil {
				return err
			}
			if err := unix.Sendto(fd, request, 0, &unix.SockaddrInet4{Addr: to.As4()}); err != nil {
				return err
			}
			for buf := make([]byte, 1500); ; {
				n, _, err := unix.Recvfrom(fd, buf, 0)
				if err != nil {
					return err
				}
				if got := buf[20:n]; got[0] == 8 {
					continue // the request, on the loopback interface
				} else if !bytes.Equal(got, reply) || !bytes.Equal(buf[12:16], to.AsSlice()) {
					t.Errorf("reply % x from % d; want % x from %v", got, buf[12:16], reply, to)
				}
				return nil
			}
		}))
	})
}

// What is not an echo request is not answered, and does no harm.
func TestServersLeaveOthersAlone(t *testing.T) {
	eachServer(t, func(t *testing.T, load *program, s *server) {
		run := running(t, load, s, requests{count: 10, window: 1})
		expect(t, run.round, 10) // it is ready
		to := unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
		if s.tun {
			to.Addr = [4]byte{10, 1, 2, 3}
		}
		must(t, run.in.Do(func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			others := [][]byte{{8, 0}, {13, 0, 0xf2, 0xff, 0, 0, 0, 0}}
			if s.tun { // else it would be a reply in the eyes of who asks
				others = append(others, []byte{0, 0, 0xff, 0xff, 0, 0, 0, 0})
			}
			for _, message := range others {
				if err := unix.Sendto(fd, message, 0, &to); err != nil {
					return err
				}
			}
			return nil
		}))
		expect(t, run.round, 10)
	})
}

// A round with a reply that is wrong, missing or one too many does not count.
func TestLoadNotices(t *testing.T) {
	netlab.Need(t)
	dir := t.TempDir()
	load := built(t, bareC, "load")
	echo, err := buildEcho(dir)
	must(t, err)
	lesson, err := newLesson(dir)
	must(t, err)
	bare, err := newBatch(dir, false)
	must(t, err)
	shell := func(script string) *server { return &server{name: "sh", args: []string{"sh", "-c", script}, cpus: 1} }
	faulty := func(flags ...string) *server { return newEchoServer(echo, flags...) }
	for name, test := range map[string]struct {
		s       *server
		kernel  bool // answers too
		address string
		want    string
	}{
		"right":          {s: lesson},
		"late":           {s: faulty("--delay", "1ms")},
		"never":          {s: shell("echo ready; exec sleep 60"), want: " requests without a reply"},
		"not all":        {s: faulty("--loss", "2%"), want: " without a reply"},
		"twice":          {s: lesson, kernel: true, want: "one reply too many"},
		"shorter":        {s: faulty("--data", "x"), want: "a reply of another length"},
		"other data":     {s: faulty("--data", strings.Repeat("x", 56)), want: "not the reply to a request"},
		"other code":     {s: faulty("--code", "7"), want: "not the reply to a request"},
		"bad checksum":   {s: faulty("--corrupt", "checksum=100%"), want: "a bad checksum"},
		"from elsewhere": {s: bare, address: "127.0.0.2", want: "a reply from elsewhere"},
		"not ready":      {s: shell("exit 3"), want: "sh ended before it was ready"},
		"no program":     {s: &server{args: []string{"/no/such/program"}, cpus: 1}, want: "/no/such/program: No such file"},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := netlab.New()
			must(t, err)
			must(t, in.SetEchoReplies(test.kernel))
			address := "127.0.0.1"
			if test.address != "" {
				address = test.address
			}
			run, err := test.s.startIn(in, load, address, requests{count: 1000, window: 100})
			must(t, err)
			defer run.close()
			s, err := run.round()
			for n := 0; test.kernel && err == nil && n < 1000; n++ {
				s, err = run.round() // the kernel may be through before the server has begun
			}
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("round: %+v, %v; want %q", s, err, test.want)
			}
		})
	}
}

// A server that ends badly fails, though all rounds have been played.
func TestServerEndsBadly(t *testing.T) {
	netlab.Need(t)
	load := built(t, bareC, "load")
	for script, want := range map[string]string{
		`trap "exit 3" TERM; echo ready; while :; do sleep 0.01; done`: "the server ended with exit code 3",
		"echo ready; kill -KILL $$":                                    "the server ended with signal 9",
	} {
		s := &server{name: "sh", args: []string{"sh", "-c", script}, cpus: 1}
		run, err := s.start(load, requests{count: 1, window: 1})
		must(t, err)
		if err := run.close(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", script, err, want)
		}
	}
}

func TestLoadUsage(t *testing.T) {
	load := built(t, bareC, "load")
	right := []string{"1", "127.0.0.1", "1", "10", "1", "0", "true"}
	for i, bad := range []string{"0", "localhost", "0", "0", "40000", "-1"} {
		args := append([]string{}, right...)
		args[i] = bad
		p, err := load.start(args...)
		must(t, err)
		if _, err := p.play("round"); err == nil || !strings.Contains(err.Error(), "usage: load CPUS FIRST TARGETS") {
			t.Errorf("load %v: %v; want how it is called", args, err)
		}
	}
}
