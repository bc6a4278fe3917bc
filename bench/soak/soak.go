package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"time"

	"iomux/mux"
	"iomux/mux/loop"
)

// config is what a soak does.
type config struct {
	backend     string
	descriptors int // to watch
	seed        uint64

	duration time.Duration // how long, if limit is 0
	limit    int           // how many operations
	idle     time.Duration // how long nothing happens in the end
	mostCPU  float64       // processor time that may use, as a part of it; 0: any
	patience int           // how many looks, a millisecond or more apart, may find nothing new before what is due counts as lost
	interval time.Duration // between two lines of progress on out; 0: none
	out      io.Writer

	kinds []kind                // of sources
	wrap  func(mux.Mux) mux.Mux // nil, or what comes around the backend
}

// result is what a soak has counted.
type result struct {
	backend    string
	took       time.Duration
	operations int
	opened     int // descriptors that were watched
	events     int // pokes that were read because of an event
	timers     int // that fired
	signalled  int
	posts      int
	lost       int
	leaks      int
	idleWaits  int     // Waits that returned while nothing happened
	idleCPU    float64 // processor time of the process meanwhile, as a part of it
}

// soak is one loop on one backend, with a number of sources that are poked,
// closed and replaced all the time. Everything but posters runs on the loop.
type soak struct {
	config
	result
	ctx     context.Context
	rng     *rand.Rand
	m       *counted
	l       *loop.Loop
	tenants []*tenant
	own     int // descriptors that are open but for the sources'
	owned   int // descriptors of the sources

	timing   timerAccount
	signals  signalAccount
	posting  postAccount
	start    time.Time
	progress *loop.Timer // prints lines
	draining *loop.Timer // looks whether everything has arrived
	due      int         // what has not, when it last became less
	looks    int         // that have found nothing new
	err      error
}

// counted counts the Waits that return.
type counted struct {
	mux.Mux
	waits int
}

func (c *counted) Wait(events []mux.Event, timeout time.Duration) (int, error) {
	n, err := c.Mux.Wait(events, timeout)
	c.waits++
	return n, err
}

// run does a soak. The result counts up to the failure, if there is one.
func run(ctx context.Context, c config) (result, error) {
	before := takeBaseline()
	s := &soak{config: c, ctx: ctx, rng: rand.New(rand.NewPCG(c.seed, 0)), start: time.Now()}
	err := s.run()
	r := s.result
	r.backend, r.took = c.backend, time.Since(s.start)
	if err == nil {
		s = nil // and with it what it holds
		r.leaks, err = before.compare(c.patience)
	}
	if err != nil {
		err = fmt.Errorf("%s, seed %d: %w", c.backend, c.seed, err)
	}
	return r, err
}

// run opens everything, uses it, has it arrive, and leaves it alone.
func (s *soak) run() error {
	m, err := mux.Open(s.config.backend)
	if err != nil {
		return err
	}
	if s.wrap != nil {
		m = s.wrap(m)
	}
	s.m = &counted{Mux: m}
	s.l = loop.New(s.m)
	s.own = openDescriptors()
	s.startAccounts()
	s.tenants = make([]*tenant, s.descriptors)
	for i := range s.tenants {
		s.admit(i)
	}
	if s.interval > 0 {
		s.progress = s.l.Every(s.interval, s.report)
	}
	s.l.Post(s.churn)
	s.turns()
	s.check()
	s.rest()
	s.stopPosting()
	for _, t := range s.tenants {
		if t != nil {
			s.evict(t)
		}
	}
	s.fail(s.l.Close())
	return s.err
}

// turns runs the loop until it is stopped.
func (s *soak) turns() {
	if s.err == nil {
		s.fail(s.l.Run(context.Background()))
	}
}

// fail ends the soak, unless err is nil.
func (s *soak) fail(err error) {
	if s.err == nil && err != nil {
		s.err = err
		s.l.Stop()
	}
}

// churn does some operations, and comes again: in the next turn or, so that the
// loop blocks too, somewhat later.
func (s *soak) churn() {
	switch {
	case s.err != nil:
		return
	case s.over():
		s.drain()
		return
	}
	for range 32 {
		if s.err == nil {
			s.operate()
		}
	}
	if s.rng.IntN(8) == 0 {
		s.l.AfterFunc(time.Duration(s.rng.IntN(500))*time.Microsecond, s.churn)
	} else {
		s.l.Post(s.churn)
	}
}

func (s *soak) over() bool {
	if s.ctx.Err() != nil {
		return true
	}
	if s.limit > 0 {
		return s.operations >= s.limit
	}
	return time.Since(s.start) >= s.duration
}

func (s *soak) operate() {
	s.operations++
	i := s.rng.IntN(len(s.tenants))
	switch p := s.rng.IntN(100); {
	case p < 75:
		s.poke(i)
	case p < 90:
		s.replace(i)
	case p < 98:
		s.operateTimer()
	default:
		s.signal()
	}
}

// drain ends what makes work, and stops the loop when all of it has arrived.
func (s *soak) drain() {
	s.stopPosting()
	s.timing.ticker.Stop()
	if s.progress != nil {
		s.progress.Stop()
	}
	s.due, s.looks = s.outstanding(), 0
	s.draining = s.l.Every(time.Millisecond, s.drained)
}

// drained looks whether everything has arrived. It counts looks and not time,
// which also passes while the machine stands still.
func (s *soak) drained() {
	if s.err != nil {
		return
	}
	due := s.outstanding()
	switch {
	case due == 0:
		s.draining.Stop()
		s.l.Stop()
	case due < s.due:
		s.due, s.looks = due, 0
	case s.looks == s.patience:
		s.lost = due
		s.fail(fmt.Errorf("lost: %s, and nothing more has come in %d turns", s.missing(), s.looks))
	default:
		s.looks++
	}
}

// outstanding is how much has not arrived yet.
func (s *soak) outstanding() int {
	n := len(s.timing.armed) + s.signals.due + s.posting.due()
	for _, t := range s.tenants {
		n += t.pending()
	}
	return n
}

// missing says what has not arrived.
func (s *soak) missing() string {
	said := fmt.Sprintf("%d timers, %d signals, %d posts", len(s.timing.armed), s.signals.due, s.posting.due())
	for _, t := range s.tenants {
		if t.pending() > 0 {
			said += fmt.Sprintf(", %d of %v", t.pending(), t)
		}
	}
	return said
}

// check compares the open descriptors with what is accounted for.
func (s *soak) check() {
	if s.err != nil {
		return
	}
	if n, want := openDescriptors(), s.own+s.owned; n != want {
		s.leaks = n - want
		s.fail(fmt.Errorf("%d descriptors are open, want %d", n, want))
	}
}

// rest watches everything while nothing happens, unless it is to end early.
func (s *soak) rest() {
	if s.err != nil || s.ctx.Err() != nil {
		return
	}
	const mostWaits = 5 // the end of the time, and what was left of the last Stop
	runtime.GC()
	start, cpu, waits := time.Now(), processorTime(), s.m.waits
	s.l.AfterFunc(s.idle, s.l.Stop)
	stop := context.AfterFunc(s.ctx, s.l.Stop)
	s.turns()
	if !stop() {
		return // cut short
	}
	s.idleWaits = s.m.waits - waits
	s.idleCPU = float64(processorTime()-cpu) / float64(time.Since(start))
	switch {
	case s.idleWaits > mostWaits:
		s.fail(fmt.Errorf("%d Waits returned while nothing happened, want at most %d", s.idleWaits, mostWaits))
	case s.mostCPU > 0 && s.idleCPU > s.mostCPU:
		s.fail(fmt.Errorf("%.2f %% of a processor were used while nothing happened, want at most %.2f %%",
			100*s.idleCPU, 100*s.mostCPU))
	}
}

// report prints a line of progress, and looks whether descriptors are left over.
func (s *soak) report() {
	r := &s.result
	fmt.Fprintf(s.out, "%-8s %6s  %d operations, %d descriptors opened, %d events, %d timers, %d signals, %d posts\n",
		s.config.backend, time.Since(s.start).Round(time.Second), r.operations, r.opened, r.events, r.timers, r.signalled, r.posts)
	s.check()
}
