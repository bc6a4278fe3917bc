package codec_test

import (
	"encoding/binary"
	"net/netip"

	"iomux/codec"
)

// Packets as ping(8) of iputils and Linux 6.18 exchanged them between ::1 and
// ::1, without their IPv6 headers.
var (
	pingRequestV6 = unhex("8000 db0b 2bb7 0001 5be5036b00000000 509c0a0000000000" +
		"101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637")
	pingReplyV6 = unhex("8100 da0b 2bb7 0001 5be5036b00000000 509c0a0000000000" +
		"101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637")
	emptyRequestV6 = unhex("8000 5402 2bb8 0001") // ping -s 0
	emptyReplyV6   = unhex("8100 5302 2bb8 0001")
	oddRequestV6   = unhex("8000 47f1 2bb9 0001 00010203040506") // ping -s 7
	oddReplyV6     = unhex("8100 46f1 2bb9 0001 00010203040506")
)

// wireV6 says which bytes are which message.
var wireV6 = []struct {
	name   string
	packet []byte
	echo   codec.Echo
}{
	{"ping request", pingRequestV6, codec.Echo{Type: codec.EchoRequest, ID: 0x2bb7, Seq: 1, Data: pingRequestV6[8:]}},
	{"ping reply", pingReplyV6, codec.Echo{Type: codec.EchoReply, ID: 0x2bb7, Seq: 1, Data: pingRequestV6[8:]}},
	{"empty request", emptyRequestV6, codec.Echo{Type: codec.EchoRequest, ID: 0x2bb8, Seq: 1}},
	{"empty reply", emptyReplyV6, codec.Echo{Type: codec.EchoReply, ID: 0x2bb8, Seq: 1}},
	{"odd request", oddRequestV6, codec.Echo{Type: codec.EchoRequest, ID: 0x2bb9, Seq: 1, Data: []byte{0, 1, 2, 3, 4, 5, 6}}},
	{"odd reply", oddReplyV6, codec.Echo{Type: codec.EchoReply, ID: 0x2bb9, Seq: 1, Data: []byte{0, 1, 2, 3, 4, 5, 6}}},
}

var (
	localV6    = netip.IPv6Loopback()
	addrV6     = netip.MustParseAddr("2001:db8:ffff::1")
	peerV6     = netip.MustParseAddr("2001:db8::ffff:2")
	addrV4     = netip.MustParseAddr("192.0.2.1")
	peerV4     = netip.MustParseAddr("198.51.100.255")
	onLoopback = codec.PseudoHeader{Source: localV6, Destination: localV6}
	onLink     = codec.PseudoHeader{Source: addrV6, Destination: peerV6}
	byKernel   = codec.PseudoHeader{KernelChecksum: true}
)

// slowChecksumV6 is RFC 8200's checksum as plainly as it can be put: over a
// pseudo header that really is one.
func slowChecksumV6(source, destination netip.Addr, packet []byte) uint16 {
	b := append(source.AsSlice(), destination.AsSlice()...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(packet)))
	b = append(b, 0, 0, 0, 58)
	return slowChecksum(append(b, packet...))
}

// checksummedV6 returns a copy of packet with the checksum that is right on
// loopback.
func checksummedV6(packet []byte) []byte {
	packet = append([]byte(nil), packet...)
	packet[2], packet[3] = 0, 0
	sum := slowChecksumV6(localV6, localV6, packet)
	packet[2], packet[3] = byte(sum>>8), byte(sum)
	return packet
}
