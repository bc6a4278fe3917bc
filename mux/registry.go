package mux

import (
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/hashicorp/go-multierror"
)

// Backend is a named way to open a Mux.
type Backend struct {
	Name string
	Open func() (Mux, error)
}

var registry struct {
	sync.Mutex
	backends []Backend // in order of preference
}

func init() {
	Register(Backend{"epoll", openEpoll})
	Register(Backend{"poll", openPoll})
	Register(Backend{"select", openSelect})
}

// Register makes a backend available to Open, after those that are registered
// already. It is meant for init functions: an empty name, a missing Open and a
// name that is taken are panics.
func Register(b Backend) {
	registry.Lock()
	defer registry.Unlock()
	switch {
	case b.Name == "":
		panic("mux: Register of a backend without a name")
	case b.Open == nil:
		panic("mux: Register of backend " + b.Name + " without Open")
	case slices.ContainsFunc(registry.backends, func(have Backend) bool { return have.Name == b.Name }):
		panic("mux: Register of backend " + b.Name + " twice")
	}
	registry.backends = append(registry.backends, b)
}

// Backends returns the names of the registered backends in order of
// preference: epoll, poll, select, then those from elsewhere in the order of
// their registration.
func Backends() []string {
	var names []string
	for _, b := range registered() {
		names = append(names, b.Name)
	}
	return names
}

func registered() []Backend {
	registry.Lock()
	defer registry.Unlock()
	return slices.Clone(registry.backends)
}

// Open opens the named backend. The empty name means the one that the
// environment variable IOMUX_BACKEND names or, where that is empty too, the
// first in order of preference that opens. A backend that is unknown
// (fs.ErrNotExist) or does not open is an error that lists the usable ones.
func Open(name string) (Mux, error) {
	from := ""
	if name == "" {
		name, from = os.Getenv("IOMUX_BACKEND"), "$IOMUX_BACKEND: "
	}
	if name == "" {
		return openFirst()
	}
	failure := OpError{Op: opOpen, Backend: name, FD: -1, Err: syscall.ENOENT}
	for _, b := range registered() {
		if b.Name != name {
			continue
		}
		m, err := b.Open()
		if err == nil {
			return m, nil
		}
		failure.Err = err
		if own, ok := err.(*OpError); ok && own.Backend == name { // says all but what is usable
			failure = *own
		}
	}
	if failure.hint != "" {
		failure.hint += "; "
	}
	failure.hint += from + "usable here: " + strings.Join(usable(), ", ")
	return nil, &failure
}

func openFirst() (Mux, error) {
	var errs *multierror.Error
	for _, b := range registered() {
		m, err := b.Open()
		if err == nil {
			return m, nil
		}
		errs = multierror.Append(errs, err)
	}
	return nil, errs.ErrorOrNil()
}

// usable returns the names of the backends that open, or says that none does.
func usable() []string {
	var names []string
	for _, b := range registered() {
		if m, err := b.Open(); err == nil {
			m.Close()
			names = append(names, b.Name)
		}
	}
	if len(names) == 0 {
		return []string{"none"}
	}
	return names
}
