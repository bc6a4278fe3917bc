package transporttest

import (
	"errors"
	"fmt"
	"strings"

	"iomux/mux"
	"iomux/transport"
)

// openMuxes opens a Mux of every backend, before the case counts descriptors.
func (e *env) openMuxes() error {
	for _, backend := range mux.Backends() {
		m, err := mux.Open(backend)
		if err != nil {
			return err
		}
		e.cleanup(func() { m.Close() })
		e.muxes = append(e.muxes, m)
	}
	return nil
}

// ready returns what the backends report at this moment to who asks for that,
// errors and hang-ups included; "" if all are silent. It is for the goroutine of the
// case alone, as one at a time may Wait.
func (e *env) ready(tr transport.Transport, want mux.Interest) string {
	e.t.Helper()
	var reports []string
	events := make([]mux.Event, 1)
	for _, m := range e.muxes {
		n, err := 0, m.Add(tr.FD(), want, 0)
		if err == nil {
			n, err = m.Wait(events, 0)
			err = errors.Join(err, m.Remove(tr.FD()))
		}
		if err != nil {
			e.fatalf("descriptor %d cannot be watched: %v", tr.FD(), err)
		}
		if n > 0 {
			reports = append(reports, fmt.Sprintf("%s says %v", m.Name(), events[0].Ready))
		}
	}
	return strings.Join(reports, ", ")
}
