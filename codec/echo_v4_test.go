package codec_test

import (
	"bytes"
	"errors"
	"testing"

	"iomux/codec"
)

func TestEchoV4DecodesWireBytes(t *testing.T) {
	var c codec.EchoV4
	for _, test := range wire {
		var e codec.Echo
		src := bytes.Clone(test.packet)
		if err := c.Decode(src, &e); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if !equal(e, test.echo) {
			t.Errorf("%s: got %+v, want %+v", test.name, e, test.echo)
		}
		if !bytes.Equal(src, test.packet) {
			t.Errorf("%s: Decode changed its source", test.name)
		}
	}
}

func TestEchoV4AppendsWireBytes(t *testing.T) {
	var c codec.EchoV4
	for _, test := range wire {
		e := test.echo
		got, err := c.Append(nil, &e)
		if err != nil || !bytes.Equal(got, test.packet) {
			t.Errorf("%s: got % x, %v, want % x", test.name, got, err, test.packet)
		}
		if !equal(e, test.echo) {
			t.Errorf("%s: Append changed the value", test.name)
		}
	}
}

func TestEchoV4DataAliasesSourceAndCannotGrowIntoIt(t *testing.T) {
	var c codec.EchoV4
	var e codec.Echo
	src := append(bytes.Clone(oddRequest), "next packet"...)
	if err := c.Decode(src[:len(oddRequest)], &e); err != nil {
		t.Fatal(err)
	}
	if &e.Data[0] != &src[8] {
		t.Error("Data is a copy")
	}
	if cap(e.Data) != len(e.Data) {
		t.Errorf("Data has capacity for %d bytes of what follows", cap(e.Data)-len(e.Data))
	}
}

func TestEchoV4DetectsEveryFlippedBit(t *testing.T) {
	var c codec.EchoV4
	var e codec.Echo
	for _, test := range wire {
		packet := bytes.Clone(test.packet)
		for bit := range 8 * len(packet) {
			packet[bit/8] ^= 1 << (bit % 8)
			err := c.Decode(packet, &e)
			want := codec.ErrChecksum
			if packet[0] != 0 && packet[0] != 8 {
				want = codec.ErrType
			}
			if !errors.Is(err, want) {
				t.Errorf("%s, bit %d flipped: %v, want %v", test.name, bit, err, want)
			}
			packet[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func TestEchoV4AcceptsBothZeroChecksums(t *testing.T) {
	var c codec.EchoV4
	var e codec.Echo
	for _, packet := range [][]byte{unhex("0800 0000 f7ff 0000"), unhex("0800 ffff f7ff 0000")} {
		if err := c.Decode(packet, &e); err != nil || e.ID != 0xF7FF {
			t.Errorf("% x: %+v, %v", packet, e, err)
		}
	}
	got, err := c.Append(nil, &e)
	if want := unhex("0800 0000 f7ff 0000"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Append: % x, %v, want % x", got, err, want)
	}
}

func TestEchoV4RejectsAllZeros(t *testing.T) {
	var c codec.EchoV4
	for _, n := range []int{8, 9, 64} {
		if err := c.Decode(make([]byte, n), new(codec.Echo)); !errors.Is(err, codec.ErrChecksum) {
			t.Errorf("%d zeros: %v, want %v", n, err, codec.ErrChecksum)
		}
	}
}

func TestEchoV4BadChecksumStillTellsWhoseProbeItWas(t *testing.T) {
	var c codec.EchoV4
	var e codec.Echo
	packet := bytes.Clone(oddReply)
	packet[14] ^= 0x01
	if err := c.Decode(packet, &e); !errors.Is(err, codec.ErrChecksum) {
		t.Fatal(err)
	}
	if want := (codec.Echo{Type: codec.EchoReply, ID: 0x18d6, Seq: 1, Data: packet[8:]}); !equal(e, want) {
		t.Errorf("got %+v, want %+v", e, want)
	}
}

func TestEchoV4DecodeErrorsSayWhatWouldBeRight(t *testing.T) {
	corrupt := bytes.Clone(oddReply)
	corrupt[2], corrupt[3] = 0, 0x1F
	for _, test := range []struct {
		name string
		src  []byte
		want codec.DecodeError
		text string
	}{
		{"nothing", nil,
			codec.DecodeError{Kind: codec.ErrTooShort, Offset: 0, Found: 0, Want: 8},
			"codec: ICMPv4 echo: message too short at byte 0: found 0, want at least 8"},
		{"7 bytes", pingRequest[:7],
			codec.DecodeError{Kind: codec.ErrTooShort, Offset: 7, Found: 7, Want: 8},
			"codec: ICMPv4 echo: message too short at byte 7: found 7, want at least 8"},
		{"one byte too many", make([]byte, 65516),
			codec.DecodeError{Kind: codec.ErrTooLong, Offset: 65515, Found: 65516, Want: 8},
			"codec: ICMPv4 echo: message too long at byte 65515: found 65516, want at most 65515"},
		{"redirect", redirect,
			codec.DecodeError{Kind: codec.ErrType, Offset: 0, Found: 5, Want: 0},
			"codec: ICMPv4 echo: another type of message at byte 0: found 5, want 8 (request) or 0 (reply)"},
		{"bad checksum", corrupt,
			codec.DecodeError{Kind: codec.ErrChecksum, Offset: 2, Found: 0x1F, Want: 0xDB1F},
			"codec: ICMPv4 echo: bad checksum at byte 2: found 0x001f, want 0xdb1f"},
		{"all zeros", make([]byte, 9),
			codec.DecodeError{Kind: codec.ErrChecksum, Offset: 2, Found: 0, Want: 0xFFFF},
			"codec: ICMPv4 echo: bad checksum at byte 2: found 0x0000, want 0xffff"},
	} {
		var c codec.EchoV4
		err := c.Decode(test.src, new(codec.Echo))
		if !errors.Is(err, test.want.Kind) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want.Kind)
		}
		checkDecodeError(t, test.name, err, test.want, test.text)
	}
}

func checkDecodeError(t *testing.T, name string, err error, want codec.DecodeError, text string) {
	t.Helper()
	de, ok := errors.AsType[*codec.DecodeError](err)
	if !ok {
		t.Errorf("%s: %T, want a *DecodeError", name, err)
		return
	}
	if de.Message != "ICMPv4 echo" || de.Kind != want.Kind || de.Offset != want.Offset || de.Found != want.Found || de.Want != want.Want {
		t.Errorf("%s: %+v, want %+v", name, *de, want)
	}
	if de.Error() != text {
		t.Errorf("%s:\n got %s\nwant %s", name, de, text)
	}
}

func TestEchoV4RejectsEveryShortMessage(t *testing.T) {
	var c codec.EchoV4
	for n := range codec.EchoHeaderLen {
		b := bytes.Clone(pingRequest[:n])
		if err := c.Decode(b, new(codec.Echo)); !errors.Is(err, codec.ErrTooShort) {
			t.Errorf("Decode of %d bytes: %v", n, err)
		}
		if err := c.Reply(b); !errors.Is(err, codec.ErrTooShort) {
			t.Errorf("Reply to %d bytes: %v", n, err)
		}
		if !bytes.Equal(b, pingRequest[:n]) {
			t.Errorf("%d bytes were changed", n)
		}
	}
}

func TestEchoV4RejectsEveryOtherType(t *testing.T) {
	var c codec.EchoV4
	for _, test := range foreign {
		if err := c.Decode(test.packet, new(codec.Echo)); !errors.Is(err, codec.ErrType) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	for typ := range 256 {
		packet := bytes.Clone(pingRequest)
		packet[0] = byte(typ)
		err := c.Decode(checksummed(packet), new(codec.Echo))
		if echo := typ == 0 || typ == 8; echo && err != nil || !echo && !errors.Is(err, codec.ErrType) {
			t.Errorf("type %d: %v", typ, err)
		}
	}
}

func TestEchoV4NothingOfAnEarlierMessageRemains(t *testing.T) {
	var c codec.EchoV4
	var e codec.Echo
	if err := c.Decode(pingRequest, &e); err != nil {
		t.Fatal(err)
	}
	if err := c.Decode(emptyRequest, &e); err != nil || len(e.Data) != 0 {
		t.Errorf("after a longer message: Data % x, %v, want none", e.Data, err)
	}
	if got, err := c.Append(nil, &e); err != nil || !bytes.Equal(got, emptyRequest) {
		t.Errorf("encoded again: % x, %v", got, err)
	}
	if _, err := c.Append(nil, &codec.Echo{Type: codec.EchoReply, Data: pingRequest}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Append(nil, &codec.Echo{Type: codec.EchoRequest, ID: 0x18d5, Seq: 1}); err != nil || !bytes.Equal(got, emptyRequest) {
		t.Errorf("appended after a longer message: % x, %v", got, err)
	}
	for name, bad := range map[string][]byte{
		"short": pingRequest[:7], "long": make([]byte, 70000), "foreign": redirect,
	} {
		if err := c.Decode(pingRequest, &e); err != nil {
			t.Fatal(err)
		}
		if c.Decode(bad, &e); !equal(e, codec.Echo{}) || e.Data != nil {
			t.Errorf("after a %s message: %+v, want zero", name, e)
		}
	}
}

func TestEchoV4LongestMessage(t *testing.T) {
	if codec.MaxEchoDataV4 != 65507 {
		t.Fatalf("MaxEchoDataV4 is %d", codec.MaxEchoDataV4)
	}
	var c codec.EchoV4
	in := codec.Echo{Type: codec.EchoRequest, ID: 1, Seq: 2, Data: pattern(65507)}
	packet, err := c.Append(nil, &in)
	if err != nil || len(packet) != 65515 || slowChecksum(packet) != 0 {
		t.Fatalf("%d bytes with checksum %#04x, %v", len(packet), slowChecksum(packet), err)
	}
	var out codec.Echo
	if err := c.Decode(packet, &out); err != nil || !equal(in, out) {
		t.Errorf("not what was encoded, %v", err)
	}
}

func TestEchoV4AppendErrors(t *testing.T) {
	for _, test := range []struct {
		name  string
		echo  codec.Echo
		kind  error
		field string
		found int
		text  string
	}{
		{"zero value", codec.Echo{}, codec.ErrType, "Type", 0,
			"codec: ICMPv4 echo: another type of message in Type: found 0, want EchoRequest (1) or EchoReply (2)"},
		{"ICMP's number for a request", codec.Echo{Type: 8}, codec.ErrType, "Type", 8,
			"codec: ICMPv4 echo: another type of message in Type: found 8, want EchoRequest (1) or EchoReply (2)"},
		{"one byte too many", codec.Echo{Type: codec.EchoRequest, Data: make([]byte, 65508)}, codec.ErrTooLong, "Data", 65508,
			"codec: ICMPv4 echo: message too long in Data: found 65508, want at most 65507"},
	} {
		var c codec.EchoV4
		array := pattern(70000)
		dst := array[:3]
		got, err := c.Append(dst, &test.echo)
		ee, ok := errors.AsType[*codec.EncodeError](err)
		if !ok || !errors.Is(err, test.kind) {
			t.Errorf("%s: %T %v, want an *EncodeError of kind %v", test.name, err, err, test.kind)
			continue
		}
		if ee.Message != "ICMPv4 echo" || ee.Field != test.field || ee.Found != int64(test.found) {
			t.Errorf("%s: %+v", test.name, *ee)
		}
		if ee.Error() != test.text {
			t.Errorf("%s:\n got %s\nwant %s", test.name, ee, test.text)
		}
		if len(got) != 3 || &got[0] != &dst[0] || !bytes.Equal(array, pattern(70000)) {
			t.Errorf("%s: dst was changed", test.name)
		}
	}
}

// Data may lie anywhere: in dst, behind it, across its end.
func TestEchoV4AppendWhereDataOverlapsDst(t *testing.T) {
	var c codec.EchoV4
	for from := range 40 {
		for n := range 24 {
			for _, room := range []int{64, 20} { // enough, and not enough
				array := pattern(64)
				dst := array[:16:room]
				e := codec.Echo{Type: codec.EchoReply, ID: 3, Seq: 4, Data: array[from : from+n]}
				want := append(pattern(16), checksummed(append([]byte{0, 0, 0, 0, 0, 3, 0, 4}, e.Data...))...)
				got, err := c.Append(dst, &e)
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("data at [%d:%d], dst[:16:%d]:\n got % x, %v\nwant % x", from, from+n, room, got, err, want)
				}
				if fits := room >= 16+8+n; fits != (&got[0] == &array[0]) {
					t.Fatalf("data at [%d:%d], dst[:16:%d]: room was ignored", from, from+n, room)
				}
			}
		}
	}
}

func TestEchoV4DecodedMessageCanBeAppendedInPlace(t *testing.T) {
	var c codec.EchoV4
	var e codec.Echo
	packet := bytes.Clone(pingRequest)
	if err := c.Decode(packet, &e); err != nil {
		t.Fatal(err)
	}
	e.Type = codec.EchoReply
	got, err := c.Append(packet[:0], &e)
	if err != nil || !bytes.Equal(got, pingReply) || &got[0] != &packet[0] {
		t.Errorf("got % x, %v, want % x in place", got, err, pingReply)
	}
}

func TestEchoV4ErrorsLiveUntilTheirNextCall(t *testing.T) {
	var c codec.EchoV4
	for _, request := range [][]byte{nil, emptyReply} {
		decode := c.Decode(pingRequest[:7], new(codec.Echo))
		_, appended := c.Append(nil, &codec.Echo{Type: 9})
		if err := c.Reply(request); err == nil {
			t.Errorf("Reply to % x succeeded", request)
		}
		if want := "codec: ICMPv4 echo: message too short at byte 7: found 7, want at least 8"; decode.Error() != want {
			t.Errorf(" got %v\nwant %s", decode, want)
		}
		reply := c.Reply(request)
		text := reply.Error()
		c.Decode(redirect, new(codec.Echo))
		if reply.Error() != text {
			t.Errorf(" got %v\nwant %s", reply, text)
		}
		if want := "codec: ICMPv4 echo: another type of message in Type: found 9, want EchoRequest (1) or EchoReply (2)"; appended.Error() != want {
			t.Errorf(" got %v\nwant %s", appended, want)
		}
	}
}

func TestEchoV4AllocatesNothing(t *testing.T) {
	var c codec.EchoV4
	var e codec.Echo
	buf := make([]byte, 0, 128)
	request := bytes.Clone(pingRequest)
	corrupt := bytes.Clone(pingRequest)
	corrupt[20] ^= 1
	long := make([]byte, 65516)
	for name, f := range map[string]func() error{
		"decode":          func() error { return c.Decode(pingRequest, &e) },
		"append":          func() error { _, err := c.Append(buf, &wire[0].echo); return err },
		"append no data":  func() error { _, err := c.Append(buf, &wire[2].echo); return err },
		"reply":           func() error { request[0] = 8; return c.Reply(request) },
		"decode short":    func() error { return failing(c.Decode(request[:7], &e)) },
		"decode long":     func() error { return failing(c.Decode(long, &e)) },
		"decode foreign":  func() error { return failing(c.Decode(redirect, &e)) },
		"decode corrupt":  func() error { return failing(c.Decode(corrupt, &e)) },
		"append bad type": func() error { _, err := c.Append(buf, &codec.Echo{}); return failing(err) },
		"append too long": func() error {
			_, err := c.Append(buf, &codec.Echo{Type: codec.EchoReply, Data: long})
			return failing(err)
		},
		"reply to short": func() error { return failing(c.Reply(request[:7])) },
		"reply to reply": func() error { return failing(c.Reply(emptyReply)) },
	} {
		if err := f(); err != nil { // and the first Append makes its buffer
			t.Errorf("%s: %v", name, err)
		}
		if n := testing.AllocsPerRun(100, func() { f() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

var errNone = errors.New("no error")

// failing turns round what is expected.
func failing(err error) error {
	if err == nil {
		return errNone
	}
	return nil
}
