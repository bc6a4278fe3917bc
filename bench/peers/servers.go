package peers

import (
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"time"

	"iomux/bench/internal/jobs"
	"iomux/transport/netlab"
)

// server is a program that answers echo requests.
type server struct {
	name  string
	about string   // what it is
	args  []string // how it is started
	tun   bool     // it answers for prefixes of its own, 10.0.0.0/8; else on a raw socket
	cpus  int      // how many processors it may use
}

// The addresses of a server on a TUN device. The kernel's own is the last one of the
// prefix, and no target.
const (
	tunPrefix  = "10.0.0.0/8"
	tunKernel  = "10.255.255.254"
	tunMask    = "255.0.0.0"
	tunTargets = 1<<24 - 1<<16
)

// requests are what a round of a server consists of.
type requests struct {
	count   int
	window  int           // outstanding
	spin    time.Duration // for which the client asks for replies before it sleeps
	targets int           // addresses on a raw socket, from 127.0.0.1 on; 0 is 1
}

// newLesson builds c/lesson.c in dir.
func newLesson(dir string) (*server, error) {
	prog, err := bareC.build(dir, "lesson")
	if err != nil {
		return nil, err
	}
	return &server{name: "lesson", about: prog.about, args: []string{prog.path, "serve"}, cpus: 1}, nil
}

// newBatch builds c/batch.c in dir. With info replies leave from the address that
// their request was sent to.
func newBatch(dir string, info bool) (*server, error) {
	prog, err := bareC.build(dir, "batch")
	if err != nil {
		return nil, err
	}
	name, arg := "batch", "info"
	if !info {
		name, arg = "batch-bare", "bare"
	}
	return &server{name: name, about: prog.about, args: []string{prog.path, arg}, cpus: 1}, nil
}

// newTun builds c/tun.c in dir.
func newTun(dir string) (*server, error) {
	prog, err := bareC.build(dir, "tun")
	if err != nil {
		return nil, err
	}
	return &server{name: "tun", about: prog.about, args: []string{prog.path, tunKernel, tunMask}, tun: true, cpus: 1}, nil
}

// newEchoServer is the echo command at path as a server, on a raw socket. It answers
// without a limit, as the others do, and keeps its privileges, for without them it
// would outlive the program that it is started by, if that is killed.
func newEchoServer(path string, flags ...string) *server {
	return newEchoOn(path, append([]string{"-4"}, flags...), false)
}

// newEchoTun is the echo command at path as a server, on a TUN device.
func newEchoTun(path string, flags ...string) *server {
	return newEchoOn(path, append([]string{"--tun", tunPrefix, "--tun-address", tunKernel}, flags...), true)
}

func newEchoOn(path string, flags []string, tun bool) *server {
	args := append([]string{path, "server", "--quiet", "--rate", "0", "--keep-privileges"}, flags...)
	return &server{name: "echo", about: runtime.Version(), args: args, tun: tun, cpus: 1}
}

// session is a server that runs in a network namespace of its own, where the kernel
// answers no echo requests, and a program that has it answer rounds of requests.
type session struct {
	in *netlab.Namespace
	*process
	trips []time.Duration // of the latest round, with one request outstanding
}

// start starts the server s and the program, which is c/load.c.
func (s *server) start(load *program, r requests) (*session, error) {
	in, err := netlab.New()
	if err != nil {
		return nil, err
	}
	if err := in.SetEchoReplies(false); err != nil {
		in.Close()
		return nil, err
	}
	return s.startIn(in, load, "127.0.0.1", r)
}

// startIn starts it in a namespace, which the session closes. On a raw socket the
// requests are sent to that address.
func (s *server) startIn(in *netlab.Namespace, load *program, address string, r requests) (*session, error) {
	first, targets := address, max(1, r.targets)
	if s.tun {
		first, targets = netip.MustParsePrefix(tunPrefix).Addr().String(), tunTargets
	}
	args := append([]string{strconv.Itoa(s.cpus), first, strconv.Itoa(targets), strconv.Itoa(r.count),
		strconv.Itoa(r.window), strconv.FormatInt(r.spin.Nanoseconds(), 10)}, s.args...)
	var p *process
	err := in.Do(func() (err error) { p, err = load.start(args...); return err })
	if err != nil {
		in.Close()
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return &session{in: in, process: p}, nil
}

// round plays one. The time on processors is that of the server.
func (s *session) round() (jobs.Sample, error) {
	sample, err := s.play("round")
	if err != nil {
		return sample, err
	}
	line, err := s.out.ReadString('\n')
	if err != nil {
		return sample, fmt.Errorf("the times of round trips: %w", err)
	}
	s.trips = s.trips[:0]
	for text := range strings.FieldsSeq(line) {
		ns, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return sample, fmt.Errorf("the times of round trips: %w", err)
		}
		s.trips = append(s.trips, time.Duration(ns))
	}
	return sample, nil
}

// close ends the program and the server, and reports how they did.
func (s *session) close() error {
	err := s.process.close()
	s.in.Close()
	return err
}
