package report

import (
	_ "embed"
	"io"
	"net/netip"
	"strconv"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
)

// Schema is the JSON Schema (2020-12) of each line that NewJSON's Writer writes.
//
//go:embed schema.json
var Schema string

// Version is that of the events in JSON. It changes when a key or a value changes
// its meaning or goes away, not when one is added.
const Version = 1

// jsonl writes newline-delimited JSON.
type jsonl struct {
	sink
	o      Options
	run    Run
	clocks clocks
}

// NewJSON returns a Writer that writes newline-delimited JSON: an object per event,
// whose type is
//
//	begin   what is about to be probed
//	result  a prober.Result
//	target  the statistics of one target, as a part of a summary
//	total   those of all targets, the last event of a summary
//
// Every event has the type, the version (Version) and the time (RFC 3339, UTC); the
// Schema tells the rest. What is not known is left out. Times and durations are
// whole nanoseconds, and their keys end in _ns; shares go from 0 to 1; outcomes are
// those of stats.Outcome.Key, and their numbers those of CountKey. Targets count
// from 0, numbers of probes from 1, tries from 0.
//
// All but ASCII that can be printed and other printable characters is escaped. Of
// the Options, Quiet leaves out the results; FlushLines and Now hold as well.
func NewJSON(w io.Writer, o Options) Writer {
	return &jsonl{sink: newSink(w, &o), o: o}
}

func (j *jsonl) Begin(r *Run) error {
	j.run = *r
	if j.err != nil {
		return j.err
	}
	b := j.event("begin")
	if r.Targets != nil {
		c := r.Targets.Counts()
		b = appendUint(b, "targets", r.Targets.Len())
		b = appendUint(b, "targets_ipv4", c.IPv4)
		b = appendUint(b, "targets_ipv6", c.IPv6)
		b = appendUint(b, "targets_by_name", c.Names)
	}
	b = appendNatural(b, "data_bytes", int64(r.Size))
	network := r.Network
	if network == "" {
		network = "ip"
	}
	b = appendString(b, "network", network)
	if r.Count > 0 {
		b = appendUint(b, "count", r.Count)
	}
	b = appendNatural(b, "interval_ns", int64(r.Interval))
	b = appendNatural(b, "timeout_ns", int64(r.Timeout))
	b = appendNatural(b, "retries", int64(r.Retries))
	b = appendClockKey(b, r.Clock)
	b = appendAddrKey(b, "source", r.Source)
	if r.Interface != "" {
		b = appendString(b, "interface", r.Interface)
	}
	return j.end(append(b, "}\n"...))
}

func (j *jsonl) Result(r *prober.Result) error {
	j.clocks.add(r)
	if j.err != nil || j.o.Quiet {
		return j.err
	}
	b := j.event("result")
	b = appendString(b, "outcome", r.Outcome.Key())
	if r.Target != prober.NoTarget {
		b = appendUint(b, "target", r.Target)
		if r.Name != "" {
			b = appendString(b, "name", r.Name)
		}
		b = appendAddrKey(b, "addr", r.Addr)
		b = appendUint(b, "number", r.Number)
		b = appendNatural(b, "try", int64(r.Try))
		b = appendKey(b, "last")
		b = strconv.AppendBool(b, r.Last)
	}
	if r.Clock == prober.Kernel || r.Clock == prober.User {
		b = appendNatural(b, "rtt_ns", int64(r.RTT))
		b = appendClockKey(b, r.Clock)
	}
	if r.From.IsValid() {
		b = appendAddrKey(b, "from", r.From)
		b = appendUint(b, "icmp_type", uint64(r.Type))
		b = appendUint(b, "icmp_code", uint64(r.Code))
		if r.TTL > 0 { // else that and the TOS are unknown
			b = appendUint(b, "ttl", uint64(r.TTL))
			b = appendUint(b, "tos", uint64(r.TOS))
		}
		if r.Size > 0 {
			b = appendNatural(b, "size_bytes", int64(r.Size))
		}
		if r.MTU > 0 {
			b = appendUint(b, "mtu_bytes", uint64(r.MTU))
		}
	}
	if r.Outcome == stats.Corrupt && r.Offset >= 0 {
		b = appendNatural(b, "offset_bytes", int64(r.Offset))
	}
	if r.Err != nil {
		b = appendString(b, "error", r.Err.Error())
	}
	return j.end(append(b, "}\n"...))
}

func (j *jsonl) Summary(s *Summary) error {
	if j.err != nil {
		return j.err
	}
	if j.run.Targets != nil && j.run.Target != nil {
		for i := range j.run.Targets.Len() {
			t := j.run.Target(i)
			if t == nil {
				continue
			}
			host := j.run.Targets.At(i)
			b := j.event("target")
			b = appendInterim(b, s)
			b = appendUint(b, "target", i)
			if host.Name != "" {
				b = appendString(b, "name", host.Name)
			}
			b = appendAddrKey(b, "addr", host.Addr)
			sum := t.Summary()
			b = appendStatistics(b, &sum)
			if err := j.end(append(b, "}\n"...)); err != nil {
				return err
			}
		}
	}
	b := j.event("total")
	b = appendInterim(b, s)
	b = appendNatural(b, "elapsed_ns", int64(s.Elapsed))
	b = appendStatistics(b, &s.Total)
	b = appendUint(b, "stray", s.Stray)
	b = appendUint(b, "clock_steps", s.ClockSteps)
	b = appendUint(b, "skipped", s.Skipped)
	b = appendClockKey(b, j.clocks.clock(j.run.Clock))
	j.buf = append(b, "}\n"...)
	return j.Flush()
}

// event begins an event of a type.
func (j *jsonl) event(typ string) []byte {
	b := append(j.buf, `{"type":"`...)
	b = append(b, typ...)
	b = append(b, `","version":`...)
	b = strconv.AppendInt(b, Version, 10)
	b = appendKey(b, "time")
	b = append(b, '"')
	b = appendTime(b, j.now())
	return append(b, '"')
}

func appendTime(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z")
}

func appendInterim(b []byte, s *Summary) []byte {
	b = appendKey(b, "interim")
	return strconv.AppendBool(b, s.Interim)
}

// appendStatistics appends the keys that the events target and total have in common.
func appendStatistics(b []byte, s *stats.Summary) []byte {
	b = appendUint(b, "sent", s.Sent)
	b = appendUint(b, "received", s.Received())
	b = appendUint(b, "in_flight", s.InFlight())
	for o := range stats.Outcomes {
		b = appendUint(b, o.CountKey(), s.Of[o])
	}
	if s.Judged() > 0 {
		b = appendFloat(b, "loss", s.Loss())
	}
	if s.Finished() > 0 {
		b = appendFloat(b, "unanswered", s.Unanswered())
	}
	if s.Received() > 0 {
		b = appendNatural(b, "min_ns", int64(s.Min))
		b = appendNatural(b, "avg_ns", int64(s.Mean))
		b = appendNatural(b, "max_ns", int64(s.Max))
		b = appendNatural(b, "mdev_ns", int64(s.Deviation))
		b = appendNatural(b, "jitter_ns", int64(s.Jitter))
		b = appendNatural(b, "p50_ns", int64(s.P50))
		b = appendNatural(b, "p90_ns", int64(s.P90))
		b = appendNatural(b, "p99_ns", int64(s.P99))
		b = appendNatural(b, "p999_ns", int64(s.P999))
	}
	return b
}

// appendKey appends a comma and a key, which needs no escapes.
func appendKey(b []byte, key string) []byte {
	b = append(b, `,"`...)
	b = append(b, key...)
	return append(b, `":`...)
}

func appendUint(b []byte, key string, n uint64) []byte {
	return strconv.AppendUint(appendKey(b, key), n, 10)
}

// appendNatural appends a number that is not below 0, whatever n is.
func appendNatural(b []byte, key string, n int64) []byte {
	return strconv.AppendInt(appendKey(b, key), max(n, 0), 10)
}

func appendFloat(b []byte, key string, f float64) []byte {
	return strconv.AppendFloat(appendKey(b, key), f, 'g', -1, 64)
}

func appendString(b []byte, key, s string) []byte { return appendQuoted(appendKey(b, key), s) }

// appendAddrKey appends an address, unless it is the zero Addr.
func appendAddrKey(b []byte, key string, a netip.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	b = append(appendKey(b, key), '"')
	b = a.WithZone("").AppendTo(b)
	if a.Is6() && a.Zone() != "" {
		b = appendEscaped(append(b, '%'), a.Zone()) // it may be any text
	}
	return append(b, '"')
}

func appendClockKey(b []byte, c prober.Clock) []byte {
	if c != prober.Kernel && c != prober.User {
		return b
	}
	return appendString(b, "clock", c.String())
}

// appendQuoted appends a JSON string.
func appendQuoted(b []byte, s string) []byte {
	return append(appendEscaped(append(b, '"'), s), '"')
}

// appendEscaped appends what stands within the quotation marks of a JSON string (RFC
// 8259, section 7). Bytes that are no UTF-8 become U+FFFD.
func appendEscaped(b []byte, s string) []byte {
	from := 0 // what is not appended yet
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if c >= utf8.RuneSelf && unicode.IsPrint(r) && (r != utf8.RuneError || n > 1) {
			i += n
			continue
		}
		b = append(b, s[from:i]...)
		i += n
		from = i
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = appendEscape(appendEscape(b, high), low)
		default:
			b = appendEscape(b, r)
		}
	}
	return append(b, s[from:]...)
}

func appendEscape(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
