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

func TestExtensionsDecodesAndAppendsWireBytes(t *testing.T) {
	for _, test := range []struct {
		name    string
		packet  []byte
		objects []codec.Object
	}{
		{"nothing", unhex("2000 dfff"), []codec.Object{}},
		{"MPLS and interface", checksummed(extended), extendedObjects},
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
		if b, err := c.Append(nil, &test.objects); err != nil || !bytes.Equal(b, test.packet) {
			t.Errorf("%s: % x, %v, want % x", test.name, b, err, test.packet)
		}
	}
}

// What follows the objects in their array is of an earlier message.
func TestExtensionsNothingOfAnEarlierMessageRemains(t *testing.T) {
	var c codec.Extensions
	objects := make([]codec.Object, 0, 4)
	for _, next := range [][]byte{unhex("2000 dfff"), unhex("3000 0000"), nil} {
		if err := c.Decode(checksummed(extended), &objects); err != nil || len(objects) != 2 {
			t.Fatal(objects, err)
		}
		c.Decode(next, &objects)
		if !reflect.DeepEqual(objects[:4], make([]codec.Object, 4)) {
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
	many := unhex("2000 0000")
	for range codec.MaxObjects + 1 {
		many = append(many, 0, 4, 1, 1)
	}
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
		{func() error { return c.Decode(checksummed(many), new([]codec.Object)) }, codec.ErrTooLong, "message too long at byte 132: found 33, want at most 32 objects"},
		{encode(codec.Object{Data: pattern(3)}), codec.ErrLength, "impossible length in Data: found 3, want a multiple of 4"},
		{encode(slices.Repeat([]codec.Object{{}}, 33)...), codec.ErrTooLong, "message too long in objects: found 33, want at most 32"},
		{encode(codec.Object{}, codec.Object{Data: make([]byte, 65528)}), codec.ErrTooLong, "message too long in Data: found 65528, want at most 65535 in all"},
	} {
		if err := test.call(); !errors.Is(err, test.kind) || err.Error() != "codec: ICMP extension structure: "+test.text {
			t.Errorf("\n got %v\nwant %s", err, test.text)
		}
	}
	if err := c.Decode(checksummed(many[:len(many)-4]), new([]codec.Object)); err != nil {
		t.Errorf("as many as there can be: %v", err)
	}
}
