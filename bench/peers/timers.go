package peers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"iomux/bench/internal/jobs"
	"iomux/mux"
	"iomux/mux/loop"
)

// timers is the job of c/timers.c on iomux's loop.
type timers struct {
	l      *loop.Loop
	after  []time.Duration
	within time.Duration
	armed  []*loop.Timer
	fired  int
}

func newTimers(n int, within time.Duration) (*timers, error) {
	m, err := mux.Open("epoll")
	if err != nil {
		return nil, err
	}
	t := &timers{
		l:      loop.New(m),
		after:  durations(n, within),
		within: within,
		armed:  make([]*loop.Timer, n),
	}
	if err := errors.Join(t.make(later), t.stop()); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *timers) close() { t.l.Close() }

// durations are n random ones up to within, the same as in c/timers.c.
func durations(n int, within time.Duration) []time.Duration {
	ds, random := make([]time.Duration, n), uint32(1)
	for i := range ds {
		random = random*1664525 + 1013904223
		ds[i] = time.Duration(uint64(random) * uint64(within) >> 32)
	}
	return ds
}

// timerJobs are the rounds that timers play, here and in c/timers.c.
var timerJobs = []string{"new", "arm", "fire", "reset", "stop"}

// later is added where no timer is to fire within the round.
const later = time.Hour

// play plays a round. All but fire do their work in a callback, as servers do,
// and the time goes on until the loop is ready to wait.
func (t *timers) play(job string) (s jobs.Sample, err error) {
	switch job {
	case "new", "arm":
		work := t.arm
		if job == "new" {
			work = t.make
		}
		s, err = t.turn(func() error { return work(later) })
		return s, errors.Join(err, t.stop())
	case "fire":
		if err := t.arm(0); err != nil {
			return s, err
		}
		time.Sleep(t.within) // all are due
		t.fired = 0
		t.l.Post(t.l.Stop) // after the turn in which they fire
		s, err = jobs.Timed(len(t.after), func() error { return t.l.Run(context.Background()) })
		s.Events = t.fired
		return s, err
	case "reset":
		if err := t.arm(later); err != nil {
			return s, err
		}
		s, err = t.turn(t.reset)
		return s, errors.Join(err, t.stop())
	case "stop":
		if err := t.arm(later); err != nil {
			return s, err
		}
		return t.turn(t.stop)
	}
	return s, fmt.Errorf("unknown job %q", job)
}

// turn times one turn of the loop with work in it.
func (t *timers) turn(work func() error) (s jobs.Sample, err error) {
	var failure error
	t.l.Post(func() { failure = work() })
	t.l.Stop() // after one turn
	s, err = jobs.Timed(len(t.after), func() error { return t.l.Run(context.Background()) })
	return s, errors.Join(err, failure)
}

func (t *timers) make(later time.Duration) error {
	for i, d := range t.after {
		t.armed[i] = t.l.AfterFunc(later+d, t.due)
	}
	return nil
}

func (t *timers) arm(later time.Duration) error {
	for i, d := range t.after {
		if t.armed[i].Reset(later + d) {
			return fmt.Errorf("timer %d was armed", i)
		}
	}
	return nil
}

// reset exchanges the times of the first timer and the last, and so on.
func (t *timers) reset() error {
	for i, timer := range t.armed {
		if !timer.Reset(later + t.after[len(t.after)-1-i]) {
			return fmt.Errorf("timer %d was not armed", i)
		}
	}
	return nil
}

func (t *timers) due() { t.fired++ }

func (t *timers) stop() error {
	for i, timer := range t.armed {
		if !timer.Stop() {
			return fmt.Errorf("timer %d was not armed", i)
		}
	}
	return nil
}
