package codec

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// ICMPv6 is the [Codec] for ICMPv6 messages of every [Type] that has a number
// there. [EchoV6] is the faster one for those who meet nothing but echo. Its
// [PseudoHeader] must be set before use; it must not be copied after that.
type ICMPv6 struct {
	PseudoHeader

	icmp   layers.ICMPv6
	rest   layers.ICMPv6Echo // of any type: its two words are the 4 bytes that depend on it
	header gopacket.SerializeBuffer
	body   []byte // assembled here, as its parts may lie where it goes

	decodeErr DecodeError
	appendErr EncodeError
}

var _ Codec[Message] = (*ICMPv6)(nil)

var familyV6 = family{
	message: "ICMPv6", version: 6, types: &typesV6, lowest: 1,
	maxLen: EchoHeaderLen + MaxEchoDataV6, maxPointer: 0xFFFFFFFF,
	quoteLenAt: 4, quoteUnit: 8,
	wantNumber: "1 to 4, 128, 129, 137, 160 or 161",
	wantType:   "one that ICMPv6 has", wantLen: "at most 65535 in all",
	wantQuote: "at most 2040 before Extensions", wantAddress: "an IPv6 address",
}

// Decode parses src, an ICMPv6 message without its IPv6 header, into v. Slices
// in v are parts of src. Bits that are reserved, and options of a redirect other
// than the one that quotes, are not looked at.
//
// The kind of the error is, in this order, ErrTooShort if the header is cut off,
// ErrType if the message has no [Type] (its checksum may be good or bad then),
// ErrTooLong if no IPv6 packet can carry it, ErrAddress if the [PseudoHeader] is
// not set, ErrChecksum, and ErrLength if the length of the quoted packet (RFC
// 4884, 4) or of an option of a redirect cannot be that. With ErrChecksum and
// ErrLength, v holds what the message says all the same; with ErrLength all
// that follows the header of an error is the quote. After every other error v is
// zero.
func (c *ICMPv6) Decode(src []byte, v *Message) error {
	*v = Message{}
	t, ok := familyV6.typeOf(src, &c.decodeErr)
	if !ok {
		return &c.decodeErr
	}
	if field, version := c.wrong(); field != "" {
		c.decodeErr = noPseudoHeader(familyV6.message, field, version)
		return &c.decodeErr
	}
	if err := c.icmp.DecodeFromBytes(src, gopacket.NilDecodeFeedback); err != nil {
		return err
	}
	if err := c.rest.DecodeFromBytes(c.icmp.Payload, gopacket.NilDecodeFeedback); err != nil {
		return err
	}
	v.Type, v.Code = t, c.icmp.TypeCode.Code()
	body := slices.Clip(c.icmp.Payload[4:])
	possible, bad := true, 0
	switch t {
	case EchoRequest, EchoReply:
		v.ID, v.Seq, v.Data = c.rest.Identifier, c.rest.SeqNumber, body
	case ExtendedEchoRequest, ExtendedEchoReply:
		v.ID = c.rest.Identifier
		v.setExtended(c.rest.SeqNumber, body)
	case PacketTooBig:
		v.MTU, v.Quote = binary.BigEndian.Uint32(src[4:]), body
	case ParameterProblem:
		v.Pointer, v.Quote = binary.BigEndian.Uint32(src[4:]), body
	case Redirect:
		v.Gateway, v.Destination = netip.AddrFrom16([16]byte(src[8:])), netip.AddrFrom16([16]byte(src[24:]))
		v.Quote, bad = redirected(src)
	case DestinationUnreachable, TimeExceeded:
		possible = v.setQuote(src, body, &familyV6)
	}
	if !c.verify(familyV6.message, src, &c.decodeErr) {
		return &c.decodeErr
	}
	switch {
	case !possible:
		c.decodeErr = impossibleQuote(src, &familyV6)
		return &c.decodeErr
	case bad != 0:
		c.decodeErr = impossibleOption(src, bad)
		return &c.decodeErr
	}
	return nil
}

// Append appends the ICMPv6 message for v to dst, with the checksum that it has
// between the addresses of the [PseudoHeader]. What v holds may lie anywhere in
// dst's array. A Quote is filled up with zeros to a multiple of 8 bytes in a
// redirect, and where Extensions follow to 128 bytes at least. Nothing is
// allocated if dst has room and the codec has encoded as long a message before.
//
// The kind of the error is ErrType if v.Type is not one of ICMPv6, ErrRange for a
// number that does not fit its field, ErrTooLong, and ErrAddress if v.Gateway or
// v.Destination of a redirect is no IPv6 address or the PseudoHeader is not set.
func (c *ICMPv6) Append(dst []byte, v *Message) ([]byte, error) {
	number := v.Type.NumberV6()
	if !v.fits(number, &familyV6, &c.appendErr) {
		return dst, &c.appendErr
	}
	if field, version := c.wrong(); field != "" {
		c.appendErr = EncodeError{Message: familyV6.message, Field: field, Kind: ErrAddress, Found: int64(version), want: wantPseudoHeader}
		return dst, &c.appendErr
	}
	var rest uint32 // the 4 bytes that depend on the type
	var length int
	body := c.body[:0]
	switch v.Type {
	case EchoRequest, EchoReply:
		rest, body = uint32(v.ID)<<16|uint32(v.Seq), append(body, v.Data...)
	case ExtendedEchoRequest:
		rest, body = uint32(v.ID)<<16|uint32(v.extended()), append(body, v.Extensions...)
	case ExtendedEchoReply:
		rest, body = uint32(v.ID)<<16|uint32(v.extended()), append(body, v.Data...)
	case PacketTooBig:
		rest, body = v.MTU, append(body, v.Quote...)
	case ParameterProblem:
		rest, body = v.Pointer, append(body, v.Quote...)
	case Redirect:
		body = appendRedirect(body, v)
	case DestinationUnreachable, TimeExceeded:
		body, length = v.appendQuote(body, &familyV6)
		rest = uint32(length) << 24
	}
	c.body = body

	c.icmp.TypeCode = layers.CreateICMPv6TypeCode(uint8(number), v.Code)
	c.rest.Identifier, c.rest.SeqNumber = uint16(rest>>16), uint16(rest)
	c.icmp.Checksum = 0
	if !c.KernelChecksum {
		c.icmp.Checksum = ^fold(c.sum(headerLen+len(body)) + uint64(c.icmp.TypeCode) + uint64(rest>>16) + uint64(rest&0xFFFF) + uint64(sum(body)))
	}
	if c.header == nil {
		c.header = gopacket.NewSerializeBufferExpectedSize(headerLen, 0)
	}
	if err := serializeV6(c.header, &c.icmp, &c.rest); err != nil {
		return dst, err
	}
	return join(dst, c.header.Bytes(), body), nil
}
