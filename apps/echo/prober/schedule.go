package prober

import (
	"math"
	"math/rand/v2"
	"time"
)

// schedule says when the probes are due. They are numbered in the order in which
// they are due, round after round, and are a gap apart.
type schedule struct {
	gap    float64       // ns between two probes; 0: all are due
	rate   float64       // ns between two probes by Config.Rate; 0: no limit
	start  time.Duration // when probe number from is due
	from   uint64
	next   uint64 // the number of the next one to be sent
	total  uint64 // how many there are
	slot   uint64 // how many are sent together
	behind uint64 // how many may be late before those after them are put off
	open   uint64 // those before this number may be sent: their slot is due
}

const (
	slotLength = 20 * time.Millisecond // of probes that are sent together
	slotSize   = 64
	backlog    = 20 * time.Millisecond
	longestGap = 1 << 61 // ns: 73 years
)

func newSchedule(cfg *Config, now time.Duration) schedule {
	n := cfg.Targets.Len()
	s := schedule{start: now, total: math.MaxUint64}
	if cfg.Count > 0 && n <= math.MaxUint64/cfg.Count {
		s.total = n * cfg.Count
	}
	s.gap = min(float64(cfg.Interval)/float64(n), longestGap)
	if cfg.Rate > 0 {
		s.rate = min(1e9/cfg.Rate, longestGap)
	}
	s.gap = max(s.gap, s.rate)
	s.slot, s.behind = batch, batch
	if s.gap > 0 {
		s.slot = uint64(max(1, min(float64(slotLength)/s.gap, slotSize)))
		if cfg.Interval > 0 {
			s.slot = min(s.slot, n) // the probes of a target are apart
		}
		s.behind = uint64(max(1, min(float64(backlog)/s.gap, 1<<16)))
	}
	if cfg.Jitter {
		s.start += time.Duration(rand.Float64() * float64(cfg.Interval))
	}
	return s
}

// over reports whether all have been sent.
func (s *schedule) over() bool { return s.next == s.total }

// due returns how many may be sent now: nothing before a whole slot is due, since a
// single probe costs as many system calls as a slot.
func (s *schedule) due(now time.Duration) uint64 {
	left := s.total - s.next
	if s.gap == 0 {
		return left
	}
	if s.next < s.open {
		return min(s.open-s.next, left)
	}
	if left == 0 || now < s.when() {
		return 0
	}
	until := s.from + uint64(min(float64(now-s.start)/s.gap, 1<<62)) + 1
	if s.at(until) <= now { // the quotient was rounded
		until++
	} else if s.at(until-1) > now {
		until--
	}
	if until <= s.next {
		return 0
	}
	n := until - s.next
	if n > s.behind+s.slot { // the others are put off
		n = s.behind + s.slot
		s.from, s.start = s.next+n-1, now
	}
	n = min(n, left)
	s.open = s.next + n
	return n
}

// at returns when a probe is due.
func (s *schedule) at(number uint64) time.Duration {
	since := float64(int64(number - s.from)) // delay may have put from before number
	return s.start + time.Duration(min(math.Ceil(since*s.gap), longestGap))
}

// when returns when the next slot is due.
func (s *schedule) when() time.Duration { return s.at(min(s.next+s.slot, s.total) - 1) }

// atRate reports whether the schedule makes use of all that Rate allows.
func (s *schedule) atRate() bool { return s.rate > 0 && s.gap == s.rate }

// delay puts off what is to be sent by one gap: something else was sent.
func (s *schedule) delay() {
	s.start += time.Duration(math.Ceil(s.gap))
	s.open = max(s.open, s.next+1) - 1
}

// freeAfter returns when Rate allows something that is not in the schedule, after
// something was sent now: so many may be sent together as a slot has.
func (s *schedule) freeAfter(free, now time.Duration) time.Duration {
	if s.rate == 0 {
		return 0
	}
	return max(free, now-slotLength) + time.Duration(math.Ceil(s.rate))
}
