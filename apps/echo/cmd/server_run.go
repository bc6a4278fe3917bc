package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"iomux/apps/echo/capture"
	"iomux/apps/echo/health"
	"iomux/apps/echo/responder"
	"iomux/apps/echo/responder/queue"
	"iomux/apps/echo/responder/rules"
	"iomux/mux/loop"
	"iomux/transport"
)

// server is a run of the server. What is not a lane's own belongs to the first loop.
type server struct {
	o      *serverOptions
	out    *sink
	stderr io.Writer
	report serverReport
	places []*place
	lanes  []*lane
	policy *responder.Policy
	pcap   *pcap // nil without --pcap

	began     time.Time
	last      totals // when rates were told last
	gathering bool
	reloading bool
	reloadDue bool // another SIGHUP came meanwhile

	mu       sync.Mutex
	failures []error
	panicked string
}

// lane is a loop with what it watches.
type lane struct {
	l          *loop.Loop
	out        *lineBuffer
	responders []*responder.Responder
	drops      []drops
	asked      request // what is being answered
}

// request is a request, until it is known what becomes of it.
type request struct {
	head []byte // for people: what comes before the outcome and the data
	data []byte
	ttl  uint8
}

// newServer opens the loops.
func newServer(o *serverOptions, stdout, stderr io.Writer) (s *server, err error) {
	s = &server{o: o, stderr: &locked{w: stderr}}
	s.out = &sink{w: stdout, fail: s.stop}
	for range o.loops {
		trace, _ := o.tracer(s.stderr)
		l, err := o.openLoop(trace)
		if err != nil {
			return nil, join(err, s.close())
		}
		s.lanes = append(s.lanes, &lane{l: l, out: &lineBuffer{l: l, to: s.out}})
	}
	s.report = textReport{s}
	if o.json {
		s.report = jsonReport{s}
	}
	return s, nil
}

// listen takes the signals that do not end the server, from now on: before the loop runs
// they wait.
func (s *server) listen() {
	first := s.lanes[0].l
	if s.o.rulesFile != "" && !signal.Ignored(syscall.SIGHUP) {
		first.Notify(func(os.Signal) { s.reload() }, syscall.SIGHUP)
	}
	first.Notify(func(os.Signal) {
		s.gather(true, func(t *totals, d *detail) { s.report.summary(t, d, true) })
	}, syscall.SIGUSR1)
}

// prepare makes the responders.
func (s *server) prepare(set *rules.Set, files handed) (err error) {
	if s.o.pcap != "" {
		if s.pcap, err = s.openPcap(files); err != nil {
			return err
		}
	}
	rate := int(s.o.rate)
	if rate == 0 {
		rate = -1
	}
	s.policy = responder.NewPolicy(responder.PolicyConfig{Rules: set, Rate: rate})
	for _, p := range s.places {
		for i, t := range p.transports {
			if err := s.answerOn(s.lanes[i], p, i, t); err != nil {
				return fmt.Errorf("%s: %w", p.label, err)
			}
		}
	}
	return nil
}

// answerOn has a lane answer on a transport.
func (s *server) answerOn(n *lane, p *place, i int, t transport.Transport) (err error) {
	_, trace := s.o.tracer(s.stderr)
	wrap := func(t transport.Transport, o capture.Options) (transport.Transport, error) {
		if s.pcap != nil {
			if t, err = s.pcap.writer.Wrap(t, o); err != nil {
				s.pcap.failed = true
				return nil, s.pcap.named(err)
			}
		}
		return traced(t, trace), nil
	}
	n.drops = append(n.drops, newDrops(t))
	// As int64: of the most items it would not fit 32 bits.
	room := min(queue.MaxBytes, max(16<<20, 2*queue.BlockSize*int64(s.o.queue)))
	cfg := responder.Config{IPv6: p.ipv6, Policy: s.policy, Broadcast: s.o.broadcast, QueueItems: int(s.o.queue), QueueBytes: int(room)}
	if t, err = wrap(t, capture.Options{Name: p.network, Payload: p.payload}); err != nil {
		return err
	}
	if p.forge != nil {
		if cfg.Forge, err = wrap(p.forge[i], capture.Options{Name: p.network + " forged"}); err != nil {
			return err
		}
	}
	if s.o.given("data") {
		cfg.Data = append([]byte{}, s.o.data...)
	}
	if !s.o.quiet {
		cfg.OnRequest = func(r responder.Request) { s.report.request(n, &r) }
		cfg.OnAnswer = func(a responder.Answer) { s.report.answer(n, &a) }
	}
	cfg.OnFailure = func(err error) {
		if p.device != nil && errors.Is(err, syscall.EBADFD) {
			err = goneError{p.device.Name()}
		}
		s.failed(err)
	}
	r, err := responder.New(n.l, t, cfg)
	if err == nil {
		n.responders = append(n.responders, r)
	}
	return err
}

// run answers until it is stopped, the context ends or something fails.
func (s *server) run(ctx context.Context) error {
	first := s.lanes[0].l
	s.began = first.Now()
	s.last.at = s.began
	watching, stopWatching := context.WithCancel(ctx)
	var watches sync.WaitGroup
	defer watches.Wait()
	defer stopWatching()
	if s.o.health != "" {
		if err := s.watchHealth(watching, &watches); err != nil {
			return err
		}
	}
	for _, p := range s.places {
		if p.device == nil {
			continue
		}
		stop, err := watchLink(p.device, func(e linkEvent) { first.Post(func() { s.linkChanged(p, e) }) })
		if err != nil {
			return fmt.Errorf("--tun: %w", err)
		}
		defer stop()
	}
	if s.o.stats > 0 {
		first.Every(s.o.stats, func() {
			if s.gathering { // still, so that this line is left out
				return
			}
			s.gathering = true
			s.gather(false, func(t *totals, _ *detail) {
				s.gathering = false
				s.rates(t)
			})
		})
	}
	if s.pcap != nil {
		first.Every(time.Second, func() {
			if err := s.pcap.flush(); err != nil {
				s.stop() // close tells the error
			}
		})
	}
	s.report.start()

	var others sync.WaitGroup
	for _, n := range s.lanes[1:] {
		others.Go(func() { s.runLane(ctx, n) })
	}
	s.runLane(ctx, s.lanes[0])
	others.Wait()
	if s.panicked != "" {
		panic(s.panicked)
	}
	now := totals{at: time.Now()}
	all := newDetail()
	for _, n := range s.lanes {
		n.add(&now, all)
	}
	s.report.summary(&now, all, false)
	for _, n := range s.lanes {
		n.out.flush()
	}
	return join(append(s.failures, s.out.failure())...)
}

// runLane runs a loop. Whatever ends it ends the others too.
func (s *server) runLane(ctx context.Context, n *lane) {
	if n != s.lanes[0] {
		// A panic has to come out of run, where the kernel's settings are restored.
		defer func() {
			if p := recover(); p != nil {
				s.mu.Lock()
				s.panicked = cmp.Or(s.panicked, fmt.Sprintf("%v\n\n%s", p, debug.Stack()))
				s.mu.Unlock()
			}
		}()
	}
	defer s.stop()
	if len(s.lanes) > 1 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	if err := n.l.Run(ctx); err != nil {
		s.failed(err)
	}
}

// stop ends the run. It may be called from any goroutine.
func (s *server) stop() {
	for _, n := range s.lanes {
		n.l.Stop()
	}
}

// failed ends the run. It may be called from any goroutine. What several loops report
// alike is one failure.
func (s *server) failed(err error) {
	s.mu.Lock()
	known := false
	for _, other := range s.failures {
		known = known || other.Error() == err.Error()
	}
	if !known {
		s.failures = append(s.failures, err)
	}
	s.mu.Unlock()
	s.stop()
}

// close gives back what was opened.
func (s *server) close() (err error) {
	for _, n := range s.lanes {
		err = join(err, n.l.Close())
	}
	for _, p := range s.places {
		err = join(err, p.close())
	}
	if s.pcap != nil {
		err = join(err, s.pcap.close())
	}
	return err
}

// add adds the numbers of a lane; on its loop, or after it.
func (n *lane) add(t *totals, d *detail) {
	for i, r := range n.responders {
		t.add(&totals{Stats: r.Stats(), kernelDrops: n.drops[i].count()})
		if d != nil {
			d.add(r)
		}
	}
}

// gather asks all lanes for their numbers. What comes of it is told on the first loop,
// as nothing may be read from another.
func (s *server) gather(details bool, done func(*totals, *detail)) {
	first := s.lanes[0].l
	sum, all, left := &totals{at: first.Now()}, newDetail(), len(s.lanes)
	for _, n := range s.lanes {
		n.l.Post(func() {
			var t totals
			var d *detail
			if details {
				d = newDetail()
			}
			n.add(&t, d)
			first.Post(func() {
				sum.add(&t)
				if d != nil {
					all.merge(d)
				}
				if left--; left == 0 {
					done(sum, all)
				}
			})
		})
	}
}

// rates tells what happened since the last time.
func (s *server) rates(t *totals) {
	s.report.stats(t, &s.last)
	s.last = *t
}

// reload reads the rules again, off the loop: for many of them it takes seconds.
func (s *server) reload() {
	if s.reloading {
		s.reloadDue = true
		return
	}
	s.reloading = true
	go func() {
		set, err := rules.ReadFile(s.o.rulesFile)
		s.lanes[0].l.Post(func() {
			if err == nil {
				s.policy.Use(set)
			}
			s.report.reload(set, err)
			s.reloading = false
			if s.reloadDue {
				s.reloadDue = false
				s.reload()
			}
		})
	}()
}

// watchHealth answers only while all is well.
func (s *server) watchHealth(ctx context.Context, running *sync.WaitGroup) error {
	c, err := health.New(health.Config{Check: s.o.health, Interval: s.o.healthInterval, Timeout: s.o.healthTimeout,
		Threshold: int(s.o.healthThreshold),
		OnChange: func(well bool, cause error) {
			s.policy.SetHealthy(well)
			s.lanes[0].l.Post(func() { s.report.health(well, cause) })
		}})
	if err != nil {
		return fmt.Errorf("--health: %w", err)
	}
	s.policy.SetHealthy(false)
	running.Go(func() { c.Run(ctx) })
	return nil
}

func (s *server) linkChanged(p *place, e linkEvent) {
	if e.gone {
		s.failed(goneError{p.device.Name()})
		return
	}
	s.report.link(p, e)
}

// openPcap makes the file of --pcap, or takes the one that was handed over.
func (s *server) openPcap(files handed) (*pcap, error) {
	if opened := files.take("pcap"); opened != nil {
		defer opened[0].Close()
		fd, err := unix.FcntlInt(opened[0].Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("--pcap: %w", err)
		}
		return newPcap(os.NewFile(uintptr(fd), s.o.pcap)), nil // which has its name in errors
	}
	return createPcap(s.o.pcap)
}
