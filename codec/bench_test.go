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
