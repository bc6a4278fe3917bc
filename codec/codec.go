// Package codec turns wire bytes into values and values into wire bytes, one
// codec for each kind of message.
//
// It is for programs that answer or send packets by the hundred thousand:
// nothing is allocated for a message, malformed ones included, and every
// checksum is verified. [EchoV4] is the codec for ICMPv4 echo requests and
// replies; it parses and serializes with gopacket's layers.
//
//	var c codec.EchoV4 // one for each goroutine
//	var e codec.Echo
//	switch err := c.Decode(packet, &e); {
//	case errors.Is(err, codec.ErrType):
//		// Some other ICMP message.
//	case err != nil:
//		return err // what is wrong, where, and what would be right
//	case e.Type == codec.EchoRequest:
//		return c.Reply(packet) // edited in place, ready to send
//	}
//	request, err := c.Append(nil, &codec.Echo{Type: codec.EchoRequest, ID: 7, Seq: 1})
//
// A codec knows nothing of sockets: it is given the message alone, without the
// header of the packet that carried it.
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
