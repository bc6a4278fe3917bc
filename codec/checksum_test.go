package codec_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"iomux/codec"
)

func TestChecksumOfKnownBytes(t *testing.T) {
	for _, test := range []struct {
		name string
		b    []byte
		want uint16
	}{
		{"nothing", nil, 0xFFFF},
		{"the example of RFC 1071, 3", unhex("0001 f203 f4f5 f6f7"), ^uint16(0xDDF2)},
		{"an IPv4 header", unhex("4500 0054 7865 4000 4001 0000 7f000001 7f000001"), 0xC441},
		{"an odd last byte is an upper half", []byte{0x12}, ^uint16(0x1200)},
		{"a message with its checksum", pingRequest, 0},
		{"the same of odd length", oddRequest, 0},
		{"zeros", make([]byte, 100), 0xFFFF},
		{"0xFFFF for 0x0000", unhex("0800 ffff f7ff 0000"), 0},
	} {
		if got := codec.Checksum(test.b); got != test.want {
			t.Errorf("%s: checksum %#04x, want %#04x", test.name, got, test.want)
		}
	}
}

func TestChecksumEqualsPlainSum(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 300)
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	ones := make([]byte, 300) // every addition carries
	for i := range ones {
		ones[i] = 0xFF
	}
	for _, b := range [][]byte{random, ones} {
		for from := range 9 { // every alignment
			for to := from; to <= len(b); to++ {
				if got, want := codec.Checksum(b[from:to]), slowChecksum(b[from:to]); got != want {
					t.Fatalf("bytes [%d:%d]: checksum %#04x, want %#04x", from, to, got, want)
				}
			}
		}
	}
	large := make([]byte, 65535)
	for i := range large {
		large[i] = byte(rnd.Uint32())
	}
	if got, want := codec.Checksum(large), slowChecksum(large); got != want {
		t.Errorf("65,535 bytes: checksum %#04x, want %#04x", got, want)
	}
}

// Carries are where sums over wide words go wrong: all words next to the ends
// of their range, in every order.
func TestChecksumCarries(t *testing.T) {
	edges := []uint64{0, 1, 1 << 16, 1 << 32, 1 << 63, 1<<32 - 1, 1<<64 - 2, 1<<64 - 1}
	b := make([]byte, 8*5)
	for i := range 8 * 8 * 8 * 8 * 8 {
		for word, n := 0, i; word < 5; word, n = word+1, n/8 {
			binary.LittleEndian.PutUint64(b[8*word:], edges[n%8])
		}
		if got, want := codec.Checksum(b), slowChecksum(b); got != want {
			t.Fatalf("% x: checksum %#04x, want %#04x", b, got, want)
		}
	}
}

func TestChecksumAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { codec.Checksum(pingRequest) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
