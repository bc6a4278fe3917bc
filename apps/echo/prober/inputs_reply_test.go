package prober_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"iomux/apps/echo/prober"
)

// replies are inputs that answer, well or badly.
func replies() []input {
	flip := func(i int) func([]byte) []byte {
		return func(d []byte) []byte { d[(i+len(d))%len(d)] ^= 0x40; return d }
	}
	all := []input{
		{name: "an honest reply", want: everywhere("reply"), now: sendReply(),
			check: func(r *request, got *prober.Result) bool {
				return got.From == r.dst && got.TTL == 61 && got.TOS == pick[uint8](r.v6, 8, 0) && got.Size == echoHeader+len(r.data) &&
					got.Err == nil && bytes.Equal(got.Data, r.data) && (got.Clock == prober.Kernel) == (r.pipe == nil)
			}},
		{name: "no answer", want: everywhere("timeout"), now: func(*request) [][]byte { return nil }},

		// Checksums.
		{name: "bad checksum", want: [6]string{"corrupt", "kernel", "corrupt", "kernel", "kernel", "corrupt"},
			now: sendSealed(func(m []byte) { m[2] ^= 1 })},
		{name: "bad checksum of the IP header", want: only4("kernel", "kernel", "timeout stray"),
			now: send(func(r *request) []byte { b := r.reply(); b[10] ^= 1; return b })},
		{name: "checksum 0x0000", want: everywhere("reply"), cfg: noData, begin: toZero, now: send(zeroChecksum(0))},
		{name: "checksum 0xFFFF for 0x0000", want: everywhere("reply"), cfg: noData, begin: toZero, now: send(zeroChecksum(0xFFFF))},

		// The message.
		{name: "code 7", want: everywhere("corrupt"), now: sendReply(func(e *echo) { e.code = 7 }),
			check: func(_ *request, got *prober.Result) bool { return got.Code == 7 && got.Offset == -1 && got.Err != nil }},
		{name: "half the payload", want: everywhere("truncated"), now: sendReply(with(func(d []byte) []byte { return d[:len(d)/2] }))},
		{name: "a payload of half a cookie", want: everywhere("truncated"), now: sendReply(with(func(d []byte) []byte { return d[:4] }))},
		{name: "empty payload", want: everywhere("truncated"), now: sendReply(with(func(d []byte) []byte { return nil }))},
		{name: "half the payload, cut off on its way", want: [6]string{"corrupt", "kernel", "corrupt", "kernel", "kernel", "corrupt"},
			now: send(func(r *request) []byte { b := r.reply(); return r.ip(r.dst, b[r.header():len(b)-28]) })},
		{name: "cut off on its way, as its IP header says", want: byTransport("kernel", "kernel", "timeout stray"),
			now: send(func(r *request) []byte { b := r.reply(); return b[:len(b)-28] })},
		{name: "longer payload", want: everywhere("corrupt"), now: sendReply(with(func(d []byte) []byte { return append(d, "more"...) }))},
		{name: "bytes behind the IP packet", want: everywhere("reply"), now: send(func(r *request) []byte { return append(r.reply(), "more"...) })},
		{name: "first byte flipped", want: everywhere("corrupt"), now: sendReply(with(flip(0))),
			check: func(_ *request, got *prober.Result) bool { return got.Offset == 0 && got.Err != nil }},
		{name: "last byte flipped", want: everywhere("corrupt"), now: sendReply(with(flip(-1))),
			check: func(r *request, got *prober.Result) bool { return got.Offset == len(r.data)-1 && got.Err != nil }},
		{name: "first byte flipped on its way", want: [6]string{"corrupt", "kernel", "corrupt", "kernel", "kernel", "corrupt"},
			now: sendSealed(func(m []byte) { m[echoHeader] ^= 0x40 })},
		{name: "last byte flipped on its way", want: [6]string{"corrupt", "kernel", "corrupt", "kernel", "kernel", "corrupt"},
			now: sendSealed(func(m []byte) { m[len(m)-1] ^= 0x40 })},
		{name: "sequence number 0xFFFF", want: everywhere("reply"), now: sendReply(),
			begin: func(p *prober.Prober, _ *cell) { p.Advance(0xFFFF) }},
		{name: "sequence number 0xFFFF that was never sent", want: everywhere("timeout forged"), now: sendReply(func(e *echo) { e.seq = 0xFFFF })},
		{name: "foreign identifier", want: byTransport("kernel", "kernel", "timeout stray"), now: sendReply(func(e *echo) { e.id ^= 1 })},
		{name: "4 bytes of ICMP", want: byTransport("kernel", "kernel", "timeout stray"),
			now: send(func(r *request) []byte { return r.seal(r.ip(r.dst, r.reply()[r.header():r.ipLen(4)])) })},
		{name: "no ICMP at all", want: byTransport("kernel", "kernel", "timeout stray"),
			now: send(func(r *request) []byte { return r.ip(r.dst, nil) })},
		{name: "the request itself", want: byTransport("kernel", "kernel", "timeout stray"),
			now: sendReply(func(e *echo) { e.typ = pick[byte](e.src.Is6(), 8, 128) })},
		{name: "another protocol", want: byTransport("kernel", "kernel", "timeout stray"),
			now: send(func(r *request) []byte { return r.ipTo(r.dst, r.src, 17, r.reply()[r.header():]) })},
		{name: "a reply to somebody else", want: byTransport("kernel", "kernel", "timeout stray"),
			now: sendReply(func(e *echo) { e.dst = e.dst.Next() })},
		{name: "65,507 bytes", want: everywhere("reply"), now: sendReply(),
			cfg: func(cfg *prober.Config, _ *cell) { cfg.Data = pattern(65507) }},
		{name: "65,507 bytes for 56", want: everywhere("corrupt"),
			now: sendReply(with(func(d []byte) []byte { return append(d, pattern(65507-len(d))...) }))},

		// IP headers.
		{name: "40 bytes of no-operation options", want: only4("reply", "reply", "reply"), now: options()},
		{name: "40 bytes of record route", want: only4("reply", "reply", "reply"), now: options(7, 39, 4)},
		{name: "40 bytes of timestamp option", want: only4("reply", "reply", "reply"), now: options(68, 40, 5, 0)},
		{name: "an option of 2 bytes", want: only4("reply", "reply", "reply"), now: options(0x88, 2)},
		{name: "an option of 1 byte", want: only4("kernel", "kernel", "timeout stray"), now: options(0x88, 1)},
		{name: "an option of no bytes", want: only4("kernel", "kernel", "timeout stray"), now: options(7, 0)},
		{name: "an option longer than the header", want: only4("kernel", "kernel", "timeout stray"), now: options(7, 41, 4)},
		{name: "an option whose length is cut off", want: only4("kernel", "kernel", "timeout stray"),
			now: options(append(bytes.Repeat([]byte{1}, 39), 7)...)},
		{name: "40 bytes of hop-by-hop option", want: only6("reply", "reply", "reply"),
			now: send(func(r *request) []byte { return r.withHeader(0, []byte{0: 58, 1: 4, 2: 0x1E, 3: 36, 39: 0}) })},
		{name: "more hop-by-hop padding than there is need for", want: only6("kernel", "kernel", "reply"),
			now: send(func(r *request) []byte { return r.withHeader(0, []byte{0: 58, 1: 4, 2: 1, 3: 36, 39: 0}) })},
		{name: "a hop-by-hop header longer than the packet", want: only6("kernel", "kernel", "timeout stray"),
			now: send(func(r *request) []byte { return r.withHeader(0, []byte{0: 58, 1: 200, 2: 1, 3: 36, 39: 0}) })},

		// Sources and destinations.
		{name: "wrong source", want: everywhere("timeout wrong_source"),
			now:   send(func(r *request) []byte { return r.reply(func(e *echo) { e.src = r.nobody() }) }),
			check: func(r *request, got *prober.Result) bool { return got.From == r.nobody() && got.Addr == r.dst }},
		{name: "wrong source and a flipped byte of the cookie", want: everywhere("timeout forged"),
			now: send(func(r *request) []byte { return r.reply(func(e *echo) { e.src = r.nobody(); e.data[0] ^= 0x40 }) })},
		{name: "wrong source and no payload", want: everywhere("timeout forged"),
			now: send(func(r *request) []byte { return r.reply(func(e *echo) { e.src, e.data = r.nobody(), nil }) })},
		{name: "multicast answered by many", want: everywhere("reply duplicate*2"), now: fromMany,
			cfg: probed(group4.String(), group6.String())},
		{name: "broadcast answered by many", want: only4("reply duplicate*2", "reply duplicate*2", "reply duplicate*2"), now: fromMany,
			cfg: probed("255.255.255.255", "")},

		// Times.
		{name: "three duplicates", want: everywhere("reply duplicate*3"),
			now: func(r *request) [][]byte { return [][]byte{r.reply(), r.reply(), r.reply(), r.reply()} }},
		{name: "reordered", want: everywhere("reordered"), after: sendReply()},
		{name: "late", want: everywhere("timeout late"), late: sendReply()},
		{name: "late and twice", want: everywhere("timeout late*2"),
			late: func(r *request) [][]byte { return [][]byte{r.reply(), r.reply()} }},
		{name: "a duplicate so late", want: everywhere("reply duplicate"), now: sendReply(), late: sendReply()},
		{name: "late after an error", want: everywhere("icmp_error late"), now: sendError(unreachable, 1, 0), late: sendReply()},

		// Cookies; more are in the test of forgers.
		{name: "forged cookie", want: everywhere("timeout forged"), now: sendReply(with(func(d []byte) []byte {
			for i := range cookieSize {
				d[i] ^= 0xFF
			}
			return d
		})), check: func(_ *request, got *prober.Result) bool { return got.Target == prober.NoTarget && got.RTT == 0 }},

		// Fragments.
		{name: "two fragments", want: byTransport("reply", "reply", "timeout stray*2"),
			now: func(r *request) [][]byte { return r.fragments(r.reply(), 32) }},
		{name: "two fragments, the second one first", want: byTransport("reply", "reply", "timeout stray*2"),
			now: func(r *request) [][]byte {
				f := r.fragments(r.reply(), 32)
				return [][]byte{f[1], f[0]}
			}},
		{name: "the first fragment only", want: byTransport("kernel", "kernel", "timeout stray"),
			now: func(r *request) [][]byte { return r.fragments(r.reply(), 32)[:1] }},
		{name: "the second fragment only", want: byTransport("kernel", "kernel", "timeout stray"),
			now: func(r *request) [][]byte { return r.fragments(r.reply(), 32)[1:] }},
		{name: "an atomic fragment", want: only6("reply", "reply", "reply"),
			now: func(r *request) [][]byte { return r.fragments(r.reply(), 0) }},
	}
	for _, at := range []struct {
		name string
		ns   int64
	}{{"zero", 0}, {"the future", 1 << 60}, {"the minimum", math.MinInt64}} {
		stamp := func(offset int) func(*echo) {
			return with(func(d []byte) []byte {
				binary.NativeEndian.PutUint64(d[offset:], uint64(at.ns/1e9))
				binary.NativeEndian.PutUint64(d[offset+8:], uint64(at.ns%1e9/1e3))
				return d
			})
		}
		all = append(all,
			input{name: "a time of " + at.name + " where ping(8) has it", want: everywhere("timeout forged"), now: sendReply(stamp(0))},
			input{name: "a time of " + at.name + " behind the cookie", want: everywhere("corrupt"), now: sendReply(stamp(cookieSize)),
				check: func(_ *request, got *prober.Result) bool { return got.Offset >= cookieSize && got.RTT >= 0 }})
	}
	return all
}

// options are those of IPv4, filled up to 40 bytes.
func options(b ...byte) func(*request) [][]byte {
	for len(b) < 40 {
		b = append(b, 1)
	}
	return send(func(r *request) []byte { return r.withHeader(0, b) })
}

// probed sets the target, which is an address of the cable otherwise.
func probed(four, six string) func(*prober.Config, *cell) {
	return func(cfg *prober.Config, c *cell) {
		cfg.Targets = list(pick(c.v6, four, six))
		cfg.Broadcast, cfg.Interface = true, c.device
	}
}

// fromMany is the reply of three hosts.
func fromMany(r *request) [][]byte {
	var all [][]byte
	for n := range 3 {
		all = append(all, r.reply(func(e *echo) { e.src = far(60_000+n, r.v6) }))
	}
	return all
}

// noData has probes without data.
func noData(cfg *prober.Config, _ *cell) { cfg.Data = nil }

// toZero makes the first probe one whose reply has the checksum 0x0000: it has no
// data, so that the sequence number makes the sum.
func toZero(p *prober.Prober, c *cell) {
	sum := uint32(c.id)
	if c.v6 {
		r := &request{v6: true}
		b := r.ipTo(c.target, near6, 58, []byte{129, 0, 0, 0, 0, 0, 0, 0})
		sum += uint32(^onesComplement(r.pseudo(b), b[header6:]))
	}
	for sum > 0xFFFF {
		sum = sum&0xFFFF + sum>>16
	}
	p.Advance(uint64(0xFFFF - sum))
}

// zeroChecksum is the reply with one of the two checksums that are right.
func zeroChecksum(checksum uint16) func(*request) []byte {
	return func(r *request) []byte {
		b := r.reply(with(func([]byte) []byte { return nil }))
		m := b[r.header():]
		if got := binary.BigEndian.Uint16(m[2:]); got != 0 && len(r.data) == 0 {
			panic(fmt.Sprintf("the checksum is %#x", got))
		}
		binary.BigEndian.PutUint16(m[2:], checksum)
		return b
	}
}
