package codec

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// What can be wrong with a message, for use with [errors.Is].
var (
	// ErrTooShort: the message ends before its header, or a length in its header,
	// says that it does.
	ErrTooShort = errors.New("message too short")
	// ErrTooLong: the message, or a part of it, is longer than what carries it can
	// be.
	ErrTooLong = errors.New("message too long")
	// ErrType: the message is of a type that the codec, or what it is asked to do,
	// is not for.
	ErrType = errors.New("another type of message")
	// ErrVersion: the message is of a version that the codec is not for.
	ErrVersion = errors.New("another version")
	// ErrChecksum: the message is not what was sent, or was sent wrong.
	ErrChecksum = errors.New("bad checksum")
	// ErrLength: a length inside the message contradicts what is there.
	ErrLength = errors.New("impossible length")
	// ErrAddress: an address that is needed is missing, or is of the other family.
	ErrAddress = errors.New("no address of this family")
	// ErrRange: a value does not fit its field, or has none. Only Append returns it.
	ErrRange = errors.New("value out of range")
)

// DecodeError says what is wrong with the bytes of a message. It wraps Kind.
// Codecs use their errors again, so copy the struct to keep one.
type DecodeError struct {
	Message string // what it should have been, "ICMPv4 echo" for instance
	Kind    error  // one of the above, but ErrRange
	Offset  int    // where in the message, in bytes from its start
	// Found is what is there: a length in bytes, a type, a version, a checksum, a
	// number of objects or of extension headers, where a fragment ends, its offset
	// and flags, a protocol, or of an address that is needed its IP version, 0 for
	// none.
	Found uint32
	Want  uint32 // what would be right, or one bound of that

	want string // Want in words, where a number alone does not say it; %s is the number
}

// Error tells the message, what is wrong with it and where, what was found and
// what would be right.
func (e *DecodeError) Error() string {
	want := number(e.Kind, e.Want)
	switch {
	case strings.Contains(e.want, "%s"):
		want = strings.Replace(e.want, "%s", want, 1)
	case e.want != "":
		want = e.want
	}
	return fmt.Sprintf("codec: %s: %v at byte %d: found %s, want %s", e.Message, e.Kind, e.Offset, number(e.Kind, e.Found), want)
}

// Unwrap returns the kind.
func (e *DecodeError) Unwrap() error { return e.Kind }

// number formats a number of an error of this kind: checksums in hexadecimal,
// as every other tool prints them.
func number(kind error, n uint32) string {
	if kind == ErrChecksum {
		return fmt.Sprintf("%#04x", n)
	}
	return strconv.FormatUint(uint64(n), 10)
}

// tooShort is the error of a message that has n bytes where it needs at least
// want.
func tooShort(message string, n, want int) DecodeError {
	return DecodeError{Message: message, Kind: ErrTooShort, Offset: n, Found: uint32(n), Want: uint32(want), want: "at least %s"}
}

// EncodeError says why a value has no encoding. It wraps Kind. Codecs use
// their errors again, so copy the struct to keep one.
type EncodeError struct {
	Message string // what it should have become, "ICMPv4 echo" for instance
	Field   string // the field that is to blame
	Kind    error  // ErrTooLong, ErrType, ErrLength, ErrAddress or ErrRange
	Found   int64  // what the field holds: a length in bytes, a type, a number; of an address, the IP version or 0

	want string // what would be right
}

// Error tells the message, the field, what is wrong with it, what it holds and
// what would be right.
func (e *EncodeError) Error() string {
	return fmt.Sprintf("codec: %s: %v in %s: found %d, want %s", e.Message, e.Kind, e.Field, e.Found, e.want)
}

// Unwrap returns the kind.
func (e *EncodeError) Unwrap() error { return e.Kind }
