package codec_test

import (
	"testing"

	"iomux/codec"
)

// allocatesNothing fails the test if one of the packets, decoded by c and encoded
// from what it says if that is right, costs an allocation.
func allocatesNothing[T any](t *testing.T, c codec.Codec[T], packets ...[]byte) {
	t.Helper()
	buf := make([]byte, 0, 1<<17)
	v := new(T)
	for _, packet := range packets {
		both := func() {
			if c.Decode(packet, v) == nil {
				c.Append(buf, v)
			}
		}
		both() // the first makes what is used again
		if n := testing.AllocsPerRun(20, both); n != 0 {
			t.Errorf("%T: %.60x: %v allocations", c, packet, n)
		}
	}
}

// encodesNothing does so with values that cannot be encoded.
func encodesNothing[T any](t *testing.T, c codec.Codec[T], values ...T) {
	t.Helper()
	buf := make([]byte, 0, 64)
	for i := range values {
		var err error
		if n := testing.AllocsPerRun(20, func() { _, err = c.Append(buf, &values[i]) }); n != 0 || err == nil {
			t.Errorf("%T: %v: %v allocations", c, err, n)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	v4, v6 := &codec.ICMPv4{}, &codec.ICMPv6{PseudoHeader: onLoopback}
	for _, in := range inputs() {
		allocatesNothing(t, &codec.IPv4{}, in.packet)
		if len(in.packet) >= 28 {
			allocatesNothing(t, v4, in.packet[20:])
			allocatesNothing(t, &codec.Extensions{}, in.packet[len(in.packet)-len(extended):])
		}
	}
	for _, test := range messagesV4 {
		allocatesNothing(t, v4, test.packet, test.packet[:7], changed(test.packet, 2, ^test.packet[2]))
	}
	for _, test := range messagesV6 {
		allocatesNothing(t, v6, test.packet, test.packet[:7], changed(test.packet, 2, ^test.packet[2]))
		allocatesNothing(t, &codec.EchoV6{PseudoHeader: onLoopback}, test.packet)
		allocatesNothing(t, &codec.ICMPv6{}, test.packet)
		allocatesNothing(t, &codec.EchoV6{}, test.packet)
	}
	for _, test := range packetsV4 {
		allocatesNothing(t, &codec.IPv4{}, test.bytes, test.bytes[:19], changed(test.bytes, 10, ^test.bytes[10]))
	}
	for _, test := range packetsV6 {
		allocatesNothing(t, &codec.IPv6{}, test.bytes, test.bytes[:39], test.bytes[:len(test.bytes)-1])
	}
	allocatesNothing(t, &codec.Extensions{}, checksummed(extended), extended, extended[:3], unhex("3000 0000"))
	allocatesNothing(t, &codec.Extensions{}, unhex("2000 0000 0004 0101 0004 0101 0004 0101 0000 0101")) // the objects before do not count
	allocatesNothing(t, &codec.Extensions{}, tooManyObjects)
}

func TestNothingIsAllocatedForErrorsOfAppend(t *testing.T) {
	large := make([]byte, 1<<16)
	encodesNothing(t, &codec.ICMPv4{}, codec.Message{}, codec.Message{Type: codec.SourceQuench}, codec.Message{Type: codec.Redirect},
		codec.Message{Type: codec.EchoReply, Data: large}, codec.Message{Type: codec.TimeExceeded, Quote: large, Extensions: extended},
		codec.Message{Type: codec.TimeExceeded, Extensions: large}, codec.Message{Type: codec.ExtendedEchoReply, Seq: 256},
		codec.Message{Type: codec.ParameterProblem, Pointer: 256}, codec.Message{Type: codec.DestinationUnreachable, Code: 4, MTU: 1 << 16})
	encodesNothing(t, &codec.ICMPv6{}, codec.Message{}, codec.Message{Type: codec.EchoReply}, codec.Message{Type: codec.Redirect, Gateway: addrV6})
	encodesNothing(t, &codec.EchoV6{}, codec.Echo{}, codec.Echo{Type: codec.EchoReply}, codec.Echo{Type: codec.EchoReply, Data: large})
	encodesNothing(t, &codec.Extensions{}, []codec.Object{{Data: large[:3]}}, make([]codec.Object, 99))
	encodesNothing(t, &codec.IPv4{}, codec.Packet{}, codec.Packet{Source: addrV4, Destination: addrV4, Options: large[:41]},
		codec.Packet{Source: addrV4, Destination: addrV4, Options: []byte{9}}, codec.Packet{Source: addrV4, Destination: addrV4, Offset: 1},
		codec.Packet{Source: addrV4, Destination: addrV4, ID: 1 << 16}, codec.Packet{Source: addrV4, Destination: addrV4, Payload: large})
	encodesNothing(t, &codec.IPv6{}, codec.Packet{}, codec.Packet{Source: addrV6, Destination: addrV6, FlowLabel: 1 << 20},
		codec.Packet{Source: addrV6, Destination: addrV6, Payload: large}, codec.Packet{Source: addrV6, Destination: addrV6, ExtensionHeaders: large[:3]},
		codec.Packet{Source: addrV6, Destination: addrV6, NextHeader: 44, Protocol: 58, More: true, ExtensionHeaders: unhex("3a00 0001 00000000"), Payload: large[:3]},
		codec.Packet{Source: addrV6, Destination: addrV6, Protocol: 60}, codec.Packet{Source: addrV6, Destination: addrV6, Protocol: 58, ID: 1})
}

func TestNothingIsAllocatedForQuotesAndReplies(t *testing.T) {
	var (
		q4   codec.QuoteV4
		q6   codec.QuoteV6
		q    codec.Quote
		ip4  codec.IPv4
		ip6  codec.IPv6
		echo codec.EchoV6
	)
	b4, b6, request := append([]byte(nil), quotedV4...), append([]byte(nil), quotedV6...), append([]byte(nil), pingRequestV6...)
	chain := onIPv6("60000000 0000 0001"+addressesV6, unhex("3c00 000000000000 3c09 000000000000"))
	for name, f := range map[string]func(){
		"quotes": func() {
			for _, src := range [][]byte{quotedV4, quotedV4[:28], quotedV4[:19], quotedV6, packetsV4[3].bytes, changed4, chain, nil} {
				q4.Decode(src, &q)
				q6.Decode(src, &q)
			}
		},
		"replies": func() {
			request[0] = 128
			for range 2 { // the second is to a reply
				echo.Reply(request)
			}
			echo.Reply(request[:7])
			ip4.Reply(b4, 64)
			ip4.Reply(b4[:19], 64)
			ip4.Reply(b6, 64)
			ip6.Reply(b6, 64)
			ip6.Reply(b6[:39], 64)
			ip6.Reply(b4, 64)
			ip4.Reply(packetsV4[4].bytes, 64)
			ip6.Reply(chain, 64)
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

var changed4 = changed(quotedV4, 0, 0x41)
