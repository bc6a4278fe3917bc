package udp

// Refused has a transport take an error for that of a message with a Segment,
// and tells whether it goes on to send the datagrams one by one. No kernel
// without IPsec says EIO at a test's request.
func Refused(c Conn, err error) bool { return c.(*conn).takesParts(err) }

// Retains tells whether a transport keeps a buffer of its caller.
func Retains(c Conn) bool {
	for _, part := range c.(*conn).parts {
		if part.Buf != nil {
			return true
		}
	}
	return false
}
