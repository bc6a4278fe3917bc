package mux

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestSelectBitmapsGrowAndTheKernelSeesNoMoreThanItMust(t *testing.T) {
	s := &selectSet{m: &multiplexer{waker: waker{3}}}
	s.put(3, Readable)
	for _, step := range []struct {
		fd   int
		want Interest
		nfds int
	}{
		{5000, Readable, 5001},
		{64, Writable, 5001},
		{1023, Priority, 5001},
		{5000, Writable, 5001},
		{5000, 0, 1024},
		{64, 0, 1024},
		{1023, Readable, 1024},
		{1023, 0, 4},
		{4, 0, 4},
	} {
		s.put(step.fd, step.want)
		if s.nfds != step.nfds {
			t.Fatalf("after put(%d, %v): nfds is %d, want %d", step.fd, step.want, s.nfds, step.nfds)
		}
		s.begin(1)
		for i, bit := range [...]Interest{Readable, Writable, Priority} {
			if len(s.got[i])*wordBits < s.nfds {
				t.Fatalf("nfds is %d, and a bitmap has %d bits", s.nfds, len(s.got[i])*wordBits)
			}
			if step.want != 0 && (s.got[i].has(step.fd) == 1) != (step.want&bit != 0) {
				t.Fatalf("after put(%d, %v): %v is wrong", step.fd, step.want, bit)
			}
		}
	}
}

func TestSelectCursorSurvivesRemovalOfHighNumbers(t *testing.T) {
	m := openNamed(t, "select")
	low, err := unix.FcntlInt(uintptr(readablePipe(t)), unix.F_DUPFD_CLOEXEC, 80)
	low = descriptor(t, low, err)
	high := readablePipe(t)
	must(t, m.Add(low, Readable, 1))
	must(t, m.Add(high, Readable, 2))
	wait(t, m, 1)
	wait(t, m, 1) // the cursor is past high
	must(t, m.Remove(high))
	expect(t, m, map[uint64]Interest{1: Readable})
	expect(t, m, map[uint64]Interest{1: Readable})
}

func TestSelectReportsEachClosedDescriptorOnceThenTheOthers(t *testing.T) {
	m := openNamed(t, "select")
	must(t, m.Add(readablePipe(t), Readable, 1))
	silent := readablePipe(t)
	must(t, m.Add(silent, Readable, 9))
	must(t, m.Modify(silent, 0, 9))
	must(t, unix.Close(silent))
	for token := uint64(2); token < 5; token++ {
		fd := readablePipe(t)
		must(t, m.Add(fd, Readable|Writable, token))
		must(t, unix.Close(fd))
	}
	count := make(map[uint64]int)
	for range 3 {
		for token, ready := range wait(t, m, 1) {
			count[token]++
			if ready != Readable|Writable|Error {
				t.Errorf("token %d is %v", token, ready)
			}
		}
	}
	if len(count) != 3 || count[1] != 0 || count[9] != 0 {
		t.Errorf("reported: %v, want the three that are closed and not silent, once each", count)
	}
	expect(t, m, map[uint64]Interest{1: Readable})
}
