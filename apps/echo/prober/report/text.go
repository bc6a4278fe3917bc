package report

import (
	"net/netip"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/codec"
)

// appendText appends a text of unknown origin: as it is where it is printable, else
// quoted.
func appendText(b []byte, s string) []byte {
	if printable(s) {
		return append(b, s...)
	}
	return strconv.AppendQuote(b, s)
}

// appendName is appendText for a name, which is quoted for blanks and quotation
// marks too, so that it cannot pass for more than a name.
func appendName(b []byte, s string) []byte {
	if word(s) {
		return append(b, s...)
	}
	return strconv.AppendQuote(b, s)
}

// appendAddr appends an address, whose zone is of unknown origin, or "?" for none.
func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(b, '?')
	}
	if a.Is6() && a.Zone() != "" && !word(a.Zone()) {
		return strconv.AppendQuote(b, a.String())
	}
	return a.AppendTo(b)
}

// appendHost appends what a target is called.
func appendHost(b []byte, name string, a netip.Addr) []byte {
	if name != "" {
		return appendName(b, name)
	}
	return appendAddr(b, a)
}

// printable reports whether a terminal shows s as it is.
func printable(s string) bool {
	for i, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError && !isReplacement(s[i:]) {
			return false
		}
	}
	return true
}

// word reports whether s is printable and looks like a single word.
func word(s string) bool {
	for _, r := range s {
		if r == ' ' || r == '"' {
			return false
		}
	}
	return s != "" && printable(s)
}

// isReplacement reports whether s begins with U+FFFD itself, not with bytes that are
// no UTF-8.
func isReplacement(s string) bool { return len(s) >= 3 && s[:3] == "\uFFFD" }

// appendMillis appends a time in milliseconds with three significant digits, at
// least the whole ones, and at most three behind the point, as ping(8) does.
func appendMillis(b []byte, d time.Duration) []byte {
	us := func(unit time.Duration) int64 { return int64((d + unit/2) / unit) }
	switch {
	case d >= 99950*time.Microsecond:
		return strconv.AppendInt(b, us(time.Millisecond), 10)
	case d >= 9995*time.Microsecond:
		return appendFixed(b, us(100*time.Microsecond), 1)
	case d >= 999500*time.Nanosecond:
		return appendFixed(b, us(10*time.Microsecond), 2)
	}
	return appendFixed(b, us(time.Microsecond), 3)
}

// appendMicros appends a time in milliseconds with three digits behind the point.
func appendMicros(b []byte, d time.Duration) []byte {
	return appendFixed(b, int64(d.Round(time.Microsecond)/time.Microsecond), 3)
}

// appendFixed appends n with the point in front of its last digits.
func appendFixed(b []byte, n int64, digits int) []byte {
	scale := int64(1)
	for range digits {
		scale *= 10
	}
	if n < 0 { // no time is
		n = 0
	}
	b = strconv.AppendInt(b, n/scale, 10)
	b = append(b, '.')
	for rest := n % scale; scale > 1; rest %= scale {
		scale /= 10
		b = append(b, '0'+byte(rest/scale))
	}
	return b
}

// appendPercent appends a share with up to six significant digits, as printf's %g,
// but without an exponent, which programs that look for digits do not expect. Only
// the whole is 100 %.
func appendPercent(b []byte, share float64) []byte {
	percent := share * 100
	switch {
	case share < 1 && percent > 99.9999:
		percent = 99.9999
	case percent > 0 && percent < 1e-4:
		var digits [32]byte
		rounded, _ := strconv.ParseFloat(string(strconv.AppendFloat(digits[:0], percent, 'e', 5, 64)), 64)
		return append(strconv.AppendFloat(b, rounded, 'f', -1, 64), '%')
	}
	return append(strconv.AppendFloat(b, percent, 'g', 6, 64), '%')
}

// packetLoss is stats.Counts.Loss; known is whether there is anything to go by.
func packetLoss(c *stats.Counts) (share float64, known bool) { return c.Loss(), c.Judged() > 0 }

// unanswered is stats.Counts.Unanswered; known is whether it says more than
// packetLoss.
func unanswered(c *stats.Counts) (share float64, known bool) {
	share = c.Unanswered()
	loss, judged := packetLoss(c)
	return share, c.Finished() > 0 && (!judged || loss != share)
}

// appendSkipped appends how many targets were skipped, without a number of its own
// for the one.
func appendSkipped(b []byte, n uint64) []byte {
	b = strconv.AppendUint(b, n, 10)
	if n == 1 {
		return append(b, " broadcast address skipped"...)
	}
	return append(b, " broadcast addresses skipped"...)
}

// appendSeconds appends the time in seconds since 1970, in brackets, as ping -D.
func appendSeconds(b []byte, t time.Time) []byte {
	b = append(b, '[')
	b = appendFixed(b, t.UnixMicro(), 6)
	return append(b, "] "...)
}

// The colours of good news, bad news and what is odd.
const (
	good  = "\x1b[32m"
	bad   = "\x1b[31m"
	odd   = "\x1b[33m"
	plain = "\x1b[0m"
)

// appendColour begins or, with plain, ends a colour if colours are wanted.
func (o *Options) appendColour(b []byte, colour string) []byte {
	if !o.Colour {
		return b
	}
	return append(b, colour...)
}

// remark is what stands behind an answer that is not as it should be.
var remark = [stats.Outcomes]string{
	stats.Reordered:   "REORDERED",
	stats.Corrupt:     "CORRUPT",
	stats.Truncated:   "TRUNCATED",
	stats.Duplicate:   "DUP!",
	stats.Late:        "LATE",
	stats.WrongSource: "DIFFERENT ADDRESS!",
	stats.Forged:      "FORGED",
}

// appendRemark appends what is not as it should be with an answer, such as " (DUP!)".
func (o *Options) appendRemark(b []byte, r *prober.Result) []byte {
	if r.Outcome >= stats.Outcomes || remark[r.Outcome] == "" {
		return b
	}
	b = append(b, ' ')
	b = o.appendColour(b, odd)
	b = append(b, '(')
	b = append(b, remark[r.Outcome]...)
	if r.Err != nil {
		b = append(b, ": "...)
		b = appendText(b, r.Err.Error())
	}
	if r.Outcome == stats.Corrupt && r.Offset >= 0 {
		b = append(b, ", wrong data byte #"...)
		b = strconv.AppendInt(b, int64(r.Offset), 10)
	}
	b = append(b, ')')
	return o.appendColour(b, plain)
}

// typesV4 and typesV6 are the types of ICMP messages by their numbers.
var typesV4, typesV6 = func() (v4, v6 [256]codec.Type) {
	for t := codec.Type(1); t < 255; t++ {
		if n := t.NumberV4(); n >= 0 {
			v4[n] = t
		}
		if n := t.NumberV6(); n >= 0 {
			v6[n] = t
		}
	}
	return v4, v6
}()

// appendError appends the name of the ICMP error that a result tells of, with what
// it says of the MTU.
func appendError(b []byte, r *prober.Result) []byte {
	v6 := r.From.Is6()
	t := typesV4[r.Type]
	if v6 {
		t = typesV6[r.Type]
	}
	switch {
	case t == 0:
		b = append(b, "ICMP type "...)
		b = strconv.AppendUint(b, uint64(r.Type), 10)
		b = append(b, ", code "...)
		b = strconv.AppendUint(b, uint64(r.Code), 10)
	case v6:
		b = append(b, t.NameV6(r.Code)...)
	default:
		b = append(b, t.NameV4(r.Code)...)
	}
	if r.MTU > 0 {
		b = append(b, " (mtu = "...)
		b = strconv.AppendUint(b, uint64(r.MTU), 10)
		b = append(b, ')')
	}
	return b
}

// appendFailure appends why there is no answer, for the outcomes without one.
func appendFailure(b []byte, r *prober.Result) []byte {
	switch r.Outcome {
	case stats.SendError:
		b = append(b, "not sent"...)
		if r.Err != nil {
			b = append(b, ": "...)
			b = appendText(b, r.Err.Error())
		}
	case stats.LocalDrop:
		b = append(b, "timed out, while this host dropped packets"...)
	default:
		b = append(b, "timed out"...)
	}
	if !r.Last {
		b = append(b, ", trying again"...)
	}
	return b
}
