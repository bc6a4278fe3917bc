package peers

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"iomux/bench/internal/jobs"
	"iomux/transport/netlab"
)

// load is what probers send: count echo requests to each of n addresses from first
// on, one every gap, or with no gap as fast as they can.
type load struct {
	first    netip.Addr // IPv4
	n, count int
	gap      time.Duration
}

func (l load) probes() int { return l.n * l.count }

// interval is that of the requests to one address.
func (l load) interval() time.Duration { return time.Duration(l.n) * l.gap }

func (l load) last() netip.Addr {
	b := l.first.As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n += uint32(l.n - 1)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// prober is a program that probes.
type prober struct {
	name  string
	about string // what it is
	args  func(load) []string
	rtt   func(said []byte, l load) (time.Duration, error)
}

// The peers of echo client, and how they are called. rtt checks that every request
// was answered; it returns the average round-trip time, or 0 where the program does
// not say.
var (
	fping = peer{name: "fping", packages: "fping"}
	ping  = peer{name: "ping", packages: "iputils-ping"}
)

func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/1e6, 'f', 3, 64)
}

// buildEcho builds the echo command in dir.
func buildEcho(dir string) (path string, err error) {
	path = filepath.Join(dir, "echo")
	build := exec.Command("go", "build", "-o", path, "./apps/echo")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", build, err, out)
	}
	return path, nil
}

// newEcho is the echo command's client, which it builds in dir.
func newEcho(dir string) (*prober, error) {
	path, err := buildEcho(dir)
	if err != nil {
		return nil, err
	}
	return &prober{
		name:  "echo",
		about: runtime.Version(),
		args: func(l load) []string {
			args := []string{path, "client", "--json", "--quiet", "--count", strconv.Itoa(l.count)}
			if l.gap > 0 {
				args = append(args, "--interval", l.interval().String())
			} else {
				args = append(args, "--flood")
			}
			if l.n == 1 {
				return append(args, l.first.String())
			}
			return append(args, l.first.String()+"-"+l.last().String())
		},
		rtt: func(said []byte, l load) (time.Duration, error) {
			t, err := total(said)
			if err == nil && (t.Sent != l.probes() || t.Replies != l.probes()) {
				err = fmt.Errorf("%d sent, %d answered; want %d", t.Sent, t.Replies, l.probes())
			}
			return t.Average, err
		},
	}, nil
}

// event is the last one that echo client prints, of type total.
type event struct {
	Type     string
	Sent     int
	Replies  int
	Timeouts int
	Average  time.Duration `json:"avg_ns"`
}

func total(said []byte) (e event, err error) {
	lines := bufio.NewScanner(bytes.NewReader(said))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return e, fmt.Errorf("%w: %s", err, lines.Bytes())
		}
	}
	if e.Type != "total" {
		return e, errors.Join(lines.Err(), errors.New("it printed no total"))
	}
	return e, nil
}

// version runs a tool for the first line of what it says of itself.
func (p peer) version(arg string) (string, error) {
	path, err := exec.LookPath(p.name)
	if err != nil {
		return "", notInstalled{p}
	}
	out, err := exec.Command(path, arg).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", path, arg, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimPrefix(line, path+": "), nil
}

var statistics = regexp.MustCompile(`xmt/rcv/%loss = (\d+)/(\d+)/`)

// newFping looks for fping. With burst it sends a round at once instead of one request
// every gap.
func newFping(burst bool) (*prober, error) {
	about, err := fping.version("--version")
	name := fping.name
	if burst {
		name += "-burst"
	}
	return &prober{
		name: name, about: about,
		args: func(l load) []string {
			args := []string{"fping", "-q"}
			switch {
			case l.gap == 0:
				args = append(args, "-r0", "-i0")
			case burst:
				args = append(args, "-c", strconv.Itoa(l.count), "-p", milliseconds(l.interval()), "-i0")
			default:
				args = append(args, "-c", strconv.Itoa(l.count), "-p", milliseconds(l.interval()), "-i", milliseconds(l.gap))
			}
			return append(args, "-g", l.first.String(), l.last().String())
		},
		rtt: func(said []byte, l load) (time.Duration, error) {
			if l.gap == 0 {
				return 0, nil // its exit code is 0 if all have answered
			}
			received := 0
			for _, m := range statistics.FindAllSubmatch(said, -1) {
				n, err := strconv.Atoi(string(m[2]))
				if err != nil {
					return 0, err
				}
				received += n
			}
			if received != l.probes() {
				return 0, fmt.Errorf("%d answered, want %d", received, l.probes())
			}
			return 0, nil
		},
	}, err
}

var summary = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)

// newPing looks for ping, which floods one address.
func newPing() (*prober, error) {
	about, err := ping.version("-V")
	return &prober{
		name: ping.name, about: about,
		args: func(l load) []string {
			return []string{"ping", "-f", "-q", "-c", strconv.Itoa(l.count), l.first.String()}
		},
		rtt: func(said []byte, l load) (time.Duration, error) {
			want := strconv.Itoa(l.count)
			if m := summary.FindSubmatch(said); m == nil || string(m[1]) != want || string(m[2]) != want {
				return 0, fmt.Errorf("want %s packets transmitted and received", want)
			}
			return 0, nil
		},
	}, err
}

// newBare builds c/sweep.c in dir.
func newBare(dir string) (*prober, error) {
	prog, err := bareC.build(dir, "sweep")
	if err != nil {
		return nil, err
	}
	return &prober{
		name: bareC.name, about: prog.about,
		args: func(l load) []string {
			return []string{prog.path, l.first.String(), strconv.Itoa(l.n), strconv.Itoa(l.count), strconv.FormatInt(l.gap.Nanoseconds(), 10)}
		},
		rtt: func(said []byte, l load) (rtt time.Duration, err error) {
			var sent, answered, stamped int
			if _, err := fmt.Sscan(string(said), &sent, &answered, &stamped, &rtt); err != nil {
				return 0, err
			}
			if sent != l.probes() || answered != l.probes() {
				return 0, fmt.Errorf("%d sent, %d answered; want %d", sent, answered, l.probes())
			}
			return rtt, nil
		},
	}, nil
}

// rounds are those that a prober plays with a load.
type rounds struct {
	p    *prober
	l    launcher
	in   *netlab.Namespace
	load load

	resident, rtts []float64 // of each: bytes, ns
}

func (r *rounds) play() (jobs.Sample, error) {
	args := r.p.args(r.load)
	said, c, err := r.l.run(r.in, args...)
	var rtt time.Duration
	if err == nil {
		rtt, err = r.p.rtt(said, r.load)
	}
	if err != nil {
		return jobs.Sample{}, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, tail(said))
	}
	r.resident, r.rtts = append(r.resident, float64(c.resident)), append(r.rtts, float64(rtt))
	return jobs.Sample{Events: r.load.probes(), Wall: c.wall, CPU: c.cpu}, nil
}

// tail is the end of what a program says.
func tail(said []byte) []byte { return said[max(0, len(said)-2000):] }
