package peers

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"iomux/transport/netlab"
)

// lab is a network namespace with a wire to another, and a launcher, which is not
// everywhere.
func lab(t *testing.T) (*netlab.Namespace, *wire, launcher) {
	t.Helper()
	netlab.Need(t)
	l, err := newLauncher(t.TempDir())
	if errors.As(err, new(notInstalled)) {
		t.Skip(err)
	}
	must(t, err)
	in, err := netlab.New()
	must(t, err)
	t.Cleanup(func() { in.Close() })
	must(t, in.SetPingGroups(0, 0))
	w, err := newWire(in)
	must(t, err)
	t.Cleanup(func() { w.close() })
	stop, err := w.knock()
	must(t, err)
	t.Cleanup(stop)
	return in, w, l
}

// eachProber runs a test for every one that is installed.
func eachProber(t *testing.T, w *wire, test func(t *testing.T, p *prober)) {
	dir := t.TempDir()
	for name, find := range map[string]func() (*prober, error){
		"echo":         func() (*prober, error) { return newEcho(dir) },
		"bare-c":       func() (*prober, error) { return newBare(dir) },
		"fping":        func() (*prober, error) { return newFping(false) },
		"fping-burst":  func() (*prober, error) { return newFping(true) },
		"ping":         newPing,
		"nping":        newNping,
		"masscan":      func() (*prober, error) { return newMasscan(w) },
		"zmap":         func() (*prober, error) { return newZmap(w) },
		"x-net":        func() (*prober, error) { return newGoping(dir, "x-net") },
		"pro-bing":     func() (*prober, error) { return newGoping(dir, "pro-bing") },
		"pro-bing-udp": func() (*prober, error) { return newGoping(dir, "pro-bing-udp") },
	} {
		t.Run(name, func(t *testing.T) {
			p, err := find()
			if errors.As(err, new(notInstalled)) {
				t.Skip(err)
			}
			must(t, err)
			if p.name != name || p.about == "" || strings.Contains(p.about, "/") {
				t.Errorf("%s is called %s, and about it is said %q", name, p.name, p.about)
			}
			test(t, p)
		})
	}
}

var loads = map[string]load{
	"sweep":  {netip.MustParseAddr("127.0.0.250"), 30, 1, 0},
	"flood":  {netip.MustParseAddr("127.0.0.1"), 1, 100, 0},
	"steady": {netip.MustParseAddr("127.0.0.250"), 20, 2, 20 * time.Millisecond},
	"scan":   {netip.MustParseAddr("10.8.0.192"), 64, 1, time.Millisecond}, // over the wire
}

// can tells whether a prober takes a load.
func can(p *prober, load string) bool {
	switch p.name {
	case "ping", "nping":
		return load == "flood"
	case "fping", "fping-burst":
		return load != "flood"
	case "masscan", "zmap":
		return load == "scan"
	}
	return true
}

// Every request of a round is sent and answered, and what that took is known.
func TestProbers(t *testing.T) {
	in, w, l := lab(t)
	says := []string{"echo", "bare-c", "nping", "x-net", "pro-bing", "pro-bing-udp"} // a round-trip time
	eachProber(t, w, func(t *testing.T, p *prober) {
		for name, load := range loads {
			if !can(p, name) {
				continue
			}
			r := &rounds{p: p, l: l, in: in, load: load}
			s, err := r.play()
			must(t, err)
			if s.Events != load.n*load.count || s.Wall <= 0 || s.CPU <= 0 || r.resident[0] < 1<<20 || r.resident[0] > 1<<27 {
				t.Errorf("%s: %+v, %v bytes resident; want %d events", name, s, r.resident, load.n*load.count)
			}
			// The kernel takes a while to begin with stamps, which is longer than a
			// short sweep.
			switch says := slices.Contains(says, p.name); {
			case !says && r.rtts[0] != 0, says && r.rtts[0] <= 0 && (load.gap > 0 || p.name == "nping"), r.rtts[0] > 1e9:
				t.Errorf("%s: round-trip time of %v ns", name, r.rtts)
			}
			if load.gap > 0 && r.lost[0] >= 50 {
				t.Errorf("%s: %v %% lost", name, r.lost)
			}
			if least := load.interval() * time.Duration(load.count-1); s.Wall < least {
				t.Errorf("%s: took %v, which is less than from the first round to the last, %v", name, s.Wall, least)
			}
		}
	})
}

// A round in which nothing is answered does not count, of whatever prober.
func TestProbersLose(t *testing.T) {
	in, w, l := lab(t)
	must(t, in.SetEchoReplies(false))
	must(t, w.peer.SetEchoReplies(false))
	eachProber(t, w, func(t *testing.T, p *prober) {
		names := []string{"sweep", "steady"}
		switch p.name {
		case "ping":
			return // it would wait for ten seconds
		case "nping":
			names = []string{"flood"}
		case "masscan", "zmap":
			names = []string{"scan"}
		}
		for _, name := range names {
			if s, err := (&rounds{p: p, l: l, in: in, load: loads[name]}).play(); err == nil {
				t.Errorf("%s: %+v without an answer; want an error", name, s)
			}
		}
	})
}

// One that is lost among many does not escape: it is an error, or is told of.
func TestProbersLoseOne(t *testing.T) {
	says := map[string]string{ // with the number of answers in it
		"echo":         `{"type":"begin"}` + "\n" + `{"type":"total","sent":40,"replies":%d,"avg_ns":5}` + "\n",
		"bare-c":       "40 %d 40 5\n",
		"fping":        "127.0.0.1 : xmt/rcv/%%loss = 20/20/0%%\n127.0.0.2 : xmt/rcv/%%loss = 20/%[1]d/1%%\n",
		"fping-burst":  "127.0.0.1 : xmt/rcv/%%loss = 20/20/0%%\n127.0.0.2 : xmt/rcv/%%loss = 20/%[1]d/1%%\n",
		"ping":         "40 packets transmitted, %d received\n",
		"nping":        "Avg rtt: 0.003ms\nRaw packets sent: 40 (3.360KB) | Rcvd: %d (3.276KB) | Lost: 1 (2.50%%)\n",
		"x-net":        "40 %d 5\n",
		"pro-bing":     "40 %d 5\n",
		"pro-bing-udp": "40 %d 5\n",
	}
	addresses := func(format string) string {
		var said strings.Builder
		for i := range 40 {
			fmt.Fprintf(&said, format, i)
		}
		return said.String()
	}
	losing := []string{"nping", "masscan", "zmap", "pro-bing", "pro-bing-udp"}
	eachProber(t, new(wire), func(t *testing.T, p *prober) {
		if p.loses != slices.Contains(losing, p.name) {
			t.Errorf("loses = %t", p.loses)
		}
		l, all := loads["steady"], 40
		less := func(n int) []byte { return fmt.Appendf(nil, says[p.name], n) }
		switch p.name {
		case "fping", "fping-burst":
			all = 20
		case "ping", "nping":
			l = load{l.first, 1, 40, 0}
		case "masscan":
			list := "#masscan\n" + addresses("open icmp 0 10.8.0.%d 1795464004\n")
			less = func(n int) []byte { return []byte(strings.Replace(list, "open", "", all-n) + "# end\nrate: 10\n") }
		case "zmap":
			list := addresses("10.8.0.%d\n")
			less = func(n int) []byte { return []byte(strings.Replace(list, "10.8", "", all-n) + "[INFO] 10.8\n") }
		}
		if got, err := p.tally(less(all), l); err != nil || got.lost() != 0 {
			t.Errorf("all were answered: %v %% lost, %v", got.lost(), err)
		}
		switch got, err := p.tally(less(all-1), l); {
		case p.loses && (err != nil || got.lost() != 2.5):
			t.Errorf("one of 40 was lost: %v %%, %v", got.lost(), err)
		case !p.loses && err == nil:
			t.Error("one was lost: no error")
		}
		l.count++
		if got, err := p.tally(less(all), l); err == nil && p.name != "masscan" && p.name != "zmap" {
			t.Errorf("%+v, which is not all: no error", got)
		}
		if got, err := p.tally([]byte("\n"), l); err == nil {
			t.Errorf("%+v, of which it said nothing", got)
		}
	})
}

// A missing prober is named with its Debian package.
func TestProberNotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for want, find := range map[string]func() (*prober, error){
		"fping: not installed; apt-get install fping":          func() (*prober, error) { return newFping(false) },
		"ping: not installed; apt-get install iputils-ping":    newPing,
		"nping: not installed; apt-get install nmap":           newNping,
		"masscan: not installed; apt-get install masscan":      func() (*prober, error) { return newMasscan(new(wire)) },
		"zmap: not installed; apt-get install zmap":            func() (*prober, error) { return newZmap(new(wire)) },
		"bare-c: not installed; apt-get install gcc libc6-dev": func() (*prober, error) { return newBare(t.TempDir()) },
	} {
		if _, err := find(); !errors.As(err, new(notInstalled)) || err.Error() != want {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

func TestLauncher(t *testing.T) {
	in, _, l := lab(t)
	said, c, err := l.run(in, "sh", "-c", "echo err >&2; echo out; exit 3")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || string(said) != "out\nerr\n" {
		t.Errorf("run = %q, %v; want out, then err, and exit code 3", said, err)
	}
	// Not that of the process which started it.
	if c.wall <= 0 || c.resident < 1<<18 || c.resident > 6<<20 {
		t.Errorf("%+v; want some time, and the size of a shell", c)
	}
	if _, _, err := l.run(in, "sh", "-c", "kill -KILL $$"); !errors.As(err, &exit) || exit.ExitCode() != 128+9 {
		t.Errorf("killed: %v; want exit code 137", err)
	}
	if said, _, err := l.run(in, "/no/such/program"); !errors.As(err, &exit) || !strings.Contains(string(said), "/no/such/program") {
		t.Errorf("no such program: %q, %v", said, err)
	}
}

// A program does not outlive who measures it, whatever has ended that.
func TestLauncherIsLeft(t *testing.T) {
	_, _, l := lab(t)
	r, w, err := os.Pipe()
	must(t, err)
	cmd := exec.Command(l.path, "sleep", "60")
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stdout = new(bytes.Buffer) // Wait waits until the program has closed it too
	start := time.Now()
	must(t, cmd.Start())
	w.Close()
	r.Close()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 125 || time.Since(start) > 30*time.Second {
		t.Errorf("%v after %v; want exit code 125 long before the program's end", err, time.Since(start))
	}
}

func TestLastOfALoad(t *testing.T) {
	l := load{netip.MustParseAddr("127.0.255.254"), 4, 3, time.Second / 4}
	if l.last() != netip.MustParseAddr("127.1.0.1") || l.probes() != 12 || l.interval() != time.Second {
		t.Errorf("last %v, %d probes, interval %v", l.last(), l.probes(), l.interval())
	}
}
