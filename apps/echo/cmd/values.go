package cmd

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// Values on the command line. They take what can be read at all; what makes sense is
// checked once all of them are known, so that everything wrong is told together.

// seconds is a duration. Without a unit it is in seconds, as ping(8) has it.
type seconds time.Duration

func (s *seconds) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		if d, err = time.ParseDuration(text + "s"); err != nil {
			if f, err := strconv.ParseFloat(strings.TrimRight(text, "nuµmsh"), 64); err == nil && !math.IsNaN(f) {
				return errors.New("want a duration that is not longer than 290 years")
			}
			return errors.New("want a duration such as 200ms, or a number of seconds")
		}
	}
	*s = seconds(d)
	return nil
}

func (s *seconds) String() string {
	if *s == 0 {
		return "0" // which the help takes for none
	}
	return time.Duration(*s).String()
}

func (s *seconds) Type() string { return "time" }

// whole is a whole number, decimal or hexadecimal.
type whole int64

func (n *whole) Set(text string) error {
	digits, base := text, 10
	if hex, found := strings.CutPrefix(strings.ToLower(text), "0x"); found {
		digits, base = hex, 16
	}
	v, err := strconv.ParseInt(digits, base, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return errors.New("want a smaller number")
	case err != nil:
		return errors.New("want a whole number")
	}
	*n = whole(v)
	return nil
}

func (n *whole) String() string { return strconv.FormatInt(int64(*n), 10) }
func (n *whole) Type() string   { return "number" }
