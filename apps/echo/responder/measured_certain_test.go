package responder_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"iomux/apps/echo/responder/internal/outside"
)

// TestCertaintiesFromOutside sees what rules do that leave nothing to luck, or only how
// much, on every packet of what comes back.
func TestCertaintiesFromOutside(t *testing.T) {
	inPlaces(t, func(t *testing.T, p outside.Place) {
		// What is other in IPv6.
		echoReply, unreachable, port, tooBig, exceeded := byte(0), byte(3), byte(3), [2]byte{3, 4}, [2]byte{11, 0}
		header, usual, other, router := 20, 576, netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("192.0.2.1")
		if p.V6 {
			echoReply, unreachable, port, tooBig, exceeded = 129, 1, 4, [2]byte{2, 0}, [2]byte{3, 0}
			header, usual, other, router = 40, 1280, netip.MustParseAddr("2001:db8::9"), netip.MustParseAddr("2001:db8::1")
		}
		const (
			times   = 500
			longTOS = 0x28
		)
		type look struct {
			*outside.Answer
			s *outside.Site
			r outside.Request
		}
		// plain is the reply with nothing wrong, but for its code, its checksum and its data.
		plain := func(l look) bool {
			return !l.Error && l.Right && l.From == l.r.To && l.TTL == 64 && l.TOS == 0 && l.Message[0] == echoReply && l.Message[1] == 0
		}
		same := func(l look) bool { return plain(l) && bytes.Equal(l.Data(), l.r.Data) }
		// flipped tells whether the byte with the number, and no other, is another.
		flipped := func(l look, at int) bool {
			data := bytes.Clone(l.Data())
			if len(data) != len(l.r.Data) || data[at] == l.r.Data[at] {
				return false
			}
			data[at] = l.r.Data[at]
			return bytes.Equal(data, l.r.Data)
		}
		// failed is an error that quotes so many bytes of the request, or all there are.
		failed := func(l look, kind, code byte, rest uint32, from netip.Addr, quoted int) bool {
			if !l.Error || !l.Right || l.From != from || l.Message[0] != kind || l.Message[1] != code || binary.BigEndian.Uint32(l.Message[4:]) != rest {
				return false
			}
			quote := l.Data()
			request := l.s.Message(l.r)
			if len(quote) != min(quoted, header+len(request)) {
				return false
			}
			if len(quote) < header {
				return len(quote) == 0 || quote[0]>>4 == 4 && !l.s.Place.V6 || quote[0]>>4 == 6 && l.s.Place.V6
			}
			// The header is that of the request, and its checksum is good.
			if p.V6 {
				if quote[0]>>4 != 6 || int(binary.BigEndian.Uint16(quote[4:])) != len(request) || quote[6] != 58 ||
					netip.AddrFrom16([16]byte(quote[8:])) != l.s.Client || netip.AddrFrom16([16]byte(quote[24:])) != l.r.To {
					return false
				}
			} else if quote[0] != 0x45 || int(binary.BigEndian.Uint16(quote[2:])) != header+len(request) || quote[9] != 1 || sum(quote[:header]) != 0xffff ||
				netip.AddrFrom4([4]byte(quote[12:])) != l.s.Client || netip.AddrFrom4([4]byte(quote[16:])) != l.r.To {
				return false
			}
			b := quote[header:]
			if p.V6 && len(b) >= 4 { // which the kernel has filled in
				copy(request[2:4], b[2:4])
			}
			return bytes.Equal(b, request[:len(b)])
		}
		cases := []struct {
			rule  string
			size  int // of the data
			times int
			right func(look) bool
		}{
			{"loss: 0%", 56, 1, same},
			{"loss: 0%", 0, 1, same},
			{"silent: true", 56, 0, nil},
			{"loss: 100%", 56, 0, nil},
			{"code: 7", 56, 1, func(l look) bool {
				seven := l.Message[1] == 7
				l.Message[1] = 0
				return seven && same(l)
			}},
			{"ttl: 9", 56, 1, func(l look) bool {
				nine := l.TTL == 9
				l.TTL = 64
				return nine && same(l)
			}},
			{"tos: 0x28", 56, 1, func(l look) bool {
				set := l.TOS == longTOS
				l.TOS = 0
				return set && same(l)
			}},
			{"source: [192.0.2.9, '2001:db8::9']", 56, 1, func(l look) bool {
				from := l.From == other
				l.From = l.r.To
				return from && same(l)
			}},
			{"duplicate: {probability: 100%, copies: 3}", 56, 4, same},
			{"corrupt: {checksum: 100%}", 56, 1, func(l look) bool {
				wrong := !l.Right
				l.Right = true
				return wrong && same(l)
			}},
			{"corrupt: {checksum: 100%}", 0, 1, func(l look) bool { return !l.Right && len(l.Message) == 8 }},
			{"corrupt: {flip: 100%, at: 0}", 56, 1, func(l look) bool { return plain(l) && flipped(l, 0) }},
			{"corrupt: {flip: 100%, at: -1}", 56, 1, func(l look) bool { return plain(l) && flipped(l, 55) }},
			{"corrupt: {flip: 100%, at: 17}", 56, 1, func(l look) bool { return plain(l) && flipped(l, 17) }},
			{"corrupt: {flip: 100%, at: 56}", 56, 1, same},  // there is no such byte
			{"corrupt: {flip: 100%, at: -57}", 56, 1, same}, // nor this
			{"corrupt: {truncate: 100%}", 56, 1, func(l look) bool {
				return plain(l) && len(l.Data()) < 56 && bytes.HasPrefix(l.r.Data, l.Data())
			}},
			{"corrupt: {truncate: 100%}", 1, 1, func(l look) bool { return plain(l) && len(l.Data()) == 0 }},
			{"corrupt: {truncate: 100%}", 0, 1, same},
			{"corrupt: {lengthen: 100%}", 56, 1, func(l look) bool {
				n := len(l.Data()) - 56
				return plain(l) && n >= 1 && n <= 64 && bytes.HasPrefix(l.Data(), l.r.Data)
			}},
			{"error: port unreachable", 56, 1, func(l look) bool {
				return failed(l, unreachable, port, 0, l.r.To, 1<<16)
			}},
			{"error: {type: destination unreachable, code: 1}", 56, 1, func(l look) bool { return failed(l, unreachable, 1, 0, l.r.To, 1<<16) }},
			{"error: packet too big", 56, 1, func(l look) bool { return failed(l, tooBig[0], tooBig[1], 0, l.r.To, 1<<16) }},
			{"error: {type: packet too big, mtu: 1300}", 1400, 1, func(l look) bool {
				return failed(l, tooBig[0], tooBig[1], 1300, l.r.To, usual-header-8)
			}},
			{"error: {type: time exceeded, from: [192.0.2.1, '2001:db8::1']}", 1400, 1, func(l look) bool {
				return failed(l, exceeded[0], exceeded[1], 0, router, usual-header-8)
			}},
			{"error: {type: time exceeded, quote: 0}", 56, 1, func(l look) bool { return failed(l, exceeded[0], exceeded[1], 0, l.r.To, 0) }},
			{"error: {type: time exceeded, quote: 1}", 56, 1, func(l look) bool { return failed(l, exceeded[0], exceeded[1], 0, l.r.To, 1) }},
			{"error: {type: time exceeded, quote: 28}", 56, 1, func(l look) bool { return failed(l, exceeded[0], exceeded[1], 0, l.r.To, 28) }},
			{"error: {type: time exceeded, quote: 65535}", 1400, 1, func(l look) bool { return failed(l, exceeded[0], exceeded[1], 0, l.r.To, 1<<16) }},
			{"error: {type: destination unreachable, code: 3}, ttl: 77, tos: 0x28, duplicate: {probability: 100%, copies: 2}", 56, 3, func(l look) bool {
				return l.TTL == 77 && l.TOS == longTOS && failed(l, unreachable, 3, 0, l.r.To, 1<<16)
			}},
		}
		var list []string
		for _, c := range cases {
			list = append(list, c.rule)
		}
		s := outside.New(t, outside.Config{Place: p, Rules: outside.Rules(t, measuredSeed, list...), Clock: outside.NewClock()})
		for rule, c := range cases {
			answers, wrong := 0, 0
			var rs []outside.Request
			got := func(a *outside.Answer) {
				at := slices.IndexFunc(rs, func(r outside.Request) bool { return r.To == a.From || r.Number == a.Number })
				if answers++; at < 0 || c.right == nil || !c.right(look{a, s, rs[at]}) {
					if wrong++; wrong == 1 {
						t.Errorf("{%s}: %d bytes of data are answered from %v, TTL %d, TOS %#x, right checksum %v, by % x", c.rule, c.size, a.From, a.TTL, a.TOS, a.Right, a.Message)
					}
				}
			}
			for i := range times {
				rs = append(rs, outside.Request{To: s.Address(rule, i), Number: uint32(i)<<16 | 7, Data: measuredDataOf(c.size)})
				if len(rs) == 20 || i == times-1 {
					s.Ask(rs...)
					s.Settle(got)
					rs = rs[:0]
				}
			}
			if answers != c.times*times {
				t.Errorf("{%s}: %d answers, want %d", c.rule, answers, c.times*times)
			}
		}
		s.Close()
	})
}

func measuredDataOf(size int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i*7 + i>>8)
	}
	return data
}

// sum is the sum of RFC 1071 before it is complemented.
func sum(b []byte) (n uint32) {
	for i, c := range b {
		n += uint32(c) << (8 * (1 - i%2))
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return n
}

// TestTimeWindowsFromOutside has the clock stand still at both ends of each window.
func TestTimeWindowsFromOutside(t *testing.T) {
	inPlaces(t, func(t *testing.T, p outside.Place) {
		clock := outside.NewClock()
		s := outside.New(t, outside.Config{Place: p, Clock: clock, Rules: outside.Rules(t, measuredSeed,
			"down: {from: 10s, to: 20s}",
			"down: {from: 10s, to: 20s, every: 1m}",
			"down: [{to: 5s}, {from: 100s}]",
			"down: {from: 50s, every: 1m}",
		)})
		const second = time.Second
		in := func(t, from, to time.Duration) bool { return from <= t && t < to }
		want := []func(at time.Duration) bool{
			func(at time.Duration) bool { return in(at, 10*second, 20*second) },
			func(at time.Duration) bool { return in(at%(60*second), 10*second, 20*second) },
			func(at time.Duration) bool { return in(at, 0, 5*second) || at >= 100*second },
			func(at time.Duration) bool { return at%(60*second) >= 50*second },
		}
		now := time.Duration(0)
		for at := time.Duration(0); at <= 185*second; at += 5 * second {
			for _, when := range []time.Duration{at - 1, at, at + 1} {
				if when < 0 {
					continue
				}
				s.Step(when - now)
				now = when
				answered := make(map[uint32]int)
				var rs []outside.Request
				for rule := range want {
					rs = append(rs, outside.Request{To: s.Address(rule, 1), Number: uint32(rule), Data: []byte("data")})
				}
				s.Ask(rs...)
				s.Settle(func(a *outside.Answer) { answered[a.Number]++ })
				for rule, down := range want {
					expected := 1
					if down(when) {
						expected = 0
					}
					if n := answered[uint32(rule)]; n != expected {
						t.Errorf("rule %d, %v after the start: %d answers, want %d", rule, when, n, expected)
					}
				}
			}
		}
		s.Close()
	})
}

// TestRatesFromOutside compares what is answered with what a bucket gives, to the reply
// and to the nanosecond.
func TestRatesFromOutside(t *testing.T) {
	inPlaces(t, func(t *testing.T, p outside.Place) {
		clock := outside.NewClock()
		s := outside.New(t, outside.Config{Place: p, Clock: clock, Rules: outside.Rules(t, measuredSeed,
			"rate: {replies: 100, burst: 10}",
			"rate: 50",
			"rate: {replies: 100, burst: 10}, duplicate: {probability: 100%, copies: 2}",
			"rate: {replies: 100, burst: 10}, loss: 50%",
			"rate: 0.5",
		)})
		type bucket struct {
			interval time.Duration // until there is another reply
			burst    int
			each     int // answers to a request, if there are so many
			answers  int
			full     time.Duration // when the bucket is, as it is known from outside
		}
		buckets := []bucket{
			{10 * time.Millisecond, 10, 1, 0, 0},
			{20 * time.Millisecond, 50, 1, 0, 0},
			{10 * time.Millisecond, 10, 3, 0, 0},
			{10 * time.Millisecond, 10, 1, 0, 0},
			{2 * time.Second, 1, 1, 0, 0},
		}
		const lossy = 3
		now := time.Duration(0)
		round := 0
		ask := func(requests int) {
			for rule := range buckets {
				b := &buckets[rule]
				got := make(map[uint32]int)
				var rs []outside.Request
				for i := range requests {
					rs = append(rs, outside.Request{To: s.Address(rule, i), Number: uint32(i)<<16 | uint32(round), Data: []byte("data")})
				}
				s.Ask(rs...)
				s.Settle(func(a *outside.Answer) { got[a.Number]++ })
				for _, r := range rs {
					n := got[r.Number]
					b.answers += n
					// There are as many as the interval has passed since the bucket was empty.
					b.full = max(b.full, now)
					room := b.burst - int((b.full-now+b.interval-1)/b.interval)
					b.full += time.Duration(n) * b.interval
					want := min(b.each, room)
					if n != want && !(rule == lossy && n == 0) {
						t.Fatalf("rule %d, %v after the start: %d answers to a request, want %d", rule, now, n, want)
					}
				}
				if most := int(now/b.interval) + b.burst; b.answers > most {
					t.Fatalf("rule %d, %v after the start: %d answers, want %d at most", rule, now, b.answers, most)
				}
			}
			round++
		}
		for _, c := range []struct {
			step            time.Duration
			requests, times int
		}{
			{0, 60, 1},
			{10*time.Millisecond - 1, 5, 1}, // one nanosecond too early
			{1, 5, 1},
			{5 * time.Millisecond, 2, 400}, // more than there is, all the time
			{time.Second, 60, 2},
			{7 * time.Millisecond, 3, 50},
			{23 * time.Millisecond, 2, 30},
			{time.Minute, 60, 1},
		} {
			for range c.times {
				s.Step(c.step)
				now += c.step
				ask(c.requests)
			}
		}
		s.Close()
	})
}
