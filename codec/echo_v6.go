package codec

import (
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// MaxEchoDataV6 is the most data in bytes that an ICMPv6 echo message can carry:
// what is left of the longest payload of an IPv6 packet that is no jumbogram
// after the echo header (RFC 8200, 3; RFC 4443, 4.1).
const MaxEchoDataV6 = 65535 - EchoHeaderLen

// EchoV6 is the [Codec] for ICMPv6 echo requests and replies (RFC 4443, 4). Its
// [PseudoHeader] must be set before use; it must not be copied after that.
type EchoV6 struct {
	PseudoHeader

	icmp   layers.ICMPv6
	echo   layers.ICMPv6Echo
	header gopacket.SerializeBuffer // holds a header only, never data

	decodeErr, replyErr DecodeError
	appendErr           EncodeError
}

var _ Codec[Echo] = (*EchoV6)(nil)

const echoV6 = "ICMPv6 echo"

// Decode parses src, an ICMPv6 message without its IPv6 header, into v. v.Data
// is the part of src after the header. Any Code is accepted: look at it.
//
// The kind of the error is, in this order, ErrTooShort under 8 bytes, ErrType if
// the message is neither an echo request nor a reply (its checksum may be good
// or bad then), ErrTooLong if no IPv6 packet can carry it, ErrAddress if the
// [PseudoHeader] is not set, and ErrChecksum. With ErrChecksum, v holds what the
// message says all the same; after every other error it is zero.
func (c *EchoV6) Decode(src []byte, v *Echo) error {
	*v = Echo{}
	if len(src) < EchoHeaderLen {
		c.decodeErr = tooShort(echoV6, len(src), EchoHeaderLen)
		return &c.decodeErr
	}
	t := typesV6[src[0]]
	if t != EchoRequest && t != EchoReply {
		c.decodeErr = DecodeError{Message: echoV6, Kind: ErrType,
			Found: uint32(src[0]), Want: layers.ICMPv6TypeEchoRequest, want: "128 (request) or 129 (reply)"}
		return &c.decodeErr
	}
	if len(src) > EchoHeaderLen+MaxEchoDataV6 {
		c.decodeErr = DecodeError{Message: echoV6, Kind: ErrTooLong, Offset: EchoHeaderLen + MaxEchoDataV6,
			Found: uint32(len(src)), Want: EchoHeaderLen, want: "at most 65535"}
		return &c.decodeErr
	}
	if field, version := c.wrong(); field != "" {
		c.decodeErr = noPseudoHeader(echoV6, field, version)
		return &c.decodeErr
	}
	if err := c.icmp.DecodeFromBytes(src, gopacket.NilDecodeFeedback); err != nil {
		return err
	}
	if err := c.echo.DecodeFromBytes(c.icmp.Payload, gopacket.NilDecodeFeedback); err != nil {
		return err
	}
	v.Type = t
	v.Code = c.icmp.TypeCode.Code()
	v.ID = c.echo.Identifier
	v.Seq = c.echo.SeqNumber
	v.Data = slices.Clip(c.icmp.Payload[4:]) // gopacket's echo layer does not say where its data is
	if !c.verify(echoV6, src, &c.decodeErr) {
		return &c.decodeErr
	}
	return nil
}

// Append appends the ICMPv6 message for v to dst, with the checksum that it has
// between the addresses of the [PseudoHeader]. v.Data may lie anywhere in dst's
// array; what lies past len(dst) is overwritten, so it does not survive the call
// there. Nothing is allocated if dst has room.
//
// The kind of the error is ErrType if v.Type is neither EchoRequest nor
// EchoReply, ErrTooLong for more than [MaxEchoDataV6] bytes of data, and
// ErrAddress if the PseudoHeader is not set.
func (c *EchoV6) Append(dst []byte, v *Echo) ([]byte, error) {
	if v.Type != EchoRequest && v.Type != EchoReply {
		c.appendErr = EncodeError{Message: echoV6, Field: "Type", Kind: ErrType,
			Found: int64(v.Type), want: "EchoRequest (1) or EchoReply (2)"}
		return dst, &c.appendErr
	}
	if len(v.Data) > MaxEchoDataV6 {
		c.appendErr = EncodeError{Message: echoV6, Field: "Data", Kind: ErrTooLong,
			Found: int64(len(v.Data)), want: "at most 65527"}
		return dst, &c.appendErr
	}
	if field, version := c.wrong(); field != "" {
		c.appendErr = EncodeError{Message: echoV6, Field: field, Kind: ErrAddress, Found: int64(version), want: wantPseudoHeader}
		return dst, &c.appendErr
	}

	c.icmp.TypeCode = layers.CreateICMPv6TypeCode(uint8(types[v.Type].v6), v.Code)
	c.echo.Identifier = v.ID
	c.echo.SeqNumber = v.Seq
	c.icmp.Checksum = 0
	if !c.KernelChecksum {
		c.icmp.Checksum = ^fold(c.sum(EchoHeaderLen+len(v.Data)) + uint64(c.icmp.TypeCode) + uint64(v.ID) + uint64(v.Seq) + uint64(sum(v.Data)))
	}
	if c.header == nil {
		c.header = gopacket.NewSerializeBufferExpectedSize(EchoHeaderLen, 0)
	}
	if err := serializeV6(c.header, &c.icmp, &c.echo); err != nil {
		return dst, err
	}
	return join(dst, c.header.Bytes(), v.Data), nil
}

// Reply turns b, an encoded echo request without its IPv6 header, into the reply
// to it: the type changes and the checksum with it (RFC 1624), code, identifier,
// sequence number and data stay. The reply to a valid request is byte for byte
// what Append makes of it, with Source and Destination swapped.
//
// The checksum is not verified: a bad one stays bad, so that no damaged request
// becomes a good reply. Decode verifies it. The reply is for a packet from where
// the request went to where it came from, as then the checksum covers the same
// addresses. An answer to a multicast request comes from another address: use
// Append for it, unless the kernel fills in the checksum.
//
// The error is a *[DecodeError] that is valid until the next Reply; its kind is
// ErrTooShort under 8 bytes and ErrType if b is not an echo request. b is then
// as it was.
func (c *EchoV6) Reply(b []byte) error {
	if !replyTo(b, echoV6, layers.ICMPv6TypeEchoRequest, layers.ICMPv6TypeEchoReply, &c.replyErr) {
		return &c.replyErr
	}
	return nil
}

// serializeV6 writes the two layers that the first 8 bytes of an ICMPv6 message
// are to gopacket.
func serializeV6(header gopacket.SerializeBuffer, icmp *layers.ICMPv6, echo *layers.ICMPv6Echo) error {
	err := header.Clear()
	if err == nil {
		err = echo.SerializeTo(header, gopacket.SerializeOptions{})
	}
	if err == nil {
		err = icmp.SerializeTo(header, gopacket.SerializeOptions{})
	}
	return err
}
