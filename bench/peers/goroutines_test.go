package peers

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A round reads every byte that was written, and leaves the pipes empty.
func TestGoroutines(t *testing.T) {
	for _, active := range []int{1, 3, 10} {
		t.Run(fmt.Sprint("active=", active), func(t *testing.T) {
			g, err := newGoroutines(10, active, 101)
			must(t, err)
			expect(t, g.round, 101+active)
			g.close() // the goroutines have ended, and with them those who would read
			if got := g.reads.Load(); got != int64(101+active) {
				t.Errorf("%d reads in the last round; want %d", got, 101+active)
			}
			if _, err := g.round(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("a round after close: %v; want %v", err, os.ErrClosed)
			}
		})
	}
}

// The bytes go from each pipe to the next one: where nobody reads that, the round fails.
func TestGoroutinesPassOn(t *testing.T) {
	g, err := newGoroutines(3, 1, 2)
	must(t, err)
	defer g.close()
	g.read[1].Close()
	if err := <-g.over; !errors.Is(err, os.ErrClosed) {
		t.Errorf("the reader ends with %v; want %v", err, os.ErrClosed)
	}
	if _, err := g.round(); !errors.Is(err, unix.EPIPE) {
		t.Errorf("round: %v; want %v", err, unix.EPIPE)
	}
}

// The ends of the pipes are the runtime poller's: what it does not watch has no deadlines.
func TestGoroutinesWaitForThePoller(t *testing.T) {
	g, err := newGoroutines(1, 1, 1)
	must(t, err)
	defer g.close()
	for _, f := range []*os.File{g.read[0], g.write[0]} {
		if err := f.SetDeadline(time.Time{}); err != nil {
			t.Errorf("%v; want a file that the poller watches", err)
		}
	}
}
