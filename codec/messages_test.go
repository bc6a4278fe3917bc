package codec_test

import (
	"bytes"
	"net/netip"
	"reflect"
	"slices"

	"iomux/codec"
)

// The quoted packets of the messages below: an echo request to 127.0.0.1 and to
// ::1, as ping(8) sends it.
var (
	quotedV4 = append(unhex("4500 0054 7865 4000 4001 c441 7f000001 7f000001"), pingRequest...)
	quotedV6 = append(unhex("600de14d 0040 3a40 00000000000000000000000000000001 00000000000000000000000000000001"), pingRequestV6...)

	// An MPLS label stack of two entries, and an interface's index (RFC 4950, RFC
	// 5837).
	extended = unhex("2000 5707 000c 01 01 0499 0040 0000 8101 0008 02 02 00000007")
)

// messagesV4 says which bytes are which ICMPv4 message.
var messagesV4 = []struct {
	name    string
	packet  []byte
	message codec.Message
}{
	{"echo request", pingRequest, codec.Message{Type: codec.EchoRequest, ID: 0x18d4, Seq: 1, Data: pingRequest[8:]}},
	{"echo reply with code 7", code7Reply, codec.Message{Type: codec.EchoReply, Code: 7, ID: 0x1234, Seq: 1, Data: []byte("hi!")}},
	{"port unreachable", unhex("0303 fb18 00000000 4500001c12df0000401169f07f0000017f000001 0035 0009 0008 019e"), // Linux
		codec.Message{Type: codec.DestinationUnreachable, Code: codec.PortUnreachableV4,
			Quote: unhex("4500001c12df0000401169f07f0000017f000001 0035 0009 0008 019e")}},
	{"host unreachable without a quote", checksummed(unhex("0301 0000 00000000")),
		codec.Message{Type: codec.DestinationUnreachable, Code: codec.HostUnreachableV4}},
	{"fragmentation needed, MTU 1300", checksummed(append(unhex("0304 0000 0000 0514"), quotedV4[:28]...)),
		codec.Message{Type: codec.DestinationUnreachable, Code: codec.FragmentationNeededV4, MTU: 1300, Quote: quotedV4[:28]}},
	{"fragmentation needed with extensions", checksummed(slices.Concat(unhex("0304 0000 0020 0044"), quotedV4, make([]byte, 44), extended)),
		codec.Message{Type: codec.DestinationUnreachable, Code: codec.FragmentationNeededV4, MTU: 68,
			Quote: append(bytes.Clone(quotedV4), make([]byte, 44)...), Extensions: extended}},
	{"time exceeded", checksummed(append(unhex("0b00 0000 00000000"), quotedV4...)),
		codec.Message{Type: codec.TimeExceeded, Quote: quotedV4}},
	{"time exceeded with extensions after 132 bytes", checksummed(slices.Concat(unhex("0b01 0000 00210000"), pattern(132), extended)),
		codec.Message{Type: codec.TimeExceeded, Code: codec.ReassemblyTimeExceeded, Quote: pattern(132), Extensions: extended}},
	{"parameter problem", checksummed(append(unhex("0c00 0000 14000000"), quotedV4...)),
		codec.Message{Type: codec.ParameterProblem, Pointer: 20, Quote: quotedV4}},
	{"parameter problem with extensions", checksummed(slices.Concat(unhex("0c02 0000 ff200000"), pattern(128), extended)),
		codec.Message{Type: codec.ParameterProblem, Code: 2, Pointer: 255, Quote: pattern(128), Extensions: extended}},
	{"redirect", checksummed(append(unhex("0501 0000 0a000001"), quotedV4...)),
		codec.Message{Type: codec.Redirect, Code: 1, Gateway: netip.MustParseAddr("10.0.0.1"), Quote: quotedV4}},
	{"timestamp request", unhex("0d00 9be5 5719 0001 00000000 00000000 00000000"), // nping
		codec.Message{Type: codec.TimestampRequest, ID: 0x5719, Seq: 1}},
	{"timestamp reply", unhex("0e00 4b13 5719 0001 00000000 01842665 01842665"), // Linux
		codec.Message{Type: codec.TimestampReply, ID: 0x5719, Seq: 1, Receive: 0x01842665, Transmit: 0x01842665}},
	{"extended echo request", checksummed(unhex("2a00 0000 0007 ff01 2000 7087 0008 0301 6c6f0000")),
		codec.Message{Type: codec.ExtendedEchoRequest, ID: 7, Seq: 255, Local: true, Extensions: unhex("2000 7087 0008 0301 6c6f0000")}},
	{"extended echo reply", checksummed(unhex("2b04 0000 0007 fe45 6869")),
		codec.Message{Type: codec.ExtendedEchoReply, Code: 4, ID: 7, Seq: 254,
			Interface: codec.Interface{State: 2, Active: true, IPv6: true}, Data: []byte("hi")}},
	{"extended echo reply of everything", checksummed(unhex("2b00 0000 ffff ffe7")),
		codec.Message{Type: codec.ExtendedEchoReply, ID: 0xFFFF, Seq: 255,
			Interface: codec.Interface{State: 7, Active: true, IPv4: true, IPv6: true}}},
}

// messagesV6 says which bytes are which ICMPv6 message, from ::1 to ::1.
var messagesV6 = []struct {
	name    string
	packet  []byte
	message codec.Message
}{
	{"echo request", pingRequestV6, codec.Message{Type: codec.EchoRequest, ID: 0x2bb7, Seq: 1, Data: pingRequestV6[8:]}},
	{"echo reply", emptyReplyV6, codec.Message{Type: codec.EchoReply, ID: 0x2bb8, Seq: 1}},
	{"no route", checksummedV6(append(unhex("0100 0000 00000000"), quotedV6...)),
		codec.Message{Type: codec.DestinationUnreachable, Code: codec.NoRouteV6, Quote: quotedV6}},
	{"port unreachable with code 4 and no MTU", checksummedV6(append(unhex("0104 0000 00000000"), quotedV6[:40]...)),
		codec.Message{Type: codec.DestinationUnreachable, Code: codec.PortUnreachableV6, Quote: quotedV6[:40]}},
	{"unreachable with extensions", checksummedV6(slices.Concat(unhex("0103 0000 10000000"), quotedV6, make([]byte, 24), extended)),
		codec.Message{Type: codec.DestinationUnreachable, Code: codec.AddressUnreachableV6,
			Quote: append(bytes.Clone(quotedV6), make([]byte, 24)...), Extensions: extended}},
	{"packet too big", checksummedV6(append(unhex("0200 0000 00010500"), quotedV6...)),
		codec.Message{Type: codec.PacketTooBig, MTU: 0x10500, Quote: quotedV6}},
	{"time exceeded", checksummedV6(append(unhex("0300 0000 00000000"), quotedV6...)),
		codec.Message{Type: codec.TimeExceeded, Quote: quotedV6}},
	{"time exceeded with extensions after 136 bytes", checksummedV6(slices.Concat(unhex("0301 0000 11000000"), pattern(136), extended)),
		codec.Message{Type: codec.TimeExceeded, Code: codec.ReassemblyTimeExceeded, Quote: pattern(136), Extensions: extended}},
	{"parameter problem", checksummedV6(append(unhex("0401 0000 00010006"), quotedV6...)),
		codec.Message{Type: codec.ParameterProblem, Code: 1, Pointer: 0x10006, Quote: quotedV6}},
	{"redirect", checksummedV6(slices.Concat(unhex("8900 0000 00000000 fe80000000000000000000000000beef 20010db8000000000000000000000009 040e 000000000000"), quotedV6)),
		codec.Message{Type: codec.Redirect, Gateway: netip.MustParseAddr("fe80::beef"), Destination: netip.MustParseAddr("2001:db8::9"), Quote: quotedV6}},
	{"redirect without options", checksummedV6(unhex("8900 0000 00000000 fe80000000000000000000000000beef 20010db8000000000000000000000009")),
		codec.Message{Type: codec.Redirect, Gateway: netip.MustParseAddr("fe80::beef"), Destination: netip.MustParseAddr("2001:db8::9")}},
	{"extended echo request", checksummedV6(unhex("a000 0000 0007 0100 2000 7087 0008 0301 6c6f0000")),
		codec.Message{Type: codec.ExtendedEchoRequest, ID: 7, Seq: 1, Extensions: unhex("2000 7087 0008 0301 6c6f0000")}},
	{"extended echo reply", checksummedV6(unhex("a102 0000 0007 0103")),
		codec.Message{Type: codec.ExtendedEchoReply, Code: 2, ID: 7, Seq: 1, Interface: codec.Interface{IPv4: true, IPv6: true}}},
}

// same tells whether two messages say the same; empty and nil are one.
func same(a, b codec.Message) bool {
	for _, m := range []*codec.Message{&a, &b} {
		for _, s := range []*[]byte{&m.Data, &m.Quote, &m.Extensions} {
			if len(*s) == 0 {
				*s = nil
			}
		}
	}
	return reflect.DeepEqual(a, b)
}
