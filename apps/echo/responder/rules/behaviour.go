package rules

import (
	"net/netip"
	"slices"
	"time"
)

// behaviour is what a rule says to do. Rules that say the same have the same, so that
// many rules do not take many times the cache.
type behaviour struct {
	random bool // something is left to luck
	silent bool
	loss   probability
	delay  delay

	reorder   probability
	by        time.Duration // how long what is reordered is held
	duplicate probability
	copies    int32

	place      int32 // of flip
	flip       probability
	checksum   probability
	truncate   probability
	lengthen   probability
	ttl        uint8
	tos, code  uint8
	hasTOS     bool
	hasCode    bool
	limit      limit
	errorShare probability
	rare       *rare // nil for none
}

// rare is what few rules have.
type rare struct {
	windows []window
	source  [2]netip.Addr // by family: IPv4, IPv6
	errors  [2]*Error     // by family
}

func (r *rare) down(t time.Duration) bool {
	return slices.ContainsFunc(r.windows, func(w window) bool { return w.has(t) })
}

// settle sets what follows from the rest.
func (b *behaviour) settle() {
	b.random = !b.silent && (b.loss > 0 || b.reorder > 0 || b.duplicate > 0 || b.flip > 0 || b.checksum > 0 ||
		b.truncate > 0 || b.lengthen > 0 || b.errorShare > 0 || b.delay.kind != constant || b.delay.jitter > 0)
}

// family returns 0 for IPv4 and 1 for IPv6.
func family(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

// answer decides about an answer.
func (b *behaviour) answer(d *Decision, l luck, asked netip.Addr) {
	d.luck = l
	d.TTL, d.TOS, d.HasTOS = b.ttl, b.tos, b.hasTOS
	d.Delay = b.delay.draw(l)
	if l.hits(ofReorder, b.reorder) {
		d.Held = true
		d.Delay += b.by
	}
	if l.hits(ofDuplicate, b.duplicate) {
		d.Copies = int(b.copies)
	}
	if b.rare != nil {
		_, v6 := keyOf(asked)
		if l.hits(ofError, b.errorShare) {
			d.Error = b.rare.errors[family(v6)]
			return
		}
		d.Source = b.rare.source[family(v6)]
	}
	d.Code, d.HasCode = b.code, b.hasCode
	if l.hits(ofChecksum, b.checksum) {
		d.Checksum = uint16(1 + l.below(ofChecksumMask, 0xfffe))
	}
	if b.truncate|b.lengthen > 0 { // one of them, so that both are as likely as was asked
		drawn := l.draw(ofLength)
		d.Truncate = b.truncate.has(drawn)
		d.Lengthen = !d.Truncate && (b.truncate + b.lengthen).has(drawn)
	}
	d.Flip, d.place = l.hits(ofFlip, b.flip), b.place
}
