package muxtest

import (
	"io/fs"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"iomux/mux"
)

// descriptorLife: descriptors that are closed, duplicated and used again, and
// those of unusual kinds.
var descriptorLife = []testCase{
	{"remove_after_close", removeAfterClose},
	{"closed_descriptor_never_breaks_wait", closedDescriptorNeverBreaksWait},
	{"closed_descriptor_does_not_spin", closedDescriptorDoesNotSpin},
	{"stale_event_after_reuse", staleEventAfterReuse},
	{"dup_alive_after_remove_and_close", dupAliveAfterRemoveAndClose},
	{"close_without_remove_dup_alive_reuse", closeWithoutRemoveDupAliveReuse},
	{"regular_file_always_ready", regularFileAlwaysReady},
	{"dev_null_always_ready", devNullAlwaysReady},
	{"descriptor_above_1024", descriptorAbove1024},
	{"no_descriptor_leak", noDescriptorLeak},
}

func removeAfterClose(e *env) {
	r, _ := e.fullPipe()
	spent, _ := e.fullPipe()
	none, _ := e.fullPipe()
	r, spent, none = e.move(r), e.move(spent), e.move(none)
	file := e.move(e.regular())
	e.add(r, mux.Readable, 1)
	e.add(spent, mux.Readable|mux.Oneshot, 2)
	e.add(none, 0, 3)
	e.add(file, mux.Readable, 4)
	e.expect(ready{1: mux.Readable, 2: mux.Readable, 4: mux.Readable})
	for _, fd := range []int{r, spent, none, file} {
		e.close(fd)
		e.refused(e.m.Add(fd, mux.Readable, 5), fs.ErrExist, "add", fd) // the number is taken
		e.refused(e.m.Modify(fd, mux.Readable, 5), syscall.EBADF, "modify", fd)
		e.remove(fd)
		e.refused(e.m.Remove(fd), fs.ErrNotExist, "remove", fd)
		e.refused(e.m.Add(fd, mux.Readable, 5), syscall.EBADF, "add", fd)
	}
	e.silent()
}

func closedDescriptorNeverBreaksWait(e *env) {
	idle, _ := e.pipe()
	r, _ := e.fullPipe()
	e.add(idle, mux.Readable, 1)
	e.add(r, mux.Readable, 2)
	var closed []int
	for token := uint64(10); token < 20; token++ {
		a, b := e.sockets()
		if token%2 == 0 {
			e.write(b, "x")
		}
		a = e.move(a)
		e.add(a, mux.Readable|mux.Writable, token)
		closed = append(closed, a)
	}
	if n := len(e.wait(0)); n != 11 {
		e.fatalf("Wait reported %d events, want 11", n)
	}
	for _, fd := range closed {
		e.close(fd)
	}
	for range 20 {
		e.await(2, mux.Readable)
	}
	for _, fd := range closed {
		e.remove(fd)
	}
	e.expect(ready{2: mux.Readable})

	// Nor does a number that names a file of another kind by now.
	file, other := e.move(e.regular()), e.regular()
	e.add(file, mux.Readable, 3)
	e.add(other, mux.Readable, 4)
	e.close(file)
	fresh, _ := e.pipe()
	e.reuse(file, fresh)
	for range 20 {
		e.await(2, mux.Readable)
		e.await(4, mux.Readable)
	}
	e.remove(file)
	e.remove(other)
	e.remove(r)
	e.pause()
}

func closedDescriptorDoesNotSpin(e *env) {
	for _, keep := range []bool{false, true} { // with a duplicate that keeps the file open
		for _, want := range []mux.Interest{mux.Readable, mux.Readable | mux.Writable, mux.Readable | mux.Oneshot} {
			r, _ := e.fullPipe()
			r = e.move(r)
			e.add(r, want, 1)
			if keep {
				e.dup(r)
			}
			e.close(r)
			e.settle()
			e.remove(r)
			e.pause()
		}
	}
	file := e.move(e.regular())
	e.add(file, mux.Readable|mux.Writable, 2)
	e.close(file)
	e.settle()
	e.remove(file)
	e.pause()
}

// staleEventAfterReuse leaves events of old files waiting to be reported when
// their numbers are given to new ones.
func staleEventAfterReuse(e *env) {
	var numbers []int
	for token := range uint64(5) {
		r, _ := e.fullPipe()
		numbers = append(numbers, e.move(r))
		e.add(numbers[token], mux.Readable, token)
	}
	for round := range uint64(3) {
		e.one() // the others did not fit
		writers := make(ready)
		for i, number := range numbers {
			if round%2 == 0 {
				e.remove(number)
				e.close(number)
			} else {
				e.close(number)
				e.remove(number)
			}
			_, w := e.pipe()
			e.reuse(number, w)
			e.add(number, mux.Readable|mux.Writable, 100*(round+1)+uint64(i))
			writers[100*(round+1)+uint64(i)] = mux.Writable
		}
		e.expect(writers)
		for i, number := range numbers {
			e.modify(number, mux.Readable, 100*(round+1)+uint64(i))
		}
		e.pause()
		for i, number := range numbers {
			e.modify(number, mux.Writable, 100*(round+1)+uint64(i))
		}
	}
	for _, number := range numbers {
		e.remove(number)
	}

	// The number changes hands while a Wait returns with an event of the old
	// file, which is reported under the old token or not at all.
	defer oneAtATime()()
	number, writer := e.pipe()
	number = e.move(number)
	for round := range rounds {
		fresh, freshWriter := e.pipe()
		e.add(number, mux.Readable, 1000)
		result := e.start(e.m, forever)
		e.write(writer, "x")
		linger(round)
		e.remove(number)
		e.close(number)
		e.reuse(number, fresh)
		e.add(number, mux.Readable, 1001)
		e.wake()
		e.finishEither(result, ready{1000: mux.Readable})
		e.remove(number)
		writer = freshWriter
	}
}

func dupAliveAfterRemoveAndClose(e *env) {
	r, w := e.pipe()
	r = e.move(r)
	other := e.dup(r)
	e.add(r, mux.Readable, 1)
	e.write(w, "x")
	e.expect(ready{1: mux.Readable})
	e.remove(r)
	e.close(r)
	e.silent()
	e.add(other, mux.Readable, 2)
	e.expect(ready{2: mux.Readable})

	fresh, w := e.pipe()
	e.reuse(r, fresh)
	e.add(r, mux.Readable, 3)
	e.expect(ready{2: mux.Readable})
	e.write(w, "x")
	e.expect(ready{2: mux.Readable, 3: mux.Readable})
	e.remove(other)
	e.expect(ready{3: mux.Readable})
}

// closeWithoutRemoveDupAliveReuse: epoll keeps a file under its old number for
// as long as a duplicate keeps it open, and offers no way to take it out.
func closeWithoutRemoveDupAliveReuse(e *env) {
	// What does not take part must come out of it as it was.
	spent, _ := e.fullPipe()
	none, _ := e.fullPipe()
	idle, idleWriter := e.pipe()
	e.add(spent, mux.Readable|mux.Oneshot, 200)
	e.expect(ready{200: mux.Readable})
	e.add(none, 0, 200)
	e.add(idle, mux.Readable, 201)

	number, oldWriter := e.pipe()
	number = e.move(number)
	for round := uint64(1); round <= 3; round++ {
		e.add(number, mux.Readable, 2*round)
		old := e.dup(number)
		e.close(number)
		e.refused(e.m.Add(number, mux.Readable, 1), fs.ErrExist, "add", number)
		fresh, writer := e.pipe()
		e.reuse(number, fresh)
		e.refused(e.m.Add(number, mux.Readable, 1), fs.ErrExist, "add", number)
		e.remove(number)
		e.pause()

		e.add(number, mux.Readable, 2*round+1)
		e.write(oldWriter, "x")
		e.silent()
		e.write(writer, "x")
		e.expect(ready{2*round + 1: mux.Readable})
		e.drain(number)
		e.pause()
		e.modify(number, mux.Readable|mux.Oneshot, 2*round+1)
		e.pause()
		e.write(writer, "x")
		e.expect(ready{2*round + 1: mux.Readable})
		e.pause()

		e.add(old, mux.Readable, 1) // the old file may be watched as what it is now
		e.expect(ready{1: mux.Readable})
		e.remove(old)
		e.remove(number)
		e.pause()
		e.drain(number)
		oldWriter = writer
	}

	// The same without a new file: the old one was ready all along.
	e.write(oldWriter, "x")
	e.add(number, mux.Readable, 100)
	e.dup(number)
	e.close(number)
	e.settle()
	e.refused(e.m.Modify(number, mux.Readable, 101), syscall.EBADF, "modify", number)
	fresh, writer := e.pipe()
	e.reuse(number, fresh)
	e.remove(number)
	e.add(number, mux.Readable, 102)
	e.silent()
	e.write(writer, "x")
	e.expect(ready{102: mux.Readable})

	// Modify instead of Remove and Add is a mistake that a backend need not
	// notice, and harmless.
	e.dup(number)
	e.close(number)
	fresh, writer = e.pipe()
	e.reuse(number, fresh)
	if err := e.m.Modify(number, mux.Readable, 103); err == nil {
		e.wants[103] = mux.Readable
	}
	e.settle()
	e.remove(number)
	e.silent()

	// The old file comes back to its old number.
	e.add(number, mux.Readable, 105)
	e.write(writer, "x")
	old := e.dup(number)
	e.close(number)
	e.remove(number)
	e.reuse(number, old)
	e.add(number, mux.Readable, 106)
	e.expect(ready{106: mux.Readable})

	e.remove(number)
	e.modify(spent, mux.Readable|mux.Oneshot, 202)
	e.modify(none, mux.Readable, 203)
	e.expect(ready{202: mux.Readable, 203: mux.Readable})
	e.write(idleWriter, "x")
	e.expect(ready{201: mux.Readable, 203: mux.Readable})
}

func regularFileAlwaysReady(e *env) {
	e.alwaysReady(e.regular())
}

func devNullAlwaysReady(e *env) {
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	e.must(err)
	e.alwaysReady(e.own(fd))
}

// alwaysReady demands that fd, which epoll refuses, is like any other
// descriptor and always ready.
func (e *env) alwaysReady(fd int) {
	fd = e.move(fd)
	idle, _ := e.pipe()
	r, _ := e.fullPipe()
	e.add(idle, mux.Readable, 1)
	e.add(fd, mux.Readable, 2)
	for range 3 {
		e.compare(e.wait(forever), ready{2: mux.Readable}, 0)
	}
	e.modify(fd, mux.Writable, 3)
	e.expect(ready{3: mux.Writable})
	e.modify(fd, mux.Readable|mux.Writable, 4)
	e.expect(ready{4: mux.Readable | mux.Writable})
	e.add(r, mux.Readable, 5)
	e.expect(ready{4: mux.Readable | mux.Writable, 5: mux.Readable})
	e.remove(r)

	e.modify(fd, 0, 6)
	e.silent()
	e.modify(fd, mux.Readable|mux.Oneshot, 7)
	e.expect(ready{7: mux.Readable})
	e.pause()
	e.modify(fd, mux.Readable, 8)
	e.expect(ready{8: mux.Readable})
	e.remove(fd)
	e.pause()
	e.add(fd, mux.Writable, 9)
	e.expect(ready{9: mux.Writable})

	// The number goes to a file of the other kind, and back.
	file := e.dup(fd)
	e.close(fd)
	e.remove(fd)
	fresh, w := e.pipe()
	e.reuse(fd, fresh)
	e.add(fd, mux.Readable, 10)
	e.pause()
	e.write(w, "x")
	e.expect(ready{10: mux.Readable})
	e.close(fd)
	e.remove(fd)
	e.reuse(fd, file)
	e.add(fd, mux.Readable, 11)
	e.expect(ready{11: mux.Readable})
}

func descriptorAbove1024(e *env) {
	const high = 1500
	var limit unix.Rlimit
	e.must(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	if limit.Max <= high+10 {
		e.skipf("RLIMIT_NOFILE allows %d descriptors", limit.Max)
	}
	if limit.Cur <= high+10 {
		e.must(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit.Max, Max: limit.Max}))
		defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
	r, w := e.pipe()
	low, lowWriter := e.pipe()
	fd := e.dupAbove(r, high)
	e.add(fd, mux.Readable, 1)
	e.add(low, mux.Readable, 2)
	e.pause()
	e.write(w, "x")
	e.expect(ready{1: mux.Readable})
	e.write(lowWriter, "x")
	e.expect(ready{1: mux.Readable, 2: mux.Readable})
	e.drain(r)
	e.expect(ready{2: mux.Readable})
	e.drain(low)
	e.pause()
	e.modify(fd, mux.Readable|mux.Oneshot, 3)
	e.write(w, "x")
	e.expect(ready{3: mux.Readable})
	e.pause()
	e.remove(fd)
	e.pause()

	writer := e.dupAbove(w, high)
	e.add(writer, mux.Writable, 4)
	e.expect(ready{4: mux.Writable})
	e.close(writer)
	e.settle()
	e.write(lowWriter, "x")
	e.expect(ready{2: mux.Readable})
	e.remove(writer)
	e.expect(ready{2: mux.Readable})
}

// noDescriptorLeak opens, uses and closes many Muxes and looks at what they
// open for themselves.
func noDescriptorLeak(e *env) {
	file := e.regular()
	idle, _ := e.pipe()
	r, _ := e.fullPipe()
	number, _ := e.fullPipe()
	number = e.move(number)
	spare := e.dup(number)
	first := e.m
	before := openDescriptors()
	for range 20 {
		m := e.open()
		e.m = m
		e.add(file, mux.Readable, 1)
		e.add(r, mux.Readable|mux.Oneshot, 2)
		e.add(idle, mux.Readable, 3)
		e.add(number, mux.Readable, 4)
		e.close(number) // its duplicate keeps it readable
		e.wake()
		for range 200 {
			e.wait(0)
		}
		e.remove(file)
		e.remove(number)
		for range 3 {
			e.wait(0)
		}
		if err := m.Add(-1, mux.Readable, 5); err == nil {
			e.fatalf("Add(-1) succeeded")
		}
		e.reuse(number, e.dup(spare))

		for _, fd := range since(before) {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if err == nil && flags&unix.FD_CLOEXEC == 0 {
				e.fatalf("descriptor %d, which the Mux opened, is not close-on-exec", fd)
			}
		}
		if err := m.Close(); err != nil {
			e.fatalf("Close: %v", err)
		}
		if leaked := since(before); len(leaked) > 0 {
			e.fatalf("descriptors %v are open after Close", leaked)
		}
	}

	// Nothing that was lent is closed, and the first Mux, which was open all
	// along, has what it had.
	open := openDescriptors()
	for _, fd := range append(slices.Clone(e.fds), before...) {
		if !slices.Contains(open, fd) {
			e.fatalf("descriptor %d was not the Mux's and is closed", fd)
		}
	}
	e.m = first
	e.pause()
}
