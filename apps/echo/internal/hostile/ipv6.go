package hostile

import (
	"encoding/binary"
	"net/netip"
)

// header6 is what an IPv6 header has; zero values are usual ones.
type header6 struct {
	from, to   netip.Addr
	extensions []byte // of which each names the next
	next       uint8  // what the first of them is; without one what comes, 0 being ICMPv6
	stale      bool   // a checksum that is there already stays
}

// packet6 makes a packet of a header and a message.
func (t *Traffic) packet6(h *header6, message []byte) []byte {
	if !h.to.IsValid() {
		h.to = t.target(1)
	}
	if !h.from.IsValid() {
		h.from = t.source(1)
	}
	next := h.next
	if len(h.extensions) == 0 && next == 0 {
		next = 58
	}
	from, to := h.from.As16(), h.to.As16()
	if !h.stale && len(message) >= 4 {
		message[2], message[3] = 0, 0
		binary.BigEndian.PutUint16(message[2:], ^sum6(from, to, message))
	}
	b := append(t.buf[:0], make([]byte, 40)...)
	b = append(b, h.extensions...)
	b = append(b, message...)
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	b[6], b[7] = next, 64
	copy(b[8:], from[:])
	copy(b[24:], to[:])
	return b
}

// sum6 is the sum of a message and its pseudo header (RFC 8200, 8.1).
func sum6(from, to [16]byte, message []byte) uint16 {
	s := uint32(sum(0, from[:])) + uint32(sum(0, to[:])) + uint32(len(message)>>16) + uint32(len(message)&0xffff) + 58
	return sum(s&0xffff+s>>16, message)
}

// extension is an extension header of n times 8 bytes.
func extension(next byte, n int, content ...byte) []byte {
	b := make([]byte, 8*n)
	b[0], b[1] = next, byte(n-1)
	copy(b[2:], content)
	return b
}

// Extension headers.
const (
	hopByHop, routing, fragment, esp, authentication = 0, 43, 44, 50, 51
	icmp6, none, destination, mobility, hip, shim    = 58, 59, 60, 135, 139, 140
)

// kinds6 are what IPv6 can be plagued with.
var kinds6 = []kind{
	{"a request of a flood, IPv6", func(t *Traffic) []byte { return t.packet6(&header6{}, t.echo6(t.length())) }},
	{"a request from an address that must not be answered, IPv6", func(t *Traffic) []byte {
		to := t.target(1)
		return t.packet6(&header6{from: t.victim(1, to), to: to}, t.echo6(t.length()))
	}},
	{"a request from who is to answer it, IPv6", func(t *Traffic) []byte {
		to := t.target(1)
		return t.packet6(&header6{from: t.own(1, to), to: to}, t.echo6(t.length()))
	}},
	{"a request to an address that must not answer, IPv6", func(t *Traffic) []byte {
		from := t.source(1)
		return t.packet6(&header6{from: from, to: t.victim(1, from)}, t.echo6(t.length()))
	}},
	{"a bad ICMPv6 checksum", func(t *Traffic) []byte {
		b := t.packet6(&header6{}, t.echo6(t.length()))
		binary.BigEndian.PutUint16(b[42:], binary.BigEndian.Uint16(b[42:])^uint16(1+t.rng.IntN(0xfffe)))
		return b
	}},
	{"an IPv6 header with wrong bits", func(t *Traffic) []byte {
		b := t.packet6(&header6{}, t.echo6(t.length()))
		for range 1 + t.rng.IntN(8) {
			b[t.rng.IntN(40)] ^= 1 << t.rng.IntN(8)
		}
		return b
	}},
	{"an IPv6 packet of another length than it says", func(t *Traffic) []byte {
		b := t.packet6(&header6{}, t.echo6(t.length()))
		lies := []int{0, 1, 7, 8, len(b) - 41, len(b) - 39, 65535, t.rng.IntN(1 << 16)}
		binary.BigEndian.PutUint16(b[4:], uint16(lies[t.rng.IntN(len(lies))]))
		return b
	}},
	{"an IPv6 packet cut short", func(t *Traffic) []byte {
		b := t.packet6(&header6{}, t.echo6(t.length()))
		return b[:1+t.rng.IntN(len(b))]
	}},
	{"a chain of extension headers", func(t *Traffic) []byte {
		types := []byte{hopByHop, routing, fragment, esp, authentication, none, destination, mobility, hip, shim}
		var chain []byte
		first := byte(icmp6)
		for range 1 + t.rng.IntN(10) {
			e := extension(first, 1+t.rng.IntN(3))
			first = types[t.rng.IntN(len(types))]
			switch t.rng.IntN(3) {
			case 0:
				t.fill(e[2:])
			case 1: // a length that lies
				e[1] = byte(t.rng.Uint32())
			}
			if first == fragment && t.chance(2) {
				e = append(e[:2], 0, 0, 0, 0, 0, byte(t.rng.Uint32()))
				e[1] = 0
			}
			chain = append(e, chain...)
		}
		return t.packet6(&header6{extensions: chain, next: first}, t.echo6(t.rng.IntN(64)))
	}},
	{"one extension header", func(t *Traffic) []byte {
		types := []byte{hopByHop, routing, authentication, destination, mobility}
		e := extension(icmp6, 1+t.rng.IntN(4))
		switch t.rng.IntN(4) {
		case 0: // unknown options, with each of what there is to do about them
			e[2], e[3] = byte(t.rng.Uint32()), byte(len(e)-4)
		case 1: // options whose lengths lie
			e[2], e[3] = 1, byte(t.rng.Uint32())
		case 2:
			t.fill(e[2:])
		}
		return t.packet6(&header6{extensions: e, next: types[t.rng.IntN(len(types))]}, t.echo6(t.rng.IntN(64)))
	}},
	{"a routing header with ways to go", func(t *Traffic) []byte {
		e := extension(icmp6, 3, byte(t.rng.IntN(5)), byte(t.rng.IntN(3)))
		via := t.target(1).As16()
		copy(e[8:], via[:])
		return t.packet6(&header6{extensions: e, next: routing}, t.echo6(t.rng.IntN(64)))
	}},
	{"a jumbogram", func(t *Traffic) []byte {
		e := extension(icmp6, 1, 0xc2, 4, 0, 1, 0, 8)
		b := t.packet6(&header6{extensions: e, next: hopByHop}, t.echo6(t.rng.IntN(64)))
		if t.chance(2) {
			b[4], b[5] = 0, 0
		}
		return b
	}},
	{"a fragment, IPv6", func(t *Traffic) []byte {
		offsets := []uint16{0, 8, 16, 800, 0xfff0, 0xfff8, uint16(t.rng.IntN(1<<16)) &^ 7}
		f := offsets[t.rng.IntN(len(offsets))]
		if f == 0 || t.chance(2) {
			f |= 1
		}
		e := extension(icmp6, 1, byte(f>>8), byte(f), 0, 0, 0, byte(t.rng.IntN(4)))
		return t.packet6(&header6{extensions: e, next: fragment, stale: t.chance(2)}, t.echo6(t.rng.IntN(64)&^7))
	}},
	{"every ICMPv6 type and code", func(t *Traffic) []byte {
		return t.packet6(&header6{}, t.message(byte(t.rng.Uint32()), byte(t.rng.Uint32()), t.length()))
	}},
	{"an echo reply, IPv6", func(t *Traffic) []byte { return t.packet6(&header6{}, t.message(129, 0, t.length())) }},
	{"an ICMPv6 error about a reply of ours", func(t *Traffic) []byte {
		quoted := append([]byte{}, t.packet6(&header6{from: t.target(1), to: t.source(1)}, t.message(129, 0, 20))...)
		m := t.message(byte(1+t.rng.IntN(4)), byte(t.rng.IntN(8)), len(quoted))
		copy(m[8:], quoted)
		return t.packet6(&header6{}, m)
	}},
	{"less than an ICMPv6 header", func(t *Traffic) []byte { return t.packet6(&header6{}, t.echo6(0)[:t.rng.IntN(8)]) }},
	{"another protocol, IPv6", func(t *Traffic) []byte {
		return t.packet6(&header6{next: byte(1 + t.rng.IntN(255)), stale: true}, t.message(128, 0, t.length()))
	}},
	{"the longest packet, IPv6", func(t *Traffic) []byte { return t.packet6(&header6{}, t.echo6(t.cfg.MTU-48)) }},
	{"noise, IPv6", func(t *Traffic) []byte {
		b := t.buf[:1+t.rng.IntN(200)]
		t.fill(b)
		b[0] = b[0]&15 | 0x60
		return b
	}},
}
