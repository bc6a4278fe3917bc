// Package hostile makes the packets that nobody wishes to get, for tests of what answers
// pings: headers, options and extension headers whose lengths lie, fragments, forged
// addresses, bad checksums, every ICMP type, and floods from a million sources. It also
// judges, on its own, what may be answered and what is a fair answer.
//
//	traffic := hostile.New(hostile.Config{
//		Seed: 1,
//		To:   []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15")},
//		From: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10")},
//	})
//	for range 1_000_000 {
//		packet, kind := traffic.Next()
//		answer := ask(packet)
//		if err := traffic.Judge(packet, answer); err != nil {
//			t.Errorf("%s: %v", kind, err)
//		}
//	}
//
// The same seed makes the same packets. Nothing in here is for sending to anybody else's
// network.
package hostile

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// Config says what the traffic is like.
type Config struct {
	Seed uint64
	// To are the prefixes that answer, and From those of the flood, at most one of each
	// family: without one, there is no traffic of that family. Of IPv6 the sources are
	// networks of 64 bits.
	To, From []netip.Prefix
	// Victims are further addresses that must never get an answer nor send one, such as
	// the broadcast address of a network. They occur as forged sources and as
	// destinations; Own, the addresses of who answers, as sources only.
	Victims, Own []netip.Addr
	// MTU is the length of the longest packet, in bytes; 0 is 65,535.
	MTU int
}

// Traffic makes packets. It belongs to one goroutine.
type Traffic struct {
	cfg     Config
	rng     *rand.Rand
	to      [2]netip.Prefix // by family
	from    [2]netip.Prefix
	victims [2][]netip.Addr
	kinds   []kind
	sources uint32 // how many sources the flood has had
	buf     []byte
	body    []byte
}

// kind is one kind of hostility.
type kind struct {
	name string
	make func(*Traffic) []byte
}

// New makes traffic.
func New(cfg Config) *Traffic {
	if cfg.MTU == 0 {
		cfg.MTU = 1<<16 - 1
	}
	t := &Traffic{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 6)), buf: make([]byte, 0, 1<<17), body: make([]byte, 0, 1<<17)}
	for _, p := range cfg.To {
		t.to[family(p.Addr())] = p
	}
	for _, p := range cfg.From {
		t.from[family(p.Addr())] = p
	}
	t.victims = [2][]netip.Addr{slices.Clone(victims[0]), slices.Clone(victims[1])}
	for _, a := range cfg.Victims {
		t.victims[family(a)] = append(t.victims[family(a)], a)
	}
	for f, kinds := range [][]kind{kinds4, kinds6} {
		if t.to[f].IsValid() && t.from[f].IsValid() {
			t.kinds = append(t.kinds, kinds...)
		}
	}
	if len(t.kinds) == 0 {
		panic("hostile: no family has both To and From")
	}
	return t
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Next returns the next packet, from its IP header on, which is valid until the next
// call, and what kind it is of.
func (t *Traffic) Next() (packet []byte, kind string) {
	k := &t.kinds[t.rng.IntN(len(t.kinds))]
	return t.fit(k.make(t)), k.name
}

// Flood returns a faultless request of size bytes of data from the next of a million
// sources, of IPv4 or IPv6, valid until the next call.
func (t *Traffic) Flood(v6 bool, size int) []byte {
	if v6 {
		return t.packet6(&header6{}, t.echo6(size))
	}
	return t.packet4(&header4{}, t.echo4(size))
}

func (t *Traffic) fit(b []byte) []byte { return b[:min(len(b), t.cfg.MTU)] }

// Sources is how many sources a flood has.
const Sources = 1 << 20

// source is that of the next request of a flood: all are had before one comes again.
func (t *Traffic) source(f int) netip.Addr {
	const step = 0x9e3779b1 // odd, so that it visits all
	n := uint64(t.sources*step) % Sources
	t.sources++
	return t.nth(t.from[f], n)
}

// nth is an address in the n-th IPv4 address or IPv6 network of 64 bits of a prefix.
func (t *Traffic) nth(p netip.Prefix, n uint64) netip.Addr {
	if p.Addr().Is4() {
		b := p.Addr().As4()
		most := uint64(1)<<(32-p.Bits()) - 1
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|uint32(n&most))
		return netip.AddrFrom4(b)
	}
	b := p.Addr().As16()
	most := uint64(1)<<(64-min(p.Bits(), 64)) - 1
	binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])|n&most)
	binary.BigEndian.PutUint64(b[8:], t.rng.Uint64()|1)
	return netip.AddrFrom16(b)
}

// target is an address that answers.
func (t *Traffic) target(f int) netip.Addr {
	p := t.to[f]
	b := p.Addr().AsSlice()
	for i := range b {
		free := byte(0xff)
		if whole := p.Bits() - 8*i; whole >= 8 {
			free = 0
		} else if whole > 0 {
			free >>= whole
		}
		b[i] |= byte(t.rng.Uint32()) & free
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// victim is an address that must not be answered, or to which a request must not be: the
// other address of the request among them.
func (t *Traffic) victim(f int, other netip.Addr) netip.Addr {
	if n := t.rng.IntN(len(t.victims[f]) + 1); n < len(t.victims[f]) {
		return t.victims[f][n]
	}
	return other
}

// own is an address of who answers.
func (t *Traffic) own(f int, to netip.Addr) netip.Addr {
	if len(t.cfg.Own) > 0 {
		if a := t.cfg.Own[t.rng.IntN(len(t.cfg.Own))]; family(a) == f {
			return a
		}
	}
	return to
}

var victims = [2][]netip.Addr{
	addrs("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "224.0.0.1", "239.255.255.250", "255.255.255.255"),
	addrs("::", "::1", "ff02::1", "ff0e::101", "::ffff:192.0.2.1", "::ffff:127.0.0.1"),
}

func addrs(texts ...string) (all []netip.Addr) {
	for _, s := range texts {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

// length is one of the data of a request: mostly short, at times as long as can be.
func (t *Traffic) length() int {
	switch t.rng.IntN(16) {
	case 0:
		return 0
	case 1:
		return t.rng.IntN(1472)
	case 2:
		return t.rng.IntN(max(t.cfg.MTU-48, 1))
	}
	return t.rng.IntN(64)
}

func (t *Traffic) chance(n int) bool { return t.rng.IntN(n) == 0 }

func (t *Traffic) fill(b []byte) {
	for i := range b {
		b[i] = byte(t.rng.Uint32())
	}
}

// echo4 and echo6 are requests with so much data, whose length is their identifier.
func (t *Traffic) echo4(size int) []byte { return t.message(8, 0, size) }
func (t *Traffic) echo6(size int) []byte { return t.message(128, 0, size) }

// message is an ICMP message without its checksum.
func (t *Traffic) message(kind, code byte, size int) []byte {
	b := t.body[:8+size]
	b[0], b[1], b[2], b[3] = kind, code, 0, 0
	binary.BigEndian.PutUint16(b[4:], uint16(size))
	binary.BigEndian.PutUint16(b[6:], uint16(t.rng.Uint32()))
	copy(b[8:], pattern)
	return b
}

// pattern is the data of messages.
var pattern = func() []byte {
	b := make([]byte, 1<<16)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}()

// Request is a faultless request, appended to dst.
func Request(dst []byte, from, to netip.Addr, id, seq uint16, data []byte) []byte {
	t := Traffic{body: make([]byte, 0, 8+len(data)), rng: rand.New(rand.NewPCG(0, 0))}
	kind := byte(8)
	if to.Is6() {
		kind = 128
	}
	m := t.message(kind, 0, len(data))
	binary.BigEndian.PutUint16(m[4:], id)
	binary.BigEndian.PutUint16(m[6:], seq)
	copy(m[8:], data)
	if to.Is6() {
		return append(dst, t.packet6(&header6{from: from, to: to}, m)...)
	}
	return append(dst, t.packet4(&header4{from: from, to: to}, m)...)
}
