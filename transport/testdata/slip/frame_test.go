package slip

import (
	"bytes"
	"net/netip"
	"testing"

	"iomux/transport"
)

func TestFrameIsThatOfTheRFC(t *testing.T) {
	data := []byte{1, end, 2, esc, 3, escEnd, escEsc}
	want := []byte{1, esc, escEnd, 2, esc, escEsc, 3, escEnd, escEsc}
	if got := appendEscaped(nil, data); !bytes.Equal(got, want) {
		t.Errorf("%x is escaped as %x, want %x", data, got, want)
	}
}

// FuzzDecode has every frame be refused, or be the only one of its packet.
func FuzzDecode(f *testing.F) {
	l := line{local: netip.MustParseAddr("192.0.2.1")}
	m := transport.Message{Buf: []byte{8, end, esc, 0}, N: 4, Peer: netip.MustParseAddrPort("192.0.2.2:0")}
	f.Add(l.encode(nil, &m))
	f.Add([]byte{esc})
	f.Add([]byte{esc, escEnd, esc, escEsc, esc, esc})
	f.Fuzz(func(t *testing.T, frame []byte) {
		frame = bytes.ReplaceAll(frame, []byte{end}, nil) // as the terminal does
		packet, ok := decode(bytes.Clone(frame))
		if !ok {
			return
		}
		if again := appendEscaped(nil, packet); !bytes.Equal(again, frame) {
			t.Errorf("%x is the packet %x, which is escaped as %x", frame, packet, again)
		}
		if intact(packet) {
			m := transport.Message{Buf: make([]byte, len(packet))}
			if fill(&m, packet); m.Off+m.N != len(packet) || m.Flags != 0 {
				t.Errorf("%x: %+v", packet, m)
			}
		}
	})
}
