package codec

import (
	"encoding/binary"
	"slices"
)

// Quote is the beginning of a packet, as an ICMP error quotes it.
//
// It tells which packet of ours the error is about, if it is: anybody can send an
// error, so compare Packet.Destination and Echo with what was sent. Routers
// change the TTL and the TOS, and some the length and the checksum (RFC 1812,
// 4.3.2.3 forbids it): neither is verified, as the checksum of the error covers
// the quote as it came.
type Quote struct {
	// Packet is the packet, with the TTL that it had in the end. Payload is what is
	// there of its payload.
	Packet Packet
	// Echo is the echo message in it. Its Type is zero if there is none: if the
	// packet carries something else, if this is a later fragment, or if less than
	// the header of the message is there. Data is what is there of its data, and
	// perhaps zeros that a router has filled it up with, if the header does not say
	// where it ends. Its checksum is not verified.
	Echo Echo
	// Truncated is whether the packet was longer than what is here of it, as its
	// header says, which a router may have changed.
	Truncated bool
}

// cut takes off what a router has filled the payload up with, which the header
// says has n bytes. Less than the 8 bytes that are quoted at least (RFC 792) is
// no length of a packet that somebody asks after: some systems subtract the header
// before they quote it, and where the hardware divides packets it is 0.
func (v *Quote) cut(n int) {
	if b := v.Packet.Payload; n >= 8 && n < len(b) {
		v.Packet.Payload = b[:n:n]
	}
}

// QuoteV4 decodes what ICMPv4 errors quote. The zero value is ready to use.
type QuoteV4 struct {
	parser    headerV4
	decodeErr DecodeError
}

// Decode parses src, the Quote of a [Message], into v. Slices in v are parts of
// src.
//
// The error is a *[DecodeError], which is used again: it is valid until the next
// Decode. Its kind is, in this order, ErrVersion, ErrTooShort under 20 bytes,
// ErrLength if the header says that it is shorter than 20 bytes, and ErrTooShort if
// it says that it is longer than src. v is then zero. Any payload is accepted, none
// too.
//
// The length of the packet is not verified. It only says where Payload and
// Echo.Data end, if it leaves 8 bytes for the payload at least; otherwise they end
// with src.
func (c *QuoteV4) Decode(src []byte, v *Quote) error {
	*v = Quote{}
	n, ok := measureV4(src, &c.decodeErr)
	if !ok {
		return &c.decodeErr
	}
	total := int(binary.BigEndian.Uint16(src[ipv4Length:]))
	v.Truncated = total > len(src)
	if err := c.parser.parse(src, n, &v.Packet); err != nil {
		return err
	}
	v.cut(total - n)
	v.setEcho(ProtocolICMPv4, &typesV4)
	return nil
}

// QuoteV6 decodes what ICMPv6 errors quote. The zero value is ready to use.
type QuoteV6 struct {
	parser    headerV6
	decodeErr DecodeError
}

// Decode parses src, the Quote of a [Message], into v. Slices in v are parts of
// src.
//
// The error is a *[DecodeError], which is used again: it is valid until the next
// Decode. Its kind is ErrVersion or ErrTooShort if there is no header, and v is
// then zero. If it is one of the other kinds of IPv6.Decode, the extension
// headers are not all there or impossible, and v holds what comes before that:
// the addresses at least. Any payload is accepted, none too. The length of the
// packet is not verified, as in QuoteV4.Decode.
func (c *QuoteV6) Decode(src []byte, v *Quote) error {
	*v = Quote{}
	if !measureV6(src, &c.decodeErr) {
		return &c.decodeErr
	}
	total := ipv6HeaderLen + int(binary.BigEndian.Uint16(src[ipv6Length:]))
	v.Truncated = total > len(src)
	if err := c.parser.parse(src, &v.Packet); err != nil {
		return err
	}
	if _, ok := v.Packet.skipExtensions(&c.decodeErr); !ok {
		return &c.decodeErr
	}
	v.cut(total - ipv6HeaderLen - len(v.Packet.ExtensionHeaders))
	v.setEcho(ProtocolICMPv6, &typesV6)
	return nil
}

// setEcho decodes the echo message in the payload, if there is one.
func (v *Quote) setEcho(protocol uint8, types *[256]Type) {
	b := v.Packet.Payload
	if v.Packet.Protocol != protocol || v.Packet.Fragment == Later || len(b) < EchoHeaderLen {
		return
	}
	if t := types[b[0]]; t == EchoRequest || t == EchoReply {
		v.Echo = Echo{
			Type: t, Code: b[1],
			ID: binary.BigEndian.Uint16(b[4:]), Seq: binary.BigEndian.Uint16(b[6:]),
			Data: slices.Clip(b[EchoHeaderLen:]),
		}
	}
}
