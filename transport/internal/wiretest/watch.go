package wiretest

import (
	"testing"

	"iomux/mux"
	"iomux/transport"
)

// Watcher watches one transport on a Mux of every backend.
type Watcher struct {
	t     testing.TB
	tr    transport.Transport
	muxes []mux.Mux
}

// Watch opens the muxes until the end of the test. The transport has to outlive
// the watcher.
func Watch(t testing.TB, tr transport.Transport) *Watcher {
	t.Helper()
	w := &Watcher{t: t, tr: tr}
	t.Cleanup(func() {
		for _, m := range w.muxes {
			m.Close()
		}
	})
	for _, backend := range mux.Backends() {
		m, err := mux.Open(backend)
		if err != nil {
			t.Fatal(err)
		}
		w.muxes = append(w.muxes, m)
		if err := m.Add(tr.FD(), mux.Readable, 1); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// Await waits until every backend reports all that is asked for.
func (w *Watcher) Await(want mux.Interest) {
	w.t.Helper()
	w.each(want, func(m mux.Mux) {
		w.t.Helper()
		events := make([]mux.Event, 2)
		if n, err := m.Wait(events, Watchdog); n != 1 || err != nil || events[0].Ready&want != want {
			w.t.Fatalf("%s: Wait = %d, %v with %+v, want %v", m.Name(), n, err, events[:n], want)
		}
	})
}

// Silent demands that no backend reports anything to who asks for that: whoever
// waits does not spin.
func (w *Watcher) Silent(want mux.Interest) {
	w.t.Helper()
	w.each(want, func(m mux.Mux) {
		w.t.Helper()
		events := make([]mux.Event, 2)
		if n, err := m.Wait(events, 0); n != 0 || err != nil {
			w.t.Fatalf("%s: Wait = %d, %v with %+v, want silence", m.Name(), n, err, events[:n])
		}
	})
}

func (w *Watcher) each(want mux.Interest, check func(mux.Mux)) {
	w.t.Helper()
	for _, m := range w.muxes {
		if err := m.Modify(w.tr.FD(), want, 1); err != nil {
			w.t.Fatal(err)
		}
		check(m)
	}
}
