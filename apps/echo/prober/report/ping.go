package report

import (
	"io"
	"strconv"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/apps/echo/prober/targets"
)

// ping writes as ping(8) of iputils does.
type ping struct {
	sink
	o      Options
	run    Run
	clocks clocks
	headed bool
	host   targets.Target // as the first line has it
}

// NewPing returns a Writer for one host that writes as ping(8) of iputils does:
//
//	PING localhost (127.0.0.1) 56(84) bytes of data.
//	64 bytes from localhost (127.0.0.1): icmp_seq=1 ttl=64 time=0.014 ms
//
//	--- localhost ping statistics ---
//	1 packets transmitted, 1 received, 0% packet loss, time 0ms
//	rtt min/avg/max/mdev = 0.014/0.014/0.014/0.000 ms, p50/p90/p99/p99.9 0.014/0.014/0.014/0.014 ms, jitter 0.000 ms, kernel clock
//
// It differs where ping tells less, and then at the ends of the lines, so that
// programs which read ping's output read this. A probe that times out has a line.
// Errors have the names of the RFCs. A number does not wrap at 65,536.
//
// Packet loss is stats.Counts.Loss, as ping has it but that a probe in flight is not
// lost yet. Where there are probes that did not leave this host, or whose answer it
// may have dropped, which that does not count, stats.Counts.Unanswered is added. Where
// there are no others the loss is unknown and left out.
//
// An interim summary is one line, as on SIGQUIT:
//
//	3/4 packets, 25% loss, min/avg/max/mdev = 0.014/0.015/0.016/0.001 ms
func NewPing(w io.Writer, o Options) Writer {
	return &ping{sink: newSink(w, &o), o: o}
}

func (p *ping) Begin(r *Run) error {
	p.run = *r
	if r.Targets != nil && r.Targets.Len() > 0 && r.Targets.At(0).Addr.IsValid() {
		return p.end(p.head(p.buf, nil))
	}
	return p.err // the first result knows the address of a name
}

// head appends the first line, once.
func (p *ping) head(b []byte, r *prober.Result) []byte {
	if p.headed {
		return b
	}
	p.headed = true
	if p.run.Targets != nil && p.run.Targets.Len() > 0 {
		p.host = p.run.Targets.At(0)
	}
	if r != nil && r.Addr.IsValid() {
		p.host.Addr = r.Addr
	}
	addr := p.host.Addr
	b = append(b, "PING "...)
	b = appendHost(b, p.host.Name, addr)
	v6 := addr.Is6()
	if addr.IsValid() {
		if !v6 {
			b = append(b, ' ')
		}
		b = append(b, '(')
		b = appendAddr(b, addr)
		b = append(b, ')')
	}
	if p.run.Source.IsValid() || p.run.Interface != "" {
		b = append(b, " from"...)
		if p.run.Source.IsValid() {
			b = append(b, ' ')
			b = appendAddr(b, p.run.Source)
		}
		if p.run.Interface != "" {
			b = append(b, ' ')
			b = appendName(b, p.run.Interface)
		}
		b = append(b, ':')
	}
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(p.run.Size), 10)
	if v6 {
		return append(b, " data bytes\n"...)
	}
	const headers = 20 + 8 // of IPv4 and ICMP
	b = append(b, '(')
	b = strconv.AppendInt(b, int64(p.run.Size)+headers, 10)
	return append(b, ") bytes of data.\n"...)
}

func (p *ping) Result(r *prober.Result) error {
	if p.err != nil {
		return p.err
	}
	p.clocks.add(r)
	b := p.head(p.buf, r)
	if p.o.Quiet {
		return p.end(b)
	}
	if p.o.Timestamps {
		b = appendSeconds(b, p.now())
	}
	switch {
	case r.Outcome == stats.ICMPError:
		b = p.o.appendColour(b, bad)
		b = append(b, "From "...)
		b = appendAddr(b, r.From)
		b = appendSeq(b, r)
		b = append(b, ' ')
		b = appendError(b, r)
		if !r.Last {
			b = append(b, ", trying again"...)
		}
		b = p.o.appendColour(b, plain)
	case r.Outcome == stats.SendError || r.Outcome == stats.LocalDrop || r.Outcome == stats.Timeout:
		b = p.o.appendColour(b, bad)
		b = append(b, "no answer for"...)
		b = appendSeq(b, r)
		b = append(b, ": "...)
		b = appendFailure(b, r)
		b = p.o.appendColour(b, plain)
	default:
		b = p.answer(b, r)
	}
	return p.end(append(b, '\n'))
}

// answer appends the line of an echo reply.
func (p *ping) answer(b []byte, r *prober.Result) []byte {
	b = strconv.AppendInt(b, int64(r.Size), 10)
	b = append(b, " bytes from "...)
	if r.Name != "" && r.From == r.Addr {
		b = appendName(b, r.Name)
		b = append(b, " ("...)
		b = appendAddr(b, r.From)
		b = append(b, ')')
	} else {
		b = appendAddr(b, r.From)
	}
	b = append(b, ':')
	b = appendSeq(b, r)
	if r.TTL > 0 {
		b = append(b, " ttl="...)
		b = strconv.AppendUint(b, uint64(r.TTL), 10)
	}
	if r.Clock != prober.NoClock {
		b = append(b, " time="...)
		b = appendMillis(b, r.RTT)
		b = append(b, " ms"...)
	}
	if p.o.Verbose {
		b = append(b, " tos="...)
		b = strconv.AppendUint(b, uint64(r.TOS), 10)
		b = append(b, " clock="...)
		b = appendClock(b, r.Clock)
	}
	return p.o.appendRemark(b, r)
}

// appendSeq appends the number of a probe, if it is known, and its try unless it is
// the first.
func appendSeq(b []byte, r *prober.Result) []byte {
	if r.Target == prober.NoTarget {
		return b
	}
	b = append(b, " icmp_seq="...)
	b = strconv.AppendUint(b, r.Number, 10)
	if r.Try > 0 {
		b = append(b, " try="...)
		b = strconv.AppendInt(b, int64(r.Try)+1, 10)
	}
	return b
}

// appendClock appends the name of a clock, which may be none that there is.
func appendClock(b []byte, c prober.Clock) []byte {
	if c > prober.User {
		c = prober.NoClock
	}
	return append(b, c.String()...)
}

func (p *ping) Summary(s *Summary) error {
	if p.err != nil {
		return p.err
	}
	b := p.head(p.buf, nil)
	t := &s.Total
	if s.Interim {
		b = strconv.AppendUint(b, t.Received(), 10)
		b = append(b, '/')
		b = strconv.AppendUint(b, t.Sent, 10)
		b = append(b, " packets"...)
		if loss, known := packetLoss(&t.Counts); known {
			b = append(b, ", "...)
			b = appendPercent(b, loss)
			b = append(b, " loss"...)
		}
		if t.Received() > 0 {
			b = append(b, ", min/avg/max/mdev = "...)
			b = appendTimes(b, t.Min, t.Mean, t.Max, t.Deviation)
			b = append(b, " ms"...)
		}
		p.buf = append(b, '\n')
		return p.Flush()
	}
	b = append(b, "\n--- "...)
	b = appendHost(b, p.host.Name, p.host.Addr)
	b = append(b, " ping statistics ---\n"...)
	b = strconv.AppendUint(b, t.Sent, 10)
	b = append(b, " packets transmitted, "...)
	b = strconv.AppendUint(b, t.Received(), 10)
	b = append(b, " received"...)
	b = p.extras(b, t, extras[:ofPing])
	if loss, known := packetLoss(&t.Counts); known {
		b = append(b, ", "...)
		b = p.o.appendLoss(b, loss)
		b = append(b, " packet loss"...)
	}
	b = append(b, ", time "...)
	b = strconv.AppendInt(b, max(s.Elapsed.Milliseconds(), 0), 10)
	b = append(b, "ms"...)
	if share, known := unanswered(&t.Counts); known {
		b = append(b, ", "...)
		b = p.o.appendLoss(b, share)
		b = append(b, " unanswered"...)
	}
	b = p.extras(b, t, extras[ofPing:])
	if n := t.InFlight(); n > 0 {
		b = append(b, ", "...)
		b = strconv.AppendUint(b, n, 10)
		b = append(b, " in flight"...)
	}
	if s.Skipped > 0 {
		b = append(b, ", "...)
		b = p.o.appendColour(b, odd)
		b = appendSkipped(b, s.Skipped)
		b = p.o.appendColour(b, plain)
	}
	b = append(b, '\n')
	if t.Received() > 0 {
		b = append(b, "rtt min/avg/max/mdev = "...)
		b = appendTimes(b, t.Min, t.Mean, t.Max, t.Deviation)
		b = append(b, " ms, "...)
		b = appendQuantiles(b, t)
		b = p.clocks.appendClocks(b, s, p.run.Clock)
		b = append(b, '\n')
	}
	p.buf = b
	return p.Flush()
}

// extras appends those of the outcomes that there are.
func (p *ping) extras(b []byte, t *stats.Summary, outcomes []extra) []byte {
	for _, e := range outcomes {
		if n := t.Of[e.outcome]; n > 0 {
			b = append(b, ", "...)
			b = p.o.appendColour(b, odd)
			b = append(b, '+')
			b = strconv.AppendUint(b, n, 10)
			b = append(b, ' ')
			b = append(b, e.text...)
			b = p.o.appendColour(b, plain)
		}
	}
	return b
}

// appendLoss appends a share that had better be nothing.
func (o *Options) appendLoss(b []byte, share float64) []byte {
	if share == 0 {
		return appendPercent(b, share)
	}
	b = o.appendColour(b, bad)
	b = appendPercent(b, share)
	return o.appendColour(b, plain)
}

// appendTimes appends times in milliseconds with slashes between them.
func appendTimes(b []byte, times ...time.Duration) []byte {
	for i, t := range times {
		if i > 0 {
			b = append(b, '/')
		}
		b = appendMicros(b, t)
	}
	return b
}

// appendQuantiles appends what ping does not tell of the times. Like ping's own
// additions it has no equals sign, by which programs find the times before it.
func appendQuantiles(b []byte, t *stats.Summary) []byte {
	b = append(b, "p50/p90/p99/p99.9 "...)
	b = appendTimes(b, t.P50, t.P90, t.P99, t.P999)
	b = append(b, " ms, jitter "...)
	b = appendMicros(b, t.Jitter)
	return append(b, " ms"...)
}

// extra is an outcome and what a summary calls it.
type extra struct {
	outcome stats.Outcome
	text    string
}

// ofPing is how many of the extras ping has, where programs expect them.
const ofPing = 3

// extras are the outcomes that a summary counts besides, where there are any.
var extras = []extra{
	{stats.Duplicate, "duplicates"},
	{stats.Corrupt, "corrupted"},
	{stats.ICMPError, "errors"},
	{stats.Truncated, "truncated"},
	{stats.SendError, "not sent"},
	{stats.LocalDrop, "dropped by this host"},
	{stats.Reordered, "reordered"},
	{stats.Late, "late"},
	{stats.WrongSource, "from different addresses"},
	{stats.Forged, "forged"},
}
