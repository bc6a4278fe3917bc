package muxtest

import (
	"errors"

	"golang.org/x/sys/unix"

	"iomux/mux"
)

// Readiness: what is reported, and when.
var readiness = []testCase{
	{"empty_wait_zero", emptyWaitZero},
	{"level_redelivers_until_drained", levelRedeliversUntilDrained},
	{"oneshot_once_then_modify_rearms", oneshotOnceThenModifyRearms},
	{"oneshot_silent_after_hangup", oneshotSilentAfterHangup},
	{"interest_none_silent_after_hangup", interestNoneSilentAfterHangup},
	{"silence_costs_no_cpu", silenceCostsNoCPU},
	{"writable_only_when_asked", writableOnlyWhenAsked},
	{"read_and_write_coalesce", readAndWriteCoalesce},
	{"hangup_sets_readable", hangupSetsReadable},
	{"hangup_sets_writable", hangupSetsWritable},
	{"pipe_writer_closed_is_readable", pipeWriterClosedIsReadable},
	{"pipe_reader_closed_full_is_writable", pipeReaderClosedFullIsWritable},
	{"connect_refused_is_writable", connectRefusedIsWritable},
	{"priority_out_of_band", priorityOutOfBand},
	{"edge_or_unsupported", edgeOrUnsupported},
}

func emptyWaitZero(e *env) {
	for range 3 {
		e.pause()
	}
}

func levelRedeliversUntilDrained(e *env) {
	r, w := e.pipe()
	e.add(r, mux.Readable, 1)
	e.pause()
	e.write(w, "abc")
	for range 3 {
		e.expect(ready{1: mux.Readable})
	}
	e.read(r, 1)
	e.expect(ready{1: mux.Readable})
	e.drain(r)
	e.pause()
	e.write(w, "d")
	e.expect(ready{1: mux.Readable})
}

func oneshotOnceThenModifyRearms(e *env) {
	r, w := e.pipe()
	e.add(r, mux.Readable|mux.Oneshot, 1)
	e.pause() // a Wait that reports nothing does not spend it
	e.write(w, "a")
	e.expect(ready{1: mux.Readable})
	e.pause()
	e.write(w, "b")
	e.pause() // not even when there is more

	e.modify(r, mux.Readable|mux.Oneshot, 2)
	e.expect(ready{2: mux.Readable})
	e.pause()
	e.drain(r)
	e.modify(r, mux.Readable|mux.Oneshot, 3)
	e.pause()
	e.write(w, "c")
	e.expect(ready{3: mux.Readable})
	e.pause()

	e.modify(r, mux.Readable, 4)
	for range 3 {
		e.expect(ready{4: mux.Readable})
	}
}

func oneshotSilentAfterHangup(e *env) {
	r, w := e.fullPipe()
	a, b := e.sockets()
	e.add(r, mux.Readable|mux.Oneshot, 1)
	e.add(a, mux.Readable|mux.Writable|mux.Oneshot, 2)
	e.expect(ready{1: mux.Readable, 2: mux.Writable})
	e.close(w)
	e.close(b)
	e.silent()
	e.modify(r, mux.Readable|mux.Oneshot, 3)
	e.modify(a, mux.Readable|mux.Writable|mux.Oneshot, 4)
	e.expectHangup(ready{3: mux.Readable, 4: mux.Readable | mux.Writable})
	e.silent()
}

func interestNoneSilentAfterHangup(e *env) {
	r, w := e.fullPipe()
	a, b := e.sockets()
	c, d := e.sockets()
	e.add(r, 0, 1)
	e.add(a, mux.Oneshot, 2) // a mode without a condition is no interest either
	e.add(c, mux.Writable, 3)
	e.expect(ready{3: mux.Writable})
	e.modify(c, 0, 4)
	e.pause()
	e.close(w)
	e.close(b)
	e.close(d)
	e.silent()
	e.modify(r, mux.Readable, 5)
	e.modify(a, mux.Readable, 6)
	e.modify(c, mux.Writable, 7)
	e.expectHangup(ready{5: mux.Readable, 6: mux.Readable, 7: mux.Writable})
}

// silenceCostsNoCPU has every kind of silence at once; the other cases that are
// about one of them measure it too.
func silenceCostsNoCPU(e *env) {
	idle, _ := e.pipe()
	e.add(idle, mux.Readable, 1)
	e.silent()

	spent, w := e.fullPipe()
	e.add(spent, mux.Readable|mux.Oneshot, 2)
	e.expect(ready{2: mux.Readable})
	e.close(w)

	none, w := e.fullPipe()
	e.add(none, 0, 3)
	e.close(w)

	taken, _ := e.fullPipe() // closed without Remove, read by a duplicate
	taken = e.move(taken)
	e.add(taken, mux.Readable, 4)
	e.dup(taken)
	e.close(taken)
	e.settle()
	e.silent()
}

func writableOnlyWhenAsked(e *env) {
	a, _ := e.sockets()
	r, w := e.pipe()
	e.add(a, mux.Readable, 1)
	e.add(r, mux.Readable, 2)
	e.add(w, mux.Readable, 3)
	e.pause()
	e.modify(a, mux.Readable|mux.Writable, 4)
	e.expect(ready{4: mux.Writable})
	e.modify(w, mux.Writable, 5)
	e.expect(ready{4: mux.Writable, 5: mux.Writable})
	e.modify(a, mux.Readable, 6)
	e.expect(ready{5: mux.Writable})
	e.fill(w)
	e.expect(ready{2: mux.Readable})
	e.drain(r)
	e.expect(ready{5: mux.Writable})
}

func readAndWriteCoalesce(e *env) {
	a, b := e.sockets()
	e.add(a, mux.Readable|mux.Writable, 1)
	e.expect(ready{1: mux.Writable})
	e.write(b, "x")
	e.expect(ready{1: mux.Readable | mux.Writable})
	if events := e.waitFor(1, 0); len(events) != 1 || events[0].Ready != mux.Readable|mux.Writable {
		e.fatalf("with room for one event Wait reported %v, want both conditions in it", events)
	}
	e.fill(a)
	e.expect(ready{1: mux.Readable})
}

func hangupSetsReadable(e *env) {
	a, b := e.sockets()
	e.add(a, mux.Readable, 1)
	e.pause()
	e.close(b)
	e.expectHangup(ready{1: mux.Readable})
	e.expectHangup(ready{1: mux.Readable})
	e.modify(a, mux.Readable|mux.Writable, 2)
	e.expectHangup(ready{2: mux.Readable | mux.Writable})
	e.remove(a)

	a, b = e.connection()
	e.add(a, mux.Readable, 3)
	e.pause()
	e.close(b)
	e.await(3, mux.Readable)
	e.expectHangup(ready{3: mux.Readable})
}

// hangupSetsWritable fills a socket whose peer reads nothing. When the peer
// shuts down both directions, the kernel reports a hang-up and no room, and yet
// a write does not block: it fails.
func hangupSetsWritable(e *env) {
	a, b := e.sockets()
	e.add(a, mux.Writable, 1)
	e.fill(a)
	e.pause()
	e.must(unix.Shutdown(b, unix.SHUT_WR))
	e.pause() // an end of file is something to read, and no room
	e.modify(a, mux.Readable|mux.Writable, 2)
	e.compare(e.wait(0), ready{2: mux.Readable}, 0)

	e.must(unix.Shutdown(b, unix.SHUT_RDWR))
	e.modify(a, mux.Readable|mux.Writable, 3)
	events := e.wait(0)
	if len(events) != 1 || events[0].Ready&mux.Readable == 0 {
		e.fatalf("after a hang-up Wait reported %v, want token 3 as readable", events)
	}
	if events[0].Ready&mux.Writable != 0 {
		e.modify(a, mux.Writable, 4)
		e.expectHangup(ready{4: mux.Writable})
	}
	// Otherwise it is a backend like select(2), which cannot tell a hang-up from
	// an end of file.

	e.close(b) // frees the room too
	e.modify(a, mux.Writable, 5)
	e.expectHangup(ready{5: mux.Writable})
	e.modify(a, mux.Readable, 6)
	e.expectHangup(ready{6: mux.Readable})
}

// pipeWriterClosedIsReadable: the kernel reports a hang-up and no data.
func pipeWriterClosedIsReadable(e *env) {
	r, w := e.pipe()
	e.add(r, mux.Readable, 1)
	e.close(w)
	e.expectHangup(ready{1: mux.Readable})
	e.expectHangup(ready{1: mux.Readable})
}

// pipeReaderClosedFullIsWritable: the kernel reports an error and no room.
func pipeReaderClosedFullIsWritable(e *env) {
	r, w := e.pipe()
	e.add(w, mux.Writable, 1)
	e.fill(w)
	e.pause()
	e.close(r)
	e.expectHangup(ready{1: mux.Writable})
	e.expectHangup(ready{1: mux.Writable})
}

func connectRefusedIsWritable(e *env) {
	_, addr := e.bound() // and does not listen
	for _, want := range []mux.Interest{mux.Writable, mux.Readable, mux.Readable | mux.Writable} {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		e.must(err)
		e.own(fd)
		if err := unix.Connect(fd, addr); err != unix.EINPROGRESS {
			e.skipf("connecting to a port of the loopback interface that does not listen: %v", err)
		}
		e.add(fd, want, 1)
		e.await(1, want)
		if soerr, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || unix.Errno(soerr) != unix.ECONNREFUSED {
			e.fatalf("the pending error is %v, %v after Wait, want %v", unix.Errno(soerr), err, unix.ECONNREFUSED)
		}
		e.remove(fd)
	}
}

func priorityOutOfBand(e *env) {
	a, b := e.connection()
	e.add(a, mux.Priority, 1)
	e.pause()
	e.must(unix.Sendto(b, []byte("!"), unix.MSG_OOB, nil))
	e.await(1, mux.Priority)
	e.expect(ready{1: mux.Priority})

	e.modify(a, mux.Readable, 2) // urgent data alone is nothing to read
	e.silent()
	e.modify(a, mux.Readable|mux.Priority, 3)
	e.expect(ready{3: mux.Priority})

	e.write(b, "x")
	e.await(3, mux.Readable)
	e.expect(ready{3: mux.Readable | mux.Priority})
	e.modify(a, mux.Readable, 4)
	e.expect(ready{4: mux.Readable})
	_, _, err := unix.Recvfrom(a, make([]byte, 1), unix.MSG_OOB)
	e.must(err)
	e.modify(a, mux.Priority, 5)
	e.pause()
}

func edgeOrUnsupported(e *env) {
	a, b := e.sockets()
	e.write(b, "x")
	err := e.m.Add(a, mux.Readable|mux.Edge, 1)
	if err != nil {
		e.refused(err, errors.ErrUnsupported, "add", a)
		e.pause()
		e.add(a, mux.Readable, 2)
		e.refused(e.m.Modify(a, mux.Readable|mux.Edge, 3), errors.ErrUnsupported, "modify", a)
		e.expect(ready{2: mux.Readable})
		return
	}
	e.wants[1] = mux.Readable | mux.Edge
	e.expect(ready{1: mux.Readable}) // what is ready already counts as a change
	e.pause()
	for range 200 {
		e.write(b, "x")
		e.expect(ready{1: mux.Readable})
		e.expect(ready{})
	}
	e.drain(a)
	e.pause()

	e.modify(a, mux.Readable|mux.Edge|mux.Oneshot, 2)
	e.write(b, "x")
	e.expect(ready{2: mux.Readable})
	e.write(b, "x")
	e.pause()
	e.modify(a, mux.Readable|mux.Edge|mux.Oneshot, 3)
	e.expect(ready{3: mux.Readable})
	e.pause()
	e.modify(a, mux.Readable, 4)
	e.expect(ready{4: mux.Readable})
	e.expect(ready{4: mux.Readable})
}
