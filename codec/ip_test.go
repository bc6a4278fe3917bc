package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"testing"

	"iomux/codec"
)

// onIPv4 returns the IPv4 packet, with its length and the checksum of its header
// put right.
func onIPv4(header string, payload []byte) []byte {
	b := append(unhex(header), payload...)
	n := 4 * int(b[0]&0xF)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[10], b[11] = 0, 0
	sum := slowChecksum(b[:n])
	b[10], b[11] = byte(sum>>8), byte(sum)
	return b
}

// onIPv6 returns the IPv6 packet, with its length put right.
func onIPv6(header string, payload []byte) []byte {
	b := append(unhex(header), payload...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

const (
	headerV4 = "4500 0000 7865 4000 4001 0000 c0000201 c63364ff"
	// between the same documentation addresses of IPv6
	addressesV6 = "20010db8ffff00000000000000000001 20010db80000000000000000ffff0002"
)

var packetsV4 = []struct {
	name   string
	bytes  []byte
	packet codec.Packet
}{
	{"echo request", onIPv4(headerV4, pingRequest),
		codec.Packet{Source: addrV4, Destination: peerV4, Protocol: 1, TTL: 64, ID: 0x7865, DontFragment: true, Payload: pingRequest}},
	{"no payload", onIPv4("45c0 0000 0000 0000 ffff 0000 c0000201 c63364ff", nil),
		codec.Packet{Source: addrV4, Destination: peerV4, Protocol: 255, TTL: 255, TOS: 0xc0}},
	{"record route and NOP", onIPv4("4700 0000 0001 0000 0111 0000 c0000201 c63364ff 0707 04 00000000 01", []byte("hi")),
		codec.Packet{Source: addrV4, Destination: peerV4, Protocol: 17, TTL: 1, ID: 1, Options: unhex("0707 04 00000000 01"), Payload: []byte("hi")}},
	{"40 bytes of options, the last of 2 bytes", onIPv4("4f00 0000 0001 0000 0111 0000 c0000201 c63364ff 4426 05"+string(bytes.Repeat([]byte("00"), 35))+"8802", nil),
		codec.Packet{Source: addrV4, Destination: peerV4, Protocol: 17, TTL: 1, ID: 1, Options: append(append(unhex("4426 05"), make([]byte, 35)...), 0x88, 2)}},
	{"the first fragment", onIPv4("4500 0000 0001 2000 0111 0000 c0000201 c63364ff", pattern(8)),
		codec.Packet{Source: addrV4, Destination: peerV4, Protocol: 17, TTL: 1, ID: 1, More: true, Fragment: codec.First, Payload: pattern(8)}},
	{"a later fragment", onIPv4("4500 0000 0001 2001 0111 0000 c0000201 c63364ff", pattern(8)),
		codec.Packet{Source: addrV4, Destination: peerV4, Protocol: 17, TTL: 1, ID: 1, More: true, Offset: 8, Fragment: codec.Later, Payload: pattern(8)}},
	{"the last fragment there can be", onIPv4("4500 0000 0001 1ffd 0111 0000 c0000201 c63364ff", pattern(3)),
		codec.Packet{Source: addrV4, Destination: peerV4, Protocol: 17, TTL: 1, ID: 1, Offset: 65512, Fragment: codec.Later, Payload: pattern(3)}},
}

var packetsV6 = []struct {
	name   string
	bytes  []byte
	packet codec.Packet
}{
	{"echo request", onIPv6("6abcdef1 0000 3aff"+addressesV6, pingRequestV6),
		codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 58, NextHeader: 58, TTL: 255, TOS: 0xab, FlowLabel: 0xcdef1, Payload: pingRequestV6}},
	{"no payload", onIPv6("60000000 0000 3b00"+addressesV6, nil),
		codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 59, NextHeader: 59}},
	{"hop-by-hop options, routing, destination options", onIPv6("60000000 0000 0001"+addressesV6, slices.Concat(unhex("2b00 050200000100 3c00 000000000000 3a01 0104000000000104 000000000000"), pingRequestV6)),
		codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 58, NextHeader: 0, TTL: 1,
			ExtensionHeaders: unhex("2b00 050200000100 3c00 000000000000 3a01 0104000000000104 000000000000"), Payload: pingRequestV6}},
	{"an authentication header", onIPv6("60000000 0000 3301"+addressesV6, slices.Concat(unhex("1104 0000 00000000 00000000 00000000 00000000 00000000"), pattern(9))),
		codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 17, NextHeader: 51, TTL: 1,
			ExtensionHeaders: unhex("1104 0000 00000000 00000000 00000000 00000000 00000000"), Payload: pattern(9)}},
	{"an atomic fragment", onIPv6("60000000 0000 2c01"+addressesV6, append(unhex("3a00 0000 deadbeef"), pattern(9)...)),
		codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 58, NextHeader: 44, TTL: 1, ID: 0xdeadbeef, Fragment: codec.Atomic,
			ExtensionHeaders: unhex("3a00 0000 deadbeef"), Payload: pattern(9)}},
	{"the first fragment, with destination options", onIPv6("60000000 0000 2c01"+addressesV6, append(unhex("3c00 0001 deadbeef 3a00 010400000000"), pattern(8)...)),
		codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 58, NextHeader: 44, TTL: 1, ID: 0xdeadbeef, Fragment: codec.First, More: true,
			ExtensionHeaders: unhex("3c00 0001 deadbeef 3a00 010400000000"), Payload: pattern(8)}},
	{"a later fragment, which may look like an extension header", onIPv6("60000000 0000 2c01"+addressesV6, append(unhex("3c00 fff8 deadbeef"), pattern(7)...)),
		codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 60, NextHeader: 44, TTL: 1, ID: 0xdeadbeef, Fragment: codec.Later, Offset: 65528,
			ExtensionHeaders: unhex("3c00 fff8 deadbeef"), Payload: pattern(7)}},
	{"hop-by-hop options in the second place are none", onIPv6("60000000 0000 3c01"+addressesV6, unhex("0000 010400000000 3a00 010400000000")),
		codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 0, NextHeader: 60, TTL: 1,
			ExtensionHeaders: unhex("0000 010400000000"), Payload: unhex("3a00 010400000000")}},
	{"a second fragment header is none", onIPv6("60000000 0000 2c01"+addressesV6, unhex("2c00 0000 00000001 3a00 0000 00000002")),
		codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 44, NextHeader: 44, TTL: 1, ID: 1, Fragment: codec.Atomic,
			ExtensionHeaders: unhex("2c00 0000 00000001"), Payload: unhex("3a00 0000 00000002")}},
	{"an atomic fragment with reserved bits set", onIPv6("60000000 0000 2c01"+addressesV6, append(unhex("3aff 0006 deadbeef"), pattern(9)...)),
		codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 58, NextHeader: 44, TTL: 1, ID: 0xdeadbeef, Fragment: codec.Atomic,
			ExtensionHeaders: unhex("3aff 0006 deadbeef"), Payload: pattern(9)}},
	{"the first fragment, a multiple of 8 with the authentication header", onIPv6("60000000 0000 3c01"+addressesV6,
		append(unhex("2c00 010400000000 3300 0001 deadbeef 3a01 0000 00000000 00000000"), pattern(4)...)),
		codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 58, NextHeader: 60, TTL: 1, ID: 0xdeadbeef, Fragment: codec.First, More: true,
			ExtensionHeaders: unhex("2c00 010400000000 3300 0001 deadbeef 3a01 0000 00000000 00000000"), Payload: pattern(4)}},
	{"ESP", onIPv6("60000000 0000 3201"+addressesV6, pattern(16)),
		codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 50, NextHeader: 50, TTL: 1, Payload: pattern(16)}},
}

// samePacket tells whether two packets are the same; empty and nil are one.
func samePacket(a, b codec.Packet) bool {
	for _, p := range []*codec.Packet{&a, &b} {
		for _, s := range []*[]byte{&p.Options, &p.ExtensionHeaders, &p.Payload} {
			if len(*s) == 0 {
				*s = nil
			}
		}
	}
	return reflect.DeepEqual(a, b)
}

// fullPacket shows what would remain of an earlier packet.
func fullPacket() codec.Packet {
	return codec.Packet{Source: addrV4, Destination: addrV6, Protocol: 99, TTL: 9, TOS: 9, FlowLabel: 9, ID: 9, DontFragment: true,
		Fragment: 9, Offset: 9, More: true, Options: pattern(9), NextHeader: 9, ExtensionHeaders: pattern(9), Payload: pattern(9)}
}

func TestIPDecodesAndAppendsWireBytes(t *testing.T) {
	var v4 codec.IPv4
	var v6 codec.IPv6
	check := func(c codec.Codec[codec.Packet], name string, src []byte, want codec.Packet) {
		for _, padding := range []int{0, 1, 18} { // as Ethernet pads short frames
			got := fullPacket()
			padded := append(bytes.Clone(src), pattern(padding)...)
			was := bytes.Clone(padded)
			if err := c.Decode(padded, &got); err != nil || !samePacket(got, want) || !bytes.Equal(padded, was) {
				t.Errorf("%s, %d bytes of padding:\n got %+v, %v\nwant %+v", name, padding, got, err, want)
			}
			if cap(got.Payload) != len(got.Payload) || cap(got.Options) != len(got.Options) || cap(got.ExtensionHeaders) != len(got.ExtensionHeaders) {
				t.Errorf("%s: a part can grow into what follows", name)
			}
		}
		if got, err := c.Append(nil, &want); err != nil || !bytes.Equal(got, src) {
			t.Errorf("%s:\n got % x, %v\nwant % x", name, got, err, src)
		}
	}
	for range 2 { // each after every other
		for _, test := range packetsV4 {
			check(&v4, test.name, test.bytes, test.packet)
		}
		for _, test := range packetsV6 {
			check(&v6, test.name, test.bytes, test.packet)
		}
	}
}

func TestIPv4DetectsEveryFlippedBitOfTheHeader(t *testing.T) {
	var c codec.IPv4
	for _, test := range packetsV4 {
		src := bytes.Clone(test.bytes)
		for bit := range 8 * 4 * int(src[0]&0xF) {
			src[bit/8] ^= 1 << (bit % 8)
			p := fullPacket()
			err := c.Decode(src, &p)
			if err == nil || errors.Is(err, codec.ErrChecksum) != (p.Source.IsValid()) || p.Protocol == 99 {
				t.Errorf("%s, bit %d flipped: %+v, %v", test.name, bit, p, err)
			}
			src[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func TestIPDecodeErrorsSayWhatWouldBeRight(t *testing.T) {
	request := packetsV4[0].bytes
	changed := func(at int, to ...byte) []byte {
		b := bytes.Clone(request)
		copy(b[at:], to)
		return b
	}
	options := func(s string) []byte { return onIPv4("4600 0000 0001 0000 0111 0000 c0000201 c63364ff"+s, nil) }
	chain := func(next byte, s string) []byte {
		b := onIPv6("60000000 0000 0001"+addressesV6, unhex(s))
		b[6] = next
		return b
	}
	for _, test := range []struct {
		name string
		src  []byte
		kind error
		text string
	}{
		{"nothing", nil, codec.ErrTooShort, "IPv4: message too short at byte 0: found 0, want at least 20"},
		{"19 bytes", request[:19], codec.ErrTooShort, "IPv4: message too short at byte 19: found 19, want at least 20"},
		{"another version", changed(0, 0x65), codec.ErrVersion, "IPv4: another version at byte 0: found 6, want 4"},
		{"header length 0", changed(0, 0x40), codec.ErrLength, "IPv4: impossible length at byte 0: found 0, want at least 20"},
		{"header length 4", changed(0, 0x44), codec.ErrLength, "IPv4: impossible length at byte 0: found 16, want at least 20"},
		{"header length beyond the end", changed(0, 0x4F)[:59], codec.ErrTooShort, "IPv4: message too short at byte 59: found 59, want at least 60"},
		{"length 0", changed(2, 0, 0), codec.ErrLength, "IPv4: impossible length at byte 2: found 0, want at least 20"},
		{"length below the header's", changed(2, 0, 19), codec.ErrLength, "IPv4: impossible length at byte 2: found 19, want at least 20"},
		{"truncated", request[:83], codec.ErrTooShort, "IPv4: message too short at byte 83: found 83, want at least 84"},
		{"bad checksum", changed(10, 0, 0), codec.ErrChecksum, "IPv4: bad checksum at byte 10: found 0x0000, want 0xd50f"},
		{"option of 1 byte", options("01 07 01 00"), codec.ErrLength, "IPv4: impossible length at byte 22: found 1, want an option of 2 to 3 bytes"},
		{"option of 0 bytes", options("07 00 00 00"), codec.ErrLength, "IPv4: impossible length at byte 21: found 0, want an option of 2 to 4 bytes"},
		{"option beyond the header", options("01 01 44 03"), codec.ErrLength, "IPv4: impossible length at byte 23: found 3, want an option of 2 to 2 bytes"},
		{"option without length", options("01 01 01 07"), codec.ErrLength, "IPv4: impossible length at byte 24: found 0, want an option of 2 to 1 bytes"},
		{"fragment of odd length", onIPv4("4500 0000 0001 2000 0111 0000 c0000201 c63364ff", pattern(9)), codec.ErrLength,
			"IPv4: impossible length at byte 6: found 9, want a fragment of a multiple of 8, as more follows"},
		{"later fragment of odd length", onIPv4("4500 0000 0001 2001 0111 0000 c0000201 c63364ff", pattern(9)), codec.ErrLength,
			"IPv4: impossible length at byte 6: found 9, want a fragment of a multiple of 8, as more follows"},
		{"fragment beyond the longest packet", onIPv4("4500 0000 0001 1ffd 0111 0000 c0000201 c63364ff", pattern(4)), codec.ErrTooLong,
			"IPv4: message too long at byte 6: found 65516, want a fragment that ends at 65535 with its header"},

		{"39 bytes", packetsV6[0].bytes[:39], codec.ErrTooShort, "IPv6: message too short at byte 39: found 39, want at least 40"},
		{"truncated", packetsV6[0].bytes[:103], codec.ErrTooShort, "IPv6: message too short at byte 103: found 103, want at least 104"},
		{"a chain that ends before its header does", chain(0, "3a"), codec.ErrTooShort, "IPv6: message too short at byte 41: found 41, want at least 48"},
		{"a chain that goes on behind the packet", chain(0, "3c00 000000000000 3a01 000000000000"), codec.ErrTooShort, "IPv6: message too short at byte 56: found 56, want at least 64"},
		{"a jumbogram", chain(0, ""), codec.ErrTooShort, "IPv6: message too short at byte 40: found 40, want at least 48"},
		{"a long chain", chain(60, "3c00000000000000 3c00000000000000 3c00000000000000 3c00000000000000 3c00000000000000 3c00000000000000 3c00000000000000 3c00000000000000 3a00000000000000"),
			codec.ErrTooLong, "IPv6: message too long at byte 104: found 9, want at most 8 extension headers"},
		{"fragment of odd length", chain(44, "3a00 0001 00000000 01"), codec.ErrLength, "IPv6: impossible length at byte 42: found 1, want a fragment of a multiple of 8, as more follows"},
		{"later fragment of odd length", chain(44, "3a00 0009 00000000 01"), codec.ErrLength, "IPv6: impossible length at byte 42: found 1, want a fragment of a multiple of 8, as more follows"},
		{"fragment of a multiple of 8 behind the authentication header alone", chain(44, "3300 0001 00000000 3a01 0000 00000000 00000000 0102030405060708"), codec.ErrLength,
			"IPv6: impossible length at byte 42: found 20, want a fragment of a multiple of 8, as more follows"},
		{"fragment beyond the longest packet", chain(44, "3a00 fff8 00000000 0102030405060708"), codec.ErrTooLong, "IPv6: message too long at byte 42: found 65536, want a fragment that ends at 65535 with its header"},
	} {
		var c codec.Codec[codec.Packet] = new(codec.IPv4)
		if test.text[:4] == "IPv6" {
			c = new(codec.IPv6)
		}
		p := fullPacket()
		err := c.Decode(test.src, &p)
		if !errors.Is(err, test.kind) || err.Error() != "codec: "+test.text {
			t.Errorf("%s:\n got %v\nwant codec: %s", test.name, err, test.text)
		}
		if !samePacket(p, codec.Packet{}) && (test.kind != codec.ErrChecksum || p.Destination != peerV4) {
			t.Errorf("%s: leaves %+v", test.name, p)
		}
	}
	if err := new(codec.IPv6).Decode(request, new(codec.Packet)); err.Error() != "codec: IPv6: another version at byte 0: found 4, want 6" {
		t.Error(err)
	}
	eight := chain(60, "3c00000000000000 3c00000000000000 3c00000000000000 3c00000000000000 3c00000000000000 3c00000000000000 3c00000000000000 3a00000000000000")
	if err := new(codec.IPv6).Decode(eight, new(codec.Packet)); err != nil {
		t.Errorf("as many extension headers as there can be: %v", err)
	}
}

func TestIPv4OptionsAreFilledUpWithZeros(t *testing.T) {
	var c codec.IPv4
	var got codec.Packet
	for n := 40; n >= 0; n-- {
		p := codec.Packet{Source: addrV4, Destination: peerV4, Options: bytes.Repeat([]byte{1}, n)}
		b, err := c.Append(nil, &p)
		if err == nil {
			err = c.Decode(b, &got)
		}
		want := append(p.Options, make([]byte, (4-n%4)%4)...)
		if err != nil || !bytes.Equal(got.Options, want) {
			t.Errorf("%d bytes: % x, %v", n, got.Options, err)
		}
	}
}

func TestIPAppendErrorsSayWhatWouldBeRight(t *testing.T) {
	for _, test := range []struct {
		version int
		change  func(p *codec.Packet)
		kind    error
		text    string
	}{
		{4, func(p *codec.Packet) { p.Source = addrV6 }, codec.ErrAddress, "no address of this family in Source: found 6, want an IPv4 address"},
		{4, func(p *codec.Packet) { *p = codec.Packet{Source: addrV4} }, codec.ErrAddress, "no address of this family in Destination: found 0, want an IPv4 address"},
		{4, func(p *codec.Packet) { p.Options = make([]byte, 41) }, codec.ErrTooLong, "message too long in Options: found 41, want at most 40"},
		{4, func(p *codec.Packet) { p.Options = []byte{1, 7, 3} }, codec.ErrLength, "impossible length in Options: found 3, want an option of at least 2 bytes that ends with Options"},
		{4, func(p *codec.Packet) { p.ID = 1 << 16 }, codec.ErrRange, "value out of range in ID: found 65536, want at most 65535"},
		{4, func(p *codec.Packet) { p.Offset = 4 }, codec.ErrRange, "value out of range in Offset: found 4, want a multiple of 8, at most 65528"},
		{4, func(p *codec.Packet) { p.Offset = -8 }, codec.ErrRange, "value out of range in Offset: found -8, want a multiple of 8, at most 65528"},
		{4, func(p *codec.Packet) { p.Offset = 65536 }, codec.ErrRange, "value out of range in Offset: found 65536, want a multiple of 8, at most 65528"},
		{4, func(p *codec.Packet) { p.More, p.Payload = true, make([]byte, 9) }, codec.ErrLength, "impossible length in Payload: found 9, want a multiple of 8 where More follows"},
		{4, func(p *codec.Packet) { p.Offset, p.More, p.Payload = 8, true, make([]byte, 9) }, codec.ErrLength, "impossible length in Payload: found 9, want a multiple of 8 where More follows"},
		{4, func(p *codec.Packet) { p.Payload = make([]byte, 65516) }, codec.ErrTooLong, "message too long in Payload: found 65516, want at most 65535 with the header and Offset"},
		{4, func(p *codec.Packet) { p.Options, p.Payload = make([]byte, 1), make([]byte, 65512) }, codec.ErrTooLong, "message too long in Payload: found 65512, want at most 65535 with the header and Offset"},
		{6, func(p *codec.Packet) { p.Source = addrV4 }, codec.ErrAddress, "no address of this family in Source: found 4, want an IPv6 address"},
		{6, func(p *codec.Packet) { *p = codec.Packet{Source: addrV6} }, codec.ErrAddress, "no address of this family in Destination: found 0, want an IPv6 address"},
		{6, func(p *codec.Packet) { p.FlowLabel = 1 << 20 }, codec.ErrRange, "value out of range in FlowLabel: found 1048576, want at most 1048575"},
		{6, func(p *codec.Packet) { p.Payload = make([]byte, 65536) }, codec.ErrTooLong, "message too long in Payload: found 65536, want at most 65535 with ExtensionHeaders"},
		{6, func(p *codec.Packet) { p.ExtensionHeaders = make([]byte, 9) }, codec.ErrLength, "impossible length in ExtensionHeaders: found 9, want extension headers from NextHeader to Protocol"},
		{6, func(p *codec.Packet) { p.NextHeader, p.ExtensionHeaders = 60, unhex("1100000000000000") }, codec.ErrLength, "impossible length in ExtensionHeaders: found 8, want extension headers from NextHeader to Protocol"},
		{6, func(p *codec.Packet) { p.NextHeader, p.ExtensionHeaders = 60, unhex("3a01000000000000") }, codec.ErrLength, "impossible length in ExtensionHeaders: found 8, want extension headers from NextHeader to Protocol"},
		{6, func(p *codec.Packet) {
			p.More, p.NextHeader, p.ExtensionHeaders, p.Payload = true, 44, unhex("3a00 0001 00000000"), make([]byte, 9)
		}, codec.ErrLength, "impossible length in Payload: found 9, want a multiple of 8 behind the fragment header, as more follows"},
		{6, func(p *codec.Packet) {
			p.Offset, p.More, p.NextHeader, p.ExtensionHeaders, p.Payload = 8, true, 44, unhex("3a00 0009 00000000"), make([]byte, 9)
		}, codec.ErrLength, "impossible length in Payload: found 9, want a multiple of 8 behind the fragment header, as more follows"},
		{6, func(p *codec.Packet) {
			p.More, p.NextHeader, p.ExtensionHeaders, p.Payload = true, 44, unhex("3300 0001 00000000 3a01 0000 00000000 00000000"), make([]byte, 8)
		}, codec.ErrLength, "impossible length in Payload: found 8, want a multiple of 8 behind the fragment header, as more follows"},
		{6, func(p *codec.Packet) { p.NextHeader, p.ExtensionHeaders = 60, unhex("3a00000000000000 01") }, codec.ErrLength, "impossible length in ExtensionHeaders: found 9, want extension headers from NextHeader to Protocol"},
		{6, func(p *codec.Packet) { p.Protocol = 44 }, codec.ErrType, "another type of message in Protocol: found 44, want no extension header, as none is in ExtensionHeaders"},
		{6, func(p *codec.Packet) { p.Protocol = 0 }, codec.ErrType, "another type of message in Protocol: found 0, want no extension header, as none is in ExtensionHeaders"},
		{6, func(p *codec.Packet) { p.ID = 5 }, codec.ErrRange, "value out of range in ID: found 5, want what the fragment header in ExtensionHeaders says, 0 without one"},
		{6, func(p *codec.Packet) { p.Offset = 8 }, codec.ErrRange, "value out of range in Offset: found 8, want what the fragment header in ExtensionHeaders says, 0 without one"},
		{6, func(p *codec.Packet) { p.More = true }, codec.ErrRange, "value out of range in More: found 1, want what the fragment header in ExtensionHeaders says, 0 without one"},
		{6, func(p *codec.Packet) { p.ID, p.NextHeader, p.ExtensionHeaders = 5, 60, unhex("3a00000000000000") }, codec.ErrRange, "value out of range in ID: found 5, want what the fragment header in ExtensionHeaders says, 0 without one"},
		{6, func(p *codec.Packet) { p.NextHeader, p.ExtensionHeaders = 44, unhex("3a00 0001 00000000") }, codec.ErrRange, "value out of range in More: found 0, want what the fragment header in ExtensionHeaders says, 0 without one"},
		{6, func(p *codec.Packet) { p.ExtensionHeaders = make([]byte, 65536) }, codec.ErrTooLong, "message too long in ExtensionHeaders: found 65536, want at most 65535 with Payload"},
		{6, func(p *codec.Packet) {
			p.Offset, p.NextHeader, p.ExtensionHeaders, p.Payload = 65528, 44, unhex("3a00 fff8 00000000"), make([]byte, 8)
		}, codec.ErrTooLong, "message too long in Payload: found 8, want at most 65535 with the fragment's offset"},
	} {
		var c codec.Codec[codec.Packet] = new(codec.IPv4)
		p := codec.Packet{Source: addrV4, Destination: peerV4, Protocol: 1}
		name := "IPv4"
		if test.version == 6 {
			c, name = new(codec.IPv6), "IPv6"
			p = codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 58}
		}
		test.change(&p)
		array := pattern(100)
		got, err := c.Append(array[:3], &p)
		if !errors.Is(err, test.kind) || err.Error() != "codec: "+name+": "+test.text {
			t.Errorf("\n got %v\nwant codec: %s: %s", err, name, test.text)
		}
		if len(got) != 3 || &got[0] != &array[0] || !bytes.Equal(array, pattern(100)) {
			t.Errorf("%s: dst was changed", test.text)
		}
	}
}

func TestIPAppendWhereFieldsOverlapDst(t *testing.T) {
	extension := unhex("3a00 010400000000")
	for at := range 120 {
		for _, extensionAt := range []int{at, (at + 37) % 120, 16, 56} {
			array := pattern(256)
			copy(array[extensionAt:], extension)
			p := codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 58, NextHeader: 60,
				ExtensionHeaders: array[extensionAt : extensionAt+8], Payload: array[at : at+60]}
			apart := p
			apart.ExtensionHeaders, apart.Payload = bytes.Clone(p.ExtensionHeaders), bytes.Clone(p.Payload)
			var c codec.IPv6
			want, err := c.Append(bytes.Clone(array[:16]), &apart)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := c.Append(array[:16], &p); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("payload at %d, extension at %d: % x, %v, want % x", at, extensionAt, got, err, want)
			}
		}
		array := bytes.Repeat([]byte{1, 7, 3, 9}, 64)
		at -= at % 4
		p := codec.Packet{Source: addrV4, Destination: peerV4, Options: array[at : at+8], Payload: array[at+20 : at+60]}
		apart := p
		apart.Options, apart.Payload = bytes.Clone(p.Options), bytes.Clone(p.Payload)
		var c codec.IPv4
		want, err := c.Append(bytes.Clone(array[:16]), &apart)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Append(array[:16], &p); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("IPv4, at %d: % x, %v, want % x", at, got, err, want)
		}
	}
}
