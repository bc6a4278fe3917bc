package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"iomux/bench/internal/jobs"
	"iomux/mux"
	"iomux/mux/loop"
)

// scenario is work in rounds that are all alike and run in lock-step on one thread:
// each takes the same system calls and allocations. Benchmarks measure the time, and
// TestCosts the rest.
type scenario struct {
	group, params string // the benchmark's name and that of the sub-benchmark
	files         int    // descriptors that it opens
	lab           bool   // it takes a network of its own
	open          func(m mux.Mux) (*stage, error)
}

func (s scenario) name() string { return s.group + "/" + s.params }

// stage is where a scenario is played.
type stage struct {
	events  int          // in a round
	prepare func() error // if not nil, before a round; it is not a part of it
	play    func() error // a round
	close   func()
}

// once is how often a round of what happens event by event does it, so that a look
// at the clock does not count.
const once = 100

// repeated is a stage for what happens event by event.
func repeated(event func() error, close func()) *stage {
	return &stage{events: once, close: close, play: func() error {
		for range once {
			if err := event(); err != nil {
				return err
			}
		}
		return nil
	}}
}

// recorded are the scenarios whose costs are in testdata.
func recorded() []scenario {
	return slices.Concat(
		basic(),
		[]scenario{chain(2, 1), chain(100, 100), chain(1000, 1)},
		[]scenario{cascade(100, 1), cascade(100, 100)},
		waits(),
		[]scenario{pingPong()},
		[]scenario{echo(1), echo(32), echo(256)},
		[]scenario{sweep(), steady(4096)},
	)
}

// scenarios are what the benchmarks measure, as flags have it.
func scenarios() []scenario {
	var chains, cascades, echoes []scenario
	for _, n := range *chainSizes {
		for _, active := range *chainActive {
			if active <= n {
				chains = append(chains, chain(n, active))
			}
		}
	}
	for _, window := range append([]int{1}, *windowSizes...) {
		echoes = append(echoes, echo(window))
	}
	for _, n := range []int{100, 1000} {
		cascades = append(cascades, cascade(n, 1), cascade(n, 100))
	}
	return slices.Concat(basic(), chains, cascades, echoes, []scenario{steady(*steadyHosts)})
}

// basic are a multiplexer's methods.
func basic() []scenario {
	all := []scenario{
		{group: "AddModifyRemove", params: "op=modify", open: func(m mux.Mux) (*stage, error) {
			p, err := watched(m, 1, mux.Readable)
			want := mux.Readable
			return repeated(func() error {
				want ^= mux.Readable | mux.Priority
				return m.Modify(p.fds[0][0], want, 1)
			}, p.close), err
		}},
		{group: "AddModifyRemove", params: "op=add-remove", open: func(m mux.Mux) (*stage, error) {
			p, err := pipes(1)
			return repeated(func() error {
				if err := m.Add(p.fds[0][0], mux.Readable, 1); err != nil {
					return err
				}
				return m.Remove(p.fds[0][0])
			}, p.close), err
		}},
		// A descriptor that stays ready is reported once and armed again.
		{group: "Oneshot", params: "op=rearm", open: func(m mux.Mux) (*stage, error) {
			p, err := watched(m, 1, mux.Readable|mux.Oneshot)
			if err == nil {
				_, err = unix.Write(p.fds[0][1], []byte{1})
			}
			events := make([]mux.Event, 1)
			return repeated(func() error {
				if err := expect(m, events, 1); err != nil {
					return err
				}
				return m.Modify(p.fds[0][0], mux.Readable|mux.Oneshot, 1)
			}, p.close), err
		}},
		// On one goroutine.
		{group: "Wake", params: "by=self", open: func(m mux.Mux) (*stage, error) {
			events := make([]mux.Event, 1)
			return repeated(func() error {
				if err := m.Wake(); err != nil {
					return err
				}
				return expect(m, events, 0)
			}, func() {}), nil
		}},
		// Timers that are all due at once, in one turn of a loop.
		{group: "Timers", params: "op=arm-fire", open: func(m mux.Mux) (*stage, error) {
			l := loop.New(m)
			const timers = 1000
			left := 0
			armed := make([]*loop.Timer, timers)
			for i := range armed {
				armed[i] = l.AfterFunc(time.Hour, func() {
					if left--; left == 0 {
						l.Stop()
					}
				})
			}
			return &stage{events: timers, close: func() { l.Close() }, play: func() error {
				left = timers
				for _, t := range armed {
					t.Reset(0)
				}
				return l.Run(context.Background())
			}}, nil
		}},
	}
	for _, n := range []int{1, 1000} {
		// A wait that does not block, and finds nothing.
		all = append(all, scenario{group: "Idle", params: fmt.Sprintf("n=%d", n), files: 2 * n, open: func(m mux.Mux) (*stage, error) {
			p, err := watched(m, n, mux.Readable)
			events := make([]mux.Event, 1)
			return repeated(func() error { return poll(m, events) }, p.close), err
		}})
	}
	return all
}

func expect(m mux.Mux, events []mux.Event, want int) error {
	if n, err := m.Wait(events, -1); n != want || err != nil {
		return fmt.Errorf("Wait = %d, %v; want %d, nil", n, err, want)
	}
	return nil
}

func poll(m mux.Mux, events []mux.Event) error {
	if n, err := m.Wait(events, 0); n != 0 || err != nil {
		return fmt.Errorf("Wait = %d, %v; want 0, nil", n, err)
	}
	return nil
}

// opened are the pipes of a scenario: read end and write end.
type opened struct{ fds [][2]int }

func (o *opened) close() {
	for _, p := range o.fds {
		unix.Close(p[0])
		unix.Close(p[1])
	}
}

func pipes(n int) (*opened, error) {
	o := &opened{make([][2]int, n)}
	for i := range o.fds {
		if err := unix.Pipe2(o.fds[i][:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			o.fds = o.fds[:i]
			o.close()
			return nil, err
		}
	}
	return o, nil
}

// watched opens n pipes and watches their read ends; the token is the place.
func watched(m mux.Mux, n int, want mux.Interest) (*opened, error) {
	o, err := pipes(n)
	if err != nil {
		return nil, err
	}
	for i, p := range o.fds {
		if err := m.Add(p[0], want, uint64(i)); err != nil {
			o.close()
			return nil, err
		}
	}
	return o, nil
}

// Writes of a round are few, as libevent has it: with many active pipes a round touches
// a part of them, the same each time, so that what grows with the number of pipes is the
// watching and not the working set.
var chainWrites = 1000

const (
	tracedWrites  = 200 // in place of chainWrites where every call is traced
	cascadeWrites = 300
)

// chain is jobs.Chain on a loop: what a callback costs with its read and its write,
// and its share of the wait.
func chain(n, active int) scenario {
	return scenario{group: "Chain", params: fmt.Sprintf("n=%d/active=%d", n, active), files: 2 * n,
		open: func(m mux.Mux) (*stage, error) {
			return passing(n, active, chainWrites, func(c *jobs.Chain) (dispatcher, error) {
				d, err := c.OnLoop(m)
				if err == nil {
					err = d.Attach()
				}
				return d, err
			})
		}}
}

// cascade is jobs.Cascade: registration and timers are a part of a round.
func cascade(n, active int) scenario {
	return scenario{group: "Cascade", params: fmt.Sprintf("n=%d/active=%d", n, active), files: 2 * n,
		open: func(m mux.Mux) (*stage, error) {
			return passing(n, active, cascadeWrites, func(c *jobs.Chain) (dispatcher, error) { return c.OnCascade(m), nil })
		}}
}

// dispatcher watches the pipes of a chain.
type dispatcher interface {
	Round() (jobs.Sample, error)
	Close() error
}

func passing(n, active, writes int, on func(*jobs.Chain) (dispatcher, error)) (*stage, error) {
	c, err := jobs.NewChain(n, active, writes, jobs.Raw)
	if err != nil {
		return nil, err
	}
	d, err := on(c)
	if err != nil {
		c.Close()
		return nil, err
	}
	return &stage{events: active + writes,
		play:  func() error { _, err := d.Round(); return err },
		close: func() { d.Close(); c.Close() },
	}, nil
}

// echo is a client and the echo server on one loop, over raw sockets on loopback: an
// event is a request with the reply to it.
func echo(window int) scenario {
	return scenario{group: "Echo", params: fmt.Sprintf("window=%d", window), lab: true, open: func(m mux.Mux) (*stage, error) {
		if err := silenceKernel(); err != nil {
			return nil, err
		}
		l := loop.New(m)
		packets := 8 * max(window, 32)
		err := serve(l, window)
		var e *exchange
		if err == nil {
			e, err = newExchange(l, window, packets)
		}
		if err != nil {
			l.Close()
			return nil, err
		}
		return &stage{events: packets, play: e.round, close: func() { l.Close() }}, nil
	}}
}
