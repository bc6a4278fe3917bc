package mux

import (
	"slices"
	"testing"
)

func TestPollLeavesTheArrayOfAWaitAlone(t *testing.T) {
	m := openNamed(t, "poll")
	s := m.set.(*pollSet)
	fds := []int{readablePipe(t), readablePipe(t), readablePipe(t)}
	for i, fd := range fds {
		must(t, m.Add(fd, Writable, uint64(i)))
	}
	s.begin(8)
	before := slices.Clone(s.active)

	must(t, m.Remove(fds[0]))
	must(t, m.Modify(fds[1], Readable, 1))
	must(t, m.Add(fds[0], Readable, 3))
	if !slices.Equal(s.active, before) {
		t.Fatalf("the kernel's array is %v after a change, was %v", s.active, before)
	}
	if &s.fds[0] == &s.active[0] {
		t.Fatal("the changed array is the kernel's")
	}
	if errno := s.wait(0); errno != 0 {
		t.Fatal(errno)
	}
	if n := s.collect(make([]Event, 8)); n != 0 {
		t.Fatalf("%d events of what changed meanwhile", n)
	}
	expect(t, m, map[uint64]Interest{1: Readable, 3: Readable})
}

func TestPollChangesDuringWaitsCostNoAllocation(t *testing.T) {
	m := openNamed(t, "poll")
	s := m.set.(*pollSet)
	fd := readablePipe(t)
	must(t, m.Add(fd, Readable, 1))
	events := make([]Event, 8)
	if n := testing.AllocsPerRun(100, func() {
		s.begin(8)
		must(t, m.Modify(fd, Readable, 1))
		s.collect(events)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPollCopiesItsArrayOnlyDuringAWait(t *testing.T) {
	m := openNamed(t, "poll")
	s := m.set.(*pollSet)
	fd := readablePipe(t)
	must(t, m.Add(fd, Readable, 1))
	expect(t, m, map[uint64]Interest{1: Readable})
	before := &s.fds[0]
	must(t, m.Modify(fd, Readable|Priority, 1))
	if &s.fds[0] != before {
		t.Error("copied although nobody waits")
	}
}

// The places of spent registrations are marked by the complement of their
// number, of which 0 and 1 are the treacherous ones.
func TestPollFindsThePlaceOfASpentOneshotThatMoves(t *testing.T) {
	m := openNamed(t, "poll")
	first, second, third := readablePipe(t), readablePipe(t), readablePipe(t)
	must(t, m.Add(first, Readable, 1))
	must(t, m.Add(second, Readable, 2))
	must(t, m.Add(third, Readable|Oneshot, 3))
	expect(t, m, map[uint64]Interest{1: Readable, 2: Readable, 3: Readable})
	must(t, m.Remove(first)) // the third moves to its place
	must(t, m.Modify(third, Readable, 4))
	expect(t, m, map[uint64]Interest{2: Readable, 4: Readable})
	must(t, m.Remove(third))
	expect(t, m, map[uint64]Interest{2: Readable})
	must(t, m.Remove(second))
	expectNothing(t, m)
}
