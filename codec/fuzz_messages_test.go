package codec_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"iomux/codec"
)

func icmpType(protocol int, m *codec.Message) icmp.Type {
	if protocol == 1 {
		return ipv4.ICMPType(m.Type.NumberV4())
	}
	return ipv6.ICMPType(m.Type.NumberV6())
}

// seedMessages adds ICMP messages, right and wrong.
func seedMessages(f *testing.F) {
	seedShort(f)
	for _, test := range messagesV4 {
		f.Add(test.packet)
	}
	for _, test := range messagesV6 {
		f.Add(test.packet)
	}
	for _, in := range inputs() {
		if len(in.packet) > 60 && len(in.packet) < 1500 {
			f.Add(in.packet[4*int(in.packet[0]&0xF):])
		}
	}
}

// seedPackets adds IP packets, right and wrong.
func seedPackets(f *testing.F) {
	for _, test := range packetsV4 {
		f.Add(test.bytes)
	}
	for _, test := range packetsV6 {
		f.Add(test.bytes)
	}
	for _, in := range inputs() {
		if len(in.packet) < 1500 {
			f.Add(in.packet)
		}
	}
}

// decodes checks what holds for every decoder: nothing panics, the source stays,
// and errors are our own and lead to a place in it. It returns whether it
// decoded.
func decodes[T any](t *testing.T, src []byte, v *T, decode func([]byte, *T) error) bool {
	t.Helper()
	was := bytes.Clone(src)
	err := decode(slices.Clip(src), v)
	if !bytes.Equal(src, was) {
		t.Fatal("Decode changed its source")
	}
	if err == nil {
		return true
	}
	if de, ok := errors.AsType[*codec.DecodeError](err); !ok || de.Kind == nil || de.Error() == "" || de.Offset > len(src) {
		t.Fatalf("%T %v", err, err)
	}
	return false
}

// roundTrips checks that a value encodes to what decodes to the same value.
func roundTrips[T any](t *testing.T, c codec.Codec[T], v T, same func(a, b T) bool) []byte {
	t.Helper()
	b, err := c.Append(nil, &v)
	if err != nil {
		t.Fatalf("%+v: %v", v, err)
	}
	var again T
	if err := c.Decode(b, &again); err != nil || !same(v, again) {
		t.Fatalf("%+v encodes to % x, which decodes to %+v, %v", v, b, again, err)
	}
	return b
}

func FuzzEchoV6(f *testing.F) {
	seedMessages(f)
	c := codec.EchoV6{PseudoHeader: onLoopback}
	f.Fuzz(func(t *testing.T, src []byte) {
		var e codec.Echo
		if !decodes(t, src, &e, c.Decode) {
			return
		}
		if slowChecksumV6(localV6, localV6, src) != 0 {
			t.Fatal("bad checksum accepted")
		}
		if b := roundTrips(t, &c, e, equal); !bytes.Equal(b, checksummedV6(src)) {
			t.Fatalf("% x encodes to % x", src, b)
		}
	})
}

func FuzzICMPv4(f *testing.F) {
	seedMessages(f)
	var c codec.ICMPv4
	f.Fuzz(func(t *testing.T, src []byte) {
		var m codec.Message
		if decodes(t, src, &m, c.Decode) && slowChecksum(src) != 0 {
			t.Fatal("bad checksum accepted")
		}
		// A fuzzer does not find checksums.
		if len(src) >= 4 && decodes(t, checksummed(src), &m, c.Decode) && m.Type != codec.SourceQuench {
			roundTrips(t, &c, m, same)
		}
	})
}

func FuzzICMPv6(f *testing.F) {
	seedMessages(f)
	c := codec.ICMPv6{PseudoHeader: onLoopback}
	f.Fuzz(func(t *testing.T, src []byte) {
		var m codec.Message
		if decodes(t, src, &m, c.Decode) && slowChecksumV6(localV6, localV6, src) != 0 {
			t.Fatal("bad checksum accepted")
		}
		if len(src) >= 4 && decodes(t, checksummedV6(src), &m, c.Decode) {
			roundTrips(t, &c, m, same)
		}
	})
}

func FuzzExtensions(f *testing.F) {
	f.Add(extended)
	f.Add(unhex("2000 0000 0008 0301 6c6f0000"))
	seedMessages(f)
	var c codec.Extensions
	f.Fuzz(func(t *testing.T, src []byte) {
		objects := make([]codec.Object, 0, 1)
		decodes(t, src, &objects, c.Decode)
		if len(src) < 4 || !decodes(t, checksummed(src), &objects, c.Decode) {
			return
		}
		total := 4
		for _, o := range objects {
			total += 4 + len(o.Data)
		}
		if total != len(src) {
			t.Fatalf("objects of %d bytes, out of %d", total, len(src))
		}
		roundTrips(t, &c, objects, func(a, b []codec.Object) bool { return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b) })
	})
}

// FuzzIP is about packets, and the same bytes as what an error quotes.
func FuzzIP(f *testing.F) {
	seedPackets(f)
	var v4 codec.IPv4
	var v6 codec.IPv6
	var q4 codec.QuoteV4
	var q6 codec.QuoteV6
	f.Fuzz(func(t *testing.T, src []byte) {
		var p codec.Packet
		var q codec.Quote
		fixed := bytes.Clone(src)
		if n := 4 * int(src0(src)&0xF); len(src) >= max(n, 20) && n >= 20 {
			fixed = onIPv4("", src) // a fuzzer does not find checksums
		}
		for _, src := range [][]byte{src, fixed} {
			if decodes(t, src, &p, v4.Decode) {
				b := roundTrips(t, &v4, p, samePacket)
				if !decodes(t, src[:len(b)], &q, q4.Decode) || q.Truncated || !samePacket(p, q.Packet) {
					t.Fatalf("packet %+v, quote %+v", p, q)
				}
			}
			if decodes(t, src, &p, v6.Decode) {
				b := roundTrips(t, &v6, p, samePacket)
				if !bytes.Equal(b, src[:len(b)]) {
					t.Fatalf("% x encodes to % x", src, b)
				}
				if !decodes(t, src[:len(b)], &q, q6.Decode) || q.Truncated || !samePacket(p, q.Packet) {
					t.Fatalf("packet %+v, quote %+v", p, q)
				}
			}
			decodes(t, src, &q, q4.Decode)
			decodes(t, src, &q, q6.Decode)
			v4.Reply(src, 64)
			v6.Reply(src, 64)
		}
	})
}

func src0(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}
