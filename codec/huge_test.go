package codec_test

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/codec"
)

// Lengths that an int of 32 bits has no sum of are too long like others. Nobody
// reads what is that long: it is not even there.
func TestHugeLengthsAreTooLong(t *testing.T) {
	huge, err := unix.Mmap(-1, 0, math.MaxInt32, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if errors.Is(err, unix.ENOMEM) {
		t.Skip("2 GiB of address space in one piece are needed")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(huge)
	v4, v6 := codec.Packet{Source: addrV4, Destination: peerV4}, codec.Packet{Source: addrV6, Destination: peerV6, Protocol: 58}
	with := func(p codec.Packet, payload, extensions []byte) codec.Packet {
		p.Payload, p.ExtensionHeaders = payload, extensions
		return p
	}
	fragment := with(v4, huge, nil)
	fragment.Offset = 65528
	objects := []codec.Object{{Data: huge[:math.MaxInt32&^3]}}
	several := []codec.Object{{Data: make([]byte, 65000)}, objects[0]}
	extended := codec.Message{Type: codec.TimeExceeded, Extensions: huge}
	quoting := codec.Message{Type: codec.TimeExceeded, Quote: huge, Extensions: huge}
	link := codec.ICMPv6{PseudoHeader: onLink}
	for name, err := range map[string]error{
		"IPv4":                          appended(new(codec.IPv4), with(v4, huge, nil)),
		"IPv4, a fragment":              appended(new(codec.IPv4), fragment),
		"IPv6":                          appended(new(codec.IPv6), with(v6, huge, nil)),
		"IPv6 with extension headers":   appended(new(codec.IPv6), with(v6, huge, huge)),
		"IPv6, extension headers alone": appended(new(codec.IPv6), with(v6, nil, huge)),
		"an object":                     appended(new(codec.Extensions), objects),
		"objects":                       appended(new(codec.Extensions), several),
		"ICMPv4 extensions":             appended(new(codec.ICMPv4), extended),
		"ICMPv4 quote and extensions":   appended(new(codec.ICMPv4), quoting),
		"ICMPv6 extensions":             appended(&link, extended),
		"ICMPv6 quote and extensions":   appended(&link, quoting),
		"ICMPv4 echo":                   appended(new(codec.EchoV4), codec.Echo{Type: codec.EchoRequest, Data: huge}),
		"ICMPv6 echo":                   appended(&codec.EchoV6{PseudoHeader: onLink}, codec.Echo{Type: codec.EchoRequest, Data: huge}),
		"ICMPv6 redirect":               appended(&link, codec.Message{Type: codec.Redirect, Gateway: addrV6, Destination: addrV6, Quote: huge}),
		"extensions that are decoded":   caught(func() error { return new(codec.Extensions).Decode(huge, new([]codec.Object)) }),
	} {
		if !errors.Is(err, codec.ErrTooLong) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// appended is the error of Append.
func appended[T any](c codec.Codec[T], v T) error {
	return caught(func() error { _, err := c.Append(nil, &v); return err })
}

// caught is the error of f, or what it panicked with.
func caught(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}
