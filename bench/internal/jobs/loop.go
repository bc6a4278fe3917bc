package jobs

import (
	"context"

	"iomux/mux"
	"iomux/mux/loop"
)

// OnLoop is a chain on iomux's loop, as one uses it: its goroutine is not locked
// to a thread.
type OnLoop struct {
	c       *Chain
	l       *loop.Loop
	watches []*loop.Watch
}

// OnLoop has the chain dispatched by a loop on m, which it closes.
func (c *Chain) OnLoop(m mux.Mux) (*OnLoop, error) {
	d := &OnLoop{c: c, l: loop.New(m)}
	for i, p := range c.pipes {
		w, err := d.l.Watch(p[0], 0, func(mux.Event) {
			if c.step(i) {
				d.l.Stop()
			}
		})
		if err != nil {
			d.l.Close()
			return nil, err
		}
		d.watches = append(d.watches, w)
	}
	return d, nil
}

// Attach watches the pipes. Only one dispatcher at a time may.
func (d *OnLoop) Attach() error { return d.set(mux.Readable) }

// Detach watches them no longer.
func (d *OnLoop) Detach() error { return d.set(0) }

func (d *OnLoop) set(want mux.Interest) error {
	for _, w := range d.watches {
		if err := w.Set(want); err != nil {
			return err
		}
	}
	return nil
}

// Round plays a round.
func (d *OnLoop) Round() (Sample, error) {
	return d.c.round(func() error { return d.l.Run(context.Background()) })
}

// Close closes the loop, with its multiplexer.
func (d *OnLoop) Close() error { return d.l.Close() }
