package loop

import (
	"iter"
	"os"

	"iomux/mux"
)

// Watch is a descriptor that the loop watches.
type Watch struct {
	l     *Loop
	fd    int
	token uint64
}

// Watch calls fn on the loop whenever fd is ready for what is wanted. The token
// in the event is the loop's own. Stop the watch before closing the descriptor.
// The errors are those of [mux.Mux].Add, and os.ErrClosed after Close.
func (l *Loop) Watch(fd int, want mux.Interest, fn func(mux.Event)) (*Watch, error) {
	needFunc(fn != nil, "Watch")
	if l.closed {
		return nil, os.ErrClosed
	}
	w := &Watch{l: l, fd: fd}
	l.watches.add(w, fn)
	if err := l.m.Add(fd, want, w.token); err != nil {
		l.watches.remove(w)
		return nil, err
	}
	return w, nil
}

// Set replaces what is wanted; Oneshot is armed again. An event that this turn
// has found already is still delivered. The errors are those of [mux.Mux].Modify,
// and os.ErrClosed after Stop.
func (w *Watch) Set(want mux.Interest) error {
	if !w.l.watches.has(w) {
		return os.ErrClosed
	}
	return w.l.m.Modify(w.fd, want, w.token)
}

// Stop ends the watch: its function is not called again, not even for an event
// that this turn has found already. A second Stop does nothing.
func (w *Watch) Stop() error {
	if !w.l.watches.has(w) {
		return nil
	}
	w.l.watches.remove(w)
	return w.l.m.Remove(w.fd)
}

// watches finds a function by the token of its watch: a place in slots, and above
// it how often that place has been given away, so that an event for an earlier
// tenant finds nothing.
type watches struct {
	slots []slot
	free  []uint32
}

type slot struct {
	fn     func(mux.Event) // here, so that an event costs one look less at memory
	w      *Watch          // nil if the place is free
	tenant uint32
}

func (ws *watches) add(w *Watch, fn func(mux.Event)) {
	if len(ws.free) == 0 {
		ws.free = append(ws.free, uint32(len(ws.slots)))
		ws.slots = append(ws.slots, slot{})
	}
	i := ws.free[len(ws.free)-1]
	ws.free = ws.free[:len(ws.free)-1]
	s := &ws.slots[i]
	s.fn, s.w = fn, w
	s.tenant++
	w.token = uint64(s.tenant)<<32 | uint64(i)
}

// find returns the place of the watch with that token, or nil if it was
// stopped.
func (ws *watches) find(token uint64) *slot {
	if i := token & (1<<32 - 1); i < uint64(len(ws.slots)) {
		if s := &ws.slots[i]; s.tenant == uint32(token>>32) && s.w != nil {
			return s
		}
	}
	return nil
}

// has reports whether w has not been stopped.
func (ws *watches) has(w *Watch) bool {
	s := ws.find(w.token)
	return s != nil && s.w == w
}

func (ws *watches) remove(w *Watch) {
	i := uint32(w.token)
	ws.slots[i].fn, ws.slots[i].w = nil, nil
	ws.free = append(ws.free, i)
}

func (ws *watches) all() iter.Seq[*Watch] {
	return func(yield func(*Watch) bool) {
		for i := range ws.slots {
			if w := ws.slots[i].w; w != nil && !yield(w) {
				return
			}
		}
	}
}
