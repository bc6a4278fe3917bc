package codec

import (
	"encoding/binary"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// MaxEchoDataV4 is the most data in bytes that an ICMPv4 echo message can
// carry: what is left of a 65,535-byte packet after an IPv4 header of 20 bytes
// without options, and the echo header (RFC 791, RFC 792).
const MaxEchoDataV4 = 65535 - 20 - EchoHeaderLen

// EchoV4 is the [Codec] for ICMPv4 echo requests and replies (RFC 792). The
// zero value is ready to use; it must not be copied after that.
type EchoV4 struct {
	layer  layers.ICMPv4
	header gopacket.SerializeBuffer // holds a header only, never data

	decodeErr, replyErr DecodeError
	appendErr           EncodeError
}

var _ Codec[Echo] = (*EchoV4)(nil)

const echoV4 = "ICMPv4 echo"

// Decode parses src, an ICMP message without its IP header, into v. v.Data is
// the part of src after the header. Any Code is accepted: look at it.
//
// The kind of the error is, in this order, ErrTooShort under 8 bytes, ErrType if
// the message is neither an echo request nor a reply (its checksum may be good
// or bad then), ErrTooLong if no IPv4 packet can carry it, and ErrChecksum. With
// ErrChecksum, v holds what the message says all the same, so that a prober can
// guess which probe was hurt; after every other error it is zero.
//
// As RFC 1071 has it, a checksum is good if the message with it sums to 0xFFFF.
// So 0xFFFF is as good as 0x0000, and a message of nothing but zeros is bad.
// (Linux sends one as its reply to a request in which identifier, sequence
// number and data are all zero, and drops such a message itself.)
func (c *EchoV4) Decode(src []byte, v *Echo) error {
	*v = Echo{}
	if len(src) < EchoHeaderLen {
		c.decodeErr = tooShort(echoV4, len(src), EchoHeaderLen)
		return &c.decodeErr
	}
	var t Type
	switch src[0] {
	case layers.ICMPv4TypeEchoRequest:
		t = EchoRequest
	case layers.ICMPv4TypeEchoReply:
		t = EchoReply
	default:
		c.decodeErr = DecodeError{Message: echoV4, Kind: ErrType,
			Found: uint32(src[0]), Want: layers.ICMPv4TypeEchoReply, want: "8 (request) or 0 (reply)"}
		return &c.decodeErr
	}
	if len(src) > EchoHeaderLen+MaxEchoDataV4 {
		c.decodeErr = DecodeError{Message: echoV4, Kind: ErrTooLong, Offset: EchoHeaderLen + MaxEchoDataV4,
			Found: uint32(len(src)), Want: EchoHeaderLen, want: "at most 65515"}
		return &c.decodeErr
	}
	if err := c.layer.DecodeFromBytes(src, gopacket.NilDecodeFeedback); err != nil {
		return err
	}
	v.Type = t
	v.Code = c.layer.TypeCode.Code()
	v.ID = c.layer.Id
	v.Seq = c.layer.Seq
	v.Data = slices.Clip(c.layer.Payload)
	if !verify(echoV4, src, 0, &c.decodeErr) {
		return &c.decodeErr
	}
	return nil
}

// Append appends the ICMP message for v, with its checksum, to dst. v.Data may
// lie anywhere in dst's array; what lies past len(dst) is overwritten, so it
// does not survive the call there. Nothing is allocated if dst has room.
//
// The kind of the error is ErrType if v.Type is neither EchoRequest nor
// EchoReply, and ErrTooLong for more than [MaxEchoDataV4] bytes of data.
func (c *EchoV4) Append(dst []byte, v *Echo) ([]byte, error) {
	var t uint8
	switch v.Type {
	case EchoRequest:
		t = layers.ICMPv4TypeEchoRequest
	case EchoReply:
		t = layers.ICMPv4TypeEchoReply
	default:
		c.appendErr = EncodeError{Message: echoV4, Field: "Type", Kind: ErrType,
			Found: int64(v.Type), want: "EchoRequest (1) or EchoReply (2)"}
		return dst, &c.appendErr
	}
	if len(v.Data) > MaxEchoDataV4 {
		c.appendErr = EncodeError{Message: echoV4, Field: "Data", Kind: ErrTooLong,
			Found: int64(len(v.Data)), want: "at most 65507"}
		return dst, &c.appendErr
	}

	// gopacket would sum 2 bytes at a time, and only what it has copied into
	// its own buffer. It gets the header alone and the checksum ready-made.
	c.layer.TypeCode = layers.CreateICMPv4TypeCode(t, v.Code)
	c.layer.Id = v.ID
	c.layer.Seq = v.Seq
	c.layer.Checksum = ^fold(uint64(c.layer.TypeCode) + uint64(v.ID) + uint64(v.Seq) + uint64(sum(v.Data)))
	if c.header == nil {
		c.header = gopacket.NewSerializeBufferExpectedSize(EchoHeaderLen, 0)
	}
	if err := c.header.Clear(); err != nil {
		return dst, err
	}
	if err := c.layer.SerializeTo(c.header, gopacket.SerializeOptions{}); err != nil {
		return dst, err
	}

	return join(dst, c.header.Bytes(), v.Data), nil
}

// Reply turns b, an encoded echo request without its IP header, into the reply
// to it: the type changes and the checksum with it (RFC 1624), code, identifier,
// sequence number and data stay. The reply to a valid request is byte for byte
// what Append makes of it.
//
// The checksum is not verified: a bad one stays bad, so that no damaged request
// becomes a good reply. Decode verifies it.
//
// The error is a *[DecodeError] that is valid until the next Reply; its kind is
// ErrTooShort under 8 bytes and ErrType if b is not an echo request. b is then
// as it was.
func (c *EchoV4) Reply(b []byte) error {
	if !replyTo(b, echoV4, layers.ICMPv4TypeEchoRequest, layers.ICMPv4TypeEchoReply, &c.replyErr) {
		return &c.replyErr
	}
	if binary.BigEndian.Uint16(b[checksumStart:]) == 0 && Checksum(b) == 0xFFFF {
		// Type 0 can make the whole message zero, which RFC 1624 takes to be
		// impossible. It does not sum to 0xFFFF, and kernels would drop it.
		binary.BigEndian.PutUint16(b[checksumStart:], 0xFFFF)
	}
	return nil
}

// join appends header and data to dst, in whose array data may lie anywhere.
func join(dst, header, data []byte) []byte {
	start := len(dst)
	dst = slices.Grow(dst, len(header)+len(data))[:start+len(header)+len(data)]
	copy(dst[start+len(header):], data) // first, as the header may fall on it
	copy(dst[start:], header)
	return dst
}
