package report

import (
	"io"
	"time"
)

// sink gathers lines and writes them in blocks.
type sink struct {
	w     io.Writer
	buf   []byte
	lines bool // write each line
	now   func() time.Time
	err   error // the first one of w
}

const block = 32 << 10 // bytes to gather

func newSink(w io.Writer, o *Options) sink {
	now := o.Now
	if now == nil {
		now = time.Now
	}
	return sink{w: w, buf: make([]byte, 0, block+4<<10), lines: o.FlushLines, now: now}
}

// end takes buf with another line, or some, at its end.
func (s *sink) end(buf []byte) error {
	s.buf = buf
	if s.err == nil && !s.lines && len(s.buf) < block {
		return nil
	}
	return s.Flush()
}

// Flush writes what is buffered.
func (s *sink) Flush() error {
	if s.err == nil && len(s.buf) > 0 {
		n, err := s.w.Write(s.buf)
		if err == nil && n < len(s.buf) {
			err = io.ErrShortWrite
		}
		s.err = err
	}
	s.buf = s.buf[:0]
	return s.err
}
