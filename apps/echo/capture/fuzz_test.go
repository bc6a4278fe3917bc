package capture_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"iomux/apps/echo/capture"
	"iomux/transport"
)

// Whatever the messages are, the file can be read to its end, and each of them is in
// it.
func FuzzFile(f *testing.F) {
	f.Add([]byte("\x45\x00\x00\x1C\x00\x00\x00\x00\x40\x01\x00\x00\x7F\x00\x00\x01\x7F\x00\x00\x01\x08\x00\x00\x00\x00\x01\x00\x01"), 20, uint8(1), uint8(0), []byte{127, 0, 0, 1}, []byte{}, uint16(0), int64(0), false)
	f.Add([]byte("\x80\x00\x00\x00\x00\x01\x00\x01data"), 0, uint8(2), uint8(0), make([]byte, 16), make([]byte, 16), uint16(3), int64(-1), true)
	f.Add([]byte("datagrams"), 0, uint8(3), uint8(0), []byte{}, []byte{1, 2, 3, 4}, uint16(4), int64(1)<<62, true)
	f.Add([]byte{}, 0, uint8(4), uint8(1), []byte{}, []byte{}, uint16(0), int64(1), false)
	f.Add([]byte{0x60}, 0, uint8(0), uint8(2), []byte{}, []byte{}, uint16(0), int64(1), true)
	f.Fuzz(func(t *testing.T, buf []byte, off int, payload, framing uint8, peer, local []byte, segment uint16, at int64, truncated bool) {
		off = min(max(off, 0), len(buf))
		m := transport.Message{Buf: buf, Off: off, N: len(buf) - off, Segment: segment, TTL: uint8(at), TOS: framing, Time: time.Unix(0, at)}
		if truncated {
			m.Flags = transport.Truncated
		}
		p, _ := netip.AddrFromSlice(peer)
		m.Peer = netip.AddrPortFrom(p, segment)
		m.Local, _ = netip.AddrFromSlice(local)
		m.Link = transport.LinkAddr{Len: framing, EtherType: segment}
		copy(m.Link.Addr[:], peer)

		tr := &struct {
			framed
			owned
		}{framed: framed{framing: transport.Framing(framing % 3)}, owned: owned{identifier: segment}}
		var file bytes.Buffer
		w := capture.NewWriter(&file)
		var in transport.Transport = &tr.framed
		if segment%2 == 1 {
			in = &tr.owned
		}
		c, err := w.Wrap(in, capture.Options{Payload: capture.Payload(payload%4 + 1)})
		if err != nil {
			t.Fatal(err)
		}
		tr.framed.in, tr.owned.in = []transport.Message{m}, []transport.Message{m}
		if n, err := c.Recv(make([]transport.Message, 1)); n != 1 || err != nil {
			t.Fatalf("Recv = %d, %v", n, err)
		}
		if n, err := c.Send([]transport.Message{m}); n != 1 || err != nil {
			t.Fatalf("Send = %d, %v", n, err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		records := read(t, &file)
		if len(records) < 2 {
			t.Fatalf("%d packets are in the file, want 2 or more", len(records))
		}
		last := records[len(records)-1]
		tail := m.Bytes()
		if s := int(segment); s > 0 && payload%4+1 == uint8(capture.UDP) && len(tail) > 0 {
			tail = tail[(len(tail)-1)/s*s:]
		}
		if len(tail) > 8 { // of which the kernel changes something
			tail = tail[8:]
		} else {
			tail = nil
		}
		if !bytes.HasSuffix(last.data, tail) {
			t.Fatalf("the message ends in % x, in the file in % x", tail, last.data)
		}
	})
}
