package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"iomux/mux/loop"
)

// startAccounts begins what is not about descriptors.
func (s *soak) startAccounts() {
	s.l.Notify(func(os.Signal) { s.seen() }, unix.SIGUSR1)
	s.startTicking()
	s.startPosting()
}

// timerAccount is which timers are armed, and until when.
type timerAccount struct {
	armed  []*alarm
	ticker *loop.Timer
}

type alarm struct {
	t     *loop.Timer
	due   time.Time // not to be called earlier
	index int       // in armed, -1 if it is not
}

const (
	mostAlarms  = 1000
	latestAlarm = 20 * time.Millisecond
)

// operateTimer arms, stops or resets a timer.
func (s *soak) operateTimer() {
	ac := &s.timing
	d := time.Duration(s.rng.Int64N(int64(latestAlarm)))
	if len(ac.armed) == 0 || len(ac.armed) < mostAlarms && s.rng.IntN(2) == 0 {
		a := &alarm{due: time.Now().Add(d), index: len(ac.armed)}
		a.t = s.l.AfterFunc(d, func() { s.alarmed(a) })
		ac.armed = append(ac.armed, a)
		return
	}
	a := ac.armed[s.rng.IntN(len(ac.armed))]
	armed := false
	if s.rng.IntN(2) == 0 {
		armed = a.t.Stop()
		ac.forget(a)
	} else {
		a.due = time.Now().Add(d)
		armed = a.t.Reset(d)
	}
	if !armed {
		s.fail(errors.New("a timer that has not fired says that it is not armed"))
	}
}

func (s *soak) alarmed(a *alarm) {
	switch early := time.Until(a.due); {
	case a.index < 0:
		s.fail(errors.New("a timer fires that was stopped, or twice"))
	case early > 0:
		s.fail(fmt.Errorf("a timer fires %v early", early))
	default:
		s.timers++
		s.timing.forget(a)
	}
}

func (ac *timerAccount) forget(a *alarm) {
	last := ac.armed[len(ac.armed)-1]
	ac.armed[a.index], last.index = last, a.index
	ac.armed = ac.armed[:len(ac.armed)-1]
	a.index = -1
}

// startTicking has a ticker that must not gain on the clock.
func (s *soak) startTicking() {
	const interval = 10 * time.Millisecond
	start, ticks := time.Now(), 0
	s.timing.ticker = s.l.Every(interval, func() {
		ticks++
		s.timers++
		if passed := time.Since(start); passed < time.Duration(ticks)*interval {
			s.fail(fmt.Errorf("tick %d of %v comes after %v", ticks, interval, passed))
		}
	})
}

// signalAccount counts signals. The process sends itself one at a time: a signal
// that is pending already is not queued again (signal(7)).
type signalAccount struct{ due int }

func (s *soak) signal() {
	if s.signals.due == 0 {
		s.signals.due = 1
		s.fail(unix.Kill(os.Getpid(), unix.SIGUSR1))
	}
}

func (s *soak) seen() {
	if s.signals.due--; s.signals.due < 0 {
		s.fail(errors.New("SIGUSR1 comes that was not sent"))
		return
	}
	s.signalled++
}

// postAccount counts what goroutines of its own post.
type postAccount struct {
	posters [2]poster
	quit    chan struct{} // closed to end them
	ended   sync.WaitGroup
}

type poster struct {
	posted int           // its own while it runs
	called int           // the loop's
	credit chan struct{} // what may be posted and not called yet
}

func (s *soak) startPosting() {
	ac := &s.posting
	quit := make(chan struct{})
	ac.quit = quit
	for i := range ac.posters {
		p := &ac.posters[i]
		p.credit = make(chan struct{}, 16)
		ac.ended.Go(func() {
			for {
				select {
				case <-quit:
					return
				case p.credit <- struct{}{}:
				}
				number := p.posted
				s.l.Post(func() { s.posted(p, number) })
				p.posted++
			}
		})
	}
}

func (s *soak) posted(p *poster, number int) {
	if number != p.called {
		s.fail(fmt.Errorf("post %d of a goroutine runs, want %d", number, p.called))
	}
	p.called++
	s.posts++
	<-p.credit
}

// stopPosting ends the posters. A second call does nothing.
func (s *soak) stopPosting() {
	if s.posting.quit == nil {
		return
	}
	close(s.posting.quit)
	s.posting.quit = nil
	s.posting.ended.Wait()
}

// due is how much was posted and has not run. The posters have ended.
func (ac *postAccount) due() int {
	n := 0
	for i := range ac.posters {
		n += ac.posters[i].posted - ac.posters[i].called
	}
	return n
}
