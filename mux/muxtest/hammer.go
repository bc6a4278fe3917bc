package muxtest

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"iomux/mux"
)

// raceHammer has workers register, change, close and use again numbers of
// their own while the case waits. Every registration must be reported, and none
// by a Wait that began after its Remove.
func raceHammer(e *env) {
	const workers, each = 4, 50
	h := hammer{m: e.m, stop: make(chan struct{}), done: make(chan error, workers)}
	defer close(h.stop)
	for i := range workers {
		fd, _ := e.pipe()
		h.workers = append(h.workers, &hammerWorker{number: e.move(fd), id: uint64(i), seen: make(chan uint64, 1)})
	}
	for _, w := range h.workers {
		go func() {
			h.done <- w.run(&h, each)
			h.m.Wake() // the case looks whether that was the last one
		}()
	}
	removed := make([]uint64, workers)
	events := make([]mux.Event, workers-1)
	for left := workers; left > 0; {
		for i, w := range h.workers {
			removed[i] = w.removed.Load()
		}
		n, err := e.m.Wait(events, forever)
		if err != nil || n < 0 || n > len(events) {
			e.fatalf("Wait: %d, %v", n, err)
		}
		for _, ev := range events[:n] {
			id, round := ev.Token>>32, ev.Token&(1<<32-1)
			if id >= workers || round == 0 || round > each {
				e.fatalf("event %+v: no such token was registered", ev)
			}
			if round <= removed[id] {
				e.fatalf("registration %d of worker %d is reported by a Wait that began after its Remove", round, id)
			}
			select {
			case h.workers[id].seen <- round:
			default: // it has not looked at an earlier one yet; this one comes again
			}
		}
		for range len(h.done) {
			if err := <-h.done; err != nil {
				e.fatalf("%v", err)
			}
			left--
		}
	}
}

// hammer is what the workers of one raceHammer share.
type hammer struct {
	m       mux.Mux
	workers []*hammerWorker
	stop    chan struct{} // closed when the case ends
	done    chan error
}

type hammerWorker struct {
	id      uint64
	number  int           // of an open descriptor, whenever a round begins
	removed atomic.Uint64 // the last round whose registration is gone
	seen    chan uint64   // rounds whose registration was reported
}

func (w *hammerWorker) run(h *hammer, each uint64) error {
	for round := uint64(1); round <= each; round++ {
		if err := w.round(h, round); err != nil {
			return fmt.Errorf("worker %d, round %d: %w", w.id, round, err)
		}
	}
	return nil
}

func (w *hammerWorker) round(h *hammer, round uint64) error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(p[1])
	err := unix.Dup3(p[0], w.number, unix.O_CLOEXEC)
	unix.Close(p[0])
	if err != nil {
		return err
	}
	token := w.id<<32 | round
	if err := h.m.Add(w.number, mux.Readable, token); err != nil {
		return err
	}
	if _, err := unix.Write(p[1], []byte("x")); err != nil {
		return err
	}
	for reported := uint64(0); reported != round; {
		select {
		case reported = <-w.seen:
		case <-h.stop:
			return nil
		}
	}
	for _, want := range []mux.Interest{0, mux.Readable | mux.Oneshot, mux.Priority, mux.Readable} {
		if err := h.m.Modify(w.number, want, token); err != nil {
			return err
		}
	}
	if err := h.m.Wake(); err != nil {
		return err
	}
	if round%2 == 0 { // closed too early
		null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(null)
		if err := unix.Dup3(null, w.number, unix.O_CLOEXEC); err != nil {
			return err
		}
	}
	err = h.m.Remove(w.number)
	w.removed.Store(round)
	return err
}
