package hostile

import (
	"encoding/binary"
	"net/netip"
)

// header4 is what an IPv4 header has; zero values are usual ones.
type header4 struct {
	from, to netip.Addr
	options  []byte // a multiple of 4 bytes
	fragment uint16 // flags and offset
	protocol uint8  // 0 is ICMP, whose checksum is filled in
	stale    bool   // a checksum that is there already stays
}

// packet4 makes a packet of a header and a message.
func (t *Traffic) packet4(h *header4, message []byte) []byte {
	if !h.to.IsValid() {
		h.to = t.target(0)
	}
	if !h.from.IsValid() {
		h.from = t.source(0)
	}
	if h.protocol == 0 {
		h.protocol = 1
		if !h.stale && len(message) >= 4 {
			message[2], message[3] = 0, 0
			binary.BigEndian.PutUint16(message[2:], ^sum(0, message))
		}
	}
	n := 20 + len(h.options)
	b := append(t.buf[:0], make([]byte, 20)...)
	b = append(b, h.options...)
	b = append(b, message...)
	b[0] = 0x40 | byte(n/4)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[4:], uint16(t.rng.Uint32()))
	binary.BigEndian.PutUint16(b[6:], h.fragment)
	b[8], b[9] = 64, h.protocol
	from, to := h.from.As4(), h.to.As4()
	copy(b[12:], from[:])
	copy(b[16:], to[:])
	resum4(b)
	return b
}

// resum4 makes the checksum of a header right, as long as it says it is and there is.
func resum4(b []byte) {
	if len(b) < 20 {
		return
	}
	n := min(max(4*int(b[0]&15), 20), len(b))
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^sum(0, b[:n]))
}

// sum is the one's complement sum of RFC 1071, of bytes that follow an even number.
func sum(start uint32, b []byte) uint16 {
	s := uint64(start)
	for ; len(b) >= 4; b = b[4:] {
		s += uint64(binary.BigEndian.Uint32(b))
	}
	var rest [4]byte
	copy(rest[:], b)
	s += uint64(binary.BigEndian.Uint32(rest[:]))
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// kinds4 are what IPv4 can be plagued with.
var kinds4 = []kind{
	{"a request of a flood, IPv4", func(t *Traffic) []byte { return t.packet4(&header4{}, t.echo4(t.length())) }},
	{"a request from an address that must not be answered, IPv4", func(t *Traffic) []byte {
		to := t.target(0)
		return t.packet4(&header4{from: t.victim(0, to), to: to}, t.echo4(t.length()))
	}},
	{"a request from who is to answer it, IPv4", func(t *Traffic) []byte {
		to := t.target(0)
		return t.packet4(&header4{from: t.own(0, to), to: to}, t.echo4(t.length()))
	}},
	{"a request to an address that must not answer, IPv4", func(t *Traffic) []byte {
		from := t.source(0)
		return t.packet4(&header4{from: from, to: t.victim(0, from)}, t.echo4(t.length()))
	}},
	{"a bad ICMP checksum, IPv4", func(t *Traffic) []byte {
		b := t.packet4(&header4{}, t.echo4(t.length()))
		binary.BigEndian.PutUint16(b[22:], binary.BigEndian.Uint16(b[22:])^uint16(1+t.rng.IntN(0xfffe)))
		return b
	}},
	{"a bad IPv4 header checksum", func(t *Traffic) []byte {
		b := t.packet4(&header4{}, t.echo4(t.length()))
		binary.BigEndian.PutUint16(b[10:], binary.BigEndian.Uint16(b[10:])^uint16(1+t.rng.IntN(0xfffe)))
		return b
	}},
	{"an IPv4 header with wrong bits and a good checksum", func(t *Traffic) []byte {
		b := t.packet4(&header4{}, t.echo4(t.length()))
		for range 1 + t.rng.IntN(8) {
			b[t.rng.IntN(20)] ^= 1 << t.rng.IntN(8)
		}
		resum4(b)
		return b
	}},
	{"an IPv4 header of another length than it says", func(t *Traffic) []byte {
		b := t.packet4(&header4{}, t.echo4(t.length()))
		b[0] = 0x40 | byte(t.rng.IntN(16))
		resum4(b)
		return b
	}},
	{"an IPv4 packet of another length than it says", func(t *Traffic) []byte {
		b := t.packet4(&header4{}, t.echo4(t.length()))
		lies := []int{0, 1, 19, 20, 21, 27, 28, len(b) - 1, len(b) + 1, 65535, t.rng.IntN(1 << 16)}
		binary.BigEndian.PutUint16(b[2:], uint16(lies[t.rng.IntN(len(lies))]))
		resum4(b)
		return b
	}},
	{"an IPv4 packet cut short", func(t *Traffic) []byte {
		b := t.packet4(&header4{}, t.echo4(t.length()))
		return b[:1+t.rng.IntN(len(b))]
	}},
	{"padding behind an IPv4 packet", func(t *Traffic) []byte {
		b := t.packet4(&header4{}, t.echo4(t.rng.IntN(64)))
		return append(b, make([]byte, 1+t.rng.IntN(64))...)
	}},
	{"IPv4 options of any content", func(t *Traffic) []byte {
		o := make([]byte, 4*(1+t.rng.IntN(10)))
		t.fill(o)
		return t.packet4(&header4{options: o}, t.echo4(t.rng.IntN(64)))
	}},
	{"IPv4 options whose lengths lie", func(t *Traffic) []byte {
		o := make([]byte, 4*(1+t.rng.IntN(10))) // of end-of-options bytes
		types := []byte{7, 68, 130, 131, 133, 134, 136, 137, 148, 255}
		lies := []byte{0, 1, 2, 3, byte(len(o)), byte(len(o) + 1), 39, 40, 41, 255}
		for at := 0; at+3 <= len(o); at += 3 + t.rng.IntN(4) {
			o[at], o[at+1], o[at+2] = types[t.rng.IntN(len(types))], lies[t.rng.IntN(len(lies))], byte(t.rng.Uint32())
		}
		return t.packet4(&header4{options: o}, t.echo4(t.rng.IntN(64)))
	}},
	{"a source route", func(t *Traffic) []byte {
		o := []byte{1, 131, 7, 4, 127, 0, 0, 1}
		if t.chance(2) {
			o[1] = 137
		}
		if t.chance(2) {
			o[3] = 8 // at its end
		}
		return t.packet4(&header4{options: o}, t.echo4(t.rng.IntN(64)))
	}},
	{"40 bytes of harmless options", func(t *Traffic) []byte {
		o := make([]byte, 40)
		switch t.rng.IntN(3) {
		case 0: // no operation
			for i := range o {
				o[i] = 1
			}
		case 1: // record route
			o[0], o[1], o[2] = 7, 39, 4
		default: // time stamps
			o[0], o[1], o[2] = 68, 40, 5
		}
		return t.packet4(&header4{options: o}, t.echo4(t.rng.IntN(64)))
	}},
	{"a fragment, IPv4", func(t *Traffic) []byte {
		const more = 0x2000
		offsets := []uint16{0, 1, 2, 3, 100, 0x1ffe, 0x1fff, uint16(t.rng.IntN(0x2000))}
		f := offsets[t.rng.IntN(len(offsets))]
		if f == 0 || t.chance(2) {
			f |= more
		}
		size := 8 * t.rng.IntN(8)
		if t.chance(4) {
			size = t.rng.IntN(64) // not a multiple of 8
		}
		b := t.packet4(&header4{fragment: f, stale: t.chance(2)}, t.echo4(size))
		binary.BigEndian.PutUint16(b[4:], uint16(t.rng.IntN(4))) // so that they overlap
		resum4(b)
		return b
	}},
	{"every ICMP type and code, IPv4", func(t *Traffic) []byte {
		return t.packet4(&header4{}, t.message(byte(t.rng.Uint32()), byte(t.rng.Uint32()), t.length()))
	}},
	{"an echo reply, IPv4", func(t *Traffic) []byte { return t.packet4(&header4{}, t.message(0, 0, t.length())) }},
	{"an ICMP error about a reply of ours, IPv4", func(t *Traffic) []byte {
		quoted := append([]byte{}, t.packet4(&header4{from: t.target(0), to: t.source(0)}, t.message(0, 0, 20))...)
		kinds := []byte{3, 4, 5, 11, 12}
		m := t.message(kinds[t.rng.IntN(len(kinds))], byte(t.rng.IntN(16)), len(quoted))
		copy(m[8:], quoted)
		return t.packet4(&header4{}, m)
	}},
	{"less than an ICMP header, IPv4", func(t *Traffic) []byte { return t.packet4(&header4{}, t.echo4(0)[:t.rng.IntN(8)]) }},
	{"another protocol, IPv4", func(t *Traffic) []byte {
		return t.packet4(&header4{protocol: byte(2 + t.rng.IntN(254))}, t.echo4(t.length()))
	}},
	{"the longest packet, IPv4", func(t *Traffic) []byte { return t.packet4(&header4{}, t.echo4(t.cfg.MTU-28)) }},
	{"noise, IPv4", func(t *Traffic) []byte {
		b := t.buf[:1+t.rng.IntN(200)]
		t.fill(b)
		b[0] = b[0]&15 | 0x40
		return b
	}},
}
