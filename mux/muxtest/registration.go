package muxtest

import (
	"errors"
	"io/fs"
	"math"
	"strconv"
	"syscall"

	"iomux/mux"
)

// Registration: what Add, Modify and Remove accept and refuse.
var registration = []testCase{
	{"duplicate_add", duplicateAdd},
	{"modify_unknown", modifyUnknown},
	{"remove_unknown", removeUnknown},
	{"add_bad_descriptor", addBadDescriptor},
	{"add_report_only_bits", addReportOnlyBits},
	{"modify_replaces_token_and_interest", modifyReplacesTokenAndInterest},
	{"failed_add_leaves_nothing", failedAddLeavesNothing},
	{"remove_silences_then_readd", removeSilencesThenReadd},
}

func duplicateAdd(e *env) {
	a, b := e.sockets()
	file := e.regular()
	none, _ := e.fullPipe()
	e.add(a, mux.Readable, 1)
	e.add(file, mux.Readable, 2)
	e.add(none, 0, 3)
	for _, fd := range []int{a, file, none} {
		e.refused(e.m.Add(fd, mux.Writable, 4), fs.ErrExist, "add", fd)
		e.refused(e.m.Add(fd, mux.Readable, 4), fs.ErrExist, "add", fd)
	}
	e.expect(ready{2: mux.Readable})
	e.write(b, "x")
	e.expect(ready{1: mux.Readable, 2: mux.Readable})
	e.remove(a)
	e.add(a, mux.Writable, 5)
	e.expect(ready{2: mux.Readable, 5: mux.Writable})
}

// unknown returns numbers that are not registered, open and not.
func (e *env) unknown() []int {
	never, _ := e.fullPipe()
	removed, _ := e.fullPipe()
	e.add(removed, mux.Readable, 100)
	e.remove(removed)
	closed, _ := e.pipe()
	closed = e.move(closed)
	e.close(closed)
	return []int{never, removed, closed, -1, math.MinInt, math.MaxInt32}
}

func modifyUnknown(e *env) {
	for _, fd := range e.unknown() {
		e.refused(e.m.Modify(fd, mux.Readable, 1), fs.ErrNotExist, "modify", fd)
	}
	e.pause()

	// In no other case: the number is taken, whatever has become of the file.
	number, _ := e.pipe()
	number = e.move(number)
	e.add(number, mux.Readable, 2)
	e.close(number)
	e.refused(e.m.Modify(number, mux.Readable, 3), syscall.EBADF, "modify", number)
	e.refused(e.m.Modify(number, 0, 3), syscall.EBADF, "modify", number)
	e.settle() // under the token that it has
	other, _ := e.pipe()
	e.reuse(number, other)
	if err := e.m.Modify(number, mux.Readable, 4); errors.Is(err, fs.ErrNotExist) {
		e.fatalf("Modify of a registered number that names another file by now: %v", err)
	}
	e.remove(number)
	e.refused(e.m.Modify(number, mux.Readable, 5), fs.ErrNotExist, "modify", number)
	e.pause()
}

func removeUnknown(e *env) {
	for _, fd := range e.unknown() {
		e.refused(e.m.Remove(fd), fs.ErrNotExist, "remove", fd)
		e.refused(e.m.Remove(fd), fs.ErrNotExist, "remove", fd)
	}

	// In no other case: a spent Oneshot and an empty interest are registered.
	spent, _ := e.fullPipe()
	none, _ := e.fullPipe()
	e.add(spent, mux.Readable|mux.Oneshot, 1)
	e.add(none, 0, 2)
	e.expect(ready{1: mux.Readable})
	for _, fd := range []int{spent, none} {
		e.remove(fd)
		e.refused(e.m.Remove(fd), fs.ErrNotExist, "remove", fd)
	}
	e.pause()
}

func addBadDescriptor(e *env) {
	open, _ := e.pipe()
	closed, _ := e.pipe()
	closed = e.move(closed)
	e.close(closed)
	tooLong := open + 1<<(strconv.IntSize/2) // the kernel looks at 32 bits, which may name an open one
	for _, fd := range []int{-1, math.MinInt32, closed, 1 << 24, math.MaxInt32, tooLong} {
		for _, want := range []mux.Interest{mux.Readable, mux.Writable | mux.Oneshot, 0} {
			e.refused(e.m.Add(fd, want, 1), syscall.EBADF, "add", fd)
		}
		e.refused(e.m.Remove(fd), fs.ErrNotExist, "remove", fd)
	}
	e.pause()
}

func addReportOnlyBits(e *env) {
	a, b := e.sockets()
	e.write(b, "x")
	for _, want := range []mux.Interest{mux.Hangup, mux.Error, mux.Readable | mux.Hangup, mux.Writable | mux.Error | mux.Oneshot} {
		e.refused(e.m.Add(a, want, 1), syscall.EINVAL, "add", a)
	}
	e.pause()
	e.add(a, mux.Readable, 2)
	e.refused(e.m.Modify(a, mux.Writable|mux.Hangup, 3), syscall.EINVAL, "modify", a)
	e.refused(e.m.Modify(a, mux.Writable|mux.Error, 3), syscall.EINVAL, "modify", a)
	e.expect(ready{2: mux.Readable})
}

func modifyReplacesTokenAndInterest(e *env) {
	a, b := e.sockets()
	e.write(b, "x")
	e.add(a, mux.Readable, 1)
	e.expect(ready{1: mux.Readable})
	e.modify(a, mux.Readable, 2) // the token alone
	e.expect(ready{2: mux.Readable})
	e.modify(a, mux.Writable, 2) // the interest alone
	e.expect(ready{2: mux.Writable})
	e.modify(a, mux.Readable|mux.Writable, math.MaxUint64)
	e.expect(ready{math.MaxUint64: mux.Readable | mux.Writable})
	e.modify(a, 0, 0)
	e.pause()
	e.modify(a, mux.Readable, 0)
	e.expect(ready{0: mux.Readable})
	e.modify(a, mux.Priority, 3)
	e.pause()
}

func failedAddLeavesNothing(e *env) {
	a, b := e.sockets()
	e.write(b, "x")
	if err := e.m.Add(a, mux.Readable|mux.Error, 1); err == nil {
		e.fatalf("Add with Error succeeded")
	}
	number, _ := e.pipe()
	number = e.move(number)
	e.close(number)
	if err := e.m.Add(number, mux.Readable, 1); err == nil {
		e.fatalf("Add of a closed descriptor succeeded")
	}
	r, _ := e.fullPipe()
	e.reuse(number, r)
	e.pause()
	for i, fd := range []int{a, number} {
		e.refused(e.m.Remove(fd), fs.ErrNotExist, "remove", fd)
		e.refused(e.m.Modify(fd, mux.Readable, 1), fs.ErrNotExist, "modify", fd)
		e.add(fd, mux.Readable, uint64(2+i))
	}
	e.expect(ready{2: mux.Readable, 3: mux.Readable})
}

func removeSilencesThenReadd(e *env) {
	r, w := e.fullPipe()
	file := e.regular()
	e.add(r, mux.Readable, 1)
	e.add(file, mux.Readable, 2)
	e.expect(ready{1: mux.Readable, 2: mux.Readable})
	e.remove(r)
	e.remove(file)
	e.silent()
	e.add(r, mux.Readable, 3)
	e.add(file, mux.Readable, 4)
	e.expect(ready{3: mux.Readable, 4: mux.Readable})
	e.remove(file)
	e.drain(r)
	e.pause()
	e.write(w, "x")
	e.expect(ready{3: mux.Readable})

	// What did not fit into the last Wait is silenced too.
	fds := map[uint64]int{3: r}
	for token := uint64(5); token < 9; token++ {
		fds[token], _ = e.fullPipe()
		e.add(fds[token], mux.Readable, token)
	}
	first := e.one()
	for token, fd := range fds {
		if token != first {
			e.remove(fd)
		}
	}
	for range len(fds) {
		e.expect(ready{first: mux.Readable})
	}
	e.remove(fds[first])
	e.pause()
}
