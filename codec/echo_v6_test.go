package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"iomux/codec"
)

func TestEchoV6DecodesAndAppendsWireBytes(t *testing.T) {
	c := codec.EchoV6{PseudoHeader: onLoopback}
	for _, test := range wireV6 {
		var e codec.Echo
		src := bytes.Clone(test.packet)
		if err := c.Decode(src, &e); err != nil || !equal(e, test.echo) || !bytes.Equal(src, test.packet) {
			t.Errorf("%s: got %+v, %v, want %+v", test.name, e, err, test.echo)
		}
		if cap(e.Data) != len(e.Data) {
			t.Errorf("%s: Data can grow into what follows", test.name)
		}
		if got, err := c.Append(nil, &test.echo); err != nil || !bytes.Equal(got, test.packet) {
			t.Errorf("%s: got % x, %v, want % x", test.name, got, err, test.packet)
		}
	}
}

func TestEchoV6ChecksumCoversBothAddresses(t *testing.T) {
	for _, h := range []codec.PseudoHeader{
		onLink,
		{Source: peerV6, Destination: addrV6},
		{Source: netip.MustParseAddr("fe80::1%eth0"), Destination: netip.MustParseAddr("ff02::1%7")}, // zones do not count
		{Source: netip.MustParseAddr("::ffff:192.0.2.1"), Destination: netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")},
	} {
		c := codec.EchoV6{PseudoHeader: h}
		for _, n := range []int{0, 1, 2, 3, 56, 65527} {
			in := codec.Echo{Type: codec.EchoRequest, ID: 1, Seq: 0xFFFF, Data: pattern(n)}
			packet, err := c.Append(nil, &in)
			if err != nil {
				t.Fatal(err)
			}
			if sum := slowChecksumV6(h.Source.WithZone(""), h.Destination.WithZone(""), packet); sum != 0 {
				t.Errorf("%v, %d bytes: sums to %#04x", h, n, sum)
			}
			var out codec.Echo
			if err := c.Decode(packet, &out); err != nil || !equal(in, out) {
				t.Errorf("%v, %d bytes: %v", h, n, err)
			}
			c.Destination = netip.MustParseAddr("2001:db8::bad")
			if err := c.Decode(packet, &out); !errors.Is(err, codec.ErrChecksum) {
				t.Errorf("%v, %d bytes, for somebody else: %v", h, n, err)
			}
			c.Destination = h.Destination
		}
	}
}

func TestEchoV6DetectsEveryFlippedBit(t *testing.T) {
	c := codec.EchoV6{PseudoHeader: onLoopback}
	for _, test := range wireV6 {
		packet := bytes.Clone(test.packet)
		for bit := range 8 * len(packet) {
			packet[bit/8] ^= 1 << (bit % 8)
			var e codec.Echo
			err := c.Decode(packet, &e)
			want := codec.ErrChecksum
			if packet[0] != 128 && packet[0] != 129 {
				want = codec.ErrType
			} else if e.ID != binary.BigEndian.Uint16(packet[4:]) || !bytes.Equal(e.Data, packet[8:]) {
				t.Errorf("%s, bit %d flipped: decoded to %+v", test.name, bit, e)
			}
			if !errors.Is(err, want) {
				t.Errorf("%s, bit %d flipped: %v, want %v", test.name, bit, err, want)
			}
			packet[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// The zero value must not pass anything unverified.
func TestEchoV6NeedsAddressesOrTheKernel(t *testing.T) {
	for _, test := range []struct {
		name  string
		h     codec.PseudoHeader
		field string
		found int64
	}{
		{"zero value", codec.PseudoHeader{}, "Source", 0},
		{"no source", codec.PseudoHeader{Destination: localV6}, "Source", 0},
		{"no destination", codec.PseudoHeader{Source: localV6}, "Destination", 0},
		{"IPv4", codec.PseudoHeader{Source: localV6, Destination: addrV4}, "Destination", 4},
	} {
		c := codec.EchoV6{PseudoHeader: test.h}
		e := codec.Echo{ID: 9}
		err := c.Decode(pingRequestV6, &e)
		de, ok := errors.AsType[*codec.DecodeError](err)
		if !ok || de.Kind != codec.ErrAddress || de.Found != uint32(test.found) || de.Want != 6 || e.ID != 0 {
			t.Errorf("%s: Decode: %+v, %v", test.name, e, err)
		}
		got, err := c.Append(nil, &wireV6[0].echo)
		ee, ok := errors.AsType[*codec.EncodeError](err)
		if !ok || ee.Kind != codec.ErrAddress || ee.Field != test.field || ee.Found != test.found || got != nil {
			t.Errorf("%s: Append: % x, %v", test.name, got, err)
		}
	}
	c := codec.EchoV6{}
	err := c.Decode(pingRequestV6, new(codec.Echo))
	if want := "codec: ICMPv6 echo: no address of this family at byte 2: found 0, want IP version 6 in PseudoHeader.Source, or KernelChecksum"; err.Error() != want {
		t.Errorf(" got %v\nwant %s", err, want)
	}
}

func TestEchoV6LeavesTheChecksumToTheKernel(t *testing.T) {
	c := codec.EchoV6{PseudoHeader: byKernel}
	var e codec.Echo
	unsummed := bytes.Clone(pingRequestV6)
	unsummed[2], unsummed[3] = 0, 0
	for _, packet := range [][]byte{unsummed, pingRequestV6} {
		if err := c.Decode(packet, &e); err != nil || !equal(e, wireV6[0].echo) {
			t.Errorf("%+v, %v", e, err)
		}
	}
	if got, err := c.Append(nil, &e); err != nil || !bytes.Equal(got, unsummed) {
		t.Errorf("% x, %v, want % x", got, err, unsummed)
	}
}

func TestEchoV6ReplyIsWhatLinuxRepliesAndWhatAppendMakes(t *testing.T) {
	c := codec.EchoV6{PseudoHeader: onLoopback}
	for i := 0; i < len(wireV6); i += 2 {
		b := bytes.Clone(wireV6[i].packet)
		if err := c.Reply(b); err != nil || !bytes.Equal(b, wireV6[i+1].packet) {
			t.Errorf("%s: % x, %v, want % x", wireV6[i].name, b, err, wireV6[i+1].packet)
		}
	}
	there := codec.EchoV6{PseudoHeader: onLink}
	back := codec.EchoV6{PseudoHeader: codec.PseudoHeader{Source: peerV6, Destination: addrV6}}
	e := codec.Echo{Type: codec.EchoRequest, Code: 255, ID: 0xFFFF, Data: make([]byte, 3)}
	for word := range 1 << 16 { // every checksum there is
		binary.BigEndian.PutUint16(e.Data, uint16(word))
		e.Type = codec.EchoRequest
		got, err := there.Append(nil, &e)
		if err == nil {
			err = there.Reply(got)
		}
		if err != nil {
			t.Fatal(err)
		}
		e.Type = codec.EchoReply
		if want, err := back.Append(nil, &e); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got % x, %v, want % x", got, err, want)
		}
	}
}

func TestEchoV6ReplyNeverMakesABadChecksumGood(t *testing.T) {
	var c codec.EchoV6
	for sum := range 1 << 16 {
		b := bytes.Clone(oddRequestV6)
		binary.BigEndian.PutUint16(b[2:], uint16(sum))
		good := slowChecksumV6(localV6, localV6, b) == 0
		if err := c.Reply(b); err != nil {
			t.Fatal(err)
		}
		if got := slowChecksumV6(localV6, localV6, b) == 0; got != good {
			t.Fatalf("request with checksum %#04x good: %v, its reply: %v", sum, good, got)
		}
	}
}

func TestEchoV6ErrorsSayWhatWouldBeRight(t *testing.T) {
	corrupt := bytes.Clone(oddReplyV6)
	corrupt[2] = 0
	c := codec.EchoV6{PseudoHeader: onLoopback}
	decode := func(b []byte) func() error { return func() error { return c.Decode(b, new(codec.Echo)) } }
	encode := func(e codec.Echo) func() error { return func() error { _, err := c.Append(nil, &e); return err } }
	reply := func(b []byte) func() error { return func() error { return c.Reply(b) } }
	for _, test := range []struct {
		call func() error
		kind error
		text string
	}{
		{decode(nil), codec.ErrTooShort, "message too short at byte 0: found 0, want at least 8"},
		{decode(make([]byte, 7)), codec.ErrTooShort, "message too short at byte 7: found 7, want at least 8"},
		{decode(pingRequest), codec.ErrType, "another type of message at byte 0: found 8, want 128 (request) or 129 (reply)"},
		{decode(append([]byte{128}, make([]byte, 65535)...)), codec.ErrTooLong, "message too long at byte 65535: found 65536, want at most 65535"},
		{decode(corrupt), codec.ErrChecksum, "bad checksum at byte 2: found 0x00f1, want 0x46f1"},
		{encode(codec.Echo{}), codec.ErrType, "another type of message in Type: found 0, want EchoRequest (1) or EchoReply (2)"},
		{encode(codec.Echo{Type: codec.EchoReply, Data: make([]byte, 65528)}), codec.ErrTooLong, "message too long in Data: found 65528, want at most 65527"},
		{reply(make([]byte, 7)), codec.ErrTooShort, "message too short at byte 7: found 7, want at least 8"},
		{reply(pingReplyV6), codec.ErrType, "another type of message at byte 0: found 129, want 128 (request)"},
	} {
		err := test.call()
		if !errors.Is(err, test.kind) || err.Error() != "codec: ICMPv6 echo: "+test.text {
			t.Errorf(" got %v\nwant %s", err, test.text)
		}
	}
}
