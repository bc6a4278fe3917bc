package codec

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// ICMPv4 is the [Codec] for ICMPv4 messages of every [Type] that has a number
// there. [EchoV4] is the faster one for those who meet nothing but echo. The
// zero value is ready to use; it must not be copied after that.
type ICMPv4 struct {
	layer  layers.ICMPv4
	header gopacket.SerializeBuffer
	body   []byte // assembled here, as its parts may lie where it goes

	decodeErr DecodeError
	appendErr EncodeError
}

var _ Codec[Message] = (*ICMPv4)(nil)

var familyV4 = family{
	message: "ICMPv4", version: 4, types: &typesV4, lowest: 0,
	maxLen: EchoHeaderLen + MaxEchoDataV4, maxPointer: 0xFF,
	quoteLenAt: 5, quoteUnit: 4,
	wantNumber: "0, 3, 4, 5, 8, 11 to 14, 42 or 43",
	wantType:   "one that ICMPv4 has, and not SourceQuench", wantLen: "at most 65515 in all",
	wantQuote: "at most 1020 before Extensions", wantAddress: "an IPv4 address",
}

// Decode parses src, an ICMPv4 message without its IP header, into v. Slices in
// v are parts of src. Bits that are reserved, and bytes behind a timestamp
// message, are not looked at, as on every host.
//
// The kind of the error is, in this order, ErrTooShort if the header is cut off,
// ErrType if the message has no [Type] (its checksum may be good or bad then),
// ErrTooLong if no IPv4 packet can carry it, ErrChecksum, and ErrLength if the
// length of the quoted packet cannot be that (RFC 4884, 4). With ErrChecksum and
// ErrLength, v holds what the message says all the same; with ErrLength all
// that follows the header is the quote. After every other error v is zero.
func (c *ICMPv4) Decode(src []byte, v *Message) error {
	*v = Message{}
	t, ok := familyV4.typeOf(src, &c.decodeErr)
	if !ok {
		return &c.decodeErr
	}
	if err := c.layer.DecodeFromBytes(src, gopacket.NilDecodeFeedback); err != nil {
		return err
	}
	v.Type, v.Code = t, c.layer.TypeCode.Code()
	body := slices.Clip(c.layer.Payload)
	possible := true
	switch t {
	case EchoRequest, EchoReply:
		v.ID, v.Seq, v.Data = c.layer.Id, c.layer.Seq, body
	case ExtendedEchoRequest, ExtendedEchoReply:
		v.ID = c.layer.Id
		v.setExtended(c.layer.Seq, body)
	case TimestampRequest, TimestampReply:
		v.ID, v.Seq = c.layer.Id, c.layer.Seq
		v.Originate = Timestamp(binary.BigEndian.Uint32(body))
		v.Receive = Timestamp(binary.BigEndian.Uint32(body[4:]))
		v.Transmit = Timestamp(binary.BigEndian.Uint32(body[8:]))
	case Redirect:
		v.Gateway, v.Quote = netip.AddrFrom4([4]byte(src[4:])), body
	case SourceQuench:
		v.Quote = body
	case ParameterProblem:
		v.Pointer = uint32(src[4])
		possible = v.setQuote(src, body, &familyV4)
	case DestinationUnreachable:
		if v.Code == FragmentationNeededV4 {
			v.MTU = uint32(c.layer.Seq)
		}
		possible = v.setQuote(src, body, &familyV4)
	case TimeExceeded:
		possible = v.setQuote(src, body, &familyV4)
	}
	if !verify(familyV4.message, src, 0, &c.decodeErr) {
		return &c.decodeErr
	}
	if !possible {
		c.decodeErr = impossibleQuote(src, &familyV4)
		return &c.decodeErr
	}
	return nil
}

// Append appends the ICMPv4 message for v, with its checksum, to dst. What v
// holds may lie anywhere in dst's array. A Quote that Extensions follow is filled
// up with zeros to 128 bytes or a multiple of 4. Nothing is allocated if dst has
// room and the codec has encoded as long a message before.
//
// The kind of the error is ErrType if v.Type is not one that is sent in ICMPv4
// (source quench is not: RFC 6633), ErrAddress if v.Gateway is no IPv4 address,
// ErrRange for a number that does not fit its field, and ErrTooLong.
func (c *ICMPv4) Append(dst []byte, v *Message) ([]byte, error) {
	number := v.Type.NumberV4()
	if v.Type == SourceQuench {
		number = -1
	}
	if !v.fits(number, &familyV4, &c.appendErr) {
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
	case TimestampRequest, TimestampReply:
		rest = uint32(v.ID)<<16 | uint32(v.Seq)
		for _, t := range [...]Timestamp{v.Originate, v.Receive, v.Transmit} {
			body = binary.BigEndian.AppendUint32(body, uint32(t))
		}
	case Redirect:
		gateway := v.Gateway.As4()
		rest, body = binary.BigEndian.Uint32(gateway[:]), append(body, v.Quote...)
	case ParameterProblem:
		body, length = v.appendQuote(body, &familyV4)
		rest = v.Pointer<<24 | uint32(length)<<16
	case TimeExceeded, DestinationUnreachable:
		body, length = v.appendQuote(body, &familyV4)
		rest = uint32(length) << 16
		if v.Type == DestinationUnreachable && v.Code == FragmentationNeededV4 {
			rest |= v.MTU
		}
	}
	c.body = body

	c.layer.TypeCode = layers.CreateICMPv4TypeCode(uint8(number), v.Code)
	c.layer.Id, c.layer.Seq = uint16(rest>>16), uint16(rest)
	c.layer.Checksum = ^fold(uint64(c.layer.TypeCode) + uint64(c.layer.Id) + uint64(c.layer.Seq) + uint64(sum(body)))
	if c.header == nil {
		c.header = gopacket.NewSerializeBufferExpectedSize(headerLen, 0)
	}
	if err := c.header.Clear(); err != nil {
		return dst, err
	}
	if err := c.layer.SerializeTo(c.header, gopacket.SerializeOptions{}); err != nil {
		return dst, err
	}
	return join(dst, c.header.Bytes(), body), nil
}
