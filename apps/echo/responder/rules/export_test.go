package rules

import "net/netip"

// Patterns are what the schema must have as well.
var Patterns = []string{percentPattern, sharePattern, durationPattern}

// Distance is for tests.
var Distance = distance

// Addresses is for whom a rule is.
type Addresses struct{ To, From []netip.Prefix }

// Lookup returns a set of rules for some addresses, though some may never be used, and
// tells which these are.
func Lookup(all []Addresses) (s *Set, unused []bool) {
	drafts := make([]*draft, len(all))
	for i, a := range all {
		d := &draft{}
		for _, to := range a.To {
			t, v6 := blockOf(to)
			f := family(v6)
			if len(a.From) == 0 {
				d.pairs[f] = append(d.pairs[f], pair{to: t, rule: uint32(i)})
			}
			for _, from := range a.From {
				if b, from6 := blockOf(from); from6 == v6 {
					d.pairs[f] = append(d.pairs[f], pair{to: t, from: b, rule: uint32(i)})
				}
			}
		}
		drafts[i] = d
	}
	s = newSet(0, drafts)
	for i, d := range drafts {
		_, covered := s.before(uint32(i), d)
		unused = append(unused, covered)
	}
	return s, unused
}

// Repeats counts how often a packet was seen, remembering that many.
func Repeats(packets int) func(packet uint64) uint32 { return newRepeats(packets).count }

// Hash returns the number of a packet.
func Hash(seed uint64, p *Packet) uint64 {
	h := newHasher(seed)
	return h.sum(p)
}

// Behaviours returns how many different ones the rules have.
func (s *Set) Behaviours() int { return len(s.behaviours) }
