package codec_test

import (
	"bytes"
	"errors"
	"testing"

	"iomux/codec"
)

// seed adds what networks and their enemies send, the longest too.
func seed(f *testing.F) {
	seedShort(f)
	for _, n := range []int{codec.MaxEchoDataV4, codec.MaxEchoDataV4 + 1} {
		f.Add(checksummed(append(unhex("0800 0000 18d4 0001"), pattern(n)...)))
	}
}

// seedShort leaves out what a fuzzer spends all its time on.
func seedShort(f *testing.F) {
	for _, test := range wire {
		f.Add(test.packet)
	}
	for _, test := range foreign {
		f.Add(test.packet)
	}
	for code := range byte(16) {
		f.Add(checksummed([]byte{3, code, 0, 0, 0, 0, 0, 0}))
	}
	for n := range 9 {
		f.Add(pingReply[:n])
	}
	f.Add(make([]byte, 64))
	f.Add(unhex("0800 ffff f7ff 0000"))              // 0xFFFF for 0x0000
	f.Add(pingReply[:8+28])                          // half of it
	f.Add(append(bytes.Clone(pingReply), "more"...)) // more than was sent
	for _, i := range []int{2, 8, len(pingReply) - 1} {
		b := bytes.Clone(pingReply) // checksum, first byte, last byte
		b[i] ^= 0xFF
		f.Add(b)
	}
	for _, b := range [][]byte{ // checksum made good: forged
		append(unhex("0000 0000 18d4 0001"), make([]byte, 56)...),             // sent at no time
		append(unhex("0000 0000 18d4 0001 7fffffffffffffff"), pattern(48)...), // in the future
		append(unhex("0000 0000 18d4 0001 8000000000000000"), pattern(48)...), // before all time
		append(unhex("0000 0000 beef 0001"), pingReply[8:]...),                // of somebody else
		append(unhex("0000 0000 18d4 ffff"), pingReply[8:]...),
	} {
		f.Add(checksummed(b))
	}
}

// What decodes has a good checksum and encodes to the same bytes again, except
// that a checksum of 0xFFFF becomes 0x0000 where both are right.
func FuzzDecode(f *testing.F) {
	seed(f)
	var c codec.EchoV4
	f.Fuzz(func(t *testing.T, src []byte) {
		was := bytes.Clone(src)
		var e codec.Echo
		err := c.Decode(src, &e)
		if !bytes.Equal(src, was) {
			t.Fatal("Decode changed its source")
		}
		if err != nil {
			if de, ok := errors.AsType[*codec.DecodeError](err); !ok || de.Error() == "" || de.Offset > len(src) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if slowChecksum(src) != 0 {
			t.Fatal("bad checksum accepted")
		}
		got, err := c.Append(nil, &e)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, checksummed(src)) {
			t.Fatalf("% x decodes to %+v, which encodes to % x", src, e, got)
		}
	})
}

func FuzzReply(f *testing.F) {
	seed(f)
	var c codec.EchoV4
	f.Fuzz(func(t *testing.T, b []byte) {
		was := bytes.Clone(b)
		var e codec.Echo
		bad := c.Decode(was, &e)
		if err := c.Reply(b); err != nil {
			if !bytes.Equal(b, was) {
				t.Fatal("changed on error")
			}
			if bad == nil && e.Type == codec.EchoRequest {
				t.Fatal(err)
			}
			return
		}
		if b[0] != 0 || b[1] != was[1] || !bytes.Equal(b[4:], was[4:]) {
			t.Fatalf("% x became % x", was, b)
		}
		if (slowChecksum(b) == 0) != (slowChecksum(was) == 0) {
			t.Fatalf("% x became % x: one checksum is good, the other bad", was, b)
		}
		if bad != nil {
			return
		}
		e.Type = codec.EchoReply
		if want, err := c.Append(nil, &e); err != nil || !bytes.Equal(b, want) {
			t.Fatalf("got % x, %v, want % x", b, err, want)
		}
	})
}

func FuzzChecksum(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := codec.Checksum(b), slowChecksum(b); got != want {
			t.Fatalf("% x: checksum %#04x, want %#04x", b, got, want)
		}
	})
}
