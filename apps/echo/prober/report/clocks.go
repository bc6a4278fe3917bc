package report

import (
	"strconv"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
)

// clocks counts the good answers by the clocks that measured their times, because
// what a transport has cannot be known before.
type clocks [prober.User + 1]uint64

func (c *clocks) add(r *prober.Result) {
	if (r.Outcome == stats.Reply || r.Outcome == stats.Reordered) && int(r.Clock) < len(c) {
		c[r.Clock]++
	}
}

// clock is the better one of those that were used, or the given one if there was no
// answer.
func (c *clocks) clock(wanted prober.Clock) prober.Clock {
	switch {
	case c[prober.Kernel] > 0:
		return prober.Kernel
	case c[prober.User] > 0:
		return prober.User
	}
	return wanted
}

// appendClocks appends the name of the clock, with how many times are by the other
// one.
func (c *clocks) appendClocks(b []byte, s *Summary, wanted prober.Clock) []byte {
	clock := c.clock(wanted)
	if clock == prober.NoClock {
		return b
	}
	b = append(b, ", "...)
	b = appendClock(b, clock)
	b = append(b, " clock"...)
	others := max(c[prober.User], s.ClockSteps)
	if clock != prober.Kernel || others == 0 {
		return b
	}
	b = append(b, " ("...)
	b = strconv.AppendUint(b, others, 10)
	b = append(b, " by the user clock"...)
	if s.ClockSteps > 0 {
		b = append(b, ", as the wall clock was set"...)
	}
	return append(b, ')')
}
