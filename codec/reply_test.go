package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"iomux/codec"
)

func TestEchoV4ReplyIsWhatLinuxReplies(t *testing.T) {
	for _, test := range []struct {
		name           string
		request, reply []byte
	}{
		{"ping", pingRequest, pingReply},
		{"empty", emptyRequest, emptyReply},
		{"odd", oddRequest, oddReply},
		{"code 7", code7Request, code7Reply},
	} {
		var c codec.EchoV4
		b := bytes.Clone(test.request)
		if err := c.Reply(b); err != nil || !bytes.Equal(b, test.reply) {
			t.Errorf("%s: % x, %v, want % x", test.name, b, err, test.reply)
		}
	}
}

// Every checksum there is, with every kind of message around it.
func TestEchoV4ReplyIsWhatAppendMakes(t *testing.T) {
	var c codec.EchoV4
	for _, e := range []codec.Echo{
		{Type: codec.EchoRequest, Data: make([]byte, 2)},
		{Type: codec.EchoRequest, Data: make([]byte, 3)},
		{Type: codec.EchoRequest, Code: 255, ID: 0xFFFF, Seq: 0xFFFF, Data: pattern(2)},
		{Type: codec.EchoRequest, ID: 0xF7FF, Data: make([]byte, 56)},
	} {
		for word := range 1 << 16 {
			binary.BigEndian.PutUint16(e.Data, uint16(word))
			e.Type = codec.EchoRequest
			got, err := c.Append(nil, &e)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Reply(got); err != nil {
				t.Fatal(err)
			}
			e.Type = codec.EchoReply
			if want, err := c.Append(nil, &e); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("got % x, %v, want % x", got, err, want)
			}
		}
	}
}

func TestEchoV4ReplyToTheOtherZeroChecksum(t *testing.T) {
	var c codec.EchoV4
	b := unhex("0800 ffff f7ff 0000")
	if err := c.Reply(b); err != nil || !bytes.Equal(b, unhex("0000 0800 f7ff 0000")) {
		t.Errorf("% x, %v", b, err)
	}
}

// RFC 1624 rules this out for IP headers: nothing but the checksum is left.
func TestEchoV4ReplyOfNothingButZeros(t *testing.T) {
	var c codec.EchoV4
	for _, n := range []int{8, 9, 64} {
		b := make([]byte, n)
		b[0] = 8
		b = checksummed(b)
		if err := c.Reply(b); err != nil || slowChecksum(b) != 0 {
			t.Errorf("% x, %v", b, err)
		}
	}
}

func TestEchoV4ReplyNeverMakesABadChecksumGood(t *testing.T) {
	var c codec.EchoV4
	for _, request := range [][]byte{pingRequest, emptyRequest, unhex("0800 f7ff 0000 0000")} {
		for sum := range 1 << 16 {
			b := bytes.Clone(request)
			binary.BigEndian.PutUint16(b[2:], uint16(sum))
			good := slowChecksum(b) == 0
			if err := c.Reply(b); err != nil {
				t.Fatal(err)
			}
			if got := slowChecksum(b) == 0; got != good {
				t.Fatalf("request with checksum %#04x good: %v, its reply: %v", sum, good, got)
			}
		}
	}
}

func TestEchoV4ReplyAnswersRequestsOnly(t *testing.T) {
	var c codec.EchoV4
	for typ := range 256 {
		if typ == 8 {
			continue
		}
		b := bytes.Clone(pingRequest)
		b[0] = byte(typ)
		b = checksummed(b)
		was := bytes.Clone(b)
		if err := c.Reply(b); !errors.Is(err, codec.ErrType) || !bytes.Equal(b, was) {
			t.Errorf("type %d: %v", typ, err)
		}
	}
	checkDecodeError(t, "reply", c.Reply(pingReply),
		codec.DecodeError{Kind: codec.ErrType, Found: 0, Want: 8},
		"codec: ICMPv4 echo: another type of message at byte 0: found 0, want 8 (request)")
	checkDecodeError(t, "7 bytes", c.Reply(pingRequest[:7]),
		codec.DecodeError{Kind: codec.ErrTooShort, Offset: 7, Found: 7, Want: 8},
		"codec: ICMPv4 echo: message too short at byte 7: found 7, want at least 8")
}
