package jobs

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/mux"
)

// dispatcher is what OnLoop and OnBare have in common.
type dispatcher interface {
	Attach() error
	Detach() error
	Round() (Sample, error)
	Close() error
}

// eachDispatcher runs a test on a small chain.
func eachDispatcher(t *testing.T, active int, test func(t *testing.T, c *Chain, d dispatcher)) {
	on := map[string]func(c *Chain) (dispatcher, error){
		"bare": func(c *Chain) (dispatcher, error) { return c.OnBare() },
	}
	for _, name := range mux.Backends() {
		on[name] = func(c *Chain) (dispatcher, error) {
			m, err := mux.Open(name)
			if err != nil {
				return nil, err
			}
			return c.OnLoop(m)
		}
	}
	for name, on := range on {
		for _, calls := range []Calls{Raw, Plain} {
			t.Run(fmt.Sprintf("%s/%s/active=%d", name, calls.Name, active), func(t *testing.T) {
				c, err := NewChain(10, active, 101, calls)
				must(t, err)
				defer c.Close()
				d, err := on(c)
				must(t, err)
				defer func() { must(t, d.Close()) }()
				test(t, c, d)
			})
		}
	}
}

// A round reads every byte that was written, also after the pipes have been
// another's for a while.
func TestRound(t *testing.T) {
	for _, active := range []int{1, 3, 10} {
		eachDispatcher(t, active, func(t *testing.T, c *Chain, d dispatcher) {
			for range 3 {
				must(t, d.Attach())
				for range 2 {
					s, err := d.Round()
					must(t, err)
					if want := 101 + active; s.Events != want || c.reads != want || c.left != 0 || s.Wall <= 0 || s.CPU <= 0 {
						t.Errorf("%+v, %d reads, %d left to write; want %d events in some time", s, c.reads, c.left, want)
					}
				}
				must(t, d.Detach())
				for i, p := range c.pipes {
					if n, err := unix.Read(p[0], make([]byte, 1)); err != unix.EAGAIN {
						t.Errorf("pipe %d: read %d, %v; want it to be empty", i, n, err)
					}
				}
			}
		})
	}
}

// A round in which a callback fails is over, and says where.
func TestChainFails(t *testing.T) {
	for i := range 2 {
		eachDispatcher(t, 1, func(t *testing.T, c *Chain, d dispatcher) {
			must(t, d.Attach())
			fd := c.pipes[i][1]
			c.pipes[i][1] = -1
			defer func() { c.pipes[i][1] = fd }()
			want := fmt.Sprintf("pipe %d: %v", i, unix.EBADF)
			if _, err := d.Round(); err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("round: %v; want %s", err, want)
			}
		})
	}
}
