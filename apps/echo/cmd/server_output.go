package cmd

import (
	"errors"
	"io"
	"sync"
	"syscall"

	"iomux/mux/loop"
)

// sink is where the lines of all loops go. The first write that fails ends the server.
type sink struct {
	mu   sync.Mutex
	w    io.Writer
	err  error
	fail func()
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(p)
	if err != nil {
		s.err = err
		s.fail()
	}
	return n, err
}

// failure is the first error of writing.
func (s *sink) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// unread reports whether nobody reads the output any more.
func (s *sink) unread() bool { return errors.Is(s.failure(), syscall.EPIPE) }

// lineBuffer gathers whole lines of a turn of one loop and writes them at its end.
type lineBuffer struct {
	l      *loop.Loop
	to     *sink
	buf    []byte
	posted bool
}

// enough is how much is gathered before it is written within a turn.
const enough = 1 << 16

// add takes buf with lines appended.
func (b *lineBuffer) add(buf []byte) {
	b.buf = buf
	switch {
	case len(buf) >= enough:
		b.flush()
	case !b.posted:
		b.posted = true
		b.l.Post(b.flush)
	}
}

func (b *lineBuffer) flush() {
	b.posted = false
	if len(b.buf) > 0 {
		b.to.Write(b.buf)
		b.buf = b.buf[:0]
	}
}

// locked is a writer for several goroutines.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
