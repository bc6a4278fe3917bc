package codec_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"

	"iomux/codec"
)

var extendedObjects = []codec.Object{
	{Class: codec.ClassMPLS, Type: 1, Data: unhex("0499 0040 0000 8101")},
	{Class: codec.ClassInterfaceInfo, Type: 2, Data: unhex("00000007")},
}

// tooManyObjects has one more than there can be, and no checksum.
var tooManyObjects = append(unhex("2000 0000"), bytes.Repeat(unhex("0004 0101"), codec.MaxObjects+1)...)

func TestExtensionsDecodesAndAppendsWireBytes(t *testing.T) {
	for _, test := range []struct {
		name    string
		packet  []byte
		objects []codec.Object
	}{
		{"nothing", unhex("2000 dfff"), []codec.Object{}},
		{"MPLS and interface", checksummed(extended), extendedObjects},
		{"a checksum of zero, which is sent as the other zero", unhex("2000 ffff 0008 0909 0000d6ee"),
			[]codec.Object{{Class: 9, Type: 9, Data: unhex("0000d6ee")}}},
		{"as many bytes as there can be", checksummed(append(unhex("2000 0000 fff8 0901"), make([]byte, 65524)...)),
			[]codec.Object{{Class: 9, Type: 1, Data: make([]byte, 65524)}}},
		{"interface by name", checksummed(unhex("2000 0000 0008 0301 6c6f0000")),
			[]codec.Object{{Class: codec.ClassInterfaceID, Type: 1, Data: []byte("lo\x00\x00")}}},
		{"objects without data", checksummed(unhex("2000 0000 0004 f701 0004 0101")),
			[]codec.Object{{Class: 247, Type: 1, Data: []byte{}}, {Class: 1, Type: 1, Data: []byte{}}}},
	} {
		var c codec.Extensions
		src := bytes.Clone(test.packet)
		got := []codec.Object{{Class: 9, Data: pattern(3)}, {}, {}}
		if err := c.Decode(src, &got); err != nil || !reflect.DeepEqual(got, test.objects) || !bytes.Equal(src, test.packet) {
			t.Errorf("%s: %+v, %v, want %+v", test.name, got, err, test.objects)
		}
		for _, o := range got {
			if cap(o.Data) != len(o.Data) {
				t.Errorf("%s: an object can grow into the next", test.name)
			}
		}
		if b, err := c.Append(nil, &test.objects); err != nil || !bytes.Equal(b, test.packet) {
			t.Errorf("%s: % x, %v, want % x", test.name, b, err, test.packet)
		}
	}
}

// What follows the objects in their array is of an earlier message.
func TestExtensionsNothingOfAnEarlierMessageRemains(t *testing.T) {
	var c codec.Extensions
	objects := make([]codec.Object, 0, 4)
	malformed := unhex("2000 0000 0008 0909 00000001 0004 0101 0000 0101")
	for _, next := range [][]byte{unhex("2000 dfff"), unhex("3000 0000"), nil, malformed} {
		if err := c.Decode(checksummed(extended), &objects); err != nil || len(objects) != 2 {
			t.Fatal(objects, err)
		}
		objects = objects[:0] // its array has more
		c.Decode(next, &objects)
		if len(objects) != 0 || cap(objects) < 4 || !reflect.DeepEqual(objects[:4], make([]codec.Object, 4)) {
			t.Errorf("after % x: %+v", next, objects[:4])
		}
	}
}

func TestExtensionsAcceptsAnAbsentChecksumOnly(t *testing.T) {
	var c codec.Extensions
	var objects []codec.Object
	b := checksummed(extended)
	for sum := range 1 << 16 {
		good := b[2] == byte(sum>>8) && b[3] == byte(sum)
		packet := append([]byte{b[0], b[1], byte(sum >> 8), byte(sum)}, b[4:]...)
		err := c.Decode(packet, &objects)
		if ok := good || sum == 0; ok != (err == nil) || !ok && !errors.Is(err, codec.ErrChecksum) {
			t.Fatalf("checksum %#04x: %v", sum, err)
		}
	}
}

func TestExtensionsErrorsSayWhatWouldBeRight(t *testing.T) {
	var c codec.Extensions
	type call = func() error
	decode := func(s string) call {
		return func() error { return c.Decode(checksummed(unhex(s)), new([]codec.Object)) }
	}
	encode := func(o ...codec.Object) call { return func() error { _, err := c.Append(nil, &o); return err } }
	for _, test := range []struct {
		call call
		kind error
		text string
	}{
		{func() error { return c.Decode(unhex("2000df"), new([]codec.Object)) }, codec.ErrTooShort, "message too short at byte 3: found 3, want at least 4"},
		{decode("1000 0000"), codec.ErrVersion, "another version at byte 0: found 1, want 2"},
		{func() error { return c.Decode(unhex("2000 0001"), new([]codec.Object)) }, codec.ErrChecksum, "bad checksum at byte 2: found 0x0001, want 0xdfff"},
		{decode("2000 0000 0004 01"), codec.ErrTooShort, "message too short at byte 7: found 7, want at least 8"},
		{decode("2000 0000 0000 0101"), codec.ErrLength, "impossible length at byte 4: found 0, want a multiple of 4 from 4 to 4"},
		{decode("2000 0000 0004 0101 0008 0101"), codec.ErrLength, "impossible length at byte 8: found 8, want a multiple of 4 from 4 to 4"},
		{decode("2000 0000 0006 0101 00000000"), codec.ErrLength, "impossible length at byte 4: found 6, want a multiple of 4 from 4 to 8"},
		{func() error { return c.Decode(checksummed(tooManyObjects), new([]codec.Object)) }, codec.ErrTooLong, "message too long at byte 132: found 33, want at most 32 objects"},
		{func() error {
			return c.Decode(append(unhex("2000 0000 fffc 0101"), make([]byte, 65528)...), new([]codec.Object))
		}, codec.ErrTooLong,
			"message too long at byte 65535: found 65536, want at most 65535"},
		{encode(codec.Object{Data: make([]byte, 65528)}), codec.ErrTooLong, "message too long in Data: found 65528, want at most 65535 in all"},
		{encode(codec.Object{Data: pattern(3)}), codec.ErrLength, "impossible length in Data: found 3, want a multiple of 4"},
		{encode(slices.Repeat([]codec.Object{{}}, 33)...), codec.ErrTooLong, "message too long in objects: found 33, want at most 32"},
		{encode(codec.Object{}, codec.Object{Data: make([]byte, 65528)}), codec.ErrTooLong, "message too long in Data: found 65528, want at most 65535 in all"},
	} {
		if err := test.call(); !errors.Is(err, test.kind) || err.Error() != "codec: ICMP extension structure: "+test.text {
			t.Errorf("\n got %v\nwant %s", err, test.text)
		}
	}
	if err := c.Decode(checksummed(tooManyObjects[:len(tooManyObjects)-4]), new([]codec.Object)); err != nil {
		t.Errorf("as many as there can be: %v", err)
	}
}

// A router older than RFC 4884 tells no length. The structure is where it would be
// behind the shortest quote, and the checksum tells it from what the packet has
// there.
func TestExtensionsOfOlderRoutersAreBehindByte128(t *testing.T) {
	believed := func(quote []byte) bool {
		var objects []codec.Object
		return len(quote) > 130 && new(codec.Extensions).Decode(quote[128:], &objects) == nil && (quote[130] != 0 || quote[131] != 0)
	}
	structure := checksummed(extended)
	for name, test := range map[string]struct {
		behind []byte
		want   bool
	}{
		"a structure":               {structure, true},
		"a damaged one":             {changed(structure, 9, ^structure[9]), false},
		"one without checksum":      {changed(structure, 2, 0, 0), false},
		"more of the packet":        {pattern(16), false},
		"nothing":                   {nil, false},
		"a structure and its quote": {append(bytes.Clone(structure), 1), false},
	} {
		quote := append(append(bytes.Clone(quotedV4), make([]byte, 128-len(quotedV4))...), test.behind...)
		var m codec.Message
		b := checksummed(append(unhex("0b00 0000 00000000"), quote...))
		if err := new(codec.ICMPv4).Decode(b, &m); err != nil || m.Extensions != nil || believed(m.Quote) != test.want {
			t.Errorf("ICMPv4: %s: %+v, %v", name, m, err)
		}
		v6 := codec.ICMPv6{PseudoHeader: onLoopback}
		b = checksummedV6(append(unhex("0300 0000 00000000"), quote...))
		if err := v6.Decode(b, &m); err != nil || m.Extensions != nil || believed(m.Quote) != test.want {
			t.Errorf("ICMPv6: %s: %+v, %v", name, m, err)
		}
	}
}
