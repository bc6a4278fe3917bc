package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"iomux/codec"
)

// decodeQuote decodes with a value that shows what would remain of it.
func decodeQuote(src []byte) (q codec.Quote, err error) {
	q = codec.Quote{Echo: codec.Echo{Type: 9, ID: 9, Data: pattern(9)}, Truncated: true, Packet: codec.Packet{
		Source: addrV4, Protocol: 99, TTL: 9, TOS: 9, FlowLabel: 9, ID: 9, DontFragment: true, Fragment: 9, Offset: 9, More: true,
		Options: pattern(9), NextHeader: 9, ExtensionHeaders: pattern(9), Payload: pattern(9)}}
	if len(src) > 0 && src[0]>>4 == 6 {
		return q, new(codec.QuoteV6).Decode(src, &q)
	}
	return q, new(codec.QuoteV4).Decode(src, &q)
}

func TestQuoteV4(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1")
	q, err := decodeQuote(quotedV4)
	want := codec.Quote{
		Packet: codec.Packet{Source: local, Destination: local, Protocol: codec.ProtocolICMPv4, TTL: 64, ID: 0x7865, DontFragment: true,
			Options: []byte{}, Payload: pingRequest},
		Echo: wire[0].echo,
	}
	if err != nil || !reflect.DeepEqual(q, want) {
		t.Errorf("\n got %+v, %v\nwant %+v", q, err, want)
	}
	changed := func(at int, to ...byte) []byte {
		b := bytes.Clone(quotedV4)
		copy(b[at:], to)
		return b
	}
	options := append(append([]byte{0x4F}, quotedV4[1:20]...), make([]byte, 40)...)
	options[3] = 124
	for _, test := range []struct {
		name      string
		src       []byte
		echo      bool
		payload   int
		truncated bool
	}{
		{"8 bytes of it, as RFC 792 has it", quotedV4[:28], true, 8, true},
		{"7 bytes of it", quotedV4[:27], false, 7, true},
		{"the header alone", quotedV4[:20], false, 0, true},
		{"zeros behind it", append(bytes.Clone(quotedV4), make([]byte, 44)...), true, 64, false},
		{"options of 40 bytes", append(bytes.Clone(options), pingRequest...), true, 64, false},
		{"options, truncated", append(bytes.Clone(options), pingRequest[:8]...), true, 8, true},
		{"no length but the header's", changed(2, 0, 20), true, 64, false},
		{"no length", changed(2, 0, 0), true, 64, false},
		{"a length under the header's", changed(2, 0, 19), true, 64, false},
		{"a length of 7 bytes of it", changed(2, 0, 27), true, 64, false},
		{"a length of 8 bytes of it", changed(2, 0, 28), true, 8, false},
		{"a length without the header", changed(2, 0, 64), true, 44, false},
		{"a length with the header twice", changed(2, 0, 104), true, 64, true},
		{"no length, 8 bytes of it", changed(2, 0, 0)[:28], true, 8, false},
		{"the length in the other byte order", changed(2, 0x54, 0), true, 64, true},
		{"TTL, TOS and checksum changed", changed(8, 1, 1, 0, 0), true, 64, false},
		{"for another destination", changed(16, 9, 9, 9, 9), true, 64, false},
		{"the first fragment", changed(6, 0x20, 0), true, 64, false},
		{"a later fragment", changed(6, 0, 1), false, 64, false},
		{"UDP", changed(9, 17), false, 64, false},
		{"ICMPv6 in IPv4", changed(9, 58), false, 64, false},
		{"an echo reply", append(bytes.Clone(quotedV4[:20]), pingReply...), true, 64, false},
		{"another ICMP message", append(bytes.Clone(quotedV4[:20]), redirect...), false, 8, true},
		{"ICMPv6's number of an echo request", changed(20, 128), false, 64, false},
	} {
		q, err := decodeQuote(test.src)
		if err != nil || (q.Echo.Type != 0) != test.echo || len(q.Packet.Payload) != test.payload || q.Truncated != test.truncated {
			t.Errorf("%s: %+v, %v", test.name, q, err)
		}
		if cap(q.Packet.Payload) != len(q.Packet.Payload) || cap(q.Echo.Data) != len(q.Echo.Data) {
			t.Errorf("%s: a part can grow into what follows", test.name)
		}
		if test.echo && (q.Echo.ID != 0x18d4 || q.Echo.Seq != 1 || len(q.Echo.Data) != test.payload-8) {
			t.Errorf("%s: %+v", test.name, q.Echo)
		}
		if q.Packet.Source != local || q.Packet.Destination.As4() != [4]byte(test.src[16:20]) || q.Packet.TTL != test.src[8] || q.Packet.TOS != test.src[1] {
			t.Errorf("%s: %+v", test.name, q)
		}
	}
	for _, test := range []struct {
		name string
		src  []byte
		kind error
		text string
	}{
		{"nothing", nil, codec.ErrTooShort, "message too short at byte 0: found 0, want at least 20"},
		{"cut off in the header", quotedV4[:19], codec.ErrTooShort, "message too short at byte 19: found 19, want at least 20"},
		{"version 5", changed(0, 0x55), codec.ErrVersion, "another version at byte 0: found 5, want 4"},
		{"header length 0", changed(0, 0x40), codec.ErrLength, "impossible length at byte 0: found 0, want at least 20"},
		{"header length 4", changed(0, 0x44), codec.ErrLength, "impossible length at byte 0: found 16, want at least 20"},
		{"header length 15, not there", changed(0, 0x4F)[:59], codec.ErrTooShort, "message too short at byte 59: found 59, want at least 60"},
	} {
		q, err := decodeQuote(test.src)
		if !errors.Is(err, test.kind) || err.Error() != "codec: IPv4: "+test.text || !reflect.DeepEqual(q, codec.Quote{}) {
			t.Errorf("%s: %+v\n got %v\nwant codec: IPv4: %s", test.name, q, err, test.text)
		}
	}
}

// Header length 15 moves the identifier 40 bytes away from where it is otherwise.
func TestQuoteV4AtItsTrueOffset(t *testing.T) {
	for words := 5; words <= 15; words++ {
		src := make([]byte, 4*words, 4*words+8)
		src[0], src[3], src[9] = 0x40|byte(words), byte(4*words+8), 1
		for i := 20; i < 4*words; i++ {
			src[i] = 1 // an identifier of 0x0101, for who looks there
		}
		src = append(src, 8, 0, 0, 0, 0xBE, 0xEF, 0, byte(words))
		if q, err := decodeQuote(src); err != nil || q.Echo.ID != 0xBEEF || q.Echo.Seq != uint16(words) || len(q.Packet.Options) != 4*words-20 {
			t.Errorf("header length %d: %+v, %v", words, q, err)
		}
	}
}

func TestQuoteV6(t *testing.T) {
	q, err := decodeQuote(quotedV6)
	want := codec.Quote{
		Packet: codec.Packet{Source: localV6, Destination: localV6, Protocol: codec.ProtocolICMPv6, NextHeader: codec.ProtocolICMPv6, TTL: 64,
			FlowLabel: 0xde14d, Payload: pingRequestV6},
		Echo: wireV6[0].echo,
	}
	if err != nil || !reflect.DeepEqual(q, want) {
		t.Errorf("\n got %+v, %v\nwant %+v", q, err, want)
	}
	// with puts extension headers in front of an echo request.
	with := func(next byte, headers string, payload []byte) []byte {
		b := append(bytes.Clone(quotedV6[:40]), unhex(headers)...)
		b = append(b, payload...)
		b[6] = next
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
		return b
	}
	for _, test := range []struct {
		name      string
		src       []byte
		echo      bool
		payload   int
		truncated bool
	}{
		{"8 bytes of it", quotedV6[:48], true, 8, true},
		{"7 bytes of it", quotedV6[:47], false, 7, true},
		{"the header alone", quotedV6[:40], false, 0, true},
		{"zeros behind it", append(bytes.Clone(quotedV6), make([]byte, 24)...), true, 64, false},
		{"hop-by-hop and destination options", with(0, "3c00 000000000000 3a01 0000000000000000000000000000", pingRequestV6), true, 64, false},
		{"a routing header", with(43, "3a00 000000000000", pingRequestV6), true, 64, false},
		{"an authentication header", with(51, "3a04 0000 00000000 00000000 00000000 00000000 00000000", pingRequestV6), true, 64, false},
		{"an atomic fragment", with(44, "3a00 0000 deadbeef", pingRequestV6), true, 64, false},
		{"the first fragment, truncated", with(44, "3a00 0001 deadbeef", pingRequestV6)[:40+8+13], true, 13, true},
		{"a later fragment", with(44, "3a00 0008 deadbeef", pingRequestV6), false, 64, false},
		{"ICMPv4 in IPv6", with(1, "", pingRequest), false, 64, false},
		{"ICMPv4's number of an echo request", with(58, "", pingRequest), false, 64, false},
		{"nothing next", with(59, "", nil), false, 0, false},
		{"no length", changed(quotedV6, 4, 0, 0), true, 64, false},
		{"a length of 7 bytes of it", changed(quotedV6, 4, 0, 7), true, 64, false},
		{"no length, behind extension headers", changed(with(0, "3c00 000000000000 3a00 000000000000", pingRequestV6), 4, 0, 0), true, 64, false},
		{"a length of the extension headers", changed(with(0, "3c00 000000000000 3a00 000000000000", pingRequestV6), 4, 0, 16), true, 64, false},
		{"a length of 8 bytes of it", changed(quotedV6, 4, 0, 8), true, 8, false},
	} {
		q, err := decodeQuote(test.src)
		if err != nil || (q.Echo.Type != 0) != test.echo || len(q.Packet.Payload) != test.payload || q.Truncated != test.truncated {
			t.Errorf("%s: %+v, %v", test.name, q, err)
		}
		if test.echo && (q.Echo.ID != 0x2bb7 || q.Echo.Seq != 1 || len(q.Echo.Data) != test.payload-8) {
			t.Errorf("%s: %+v", test.name, q.Echo)
		}
	}
	if q, err := decodeQuote(quotedV6[:39]); !errors.Is(err, codec.ErrTooShort) || !reflect.DeepEqual(q, codec.Quote{}) {
		t.Errorf("cut off in the header: %+v, %v", q, err)
	}
	if err := new(codec.QuoteV6).Decode(quotedV4, &q); !errors.Is(err, codec.ErrVersion) || !reflect.DeepEqual(q, codec.Quote{}) {
		t.Errorf("IPv4: %+v, %v", q, err)
	}
	q, err = decodeQuote(with(0, "3a01 000000000000", nil))
	if !errors.Is(err, codec.ErrTooShort) || q.Packet.Destination != localV6 || q.Echo.Type != 0 {
		t.Errorf("cut off in an extension header: %+v, %v", q, err)
	}
}

// Routers change the length in many ways. None of them hides whose probe it was.
func TestQuoteV4FindsTheEchoWhateverTheLength(t *testing.T) {
	for _, size := range []int{0, 1, 12, 56, 1400} {
		e := codec.Echo{Type: codec.EchoRequest, ID: 0xBEEF, Seq: 9, Data: pattern(size)}
		packet := onIPv4(headerV4, must[[]byte](t)(new(codec.EchoV4).Append(nil, &e)))
		for told := range 1 << 16 {
			binary.BigEndian.PutUint16(packet[2:], uint16(told))
			src := packet[:min(len(packet), codec.MaxQuoteV4)]
			var q codec.Quote
			err := new(codec.QuoteV4).Decode(src, &q)
			if err != nil || q.Packet.Destination != peerV4 || q.Echo.Type != e.Type || q.Echo.ID != e.ID || q.Echo.Seq != e.Seq ||
				!bytes.HasPrefix(e.Data, q.Echo.Data) || q.Truncated != (told > len(src)) {
				t.Fatalf("%d bytes, told %d: %+v, %v", len(src), told, q, err)
			}
		}
	}
}
