package codec_test

import (
	"errors"
	"fmt"

	"iomux/codec"
)

// A prober encodes a request, a responder turns it into the reply in place, and
// the prober decodes that.
func ExampleEchoV4() {
	var c codec.EchoV4
	packet, err := c.Append(nil, &codec.Echo{Type: codec.EchoRequest, ID: 7, Seq: 1, Data: []byte("hello")})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("% x\n", packet)

	if err := c.Reply(packet); err != nil {
		fmt.Println(err)
		return
	}

	var e codec.Echo
	if err := c.Decode(packet, &e); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%v, identifier %d, sequence number %d: %s\n", e.Type, e.ID, e.Seq, e.Data)
	// Output:
	// 08 00 b4 25 00 07 00 01 68 65 6c 6c 6f
	// echo reply, identifier 7, sequence number 1: hello
}

// Errors have a kind, to count by, and say what is wrong in particular.
func ExampleDecodeError() {
	var c codec.EchoV4
	var e codec.Echo
	err := c.Decode([]byte{0, 0, 0xff, 0x0f, 0, 7, 0, 1}, &e)
	switch {
	case errors.Is(err, codec.ErrTooShort):
		fmt.Println("truncated:", err)
	case errors.Is(err, codec.ErrChecksum):
		fmt.Println("corrupt:", err)
	case errors.Is(err, codec.ErrType):
		fmt.Println("not ours:", err)
	}
	// Output: corrupt: codec: ICMPv4 echo: bad checksum at byte 2: found 0xff0f, want 0xfff7
}

func ExampleChecksum() {
	header := []byte{ // IPv4, its checksum field zero
		0x45, 0x00, 0x00, 0x54, 0x78, 0x65, 0x40, 0x00, 0x40, 0x01,
		0x00, 0x00, 0x7f, 0x00, 0x00, 0x01, 0x7f, 0x00, 0x00, 0x01,
	}
	fmt.Printf("%#04x\n", codec.Checksum(header))
	// Output: 0xc441
}
