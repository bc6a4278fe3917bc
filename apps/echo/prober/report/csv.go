package report

import (
	"bytes"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
)

// table writes CSV.
type table struct {
	sink
	o      Options
	run    Run
	clocks clocks
	inRow  bool   // a cell is there
	text   []byte // of the cell in hand
}

// columns of a result, and of statistics; the last ones are those of the total alone.
var (
	resultColumns = []string{"time", "outcome", "target", "name", "addr", "number", "try", "last", "rtt_ns", "clock", "from",
		"icmp_type", "icmp_code", "ttl", "tos", "size_bytes", "mtu_bytes", "offset_bytes", "error"}
	targetColumns = func() []string {
		columns := []string{"time", "target", "name", "addr", "sent", "received", "in_flight"}
		for o := range stats.Outcomes {
			columns = append(columns, o.CountKey())
		}
		return append(columns, "loss", "unanswered", "min_ns", "avg_ns", "max_ns", "mdev_ns", "jitter_ns",
			"p50_ns", "p90_ns", "p99_ns", "p999_ns")
	}()
	totalColumns = []string{"elapsed_ns", "stray", "clock_steps", "skipped", "clock"}
)

// NewCSV returns a Writer that writes comma-separated values (RFC 4180, with LF at
// the ends of lines) with a header: a row per result or, with Options.Quiet, a row
// per target at the end of the run, and a last one for the total, which has no
// target and alone has the last columns. There is one table only, so that interim
// summaries write nothing.
//
// The columns have the names and the values of the keys of NewJSON; cells are empty
// where those are left out. In names and errors an apostrophe stands in front of what
// a spreadsheet would take for a formula.
func NewCSV(w io.Writer, o Options) Writer {
	return &table{sink: newSink(w, &o), o: o}
}

func (t *table) Begin(r *Run) error {
	t.run = *r
	if t.err != nil {
		return t.err
	}
	columns := resultColumns
	if t.o.Quiet {
		columns = slices.Concat(targetColumns, totalColumns)
	}
	for _, c := range columns {
		t.cell(c)
	}
	return t.endRow()
}

func (t *table) Result(r *prober.Result) error {
	t.clocks.add(r)
	if t.err != nil || t.o.Quiet {
		return t.err
	}
	about, timed, from := r.Target != prober.NoTarget, r.Clock == prober.Kernel || r.Clock == prober.User, r.From.IsValid()
	t.time()
	t.cell(r.Outcome.Key())
	t.number(about, r.Target)
	if about {
		t.host(r.Name, r.Addr)
	} else {
		t.host("", netip.Addr{})
	}
	t.number(about, r.Number)
	t.number(about, natural(int64(r.Try)))
	switch {
	case !about:
		t.cell("")
	case r.Last:
		t.cell("true")
	default:
		t.cell("false")
	}
	t.number(timed, natural(int64(r.RTT)))
	t.clock(r.Clock)
	t.addr(r.From)
	t.number(from, uint64(r.Type))
	t.number(from, uint64(r.Code))
	t.number(from && r.TTL > 0, uint64(r.TTL))
	t.number(from && r.TTL > 0, uint64(r.TOS))
	t.number(from && r.Size > 0, natural(int64(r.Size)))
	t.number(from && r.MTU > 0, uint64(r.MTU))
	t.number(r.Outcome == stats.Corrupt && r.Offset >= 0, natural(int64(r.Offset)))
	if r.Err != nil {
		t.text = appendText(t.text[:0], r.Err.Error())
		t.foreign()
	} else {
		t.cell("")
	}
	return t.endRow()
}

func (t *table) Summary(s *Summary) error {
	if t.err != nil {
		return t.err
	}
	if !t.o.Quiet || s.Interim {
		return t.Flush()
	}
	if t.run.Targets != nil && t.run.Target != nil {
		for i := range t.run.Targets.Len() {
			target := t.run.Target(i)
			if target == nil {
				continue
			}
			host := t.run.Targets.At(i)
			t.time()
			t.number(true, i)
			t.host(host.Name, host.Addr)
			sum := target.Summary()
			t.statistics(&sum)
			for range totalColumns {
				t.cell("")
			}
			if err := t.endRow(); err != nil {
				return err
			}
		}
	}
	t.time()
	t.number(false, 0)
	t.host("", netip.Addr{})
	t.statistics(&s.Total)
	t.number(true, natural(int64(s.Elapsed)))
	t.number(true, s.Stray)
	t.number(true, s.ClockSteps)
	t.number(true, s.Skipped)
	t.clock(t.clocks.clock(t.run.Clock))
	if err := t.endRow(); err != nil {
		return err
	}
	return t.Flush()
}

func (t *table) statistics(s *stats.Summary) {
	t.number(true, s.Sent)
	t.number(true, s.Received())
	t.number(true, s.InFlight())
	for o := range stats.Outcomes {
		t.number(true, s.Of[o])
	}
	t.share(s.Judged() > 0, s.Loss())
	t.share(s.Finished() > 0, s.Unanswered())
	for _, d := range [...]time.Duration{s.Min, s.Mean, s.Max, s.Deviation, s.Jitter, s.P50, s.P90, s.P99, s.P999} {
		t.number(s.Received() > 0, natural(int64(d)))
	}
}

// natural is n, or 0 if it is below.
func natural(n int64) uint64 { return uint64(max(n, 0)) }

// next begins a cell.
func (t *table) next() {
	if t.inRow {
		t.buf = append(t.buf, ',')
	}
	t.inRow = true
}

func (t *table) endRow() error {
	t.inRow = false
	return t.end(append(t.buf, '\n'))
}

// cell adds a cell of ours, which needs no quotation marks.
func (t *table) cell(s string) {
	t.next()
	t.buf = append(t.buf, s...)
}

func (t *table) number(known bool, n uint64) {
	t.next()
	if known {
		t.buf = strconv.AppendUint(t.buf, n, 10)
	}
}

func (t *table) share(known bool, f float64) {
	t.next()
	if known {
		t.buf = strconv.AppendFloat(t.buf, f, 'g', -1, 64)
	}
}

func (t *table) time() {
	t.next()
	t.buf = appendTime(t.buf, t.now())
}

func (t *table) clock(c prober.Clock) {
	if c != prober.Kernel && c != prober.User {
		t.cell("")
		return
	}
	t.cell(c.String())
}

func (t *table) host(name string, addr netip.Addr) {
	t.text = t.text[:0]
	if name != "" {
		t.text = appendName(t.text, name)
	}
	t.foreign()
	t.addr(addr)
}

func (t *table) addr(a netip.Addr) {
	t.text = t.text[:0]
	if a.IsValid() {
		t.text = appendAddr(t.text, a)
	}
	t.foreign()
}

// foreign adds a cell with the text, which may be anybody's.
func (t *table) foreign() {
	t.next()
	t.buf = appendCell(t.buf, t.text)
}

// appendCell appends a printable text as a cell (RFC 4180, section 2). It puts an
// apostrophe in front of what a spreadsheet takes for the beginning of a formula: at
// the beginning of the cell, and behind what may separate cells where the comma does
// not.
func appendCell(b, text []byte) []byte {
	const formula, separators = "=+-@\uFF1D\uFF0B\uFF0D\uFF20", ",;\t"
	quoted := bytes.ContainsAny(text, ",\"")
	if quoted {
		b = append(b, '"')
	}
	first := true
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if first && strings.ContainsRune(formula, r) {
			b = append(b, '\'')
		}
		if r == '"' {
			b = append(b, '"')
		}
		b = append(b, text[:n]...)
		text = text[n:]
		first = strings.ContainsRune(separators, r)
	}
	if quoted {
		b = append(b, '"')
	}
	return b
}
