package mux

import (
	"errors"
	"fmt"
	"math"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// orphan registers a readable pipe and closes its number, while a duplicate
// keeps the file open and in the kernel's set. It returns the number.
func orphan(t *testing.T, m Mux, want Interest, token uint64) (fd int) {
	t.Helper()
	fd = readablePipe(t)
	must(t, m.Add(fd, want, token))
	duplicate(t, fd)
	must(t, unix.Close(fd))
	return fd
}

func openEpollSet(t *testing.T) (*multiplexer, *epollSet) {
	m := openNamed(t, "epoll")
	return m, m.set.(*epollSet)
}

func TestEpollIsRebuiltWhenARemovedFileLivesOn(t *testing.T) {
	m, s := openEpollSet(t)
	fd := orphan(t, m, Readable, 1)
	must(t, m.Remove(fd))
	if n := epollHolds(t, s); n != 1 {
		t.Fatalf("the kernel holds %d registrations, want the orphan: the test proves nothing", n)
	}
	before := s.fd
	expectNothing(t, m)
	if n := epollHolds(t, s); n != 0 {
		t.Fatalf("the kernel still holds %d registrations after the Wait that found the orphan", n)
	}
	if _, err := unix.FcntlInt(uintptr(before), unix.F_GETFD, 0); err != unix.EBADF {
		t.Fatalf("the old epoll instance is still open: %v", err)
	}
	if expectNothing(t, m); s.n != 0 {
		t.Fatalf("the kernel still reports %d events", s.n)
	}
}

func TestEpollRebuildKeepsTheOthersAsTheyWere(t *testing.T) {
	m, s := openEpollSet(t)
	level, armed, spent, silent, file := readablePipe(t), readablePipe(t), readablePipe(t), readablePipe(t), regularFile(t)
	must(t, m.Add(spent, Readable|Oneshot, 1))
	expect(t, m, map[uint64]Interest{1: Readable})
	must(t, m.Add(silent, 0, 2))
	removed := orphan(t, m, Readable, 3)
	must(t, m.Remove(removed))
	must(t, m.Add(level, Readable, 4))
	must(t, m.Add(armed, Readable|Oneshot, 5))
	must(t, m.Add(file, Writable, 6))

	before := s.fd
	for range 2 * probeEvery { // in batches of one, lest what fits before the orphan hides it
		wait(t, m, 1)
	}
	if s.fd == before {
		t.Fatal("not rebuilt: the test proves nothing")
	}
	must(t, m.Modify(armed, Readable|Oneshot, 5))
	expect(t, m, map[uint64]Interest{4: Readable, 5: Readable, 6: Writable})
	expect(t, m, map[uint64]Interest{4: Readable, 6: Writable})
	must(t, m.Modify(armed, Readable, 7))
	must(t, m.Modify(spent, Readable, 8))
	must(t, m.Modify(silent, Readable, 9))
	expect(t, m, map[uint64]Interest{4: Readable, 6: Writable, 7: Readable, 8: Readable, 9: Readable})
	for _, fd := range []int{level, armed, spent, silent, file} {
		must(t, m.Remove(fd))
	}
	expectNothing(t, m)
	if n := epollHolds(t, s); n != 0 {
		t.Fatalf("the kernel holds %d registrations after all were removed", n)
	}
}

func TestEpollReportsAnOrphanForALimitedTimeThenOnceWithError(t *testing.T) {
	for _, life := range []struct{ before, limit int }{
		{before: 0, limit: probeFirst},
		{before: probeFirst - 2, limit: probeFirst},
		{before: probeFirst, limit: probeEvery},
		{before: probeEvery, limit: probeEvery},
	} {
		t.Run(fmt.Sprintf("after %d events", life.before), func(t *testing.T) {
			m, s := openEpollSet(t)
			fd := readablePipe(t)
			must(t, m.Add(fd, Readable, 1))
			for range life.before {
				expect(t, m, map[uint64]Interest{1: Readable})
			}
			duplicate(t, fd)
			must(t, unix.Close(fd))
			for i := 1; ; i++ {
				ready := wait(t, m, 8)[1]
				if ready == Readable|Error {
					break
				}
				if ready != Readable || i >= life.limit {
					t.Fatalf("event %d of a closed descriptor is %v", i, ready)
				}
			}
			expectNothing(t, m)
			if n := epollHolds(t, s); n != 0 {
				t.Fatalf("the kernel still holds %d registrations", n)
			}
		})
	}
}

func TestEpollDoesNotWatchTheNextOwnerOfAnOrphansNumber(t *testing.T) {
	for name, rebuildEarly := range map[string]bool{"found by itself": false, "found in a rebuild": true} {
		t.Run(name, func(t *testing.T) {
			m, s := openEpollSet(t)
			fd := readablePipe(t)
			must(t, m.Add(fd, Readable, 1))
			if !rebuildEarly {
				duplicate(t, fd)
			}
			next := readablePipe(t)
			must(t, unix.Dup3(next, fd, unix.O_CLOEXEC))
			if rebuildEarly {
				must(t, m.Remove(orphan(t, m, Readable, 2)))
			}
			for range probeEvery {
				wait(t, m, 8)
			}
			expectNothing(t, m)
			if n := epollHolds(t, s); n != 0 {
				t.Fatalf("the kernel holds %d registrations", n)
			}
			must(t, m.Modify(fd, Readable, 3))
			expect(t, m, map[uint64]Interest{3: Readable})
		})
	}
}

func TestEpollFindsAnOrphanWhoseNumberBecameARegularFile(t *testing.T) {
	m, s := openEpollSet(t)
	fd := orphan(t, m, Readable, 1)
	must(t, unix.Dup3(regularFile(t), fd, unix.O_CLOEXEC))
	must(t, m.Modify(fd, Readable|Oneshot, 2))
	expect(t, m, map[uint64]Interest{2: Readable})
	expectNothing(t, m)
	if n := epollHolds(t, s); n != 0 {
		t.Fatalf("the kernel still holds the file that the number named before")
	}
}

func TestEpollAcceptsANumberThatCameBackToItsOldFile(t *testing.T) {
	m, _ := openEpollSet(t)
	fd := readablePipe(t)
	must(t, m.Add(fd, Readable, 1))
	other := duplicate(t, fd)
	must(t, unix.Close(fd))
	must(t, m.Remove(fd))
	must(t, unix.Dup3(other, fd, unix.O_CLOEXEC))
	must(t, m.Add(fd, Readable, 2))
	for range 2 * probeEvery {
		expect(t, m, map[uint64]Interest{2: Readable})
	}
}

// noDescriptors makes the kernel refuse new descriptors until restore.
func noDescriptors(t *testing.T) (restore func()) {
	t.Helper()
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: old.Max}))
	restore = func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) }
	t.Cleanup(restore)
	return restore
}

func TestEpollDropsStaleEventsWhileItCannotBeRebuilt(t *testing.T) {
	for _, fate := range []string{"closed and removed", "closed", "closed and reused"} {
		t.Run(fate, func(t *testing.T) {
			m, s := openEpollSet(t)
			must(t, m.Add(readablePipe(t), Readable, 1))
			fd := orphan(t, m, Readable, 2)
			remove := fate == "closed and removed"
			if remove {
				must(t, m.Remove(fd))
			}
			if fate == "closed and reused" {
				must(t, unix.Dup3(readablePipe(t), fd, unix.O_CLOEXEC))
			}

			before, restore := s.fd, noDescriptors(t)
			for range probeEvery { // by then it has been found
				if found := wait(t, m, 8); remove && len(found) != 1 {
					t.Fatalf("a removed descriptor is reported: %v", found)
				}
			}
			expect(t, m, map[uint64]Interest{1: Readable})
			if s.fd != before {
				t.Fatal("it was rebuilt: the test proves nothing")
			}
			restore()
			if n := epollHolds(t, s); n != 2 {
				t.Fatalf("the kernel holds %d registrations, want the orphan and the other", n)
			}
			expect(t, m, map[uint64]Interest{1: Readable})
			expect(t, m, map[uint64]Interest{1: Readable})
			if n := epollHolds(t, s); n != 1 {
				t.Fatalf("the kernel holds %d registrations after the limit was lifted", n)
			}
		})
	}
}

func TestEpollEdgeIsNotRepeatedByTheProbe(t *testing.T) {
	m, _ := openEpollSet(t)
	r, w := emptyPipe(t)
	must(t, m.Add(r, Readable|Edge, 1))
	for range 2*probeEvery + 1 {
		write(t, w)
		expect(t, m, map[uint64]Interest{1: Readable})
		expectNothing(t, m)
	}
}

func TestEpollWithoutPwait2RoundsUp(t *testing.T) {
	m, s := openEpollSet(t)
	s.pwait2 = false
	for _, timeout := range []time.Duration{1, 100 * time.Microsecond, 1500 * time.Microsecond, 3 * time.Millisecond} {
		start := time.Now()
		n, err := m.Wait(make([]Event, 1), timeout)
		if took := time.Since(start); n != 0 || err != nil || took < timeout {
			t.Errorf("Wait(%v) = %d, %v after %v", timeout, n, err, took)
		}
	}
	must(t, m.Add(readablePipe(t), Readable, 1))
	if n, err := m.Wait(make([]Event, 1), math.MaxInt64); n != 1 || err != nil {
		t.Errorf("Wait(longest) = %d, %v", n, err)
	}
	if n, err := m.Wait(make([]Event, 1), -1); n != 1 || err != nil {
		t.Errorf("Wait(-1) = %d, %v", n, err)
	}
}

func TestEpollMilliseconds(t *testing.T) {
	for timeout, want := range map[time.Duration]int{
		math.MinInt64:           -1,
		-1:                      -1,
		0:                       0,
		1:                       1,
		time.Millisecond - 1:    1,
		time.Millisecond:        1,
		time.Millisecond + 1:    2,
		time.Hour:               3_600_000,
		30 * 24 * time.Hour:     math.MaxInt32,
		math.MaxInt64:           math.MaxInt32,
		math.MaxInt32 * 1000000: math.MaxInt32,
	} {
		if got := milliseconds(timeout); got != want {
			t.Errorf("milliseconds(%v) = %d, want %d", timeout, got, want)
		}
	}
}

func TestEpollAlwaysReadyNumberThatIsClosedIsReportedOnceWithError(t *testing.T) {
	m, _ := openEpollSet(t)
	fd, other := duplicate(t, regularFile(t)), regularFile(t)
	must(t, m.Add(fd, Readable, 1))
	must(t, m.Add(other, Writable, 2))
	must(t, unix.Close(fd))
	expect(t, m, map[uint64]Interest{1: Readable | Error, 2: Writable})
	expect(t, m, map[uint64]Interest{2: Writable})
	if err := m.Modify(fd, Readable, 3); !errors.Is(err, syscall.EBADF) {
		t.Fatalf("Modify of a closed descriptor: %v", err)
	}
	must(t, m.Remove(fd))
}

func TestEpollAlwaysReadyNumberThatBecomesAPipeIsWatched(t *testing.T) {
	m, s := openEpollSet(t)
	fd := duplicate(t, regularFile(t))
	must(t, m.Add(fd, Readable, 1))
	r, w := emptyPipe(t)
	must(t, unix.Dup3(r, fd, unix.O_CLOEXEC))
	expectNothing(t, m)
	if len(s.always) != 0 {
		t.Fatal("it is still taken for always ready, so that no Wait blocks")
	}
	write(t, w)
	expect(t, m, map[uint64]Interest{1: Readable})
	must(t, m.Remove(fd))
	if n := epollHolds(t, s); n != 0 {
		t.Fatalf("the kernel holds %d registrations after Remove", n)
	}
}

// A registration that leaves the list of what is always ready while a Wait goes
// round it must not bring another one before the cursor again.
func TestEpollAlwaysReadyKeepsItsOrderWhenOneLeaves(t *testing.T) {
	for spent := range uint64(5) {
		for start := range 5 {
			m, _ := openEpollSet(t)
			fds := make([]int, 5)
			for token := range uint64(5) {
				fds[token] = regularFile(t)
				must(t, m.Add(fds[token], Readable, token))
			}
			for range start {
				wait(t, m, 1)
			}
			must(t, m.Modify(fds[spent], Readable|Oneshot, spent))
			if found := wait(t, m, 64); len(found) != 5 {
				t.Fatalf("from %d: Wait reports %v, want all five", start, found)
			}
			if found := wait(t, m, 64); len(found) != 4 || found[spent] != 0 {
				t.Fatalf("from %d: Wait reports %v, want all but the spent %d", start, found, spent)
			}
			must(t, m.Remove(fds[(spent+1)%5]))
			if found := wait(t, m, 64); len(found) != 3 {
				t.Fatalf("from %d: Wait reports %v, want the three others", start, found)
			}
		}
	}
}

func TestEpollAlwaysReadySkipsNoneWhenAnEarlierOneIsRemoved(t *testing.T) {
	m, _ := openEpollSet(t)
	fds := make([]int, 5)
	for token := range uint64(5) {
		fds[token] = regularFile(t)
		must(t, m.Add(fds[token], Readable, token))
	}
	expectNext := func(tokens ...uint64) {
		t.Helper()
		for _, token := range tokens {
			if found := wait(t, m, 1); found[token] == 0 {
				t.Fatalf("Wait reports %v, want token %d", found, token)
			}
		}
	}
	expectNext(0, 1)
	must(t, m.Remove(fds[0]))
	expectNext(2, 3, 4, 1)
}

func TestEpollWakeTakesNoPlaceOfWhatIsReady(t *testing.T) {
	m, _ := openEpollSet(t)
	r, w := emptyPipe(t)
	must(t, m.Add(r, Readable, 1))
	for range 200 {
		woken := make(chan error)
		go func() {
			_, err := m.Wait(make([]Event, 1), -1)
			woken <- err
		}()
		untilSleeping(m)
		m.mu.Lock() // what is ready and the wakeup reach the waiter together
		write(t, w)
		m.woken = true
		m.kick()
		m.mu.Unlock()
		must(t, <-woken)
		if found := wait(t, m, 1); found[1] != Readable {
			t.Fatalf("after a Wake, Wait reports %v and not what is ready", found)
		}
		read(t, r)
	}
}

func TestEpollWaitNoticesARegularFileThatIsAddedMeanwhile(t *testing.T) {
	m, _ := openEpollSet(t)
	woken := make(chan int)
	go func() {
		n, _ := m.Wait(make([]Event, 1), -1)
		woken <- n
	}()
	untilSleeping(m)
	must(t, m.Add(regularFile(t), Readable, 1))
	if n := <-woken; n != 1 {
		t.Fatalf("a regular file that is added during a Wait: %d events", n)
	}
}

func TestEpollReportsWhatIsReadyWhenNothingIsAlwaysReadyAnyMore(t *testing.T) {
	for range 4 { // an even and an odd turn
		m, _ := openEpollSet(t)
		must(t, m.Add(readablePipe(t), Readable, 1))
		file := regularFile(t)
		must(t, m.Add(file, Readable, 2))
		empty, _ := emptyPipe(t)
		must(t, unix.Dup3(empty, file, unix.O_CLOEXEC))
		if got := wait(t, m, 1); got[1] != Readable {
			t.Fatalf("a Wait with room for one reports %v", got)
		}
	}
}

func TestEpollASpentOneshotSurvivesARebuild(t *testing.T) {
	m, s := openEpollSet(t)
	fd := readablePipe(t)
	must(t, m.Add(fd, Readable|Oneshot, 1))
	expect(t, m, map[uint64]Interest{1: Readable})
	must(t, m.Remove(orphan(t, m, Readable, 2)))
	before := s.fd
	expectNothing(t, m)
	if s.fd == before {
		t.Fatal("not rebuilt: the test proves nothing")
	}
	must(t, m.Modify(fd, Readable|Oneshot, 3))
	if s.zombies {
		t.Error("a descriptor that is in order is taken for an orphan")
	}
	expect(t, m, map[uint64]Interest{3: Readable})
}
