package codec_test

import (
	"bytes"
	"encoding/hex"
	"strings"

	"iomux/codec"
)

// Packets as ping(8) of iputils and Linux 6.18 exchanged them on a loopback
// interface, without their IP headers.
var (
	pingRequest = unhex("0800 f790 18d4 0001 70b8036b00000000 b0a3040000000000" +
		"101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637")
	pingReply = unhex("0000 ff90 18d4 0001 70b8036b00000000 b0a3040000000000" +
		"101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637")
	emptyRequest = unhex("0800 df29 18d5 0001") // ping -s 0
	emptyReply   = unhex("0000 e729 18d5 0001")
	oddRequest   = unhex("0800 d31f 18d6 0001 00010203040506") // ping -s 7
	oddReply     = unhex("0000 db1f 18d6 0001 00010203040506")
	code7Request = unhex("0807 5c5a 1234 0001 686921") // from a raw socket
	code7Reply   = unhex("0007 645a 1234 0001 686921") // the kernel's reply to it
)

// wire says which bytes are which message.
var wire = []struct {
	name   string
	packet []byte
	echo   codec.Echo
}{
	{"ping request", pingRequest, codec.Echo{Type: codec.EchoRequest, ID: 0x18d4, Seq: 1, Data: pingRequest[8:]}},
	{"ping reply", pingReply, codec.Echo{Type: codec.EchoReply, ID: 0x18d4, Seq: 1, Data: pingRequest[8:]}},
	{"empty request", emptyRequest, codec.Echo{Type: codec.EchoRequest, ID: 0x18d5, Seq: 1}},
	{"empty reply", emptyReply, codec.Echo{Type: codec.EchoReply, ID: 0x18d5, Seq: 1}},
	{"odd request", oddRequest, codec.Echo{Type: codec.EchoRequest, ID: 0x18d6, Seq: 1, Data: oddRequest[8:]}},
	{"odd reply", oddReply, codec.Echo{Type: codec.EchoReply, ID: 0x18d6, Seq: 1, Data: oddRequest[8:]}},
	{"code 7 request", code7Request, codec.Echo{Type: codec.EchoRequest, Code: 7, ID: 0x1234, Seq: 1, Data: []byte("hi!")}},
	{"code 7 reply", code7Reply, codec.Echo{Type: codec.EchoReply, Code: 7, ID: 0x1234, Seq: 1, Data: []byte("hi!")}},
	{"last sequence number", unhex("0800 f7ff 0000 ffff"), codec.Echo{Type: codec.EchoRequest, Seq: 0xFFFF}},
	{"words that sum to 0xFFFF", unhex("0800 0000 f7ff 0000"), codec.Echo{Type: codec.EchoRequest, ID: 0xF7FF}},
	{"words that are all zero", unhex("0000 ffff 0000 0000 0000"), codec.Echo{Type: codec.EchoReply, Data: []byte{0, 0}}},
}

var redirect = unhex("0501 faf5 0a00 0001")

// foreign holds ICMP messages that are not echo, and what is no ICMP message.
var foreign = []struct {
	name   string
	packet []byte
}{
	{"destination unreachable", append(unhex("0301 fcfe 0000 0000 4500 0054 7865 4000 4001 c441 7f000001 7f000001"), pingRequest[:8]...)},
	{"fragmentation needed", unhex("0304 f7e7 0000 0514 4500 0054 7865 4000 4001 c441")},
	{"source quench", unhex("0400 fbff 0000 0000")},
	{"redirect", redirect},
	{"time exceeded", unhex("0b00 f4ff 0000 0000")},
	{"parameter problem", unhex("0c00 dfff 1400 0000")},
	{"timestamp request", unhex("0d00 f2fe 0001 0000 0000 0000 0000 0000 0000 0000")},
	{"extended echo request", unhex("2a00 d5fe 0001 0000")},
	{"ICMPv6 echo request", unhex("8000 0000 18d4 0001")},
	{"IPv4 header in front", append(unhex("4500 0054 7865 4000 4001 c441 7f000001 7f000001"), pingRequest...)},
	{"IPv4 header with options in front", append(append(unhex("4f00 007c 7865 4000 4001 0000 7f000001 7f000001 0727 04"),
		make([]byte, 37)...), pingRequest...)},
}

// slowChecksum is RFC 1071's checksum as plainly as it can be put.
func slowChecksum(b []byte) uint16 {
	var sum uint32
	for i, c := range b {
		if i%2 == 0 {
			sum += uint32(c) << 8
		} else {
			sum += uint32(c)
		}
		if sum > 0xFFFF {
			sum -= 0xFFFF // the carry comes back in at the bottom
		}
	}
	return ^uint16(sum)
}

// checksummed returns a copy of packet with the right checksum.
func checksummed(packet []byte) []byte {
	packet = bytes.Clone(packet)
	packet[2], packet[3] = 0, 0
	sum := slowChecksum(packet)
	packet[2], packet[3] = byte(sum>>8), byte(sum)
	return packet
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + 1)
	}
	return b
}

func equal(a, b codec.Echo) bool {
	return a.Type == b.Type && a.Code == b.Code && a.ID == b.ID && a.Seq == b.Seq && bytes.Equal(a.Data, b.Data)
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}
