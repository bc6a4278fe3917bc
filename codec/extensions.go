package codec

import "encoding/binary"

// Object is an extension object of an ICMP message (RFC 4884, 8).
type Object struct {
	Class uint8 // ClassMPLS or another number from the registry (IANA)
	Type  uint8 // the C-Type; what it means depends on the class
	Data  []byte
}

// Classes of extension objects.
const (
	// ClassMPLS, type 1: the MPLS label stack that the packet arrived with, 4 bytes
	// an entry (RFC 4950, 5): 20 bits of label, 3 of traffic class, 1 at the bottom
	// of the stack, 8 of time to live.
	ClassMPLS = 1
	// ClassInterfaceInfo: an interface that the packet arrived on, or would have
	// left by (RFC 5837, 4).
	ClassInterfaceInfo = 2
	// ClassInterfaceID: the interface that an extended echo request asks for, by
	// name (type 1, filled up with zeros to a multiple of 4 bytes), index (2) or
	// address (3) (RFC 8335, 2.1).
	ClassInterfaceID = 3
)

// MaxObjects is how many objects an extension structure can have here, so that
// nobody makes a receiver store thousands.
const MaxObjects = 32

// Extensions is the [Codec] for extension structures (RFC 4884, 7), which
// [Message] has as bytes, and their objects. The zero value is ready to use.
type Extensions struct {
	body []byte // assembled here, as its parts may lie where it goes

	decodeErr DecodeError
	appendErr EncodeError
}

var _ Codec[[]Object] = (*Extensions)(nil)

const (
	extensions          = "ICMP extension structure"
	extensionsHeaderLen = 4
	extensionsVersion   = 2
	objectHeaderLen     = 4
)

// Decode parses src, a whole extension structure, into v, whose array is used
// again: nothing is allocated if it has room. It is cleared to its capacity, so
// give Decode no part of an array that something else has the rest of. The
// objects' data are parts of src. Every object is reported, in order, whatever
// its class. A structure without objects is accepted.
//
// A checksum of zero means that the sender has not computed one (RFC 4884, 7),
// and is accepted: that of the ICMP message covers the same bytes.
//
// The kind of the error is ErrTooShort if the structure or the header of an
// object is cut off, ErrTooLong for more than 65,535 bytes, ErrVersion,
// ErrChecksum, ErrLength if the length of an object is not a multiple of 4 bytes
// within the structure, and ErrTooLong for more than [MaxObjects]. v is then
// empty.
func (c *Extensions) Decode(src []byte, v *[]Object) error {
	clear((*v)[:cap(*v)])
	objects, ok := c.decode(src, (*v)[:0])
	if !ok {
		clear(objects)
		*v = objects[:0] // though empty: what it has grown to is used again
		return &c.decodeErr
	}
	*v = objects
	return nil
}

// decode appends the objects of src, or sets the error.
func (c *Extensions) decode(src []byte, objects []Object) (_ []Object, ok bool) {
	if len(src) < extensionsHeaderLen {
		c.decodeErr = tooShort(extensions, len(src), extensionsHeaderLen)
		return objects, false
	}
	if len(src) > maxPacketLen {
		c.decodeErr = DecodeError{Message: extensions, Kind: ErrTooLong, Offset: maxPacketLen,
			Found: uint32(len(src)), Want: maxPacketLen, want: "at most %s"}
		return objects, false
	}
	if version := src[0] >> 4; version != extensionsVersion {
		c.decodeErr = DecodeError{Message: extensions, Kind: ErrVersion, Found: uint32(version), Want: extensionsVersion}
		return objects, false
	}
	if binary.BigEndian.Uint16(src[checksumStart:]) != 0 && !verify(extensions, src, 0, &c.decodeErr) {
		return objects, false
	}
	for at := extensionsHeaderLen; at < len(src); {
		left := len(src) - at
		if left < objectHeaderLen {
			c.decodeErr = tooShort(extensions, len(src), at+objectHeaderLen)
			return objects, false
		}
		n := int(binary.BigEndian.Uint16(src[at:]))
		if n < objectHeaderLen || n%4 != 0 || n > left {
			c.decodeErr = DecodeError{Message: extensions, Kind: ErrLength, Offset: at,
				Found: uint32(n), Want: uint32(left), want: "a multiple of 4 from 4 to %s"}
			return objects, false
		}
		if len(objects) == MaxObjects {
			c.decodeErr = DecodeError{Message: extensions, Kind: ErrTooLong, Offset: at,
				Found: MaxObjects + 1, Want: MaxObjects, want: "at most %s objects"}
			return objects, false
		}
		objects = append(objects, Object{Class: src[at+2], Type: src[at+3], Data: src[at+objectHeaderLen : at+n : at+n]})
		at += n
	}
	return objects, true
}

// Append appends the extension structure of v, with its checksum, to dst. Data
// may lie anywhere in dst's array. Nothing is allocated if dst has room and the
// codec has encoded as long a structure before.
//
// The kind of the error is ErrLength if the length of an object's Data is not a
// multiple of 4, and ErrTooLong for more than [MaxObjects], or more than 65,535
// bytes in all.
func (c *Extensions) Append(dst []byte, v *[]Object) ([]byte, error) {
	if len(*v) > MaxObjects {
		c.appendErr = EncodeError{Message: extensions, Field: "objects", Kind: ErrTooLong, Found: int64(len(*v)), want: "at most 32"}
		return dst, &c.appendErr
	}
	total := extensionsHeaderLen
	for i := range *v {
		n := len((*v)[i].Data)
		if n%4 != 0 {
			c.appendErr = EncodeError{Message: extensions, Field: "Data", Kind: ErrLength, Found: int64(n), want: "a multiple of 4"}
			return dst, &c.appendErr
		}
		if n > maxPacketLen-objectHeaderLen-total {
			c.appendErr = EncodeError{Message: extensions, Field: "Data", Kind: ErrTooLong, Found: int64(n), want: "at most 65535 in all"}
			return dst, &c.appendErr
		}
		total += objectHeaderLen + n
	}
	body := append(c.body[:0], extensionsVersion<<4, 0, 0, 0)
	for i := range *v {
		o := &(*v)[i]
		body = binary.BigEndian.AppendUint16(body, uint16(objectHeaderLen+len(o.Data)))
		body = append(body, o.Class, o.Type)
		body = append(body, o.Data...)
	}
	checksum := Checksum(body)
	if checksum == 0 {
		checksum = 0xFFFF // the other zero, as this one says that there is none
	}
	binary.BigEndian.PutUint16(body[checksumStart:], checksum)
	c.body = body
	return append(dst, body...), nil
}
