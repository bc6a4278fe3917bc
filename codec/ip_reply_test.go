package codec_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"iomux/codec"
)

// A whole packet is turned round in place, as a responder on a TUN device does.
func TestIPReply(t *testing.T) {
	var v4 codec.IPv4
	var v6 codec.IPv6
	for _, test := range packetsV4 {
		if test.packet.Fragment != codec.Whole {
			continue
		}
		for ttl := range 256 {
			b := append(bytes.Clone(test.bytes), "padding"...)
			want := test.packet
			want.Source, want.Destination, want.TTL = want.Destination, want.Source, uint8(ttl)
			var p codec.Packet
			err := v4.Reply(b, uint8(ttl))
			if err == nil {
				err = v4.Decode(b, &p)
			}
			if err != nil || !samePacket(p, want) || string(b[len(test.bytes):]) != "padding" {
				t.Errorf("%s, TTL %d: %+v, %v", test.name, ttl, p, err)
			}
			corrupt := bytes.Clone(test.bytes)
			corrupt[10] ^= 1
			if err := v4.Reply(corrupt, uint8(ttl)); err != nil || !errors.Is(v4.Decode(corrupt, &p), codec.ErrChecksum) {
				t.Errorf("%s: a bad checksum became good", test.name)
			}
		}
	}
	for _, test := range packetsV6 {
		if test.packet.ExtensionHeaders != nil {
			continue
		}
		b := bytes.Clone(test.bytes)
		want := test.packet
		want.Source, want.Destination, want.TTL = want.Destination, want.Source, 77
		var p codec.Packet
		err := v6.Reply(b, 77)
		if err == nil {
			err = v6.Decode(b, &p)
		}
		if err != nil || !samePacket(p, want) {
			t.Errorf("%s: %+v, %v", test.name, p, err)
		}
	}
	for _, bad := range [][]byte{nil, make([]byte, 40), unhex("4400"), append([]byte{0x44}, make([]byte, 19)...), append([]byte{0x4F}, make([]byte, 58)...)} {
		was := bytes.Clone(bad)
		if err := v4.Reply(bad, 64); err == nil || !bytes.Equal(bad, was) {
			t.Errorf("IPv4: % x became % x, %v", was, bad, err)
		}
		if err := v6.Reply(bad, 64); err == nil || !bytes.Equal(bad, was) {
			t.Errorf("IPv6: % x became % x, %v", was, bad, err)
		}
	}
}

// A reply to one of these would be wrong: a part of a message, or sent a way that
// is none.
func TestIPReplyRefuses(t *testing.T) {
	options := func(o string) []byte { return onIPv4("4700 0000 7865 0000 4001 0000 c0000201 c63364ff"+o, pingRequest) }
	type refused struct {
		name   string
		packet []byte
		kind   error
		text   string
	}
	tests := []refused{
		{"the first fragment", packetsV4[4].bytes, codec.ErrType, "IPv4: another type of message at byte 6: found 8192, want 0: no fragment"},
		{"a later fragment", packetsV4[5].bytes, codec.ErrType, "IPv4: another type of message at byte 6: found 8193, want 0: no fragment"},
		{"the last fragment", packetsV4[6].bytes, codec.ErrType, "IPv4: another type of message at byte 6: found 8189, want 0: no fragment"},
		{"a loose source route", options("83 07 08 c6336401 00"), codec.ErrType, "IPv4: another type of message at byte 20: found 131, want no source route"},
		{"a strict one behind others", options("01 4404 0500 8903 04"), codec.ErrType, "IPv4: another type of message at byte 25: found 137, want no source route"},
		{"an option without an end", options("07 09 04 00000000 00"), codec.ErrLength, "IPv4: impossible length at byte 21: found 9, want an option of 2 to 8 bytes"},
	}
	for _, test := range packetsV6 {
		if test.packet.ExtensionHeaders != nil {
			tests = append(tests, refused{test.name, test.bytes, codec.ErrType,
				fmt.Sprintf("IPv6: another type of message at byte 6: found %d, want no extension header", test.packet.NextHeader)})
		}
	}
	for _, test := range tests {
		reply := new(codec.IPv4).Reply
		if test.packet[0]>>4 == 6 {
			reply = new(codec.IPv6).Reply
		}
		b := bytes.Clone(test.packet)
		if err := reply(b, 64); !errors.Is(err, test.kind) || err.Error() != "codec: "+test.text || !bytes.Equal(b, test.packet) {
			t.Errorf("%s:\n got %v\nwant codec: %s", test.name, err, test.text)
		}
	}
	// What looks like a source route is none behind the end, or in another option.
	for _, o := range []string{"00 83 07 08 c6336401", "44 08 05 83 89 83 89 83", "01 00 89 00 00 00 00 00"} {
		if err := new(codec.IPv4).Reply(options(o), 64); err != nil {
			t.Errorf("%s: %v", o, err)
		}
	}
	if err := new(codec.IPv4).Reply(onIPv4("4500 0000 7865 c000 4001 0000 c0000201 c63364ff", pingRequest), 64); err != nil {
		t.Errorf("with the reserved flag and DF: %v", err)
	}
}
