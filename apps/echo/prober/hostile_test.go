package prober_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
)

// request is an echo request as the peer sees it. What is answered is made here by
// hand, byte by byte, as the codecs of the prober make nothing that is wrong.
type request struct {
	v6       bool
	src, dst netip.Addr
	id, seq  uint16
	data     []byte
	packet   []byte // all of it, from the IP header on
	pipe     *pipe  // the prober's end, if it is one
}

const (
	header4, header6 = 20, 40 // lengths in bytes
	echoHeader       = 8
)

// parseRequest returns nil if the packet is no echo request.
func parseRequest(b []byte) *request {
	r := &request{packet: b}
	switch {
	case len(b) >= header4+echoHeader && b[0] == 0x45 && b[9] == 1 && b[header4] == 8:
		r.src, r.dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	case len(b) >= header6+echoHeader && b[0]>>4 == 6 && b[6] == 58 && b[header6] == 128:
		r.v6, r.src, r.dst = true, netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	default:
		return nil
	}
	m := b[r.header():]
	r.id, r.seq, r.data = binary.BigEndian.Uint16(m[4:]), binary.BigEndian.Uint16(m[6:]), m[echoHeader:]
	return r
}

// pick is the first for IPv4 and the second for IPv6.
func pick[T any](v6 bool, four, six T) T {
	if v6 {
		return six
	}
	return four
}

func (r *request) header() int        { return pick(r.v6, header4, header6) }
func (r *request) router() netip.Addr { return pick(r.v6, hop4, hop6) }
func (r *request) nobody() netip.Addr { return pick(r.v6, nobody4, nobody6) }

// ip makes the IP packet with a payload, which is ICMP.
func (r *request) ip(src netip.Addr, payload []byte) []byte {
	return r.ipTo(src, r.src, pick[byte](r.v6, 1, 58), payload)
}

func (r *request) ipTo(src, dst netip.Addr, protocol byte, payload []byte) []byte {
	if r.v6 {
		h := []byte{0: 0x60, 6: protocol, 7: 61, 39: 0}
		binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
		copy(h[8:], src.AsSlice())
		copy(h[24:], dst.AsSlice())
		return append(h, payload...)
	}
	h := []byte{0: 0x45, 1: 8, 4: 0x78, 5: 0x65, 8: 61, 9: protocol, 19: 0}
	binary.BigEndian.PutUint16(h[2:], uint16(header4+len(payload)))
	copy(h[12:], src.AsSlice())
	copy(h[16:], dst.AsSlice())
	return sealHeader(append(h, payload...))
}

// sealHeader sets the checksum of an IPv4 header.
func sealHeader(b []byte) []byte {
	n := int(b[0]&0xF) * 4
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], onesComplement(b[:n]))
	return b
}

// seal sets the checksum of the ICMP message in a packet without options.
func (r *request) seal(b []byte) []byte {
	m := b[r.header():]
	if len(m) < 4 {
		return b
	}
	m[2], m[3] = 0, 0
	binary.BigEndian.PutUint16(m[2:], onesComplement(r.pseudo(b), m))
	return b
}

// pseudo is what the checksum of ICMPv6 covers besides the message (RFC 8200, 8.1).
func (r *request) pseudo(b []byte) []byte {
	if !r.v6 {
		return nil
	}
	p := append(bytes.Clone(b[8:40]), make([]byte, 8)...)
	binary.BigEndian.PutUint32(p[32:], uint32(len(b)-header6))
	p[39] = 58
	return p
}

// onesComplement is the checksum of RFC 1071. All parts but the last are even.
func onesComplement(parts ...[]byte) uint16 {
	var sum uint64
	for _, b := range parts {
		for i, c := range b {
			sum += uint64(c) << (8 * (1 - i%2))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xFFFF + sum>>16
	}
	return ^uint16(sum)
}

// echo is what a reply says.
type echo struct {
	src, dst  netip.Addr
	typ, code byte
	id, seq   uint16
	data      []byte
}

// reply makes the reply to the request, once change has changed it.
func (r *request) reply(change ...func(*echo)) []byte {
	e := &echo{src: r.dst, dst: r.src, typ: pick[byte](r.v6, 0, 129), id: r.id, seq: r.seq, data: bytes.Clone(r.data)}
	for _, f := range change {
		f(e)
	}
	m := []byte{e.typ, e.code, 0, 0, byte(e.id >> 8), byte(e.id), byte(e.seq >> 8), byte(e.seq)}
	return r.seal(r.ipTo(e.src, e.dst, pick[byte](r.v6, 1, 58), append(m, e.data...)))
}

// replySealed makes the reply and changes the packet afterwards, so that its
// checksum is that of the original.
func (r *request) replySealed(change func(message []byte)) []byte {
	b := r.reply()
	change(b[r.header():])
	return b
}

// withHeader is the reply with other bytes in front of the ICMP message: options of
// IPv4, or extension headers of IPv6, the first of which has that number.
func (r *request) withHeader(first byte, more []byte) []byte {
	b := r.reply()
	m := slices.Concat(more, b[r.header():])
	if r.v6 {
		b = append(b[:header6], m...)
		b[6] = first
		binary.BigEndian.PutUint16(b[4:], uint16(len(m)))
		return b
	}
	b = append(b[:header4], m...)
	b[0] = 0x40 | byte(header4+len(more))/4
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return sealHeader(b)
}

// Kinds of ICMP errors: their types in IPv4 and IPv6.
type kind [2]byte

var (
	unreachable = kind{3, 1}
	tooBig      = kind{3, 2}
	exceeded    = kind{11, 3}
	parameter   = kind{12, 4}
	redirect    = kind{5, 137}
	quench      = kind{4, 0}
)

// error makes an ICMP error from the router: its 4 bytes that depend on the type,
// and the quote.
func (r *request) error(k kind, code byte, word uint32, quote []byte) []byte {
	m := []byte{pick(r.v6, k[0], k[1]), code, 0, 0}
	m = append(binary.BigEndian.AppendUint32(m, word), quote...)
	return r.seal(r.ip(r.router(), m))
}

// quote is the request as a router has it that quotes it, up to n bytes of its
// ICMP message, once change has changed it.
func (r *request) quote(n int, change ...func(packet []byte)) []byte {
	b := bytes.Clone(r.packet)
	b[pick(r.v6, 8, 7)]-- // time to live
	if !r.v6 {
		sealHeader(b)
	}
	for _, f := range change {
		f(b)
	}
	return b[:min(r.header()+n, len(b))]
}

// wholeQuote is as much as errors quote.
const wholeQuote = 500

// fragments divides the packet after n bytes of its payload, a multiple of 8.
func (r *request) fragments(b []byte, n int) [][]byte {
	h := r.header()
	part := func(from, to int, more bool) []byte {
		if r.v6 {
			f := make([]byte, 8)
			f[0] = b[6]
			word := uint16(from)
			if more {
				word |= 1
			}
			binary.BigEndian.PutUint16(f[2:], word)
			binary.BigEndian.PutUint32(f[4:], 0x12345678)
			p := slices.Concat(b[:h], f, b[h+from:h+to])
			p[6] = 44
			binary.BigEndian.PutUint16(p[4:], uint16(len(p)-h))
			return p
		}
		p := slices.Concat(b[:h], b[h+from:h+to])
		word := uint16(from / 8)
		if more {
			word |= 0x2000
		}
		binary.BigEndian.PutUint16(p[6:], word)
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		return sealHeader(p)
	}
	if n == 0 {
		return [][]byte{part(0, len(b)-h, false)}
	}
	return [][]byte{part(0, n, true), part(n, len(b)-h, false)}
}
