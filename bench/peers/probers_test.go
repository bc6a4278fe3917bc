package peers

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"iomux/transport/netlab"
)

// lab is a network namespace and a launcher, which is not everywhere.
func lab(t *testing.T) (*netlab.Namespace, launcher) {
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
	return in, l
}

// eachProber runs a test for every one that is installed.
func eachProber(t *testing.T, test func(t *testing.T, p *prober)) {
	dir := t.TempDir()
	for name, find := range map[string]func() (*prober, error){
		"echo":        func() (*prober, error) { return newEcho(dir) },
		"bare-c":      func() (*prober, error) { return newBare(dir) },
		"fping":       func() (*prober, error) { return newFping(false) },
		"fping-burst": func() (*prober, error) { return newFping(true) },
		"ping":        newPing,
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
}

// can tells whether a prober takes a load.
func can(p *prober, load string) bool {
	switch p.name {
	case "ping":
		return load == "flood"
	case "fping", "fping-burst":
		return load != "flood"
	}
	return true
}

// Every request of a round is sent and answered, and what that took is known.
func TestProbers(t *testing.T) {
	in, l := lab(t)
	eachProber(t, func(t *testing.T, p *prober) {
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
			switch says := p.name == "echo" || p.name == "bare-c"; {
			case !says && r.rtts[0] != 0, says && r.rtts[0] <= 0 && load.gap > 0:
				t.Errorf("%s: round-trip time of %v ns", name, r.rtts)
			}
			if least := load.interval(); s.Wall < least {
				t.Errorf("%s: took %v, which is less than the time between two rounds, %v", name, s.Wall, least)
			}
		}
	})
}

// A round in which a request is not answered does not count.
func TestProbersLose(t *testing.T) {
	in, l := lab(t)
	must(t, in.SetEchoReplies(false))
	eachProber(t, func(t *testing.T, p *prober) {
		if p.name == "ping" {
			return // it would wait for ten seconds
		}
		for _, name := range []string{"sweep", "steady"} {
			if s, err := (&rounds{p: p, l: l, in: in, load: loads[name]}).play(); err == nil {
				t.Errorf("%s: %+v without an answer; want an error", name, s)
			}
		}
	})
}

// One that is lost among many does not escape.
func TestProbersLoseOne(t *testing.T) {
	says := map[string]string{ // with the number of answers in it
		"echo":        `{"type":"begin"}` + "\n" + `{"type":"total","sent":40,"replies":%d,"avg_ns":5}` + "\n",
		"bare-c":      "40 %d 40 5\n",
		"fping":       "127.0.0.1 : xmt/rcv/%%loss = 20/20/0%%\n127.0.0.2 : xmt/rcv/%%loss = 20/%[1]d/1%%\n",
		"fping-burst": "127.0.0.1 : xmt/rcv/%%loss = 20/20/0%%\n127.0.0.2 : xmt/rcv/%%loss = 20/%[1]d/1%%\n",
		"ping":        "40 packets transmitted, %d received\n",
	}
	eachProber(t, func(t *testing.T, p *prober) {
		l, all := loads["steady"], 40
		switch p.name {
		case "fping", "fping-burst":
			all = 20
		case "ping":
			l = load{l.first, 1, 40, 0}
		}
		if _, err := p.rtt(fmt.Appendf(nil, says[p.name], all), l); err != nil {
			t.Errorf("all were answered: %v", err)
		}
		if _, err := p.rtt(fmt.Appendf(nil, says[p.name], all-1), l); err == nil {
			t.Error("one was lost: no error")
		}
	})
}

func TestLauncher(t *testing.T) {
	in, l := lab(t)
	said, c, err := l.run(in, "sh", "-c", "echo out; echo err >&2; exit 3")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || string(said) != "out\nerr\n" {
		t.Errorf("run = %q, %v; want out, err and exit code 3", said, err)
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

func TestLastOfALoad(t *testing.T) {
	l := load{netip.MustParseAddr("127.0.255.254"), 4, 3, time.Second / 4}
	if l.last() != netip.MustParseAddr("127.1.0.1") || l.probes() != 12 || l.interval() != time.Second {
		t.Errorf("last %v, %d probes, interval %v", l.last(), l.probes(), l.interval())
	}
}
