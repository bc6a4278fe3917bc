package jobs

import (
	"context"
	"fmt"
	"time"

	"iomux/mux"
	"iomux/mux/loop"
)

// Cascade is a chain on iomux's loop with what surrounds the waiting: a round
// registers each pipe anew and arms a timer for it, and whoever finds his pipe
// readable moves its timer, as a server does for each client (libev's variant of
// libevent's test/bench.c).
type Cascade struct {
	c         *Chain
	l         *loop.Loop
	callbacks []func(mux.Event)
	watches   []*loop.Watch
	timers    []*loop.Timer
	random    uint32
}

// Timers are due this long after their pipe was last heard of, and up to a second
// more, so that they lie in no order. None may become due in a round.
const silence = 10 * time.Second

// OnCascade has the chain dispatched by a loop on m, which it closes.
func (c *Chain) OnCascade(m mux.Mux) *Cascade {
	d := &Cascade{c: c, l: loop.New(m), watches: make([]*loop.Watch, len(c.pipes)), random: 1}
	for i := range c.pipes {
		d.timers = append(d.timers, d.l.AfterFunc(d.after(), func() {
			c.err = fmt.Errorf("pipe %d: silent for %v", i, silence)
			d.l.Stop()
		}))
		d.callbacks = append(d.callbacks, func(mux.Event) {
			d.timers[i].Reset(d.after())
			if c.step(i) {
				d.l.Stop()
			}
		})
	}
	return d
}

func (d *Cascade) after() time.Duration {
	d.random = d.random*1664525 + 1013904223
	return silence + time.Duration(d.random>>2)
}

// Round plays a round, of which the registrations are a part.
func (d *Cascade) Round() (Sample, error) { return d.c.round(d.run) }

func (d *Cascade) run() error {
	for i, w := range d.watches {
		if w != nil {
			if err := w.Stop(); err != nil {
				return err
			}
		}
		var err error
		if d.watches[i], err = d.l.Watch(d.c.pipes[i][0], mux.Readable, d.callbacks[i]); err != nil {
			return err
		}
		d.timers[i].Reset(d.after())
	}
	return d.l.Run(context.Background())
}

// Close closes the loop, with its multiplexer.
func (d *Cascade) Close() error { return d.l.Close() }
