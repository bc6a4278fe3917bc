package mux

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd is a Mux whose registrations several workers change, each at places of
// its own, while a watcher waits. After each phase everybody comes to rest, and
// the Mux must do what the models of all workers together say.
type crowd struct {
	m        Mux
	workers  []*worker
	clock    atomic.Uint64  // orders the ends of registrations and the beginnings of Waits
	times    map[uint64]int // how often a token was reported
	watchdog time.Duration  // how long the watcher may take for what is ready
}

const stressWorkers, stressPhases, stressPhase = 4, 6, 50 // phases, and operations of a worker in each

// worker runs a script and notes what it has registered.
type worker struct {
	*trial
	script []op
	clock  *atomic.Uint64
	wanted map[uint64]Interest // by token
	ended  map[uint64]uint64   // when a token had been replaced or removed
}

// run runs a part of the script, but for its Waits.
func (w *worker) run(part []op) error {
	for _, o := range part {
		if o.do == opWait || o.do == opSettle {
			continue
		}
		number := w.places[o.at].number
		before, had := w.registered[number]
		if err := w.step(o); err != nil {
			return fmt.Errorf("%v: %w", o, err)
		}
		after, has := w.registered[number]
		if had && (!has || after.token != before.token) {
			w.ended[before.token] = w.clock.Add(1)
		}
		if has {
			w.wanted[after.token] = after.want
		}
	}
	return nil
}

// watcher waits without a limit, and notes what is reported.
type watcher struct {
	mu   sync.Mutex
	seen map[uint64]sighting // by token
	more chan struct{}       // something was seen
	stop atomic.Bool         // the watcher is to leave, and has been woken
	left chan error
}

type sighting struct {
	began uint64 // when the last Wait began that reported it
	ready Interest
	times int
}

func (c *crowd) watch() *watcher {
	w := &watcher{seen: make(map[uint64]sighting), more: make(chan struct{}, 1), left: make(chan error, 1)}
	go func() {
		for events := make([]Event, 4); !w.stop.Load(); {
			began := c.clock.Add(1)
			n, err := c.m.Wait(events[:1+began%4], -1)
			if err != nil {
				w.left <- fmt.Errorf("Wait: %w", err)
				return
			}
			w.mu.Lock()
			for _, ev := range events[:n] {
				s := w.seen[ev.Token]
				w.seen[ev.Token] = sighting{began, s.ready | ev.Ready, s.times + 1}
			}
			w.mu.Unlock()
			select {
			case w.more <- struct{}{}:
			default:
			}
		}
		w.left <- nil
	}()
	return w
}

// take returns what was seen and begins anew.
func (w *watcher) take() map[uint64]sighting {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = make(map[uint64]sighting)
	return seen
}

// phase has every worker do its part while a watcher waits. Once they are done,
// the watcher must report what is ready, without being woken; and then the Mux
// must report it to Waits that look once, and nothing else.
func (c *crowd) phase(part func(*worker) []op) error {
	w := c.watch()
	done := make(chan error, len(c.workers))
	for _, worker := range c.workers {
		go func() { done <- worker.run(part(worker)) }()
	}
	var errs []error
	for range c.workers {
		errs = append(errs, <-done)
	}
	all := c.together()
	seen := []map[uint64]sighting{w.take()}
	err := errors.Join(errs...)
	if err == nil {
		err = c.awaitOwed(all, w, seen[0])
	}
	w.stop.Store(true)
	if werr := c.m.Wake(); err == nil {
		err = werr
	}
	select {
	case werr := <-w.left:
		err = errors.Join(err, werr)
	case <-time.After(c.watchdog):
		return errors.Join(err, fmt.Errorf("the Wait under way does not return when it is woken"))
	}
	for _, sightings := range append(seen, w.take()) {
		for token, s := range sightings {
			if err == nil {
				err = c.judge(all, token, s)
			}
		}
	}
	for _, room := range []int{1, 3, 2 * len(all.places)} {
		if err == nil {
			err = all.settle(room)
		}
	}
	for _, worker := range c.workers {
		for fd := range worker.registered {
			worker.registered[fd] = all.registered[fd]
		}
	}
	return err
}

// together is the trial of all workers, who are at rest.
func (c *crowd) together() *trial {
	all := &trial{m: c.m, model: model{make(map[int]registration)}, lives: make(map[int]*life), repeats: true}
	for _, w := range c.workers {
		maps.Copy(all.registered, w.registered)
		maps.Copy(all.lives, w.lives)
		all.places = append(all.places, w.places...)
		all.orphaned = all.orphaned || w.orphaned
	}
	return all
}

// awaitOwed returns when the watcher has seen what is ready. A Oneshot or an
// edge may have been seen before.
func (c *crowd) awaitOwed(all *trial, w *watcher, before map[uint64]sighting) error {
	owed := all.owed()
	for token, p := range owed {
		if _, ok := before[token]; ok && all.registered[p.number].want&modes != 0 {
			delete(owed, token)
		}
	}
	late := time.After(c.watchdog)
	for {
		w.mu.Lock()
		for token := range w.seen {
			delete(owed, token)
		}
		w.mu.Unlock()
		if len(owed) == 0 {
			return nil
		}
		select {
		case <-w.more:
		case err := <-w.left:
			w.left <- err
			return nil
		case <-late:
			for token := range owed {
				return fmt.Errorf("token %#x is ready and the Waits under way do not report it", token)
			}
		}
	}
}

// judge looks at what the watcher has seen of a token while workers were at
// work, and notes it.
func (c *crowd) judge(all *trial, token uint64, s sighting) error {
	i := int(token >> 32)
	if i >= len(c.workers) {
		return fmt.Errorf("token %#x is reported and was never registered", token)
	}
	w := c.workers[i]
	want, ok := w.wanted[token]
	ended, over := w.ended[token]
	c.times[token] += s.times
	switch {
	case !ok:
		return fmt.Errorf("token %#x is reported and was never registered", token)
	case over && ended < s.began:
		return fmt.Errorf("token %#x is reported by a Wait that began after it was replaced or removed", token)
	case s.ready == 0 || s.ready&^(want&conditions|Hangup|Error) != 0 || want&conditions == 0:
		return fmt.Errorf("token %#x is reported %v, and wants %v", token, s.ready, want)
	case want&Oneshot != 0 && c.times[token] > 1:
		return fmt.Errorf("token %#x is reported %d times, and wants %v", token, c.times[token], want)
	}
	if p := all.find(token); p != nil {
		all.lives[p.number].risen = false
		all.reported(token)
	}
	return nil
}

// stressTogether runs the scripts of a seed at once. If they fail, it returns the
// operations of the phase that did.
func stressTogether(open func() (Mux, error), seed uint64, watchdog time.Duration) (operations []string, err error) {
	edges, err := hasEdges(open)
	if err != nil {
		return nil, err
	}
	m, err := open()
	if err != nil {
		return nil, err
	}
	defer m.Close()
	c := crowd{m: m, times: make(map[uint64]int), watchdog: watchdog}
	all, err := newTrial(m, edges, stressWorkers*stressPlaces)
	if err != nil {
		return nil, err
	}
	for i := range uint64(stressWorkers) {
		tr := &trial{m: m, edges: edges, model: model{make(map[int]registration)}, lives: make(map[int]*life), repeats: true,
			places: all.places[i*stressPlaces : (i+1)*stressPlaces]}
		defer tr.close()
		c.workers = append(c.workers, &worker{trial: tr, clock: &c.clock,
			script: generate(rand.New(rand.NewPCG(seed, i)), stressPlaces, stressPhases*stressPhase, i<<32+1),
			wanted: make(map[uint64]Interest), ended: make(map[uint64]uint64)})
	}
	for phase := range stressPhases {
		part := func(w *worker) []op { return w.script[phase*stressPhase:][:stressPhase] }
		if err := c.phase(part); err != nil {
			for i, w := range c.workers {
				for _, line := range lines(part(w)) {
					operations = append(operations, fmt.Sprintf("worker %d: %s", i, line))
				}
			}
			return operations, fmt.Errorf("phase %d of %d: %w", phase, stressPhases, err)
		}
	}
	return nil, nil
}

// TestStressTogether does random operations on several goroutines at once. The same
// seed has the same operations and perhaps another order of them.
func TestStressTogether(t *testing.T) {
	for _, name := range Backends() {
		t.Run(name, func(t *testing.T) {
			first, runs := stressSeeds(60)
			for seed := first; seed < first+uint64(runs); seed++ {
				operations, err := stressTogether(func() (Mux, error) { return Open(name) }, seed, time.Minute)
				if err != nil {
					t.Fatal(explain(t, seed, err, operations))
				}
			}
		})
	}
}

// TestStressTogetherCatchesBugs is TestStressCatchesBugs for what several
// goroutines do at once.
func TestStressTogetherCatchesBugs(t *testing.T) {
	for name, bug := range map[string]struct {
		wrap func(Mux) Mux
		says string // one of these, between bars
	}{
		"a Modify keeps the old token":           {func(m Mux) Mux { return &oldToken{Mux: m, tokens: make(map[int]uint64)} }, "token"},
		"what was removed is reported once more": {func(m Mux) Mux { return &reportsRemoved{Mux: m, tokens: make(map[int]uint64)} }, "after it was replaced or removed"},
		"every 50th event is lost":               {func(m Mux) Mux { return &swallows{Mux: m} }, "do not report it|is not reported"},
		"a Wake is lost":                         {func(m Mux) Mux { return &lostWake{m} }, "when it is woken"},
	} {
		t.Run(name, func(t *testing.T) {
			sound := func() (Mux, error) { return Open("epoll") }
			broken := func() (Mux, error) {
				m, err := sound()
				if err != nil {
					return nil, err
				}
				return bug.wrap(m), nil
			}
			const impatient = 100 * time.Millisecond
			var said []string
			for seed := range uint64(200) { // the first few do, on most machines
				_, err := stressTogether(broken, 1+seed, impatient)
				said = append(said, fmt.Sprint(err))
				if !slices.ContainsFunc(strings.Split(bug.says, "|"), func(text string) bool { return strings.Contains(said[seed], text) }) {
					continue
				}
				// It must not be the machine that is too slow for the watchdog.
				if _, err := stressTogether(sound, 1+seed, impatient); err == nil {
					return
				}
			}
			t.Errorf("nothing says %q: %q", bug.says, said)
		})
	}
}

type lostWake struct{ Mux }

func (m *lostWake) Wake() error { return nil }
