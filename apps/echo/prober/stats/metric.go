package stats

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// metric is a number of a Summary that conditions know.
type metric struct {
	name string
	kind kind
	of   func(*Summary) (actual quantity, missing string)
}

// quantity is the value of a metric. Its kind says which field holds it; the others
// are 0.
type quantity struct {
	share float64
	time  time.Duration
	count uint64
}

// compare returns the sign of q - other.
func (q quantity) compare(other quantity) int {
	return cmp.Or(cmp.Compare(q.share, other.share), cmp.Compare(q.time, other.time), cmp.Compare(q.count, other.count))
}

// metrics are those there are, in the order in which they are listed.
var metrics = func() []metric {
	all := []metric{
		{"loss", aShare, func(s *Summary) (quantity, string) {
			return quantity{share: s.Loss()}, unless(s.Judged() > 0, "no probe was answered or timed out")
		}},
		{"unanswered", aShare, func(s *Summary) (quantity, string) {
			return quantity{share: s.Unanswered()}, unless(s.Finished() > 0, "no probe has finished")
		}},
		timeOf("min", func(s *Summary) time.Duration { return s.Min }),
		timeOf("avg", func(s *Summary) time.Duration { return s.Mean }),
		timeOf("max", func(s *Summary) time.Duration { return s.Max }),
		timeOf("mdev", func(s *Summary) time.Duration { return s.Deviation }),
		timeOf("jitter", func(s *Summary) time.Duration { return s.Jitter }),
		timeOf("p50", func(s *Summary) time.Duration { return s.P50 }),
		timeOf("p90", func(s *Summary) time.Duration { return s.P90 }),
		timeOf("p99", func(s *Summary) time.Duration { return s.P99 }),
		timeOf("p99.9", func(s *Summary) time.Duration { return s.P999 }),
		countOf("sent", func(s *Summary) uint64 { return s.Sent }),
		countOf("received", func(s *Summary) uint64 { return s.Received() }),
	}
	for o := range Outcomes {
		all = append(all, countOf(o.CountKey(), func(s *Summary) uint64 { return s.Of[o] }))
	}
	return all
}()

func timeOf(name string, of func(*Summary) time.Duration) metric {
	return metric{name, aTime, func(s *Summary) (quantity, string) {
		return quantity{time: of(s)}, cmp.Or(
			unless(s.Received() > 0, "no replies"),
			unless(!s.untimed, "no reply has a time"),
		)
	}}
}

func countOf(name string, of func(*Summary) uint64) metric {
	return metric{name, aCount, func(s *Summary) (quantity, string) {
		return quantity{count: of(s)}, ""
	}}
}

// unless returns what is missing unless it is there.
func unless(there bool, missing string) string {
	if there {
		return ""
	}
	return missing
}

// Metrics returns the names of the metrics that conditions know.
func Metrics() []string {
	names := make([]string, len(metrics))
	for i, m := range metrics {
		names[i] = m.name
	}
	return names
}

func metricOf(name string) (metric, bool) {
	for _, m := range metrics {
		if m.name == name {
			return m, true
		}
	}
	return metric{}, false
}

// kind is what a metric measures.
type kind uint8

const (
	aShare kind = iota
	aTime
	aCount
)

// parse reads a value. The error says what is wrong and what would be right; an
// example follows it.
func (k kind) parse(s string) (q quantity, err error) {
	switch k {
	case aShare:
		return parseShare(s)
	case aTime:
		return parseTime(s)
	}
	if q.count, err = strconv.ParseUint(s, 10, 64); err != nil {
		return quantity{}, fmt.Errorf("%q is not a count; write a whole number", s)
	}
	return q, nil
}

// parseShare reads a percentage without sign or exponent.
func parseShare(s string) (quantity, error) {
	number, percent := strings.CutSuffix(s, "%")
	number = strings.TrimRight(number, blanks)
	// An exponent divides by 100 without a second rounding, so that 2.9% is the
	// same number as 29 of 1000.
	f, err := strconv.ParseFloat(number+"e-2", 64)
	switch {
	case !isNumber(number) || errors.Is(err, strconv.ErrSyntax):
		return quantity{}, fmt.Errorf("%q is not a share; write a percentage", s)
	case !percent:
		return quantity{}, fmt.Errorf("%q lacks the percent sign; write a percentage", s)
	case f > 1:
		return quantity{}, fmt.Errorf("%q is too much; write a percentage up to 100%%", s)
	}
	return quantity{share: f}, nil
}

// parseTime reads a time with a unit.
func parseTime(s string) (quantity, error) {
	t, err := time.ParseDuration(s)
	switch {
	case err != nil && isNumber(s):
		return quantity{}, fmt.Errorf("%q lacks a unit; write ns, us, ms, s, m or h", s)
	case err != nil:
		return quantity{}, fmt.Errorf("%q is not a time; write a number with a unit", s)
	case t < 0:
		return quantity{}, errors.New("a time is not negative; write 0s or more")
	}
	return quantity{time: t}, nil
}

// isNumber says whether s is a decimal number without sign or exponent.
func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return strings.Trim(s, "0123456789.") == "" && !errors.Is(err, strconv.ErrSyntax)
}

// example is a right value, close to the wrong one where that is a guess.
func (k kind) example(wrong string) string {
	switch {
	case k == aShare && isNumber(wrong):
		if _, err := parseShare(wrong + "%"); err == nil {
			return wrong + "%"
		}
		return "1%"
	case k == aShare:
		return "1%"
	case k == aTime && isNumber(wrong):
		if _, err := parseTime(wrong + "ms"); err == nil {
			return wrong + "ms"
		}
		return "20ms"
	case k == aTime:
		return "20ms"
	}
	return "0"
}

// format writes a quantity with four significant digits, or with all where four do
// not tell it from the bound.
func (k kind) format(q, bound quantity) string {
	short := q.rounded()
	if short == bound.rounded() {
		short = q
	}
	switch k {
	case aShare:
		return percent(short.share)
	case aTime:
		return short.time.String()
	}
	return strconv.FormatUint(short.count, 10)
}

// rounded returns q with four significant digits; counts stay whole.
func (q quantity) rounded() quantity {
	return quantity{roundTo4(q.share), time.Duration(roundTo4(float64(q.time))), q.count}
}

// roundTo4 rounds to four significant digits.
func roundTo4(f float64) float64 {
	f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'e', 3, 64), 64) // reads what it wrote
	return f
}

// percent writes a share as parseShare reads it. It moves the decimal point in the
// text, for a product with 100 is rounded.
func percent(share float64) string {
	whole, fraction, _ := strings.Cut(strconv.FormatFloat(share, 'f', -1, 64), ".")
	fraction += "00"
	whole = strings.TrimLeft(whole+fraction[:2], "0")
	if whole == "" {
		whole = "0"
	}
	if fraction = strings.TrimRight(fraction[2:], "0"); fraction != "" {
		fraction = "." + fraction
	}
	return whole + fraction + "%"
}
