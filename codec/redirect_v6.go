package codec

// A redirect of ICMPv6 (RFC 4861, 4.5) has its addresses and options behind the
// header. Options count their length in units of 8 bytes; the redirected header
// option quotes a packet, after 8 bytes of its own (RFC 4861, 4.6.3).
const (
	redirectLenV6    = headerLen + 16 + 16
	optionUnit       = 8
	redirectedHeader = 4
	maxRedirected    = 0xFF*optionUnit - 8
)

// redirected returns the packet that src, a redirect, quotes. bad is the offset
// of an option with an impossible length, or 0.
func redirected(src []byte) (quote []byte, bad int) {
	for at := redirectLenV6; at < len(src); {
		n := 0
		if at+1 < len(src) {
			n = optionUnit * int(src[at+1])
		}
		if n == 0 || n > len(src)-at {
			return quote, at
		}
		if src[at] == redirectedHeader && quote == nil {
			quote = src[at+8 : at+n : at+n]
		}
		at += n
	}
	return quote, 0
}

// impossibleOption is the error of that option.
func impossibleOption(src []byte, at int) DecodeError {
	e := DecodeError{Message: familyV6.message, Kind: ErrLength, Offset: at + 1, Want: optionUnit,
		want: "an option of at least %s, within the message"}
	if at+1 < len(src) {
		e.Found = optionUnit * uint32(src[at+1])
	}
	return e
}

// appendRedirect appends what follows the first 8 bytes of the redirect for v.
func appendRedirect(body []byte, v *Message) []byte {
	gateway, destination := v.Gateway.As16(), v.Destination.As16()
	body = append(body, gateway[:]...)
	body = append(body, destination[:]...)
	if len(v.Quote) == 0 {
		return body
	}
	units := (8 + len(v.Quote) + optionUnit - 1) / optionUnit
	body = append(body, redirectedHeader, uint8(units), 0, 0, 0, 0, 0, 0)
	body = append(body, v.Quote...)
	return append(body, zeros[:optionUnit*units-8-len(v.Quote)]...)
}
