package cmd

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	plague "iomux/apps/echo/internal/hostile"
	"iomux/transport/netlab"
)

// ask sends n requests to an address, from different sources.
func (a *attack) ask(to string, n int, size int) {
	for i := range n {
		from := netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)})
		a.send(plague.Request(nil, from, netip.MustParseAddr(to), uint16(size), uint16(i), bytes.Repeat([]byte{'x'}, size)))
	}
	a.flush()
}

// await asks for the counters until they are as wanted.
func (a *attack) await(want map[string]uint64) map[string]uint64 {
	a.t.Helper()
	for end := time.Now().Add(watchdog); ; {
		c := a.counters()
		if matches(c, want) {
			return c
		}
		if time.Now().After(end) {
			a.t.Fatalf("the counters are %v, want %v", c, want)
		}
	}
}

// accounted waits until the server has received so many requests.
func (a *attack) accounted(n uint64) map[string]uint64 {
	a.t.Helper()
	for end := time.Now().Add(watchdog); ; {
		c := a.counters()
		if c["received"]-c["ignored"] == n {
			return c
		}
		if time.Now().After(end) {
			a.t.Fatalf("the counters are %v, want %d requests", c, n)
		}
	}
}

func matches(c, want map[string]uint64) bool {
	for key, n := range want {
		if c[key] != n {
			return false
		}
	}
	return true
}

// finish ends the server, whose summary must have these numbers and no other ones.
func (a *attack) finish(want map[string]uint64) {
	a.t.Helper()
	a.s.Process.Signal(syscall.SIGTERM)
	c := a.summary()
	if c["received"] != accountedFor(c) {
		a.t.Errorf("%d messages were received and %d are accounted for: %v", c["received"], accountedFor(c), c)
	}
	for key, n := range c {
		if n != want[key] {
			a.t.Errorf("%s is %d, want %d: %v", key, n, want[key], c)
		}
	}
	if _, code := a.s.end(); code != exitOK || a.s.stderr.Len() > 0 {
		a.t.Errorf("exit code %d\n%s", code, &a.s.stderr)
	}
}

// idle demands that the server does next to nothing for a while: it waits for something,
// rather than to try all the time.
func (a *attack) idle(when string) {
	t := a.t
	t.Helper()
	log := filepath.Join(t.TempDir(), "strace")
	c := exec.Command(need(t, "strace", "strace"), "-f", "-c", "-o", log,
		"-e", "trace=recvmmsg,sendmmsg,recvmsg,sendmsg,readv,writev,read,write,ioctl,epoll_wait,epoll_pwait,epoll_pwait2,epoll_ctl,poll,ppoll,pselect6,sched_yield",
		"-p", fmt.Sprint(a.s.Process.Pid))
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	guard(t, c)
	var said bytes.Buffer
	buf := make([]byte, 4096)
	for !strings.Contains(said.String(), "attached") {
		n, err := stderr.Read(buf)
		if said.Write(buf[:n]); err != nil {
			t.Fatalf("strace: %s", &said)
		}
	}
	time.Sleep(200 * time.Millisecond) // in which somebody who tries all the time makes thousands of calls
	c.Process.Signal(syscall.SIGTERM)
	io.Copy(&said, stderr)
	c.Wait()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	total := regexp.MustCompile(`(?m)^ *100\.00 +\S+ +\S* +(\d+)(?: +\d+)? total$`).FindSubmatch(b)
	if total == nil { // no call at all
		return
	}
	if n, _ := strconv.Atoi(string(total[1])); n > 400 {
		t.Errorf("%s the server makes %d system calls in 200 ms:\n%s", when, n, b)
	}
}

func TestServerThatWasStoppedGoesOn(t *testing.T) {
	tunAttack(t, func(a *attack) {
		a.s.Process.Signal(syscall.SIGSTOP)
		a.ask("198.19.0.1", 300, 8) // delayed: due long before the server goes on, or not
		a.ask("198.18.0.1", 300, 8)
		a.s.Process.Signal(syscall.SIGUSR1)
		a.s.Process.Signal(syscall.SIGUSR1) // signals may be merged
		a.s.Process.Signal(syscall.SIGCONT)
		a.summary()
		base := a.await(map[string]uint64{"answered": 600, "queued": 0})
		for a.look(0) {
		}
		if a.replies != 600 {
			t.Errorf("%d replies, want 600", a.replies)
		}
		a.ask("198.19.0.1", 100, 8) // these are held while it is stopped, and are due
		a.await(map[string]uint64{"received": base["received"] + 100})
		a.s.Process.Signal(syscall.SIGSTOP)
		a.s.Process.Signal(syscall.SIGCONT)
		c := a.await(map[string]uint64{"answered": 700, "queued": 0})
		for a.look(0) {
		}
		if a.replies != 700 {
			t.Errorf("%d replies, want 700", a.replies)
		}
		if c["received"]-c["ignored"] != 700 || c["delayed"] != 400 || c["kernel_drops"] != 0 {
			t.Errorf("the counters are %v", c)
		}
		a.finish(c)
	}, "--to", "198.19.0.0/16", "--delay", "100ms")
}

func TestDelayedAnswersThatFindNoRoomAreCountedAndTheOthersGoOn(t *testing.T) {
	tunAttack(t, func(a *attack) {
		a.ask("198.19.0.1", 35, 8) // for an hour
		a.ask("198.18.0.1", 5, 8)
		c := a.await(map[string]uint64{"answered": 5})
		want := map[string]uint64{"answered": 5, "queued": 20, "delayed": 20, "refused": 15}
		if !matches(c, want) {
			t.Errorf("the counters are %v, want %v", c, want)
		}
		a.idle("while the queue is full")
		a.ask("198.19.0.1", 5, 8)
		a.ask("198.18.0.1", 5, 8)
		c = a.await(map[string]uint64{"answered": 10})
		want = map[string]uint64{"answered": 10, "queued": 20, "delayed": 20, "refused": 20, "received": c["received"], "ignored": c["ignored"]}
		if c["received"]-c["ignored"] != 50 {
			t.Errorf("the counters are %v", c)
		}
		a.finish(want)
	}, "--to", "198.19.0.0/16", "--delay", "1h", "--queue", "20")
}

// While the device is down nothing can be sent. What was held is lost then, and is
// counted.
func TestServerOnADeviceThatIsDownAndUpAgainAndAgain(t *testing.T) {
	tunAttack(t, func(a *attack) {
		link, err := netlink.LinkByName("victim")
		if err != nil {
			t.Fatal(err)
		}
		ns, err := netlab.Current()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		var all uint64
		for round := range 3 {
			a.ask("198.19.0.1", 10, 8)
			a.ask("198.18.0.1", 10, 8)
			all += 20
			a.accounted(all)
			if err := ns.SetLink("victim", false); err != nil {
				t.Fatal(err)
			}
			mustContain(t, "the event", a.s.awaitLine(`"link"`), `"victim"`, `"up":false`)
			if round == 0 {
				a.idle("while the device is down")
			}
			a.await(map[string]uint64{"queued": 0})
			if err := netlink.LinkSetUp(link); err != nil {
				t.Fatal(err)
			}
			mustContain(t, "the event", a.s.awaitLine(`"link"`), `"victim"`, `"up":true`)
			for _, to := range []netip.Addr{target4, target6} {
				routes, err := netlink.RouteGet(to.AsSlice())
				if err != nil || len(routes) != 1 || routes[0].LinkIndex != link.Attrs().Index {
					t.Errorf("the route to %v is %v, %v", to, routes, err)
				}
			}
			a.in.Close()
			a.seen.Close()
			a.begin()
			a.ping(false)
			a.ping(true)
			a.settle()
			all += 2
		}
		c := a.accounted(all)
		if c["answered"]+c["send_errors"] != all || c["send_errors"] == 0 || c["recv_errors"] != 0 {
			t.Errorf("of %d requests that came while the device was up: %v", all, c)
		}
		a.finish(c)
	}, "--to", "198.19.0.0/16", "--delay", "1s", "--rate", "0")
}

func TestServerOnRawSocketsWhoseInterfaceIsDownAndUp(t *testing.T) {
	rawAttack(t, func(a *attack, ns *netlab.Namespace) {
		a.window(0, nil)
		a.ask("198.19.0.1", 10, 8) // held when it goes down
		a.accounted(12)
		if err := ns.SetLink("near", false); err != nil {
			t.Fatal(err)
		}
		a.idle("while the interface is down")
		c := a.await(map[string]uint64{"queued": 0})
		if c["answered"]+c["send_errors"] != 12 || c["send_errors"] == 0 || c["recv_errors"] != 0 {
			t.Errorf("of 12 requests that came while the interface was up: %v", c)
		}
		if err := ns.SetLink("near", true); err != nil {
			t.Fatal(err)
		}
		// The routes and IPv6 addresses of this interface are its administrator's.
		if err := routeBack4(ns); err != nil {
			t.Fatal(err)
		}
		a.in.Close()
		a.seen.Close()
		a.begin()
		a.ping(false)
		a.settle()
		c["answered"]++
		c["received"]++
		a.finish(c)
	}, "--to", "198.19.0.0/16", "--delay", "1s")
}

func routeBack4(ns *netlab.Namespace) error {
	return ns.AddRoute(netlab.Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.2"), Link: "near"})
}

// The cable takes next to nothing, so that the send buffer of the server fills, and then
// its receive buffer. When it takes everything again so does the server, and what has
// become of each request is counted.
func TestServerWhoseSendBufferIsFullGoesOn(t *testing.T) {
	rawAttack(t, func(a *attack, ns *netlab.Namespace) {
		a.window(0, nil)
		const requests, size = 8000, 1000
		if err := ns.SetThrottle("near", netlab.Throttle{Rate: 2000, Burst: 3000, Limit: 16 << 20}); err != nil {
			t.Fatal(err)
		}
		a.ask("198.18.0.1", requests, size)
		c := a.counters()
		for before := uint64(0); c["received"] != before; c = a.counters() { // until nothing moves
			before = c["received"]
			a.idle("while the send buffer is full")
		}
		if c["queued"] == 0 || c["received"] == requests+2 {
			t.Errorf("the send buffer is not full: %v", c)
		}
		if err := ns.SetThrottle("near", netlab.Throttle{}); err != nil {
			t.Fatal(err)
		}
		a.through()
		c = a.counters()
		if c["received"]+c["kernel_drops"] != a.sent || c["answered"] != c["received"] || c["kernel_drops"] == 0 {
			t.Errorf("%d requests were sent, the counters are %v", a.sent, c)
		}
		a.finish(c)
	})
}
