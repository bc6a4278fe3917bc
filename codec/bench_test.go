package codec_test

import (
	"testing"

	"iomux/codec"
)

// Everything here is about messages with 56 bytes of data, as ping(8) sends.
// BenchmarkPlainLoop over those bytes is the yardstick.

var sink uint16

func BenchmarkPlainLoop(b *testing.B) {
	data := pattern(56)
	b.SetBytes(56)
	for b.Loop() {
		var sum uint32
		for i := 0; i+1 < len(data); i += 2 {
			sum += uint32(data[i])<<8 | uint32(data[i+1])
		}
		for sum > 0xFFFF {
			sum = sum>>16 + sum&0xFFFF
		}
		sink = ^uint16(sum)
	}
}

func BenchmarkChecksum(b *testing.B) {
	data := pattern(56)
	b.SetBytes(56)
	for b.Loop() {
		sink = codec.Checksum(data)
	}
}

func BenchmarkEchoV4Decode(b *testing.B) {
	var c codec.EchoV4
	var e codec.Echo
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Decode(pingRequest, &e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEchoV4Append(b *testing.B) {
	var c codec.EchoV4
	e := codec.Echo{Type: codec.EchoRequest, ID: 7, Seq: 1, Data: pattern(56)}
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Append(buf, &e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEchoV4AppendDecode(b *testing.B) {
	var c codec.EchoV4
	var out codec.Echo
	in := codec.Echo{Type: codec.EchoRequest, ID: 7, Seq: 1, Data: pattern(56)}
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		packet, err := c.Append(buf, &in)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Decode(packet, &out); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEchoV4Reply(b *testing.B) {
	var c codec.EchoV4
	packet := pattern(64)
	b.ReportAllocs()
	for b.Loop() {
		packet[0] = 8
		if err := c.Reply(packet); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEchoV4DecodeCorrupt(b *testing.B) {
	var c codec.EchoV4
	var e codec.Echo
	packet := pattern(64)
	packet[0] = 8
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Decode(packet, &e); err == nil {
			b.Fatal("decoded")
		}
	}
}

func BenchmarkEchoV6AppendDecode(b *testing.B) {
	c := codec.EchoV6{PseudoHeader: onLink}
	benchmarkAppendDecode(b, &c, codec.Echo{Type: codec.EchoRequest, ID: 7, Seq: 1, Data: pattern(56)})
}

func BenchmarkICMPv4AppendDecode(b *testing.B) {
	benchmarkAppendDecode(b, &codec.ICMPv4{}, messagesV4[0].message)
}

func BenchmarkICMPv6AppendDecode(b *testing.B) {
	benchmarkAppendDecode(b, &codec.ICMPv6{PseudoHeader: onLink}, messagesV6[0].message)
}

func BenchmarkIPv4AppendDecode(b *testing.B) {
	benchmarkAppendDecode(b, &codec.IPv4{}, packetsV4[0].packet)
}

func BenchmarkIPv6AppendDecode(b *testing.B) {
	benchmarkAppendDecode(b, &codec.IPv6{}, packetsV6[0].packet)
}

func benchmarkAppendDecode[T any](b *testing.B, c codec.Codec[T], in T) {
	var out T
	buf := make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		packet, err := c.Append(buf, &in)
		if err == nil {
			err = c.Decode(packet, &out)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkQuoteV4(b *testing.B) {
	var c codec.QuoteV4
	var q codec.Quote
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Decode(quotedV4, &q); err != nil {
			b.Fatal(err)
		}
	}
}
