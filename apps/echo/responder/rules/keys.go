package rules

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// ruleKey is a key of a rule.
type ruleKey struct {
	name  string
	usage string
	many  bool // it may be given several times as a setting
	read  func(r *reader, d *draft, v value)
}

// ruleKeys are in the order in which they are to be told.
var ruleKeys []ruleKey

// ruleNames are their names.
var ruleNames []string

func init() {
	ruleKeys = []ruleKey{
		{"name", "what to call the rule in counters", false, readName},
		{"to", "prefixes of the addresses that are asked; all if left out", true, readTo},
		{"from", "prefixes of those who ask; all if left out", true, readFrom},
		{"silent", "do not answer: true", false, readSilent},
		{"loss", "probability that there is no answer, such as 1%", false, readLoss},
		{"delay", "how long to hold answers: 20ms, uniform:10ms,30ms, normal:20ms,5ms or pareto:10ms,2.5 with an optional ,1s at most", false, readDelay},
		{"jitter", "up to how much delays differ to both sides, evenly, such as 2ms", false, readJitter},
		{"reorder", "probability that an answer is held so that later ones overtake it, and how long: 1%,by=50ms", false, readReorder},
		{"duplicate", "probability that an answer comes again, and how many times (1): 1%,copies=2", false, readDuplicate},
		{"corrupt", "probability of each damage to a reply: flip=1%,checksum=1%,truncate=1%,lengthen=1%; at=0 says which byte to flip, at=-1 the last", false, readCorrupt},
		{"code", "ICMP code of replies, from 0 to 255", false, readCode},
		{"ttl", "time to live or hop limit of answers, from 1 to 255", false, readTTL},
		{"tos", "type of service or traffic class of answers, from 0 to 255", false, readTOS},
		{"source", "address that replies come from, one per family", true, readSource},
		{"error", "ICMP error in place of a reply: host-unreachable,probability=5%,quote=28,from=192.0.2.1, or type=3,code=1, or packet-too-big,mtu=1300", false, readError},
		{"rate", "replies a second, and how many at once: 100,burst=10", false, readRate},
		{"down", "when not to answer: from=10s,to=20s,every=1m", true, readDown},
	}
	for _, k := range ruleKeys {
		ruleNames = append(ruleNames, k.name)
	}
}

// rule reads a rule. It returns nil if it is not a mapping.
func (r *reader) rule(v value) *draft {
	n := named{what: "rule", all: ruleNames}
	if v.form == wrong {
		return nil
	}
	if v.form != mapping {
		r.fault(v.at, "rule: it is %s; write %s", forms[v.form], n.example())
		return nil
	}
	faults := len(r.faults)
	s, _ := r.fields(v, n)
	return r.draft(v.at, s, len(r.faults) > faults)
}

// draft reads what was said of a rule. If something could not be told, it may have
// been to or from, so it is not known for whom the rule is.
func (r *reader) draft(at place, s said, untold bool) *draft {
	d := &draft{at: at, said: s, bad: make(map[string]bool)}
	d.place = noPlace
	for _, k := range ruleKeys {
		if v, ok := s[k.name]; ok {
			faults := len(r.faults)
			k.read(r, d, v)
			d.bad[k.name] = len(r.faults) > faults || v.form == wrong
		}
	}
	r.contradictions(d)
	if !d.bad["to"] && !d.bad["from"] && !untold {
		r.combine(d)
	}
	return d
}

// maxName is the most characters of a name.
const maxName = 64

func readName(r *reader, d *draft, v value) {
	if !r.scalar(v, "name", "a text, with quotes around what could be something else", text) {
		return
	}
	bad := func(c rune) bool { return c < ' ' || c == 0x7f }
	switch n := utf8.RuneCountInString(v.text); {
	case n == 0 || n > maxName:
		r.fault(v.at, "name: it has %d characters; write 1 to %d", n, maxName)
	case strings.ContainsFunc(v.text, bad):
		r.fault(v.at, "name: there are control characters in %s; write it without", v)
	default:
		d.name = v.text
	}
}

func readTo(r *reader, d *draft, v value) {
	for _, e := range r.many(v, "to", "a prefix") {
		if b, v6, ok := r.prefix(e, "to"); ok {
			d.to[family(v6)] = append(d.to[family(v6)], b)
		}
	}
}

func readFrom(r *reader, d *draft, v value) {
	for _, e := range r.many(v, "from", "a prefix") {
		if b, v6, ok := r.prefix(e, "from"); ok {
			d.from[family(v6)] = append(d.from[family(v6)], b)
		}
	}
}

func readSilent(r *reader, d *draft, v value) { d.silent, _ = r.truth(v, "silent") }

func readLoss(r *reader, d *draft, v value) { d.loss, _ = r.probability(v, "loss") }

func readJitter(r *reader, d *draft, v value) { d.delay.jitter, _ = r.duration(v, "jitter") }

func readCode(r *reader, d *draft, v value) {
	n, ok := r.integer(v, "code", 0, 255)
	d.code, d.hasCode = uint8(n), ok
}

func readTTL(r *reader, d *draft, v value) {
	n, _ := r.integer(v, "ttl", 1, 255)
	d.ttl = uint8(n)
}

func readTOS(r *reader, d *draft, v value) {
	n, ok := r.integer(v, "tos", 0, 255)
	d.tos, d.hasTOS = uint8(n), ok
}

func readDelay(r *reader, d *draft, v value) {
	var s said
	kind := constant
	if v.form != mapping {
		if !r.scalar(v, "delay", "a time such as 20ms, or a distribution such as normal:20ms,5ms", text, number) {
			return
		}
		name, rest, found := strings.Cut(v.text, ":")
		if !found {
			d.delay.a, _ = r.duration(v, "delay")
			return
		}
		k, ok := r.distribution(value{at: v.at, form: loose, text: strings.TrimSpace(name)})
		if !ok {
			return
		}
		all := distributions[k].fields
		at := v.at.right(v.quotes + utf8.RuneCountInString(name) + 1)
		if s, ok = r.fields(value{at: at, form: loose, text: rest}, named{"delay: " + distributions[k].name, all, all}); !ok {
			return
		}
		kind = k
	} else {
		faults := len(r.faults)
		all := named{what: "delay", all: []string{"distribution", "value", "min", "max", "mean", "deviation", "shape"}}
		var ok bool
		if s, ok = r.fields(v, all); !ok {
			return
		}
		of, ok := s["distribution"]
		if !ok {
			if len(r.faults) == faults {
				r.fault(v.at, "delay: distribution is missing; write one of constant, uniform, normal, pareto")
			}
			return
		}
		if kind, ok = r.distribution(of); !ok {
			return
		}
		delete(s, "distribution")
		for _, name := range slices.Sorted(maps.Keys(s)) {
			if !slices.Contains(distributions[kind].fields, name) {
				r.fault(s[name].at, "delay: a %s one has no %s; there are %s", distributions[kind].name, name, strings.Join(distributions[kind].fields, ", "))
			}
		}
	}
	r.spread(d, kind, s, v.at)
}

// distribution reads the name of a distribution.
func (r *reader) distribution(v value) (distribution, bool) {
	const example = "constant, uniform, normal or pareto"
	if !r.scalar(v, "delay: distribution", example, text) {
		return 0, false
	}
	var names []string
	for i, d := range distributions {
		if d.name == v.text {
			return distribution(i), true
		}
		names = append(names, d.name)
	}
	if near := nearest(v.text, names); near != "" {
		r.fault(v.at, "delay: distribution %s is unknown; did you mean %s?", v, near)
	} else {
		r.fault(v.at, "delay: distribution %s is unknown; write %s", v, example)
	}
	return 0, false
}

// spread reads what a distribution has.
func (r *reader) spread(d *draft, kind distribution, s said, at place) {
	faults := len(r.faults)
	name := "delay: " + distributions[kind].name
	times := make(map[string]time.Duration)
	for _, f := range distributions[kind].fields {
		v, ok := s[f]
		switch {
		case !ok && f == "max" && kind == pareto:
			times[f] = maxTime
		case !ok:
			r.fault(at, "%s: %s is missing; write %s", name, f, strings.Join(distributions[kind].fields, ", "))
		case f == "shape":
			d.delay.shape, _ = r.decimal(v, name+": shape", 0.1, 100)
		default:
			times[f], _ = r.duration(v, name+": "+f)
		}
	}
	if len(r.faults) > faults {
		return
	}
	if kind == uniform || kind == pareto {
		if times["max"] < times["min"] {
			r.fault(s["max"].at, "%s: max %v is less than min %v; write the lesser one as min", name, short(times["max"]), short(times["min"]))
			return
		}
	}
	if kind == pareto && times["min"] == 0 {
		r.fault(s["min"].at, "%s: min is 0, and so would all delays be; write a time above 0", name)
		return
	}
	d.delay.kind = kind
	switch kind {
	case constant:
		d.delay.a = times["value"]
	case uniform, pareto:
		d.delay.a, d.delay.b = times["min"], times["max"]
	case normal:
		d.delay.a, d.delay.b = times["mean"], times["deviation"]
	}
}

func readReorder(r *reader, d *draft, v value) {
	s, ok := r.fields(v, named{"reorder", []string{"probability"}, []string{"probability", "by"}})
	if !ok {
		return
	}
	d.reorder, _ = r.share(s, "reorder", v.at)
	by, ok := s["by"]
	if !ok {
		r.fault(v.at, "reorder: by is missing, how long an answer is held for others to overtake it; write by, such as 50ms")
		return
	}
	if d.by, ok = r.duration(by, "reorder: by"); ok && d.by == 0 {
		r.fault(by.at, "reorder: by is 0, and nothing would be overtaken; write a time above 0")
	}
}

// share reads the field probability, which must be there.
func (r *reader) share(s said, what string, at place) (probability, bool) {
	v, ok := s["probability"]
	if !ok {
		r.fault(at, "%s: probability is missing; write one such as 1%%", what)
		return 0, false
	}
	return r.probability(v, what)
}

func readDuplicate(r *reader, d *draft, v value) {
	s, ok := r.fields(v, named{"duplicate", []string{"probability"}, []string{"probability", "copies"}})
	if !ok {
		return
	}
	d.duplicate, _ = r.share(s, "duplicate", v.at)
	d.copies = 1
	if v, ok := s["copies"]; ok {
		n, _ := r.integer(v, "duplicate: copies", 1, 100)
		d.copies = int32(n)
	}
}

func readCorrupt(r *reader, d *draft, v value) {
	s, ok := r.fields(v, named{"corrupt", nil, []string{"flip", "at", "checksum", "truncate", "lengthen"}})
	if !ok {
		return
	}
	for _, f := range []struct {
		name string
		p    *probability
	}{{"flip", &d.flip}, {"checksum", &d.checksum}, {"truncate", &d.truncate}, {"lengthen", &d.lengthen}} {
		if v, ok := s[f.name]; ok {
			*f.p, _ = r.probability(v, "corrupt: "+f.name)
		}
	}
	at, hasAt := s["at"]
	if hasAt {
		n, _ := r.integer(at, "corrupt: at", -1<<16+1, 1<<16-1)
		d.place = int32(n)
	}
	_, flips := s["flip"]
	switch {
	case len(s) == 0:
		r.fault(v.at, "corrupt: there is no damage; write one such as flip: 1%%")
	case hasAt && !flips:
		r.fault(at.at, "corrupt: at says which byte to flip, and there is no flip; write flip too")
	case d.truncate+d.lengthen > certain:
		r.fault(s["lengthen"].at, "corrupt: truncate and lengthen exclude each other and are more than 100%% together; write less")
	}
}

// addresses reads one address per family.
func (r *reader) addresses(v value, what string) (out [2]netip.Addr) {
	for _, e := range r.many(v, what, "an address") {
		a, ok := r.address(e, what)
		if !ok {
			continue
		}
		if f := family(a.Is6()); out[f].IsValid() {
			r.fault(e.at, "%s: %v is a second %s address; write one", what, a, families[f])
		} else {
			out[f] = a
		}
	}
	return out
}

var families = [2]string{"IPv4", "IPv6"}

func (d *draft) rarely() *rare {
	if d.rare == nil {
		d.rare = &rare{}
	}
	return d.rare
}

func readSource(r *reader, d *draft, v value) { d.rarely().source = r.addresses(v, "source") }

func readRate(r *reader, d *draft, v value) {
	s, ok := r.fields(v, named{"rate", []string{"replies"}, []string{"replies", "burst"}})
	if !ok {
		return
	}
	replies, ok := s["replies"]
	if !ok {
		r.fault(v.at, "rate: replies is missing, how many there may be a second; write a number")
		return
	}
	rate, ok := r.decimal(replies, "rate", 0.001, 1e6)
	if !ok {
		return
	}
	d.limit.interval = time.Duration(math.Round(1e9 / rate))
	d.limit.burst = int64(math.Ceil(rate))
	if v, ok := s["burst"]; ok {
		d.limit.burst, _ = r.integer(v, "rate: burst", 1, 1e6)
	}
}

func readDown(r *reader, d *draft, v value) {
	all := []value{v}
	if v.form == list {
		all = r.many(v, "down", "a time window")
	}
	for _, e := range all {
		if w, ok := r.window(e); ok {
			d.rarely().windows = append(d.rarely().windows, w)
		}
	}
}

func (r *reader) window(v value) (w window, ok bool) {
	faults := len(r.faults)
	s, ok := r.fields(v, named{"down", nil, []string{"from", "to", "every"}})
	if !ok {
		return w, false
	}
	from, hasFrom := s["from"]
	to, hasTo := s["to"]
	every, hasEvery := s["every"]
	if hasFrom {
		w.from, _ = r.duration(from, "down: from")
	}
	if hasEvery {
		if w.every, ok = r.duration(every, "down: every"); ok && w.every == 0 {
			r.fault(every.at, "down: every is 0; write a time above 0, or leave it out")
		}
	}
	w.to = math.MaxInt64
	if hasTo {
		w.to, _ = r.duration(to, "down: to")
	}
	switch {
	case len(r.faults) > faults:
	case !hasFrom && !hasTo:
		r.fault(v.at, "down: neither from nor to is there; write from, to or both, such as 10s and 20s")
	case hasTo && w.to <= w.from:
		r.fault(to.at, "down: to %v is not after from %v; write a later time", short(w.to), short(w.from))
	case hasEvery && w.from >= w.every:
		r.fault(from.at, "down: from %v is not before the end of every %v; write an earlier time", short(w.from), short(w.every))
	case hasEvery && hasTo && w.to > w.every:
		r.fault(to.at, "down: to %v is after the end of every %v; write an earlier time", short(w.to), short(w.every))
	default:
		return w, true
	}
	return w, false
}

func readError(r *reader, d *draft, v value) {
	s, ok := r.fields(v, named{"error", []string{"type"}, []string{"type", "code", "probability", "quote", "mtu", "from"}})
	if !ok {
		return
	}
	e := &errorDraft{quote: -1, at: v.at}
	d.err = e
	d.errorShare = certain
	if v, ok := s["probability"]; ok {
		d.errorShare, _ = r.probability(v, "error: probability")
	}
	if v, ok := s["quote"]; ok {
		e.quote, _ = r.integer(v, "error: quote", 0, 65535)
	}
	if v, ok := s["mtu"]; ok {
		e.mtuAt = v.at
		e.mtu, e.hasMTU = r.integer(v, "error: mtu", 0, math.MaxUint32)
	}
	if v, ok := s["from"]; ok {
		e.from, e.fromAt = r.addresses(v, "error: from"), v.at
	}
	code, hasCode := s["code"]
	var n int64
	if hasCode {
		n, _ = r.integer(code, "error: code", 0, 255)
	}
	kind, ok := s["type"]
	switch {
	case !ok:
		r.fault(v.at, "error: type is missing; write a number, or a name such as host unreachable")
		return
	case kind.form == number || kind.form == loose && strings.Trim(kind.text, "0123456789") == "" && kind.text != "":
		if t, ok := r.integer(kind, "error: type", 0, 255); ok {
			e.numbered = true
			e.name = &errorName{known: [2]bool{true, true}, icmp: [2]icmp{{uint8(t), uint8(n)}, {uint8(t), uint8(n)}}}
			e.typeAt = kind.at
		}
		return
	case !r.scalar(kind, "error: type", "a number, or a name such as host unreachable", text):
		return
	}
	name := lookUpError(kind.text)
	if name == nil {
		names := slices.Sorted(maps.Keys(errorNames))
		near := nearest(strings.ReplaceAll(kind.text, "-", " "), names)
		if near == "" {
			r.fault(kind.at, "error: %s is no ICMP error; write a number, or a name of the RFCs such as destination unreachable, host unreachable, time exceeded", kind)
		} else {
			r.fault(kind.at, "error: %s is no ICMP error; did you mean %s?", kind, near)
		}
		return
	}
	if hasCode && !name.typeOnly {
		r.fault(code.at, "error: %s has its code already; leave code out", kind)
		return
	}
	copied := *name
	if hasCode {
		copied.icmp[0].code, copied.icmp[1].code = uint8(n), uint8(n)
	}
	e.name, e.typeAt, e.typeText = &copied, kind.at, kind.text
}

// errorDraft is an error before it is known for which families it is.
type errorDraft struct {
	at       place
	name     *errorName // nil if there was a fault
	numbered bool
	typeText string
	typeAt   place
	quote    int64
	mtu      int64
	hasMTU   bool
	mtuAt    place
	from     [2]netip.Addr
	fromAt   place
}

// contradictions reports what does not go together in a rule.
func (r *reader) contradictions(d *draft) {
	s := d.said
	if d.silent {
		for _, k := range ruleNames {
			switch v, ok := s[k]; {
			case !ok, d.bad[k], k == "name", k == "to", k == "from", k == "silent":
			default:
				r.fault(v.at, "%s: the rule is silent, so this does nothing; leave one of them out", k)
			}
		}
	}
	if v, ok := s["jitter"]; ok && d.delay.kind != normal && d.delay.jitter > d.delay.shortest() && !d.bad["delay"] {
		r.fault(v.at, "jitter: %v is more than the shortest delay, %v, and nothing is answered before it is asked; write less, or a longer delay",
			short(d.delay.jitter), short(d.delay.shortest()))
	}
	if d.err != nil && !d.bad["error"] && d.errorShare == certain {
		for _, k := range []string{"corrupt", "code", "source"} {
			if v, ok := s[k]; ok && !d.bad[k] {
				r.fault(v.at, "%s: there is no reply, as every request is answered by an error; leave one of them out, or give the error a probability", k)
			}
		}
	}
}

// maxPairs is the most combinations of to and from in a file.
const maxPairs = 1 << 21

// combine settles for which addresses a rule without a fault is, and what it does for
// each family of them.
func (r *reader) combine(d *draft) {
	all := block{}
	_, hasTo := d.said["to"]
	_, hasFrom := d.said["from"]
	for f := range d.to {
		to, from := d.to[f], d.from[f]
		if !hasTo {
			to = []block{all}
		}
		if !hasFrom {
			from = []block{all}
		}
		if r.pairs += len(to) * len(from); r.pairs > maxPairs {
			if !r.tooMany {
				r.tooMany = true
				r.fault(d.at, "there are more than %d combinations of to and from up to here; write fewer prefixes", maxPairs)
			}
			return
		}
		for _, t := range to {
			for _, a := range from {
				d.pairs[f] = append(d.pairs[f], pair{to: t, from: a})
			}
		}
		d.family[f] = len(d.pairs[f]) > 0
	}
	if d.family == [2]bool{} {
		r.fault(d.said["from"].at, "from: no prefix is of the family of one in to, so the rule is never used; write both of one family")
		return
	}
	if d.rare != nil {
		for f, a := range d.rare.source {
			if a.IsValid() && !d.family[f] {
				r.fault(d.said["source"].at, "source: %v is %s, and the rule is not for such addresses; write one of their family", a, families[f])
			}
		}
	}
	if d.err != nil && d.err.name != nil {
		r.settleError(d)
	}
}

// settleError makes the errors of a rule.
func (r *reader) settleError(d *draft) {
	e := d.err
	if e.numbered && d.family == [2]bool{true, true} {
		r.fault(e.typeAt, "error: the number means one thing in IPv4 and another in IPv6, and the rule is for both; write a name, or a rule for each")
		return
	}
	for f, has := range d.family {
		switch m := e.name.icmp[f]; {
		case !has:
			if e.from[f].IsValid() {
				r.fault(e.fromAt, "error: from: %v is %s, and the rule is not for such addresses; write one of their family", e.from[f], families[f])
			}
		case !e.name.known[f]:
			r.fault(e.typeAt, "error: %s has no %s; write another error, or a rule for each family", families[f], quote(e.typeText))
		case m.kind == echoRequest[f]:
			r.fault(e.typeAt, "error: type %d is an echo request in %s, which two responders would answer each other for ever; write that of an error", m.kind, families[f])
		case e.hasMTU && !m.hasMTU(f):
			r.fault(e.mtuAt, "error: mtu is for packet too big and fragmentation needed only; leave it out")
		case e.hasMTU && f == 0 && e.mtu > 65535:
			r.fault(e.mtuAt, "error: mtu: %d is more than 65535, the most there is in IPv4; write less", e.mtu)
		default:
			d.rarely().errors[f] = &Error{Type: m.kind, Code: m.code, Quote: int(e.quote), MTU: uint32(e.mtu), From: e.from[f]}
		}
	}
}

func (d *draft) String() string {
	if d.name != "" {
		return fmt.Sprintf("rule %s in line %d", quote(d.name), d.at.line)
	}
	return fmt.Sprintf("the rule in line %d", d.at.line)
}
