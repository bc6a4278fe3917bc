package rules

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Drop says why there is no answer to a request.
type Drop uint8

const (
	Answered Drop = iota // there is one
	Silent               // the rule says silent
	Down                 // in a time window of down
	Lost                 // by the probability of loss
	Limited              // more than the rate of the rule
)

var drops = [...]string{"answered", "silent", "down", "lost", "limited"}

// String returns the name as it is used for counters, "lost" for instance.
func (d Drop) String() string {
	if int(d) < len(drops) {
		return drops[d]
	}
	return "Drop(" + strconv.Itoa(int(d)) + ")"
}

// Decision is what to do with one request. The zero value, but for Rule, is to answer
// it at once, with a reply to it.
type Decision struct {
	Rule int  // the number of the rule, from 0; -1 if there is none for the request
	Drop Drop // if it is not Answered, nothing of what follows matters

	Delay  time.Duration // how long to hold the answer, from the request on
	Held   bool          // part of Delay is for others to overtake it
	Copies int           // how many times to send it again, all at once

	// Error, if not nil, is the answer, in place of a reply. It belongs to the Set and
	// must not be changed.
	Error *Error

	// TTL and, if HasTOS is set, TOS are those of the answer, be it a reply or an
	// error. A TTL of 0 is the system's.
	TTL    uint8
	TOS    uint8
	HasTOS bool

	// What follows is for a reply only.

	Code    uint8 // its code, if HasCode is set
	HasCode bool
	// Source is the address to answer from; the zero Addr is the one that was asked.
	Source netip.Addr
	// Checksum is to be exclusive-ored to the right checksum (RFC 1071), which is then
	// wrong; 0 leaves it right. It is never 0xffff, which would do no harm to a
	// checksum of 0.
	Checksum uint16
	// Damage that AppendData does, if there is data for it. The checksum is that of the
	// damaged data.
	Flip, Truncate, Lengthen bool

	place int32 // of the byte to flip, from the end if it is negative; anywhere for noPlace
	luck  luck
}

// noPlace is beyond the data of any packet.
const noPlace = 1 << 16

// maxPadding is how many bytes Lengthen adds at most.
const maxPadding = 64

// AppendData appends the data of the reply to dst: that of the request, with the
// damage that was decided. dst may be data[:0].
//
//   - Truncate leaves at least nothing and at most all but one byte, each length as
//     likely.
//   - Lengthen adds 1 to 64 bytes, each number as likely.
//   - Flip changes one byte, to any other value. If the rule says where and there is no
//     such byte, nothing is changed.
func (d *Decision) AppendData(dst, data []byte) []byte {
	from := len(dst)
	switch n := len(data); {
	case d.Truncate && n > 0:
		dst = append(dst, data[:d.luck.below(ofLengthAmount, uint64(n))]...)
	case d.Lengthen:
		dst = slices.Grow(dst, n+maxPadding)
		dst = append(dst, data...)
		more := int(d.luck.below(ofLengthAmount, maxPadding)) + 1
		padding := dst[len(dst):][:maxPadding]
		for i := 0; i < more; i += 8 {
			binary.LittleEndian.PutUint64(padding[i:], mix(d.luck.draw(ofPadding)+uint64(i)))
		}
		dst = dst[:len(dst)+more]
	default:
		dst = append(dst, data...)
	}
	if d.Flip {
		d.flip(dst[from:])
	}
	return dst
}

func (d *Decision) flip(data []byte) {
	n := len(data)
	place := int(d.place)
	switch {
	case n == 0:
		return
	case place == noPlace:
		place = int(d.luck.below(ofFlipPlace, uint64(n)))
	case place < 0:
		place += n
	}
	if 0 <= place && place < n {
		data[place] ^= byte(1 + d.luck.below(ofFlipMask, 255))
	}
}

// Error is an ICMP error in answer to a request.
type Error struct {
	Type, Code uint8 // on the wire
	// Quote is how many bytes of the request, from its IP header on, the error has at
	// most; -1 for as many as the RFCs want: an error of up to 576 bytes in IPv4 (RFC
	// 1812, 4.3.2.3) and 1280 in IPv6 (RFC 4443, 2.4).
	Quote int
	MTU   uint32     // of packet too big and fragmentation needed
	From  netip.Addr // who sends it; the zero Addr is the one that was asked
}

// Decider decides for one loop. It is not safe for concurrent use.
type Decider struct {
	set     *Set
	hasher  hasher
	repeats *repeats
}

// Remembered is how many packets a Decider remembers if it is not told otherwise.
const Remembered = 1 << 16

// NewDecider returns a Decider that remembers the last packets, Remembered if it is 0.
// That takes 12 bytes each, from the beginning on and for ever, and rounds the number
// up to a power of two.
//
// What is remembered is how often a packet was seen, the same in all of a [Packet],
// for it may have other luck each time. It is looked for in one set of four; when a
// fifth packet comes there, the one of them that was seen least recently is
// forgotten, and if it comes again, it is as if for the first time. So the luck of a
// packet that comes again may depend on what came between, if that is more than a
// fraction of what is remembered. Packets for which there is no rule, or one that
// leaves nothing to luck, are not remembered.
func (s *Set) NewDecider(packets int) *Decider {
	if packets <= 0 {
		packets = Remembered
	}
	return &Decider{set: s, hasher: newHasher(s.seed), repeats: newRepeats(min(packets, 1<<24))}
}

// Use makes the Decider decide by another Set from now on. It knows packets again if
// the seed is the same.
func (d *Decider) Use(s *Set) {
	d.set, d.hasher = s, newHasher(s.seed)
}

// Decide decides what to do with a request. elapsed is the time since the beginning,
// which time windows and rates go by; it is the caller's, so that all loops have the
// same. Everything else depends on the seed, the packet and how often it was seen
// before. It does not allocate.
func (d *Decider) Decide(p *Packet, elapsed time.Duration) Decision {
	s := d.set
	rule := s.Match(p.From, p.To)
	dec := Decision{Rule: rule}
	if rule < 0 {
		return dec
	}
	b := &s.behaviours[s.which[rule]]
	var l luck
	if b.random {
		packet := d.hasher.sum(p)
		l = newLuck(packet, d.repeats.count(packet))
	}
	switch {
	case b.silent:
		dec.Drop = Silent
	case b.rare != nil && b.rare.down(elapsed):
		dec.Drop = Down
	case l.hits(ofLoss, b.loss):
		dec.Drop = Lost
	default:
		b.answer(&dec, l, p.To)
		if b.limit.interval > 0 {
			n := s.buckets[rule].take(b.limit, int64(dec.Copies)+1, max(elapsed, 0))
			if n == 0 {
				return Decision{Rule: rule, Drop: Limited}
			}
			dec.Copies = int(n) - 1
		}
	}
	return dec
}
