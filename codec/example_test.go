package codec_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

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

// The checksum of ICMPv6 covers the addresses of the packet. A raw ICMPv6 socket
// leaves it to the kernel; everybody else knows the addresses.
func ExampleEchoV6() {
	var c codec.EchoV6
	request := codec.Echo{Type: codec.EchoRequest, ID: 7, Seq: 1, Data: []byte("hello")}
	_, err := c.Append(nil, &request)
	fmt.Println(err)

	c.Source, c.Destination = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	packet, err := c.Append(nil, &request)
	fmt.Printf("% x, %v\n", packet, err)
	// Output:
	// codec: ICMPv6 echo: no address of this family in Source: found 0, want 6: an IPv6 address in both Source and Destination, or KernelChecksum
	// 80 00 e0 68 00 07 00 01 68 65 6c 6c 6f, <nil>
}

// An error tells what happened to which probe: its type and code say what, and
// the packet that it quotes says whose.
func ExampleICMPv4() {
	packet := []byte{ // as a raw socket receives it, behind the IP header
		0x03, 0x04, 0x4c, 0x5d, 0x00, 0x00, 0x05, 0x14, // fragmentation needed
		0x45, 0x00, 0x05, 0xdc, 0x78, 0x65, 0x40, 0x00, 0x3f, 0x01, 0xc0, 0xb9, // the quoted packet
		0xc0, 0x00, 0x02, 0x01, 0xc6, 0x33, 0x64, 0x01, 0x08, 0x00, 0xb4, 0x25, 0x00, 0x07, 0x00, 0x2a,
	}
	var c codec.ICMPv4
	var m codec.Message
	if err := c.Decode(packet, &m); err != nil {
		fmt.Println(err)
		return
	}
	var quotes codec.QuoteV4
	var q codec.Quote
	if err := quotes.Decode(m.Quote, &q); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s, MTU %d\n", m.Type.NameV4(m.Code), m.MTU)
	fmt.Printf("%v to %v, identifier %d, sequence number %d, truncated: %t\n", q.Echo.Type, q.Packet.Destination, q.Echo.ID, q.Echo.Seq, q.Truncated)
	// Output:
	// fragmentation needed and DF set, MTU 1300
	// echo request to 198.51.100.1, identifier 7, sequence number 42, truncated: true
}

// Extensions say more about an error: here by which MPLS label the packet had
// come.
func ExampleExtensions() {
	extensions := []byte{0x20, 0x00, 0xd9, 0x62, 0x00, 0x08, 0x01, 0x01, 0x04, 0x93, 0x01, 0x01}
	var c codec.Extensions
	var objects []codec.Object
	if err := c.Decode(extensions, &objects); err != nil {
		fmt.Println(err)
		return
	}
	for _, o := range objects {
		if o.Class == codec.ClassMPLS && len(o.Data) >= 4 {
			entry := binary.BigEndian.Uint32(o.Data)
			fmt.Printf("label %d, time to live %d\n", entry>>12, uint8(entry))
		}
	}
	// Output: label 18736, time to live 1
}

// On a TUN device there are whole packets. A request is turned round in place: the
// message by one codec, the packet by the other.
func ExampleIPv4() {
	packet := []byte{
		0x45, 0x00, 0x00, 0x1c, 0x00, 0x01, 0x00, 0x00, 0x40, 0x01, 0x27, 0xaf,
		0x0a, 0x00, 0x00, 0x01, 0x0a, 0x00, 0x3f, 0x31, 0x08, 0x00, 0xf7, 0xf7, 0x00, 0x07, 0x00, 0x01,
	}
	var ip codec.IPv4
	var p codec.Packet
	if err := ip.Decode(packet, &p); err != nil {
		fmt.Println(err)
		return
	}
	var c codec.EchoV4
	var e codec.Echo
	if err := c.Decode(p.Payload, &e); err != nil || p.Fragment != codec.Whole || e.Type != codec.EchoRequest {
		fmt.Println(err)
		return
	}
	if err := errors.Join(c.Reply(p.Payload), ip.Reply(packet, 64)); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("% x\n", packet)
	// Output: 45 00 00 1c 00 01 00 00 40 01 27 af 0a 00 3f 31 0a 00 00 01 00 00 ff f7 00 07 00 01
}
