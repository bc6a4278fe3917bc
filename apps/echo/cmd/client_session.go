package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/report"
	"iomux/apps/echo/prober/stats"
	"iomux/mux/loop"
	"iomux/transport"
)

// session is a run of the client.
type session struct {
	o      *clientOptions
	cfg    prober.Config
	l      *loop.Loop
	p      *prober.Prober
	trace  func(transport.Call) // nil without --trace
	stdout *output
	stderr io.Writer
	out    report.Writer
	bar    *report.Progress // nil where there is none
	pcap   *pcap            // nil without --pcap

	start   time.Time
	clock   prober.Clock
	opened  bool  // a transport is
	failure error // why the run ended early
	shown   prober.Result

	// What became of the requests, with their retries. Alive are hosts.
	answered, silent, alive uint64
}

// newSession opens what is needed for sure.
func newSession(o *clientOptions, cfg prober.Config, stdout, stderr io.Writer) (_ *session, err error) {
	s := &session{o: o, cfg: cfg, stderr: stderr, clock: prober.Kernel}
	traceMux, traceTransport := o.tracer(stderr)
	s.trace = traceTransport
	if s.l, err = o.openLoop(traceMux); err != nil {
		return nil, err
	}
	colour := colours(stdout)
	if s.bar = o.progress(&cfg, stderr); s.bar != nil {
		s.stderr = s.bar.Over(stderr)
		if terminal(stdout) {
			stdout = s.bar.Over(stdout)
		}
	}
	s.stdout = newOutput(s.l, stdout)
	s.out = o.writer(s.stdout, colour)
	if o.userClock {
		s.clock = prober.User
	}
	if o.given("pcap") {
		if s.pcap, err = createPcap(o.pcap); err != nil {
			return nil, join(err, s.close())
		}
	}
	s.cfg.Open = s.opener(o.opener())
	s.cfg.OnResult, s.cfg.OnDone, s.cfg.OnFailure = s.result, s.l.Stop, s.failed
	if s.p, err = prober.New(s.l, s.cfg); err != nil {
		return nil, join(err, s.close())
	}
	return s, nil
}

// opener adds to what opens a transport what the user is to know of it.
func (s *session) opener(open func(prober.Opening) (transport.Transport, error)) func(prober.Opening) (transport.Transport, error) {
	return func(op prober.Opening) (transport.Transport, error) {
		op.PacketInfo = s.pcap != nil
		t, err := open(op)
		if err == nil && s.pcap != nil {
			t, err = s.pcap.wrap(t, op, s.o.describe(t, op.IPv6))
		}
		if err != nil {
			// That is the end also if the address became known during the run only:
			// without the permission for one family there is none for the other.
			if s.p != nil && !s.opened && (errors.Is(err, fs.ErrPermission) || s.pcap != nil && s.pcap.failed) {
				s.failed(err)
			}
			return nil, err
		}
		s.opened = true
		if !stamped(t) {
			s.clock = prober.User
		}
		if s.o.verbose {
			fmt.Fprintf(s.stderr, "echo: multiplexer %s, %s\n", s.o.backend, s.o.describe(t, op.IPv6))
		}
		return traced(t, s.trace), nil
	}
}

// run probes until all is done, the context ends or something fails.
func (s *session) run(ctx context.Context) error {
	if !signal.Ignored(syscall.SIGQUIT) {
		s.l.Notify(func(os.Signal) { s.summarize(true) }, syscall.SIGQUIT)
	}
	if s.bar != nil {
		s.l.Every(100*time.Millisecond, s.progress)
	}
	if s.pcap != nil {
		s.l.Every(time.Second, func() {
			if err := s.pcap.flush(); err != nil {
				s.l.Stop() // close tells the error
			}
		})
	}
	if s.cfg.Count != 1 { // a run without an end would do nothing for ever
		s.l.Every(time.Second, func() {
			if s.onlySkipped() {
				s.l.Stop()
			}
		})
	}
	s.start = time.Now()
	// The errors of the report are those of its output, which keeps the first.
	s.out.Begin(s.about())
	s.p.Start()
	err := s.l.Run(ctx)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	if s.bar != nil {
		s.bar.Clear()
	}
	s.summarize(false)
	s.stdout.flush()
	return join(err, s.failure, s.stdout.err)
}

// about says what is probed.
func (s *session) about() *report.Run {
	cfg := &s.cfg
	r := report.Run{Targets: cfg.Targets, Size: len(cfg.Data), Network: cfg.Network, Count: cfg.Count, Interval: cfg.Interval,
		Timeout: cfg.Timeout, Retries: cfg.Retries, Clock: s.clock, Source: cfg.Source, Interface: cfg.Interface}
	if cfg.TargetStats {
		r.Target = s.p.Target
	}
	return &r
}

func (s *session) summarize(interim bool) {
	s.out.Summary(&report.Summary{Interim: interim, Elapsed: time.Since(s.start), Total: s.p.Total().Summary(),
		Stray: s.p.Stray(), ClockSteps: s.p.ClockSteps(), Skipped: s.p.Skipped()})
}

func (s *session) progress() {
	s.bar.Update(s.answered+s.silent, (s.cfg.Targets.Len()-s.p.Skipped())*s.cfg.Count)
}

// failed ends the run.
func (s *session) failed(err error) {
	if s.failure == nil {
		s.failure = err
	}
	s.l.Stop()
}

func (s *session) result(r *prober.Result) {
	if s.o.nameless() && r.Addr.IsValid() {
		s.shown = *r
		s.shown.Name = ""
		r = &s.shown
	}
	s.out.Result(r)
	s.unknown(r)
	if !r.Last || !r.Outcome.Final() {
		return
	}
	if r.Outcome != stats.Reply && r.Outcome != stats.Reordered {
		s.silent++
		return
	}
	s.answered++
	if s.cfg.Count == 1 || r.Number == 1 {
		s.alive++
		if n := uint64(s.o.enoughAtOnce); n > 0 && s.alive >= n {
			s.p.Stop() // there may be more in this batch
			s.l.Stop()
		}
	}
}

// unknown tells of a name that cannot be looked up where the output does not. If it is the
// only target, and there is no such name, nothing would ever come of the run.
func (s *session) unknown(r *prober.Result) {
	var dns *net.DNSError
	switch {
	case r.Name == "" || r.Addr.IsValid() || r.Number != 1 || !errors.As(r.Err, &dns):
	case s.o.alone && dns.IsNotFound:
		s.failed(r.Err)
	case (s.o.quiet || s.o.chosen()) && !s.o.json && !s.o.csv:
		fmt.Fprintln(s.stderr, "echo:", r.Err)
	}
}

// close gives back what was opened.
func (s *session) close() error {
	var err error
	if s.p != nil {
		err = s.p.Close()
	}
	if s.pcap != nil {
		err = join(err, s.pcap.close())
	}
	return join(err, s.l.Close())
}

// verdict turns what a run has come to into the exit code. The error is that of the
// run.
func (s *session) verdict(failIf stats.Conditions, err error) error {
	if err == s.stdout.err && errors.Is(err, syscall.EPIPE) {
		return exitCode(128 + int(syscall.SIGPIPE)) // as if the signal had ended it
	}
	if err != nil {
		return err
	}
	if s.onlySkipped() {
		return errors.New("nothing was sent: only broadcast addresses are given, which take --broadcast")
	}
	total := s.p.Total().Summary()
	for _, v := range failIf.Check(&total) {
		fmt.Fprintln(s.stderr, "echo: --fail-if:", v)
		err = exitCode(exitUnanswered)
	}
	if !s.satisfied() {
		err = exitCode(exitUnanswered)
	}
	return err
}

// onlySkipped reports whether every target is a broadcast address that was left out.
func (s *session) onlySkipped() bool { return s.p.Skipped() == s.cfg.Targets.Len() }

// satisfied reports whether as many hosts have answered as have to.
func (s *session) satisfied() bool {
	switch n := s.o.required(); {
	case n > 0:
		return s.alive >= n
	case s.answered == 0:
		return false
	case s.cfg.Count == 1:
		return s.answered+s.p.Skipped() == s.cfg.Targets.Len()
	case !s.cfg.TargetStats:
		return s.silent == 0
	}
	unprobed := uint64(0)
	for i := range s.cfg.Targets.Len() {
		switch t := s.p.Target(i); {
		case t == nil:
			unprobed++
		case t.Counts().Received() == 0:
			return false
		}
	}
	return unprobed <= s.p.Skipped()
}
