package codec

import (
	"errors"
	"fmt"
	"strconv"
)

// What can be wrong with a message, for use with [errors.Is].
var (
	// ErrTooShort: the message ends before its header does.
	ErrTooShort = errors.New("message too short")
	// ErrTooLong: the message is longer than the packet that carries it can be.
	ErrTooLong = errors.New("message too long")
	// ErrType: the message is of a type that the codec is not for.
	ErrType = errors.New("another type of message")
	// ErrChecksum: the message is not what was sent, or was sent wrong.
	ErrChecksum = errors.New("bad checksum")
)

// DecodeError says what is wrong with the bytes of a message. It wraps Kind.
// Codecs use their errors again, so copy the struct to keep one.
type DecodeError struct {
	Message string // what it should have been, "ICMPv4 echo" for instance
	Kind    error  // ErrTooShort, ErrTooLong, ErrType or ErrChecksum
	Offset  int    // where in the message, in bytes from its start
	Found   uint32 // what is there: a length in bytes, a type, a checksum
	Want    uint32 // what would be right; of several such values, the smallest

	want string // Want in words, where a number alone does not say it
}

// Error tells the message, what is wrong with it and where, what was found and
// what would be right.
func (e *DecodeError) Error() string {
	found, want := number(e.Kind, e.Found), e.want
	if want == "" {
		want = number(e.Kind, e.Want)
	}
	return fmt.Sprintf("codec: %s: %v at byte %d: found %s, want %s", e.Message, e.Kind, e.Offset, found, want)
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

// EncodeError says why a value has no encoding. It wraps Kind. Codecs use
// their errors again, so copy the struct to keep one.
type EncodeError struct {
	Message string // what it should have become, "ICMPv4 echo" for instance
	Field   string // the field that is to blame
	Kind    error  // ErrTooLong or ErrType
	Found   int    // what the field holds: a length in bytes, a type

	want string // what would be right
}

// Error tells the message, the field, what is wrong with it, what it holds and
// what would be right.
func (e *EncodeError) Error() string {
	return fmt.Sprintf("codec: %s: %v in %s: found %d, want %s", e.Message, e.Kind, e.Field, e.Found, e.want)
}

// Unwrap returns the kind.
func (e *EncodeError) Unwrap() error { return e.Kind }
