package codec

// family is in what ICMPv4 and ICMPv6 differ where they are alike.
type family struct {
	message    string // in errors
	version    int    // of addresses
	types      *[256]Type
	lowest     uint32 // of their numbers
	maxLen     int    // of a message in bytes
	maxPointer uint32
	// The offset of the byte that tells the length of a quoted packet, and what it
	// counts in (RFC 4884, 4).
	quoteLenAt, quoteUnit int
	// What would be right, for errors.
	wantNumber, wantType, wantLen, wantQuote, wantAddress string
}

// typeOf returns the type of the message src, or sets the error if it has none or
// cannot be as long as it is.
func (f *family) typeOf(src []byte, e *DecodeError) (t Type, ok bool) {
	if len(src) < headerLen {
		*e = tooShort(f.message, len(src), headerLen)
		return 0, false
	}
	t = f.types[src[0]]
	switch {
	case t == 0:
		*e = DecodeError{Message: f.message, Kind: ErrType,
			Found: uint32(src[0]), Want: f.lowest, want: f.wantNumber}
		return 0, false
	case (t == TimestampRequest || t == TimestampReply) && len(src) < timestampLen:
		*e = tooShort(f.message, len(src), timestampLen)
		return 0, false
	case t == Redirect && f.version == 6 && len(src) < redirectLenV6:
		*e = tooShort(f.message, len(src), redirectLenV6)
		return 0, false
	case len(src) > f.maxLen:
		*e = DecodeError{Message: f.message, Kind: ErrTooLong, Offset: f.maxLen,
			Found: uint32(len(src)), Want: uint32(f.maxLen), want: "at most %s"}
		return 0, false
	}
	return t, true
}

// extends tells whether an error of this type may have extensions (RFC 4884, 4).
func (f *family) extends(t Type) bool {
	return t == DestinationUnreachable || t == TimeExceeded || t == ParameterProblem && f.version == 4
}

const (
	// headerLen is the length in bytes of what every ICMP message begins with:
	// type, code, checksum, and 4 bytes that depend on the type.
	headerLen = 8
	// timestampLen is the length of a timestamp message (RFC 792).
	timestampLen = 20
	// minQuoteLen is how many bytes come before an extension structure at least
	// (RFC 4884, 4).
	minQuoteLen = 128
)

// setExtended decodes what comes behind the identifier of an extended echo: the
// word with the sequence number, and body.
func (v *Message) setExtended(word uint16, body []byte) {
	v.Seq = word >> 8
	if v.Type == ExtendedEchoRequest {
		v.Local = word&1 != 0
		v.Extensions = body
		return
	}
	v.Interface = Interface{State: uint8(word) >> 5, Active: word&4 != 0, IPv4: word&2 != 0, IPv6: word&1 != 0}
	v.Data = body
}

// extended encodes that word.
func (v *Message) extended() uint16 {
	word := v.Seq << 8
	if v.Type == ExtendedEchoRequest {
		return word | bit(v.Local)
	}
	i := v.Interface
	return word | uint16(i.State)<<5 | bit(i.Active)<<2 | bit(i.IPv4)<<1 | bit(i.IPv6)
}

func bit(b bool) uint16 {
	if b {
		return 1
	}
	return 0
}

// setQuote divides body, which src ends with, into the quoted packet and the
// extension structure. If the length that src tells is impossible, all is taken
// for the quote.
func (v *Message) setQuote(src, body []byte, f *family) (possible bool) {
	v.Quote = body
	n := f.quoteUnit * int(src[f.quoteLenAt])
	switch {
	case n == 0, n == len(body):
		return true
	case n < minQuoteLen, n > len(body):
		return false
	}
	v.Quote, v.Extensions = body[:n:n], body[n:]
	return true
}

// impossibleQuote is the error of that length.
func impossibleQuote(src []byte, f *family) DecodeError {
	return DecodeError{Message: f.message, Kind: ErrLength, Offset: f.quoteLenAt,
		Found: uint32(f.quoteUnit) * uint32(src[f.quoteLenAt]), Want: uint32(len(src) - headerLen),
		want: "0 or at most %s, and 128 at least where extensions follow"}
}

// fits tells whether v can be encoded as a message with that number, -1 for
// none, and sets the error if not.
func (v *Message) fits(number int, f *family, e *EncodeError) bool {
	fail := func(field string, kind error, found int64, want string) bool {
		*e = EncodeError{Message: f.message, Field: field, Kind: kind, Found: found, want: want}
		return false
	}
	if number < 0 {
		return fail("Type", ErrType, int64(v.Type), f.wantType)
	}
	field, n := "Quote", int64(len(v.Quote)) // of 64 bits, as two lengths are added up
	switch v.Type {
	case EchoRequest, EchoReply:
		field, n = "Data", int64(len(v.Data))
	case ExtendedEchoRequest, ExtendedEchoReply:
		field, n = "Data", int64(len(v.Data))
		if v.Type == ExtendedEchoRequest {
			field, n = "Extensions", int64(len(v.Extensions))
		}
		if v.Seq > 0xFF {
			return fail("Seq", ErrRange, int64(v.Seq), "at most 255")
		}
		if v.Type == ExtendedEchoReply && v.Interface.State > 7 {
			return fail("Interface.State", ErrRange, int64(v.Interface.State), "at most 7")
		}
	case ParameterProblem:
		if v.Pointer > f.maxPointer {
			return fail("Pointer", ErrRange, int64(v.Pointer), "at most 255")
		}
	case DestinationUnreachable:
		if f.version == 4 && v.Code == FragmentationNeededV4 && v.MTU > 0xFFFF {
			return fail("MTU", ErrRange, int64(v.MTU), "at most 65535")
		}
	case Redirect:
		if versionOf(v.Gateway) != f.version {
			return fail("Gateway", ErrAddress, int64(versionOf(v.Gateway)), f.wantAddress)
		}
		if f.version == 6 && !v.Destination.Is6() {
			return fail("Destination", ErrAddress, int64(versionOf(v.Destination)), f.wantAddress)
		}
		if f.version == 6 && n > maxRedirected {
			return fail("Quote", ErrTooLong, n, "at most 2032")
		}
	case TimestampRequest, TimestampReply:
		n = 0
	}
	if f.extends(v.Type) && len(v.Extensions) > 0 {
		if n > 0xFF*int64(f.quoteUnit) {
			return fail("Quote", ErrTooLong, n, f.wantQuote)
		}
		field, n = "Extensions", int64(v.quoteLen(f))+int64(len(v.Extensions))
	}
	if n > int64(f.maxLen-headerLen) {
		return fail(field, ErrTooLong, n, f.wantLen)
	}
	return true
}

// appendQuote appends the quoted packet and, where they may be, the extensions.
// It returns the length that the message tells of the former then.
func (v *Message) appendQuote(body []byte, f *family) (_ []byte, length int) {
	body = append(body, v.Quote...)
	if !f.extends(v.Type) || len(v.Extensions) == 0 {
		return body, 0
	}
	n := v.quoteLen(f)
	body = append(body, zeros[:n-len(v.Quote)]...)
	return append(body, v.Extensions...), n / f.quoteUnit
}

// quoteLen is the length in bytes that the quoted packet has before extensions.
func (v *Message) quoteLen(f *family) int {
	return max(minQuoteLen, (len(v.Quote)+f.quoteUnit-1)/f.quoteUnit*f.quoteUnit)
}

var zeros [minQuoteLen]byte
