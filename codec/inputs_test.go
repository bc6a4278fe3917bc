package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"iomux/codec"
)

// input is an IP packet as networks and their enemies send it, and what becomes
// of it: the layer that rejects it and how, or why it is accepted.
type input struct {
	name   string
	packet []byte
	layer  string // "IPv4", "ICMPv4", "quote" or "" for accepted
	kind   error
	why    string // it is accepted
}

// carried puts an ICMP message into a packet from peerV4.
func carried(message []byte) []byte {
	return onIPv4("4500 0000 7865 0000 4001 0000 c63364ff c0000201", message)
}

// quoting is an ICMP error about the packet.
func quoting(typ, code byte, rest string, quote []byte) []byte {
	return carried(checksummed(slices.Concat([]byte{typ, code, 0, 0}, unhex(rest), quote)))
}

func changed(b []byte, at int, to ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], to)
	return b
}

// inputs are those that every program which listens to ICMP has to survive.
func inputs() []input {
	reply := carried(pingReply)
	data := func(b ...byte) []byte {
		return carried(checksummed(append(unhex("0000 0000 18d4 0001"), b...)))
	}
	options := func(o string) []byte {
		o = strings.ReplaceAll(o, " ", "")
		o += strings.Repeat("01", 40-len(o)/2)
		return onIPv4("4f00 0000 7865 0000 4001 0000 c63364ff c0000201"+o, pingReply)
	}
	all := []input{
		{"an echo reply", reply, "", nil, "it is right"},
		{"bad checksum", changed(reply, 22, 0x12), "ICMPv4", codec.ErrChecksum, ""},
		{"bad checksum of the IP header", changed(reply, 10, 0x12), "IPv4", codec.ErrChecksum, ""},
		{"checksum 0xFFFF for 0x0000", carried(unhex("0000 ffff ffff 0000")), "", nil, "it sums to the same (RFC 1071)"},
		{"code 7", carried(code7Reply), "", nil, "Linux replies with the code it was sent; Code tells"},
		{"half the payload", data(pattern(28)...), "", nil, "as long as its IP header says; Data tells"},
		{"half the payload, cut off on its way", carried(pingReply[:36]), "ICMPv4", codec.ErrChecksum, ""},
		{"cut off on its way, as its IP header says", reply[:48], "IPv4", codec.ErrTooShort, ""},
		{"empty payload", data(), "", nil, "ping -s 0"},
		{"longer payload", data(pattern(60)...), "", nil, "as long as its IP header says; Data tells"},
		{"longer payload, behind the checksum", carried(append(bytes.Clone(pingReply), "more"...)), "ICMPv4", codec.ErrChecksum, ""},
		{"bytes behind the IP packet", append(bytes.Clone(reply), "more"...), "", nil, "Ethernet pads; they are cut off"},
		{"first byte of the payload flipped", changed(reply, 28, ^pingReply[8]), "ICMPv4", codec.ErrChecksum, ""},
		{"last byte of the payload flipped", changed(reply, 83, ^pingReply[63]), "ICMPv4", codec.ErrChecksum, ""},
		{"40 bytes of NOP", options(""), "", nil, "the message is at byte 60"},
		{"40 bytes of record route", options("07 27 04"), "", nil, "ping -R"},
		{"40 bytes of timestamps", options("44 28 05 00"), "", nil, "ping -T tsonly"},
		{"an option of 2 bytes", options("88 02"), "", nil, "that is the least an option has"},
		{"an option of 1 byte", options("88 01"), "IPv4", codec.ErrLength, ""},
		{"an option of no bytes", options("07 00"), "IPv4", codec.ErrLength, ""},
		{"an option longer than the header", options("07 29 04"), "IPv4", codec.ErrLength, ""},
		{"an option whose length is cut off", options(strings.Repeat("01", 39) + "07"), "IPv4", codec.ErrLength, ""},
		{"wrong source", onIPv4("4500 0000 7865 0000 4001 0000 09090909 c0000201", pingReply), "", nil, "Source tells"},
		{"a duplicate", reply, "", nil, "a codec remembers nothing"},
		{"another duplicate", reply, "", nil, "a codec remembers nothing"},
		{"reordered, or late", data(pattern(8)...), "", nil, "Seq tells"},
		{"sequence number 0xFFFF", carried(checksummed(unhex("0000 0000 0001 ffff"))), "", nil, "it is one like others"},
		{"foreign identifier", carried(checksummed(append(unhex("0000 0000 beef 0001"), pattern(56)...))), "", nil, "ID tells"},
		{"payload time zero", data(make([]byte, 56)...), "", nil, "the payload is the prober's"},
		{"payload time in the future", data(append(unhex("7fffffffffffffff"), pattern(48)...)...), "", nil, "the payload is the prober's"},
		{"payload time before all", data(append(unhex("8000000000000000"), pattern(48)...)...), "", nil, "the payload is the prober's"},
		{"4 bytes of ICMP", carried(checksummed(unhex("0000 0000"))), "ICMPv4", codec.ErrTooShort, ""},
		{"nothing in it", carried(nil), "ICMPv4", codec.ErrTooShort, ""},
		{"an unknown type", carried(checksummed(unhex("2c00 0000 0000 0000"))), "ICMPv4", codec.ErrType, ""},
		{"time exceeded", quoting(11, 0, "00000000", quotedV4), "", nil, "Quote tells whose"},
		{"fragmentation needed, MTU 0", quoting(3, 4, "00000000", quotedV4), "", nil, "a router older than RFC 1191"},
		{"fragmentation needed, MTU 68", quoting(3, 4, "00000044", quotedV4), "", nil, "the least that IPv4 has"},
		{"fragmentation needed, MTU 1300", quoting(3, 4, "00000514", quotedV4), "", nil, "a tunnel"},
		{"redirect", quoting(5, 1, "0a000001", quotedV4), "", nil, "Gateway tells"},
		{"source quench", quoting(4, 0, "00000000", quotedV4), "", nil, "obsolete, but received (RFC 6633)"},
		{"quote with header length 15", quoting(3, 1, "00000000", append(append([]byte{0x4F}, changed(quotedV4, 3, 124)[1:20]...), append(make([]byte, 40), pingRequest...)...)), "", nil, "the message is at byte 60"},
		{"quote with header length 15, not there", quoting(3, 1, "00000000", changed(quotedV4, 0, 0x4F)[:28]), "quote", codec.ErrTooShort, ""},
		{"quote with header length 0", quoting(3, 1, "00000000", changed(quotedV4, 0, 0x40)), "quote", codec.ErrLength, ""},
		{"quote truncated after 8 bytes", quoting(3, 1, "00000000", quotedV4[:28]), "", nil, "RFC 792 has no more"},
		{"quote truncated in the message", quoting(3, 1, "00000000", quotedV4[:25]), "", nil, "Destination is there, Echo is not"},
		{"quote truncated in the header", quoting(3, 1, "00000000", quotedV4[:19]), "quote", codec.ErrTooShort, ""},
		{"no quote", quoting(3, 1, "00000000", nil), "quote", codec.ErrTooShort, ""},
		{"quote of another version", quoting(3, 1, "00000000", quotedV6), "quote", codec.ErrVersion, ""},
		{"quote for another destination", quoting(3, 1, "00000000", changed(quotedV4, 16, 9, 9, 9, 9)), "", nil, "Destination tells"},
		{"quote with changed TTL and TOS", quoting(3, 1, "00000000", changed(changed(quotedV4, 1, 0xFF), 8, 0)), "", nil, "routers change them"},
		{"quote with extensions", quoting(11, 0, "00200000", slices.Concat(quotedV4, make([]byte, 44), extended)), "", nil, "RFC 4884"},
		{"quote with extensions and a length of 0", quoting(11, 0, "00000000", slices.Concat(quotedV4, make([]byte, 44), extended)), "", nil, "older than RFC 4884; all is quote, of which its header says how much"},
		{"quote with extensions before byte 128", quoting(11, 0, "00150000", append(bytes.Clone(quotedV4), extended...)), "ICMPv4", codec.ErrLength, ""},
		{"quote with a length beyond the message", quoting(11, 0, "00ff0000", quotedV4), "ICMPv4", codec.ErrLength, ""},
		{"answer of one of many", onIPv4("4500 0000 7865 0000 4001 0000 c6336402 e0000001", pingReply), "", nil, "Source and Destination tell"},
		{"the first fragment", onIPv4("4500 0000 7865 2000 4001 0000 c63364ff c0000201", pingReply), "", nil, "Fragment tells; IP has verified its header"},
		{"a later fragment", onIPv4("4500 0000 7865 0008 4001 0000 c63364ff c0000201", pattern(9)), "", nil, "Fragment tells; there is no message in it"},
		{"a fragment beyond 65,535 bytes", onIPv4("4500 0000 7865 1fff 4001 0000 c63364ff c0000201", pattern(9)), "IPv4", codec.ErrTooLong, ""},
		{"65,507 bytes", data(pattern(65507)...), "", nil, "as many as there can be"},
	}
	for code := range byte(17) {
		all = append(all, input{fmt.Sprintf("unreachable, code %d", code), quoting(3, code, "00000000", quotedV4), "", nil, "Code tells"})
	}
	return all
}

// survive decodes all layers of a packet, as far as they are right.
func survive(src []byte) (p codec.Packet, m codec.Message, q codec.Quote, layer string, err error) {
	if err = new(codec.IPv4).Decode(src, &p); err != nil {
		return p, m, q, "IPv4", err
	}
	if p.Fragment != codec.Whole {
		return
	}
	if err = new(codec.ICMPv4).Decode(p.Payload, &m); err != nil {
		return p, m, q, "ICMPv4", err
	}
	switch m.Type {
	case codec.DestinationUnreachable, codec.TimeExceeded, codec.ParameterProblem, codec.Redirect, codec.SourceQuench:
		err = new(codec.QuoteV4).Decode(m.Quote, &q)
	}
	if err != nil {
		return p, m, q, "quote", err
	}
	return
}

func TestInputsToSurvive(t *testing.T) {
	for _, in := range inputs() {
		t.Run(in.name, func(t *testing.T) {
			was := bytes.Clone(in.packet)
			p, m, q, layer, err := survive(in.packet)
			if layer != in.layer || !errors.Is(err, in.kind) || (in.layer == "") != (in.why != "") {
				t.Errorf("%s: %v, want %s: %v, %s", layer, err, in.layer, in.kind, in.why)
			}
			if err != nil && !strings.Contains(err.Error(), "found") {
				t.Errorf("%v does not say what was found", err)
			}
			if !bytes.Equal(in.packet, was) {
				t.Error("changed")
			}
			if layer == "" && q.Echo.Type != 0 && (q.Echo.ID != 0x18d4 || q.Echo.Seq != 1) {
				t.Errorf("quoted %+v", q.Echo)
			}
			if layer == "" && p.Fragment == codec.Whole && m.Quote == nil && m.Type != codec.EchoReply {
				t.Errorf("%+v", m)
			}
			// What the fast codec says of the same bytes.
			if layer == "IPv4" || p.Fragment != codec.Whole {
				return
			}
			var e codec.Echo
			kind := in.kind
			if m.Type != codec.EchoReply && !errors.Is(kind, codec.ErrTooShort) || layer == "quote" {
				kind = codec.ErrType
			}
			if err := new(codec.EchoV4).Decode(p.Payload, &e); !errors.Is(err, kind) {
				t.Errorf("EchoV4: %v, want %v", err, kind)
			}
			if m.Type == codec.EchoReply && (m.Code != e.Code || m.ID != e.ID || m.Seq != e.Seq || !bytes.Equal(m.Data, e.Data)) {
				t.Errorf("EchoV4: %+v, ICMPv4: %+v", e, m)
			}
		})
	}
}

// The same on IPv6, where the message is behind extension headers.
func TestInputsToSurviveOnIPv6(t *testing.T) {
	const from = "20010db80000000000000000ffff0002 20010db8ffff00000000000000000001"
	c := codec.ICMPv6{PseudoHeader: codec.PseudoHeader{Source: peerV6, Destination: addrV6}}
	message := func(m codec.Message) []byte {
		b, err := c.Append(nil, &m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	reply := message(codec.Message{Type: codec.EchoReply, ID: 7, Seq: 0xFFFF, Data: pattern(56)})
	withLength := slices.Concat(unhex("0300 0000 ff000000"), quotedV6)
	binary.BigEndian.PutUint16(withLength[2:], slowChecksumV6(peerV6, addrV6, withLength))
	plain := "60000000 0000 3a40" + from
	for _, test := range []struct {
		name   string
		packet []byte
		layer  string
		kind   error
	}{
		{"an echo reply", onIPv6(plain, reply), "", nil},
		{"bad checksum", onIPv6(plain, changed(reply, 2, ^reply[2])), "ICMPv6", codec.ErrChecksum},
		{"checksum of other addresses", onIPv6("60000000 0000 3a40 20010db80000000000000000ffff0003"+from[32:], reply), "ICMPv6", codec.ErrChecksum},
		{"first byte flipped", onIPv6(plain, changed(reply, 8, ^reply[8])), "ICMPv6", codec.ErrChecksum},
		{"behind all extension headers", onIPv6("60000000 0000 0040"+from, slices.Concat(unhex("3c00 010400000000 2b00 010400000000 3300 000000000000 3a04 0000 00000000 00000000 00000000 00000000 00000000"), reply)), "", nil},
		{"4 bytes of ICMP", onIPv6(plain, reply[:4]), "ICMPv6", codec.ErrTooShort},
		{"router advertisement", onIPv6(plain, checksummedV6(append([]byte{134}, make([]byte, 15)...))), "ICMPv6", codec.ErrType},
		{"packet too big", onIPv6(plain, message(codec.Message{Type: codec.PacketTooBig, MTU: 1280, Quote: quotedV6})), "", nil},
		{"quote in the other version", onIPv6(plain, message(codec.Message{Type: codec.PacketTooBig, MTU: 1280, Quote: quotedV4})), "quote", codec.ErrVersion},
		{"quote truncated in the header", onIPv6(plain, message(codec.Message{Type: codec.TimeExceeded, Quote: quotedV6[:39]})), "quote", codec.ErrTooShort},
		{"length beyond the message", onIPv6(plain, withLength), "ICMPv6", codec.ErrLength},
	} {
		var p codec.Packet
		var m codec.Message
		var q codec.Quote
		layer := "IPv6"
		err := new(codec.IPv6).Decode(test.packet, &p)
		if err == nil {
			layer = "ICMPv6"
			if p.Protocol != codec.ProtocolICMPv6 {
				t.Errorf("%s: protocol %d", test.name, p.Protocol)
			}
			c := codec.ICMPv6{PseudoHeader: codec.PseudoHeader{Source: p.Source, Destination: p.Destination}}
			err = c.Decode(p.Payload, &m)
		}
		if err == nil && m.Quote != nil {
			layer = "quote"
			err = new(codec.QuoteV6).Decode(m.Quote, &q)
		}
		if err == nil {
			layer = ""
		}
		if layer != test.layer || !errors.Is(err, test.kind) {
			t.Errorf("%s: %s: %v, want %s: %v", test.name, layer, err, test.layer, test.kind)
		}
	}
}
