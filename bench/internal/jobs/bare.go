package jobs

import "golang.org/x/sys/unix"

// OnBare is a chain on epoll(7) and nothing else, as one writes it by hand: a wait
// that may block, and a table of callbacks. Its goroutine is not locked to a
// thread.
type OnBare struct {
	c        *Chain
	epfd     int
	handlers []func(ready uint32)
	events   []unix.EpollEvent
	over     bool
}

// OnBare has the chain dispatched by a loop written by hand.
func (c *Chain) OnBare() (*OnBare, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	d := &OnBare{c: c, epfd: epfd, events: make([]unix.EpollEvent, 128)}
	for i := range c.pipes {
		d.handlers = append(d.handlers, func(uint32) { d.over = c.step(i) })
	}
	return d, nil
}

// Attach watches the pipes. Only one dispatcher at a time may.
func (d *OnBare) Attach() error { return d.control(unix.EPOLL_CTL_ADD) }

// Detach watches them no longer.
func (d *OnBare) Detach() error { return d.control(unix.EPOLL_CTL_DEL) }

func (d *OnBare) control(op int) error {
	for i, p := range d.c.pipes {
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(d.epfd, op, p[0], &ev); err != nil {
			return err
		}
	}
	return nil
}

// Round plays a round.
func (d *OnBare) Round() (Sample, error) { return d.c.round(d.run) }

func (d *OnBare) run() error {
	for d.over = false; !d.over; {
		n, err := unix.EpollWait(d.epfd, d.events, -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, ev := range d.events[:max(n, 0)] {
			d.handlers[ev.Fd](ev.Events)
		}
	}
	return nil
}

// Close closes the epoll instance.
func (d *OnBare) Close() error { return unix.Close(d.epfd) }
