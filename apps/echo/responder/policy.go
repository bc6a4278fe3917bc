package responder

import (
	"cmp"
	"sync/atomic"
	"time"

	"iomux/apps/echo/responder/limit"
	"iomux/apps/echo/responder/rules"
)

// PolicyConfig is what a Policy begins with. The zero value has no rules.
type PolicyConfig struct {
	// Rules are what is done with each request; nil for none.
	Rules *rules.Set
	// Rate is how many replies there may be a second to an IPv4 address or an IPv6
	// network of 64 bits, copies and ICMP errors included: 0 is 1,000, and less is no
	// limit. Burst is how many of them at once; 0 is those of a second.
	Rate, Burst int
	// Start is when time windows begin; the zero Time is now.
	Start time.Time
}

// defaultRate is how many replies a source gets a second, if nobody says.
const defaultRate = 1000

// Policy is what responders have in common, on any number of loops. Its methods may
// be called from any goroutine.
type Policy struct {
	current atomic.Pointer[ruleset]
	unwell  atomic.Bool
	start   time.Time
	limiter *limit.Limiter
}

// ruleset is rules with what counting them needs.
type ruleset struct {
	set    *rules.Set
	byName map[string]int // the first of that name
}

// NewPolicy returns a Policy.
func NewPolicy(cfg PolicyConfig) *Policy {
	rate := cmp.Or(cfg.Rate, defaultRate)
	p := &Policy{start: cfg.Start, limiter: limit.New(rate, cmp.Or(cfg.Burst, rate))}
	if p.start.IsZero() {
		p.start = time.Now()
	}
	p.Use(cfg.Rules)
	return p
}

// Use has requests answered by other rules from now on: responders notice when they
// receive the next. nil is no rules. The counters of rules with the same name carry
// on; what rules have decided already stays, and answers that are held are sent.
func (p *Policy) Use(set *rules.Set) {
	rs := &ruleset{set: set}
	if set != nil {
		rs.byName = make(map[string]int, set.Len())
		for i := set.Len() - 1; i >= 0; i-- {
			rs.byName[set.Rule(i).Name] = i
		}
	}
	p.current.Store(rs)
}

// Rules returns the rules that are in force; nil for none.
func (p *Policy) Rules() *rules.Set { return p.current.Load().set }

// SetHealthy says whether requests are to be answered; they are from the beginning.
// Answers that are held are sent all the same.
func (p *Policy) SetHealthy(healthy bool) { p.unwell.Store(!healthy) }

// Healthy returns what SetHealthy has set.
func (p *Policy) Healthy() bool { return !p.unwell.Load() }

// Start returns when time windows begin.
func (p *Policy) Start() time.Time { return p.start }
