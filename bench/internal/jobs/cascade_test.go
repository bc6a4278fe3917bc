package jobs

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/mux"
	"iomux/mux/loop"
)

func eachCascade(t *testing.T, test func(t *testing.T, c *Chain, d *Cascade)) {
	for _, name := range mux.Backends() {
		t.Run(name, func(t *testing.T) {
			c, err := NewChain(10, 3, 101, Raw)
			must(t, err)
			defer c.Close()
			m, err := mux.Open(name)
			must(t, err)
			d := c.OnCascade(m)
			defer func() { must(t, d.Close()) }()
			test(t, c, d)
		})
	}
}

// Each round registers the pipes anew and reads every byte that was written.
func TestCascadeRound(t *testing.T) {
	eachCascade(t, func(t *testing.T, c *Chain, d *Cascade) {
		var before []*loop.Watch
		for range 3 {
			s, err := d.Round()
			must(t, err)
			if s.Events != 104 || c.reads != 104 || c.left != 0 {
				t.Errorf("%+v, %d reads, %d left to write; want 104 events", s, c.reads, c.left)
			}
			for i, w := range d.watches {
				if before != nil && w == before[i] {
					t.Errorf("pipe %d is watched as it was in the round before", i)
				}
			}
			before = slices.Clone(d.watches)
		}
		for i, p := range c.pipes {
			if n, err := unix.Read(p[0], make([]byte, 1)); err != unix.EAGAIN {
				t.Errorf("pipe %d: read %d, %v; want it to be empty", i, n, err)
			}
			if !d.timers[i].Stop() {
				t.Errorf("the timer of pipe %d is not armed", i)
			}
		}
	})
}

// A callback that fails ends the round.
func TestCascadeFails(t *testing.T) {
	eachCascade(t, func(t *testing.T, c *Chain, d *Cascade) {
		fd := c.pipes[1][1]
		c.pipes[1][1] = -1
		defer func() { c.pipes[1][1] = fd }()
		want := fmt.Sprintf("pipe 1: %v", unix.EBADF)
		if _, err := d.Round(); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("round: %v; want %s", err, want)
		}
	})
}
