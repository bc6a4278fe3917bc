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
	parse func(said []byte, l load) (tally, error)
	loses bool // under these loads, of which the benchmark then tells
}

// tally is what a prober says it did. rtt is the average round-trip time, 0 where it is
// not known.
type tally struct {
	sent, answered int
	rtt            time.Duration
}

// lost is a percentage.
func (t tally) lost() float64 { return 100 * float64(t.sent-t.answered) / float64(t.sent) }

// tally returns an error unless every request was sent and answered; those of a prober
// that loses need not be, as long as some are.
func (p *prober) tally(said []byte, l load) (tally, error) {
	t, err := p.parse(said, l)
	if err != nil {
		return t, err
	}
	if t.sent != l.probes() || t.answered > t.sent || t.answered < t.sent && !p.loses || t.answered == 0 {
		return t, fmt.Errorf("%d sent, %d answered; want %d", t.sent, t.answered, l.probes())
	}
	return t, nil
}

// The peers of echo client, and how they are called.
var (
	fping   = peer{name: "fping", packages: "fping"}
	ping    = peer{name: "ping", packages: "iputils-ping"}
	nping   = peer{name: "nping", packages: "nmap"}
	masscan = peer{name: "masscan", packages: "masscan"}
	zmap    = peer{name: "zmap", packages: "zmap"}
)

func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/1e6, 'f', 3, 64)
}

// buildEcho builds the echo command in dir.
func buildEcho(dir string) (path string, err error) {
	return buildGo(dir, filepath.Join("..", ".."), "./apps/echo")
}

// buildGo builds a command of a module in dir.
func buildGo(dir, module, command string) (path string, err error) {
	path = filepath.Join(dir, filepath.Base(command))
	build := exec.Command("go", "build", "-o", path, command)
	build.Dir = module
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
		parse: func(said []byte, _ load) (tally, error) {
			t, err := total(said)
			return tally{t.Sent, t.Replies, t.Average}, err
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

// version runs a tool for the first line that it says of itself.
func (p peer) version(arg string) (string, error) {
	path, err := exec.LookPath(p.name)
	if err != nil {
		return "", notInstalled{p}
	}
	out, err := exec.Command(path, arg).Output()
	if err != nil && len(out) == 0 { // masscan's exit code is 1
		return "", fmt.Errorf("%s %s: %w", path, arg, err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	line, _, _ = strings.Cut(strings.TrimPrefix(line, path+": "), " (") // and where it comes from
	return line, nil
}

// counts adds up what an expression matches: how many were sent, and answered.
func counts(said []byte, expression *regexp.Regexp) (t tally, err error) {
	all := expression.FindAllSubmatch(said, -1)
	if all == nil {
		return t, fmt.Errorf("it printed nothing like %s", expression)
	}
	for _, m := range all {
		for i, sum := range []*int{&t.sent, &t.answered} {
			n, err := strconv.Atoi(string(m[1+i]))
			if err != nil {
				return t, err
			}
			*sum += n
		}
	}
	return t, nil
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
			gap := milliseconds(l.gap)
			if burst {
				gap = "0"
			}
			args := []string{"fping", "-q", "-i", gap}
			if l.count == 1 {
				args = append(args, "-r0")
			} else {
				args = append(args, "-c", strconv.Itoa(l.count), "-p", milliseconds(l.interval()))
			}
			return append(args, "-g", l.first.String(), l.last().String())
		},
		parse: func(said []byte, l load) (tally, error) {
			if l.count == 1 {
				return tally{l.probes(), l.probes(), 0}, nil // its exit code is 0 if all have answered
			}
			return counts(said, statistics)
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
		parse: func(said []byte, _ load) (tally, error) { return counts(said, summary) },
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
		parse: func(said []byte, _ load) (t tally, err error) {
			var stamped int
			_, err = fmt.Sscan(string(said), &t.sent, &t.answered, &stamped, &t.rtt)
			return t, err
		},
	}, nil
}

// rounds are those that a prober plays with a load.
type rounds struct {
	p    *prober
	l    launcher
	in   *netlab.Namespace
	load load

	resident, rtts, lost []float64 // of each: bytes, ns, percent
}

func (r *rounds) play() (jobs.Sample, error) {
	args := r.p.args(r.load)
	said, c, err := r.l.run(r.in, args...)
	var t tally
	if err == nil {
		t, err = r.p.tally(said, r.load)
	}
	if err != nil {
		return jobs.Sample{}, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, tail(said))
	}
	r.resident, r.rtts = append(r.resident, float64(c.resident)), append(r.rtts, float64(t.rtt))
	r.lost = append(r.lost, t.lost())
	return jobs.Sample{Events: r.load.probes(), Wall: c.wall, CPU: c.cpu}, nil
}

// tail is the end of what a program says.
func tail(said []byte) []byte { return said[max(0, len(said)-2000):] }
