package mux

// Backend select: select(2), as pselect6 for its finer timeouts.

import (
	"math/bits"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// selectSet keeps descriptors in three bitmaps that grow past FD_SETSIZE: the
// kernel takes any size, it is the C library's fd_set that ends at 1024.
//
// select reports a hang-up as readable and an error as both, and has no way to
// say Hangup or Error. So it cannot tell a hang-up to a descriptor that was asked
// for Writable and has no room: an AF_UNIX stream socket with a full buffer
// whose peer has shut down both directions without reading is one. Readable
// comes, if it was asked for; Writable comes when the peer closes.
type selectSet struct {
	m    *multiplexer
	want [3]bitmap // read, write, except
	got  [3]bitmap // what the kernel has in hand during a wait
	nfds int       // one more than the highest descriptor of want

	began uint64 // the table's generation when the wait began
	n     int    // how many bits of got are set; bits past the kernel's table stay set when it is 0
	stale bool   // a descriptor in want is closed
	next  int    // descriptor to go on with
	ts    unix.Timespec
}

// bitmap is a set of descriptors in words of the kernel's unsigned long.
type bitmap []uint

const wordBits = bits.UintSize

func (b bitmap) set(fd int)   { b[fd/wordBits] |= 1 << (fd % wordBits) }
func (b bitmap) clear(fd int) { b[fd/wordBits] &^= 1 << (fd % wordBits) }

// has reports whether fd is in the set, 0 or 1.
func (b bitmap) has(fd int) uint { return b[fd/wordBits] >> (fd % wordBits) & 1 }

func openSelect() (Mux, error) {
	return open("select", false, func(m *multiplexer) (kernelSet, error) {
		s := &selectSet{m: m}
		s.put(m.waker.fd, Readable)
		return s, nil
	})
}

// put makes want say exactly what is wanted of fd.
func (s *selectSet) put(fd int, want Interest) {
	for i, bit := range [...]Interest{Readable, Writable, Priority} {
		if grow := fd/wordBits + 1 - len(s.want[i]); grow > 0 {
			s.want[i] = append(s.want[i], make(bitmap, grow)...)
		}
		if want&bit != 0 {
			s.want[i].set(fd)
		} else {
			s.want[i].clear(fd)
		}
	}
	if want != 0 {
		s.nfds = max(s.nfds, fd+1)
		return
	}
	for s.nfds > 0 && s.want[0].has(s.nfds-1)|s.want[1].has(s.nfds-1)|s.want[2].has(s.nfds-1) == 0 {
		s.nfds--
	}
}

func (s *selectSet) arm(fd int, e *entry) error {
	if err := checkOpen(fd); err != nil {
		return err
	}
	s.put(fd, e.want&conditions)
	s.m.kick()
	return nil
}

func (s *selectSet) disarm(fd int, e *entry) {
	if e.armed {
		s.put(fd, 0)
		s.m.kick()
	}
}

func (s *selectSet) begin(int) {
	words := (s.nfds + wordBits - 1) / wordBits
	for i := range s.got {
		s.got[i] = append(s.got[i][:0], s.want[i][:words]...)
	}
	s.began = s.m.table.gen
}

func (s *selectSet) wait(timeout time.Duration) syscall.Errno {
	var ts *unix.Timespec
	if timeout >= 0 {
		s.ts = timespec(timeout)
		ts = &s.ts
	}
	// The waker is always in the set, so that no bitmap is empty.
	n, _, errno := unix.Syscall6(unix.SYS_PSELECT6, uintptr(len(s.got[0])*wordBits),
		uintptr(unsafe.Pointer(&s.got[0][0])), uintptr(unsafe.Pointer(&s.got[1][0])),
		uintptr(unsafe.Pointer(&s.got[2][0])), uintptr(unsafe.Pointer(ts)), 0)
	s.n, s.stale = 0, false
	switch errno {
	case 0:
		s.n = int(n)
	case syscall.EBADF:
		s.stale = true
		return 0
	}
	return errno
}

// collect goes round the bitmaps from where the last one stopped, so that a
// small event slice does not starve the high numbers.
func (s *selectSet) collect(events []Event) int {
	if s.stale {
		return s.collectClosed(events)
	}
	n, words := 0, len(s.got[0])
	first := s.next / wordBits
	// The first word is visited twice: from next upwards, and at the end of the
	// round from its beginning.
	for i := 0; i <= words && s.n > 0 && n < len(events); i++ {
		w := (first + i) % words
		word := s.got[0][w] | s.got[1][w] | s.got[2][w]
		if i == 0 {
			word &^= 1<<(s.next%wordBits) - 1
		}
		for ; word != 0 && n < len(events); word &= word - 1 {
			fd := w*wordBits + bits.TrailingZeros(word)
			s.next = fd + 1
			if ev, ok := s.take(fd); ok {
				events[n] = ev
				n++
			}
		}
	}
	return n
}

// take takes the bits of fd out of got and makes them an event.
func (s *selectSet) take(fd int) (Event, bool) {
	var ready Interest
	for i, bit := range [...]Interest{Readable, Writable, Priority} {
		if s.got[i].has(fd) != 0 {
			s.got[i].clear(fd)
			s.n--
			ready |= bit
		}
	}
	e := s.m.table.at(fd)
	if e == nil || !e.armed || e.gen > s.began {
		return Event{}, false // the waker, or what was changed during the wait
	}
	if e.want&Oneshot != 0 {
		s.disarm(fd, e)
		e.armed = false
	}
	return e.event(ready), true
}

// collectClosed reports and disarms descriptors that were closed while
// registered: a single one makes the whole call fail with EBADF.
func (s *selectSet) collectClosed(events []Event) int {
	n := 0
	for fd := range s.m.table.entries {
		if n == len(events) {
			break
		}
		if e := s.m.table.at(fd); e != nil && e.armed && checkOpen(fd) != nil {
			s.disarm(fd, e)
			e.armed = false
			events[n] = e.event(Error)
			n++
		}
	}
	return n
}

func (s *selectSet) close() error { return nil }
