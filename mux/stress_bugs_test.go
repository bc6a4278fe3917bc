package mux

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// TestStressCatchesBugs runs the stress test on backends that something is wrong
// with, and demands few operations that show it.
func TestStressCatchesBugs(t *testing.T) {
	for name, bug := range map[string]struct {
		wrap func(Mux) Mux
		most int // operations
	}{
		"a Modify keeps the old token":            {func(m Mux) Mux { return &oldToken{Mux: m, tokens: make(map[int]uint64)} }, 5},
		"a Modify does not arm a Oneshot again":   {func(m Mux) Mux { return &lostRearm{Mux: m, wants: make(map[int]Interest)} }, 5},
		"what was removed is reported once more":  {func(m Mux) Mux { return &reportsRemoved{Mux: m, tokens: make(map[int]uint64)} }, 4},
		"every 50th event is lost":                {func(m Mux) Mux { return &swallows{Mux: m} }, 6},
		"a failed Add removes":                    {func(m Mux) Mux { return &failedAddRemoves{m} }, 4},
		"a Modify to nothing is no change":        {func(m Mux) Mux { return &neverSilent{m} }, 4},
		"a hang-up does not set Readable":         {func(m Mux) Mux { return &deafToHangups{m} }, 4},
		"an edge is reported until it is drained": {func(m Mux) Mux { return &levelForEdge{m} }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			open := func() (Mux, error) {
				m, err := Open("epoll")
				if err != nil {
					return nil, err
				}
				return bug.wrap(m), nil
			}
			const seeds = 20
			var script []op
			var err error
			seed := uint64(0)
			for err == nil && seed < seeds {
				seed++
				script, err = stress(open, seed)
			}
			said := explain(t, seed, err, lines(script))
			switch {
			case err == nil:
				t.Fatalf("nothing is wrong on %d seeds", seeds)
			case len(script) == 0 || len(script) > bug.most:
				t.Errorf("%d operations, want at most %d: %s", len(script), bug.most, said)
			case strings.Count(said, "\n\t") != len(script):
				t.Errorf("it does not show every operation: %s", said)
			default:
				t.Log(said)
			}
		})
	}
}

type oldToken struct {
	Mux
	mu     sync.Mutex
	tokens map[int]uint64
}

func (m *oldToken) Add(fd int, want Interest, token uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.Mux.Add(fd, want, token)
	if err == nil {
		m.tokens[fd] = token
	}
	return err
}

func (m *oldToken) Modify(fd int, want Interest, token uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Mux.Modify(fd, want, m.tokens[fd])
}

type lostRearm struct {
	Mux
	wants map[int]Interest
}

func (m *lostRearm) Add(fd int, want Interest, token uint64) error {
	err := m.Mux.Add(fd, want, token)
	if err == nil {
		m.wants[fd] = want
	}
	return err
}

func (m *lostRearm) Modify(fd int, want Interest, token uint64) error {
	armed := m.wants[fd]
	if err := m.Mux.Modify(fd, want, token); err != nil {
		return err
	}
	if m.wants[fd] = want; armed&want&Oneshot != 0 {
		return m.Mux.Modify(fd, 0, token)
	}
	return nil
}

type reportsRemoved struct {
	Mux
	mu     sync.Mutex
	tokens map[int]uint64
	late   []Event
}

func (m *reportsRemoved) Add(fd int, want Interest, token uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.Mux.Add(fd, want, token)
	if err == nil {
		m.tokens[fd] = token
	}
	return err
}

func (m *reportsRemoved) Remove(fd int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.Mux.Remove(fd)
	if err == nil {
		m.late = append(m.late, Event{m.tokens[fd], Readable})
	}
	return err
}

func (m *reportsRemoved) Wait(events []Event, timeout time.Duration) (int, error) {
	m.mu.Lock()
	n := copy(events, m.late)
	m.late = m.late[n:]
	m.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	return m.Mux.Wait(events, timeout)
}

type swallows struct {
	Mux
	count int
}

func (m *swallows) Wait(events []Event, timeout time.Duration) (int, error) {
	n, err := m.Mux.Wait(events, timeout)
	kept := 0
	for _, ev := range events[:max(n, 0)] {
		if m.count++; m.count%50 != 0 {
			events[kept] = ev
			kept++
		}
	}
	return kept, err
}

type failedAddRemoves struct{ Mux }

func (m *failedAddRemoves) Add(fd int, want Interest, token uint64) error {
	err := m.Mux.Add(fd, want, token)
	if err != nil {
		m.Remove(fd)
	}
	return err
}

type neverSilent struct{ Mux }

func (m *neverSilent) Modify(fd int, want Interest, token uint64) error {
	if want&conditions == 0 && m.Mux.Modify(fd, want, token) == nil {
		return m.Mux.Modify(fd, want|Readable|Writable, token)
	}
	return m.Mux.Modify(fd, want, token)
}

type deafToHangups struct{ Mux }

func (m *deafToHangups) Wait(events []Event, timeout time.Duration) (int, error) {
	n, err := m.Mux.Wait(events, timeout)
	for i := range events[:n] {
		if events[i].Ready&Hangup != 0 {
			events[i].Ready &^= Readable
		}
	}
	return n, err
}

type levelForEdge struct{ Mux }

func (m *levelForEdge) Add(fd int, want Interest, token uint64) error {
	return m.Mux.Add(fd, want&^Edge, token)
}
