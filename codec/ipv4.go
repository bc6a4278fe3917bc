package codec

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// IPv4 is the [Codec] for IPv4 packets (RFC 791), for transports that carry them
// whole. The zero value is ready to use; it must not be copied after that.
type IPv4 struct {
	parser headerV4

	layer               layers.IPv4
	source, destination [4]byte                  // for the layer
	header              gopacket.SerializeBuffer // holds a header only

	decodeErr, replyErr DecodeError
	appendErr           EncodeError
}

var _ Codec[Packet] = (*IPv4)(nil)

// Decode parses src, a packet, into v. Slices in v are parts of src. What is
// longer than the header says was padded on its way, and is cut off. The
// reserved flag is not looked at.
//
// The kind of the error is, in this order, ErrVersion, ErrTooShort under 20
// bytes, ErrLength and ErrTooShort if the length of the header is under 20 bytes
// or over that of src, the same two for the length of the packet, ErrChecksum of
// the header, ErrLength for options that do not fit the header or a fragment that
// no other can follow, and ErrTooLong for a fragment that reaches beyond 65,535
// bytes. With ErrChecksum, v holds what the packet says all the same; after every
// other error it is zero.
func (c *IPv4) Decode(src []byte, v *Packet) error {
	*v = Packet{}
	n, ok := measureV4(src, &c.decodeErr)
	if !ok {
		return &c.decodeErr
	}
	total := int(binary.BigEndian.Uint16(src[ipv4Length:]))
	switch {
	case total < n:
		c.decodeErr = DecodeError{Message: ipv4, Kind: ErrLength, Offset: ipv4Length, Found: uint32(total), Want: uint32(n), want: "at least %s"}
		return &c.decodeErr
	case total > len(src):
		c.decodeErr = tooShort(ipv4, len(src), total)
		return &c.decodeErr
	}
	if err := c.parser.parse(src[:total], n, v); err != nil {
		return err
	}
	if sum(src[:n]) != 0xFFFF {
		c.decodeErr = DecodeError{Message: ipv4, Kind: ErrChecksum, Offset: ipv4Checksum,
			Found: uint32(c.parser.layer.Checksum),
			Want:  uint32(^fold(uint64(sum(src[:ipv4Checksum])) + uint64(sum(src[ipv4Checksum+2:n]))))}
		return &c.decodeErr
	}
	if at, left, ok := checkOptions(v.Options); !ok {
		c.decodeErr = badOption(v.Options, at, left)
		*v = Packet{}
		return &c.decodeErr
	}
	if kind := checkFragment(v, n, len(v.Payload)); kind != nil {
		c.decodeErr = badFragment(ipv4, kind, ipv4Flags, v, len(v.Payload))
		*v = Packet{}
		return &c.decodeErr
	}
	return nil
}

// Append appends the packet v, with the checksum of its header, to dst. v.Options
// and v.Payload may lie anywhere in dst's array; what lies past len(dst) is
// overwritten. Options are filled up with zeros to a multiple of 4 bytes.
// Nothing is allocated if dst has room.
//
// The kind of the error is ErrAddress if v.Source or v.Destination is no IPv4
// address, ErrTooLong for more than 40 bytes of options or 65,535 of packet,
// fragments added up, ErrLength for options with impossible lengths and for a
// Payload that no other fragment can follow, and ErrRange for an ID or an Offset
// that does not fit its field.
func (c *IPv4) Append(dst []byte, v *Packet) ([]byte, error) {
	n := ipv4HeaderLen + (len(v.Options)+3)/4*4
	if !v.fitsV4(n, &c.appendErr) {
		return dst, &c.appendErr
	}
	c.source, c.destination = v.Source.As4(), v.Destination.As4()
	c.layer = layers.IPv4{
		Version: 4, IHL: uint8(n / 4), TOS: v.TOS, Length: uint16(n + len(v.Payload)), Id: uint16(v.ID),
		FragOffset: uint16(v.Offset / 8), TTL: v.TTL, Protocol: layers.IPProtocol(v.Protocol),
		SrcIP: c.source[:], DstIP: c.destination[:],
	}
	if v.DontFragment {
		c.layer.Flags |= layers.IPv4DontFragment
	}
	if v.More {
		c.layer.Flags |= layers.IPv4MoreFragments
	}
	if c.header == nil {
		c.header = gopacket.NewSerializeBufferExpectedSize(ipv4HeaderLen, maxOptionsLen)
	}
	if err := c.header.Clear(); err != nil {
		return dst, err
	}
	options, err := c.header.AppendBytes(n - ipv4HeaderLen)
	if err != nil {
		return dst, err
	}
	clear(options[copy(options, v.Options):])
	if err := c.layer.SerializeTo(c.header, gopacket.SerializeOptions{}); err != nil {
		return dst, err
	}
	header := c.header.Bytes()
	binary.BigEndian.PutUint16(header[ipv4Checksum:], Checksum(header))
	return join(dst, header, v.Payload), nil
}

// fitsV4 tells whether v can be encoded with n bytes of header, and sets the
// error if not.
func (v *Packet) fitsV4(n int, e *EncodeError) bool {
	fail := func(field string, kind error, found int, want string) bool {
		*e = EncodeError{Message: ipv4, Field: field, Kind: kind, Found: int64(found), want: want}
		return false
	}
	switch {
	case !v.Source.Is4():
		return fail("Source", ErrAddress, versionOf(v.Source), "an IPv4 address")
	case !v.Destination.Is4():
		return fail("Destination", ErrAddress, versionOf(v.Destination), "an IPv4 address")
	case len(v.Options) > maxOptionsLen:
		return fail("Options", ErrTooLong, len(v.Options), "at most 40")
	case v.ID > 0xFFFF:
		*e = EncodeError{Message: ipv4, Field: "ID", Kind: ErrRange, Found: int64(v.ID), want: "at most 65535"}
		return false
	case v.Offset < 0 || v.Offset%8 != 0 || v.Offset > maxOffset:
		return fail("Offset", ErrRange, v.Offset, "a multiple of 8, at most 65528")
	}
	if at, _, ok := checkOptions(v.Options); !ok {
		return fail("Options", ErrLength, int(optionLen(v.Options[at:])), "an option of at least 2 bytes that ends with Options")
	}
	switch kind := checkFragment(v, n, len(v.Payload)); kind {
	case ErrTooLong:
		return fail("Payload", kind, len(v.Payload), "at most 65535 with the header and Offset")
	case ErrLength:
		return fail("Payload", kind, len(v.Payload), "a multiple of 8 where More follows")
	}
	return true
}

// Reply turns b, which begins with an encoded packet, round: source and
// destination change places, the time to live becomes ttl, and the checksum of
// the header changes with it (RFC 1624). All else stays, the payload and the
// options too: turn an echo request in it into the reply by EchoV4.Reply.
//
// Neither the checksum, and a bad one stays bad, nor the length of the packet is
// verified; Decode verifies. A packet to a broadcast or multicast address has no
// reply of this kind, since that must not be a source.
//
// The error is a *[DecodeError] that is valid until the next Reply. Its kind is,
// in this order, ErrVersion, ErrTooShort under 20 bytes, ErrLength and ErrTooShort
// if the length of the header is under 20 bytes or over that of b, ErrLength for
// options that do not fit the header, and ErrType for what must not be answered
// like this: a fragment, which is reassembled first, and a packet with a source
// route, whose reply goes the way back (RFC 1122, 3.2.2.6). b is then as it was.
func (c *IPv4) Reply(b []byte, ttl uint8) error {
	n, ok := measureV4(b, &c.replyErr)
	if !ok || !answerableV4(b[:n], &c.replyErr) {
		return &c.replyErr
	}
	swap(b[ipv4Source:ipv4Destination], b[ipv4Destination:ipv4HeaderLen])
	was := binary.BigEndian.Uint16(b[ipv4TTL:])
	b[ipv4TTL] = ttl
	hc := updated(binary.BigEndian.Uint16(b[ipv4Checksum:]), was, binary.BigEndian.Uint16(b[ipv4TTL:]))
	binary.BigEndian.PutUint16(b[ipv4Checksum:], hc)
	return nil
}
