package peers

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"iomux/bench/internal/jobs"
)

// goroutines is the job of c/chain.c without a loop of one's own: the ends of the pipes are
// files of package os, and a goroutine for each pipe waits in Read for the runtime's poller.
type goroutines struct {
	read, write []*os.File
	active      int
	total       int64        // reads in a round
	left        atomic.Int64 // to write in this round
	reads       atomic.Int64 // in this round
	over        chan error
	running     sync.WaitGroup
}

// newGoroutines opens n pipes. In a round active+writes bytes are read.
func newGoroutines(n, active, writes int) (*goroutines, error) {
	g := &goroutines{active: active, total: int64(active + writes), over: make(chan error, 1)}
	for range n {
		r, w, err := os.Pipe()
		if err != nil {
			g.close()
			return nil, fmt.Errorf("pipe %d of %d: %w", len(g.read)+1, n, err)
		}
		g.read, g.write = append(g.read, r), append(g.write, w)
	}
	for i := range n {
		g.running.Go(func() { g.pass(g.read[i], g.write[(i+1)%n]) })
	}
	return g, nil
}

// close ends the goroutines.
func (g *goroutines) close() {
	for i := range g.read {
		g.read[i].Close()
		g.write[i].Close()
	}
	g.running.Wait()
}

// pass takes bytes from one pipe and writes as many into the next, until enough have been
// written in this round.
func (g *goroutines) pass(from, to *os.File) {
	var buf [1]byte
	for {
		_, err := from.Read(buf[:])
		if err == nil && g.left.Add(-1) >= 0 {
			_, err = to.Write(buf[:])
		}
		if err != nil || g.reads.Add(1) == g.total {
			select {
			case g.over <- err:
			default: // another has failed, or nobody waits any more
			}
		}
		if err != nil {
			return
		}
	}
}

// round plays one. The first bytes are within the time, for who gets one runs at once.
func (g *goroutines) round() (jobs.Sample, error) {
	g.left.Store(g.total - int64(g.active))
	g.reads.Store(0)
	return jobs.Timed(int(g.total), func() error {
		for i := range g.active {
			if _, err := g.write[i*len(g.write)/g.active].Write([]byte{0}); err != nil {
				return err
			}
		}
		select {
		case err := <-g.over:
			return err
		case <-time.After(time.Minute):
			return fmt.Errorf("%d of %d bytes read within a minute", g.reads.Load(), g.total)
		}
	})
}
