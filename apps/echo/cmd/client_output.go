package cmd

import (
	"io"
	"math/bits"
	"os"

	"golang.org/x/term"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/report"
	"iomux/transport"
)

// writer returns the output that was asked for.
func (o *clientOptions) writer(w io.Writer, colour bool) report.Writer {
	opts := report.Options{Quiet: o.quiet, Verbose: o.verbose, Timestamps: o.timestamps, Colour: colour,
		FlushLines: true, Alive: o.alive, Unreachable: o.unreachable, Required: o.required()}
	switch {
	case o.json:
		return report.NewJSON(w, opts)
	case o.csv:
		return report.NewCSV(w, opts)
	case o.alone && !o.chosen():
		return report.NewPing(w, opts)
	}
	return report.NewList(w, opts)
}

// nameless reports whether results are shown without names. What programs read has
// all there is.
func (o *clientOptions) nameless() bool { return o.numeric && !o.json && !o.csv }

// colours reports whether a stream is to have them (https://no-color.org).
func colours(stream any) bool { return capable(stream) && os.Getenv("NO_COLOR") == "" }

// capable reports whether a stream is a terminal that knows control sequences.
func capable(stream any) bool { return terminal(stream) && os.Getenv("TERM") != "dumb" }

// progress returns a bar for a sweep, or nil where its end is not known or standard
// error is no terminal. Calls that are traced go to the same place, from other
// goroutines too.
func (o *clientOptions) progress(cfg *prober.Config, stderr io.Writer) *report.Progress {
	overflow, all := bits.Mul64(cfg.Targets.Len(), cfg.Count)
	if cfg.Targets.Len() == 1 || overflow > 0 || all == 0 || o.trace || !capable(stderr) {
		return nil
	}
	fd := int(stderr.(*os.File).Fd())
	width := func() int {
		columns, _, _ := term.GetSize(fd) // 0 if it is not known
		return columns
	}
	return report.NewProgress(stderr, width, nil)
}

// stamped reports whether the kernel says when a transport has sent what.
func stamped(t transport.Transport) bool {
	s, ok := transport.As[transport.TransmitStamper](t)
	if ok {
		_, _, err := s.TransmitStamps(nil)
		ok = err == nil
	}
	return ok
}

// describe names a transport.
func (o *clientOptions) describe(t transport.Transport, v6 bool) string {
	if o.network != "" {
		return "network " + o.network
	}
	family, kind := "IPv4", "raw"
	if v6 {
		family = "IPv6"
	}
	if _, ping := transport.As[transport.Identifier](t); ping {
		kind = "ping"
	}
	return kind + " socket for " + family
}
