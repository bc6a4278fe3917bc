package codec

import (
	"fmt"
	"time"
)

// Timestamp is a time in an ICMP timestamp message: milliseconds since midnight
// UT or, if the highest bit is set, something that is not (RFC 792).
type Timestamp uint32

// TimestampOf returns the timestamp of a time.
func TimestampOf(t time.Time) Timestamp {
	t = t.UTC()
	midnight := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	return Timestamp(t.Sub(midnight).Milliseconds())
}

// SinceMidnight returns the time of day in UT. It is not ok if the timestamp
// says that it is none, or is one that no day has, not even with a leap second.
func (t Timestamp) SinceMidnight() (_ time.Duration, ok bool) {
	d := time.Duration(t) * time.Millisecond
	if d >= 24*time.Hour+time.Second { // with the highest bit it is weeks
		return 0, false
	}
	return d, true
}

// String returns the time of day, "13:04:05.678", or the number in hexadecimal
// if it is none.
func (t Timestamp) String() string {
	d, ok := t.SinceMidnight()
	if !ok {
		return fmt.Sprintf("0x%08x", uint32(t))
	}
	return fmt.Sprintf("%02d:%02d:%02d.%03d", d/time.Hour, d/time.Minute%60, d/time.Second%60, d/time.Millisecond%1000)
}
