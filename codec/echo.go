package codec

import "strconv"

// EchoHeaderLen is the length in bytes of what comes before the data of an echo
// message (RFC 792; RFC 4443, 4.1).
const EchoHeaderLen = 8

// Echo is an ICMP echo request or reply.
type Echo struct {
	// Type says which of the two.
	Type EchoType
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

// EchoType tells an echo request from its reply in both ICMPv4 and ICMPv6,
// which number them differently. The zero value is neither.
type EchoType uint8

const (
	// EchoRequest is type 8 in ICMPv4 (RFC 792) and 128 in ICMPv6 (RFC 4443, 4.1).
	EchoRequest EchoType = 1 + iota
	// EchoReply is type 0 in ICMPv4 (RFC 792) and 129 in ICMPv6 (RFC 4443, 4.2).
	EchoReply
)

// String returns "echo request" or "echo reply".
func (t EchoType) String() string {
	switch t {
	case EchoRequest:
		return "echo request"
	case EchoReply:
		return "echo reply"
	}
	return "EchoType(" + strconv.Itoa(int(t)) + ")"
}
