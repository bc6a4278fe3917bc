package main

import (
	"errors"
	"fmt"

	"iomux/mux"
	"iomux/mux/loop"
)

// tenant is a source that is watched, until it is replaced by another one, which
// then often has the same number.
type tenant struct {
	source
	place int // in soak.tenants
	kind  string
	mode  mux.Interest // 0, Oneshot or Edge
	w     *loop.Watch
	leave bool // to be replaced when everything is read
}

func (t *tenant) String() string {
	return fmt.Sprintf("%s at descriptor %d (%v)", t.kind, t.fd(), mux.Readable|t.mode)
}

// admit opens a source and watches it, in a place that is vacant. If it fails,
// that stays so.
func (s *soak) admit(place int) {
	if s.err != nil {
		return
	}
	kind := s.kinds[s.rng.IntN(len(s.kinds))]
	src, err := kind.open()
	if err != nil {
		s.fail(fmt.Errorf("open %s: %w", kind.name, err))
		return
	}
	t := &tenant{source: src, kind: kind.name, place: place}
	mode := [...]mux.Interest{0, mux.Oneshot, mux.Edge}[s.rng.IntN(3)]
	if err = s.watch(t, mode); errors.Is(err, errors.ErrUnsupported) {
		err = s.watch(t, 0)
	}
	if err != nil {
		s.fail(err)
		t.close()
		return
	}
	s.opened++
	s.owned += t.owns()
	s.tenants[place] = t
}

func (s *soak) watch(t *tenant, mode mux.Interest) (err error) {
	t.mode = mode
	t.w, err = s.l.Watch(t.fd(), mux.Readable|mode, func(mux.Event) { s.ready(t) })
	return err
}

// evict ends the watch of a source and closes it. What has not been read is
// read now.
func (s *soak) evict(t *tenant) {
	s.tenants[t.place] = nil
	s.owned -= t.owns()
	s.fail(t.w.Stop())
	lost, err := t.close()
	if err == nil && lost > 0 {
		s.lost += lost
		err = fmt.Errorf("%d pokes cannot be read", lost)
	}
	if err != nil {
		s.fail(fmt.Errorf("close %v: %w", t, err))
	}
}

// replace puts another source in place of one: at once, whether an event is on
// its way or not, or when everything has been read.
func (s *soak) replace(place int) {
	switch t := s.tenants[place]; {
	case t == nil || t.leave: // it could not be opened, or goes anyway
	case t.pending() > 0 && s.rng.IntN(2) == 0:
		t.leave = true
	default:
		s.evict(t)
		s.admit(place)
	}
}

// poke makes a source readable, unless it has enough or is to leave.
func (s *soak) poke(place int) {
	t := s.tenants[place]
	if t.leave {
		return
	}
	if err := t.poke(); err != nil {
		s.fail(fmt.Errorf("poke %v: %w", t, err))
	}
}

// ready reads from a source: some, or with Edge everything.
func (s *soak) ready(t *tenant) {
	for read := 0; ; {
		n, err := t.take()
		if err == nil && n == 0 && read == 0 {
			err = errors.New("nothing is to be read: the event is stale")
		}
		if err != nil {
			s.fail(fmt.Errorf("event of %v: %w", t, err))
			return
		}
		read += n
		s.events += n
		if n == 0 || t.mode != mux.Edge {
			break
		}
	}
	switch {
	case t.leave && t.pending() == 0:
		s.evict(t)
		s.admit(t.place)
	case t.mode == mux.Oneshot:
		s.fail(t.w.Set(mux.Readable | mux.Oneshot))
	}
	if s.rng.IntN(8) == 0 { // perhaps one that has an event in this batch
		s.replace(s.rng.IntN(len(s.tenants)))
	}
}
