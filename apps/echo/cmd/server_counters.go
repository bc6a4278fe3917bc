package cmd

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"iomux/apps/echo/responder"
	"iomux/transport"
)

// counter is one of the numbers that the server tells.
type counter struct {
	key   string // in JSON
	label string // for people, after the number
	of    func(*totals) *uint64
}

// counters in the order in which they are told.
var counters = []counter{
	{"received", "received", func(t *totals) *uint64 { return &t.Received }},
	{"answered", "answered", func(t *totals) *uint64 { return &t.Answered }},
	{"errors", "ICMP errors", func(t *totals) *uint64 { return &t.Errors }},
	{"corrupt", "corrupt", func(t *totals) *uint64 { return &t.Corrupt }},
	{"ignored", "ignored", func(t *totals) *uint64 { return &t.Ignored }},
	{"fragments", "fragments", func(t *totals) *uint64 { return &t.Fragments }},
	{"silent", "silent", func(t *totals) *uint64 { return &t.Silent }},
	{"down", "down", func(t *totals) *uint64 { return &t.Down }},
	{"lost", "lost", func(t *totals) *uint64 { return &t.Lost }},
	{"limited", "limited", func(t *totals) *uint64 { return &t.Limited }},
	{"throttled", "throttled", func(t *totals) *uint64 { return &t.Throttled }},
	{"unwell", "unwell", func(t *totals) *uint64 { return &t.Unwell }},
	{"refused", "refused", func(t *totals) *uint64 { return &t.Refused }},
	{"send_errors", "send errors", func(t *totals) *uint64 { return &t.SendErrors }},
	{"recv_errors", "receive errors", func(t *totals) *uint64 { return &t.RecvErrors }},
	{"kernel_drops", "dropped by the kernel", func(t *totals) *uint64 { return &t.kernelDrops }},
	{"delayed", "delayed", func(t *totals) *uint64 { return &t.Delayed }},
	{"damaged", "damaged", func(t *totals) *uint64 { return &t.Damaged }},
	{"duplicated", "duplicated", func(t *totals) *uint64 { return &t.Duplicated }},
	{"copies_lost", "copies lost", func(t *totals) *uint64 { return &t.CopiesLost }},
	{"queued", "queued", func(t *totals) *uint64 { return &t.Queued }},
}

// gauge is the counter that is no count.
const gauge = "queued"

// totals are the numbers of all responders together.
type totals struct {
	responder.Stats
	kernelDrops uint64
	at          time.Time
}

func (t *totals) add(other *totals) {
	for _, c := range counters {
		*c.of(t) += *c.of(other)
	}
}

// detail is what a summary tells besides.
type detail struct {
	rules   map[int]*responder.RuleStats // by their place in the set
	sources map[netip.Prefix]*responder.Source
}

// enoughSources is how many of the busiest sources of each responder are asked for.
const enoughSources = 64

// add adds what a responder says.
func (d *detail) add(r *responder.Responder) {
	for i, rule := range r.RuleStats() {
		if rule.Requests > 0 {
			d.addRule(i, &rule)
		}
	}
	for _, source := range r.Sources(enoughSources) {
		d.addSource(&source)
	}
}

func (d *detail) merge(other *detail) {
	for i, rule := range other.rules {
		d.addRule(i, rule)
	}
	for _, source := range other.sources {
		d.addSource(source)
	}
}

func (d *detail) addRule(i int, rule *responder.RuleStats) {
	sum := d.rules[i]
	switch {
	case sum == nil:
		d.rules[i] = rule
	case sum.Rule == rule.Rule: // else there were new rules between two loops' turns
		for _, c := range ruleCounters {
			*c.of(sum) += *c.of(rule)
		}
	}
}

func (d *detail) addSource(source *responder.Source) {
	sum := d.sources[source.Prefix]
	if sum == nil {
		d.sources[source.Prefix] = source
		return
	}
	sum.Requests += source.Requests
	sum.Error += source.Error
	sum.Answered += source.Answered
	sum.Throttled += source.Throttled
}

func newDetail() *detail {
	return &detail{rules: map[int]*responder.RuleStats{}, sources: map[netip.Prefix]*responder.Source{}}
}

// numbered is a rule with its place, from 1.
type numbered struct {
	number int
	*responder.RuleStats
}

// busiestRules are those that requests were for, the busiest first.
func (d *detail) busiestRules() (all []numbered) {
	for i, rule := range d.rules {
		all = append(all, numbered{i + 1, rule})
	}
	slices.SortFunc(all, func(a, b numbered) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.number, b.number))
	})
	return all
}

// busiestSources are at most n, the busiest first.
func (d *detail) busiestSources(n int) (all []*responder.Source) {
	for _, source := range d.sources {
		all = append(all, source)
	}
	slices.SortFunc(all, func(a, b *responder.Source) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), a.Prefix.Addr().Compare(b.Prefix.Addr()))
	})
	return all[:min(n, len(all))]
}

// ruleCounter is one of the numbers of a rule.
type ruleCounter struct {
	key string // in JSON and for people
	of  func(*responder.RuleStats) *uint64
}

var ruleCounters = []ruleCounter{
	{"requests", func(r *responder.RuleStats) *uint64 { return &r.Requests }},
	{"replied", func(r *responder.RuleStats) *uint64 { return &r.Replied }},
	{"errors", func(r *responder.RuleStats) *uint64 { return &r.Errored }},
	{"silent", func(r *responder.RuleStats) *uint64 { return &r.Silent }},
	{"down", func(r *responder.RuleStats) *uint64 { return &r.Down }},
	{"lost", func(r *responder.RuleStats) *uint64 { return &r.Lost }},
	{"limited", func(r *responder.RuleStats) *uint64 { return &r.Limited }},
	{"refused", func(r *responder.RuleStats) *uint64 { return &r.Refused }},
	{"ignored", func(r *responder.RuleStats) *uint64 { return &r.Ignored }},
	{"unsendable", func(r *responder.RuleStats) *uint64 { return &r.Unsendable }},
	{"delayed", func(r *responder.RuleStats) *uint64 { return &r.Delayed }},
	{"reordered", func(r *responder.RuleStats) *uint64 { return &r.Reordered }},
	{"damaged", func(r *responder.RuleStats) *uint64 { return &r.Damaged }},
	{"duplicated", func(r *responder.RuleStats) *uint64 { return &r.Duplicated }},
}

// drops counts what the kernel has not delivered to a transport, whose own counter
// wraps round.
type drops struct {
	counter transport.DropCounter // nil where there is none
	last    uint32
	total   uint64
}

func newDrops(t transport.Transport) drops {
	c, ok := transport.As[transport.DropCounter](t)
	if !ok {
		return drops{}
	}
	last, _ := c.Dropped()
	return drops{counter: c, last: last}
}

func (d *drops) count() uint64 {
	if d.counter != nil {
		if now, err := d.counter.Dropped(); err == nil {
			d.total += uint64(now - d.last)
			d.last = now
		}
	}
	return d.total
}
