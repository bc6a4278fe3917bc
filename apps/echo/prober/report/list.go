package report

import (
	"io"
	"strconv"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
)

// list writes as fping(8) does.
type list struct {
	sink
	o      Options
	run    Run
	clocks clocks
	sweep  bool // one line tells all of a host
	alive  uint64
	dead   uint64
}

// NewList returns a Writer for many hosts that writes as fping(8) does. In a sweep,
// that is with a Run.Count of 1 and without Options.Verbose, each host has a line
// once its fate is known:
//
//	192.0.2.1 is alive (0.035 ms)
//	192.0.2.2 is unreachable
//
// Else each result has one, with what is known of the target so far:
//
//	192.0.2.1 : [0], 64 bytes, 0.055 ms (0.055 avg, 0% loss)
//	192.0.2.2 : [0], timed out (NaN avg, 100% loss)
//
// and the summary has one for each target, as far as it has statistics:
//
//	192.0.2.1 : xmt/rcv/%loss = 5/5/0%, min/avg/max = 0.031/0.040/0.049
//	192.0.2.2 : xmt/rcv/%loss = 5/0/100%
//
// The totals follow. Loss and other outcomes are as NewPing describes them; where the
// loss is unknown, it is left out.
func NewList(w io.Writer, o Options) Writer {
	return &list{sink: newSink(w, &o), o: o}
}

func (l *list) Begin(r *Run) error {
	l.run = *r
	l.sweep = r.Count == 1 && !l.o.Verbose
	return l.err
}

// bare is whether there are lines for chosen hosts, or an answer to one question,
// and nothing else.
func (l *list) bare() bool { return l.o.Alive || l.o.Unreachable || l.o.Required > 0 }

func (l *list) Result(r *prober.Result) error {
	if l.err != nil {
		return l.err
	}
	l.clocks.add(r)
	switch {
	case l.bare() || l.sweep:
		if !r.Outcome.Final() || !r.Last || !l.decides(r) {
			return nil
		}
		return l.fate(r)
	case l.o.Quiet:
		return nil
	}
	return l.line(r)
}

// decides reports whether the end of a probe decides what became of its host. Where
// there are further rounds it is the first good answer, and silence is left to the
// summary.
func (l *list) decides(r *prober.Result) bool {
	if l.run.Count == 1 {
		return true
	}
	t := l.target(r.Target)
	if t == nil {
		return r.Number <= 1
	}
	return isAnswer(r.Outcome) && t.Counts().Received() == 1
}

func isAnswer(o stats.Outcome) bool { return o == stats.Reply || o == stats.Reordered }

// fate tells what became of a host, by the probe that decides.
func (l *list) fate(r *prober.Result) error {
	alive := isAnswer(r.Outcome)
	if alive {
		l.alive++
	} else {
		l.dead++
	}
	chosen := l.o.Alive && alive || l.o.Unreachable && !alive
	if l.bare() && !chosen || l.o.Quiet && !l.bare() {
		return nil
	}
	b := l.buf
	if l.o.Timestamps {
		b = appendSeconds(b, l.now())
	}
	b = appendHost(b, r.Name, r.Addr)
	switch {
	case l.o.Alive != l.o.Unreachable: // which it is goes without saying
	case alive:
		b = append(b, " is "...)
		b = l.o.appendColour(b, good)
		b = append(b, "alive"...)
		b = l.o.appendColour(b, plain)
		if r.Clock != prober.NoClock {
			b = append(b, " ("...)
			b = appendMillis(b, r.RTT)
			b = append(b, " ms)"...)
		}
	default:
		b = append(b, " is "...)
		b = l.o.appendColour(b, bad)
		b = append(b, "unreachable"...)
		b = l.o.appendColour(b, plain)
		b = appendReason(b, r)
	}
	return l.end(append(b, '\n'))
}

// appendReason appends why a host is unreachable, where silence is not the reason.
func appendReason(b []byte, r *prober.Result) []byte {
	switch {
	case r.Outcome == stats.Timeout:
		return b
	case r.Outcome == stats.ICMPError:
		b = append(b, " ("...)
		b = appendError(b, r)
		b = append(b, " from "...)
		b = appendAddr(b, r.From)
	case r.Outcome == stats.SendError || r.Outcome == stats.LocalDrop:
		b = append(b, " ("...)
		b = appendFailure(b, r)
	default:
		b = append(b, " ("...)
		b = append(b, r.Outcome.String()...)
		b = append(b, " answer"...)
	}
	return append(b, ')')
}

// line tells of one result.
func (l *list) line(r *prober.Result) error {
	b := l.buf
	if l.o.Timestamps {
		b = appendSeconds(b, l.now())
	}
	known := r.Target != prober.NoTarget
	if known {
		b = appendHost(b, r.Name, r.Addr)
		b = append(b, " : ["...)
		b = strconv.AppendUint(b, r.Number-min(r.Number, 1), 10)
		b = append(b, "], "...)
	} else {
		b = appendAddr(b, r.From)
		b = append(b, " : "...)
	}
	switch {
	case r.Outcome == stats.ICMPError:
		b = l.o.appendColour(b, bad)
		b = appendError(b, r)
		b = append(b, " from "...)
		b = appendAddr(b, r.From)
		if !r.Last {
			b = append(b, ", trying again"...)
		}
		b = l.o.appendColour(b, plain)
	case r.Outcome == stats.SendError || r.Outcome == stats.LocalDrop || r.Outcome == stats.Timeout:
		b = l.o.appendColour(b, bad)
		b = appendFailure(b, r)
		b = l.o.appendColour(b, plain)
	default:
		b = strconv.AppendInt(b, int64(r.Size), 10)
		b = append(b, " bytes"...)
		if r.Clock != prober.NoClock {
			b = append(b, ", "...)
			b = appendMillis(b, r.RTT)
			b = append(b, " ms"...)
		}
		if known && r.From != r.Addr {
			b = append(b, " from "...)
			b = appendAddr(b, r.From)
		}
		b = l.o.appendRemark(b, r)
	}
	if t := l.target(r.Target); t != nil {
		c := t.Counts()
		if loss, known := packetLoss(&c); known {
			b = append(b, " ("...)
			if c.Received() > 0 {
				b = appendMillis(b, t.Mean())
			} else {
				b = append(b, "NaN"...)
			}
			b = append(b, " avg, "...)
			b = l.o.appendLoss(b, loss)
			b = append(b, " loss)"...)
		}
	}
	return l.end(append(b, '\n'))
}

// target returns the statistics of a target, or nil.
func (l *list) target(i uint64) *stats.Target {
	if l.run.Target == nil || i == prober.NoTarget {
		return nil
	}
	return l.run.Target(i)
}

func (l *list) Summary(s *Summary) error {
	if l.err != nil {
		return l.err
	}
	if l.bare() && !s.Interim {
		if err := l.silent(); err != nil {
			return err
		}
	}
	b := l.buf
	switch {
	case l.o.Required > 0:
		if l.alive < l.o.Required {
			b = append(b, "Not enough"...)
		} else {
			b = append(b, "Enough"...)
		}
		b = append(b, " hosts reachable (required: "...)
		b = strconv.AppendUint(b, l.o.Required, 10)
		b = append(b, ", reachable: "...)
		b = strconv.AppendUint(b, l.alive, 10)
		l.buf = append(b, ")\n"...)
		return l.Flush()
	case l.bare() && !s.Interim:
		return l.Flush()
	case !l.bare() && !l.sweep && l.run.Target != nil && l.run.Targets != nil:
		if err := l.targets(); err != nil {
			return err
		}
	}
	l.buf = l.totals(l.buf, s)
	return l.Flush()
}

// silent tells of the hosts that have not answered in several rounds.
func (l *list) silent() error {
	if !l.o.Unreachable || l.run.Count == 1 || l.run.Target == nil || l.run.Targets == nil {
		return nil
	}
	for i := range l.run.Targets.Len() {
		t := l.run.Target(i)
		if t == nil {
			continue
		}
		if c := t.Counts(); c.Received() > 0 || c.Finished() == 0 {
			continue
		}
		host := l.run.Targets.At(i)
		if err := l.fate(&prober.Result{Outcome: stats.Timeout, Target: i, Name: host.Name, Addr: host.Addr}); err != nil {
			return err
		}
	}
	return nil
}

// targets tells of each target that was probed.
func (l *list) targets() error {
	for i := range l.run.Targets.Len() {
		t := l.run.Target(i)
		if t == nil {
			continue
		}
		host := l.run.Targets.At(i)
		s := t.Summary()
		b := appendHost(l.buf, host.Name, host.Addr)
		loss, known := packetLoss(&s.Counts)
		if known {
			b = append(b, " : xmt/rcv/%loss = "...)
		} else {
			b = append(b, " : xmt/rcv = "...)
		}
		b = strconv.AppendUint(b, s.Sent, 10)
		b = append(b, '/')
		b = strconv.AppendUint(b, s.Received(), 10)
		if known {
			b = append(b, '/')
			b = l.o.appendLoss(b, loss)
		}
		if s.Received() > 0 {
			b = append(b, ", min/avg/max = "...)
			b = appendMillis(b, s.Min)
			b = append(b, '/')
			b = appendMillis(b, s.Mean)
			b = append(b, '/')
			b = appendMillis(b, s.Max)
		}
		if share, known := unanswered(&s.Counts); known {
			b = append(b, ", unanswered = "...)
			b = l.o.appendLoss(b, share)
		}
		if err := l.end(append(b, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// totals appends what fping -s does, and more.
func (l *list) totals(b []byte, s *Summary) []byte {
	t := &s.Total
	b = append(b, '\n')
	if l.run.Targets != nil {
		b = appendCount(b, l.run.Targets.Len(), "targets")
	}
	if l.sweep {
		b = appendCount(b, l.alive, "alive")
		b = appendCount(b, l.dead, "unreachable")
	}
	if s.Skipped > 0 {
		b = append(appendSkipped(appendPadding(b, s.Skipped, 8), s.Skipped), '\n')
	}
	b = append(b, '\n')
	b = appendCount(b, t.Of[stats.Timeout], "timeouts (waiting for response)")
	b = appendCount(b, t.Sent, "ICMP Echos sent")
	b = appendCount(b, t.Received(), "ICMP Echo Replies received")
	for _, e := range extras {
		if n := t.Of[e.outcome]; n > 0 {
			b = appendCount(b, n, e.text)
		}
	}
	b = appendCount(b, s.Stray, "other ICMP received")
	b = append(b, '\n')
	if t.Received() > 0 {
		b = append(b, ' ')
		b = appendMillis(b, t.Min)
		b = append(b, " ms (min round trip time)\n "...)
		b = appendMillis(b, t.Mean)
		b = append(b, " ms (avg round trip time)\n "...)
		b = appendMillis(b, t.Max)
		b = append(b, " ms (max round trip time)\n rtt "...)
		b = appendQuantiles(b, t)
		b = l.clocks.appendClocks(b, s, l.run.Clock)
		b = append(b, '\n')
	}
	b = appendPadded(b, uint64(max(s.Elapsed.Milliseconds(), 0))/1000, 9)
	b = append(b, appendFixed(nil, s.Elapsed.Milliseconds()%1000, 3)[1:]...)
	return append(b, " sec (elapsed real time)\n\n"...)
}

// appendCount appends a line of the totals.
func appendCount(b []byte, n uint64, what string) []byte {
	b = appendPadded(b, n, 8)
	b = append(b, ' ')
	b = append(b, what...)
	return append(b, '\n')
}

// appendPadded appends n with blanks in front, to the given width.
func appendPadded(b []byte, n uint64, width int) []byte {
	return strconv.AppendUint(appendPadding(b, n, width), n, 10)
}

// appendPadding appends the blanks alone.
func appendPadding(b []byte, n uint64, width int) []byte {
	digits := 1
	for m := n; m >= 10; m /= 10 {
		digits++
	}
	for ; digits < width; digits++ {
		b = append(b, ' ')
	}
	return b
}
