// Package codec turns wire bytes into values and values into wire bytes, one
// codec for each kind of message.
//
// It is for programs that answer or send packets by the hundred thousand:
// nothing is allocated for a message, malformed ones included, and every
// checksum is verified wherever a whole message is decoded, unless the kernel
// does it ([PseudoHeader]) or the sender has left it out ([Extensions]). The
// codecs parse and serialize with gopacket's layers.
//
//	Codec              of
//	EchoV4, EchoV6     Echo       ICMP echo, and nothing else: the fast way
//	ICMPv4, ICMPv6     Message    every ICMP message that concerns a prober, errors too
//	Extensions         []Object   what RFC 4884 appends to errors, MPLS labels for instance
//	IPv4, IPv6         Packet     the packets that carry all this, where the kernel does not
//
// [QuoteV4] and [QuoteV6] only decode: a [Quote] is the beginning of the packet that
// an error is about, whose probe it was. Its checksums cannot be verified, as there
// is no whole message; that of the error covers it.
//
// A responder:
//
//	var c codec.EchoV4 // one for each goroutine
//	var e codec.Echo
//	switch err := c.Decode(message, &e); {
//	case errors.Is(err, codec.ErrType):
//		// Some other ICMP message.
//	case err != nil:
//		return err // what is wrong, where, and what would be right
//	case e.Type == codec.EchoRequest:
//		return c.Reply(message) // edited in place, ready to send
//	}
//
// A prober makes its requests by c.Append(nil, &codec.Echo{Type:
// codec.EchoRequest, ID: 7, Seq: 1}).
//
// A codec knows nothing of sockets: it is given the message alone, without the
// header of the packet that carried it. So the codecs of ICMPv6, whose checksum
// covers the addresses of the packet, are told these, or that the kernel sees to
// the checksum: see [PseudoHeader].
package codec

// Codec decodes and encodes messages of type T. A codec keeps state that it
// uses again from call to call: it belongs to one goroutine at a time. It does
// not change what it is given to read, and it keeps no message beyond the
// promises below.
type Codec[T any] interface {
	// Decode parses src, a whole message, into v. What v holds may alias src
	// and belongs to it: it is valid until src changes or the next Decode.
	//
	// The error is a *[DecodeError], which is used again: it is valid until
	// the next Decode. Nothing of an earlier message remains in v after an
	// error.
	Decode(src []byte, v *T) error
	// Append appends the encoding of v to dst and returns the longer slice.
	// What v holds may alias dst's array or the src of a Decode in any way;
	// bytes of dst's array past len(dst) are overwritten.
	//
	// The error is an *[EncodeError], which is used again: it is valid until
	// the next Append. On error, dst is returned as it was and nothing is
	// written to its array.
	Append(dst []byte, v *T) ([]byte, error)
}
