package codec

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// IPv6 is the [Codec] for IPv6 packets (RFC 8200), for transports that carry them
// whole. The zero value is ready to use; it must not be copied after that.
type IPv6 struct {
	parser headerV6

	layer               layers.IPv6
	source, destination [16]byte                 // for the layer
	header              gopacket.SerializeBuffer // holds a header only
	body                []byte                   // assembled here where ExtensionHeaders come before Payload

	decodeErr, replyErr DecodeError
	appendErr           EncodeError
}

var _ Codec[Packet] = (*IPv6)(nil)

// Decode parses src, a packet, into v. Slices in v are parts of src. What is
// longer than the header says was padded on its way, and is cut off. There are
// no jumbograms (RFC 2675).
//
// Extension headers are skipped: hop-by-hop options in the first place, routing,
// fragment, authentication and destination options. Everything else, such as ESP,
// is what the packet carries. The headers' own content is not looked at.
//
// The kind of the error is, in this order, ErrVersion, ErrTooShort if the header
// is cut off, src is shorter than the header says, or an extension header ends
// behind the packet, ErrTooLong for more than [MaxExtensionHeaders], ErrLength
// for a fragment that no other can follow, and ErrTooLong for one that reaches
// beyond 65,535 bytes. v is then zero. There is no checksum.
func (c *IPv6) Decode(src []byte, v *Packet) error {
	*v = Packet{}
	if !measureV6(src, &c.decodeErr) {
		return &c.decodeErr
	}
	total := ipv6HeaderLen + int(binary.BigEndian.Uint16(src[ipv6Length:]))
	if total > len(src) {
		c.decodeErr = tooShort(ipv6, len(src), total)
		return &c.decodeErr
	}
	if err := c.parser.parse(src[:total], v); err != nil {
		return err
	}
	fragmentAt, ok := v.skipExtensions(&c.decodeErr)
	if ok {
		size := v.fragmentSize(fragmentAt)
		kind := checkFragment(v, 0, size)
		if kind == nil {
			return nil
		}
		c.decodeErr = badFragment(ipv6, kind, fragmentAt, v, size)
	}
	*v = Packet{}
	return &c.decodeErr
}

// Append appends the packet v to dst. v.ExtensionHeaders and v.Payload may lie
// anywhere in dst's array; what lies past len(dst) is overwritten. Without
// ExtensionHeaders, NextHeader is not looked at. Nothing is allocated if dst has
// room and, with ExtensionHeaders, the codec has encoded as long a packet before.
//
// The kind of the error is ErrAddress if v.Source or v.Destination is no IPv6
// address, ErrRange for a FlowLabel of more than 20 bits and for an ID, Offset or
// More other than in the fragment header, ErrTooLong for more than 65,535 bytes of
// ExtensionHeaders and Payload, fragments added up, ErrType if Protocol is an
// extension header that is not in ExtensionHeaders, and ErrLength if
// ExtensionHeaders is not a chain of them from NextHeader to Protocol, and for a
// Payload that no other fragment can follow.
func (c *IPv6) Append(dst []byte, v *Packet) ([]byte, error) {
	if !v.fitsV6(&c.appendErr) {
		return dst, &c.appendErr
	}
	next, body := v.Protocol, v.Payload
	if len(v.ExtensionHeaders) > 0 {
		next = v.NextHeader
		c.body = append(append(c.body[:0], v.ExtensionHeaders...), v.Payload...)
		body = c.body
	}
	c.source, c.destination = v.Source.As16(), v.Destination.As16()
	c.layer = layers.IPv6{
		Version: 6, TrafficClass: v.TOS, FlowLabel: v.FlowLabel, Length: uint16(len(body)),
		NextHeader: layers.IPProtocol(next), HopLimit: v.TTL, SrcIP: c.source[:], DstIP: c.destination[:],
	}
	if c.header == nil {
		c.header = gopacket.NewSerializeBufferExpectedSize(ipv6HeaderLen, 0)
	}
	if err := c.header.Clear(); err != nil {
		return dst, err
	}
	if err := c.layer.SerializeTo(c.header, gopacket.SerializeOptions{}); err != nil {
		return dst, err
	}
	return join(dst, c.header.Bytes(), body), nil
}

// fitsV6 tells whether v can be encoded, and sets the error if not.
func (v *Packet) fitsV6(e *EncodeError) bool {
	fail := func(field string, kind error, found int64, want string) bool {
		*e = EncodeError{Message: ipv6, Field: field, Kind: kind, Found: found, want: want}
		return false
	}
	switch {
	case !v.Source.Is6():
		return fail("Source", ErrAddress, int64(versionOf(v.Source)), "an IPv6 address")
	case !v.Destination.Is6():
		return fail("Destination", ErrAddress, int64(versionOf(v.Destination)), "an IPv6 address")
	case v.FlowLabel > 0xFFFFF:
		return fail("FlowLabel", ErrRange, int64(v.FlowLabel), "at most 1048575")
	case len(v.ExtensionHeaders) > maxPacketLen:
		return fail("ExtensionHeaders", ErrTooLong, int64(len(v.ExtensionHeaders)), "at most 65535 with Payload")
	case len(v.Payload) > maxPacketLen-len(v.ExtensionHeaders):
		return fail("Payload", ErrTooLong, int64(len(v.Payload)), "at most 65535 with ExtensionHeaders")
	}
	chain := Packet{Protocol: v.Protocol}
	if len(v.ExtensionHeaders) > 0 {
		chain = Packet{Protocol: v.NextHeader, Payload: v.ExtensionHeaders}
	} else if chain.atExtension() {
		return fail("Protocol", ErrType, int64(v.Protocol), "no extension header, as none is in ExtensionHeaders")
	}
	var broken DecodeError
	fragmentAt, ok := chain.skipExtensions(&broken)
	if !ok || len(chain.Payload) > 0 || chain.Protocol != v.Protocol {
		return fail("ExtensionHeaders", ErrLength, int64(len(v.ExtensionHeaders)), "extension headers from NextHeader to Protocol")
	}
	const told = "what the fragment header in ExtensionHeaders says, 0 without one"
	switch {
	case v.ID != chain.ID:
		return fail("ID", ErrRange, int64(v.ID), told)
	case v.Offset != chain.Offset:
		return fail("Offset", ErrRange, int64(v.Offset), told)
	case v.More != chain.More:
		return fail("More", ErrRange, int64(bit(v.More)), told)
	}
	switch kind := checkFragment(v, 0, v.fragmentSize(fragmentAt)); kind {
	case ErrTooLong:
		return fail("Payload", kind, int64(len(v.Payload)), "at most 65535 with the fragment's offset")
	case ErrLength:
		return fail("Payload", kind, int64(len(v.Payload)), "a multiple of 8 behind the fragment header, as more follows")
	}
	return true
}

// Reply turns b, which begins with an encoded packet, round: source and
// destination change places and the hop limit becomes hopLimit. All else stays,
// the payload and its checksum too: turn an echo request in it into the reply by
// EchoV6.Reply.
//
// Nothing is verified but that there is a header; Decode verifies. A packet to a
// multicast address has no reply of this kind, since that must not be a source.
//
// The error is a *[DecodeError] that is valid until the next Reply. Its kind is,
// in this order, ErrVersion, ErrTooShort under 40 bytes, and ErrType for a packet
// with extension headers, which are not for the way back: a fragment is
// reassembled first, a route is no route back, and an authentication header covers
// the addresses. b is then as it was.
func (c *IPv6) Reply(b []byte, hopLimit uint8) error {
	if !measureV6(b, &c.replyErr) {
		return &c.replyErr
	}
	if next := (&Packet{Protocol: b[ipv6NextHeader]}); next.atExtension() {
		c.replyErr = DecodeError{Message: ipv6, Kind: ErrType, Offset: ipv6NextHeader, Found: uint32(next.Protocol), want: "no extension header"}
		return &c.replyErr
	}
	swap(b[ipv6Source:ipv6Destination], b[ipv6Destination:ipv6HeaderLen])
	b[ipv6HopLimit] = hopLimit
	return nil
}
