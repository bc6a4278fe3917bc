package codec

import "encoding/binary"

// EchoHeaderLen is the length in bytes of what comes before the data of an echo
// message (RFC 792; RFC 4443, 4.1).
const EchoHeaderLen = 8

// Echo is an ICMP echo request or reply.
type Echo struct {
	// Type says which of the two.
	Type Type
	// Code is zero in every proper echo message. It is decoded and encoded as
	// it is: a responder sends back what it was sent, as Linux does, and a
	// prober needs the rest of the message to tell whose reply it is that has
	// a code other than 0.
	Code uint8
	// ID and Seq are the identifier and the sequence number, chosen by the
	// sender of the request.
	ID, Seq uint16
	// Data is the payload, which the reply has from its request.
	Data []byte
}

// replyTo turns the request b into the reply, if it is one, or sets the error.
func replyTo(b []byte, message string, request, reply uint8, e *DecodeError) bool {
	if len(b) < EchoHeaderLen {
		*e = tooShort(message, len(b), EchoHeaderLen)
		return false
	}
	if b[0] != request {
		*e = DecodeError{Message: message, Kind: ErrType, Found: uint32(b[0]), Want: uint32(request), want: "%s (request)"}
		return false
	}
	was := binary.BigEndian.Uint16(b)
	b[0] = reply
	hc := updated(binary.BigEndian.Uint16(b[checksumStart:]), was, binary.BigEndian.Uint16(b))
	binary.BigEndian.PutUint16(b[checksumStart:], hc)
	return true
}
