package codec_test

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"iomux/codec"
)

func TestICMPv4DecodesAndAppendsWireBytes(t *testing.T) {
	var c codec.ICMPv4
	for _, test := range messagesV4 {
		var m codec.Message
		src := bytes.Clone(test.packet)
		if err := c.Decode(src, &m); err != nil || !same(m, test.message) || !bytes.Equal(src, test.packet) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", test.name, m, err, test.message)
		}
		checkClipped(t, test.name, &m)
		if got, err := c.Append(nil, &test.message); err != nil || !bytes.Equal(got, test.packet) {
			t.Errorf("%s:\n got % x, %v\nwant % x", test.name, got, err, test.packet)
		}
	}
}

func TestICMPv6DecodesAndAppendsWireBytes(t *testing.T) {
	c := codec.ICMPv6{PseudoHeader: onLoopback}
	for _, test := range messagesV6 {
		var m codec.Message
		src := bytes.Clone(test.packet)
		if err := c.Decode(src, &m); err != nil || !same(m, test.message) || !bytes.Equal(src, test.packet) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", test.name, m, err, test.message)
		}
		checkClipped(t, test.name, &m)
		if got, err := c.Append(nil, &test.message); err != nil || !bytes.Equal(got, test.packet) {
			t.Errorf("%s:\n got % x, %v\nwant % x", test.name, got, err, test.packet)
		}
	}
}

// What a message holds must not grow into the packet that follows it.
func checkClipped(t *testing.T, name string, m *codec.Message) {
	t.Helper()
	for _, b := range [][]byte{m.Data, m.Quote, m.Extensions} {
		if cap(b) != len(b) {
			t.Errorf("%s: %d bytes can grow by %d", name, len(b), cap(b)-len(b))
		}
	}
}

func TestICMPDetectsEveryFlippedBit(t *testing.T) {
	check := func(c codec.Codec[codec.Message], name string, packet []byte) {
		packet = bytes.Clone(packet)
		for bit := range 8 * len(packet) {
			packet[bit/8] ^= 1 << (bit % 8)
			var m codec.Message
			err := c.Decode(packet, &m)
			ok := errors.Is(err, codec.ErrChecksum) && m.Type != 0
			if bit < 8 { // it may be of another type, or too short for that
				ok = ok || (errors.Is(err, codec.ErrType) || errors.Is(err, codec.ErrTooShort)) && same(m, codec.Message{})
			}
			if !ok {
				t.Errorf("%s, bit %d flipped: %+v, %v", name, bit, m, err)
			}
			packet[bit/8] ^= 1 << (bit % 8)
		}
	}
	for _, test := range messagesV4 {
		check(new(codec.ICMPv4), test.name, test.packet)
	}
	for _, test := range messagesV6 {
		check(&codec.ICMPv6{PseudoHeader: onLoopback}, test.name, test.packet)
	}
}

// The old value shows what would remain of it.
func TestICMPNothingOfAnEarlierMessageRemains(t *testing.T) {
	old := codec.Message{Type: 99, Code: 1, ID: 1, Seq: 1, Data: pattern(9), MTU: 1, Pointer: 1,
		Gateway: addrV4, Destination: addrV6, Originate: 1, Receive: 1, Transmit: 1, Local: true,
		Interface: codec.Interface{State: 1, Active: true, IPv4: true, IPv6: true}, Quote: pattern(9), Extensions: pattern(9)}
	v4, v6 := codec.ICMPv4{}, codec.ICMPv6{PseudoHeader: onLoopback}
	for i := range messagesV4 {
		for j := range messagesV4 {
			m := old
			v4.Decode(messagesV4[i].packet, &m)
			if v4.Decode(messagesV4[j].packet, &m); !same(m, messagesV4[j].message) {
				t.Errorf("%s after %s: %+v", messagesV4[j].name, messagesV4[i].name, m)
			}
			v4.Append(nil, &messagesV4[i].message)
			if got, _ := v4.Append(nil, &messagesV4[j].message); !bytes.Equal(got, messagesV4[j].packet) {
				t.Errorf("%s after %s: % x", messagesV4[j].name, messagesV4[i].name, got)
			}
		}
	}
	for i := range messagesV6 {
		for j := range messagesV6 {
			m := old
			v6.Decode(messagesV6[i].packet, &m)
			if v6.Decode(messagesV6[j].packet, &m); !same(m, messagesV6[j].message) {
				t.Errorf("%s after %s: %+v", messagesV6[j].name, messagesV6[i].name, m)
			}
			v6.Append(nil, &messagesV6[i].message)
			if got, _ := v6.Append(nil, &messagesV6[j].message); !bytes.Equal(got, messagesV6[j].packet) {
				t.Errorf("%s after %s: % x", messagesV6[j].name, messagesV6[i].name, got)
			}
		}
	}
	for _, bad := range [][]byte{nil, make([]byte, 7), {1, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 1<<17)} {
		m := old
		if err := v4.Decode(bad, &m); err == nil || !same(m, codec.Message{}) {
			t.Errorf("% x leaves %+v, %v", bad[:min(8, len(bad))], m, err)
		}
	}
}

// What a type does not have is ignored, so a value may be used again for
// another type.
func TestICMPAppendIgnoresForeignFields(t *testing.T) {
	full := codec.Message{ID: 7, Seq: 1, MTU: 1 << 20, Pointer: 255, Gateway: addrV4, Destination: addrV6,
		Originate: 1, Local: true, Quote: pattern(8), Extensions: unhex("2000 dfff"), Data: []byte("d")}
	var c codec.ICMPv4
	full.Type, full.Code = codec.TimeExceeded, codec.FragmentationNeededV4 // a code of another type
	got, err := c.Append(nil, &full)
	var m codec.Message
	if err == nil {
		err = c.Decode(got, &m)
	}
	want := codec.Message{Type: codec.TimeExceeded, Code: 4, Quote: append(pattern(8), make([]byte, 120)...), Extensions: full.Extensions}
	if err != nil || !same(m, want) {
		t.Errorf("%+v, %v, want %+v", m, err, want)
	}
	full.Interface.State = 8
	full.Type, full.Code = codec.ExtendedEchoRequest, 0
	if got, err = c.Append(nil, &full); err == nil {
		err = c.Decode(got, &m)
	}
	if want := (codec.Message{Type: codec.ExtendedEchoRequest, ID: 7, Seq: 1, Local: true, Extensions: full.Extensions}); err != nil || !same(m, want) {
		t.Errorf("%+v, %v, want %+v", m, err, want)
	}
	full.Type = codec.PacketTooBig
	v6 := codec.ICMPv6{PseudoHeader: byKernel}
	if got, err = v6.Append(nil, &full); err == nil {
		err = v6.Decode(got, &m)
	}
	if want := (codec.Message{Type: codec.PacketTooBig, MTU: 1 << 20, Quote: pattern(8)}); err != nil || !same(m, want) {
		t.Errorf("%+v, %v, want %+v", m, err, want)
	}
	full.Type, full.Quote = codec.ParameterProblem, pattern(2041) // more than extensions could follow
	if got, err = v6.Append(nil, &full); err == nil {
		err = v6.Decode(got, &m)
	}
	if want := (codec.Message{Type: codec.ParameterProblem, Pointer: 255, Quote: pattern(2041)}); err != nil || !same(m, want) {
		t.Errorf("%+v, %v, want %+v", m, err, want)
	}
}

// Whatever a message holds may lie anywhere in dst: in front, behind, across.
func TestICMPAppendWhereFieldsOverlapDst(t *testing.T) {
	v4, v6 := codec.ICMPv4{}, codec.ICMPv6{PseudoHeader: onLink}
	for _, c := range []codec.Codec[codec.Message]{&v4, &v6} {
		for quoteAt := 0; quoteAt < 300; quoteAt += 7 {
			for extensionsAt := 0; extensionsAt < 300; extensionsAt += 11 {
				array := pattern(600)
				m := codec.Message{Type: codec.TimeExceeded, Quote: array[quoteAt : quoteAt+150], Extensions: array[extensionsAt : extensionsAt+16]}
				apart := m
				apart.Quote, apart.Extensions = bytes.Clone(m.Quote), bytes.Clone(m.Extensions)
				want, err := c.Append(pattern(16), &apart)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := c.Append(array[:16], &m); err != nil || !bytes.Equal(got, want) || &got[0] != &array[0] {
					t.Fatalf("%T: quote at %d, extensions at %d: % x, %v, want % x", c, quoteAt, extensionsAt, got, err, want)
				}
			}
		}
	}
}

func TestICMPv6NeedsAddressesOrTheKernel(t *testing.T) {
	var c codec.ICMPv6
	for _, test := range messagesV6 {
		m := codec.Message{ID: 9}
		if err := c.Decode(test.packet, &m); !errors.Is(err, codec.ErrAddress) || !same(m, codec.Message{}) {
			t.Errorf("%s: %+v, %v", test.name, m, err)
		}
		if got, err := c.Append(nil, &test.message); !errors.Is(err, codec.ErrAddress) || got != nil {
			t.Errorf("%s: % x, %v", test.name, got, err)
		}
		c := codec.ICMPv6{PseudoHeader: byKernel}
		unsummed := bytes.Clone(test.packet)
		unsummed[2], unsummed[3] = 0, 0
		if err := c.Decode(unsummed, &m); err != nil || !same(m, test.message) {
			t.Errorf("%s, left to the kernel: %+v, %v", test.name, m, err)
		}
		if err := c.Decode(test.packet, &m); err != nil { // its checksum is not to remain
			t.Error(err)
		}
		if got, err := c.Append(nil, &test.message); err != nil || !bytes.Equal(got, unsummed) {
			t.Errorf("%s, left to the kernel: % x, %v", test.name, got, err)
		}
	}
}

func TestICMPKnowsNoOtherType(t *testing.T) {
	v4, v6 := codec.ICMPv4{}, codec.ICMPv6{PseudoHeader: onLoopback}
	knownV4 := map[int]bool{0: true, 3: true, 4: true, 5: true, 8: true, 11: true, 12: true, 13: true, 14: true, 42: true, 43: true}
	knownV6 := map[int]bool{1: true, 2: true, 3: true, 4: true, 128: true, 129: true, 137: true, 160: true, 161: true}
	for typ := range 256 {
		b := make([]byte, 64)
		b[0], b[63], b[41] = byte(typ), 1, 3 // with an option, if it is a redirect
		var m codec.Message
		if err := v4.Decode(checksummed(b), &m); (err == nil) != knownV4[typ] || err != nil && !errors.Is(err, codec.ErrType) || (m.Type.NumberV4() == typ) != knownV4[typ] {
			t.Errorf("ICMPv4 type %d: %+v, %v", typ, m, err)
		}
		if err := v6.Decode(checksummedV6(b), &m); (err == nil) != knownV6[typ] || err != nil && !errors.Is(err, codec.ErrType) || (m.Type.NumberV6() == typ) != knownV6[typ] {
			t.Errorf("ICMPv6 type %d: %+v, %v", typ, m, err)
		}
	}
}

func TestICMPErrorsSayWhatWouldBeRight(t *testing.T) {
	v4, v6 := codec.ICMPv4{}, codec.ICMPv6{PseudoHeader: onLoopback}
	type call = func() error
	decode := func(c codec.Codec[codec.Message], b []byte) call {
		return func() error { return c.Decode(b, new(codec.Message)) }
	}
	encode := func(c codec.Codec[codec.Message], m codec.Message) call {
		return func() error { _, err := c.Append(nil, &m); return err }
	}
	quote := append(unhex("0b00 0000 0020 0000"), pattern(127)...)
	option := unhex("8900 0000 00000000 00000000000000000000000000000000 00000000000000000000000000000000 0100 000000000000")
	zeroOption := changed(option, 40, 0)
	cutOption := append(bytes.Clone(option[:40]), 1)
	longOption := append(bytes.Clone(option[:40]), 4, 2, 0, 0, 0, 0, 0, 0)
	large := make([]byte, 1<<16)
	for _, test := range []struct {
		call call
		kind error
		text string
	}{
		{decode(&v4, pingRequest[:4]), codec.ErrTooShort, "ICMPv4: message too short at byte 4: found 4, want at least 8"},
		{decode(&v4, checksummed(unhex("0d00 0000 0000 0000 00000000 00000000 000000"))), codec.ErrTooShort, "ICMPv4: message too short at byte 19: found 19, want at least 20"},
		{decode(&v4, unhex("0a00 f5ff 0000 0000")), codec.ErrType, "ICMPv4: another type of message at byte 0: found 10, want 0, 3, 4, 5, 8, 11 to 14, 42 or 43"},
		{decode(&v4, large[:65516]), codec.ErrTooLong, "ICMPv4: message too long at byte 65515: found 65516, want at most 65515"},
		{decode(&v4, unhex("0301 0000 00000000")), codec.ErrChecksum, "ICMPv4: bad checksum at byte 2: found 0x0000, want 0xfcfe"},
		{decode(&v4, checksummed(quote)), codec.ErrLength, "ICMPv4: impossible length at byte 5: found 128, want 0 or at most 127, and 128 at least where extensions follow"},
		{decode(&v6, pingRequestV6[:7]), codec.ErrTooShort, "ICMPv6: message too short at byte 7: found 7, want at least 8"},
		{decode(&v6, checksummedV6(option[:39])), codec.ErrTooShort, "ICMPv6: message too short at byte 39: found 39, want at least 40"},
		{decode(&v6, pingRequest), codec.ErrType, "ICMPv6: another type of message at byte 0: found 8, want 1 to 4, 128, 129, 137, 160 or 161"},
		{decode(&v6, append([]byte{1}, large...)), codec.ErrTooLong, "ICMPv6: message too long at byte 65535: found 65537, want at most 65535"},
		{decode(&v6, checksummedV6(option)), codec.ErrLength, "ICMPv6: impossible length at byte 41: found 0, want an option of at least 8, within the message"},
		{decode(&v6, checksummedV6(zeroOption)), codec.ErrLength, "ICMPv6: impossible length at byte 41: found 0, want an option of at least 8, within the message"},
		{decode(&codec.ICMPv6{}, pingRequestV6), codec.ErrAddress, "ICMPv6: no address of this family at byte 2: found 0, want IP version 6 in PseudoHeader.Source, or KernelChecksum"},
		{decode(&codec.ICMPv6{PseudoHeader: codec.PseudoHeader{Source: addrV6, Destination: addrV4}}, pingRequestV6), codec.ErrAddress,
			"ICMPv6: no address of this family at byte 2: found 4, want IP version 6 in PseudoHeader.Destination, or KernelChecksum"},
		{decode(&v6, checksummedV6(cutOption)), codec.ErrLength, "ICMPv6: impossible length at byte 41: found 0, want an option of at least 8, within the message"},
		{decode(&v6, checksummedV6(longOption)), codec.ErrLength, "ICMPv6: impossible length at byte 41: found 16, want an option of at least 8, within the message"},

		{encode(&v4, codec.Message{}), codec.ErrType, "ICMPv4: another type of message in Type: found 0, want one that ICMPv4 has, and not SourceQuench"},
		{encode(&v4, codec.Message{Type: codec.SourceQuench}), codec.ErrType, "ICMPv4: another type of message in Type: found 8, want one that ICMPv4 has, and not SourceQuench"},
		{encode(&v4, codec.Message{Type: codec.PacketTooBig}), codec.ErrType, "ICMPv4: another type of message in Type: found 4, want one that ICMPv4 has, and not SourceQuench"},
		{encode(&v6, codec.Message{Type: codec.TimestampReply}), codec.ErrType, "ICMPv6: another type of message in Type: found 10, want one that ICMPv6 has"},
		{encode(&v6, codec.Message{Type: 200}), codec.ErrType, "ICMPv6: another type of message in Type: found 200, want one that ICMPv6 has"},
		{encode(&v4, codec.Message{Type: codec.EchoReply, Data: large[:65508]}), codec.ErrTooLong, "ICMPv4: message too long in Data: found 65508, want at most 65515 in all"},
		{encode(&v6, codec.Message{Type: codec.PacketTooBig, Quote: large}), codec.ErrTooLong, "ICMPv6: message too long in Quote: found 65536, want at most 65535 in all"},
		{encode(&v4, codec.Message{Type: codec.TimeExceeded, Quote: large[:1021], Extensions: extended}), codec.ErrTooLong, "ICMPv4: message too long in Quote: found 1021, want at most 1020 before Extensions"},
		{encode(&v6, codec.Message{Type: codec.TimeExceeded, Quote: large[:2041], Extensions: extended}), codec.ErrTooLong, "ICMPv6: message too long in Quote: found 2041, want at most 2040 before Extensions"},
		{encode(&v4, codec.Message{Type: codec.TimeExceeded, Extensions: large}), codec.ErrTooLong, "ICMPv4: message too long in Extensions: found 65664, want at most 65515 in all"},
		{encode(&v4, codec.Message{Type: codec.ExtendedEchoRequest, Seq: 256}), codec.ErrRange, "ICMPv4: value out of range in Seq: found 256, want at most 255"},
		{encode(&v6, codec.Message{Type: codec.ExtendedEchoReply, Interface: codec.Interface{State: 8}}), codec.ErrRange, "ICMPv6: value out of range in Interface.State: found 8, want at most 7"},
		{encode(&v4, codec.Message{Type: codec.ParameterProblem, Pointer: 1<<32 - 1}), codec.ErrRange, "ICMPv4: value out of range in Pointer: found 4294967295, want at most 255"},
		{encode(&v4, codec.Message{Type: codec.DestinationUnreachable, Code: 4, MTU: 65536}), codec.ErrRange, "ICMPv4: value out of range in MTU: found 65536, want at most 65535"},
		{encode(&v4, codec.Message{Type: codec.Redirect}), codec.ErrAddress, "ICMPv4: no address of this family in Gateway: found 0, want an IPv4 address"},
		{encode(&v4, codec.Message{Type: codec.Redirect, Gateway: netip.MustParseAddr("::ffff:10.0.0.1")}), codec.ErrAddress, "ICMPv4: no address of this family in Gateway: found 6, want an IPv4 address"},
		{encode(&v6, codec.Message{Type: codec.Redirect, Gateway: addrV6, Destination: addrV4}), codec.ErrAddress, "ICMPv6: no address of this family in Destination: found 4, want an IPv6 address"},
		{encode(&v6, codec.Message{Type: codec.Redirect, Gateway: addrV6, Destination: addrV6, Quote: large[:2033]}), codec.ErrTooLong, "ICMPv6: message too long in Quote: found 2033, want at most 2032"},
	} {
		if err := test.call(); !errors.Is(err, test.kind) || err.Error() != "codec: "+test.text {
			t.Errorf("\n got %v\nwant codec: %s", err, test.text)
		}
	}
}

// A length that cannot be is not a reason to lose the error that it is about.
func TestICMPImpossibleLengthsLeaveTheQuote(t *testing.T) {
	var c codec.ICMPv4
	for name, words := range map[string]byte{"beyond the end": 36, "extensions too early": 31} {
		var m codec.Message
		b := append([]byte{11, 0, 0, 0, 0, words, 0, 0}, pattern(140)...)
		if err := c.Decode(checksummed(b), &m); !errors.Is(err, codec.ErrLength) || !bytes.Equal(m.Quote, pattern(140)) || m.Extensions != nil {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		b[5] = 35 // all of it
		if err := c.Decode(checksummed(b), &m); err != nil || !bytes.Equal(m.Quote, pattern(140)) || m.Extensions != nil {
			t.Errorf("all of it: %+v, %v", m, err)
		}
	}
}

// Routers differ in what they leave in bits that are none of a type's.
func TestICMPReservedBitsAreNotLookedAt(t *testing.T) {
	var m codec.Message
	b := append(unhex("0301 0000 ff00 ffff"), quotedV4...)
	if err := new(codec.ICMPv4).Decode(checksummed(b), &m); err != nil || !same(m, codec.Message{Type: codec.DestinationUnreachable, Code: 1, Quote: quotedV4}) {
		t.Errorf("host unreachable: %+v, %v", m, err)
	}
	v6 := codec.ICMPv6{PseudoHeader: onLoopback}
	b = append(unhex("0101 0000 00ffffff"), quotedV6...)
	if err := v6.Decode(checksummedV6(b), &m); err != nil || !same(m, codec.Message{Type: codec.DestinationUnreachable, Code: 1, Quote: quotedV6}) {
		t.Errorf("prohibited: %+v, %v", m, err)
	}
}

func TestICMPv6RedirectIsSearchedForItsQuote(t *testing.T) {
	c := codec.ICMPv6{PseudoHeader: onLoopback}
	head := unhex("8900 0000 00000000 fe80000000000000000000000000beef 20010db8000000000000000000000009")
	linkLayer := unhex("0201 020202020202")
	first, second := append(unhex("040e 000000000000"), quotedV6...), unhex("0402 000000000000 0102030405060708")
	var m codec.Message
	b := slices.Concat(head, linkLayer, first, linkLayer, second)
	if err := c.Decode(checksummedV6(b), &m); err != nil || !bytes.Equal(m.Quote, quotedV6) {
		t.Errorf("% x, %v", m.Quote, err)
	}
	b = append(b, 2, 0)
	if err := c.Decode(checksummedV6(b), &m); !errors.Is(err, codec.ErrLength) || !bytes.Equal(m.Quote, quotedV6) {
		t.Errorf("with a bad option behind it: % x, %v", m.Quote, err)
	}
	if err := c.Decode(checksummedV6(append(head, linkLayer...)), &m); err != nil || m.Quote != nil {
		t.Errorf("with none: % x, %v", m.Quote, err)
	}
	// What fills up the option is not what was there before.
	for _, n := range []int{2032, 1} {
		got, err := c.Append(nil, &codec.Message{Type: codec.Redirect, Gateway: addrV6, Destination: addrV6, Quote: pattern(n)})
		if err == nil {
			err = c.Decode(got, &m)
		}
		if want := append(pattern(n), make([]byte, 7)...); err != nil || len(m.Quote)%8 != 0 || !bytes.HasPrefix(want, m.Quote) {
			t.Errorf("%d bytes: % x, %v", n, m.Quote, err)
		}
	}
}

// The longest quote makes the smallest packet that everybody takes.
func TestICMPLongestQuotes(t *testing.T) {
	v4, v6 := codec.ICMPv4{}, codec.ICMPv6{PseudoHeader: onLink}
	m := codec.Message{Type: codec.TimeExceeded, Quote: make([]byte, codec.MaxQuoteV4)}
	p := codec.Packet{Source: addrV4, Destination: peerV4, Payload: must[[]byte](t)(v4.Append(nil, &m))}
	if b := must[[]byte](t)(new(codec.IPv4).Append(nil, &p)); len(b) != 576 {
		t.Errorf("IPv4: %d bytes", len(b))
	}
	m.Quote = make([]byte, codec.MaxQuoteV6)
	p = codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 58, Payload: must[[]byte](t)(v6.Append(nil, &m))}
	if b := must[[]byte](t)(new(codec.IPv6).Append(nil, &p)); len(b) != 1280 {
		t.Errorf("IPv6: %d bytes", len(b))
	}
}
