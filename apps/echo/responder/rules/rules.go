package rules

import (
	"fmt"
	"net/netip"
)

// Set is rules, ready to be looked up. [Parse], [ReadFile] and [FromSettings] make
// one. It does not change and may be shared between loops, which then also share the
// rates of its rules.
type Set struct {
	seed       uint64
	rules      []Rule
	families   [2]*matcher // IPv4, IPv6
	which      []uint32    // of each rule its behaviour
	behaviours []behaviour
	buckets    []bucket // one for each rule, if one has a rate
}

// Rule tells which rule it is.
type Rule struct {
	Name string // as it was given; "rule 3" for the third if it has none
	Line int    // in the file, from 1; 0 if there is none
}

// Len returns how many rules there are.
func (s *Set) Len() int { return len(s.rules) }

// Rule returns the rule with a number from 0 to Len()-1, in the order of the file.
func (s *Set) Rule(n int) Rule { return s.rules[n] }

// Seed returns the seed.
func (s *Set) Seed() uint64 { return s.seed }

// Match returns the number of the first rule for a request, or -1 if there is none.
// It takes the same time whatever the number of rules, but for the cache. Zones do not
// count, and an IPv4 address mapped into IPv6 is IPv4. If from is not known, the zero
// Addr, or of another family than to, no rule that is for some askers only is for it.
func (s *Set) Match(from, to netip.Addr) int {
	if !to.IsValid() {
		return -1
	}
	asked, v6 := keyOf(to)
	asker, asker6 := keyOf(from)
	rule := s.families[family(v6)].match(asker, asked, v6 == asker6 && from.IsValid())
	if rule == none {
		return -1
	}
	return int(rule)
}

// draft is a rule that is being read.
type draft struct {
	behaviour
	name     string
	at       place
	said     said
	bad      map[string]bool // keys with a fault
	to, from [2][]block      // by family
	err      *errorDraft     // nil for none
	pairs    [2][]pair       // of to and from, by family
	family   [2]bool         // for which there is a pair
}

// newSet makes a set of drafts.
func newSet(seed uint64, drafts []*draft) *Set {
	s := &Set{
		seed:  seed,
		rules: make([]Rule, len(drafts)),
		which: make([]uint32, len(drafts)),
	}
	var pairs [2][]pair
	known := make(map[behaviour]uint32)
	limited := false
	for i, d := range drafts {
		name := d.name
		if name == "" {
			name = fmt.Sprintf("rule %d", i+1)
		}
		s.rules[i] = Rule{name, d.at.line}
		for f := range pairs {
			pairs[f] = append(pairs[f], d.pairs[f]...)
		}
		limited = limited || d.limit.interval > 0
		d.behaviour.settle()
		n, ok := known[d.behaviour]
		if !ok {
			n = uint32(len(s.behaviours))
			known[d.behaviour] = n
			s.behaviours = append(s.behaviours, d.behaviour)
		}
		s.which[i] = n
	}
	if limited {
		s.buckets = make([]bucket, len(drafts))
	}
	for f := range pairs {
		s.families[f] = newMatcher(pairs[f])
	}
	return s
}
