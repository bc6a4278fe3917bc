package prober

import (
	"math"
	"time"
)

// Stats counts the outcomes of one target's probes.
type Stats struct {
	Sent       uint64 // probes that left this host
	Received   uint64 // probes that were answered before they were given up
	Duplicates uint64 // further replies to a probe
	Late       uint64 // replies to a probe that had been given up
	Lost       uint64 // probes that were given up
	SendErrors uint64 // probes that did not leave this host
	Altered    uint64 // replies of all kinds whose data is not that of the probe

	Min, Max time.Duration // round-trip times of those received
	mean, m2 float64       // of the same, in nanoseconds, after Welford
}

func (s *Stats) reply(rtt time.Duration) {
	if s.Received++; s.Received == 1 {
		s.Min = rtt
	}
	s.Min, s.Max = min(s.Min, rtt), max(s.Max, rtt)
	delta := float64(rtt) - s.mean
	s.mean += delta / float64(s.Received)
	s.m2 += delta * (float64(rtt) - s.mean)
}

// Mean is the average round-trip time, 0 if no probe was answered.
func (s Stats) Mean() time.Duration { return time.Duration(s.mean) }

// Deviation is the standard deviation of the round-trip time, which ping(8)
// prints as mdev; 0 if no probe was answered.
func (s Stats) Deviation() time.Duration {
	if s.Received == 0 {
		return 0
	}
	return time.Duration(math.Sqrt(s.m2 / float64(s.Received)))
}

// Loss is the share of probes given up among those answered in time or given
// up, from 0 to 1. Probes still under way, and those that never left, do not
// count.
func (s Stats) Loss() float64 {
	if s.Received+s.Lost == 0 {
		return 0
	}
	return float64(s.Lost) / float64(s.Received+s.Lost)
}
