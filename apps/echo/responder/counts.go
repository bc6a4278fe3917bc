package responder

import (
	"iomux/apps/echo/responder/rules"
)

// ruleCounts are the counts of a rule, by Outcome, and what counts besides. That all
// requests are the sum of the outcomes spares a look at memory for each.
type ruleCounts [besides + 4]uint64

const besides = int(Unsendable) + 1

const (
	delayed = besides + iota
	reordered
	damaged
	duplicated
)

// add counts a request.
func (c *ruleCounts) add(o Outcome, d *rules.Decision) {
	c[o]++
	if o != Replied && o != Errored {
		return
	}
	if d.Delay > 0 {
		c[delayed]++
	}
	if d.Held {
		c[reordered]++
	}
	if o == Replied && damages(d) {
		c[damaged]++
	}
	if d.Copies > 0 { // else it would be a second line of the cache for each request
		c[duplicated] += uint64(d.Copies)
	}
}

// carried returns the counts under other rules: those of the same name carry on.
func (r *Responder) carried(rs *ruleset) (counts []ruleCounts) {
	if rs.set != nil && rs.set.Len() > 0 {
		counts = make([]ruleCounts, rs.set.Len())
	}
	for i := range r.counts {
		if r.counts[i] == (ruleCounts{}) {
			continue
		}
		if at, ok := rs.byName[r.rules.set.Rule(i).Name]; ok {
			for j, n := range r.counts[i] {
				counts[at][j] += n
			}
		}
	}
	return counts
}

// use answers by other rules.
func (r *Responder) use(rs *ruleset) {
	r.rules, r.counts = rs, r.carried(rs)
	switch {
	case r.counts == nil:
		r.decider, r.decision = nil, rules.Decision{}
	case r.decider == nil:
		r.decider = rs.set.NewDecider(0)
	default:
		r.decider.Use(rs.set)
	}
}

// Stats returns the counts so far. Call it on the loop, or after the loop.
func (r *Responder) Stats() Stats {
	s := r.stats
	s.Queued = r.dropped + uint64(r.outgoing.unsent())
	if r.held != nil {
		s.Queued += uint64(r.held.Len())
	}
	return s
}

// RuleStats returns the counts of the rules in force, in their order. Call it on the
// loop, or after the loop.
func (r *Responder) RuleStats() []RuleStats {
	rs, counts := r.rules, r.counts
	if current := r.policy.current.Load(); current != rs { // and nothing was received since
		rs, counts = current, r.carried(current)
	}
	all := make([]RuleStats, len(counts))
	for i := range all {
		c := &counts[i]
		s := &all[i]
		*s = RuleStats{Rule: rs.set.Rule(i),
			Replied: c[Replied], Errored: c[Errored], Silent: c[Silent], Down: c[Down], Lost: c[Lost],
			Limited: c[Limited], Refused: c[Refused], Ignored: c[Ignored], Unsendable: c[Unsendable],
			Delayed: c[delayed], Reordered: c[reordered], Damaged: c[damaged], Duplicated: c[duplicated],
		}
		for _, n := range c[:besides] {
			s.Requests += n
		}
	}
	return all
}
