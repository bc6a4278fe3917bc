package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/net/icmp"

	"iomux/codec"
)

// theirs is what golang.org/x/net/icmp has of a message, in our terms.
func theirs(t *testing.T, protocol int, src []byte) (m codec.Message, objects int, ok bool) {
	parsed, err := icmp.ParseMessage(protocol, src)
	if err != nil {
		return m, 0, false
	}
	m.Code = uint8(parsed.Code)
	extensions := -1
	switch b := parsed.Body.(type) {
	case *icmp.Echo:
		m.ID, m.Seq, m.Data = uint16(b.ID), uint16(b.Seq), b.Data
	case *icmp.ExtendedEchoRequest:
		m.ID, m.Seq, m.Local = uint16(b.ID), uint16(b.Seq), b.Local
	case *icmp.ExtendedEchoReply:
		m.ID, m.Seq = uint16(b.ID), uint16(b.Seq)
		m.Interface = codec.Interface{State: uint8(b.State), Active: b.Active, IPv4: b.IPv4, IPv6: b.IPv6}
	case *icmp.DstUnreach:
		m.Quote, extensions = b.Data, len(b.Extensions)
	case *icmp.TimeExceeded:
		m.Quote, extensions = b.Data, len(b.Extensions)
	case *icmp.ParamProb:
		m.Pointer, m.Quote, extensions = uint32(b.Pointer), b.Data, len(b.Extensions)
	case *icmp.PacketTooBig:
		m.MTU, m.Quote = uint32(b.MTU), b.Data
	default: // timestamp, redirect, source quench: it does not know what is in them
		return m, 0, false
	}
	return m, extensions, true
}

// compare explains every difference that there is.
func compare(t *testing.T, protocol int, src []byte, c codec.Codec[codec.Message], lengthAt, unit int) {
	var m codec.Message
	err := c.Decode(src, &m)
	if m.Type == 0 {
		return // too short, too long, or of a type that only it takes for a message: it looks at 4 bytes
	}
	want, objects, ok := theirs(t, protocol, src)
	if !ok {
		return
	}
	want.Type = m.Type
	if m.Type == codec.DestinationUnreachable {
		want.MTU = m.MTU // it does not know RFC 1191
	}
	switch m.Type {
	case codec.ExtendedEchoRequest:
		want.Extensions = m.Extensions // it has them as values of many types
	case codec.ExtendedEchoReply:
		want.Data = m.Data // it drops what follows
	}
	there := len(want.Quote) == len(m.Quote) // that is where both see the extensions
	if objects >= 0 && !there {
		// It guesses where extensions are: without a length, with one under 128
		// bytes, and with one that leads to no extensions. So do not we, as all of
		// this may come from the packet that is quoted.
		told := unit * int(src[lengthAt])
		guessed := len(want.Quote) == 128 && (told < 128 || told+8 > len(src)-8 || m.Extensions != nil)
		// It takes extensions that are wrong for the quote.
		quoted := len(want.Quote) == len(src)-8 && m.Extensions != nil
		if !guessed && !quoted {
			t.Fatalf("% x: quote of %d bytes, want %d", src, len(m.Quote), len(want.Quote))
		}
		want.Quote = m.Quote
	}
	want.Extensions = m.Extensions
	if !same(m, want) {
		t.Fatalf("% x:\n got %+v, %v\nwant %+v", src, m, err, want)
	}
	// It verifies no checksum. Where we have no objection, ours holds.
	if err != nil && !errors.Is(err, codec.ErrChecksum) && !errors.Is(err, codec.ErrLength) {
		t.Fatalf("% x: %v", src, err)
	}
	var x codec.Extensions
	var have []codec.Object
	if objects > 0 && m.Extensions != nil && x.Decode(m.Extensions, &have) == nil && len(have) != objects && there {
		t.Fatalf("% x: %d objects, want %d", src, len(have), objects)
	}
}

func FuzzDifferentialICMP(f *testing.F) {
	seedMessages(f)
	objects := []codec.Object{{Class: codec.ClassMPLS, Type: 1, Data: []byte{1, 2, 3, 4}}, {Class: 99, Type: 1, Data: make([]byte, 8)}}
	m := codec.Message{Type: codec.TimeExceeded, Quote: make([]byte, 160)}
	m.Extensions = must[[]byte](f)(new(codec.Extensions).Append(nil, &objects))
	f.Add(must[[]byte](f)(new(codec.ICMPv4).Append(nil, &m)))
	f.Add(must[[]byte](f)((&codec.ICMPv6{PseudoHeader: onLoopback}).Append(nil, &m)))
	f.Fuzz(func(t *testing.T, src []byte) {
		compare(t, 1, src, new(codec.ICMPv4), 5, 4)
		compare(t, 58, src, &codec.ICMPv6{PseudoHeader: onLoopback}, 4, 8)
	})
}

// FuzzDifferentialIP compares with gopacket's own decoding of the whole packet.
func FuzzDifferentialIP(f *testing.F) {
	seedPackets(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		var p codec.Packet
		if err := new(codec.IPv4).Decode(src, &p); err == nil {
			var g layers.IPv4
			err := g.DecodeFromBytes(src, gopacket.NilDecodeFeedback)
			if err != nil && !twoByteOption(p.Options) { // that it rejects, and should not
				t.Fatalf("% x: gopacket: %v", src, err)
			}
			if err == nil && (!bytes.Equal(g.Payload, p.Payload) || !g.SrcIP.Equal(p.Source.AsSlice()) || !g.DstIP.Equal(p.Destination.AsSlice()) ||
				uint8(g.Protocol) != p.Protocol || g.TTL != p.TTL || g.TOS != p.TOS || uint32(g.Id) != p.ID || 8*int(g.FragOffset) != p.Offset ||
				(g.Flags&layers.IPv4MoreFragments != 0) != p.More || (g.Flags&layers.IPv4DontFragment != 0) != p.DontFragment ||
				(g.NextLayerType() == gopacket.LayerTypeFragment) != (p.Fragment != codec.Whole)) {
				t.Fatalf("% x: %+v, gopacket has %+v", src, p, g)
			}
		}
		if err := new(codec.IPv6).Decode(src, &p); err == nil && len(p.ExtensionHeaders)+len(p.Payload) > 0 {
			// The fixed header alone: from extension headers on it gets lengths wrong.
			fixed := bytes.Clone(src)
			fixed[6] = 59
			var g layers.IPv6
			if err := g.DecodeFromBytes(fixed, gopacket.NilDecodeFeedback); err != nil {
				t.Fatalf("% x: gopacket: %v", src, err)
			}
			if len(g.Payload) != len(p.ExtensionHeaders)+len(p.Payload) || !g.SrcIP.Equal(p.Source.AsSlice()) || !g.DstIP.Equal(p.Destination.AsSlice()) ||
				g.HopLimit != p.TTL || g.TrafficClass != p.TOS || g.FlowLabel != p.FlowLabel {
				t.Fatalf("% x: %+v, gopacket has %+v", src, p, g)
			}
		}
	})
}

func twoByteOption(b []byte) bool {
	for i := 0; i < len(b) && b[i] != 0; i++ {
		if b[i] == 1 {
			continue
		}
		if b[i+1] == 2 {
			return true
		}
		i += int(b[i+1]) - 1
	}
	return false
}

// What both can say they say in the same bytes.
func TestICMPAppendIsWhatOthersMarshal(t *testing.T) {
	for _, test := range messagesV4 {
		if want, ok := marshal(t, 1, &test.message); ok && !bytes.Equal(test.packet, want) {
			t.Errorf("ICMPv4, %s:\n got % x\nwant % x", test.name, test.packet, want)
		}
	}
	compared := 0
	for _, test := range messagesV6 {
		want, ok := marshal(t, 58, &test.message)
		if ok && !bytes.Equal(test.packet, want) {
			t.Errorf("ICMPv6, %s:\n got % x\nwant % x", test.name, test.packet, want)
		}
		if ok {
			compared++
		}
	}
	if compared < 9 {
		t.Errorf("only %d messages were compared", compared)
	}
}

// marshal encodes m with golang.org/x/net/icmp, if that can.
func marshal(t *testing.T, protocol int, m *codec.Message) ([]byte, bool) {
	var objects []codec.Object
	if m.Extensions != nil {
		fixed := bytes.Clone(m.Extensions)
		if err := new(codec.Extensions).Decode(fixed, &objects); err != nil {
			t.Fatal(err)
		}
	}
	var extensions []icmp.Extension
	for _, o := range objects {
		raw := binary.BigEndian.AppendUint16(nil, uint16(4+len(o.Data)))
		extensions = append(extensions, &icmp.RawExtension{Data: append(append(raw, o.Class, o.Type), o.Data...)})
	}
	var body icmp.MessageBody
	switch m.Type {
	case codec.EchoRequest, codec.EchoReply:
		body = &icmp.Echo{ID: int(m.ID), Seq: int(m.Seq), Data: m.Data}
	case codec.DestinationUnreachable:
		body = &icmp.DstUnreach{Data: m.Quote, Extensions: extensions}
	case codec.TimeExceeded:
		body = &icmp.TimeExceeded{Data: m.Quote, Extensions: extensions}
	case codec.ParameterProblem:
		body = &icmp.ParamProb{Pointer: uintptr(m.Pointer), Data: m.Quote, Extensions: extensions}
	case codec.PacketTooBig:
		body = &icmp.PacketTooBig{MTU: int(m.MTU), Data: m.Quote}
	case codec.ExtendedEchoRequest:
		body = &icmp.ExtendedEchoRequest{ID: int(m.ID), Seq: int(m.Seq), Local: m.Local, Extensions: extensions}
	case codec.ExtendedEchoReply:
		i := m.Interface
		body = &icmp.ExtendedEchoReply{ID: int(m.ID), Seq: int(m.Seq), State: int(i.State), Active: i.Active, IPv4: i.IPv4, IPv6: i.IPv6}
	}
	if body == nil || m.Type == codec.DestinationUnreachable && m.MTU != 0 || m.Type == codec.ExtendedEchoReply && m.Data != nil {
		return nil, false
	}
	message := icmp.Message{Type: icmpType(protocol, m), Code: int(m.Code), Body: body}
	var pseudo []byte
	if protocol == 58 {
		pseudo = icmp.IPv6PseudoHeader(localV6.AsSlice(), localV6.AsSlice())
	}
	b, err := message.Marshal(pseudo)
	if err != nil {
		t.Fatal(err)
	}
	return b, true
}
