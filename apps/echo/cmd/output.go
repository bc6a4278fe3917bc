package cmd

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"iomux/mux/loop"
)

// output gathers what a turn of the loop prints and writes it at the end of the
// turn. The first write that fails stops the loop.
type output struct {
	*bufio.Writer
	l      *loop.Loop
	posted bool
	err    error
}

func newOutput(l *loop.Loop, w io.Writer) *output {
	return &output{Writer: bufio.NewWriterSize(w, 1<<16), l: l}
}

// Write buffers p until the end of the turn.
func (o *output) Write(p []byte) (int, error) {
	if !o.posted {
		o.posted = true
		o.l.Post(o.flush)
	}
	n, err := o.Writer.Write(p)
	if err != nil {
		o.fail(err)
	}
	return n, err
}

func (o *output) flush() {
	o.posted = false
	if err := o.Flush(); err != nil {
		o.fail(err)
	}
}

func (o *output) fail(err error) {
	if o.err == nil {
		o.err = err
		o.l.Stop()
	}
}

// text makes a peer's data fit to be printed: as it is if it is text that
// cannot disturb a terminal, else quoted as Go does; the end of long data is
// left out.
func text(data []byte) string {
	const longest = 256
	more := ""
	if len(data) > longest {
		data, more = data[:longest], " and "+strconv.Itoa(len(data)-longest)+" more bytes"
	}
	s := string(data)
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		s = strconv.Quote(s)
	}
	return s + more
}
