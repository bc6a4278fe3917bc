package packet_test

import (
	"bytes"
	"testing"

	"golang.org/x/net/bpf"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
)

// tagged is a frame with VLAN tags, each a type and control information.
func tagged(to, from [6]byte, payload string, tags ...uint16) []byte {
	b := frame(to, from, tags[0])
	for _, v := range append(tags[1:len(tags):len(tags)], experiment) {
		b = append(b, byte(v>>8), byte(v))
	}
	return append(b, payload...)
}

const (
	priority = 0x6000 // VLAN 0
	vlan5    = 0x0005
	service  = 0x88a8 // IEEE 802.1ad
)

// The kernel takes tags out of frames that come in; here they are again.
func TestTagIsWhereItWasOnTheWire(t *testing.T) {
	c := wiretest.NewCable(t)
	for _, tags := range [][]uint16{{vlan, vlan5}, {vlan, priority}, {vlan, 0}, {vlan, 0xffff}, {service, vlan5}, {service, vlan5, vlan, vlan5 + 1}} {
		far, raw, cooked := openAll(t, c, "packet:raw", true), openAll(t, c, "packet:raw", false), openAll(t, c, "packet", false)
		sent := tagged(c.Near.MAC, c.Far.MAC, "hello", tags...)
		wiretest.Send(t, far, wiretest.Message(sent))
		got := recvOf(t, raw, tags[0])
		if !bytes.Equal(got.Bytes(), sent) || got.Off != 0 || got.Flags != 0 {
			t.Errorf("packet:raw: received % x\nwant % x", got.Bytes(), sent)
		}
		if len(tags) > 2 {
			continue // has no place in "packet"
		}
		got = recvOf(t, cooked, tags[0])
		if !bytes.Equal(got.Bytes(), sent[headerSize:]) || got.Link.EtherType != tags[0] || got.Off != 0 {
			t.Errorf("packet: received EtherType %#x, % x\nwant %#x, % x", got.Link.EtherType, got.Bytes(), tags[0], sent[headerSize:])
		}

		// The answer has the tag too.
		got.Reply()
		wiretest.Send(t, cooked, got)
		if back := recvOf(t, far, tags[0]); !bytes.Equal(back.Bytes(), tagged(c.Far.MAC, c.Near.MAC, "hello", tags...)) {
			t.Errorf("packet: the answer is % x", back.Bytes())
		}
		for _, tr := range []transport.Transport{far, raw, cooked} {
			tr.Close()
		}
	}
}

// openAll opens a transport for all EtherTypes, at this end or the other.
func openAll(t *testing.T, c *wiretest.Cable, network string, there bool) transport.Transport {
	t.Helper()
	if there {
		return c.Far.Open(t, network, "far", nil)
	}
	return wiretest.Open(t, network, "near", nil)
}

func TestPlainFrameIsBehindTheTagsPlace(t *testing.T) {
	c := wiretest.NewCable(t)
	far := openFar(t, c, "packet:raw")
	sent := frame(c.Near.MAC, c.Far.MAC, experiment, []byte("hello")...)
	for network, want := range map[string][]byte{"packet": sent[headerSize:], "packet:raw": sent} {
		near := openNear(t, network)
		wiretest.Send(t, far, wiretest.Message(sent))
		if got := wiretest.Recv(t, near, 1)[0]; got.Off != 4 || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s: received % x at %d, want % x at 4", network, got.Bytes(), got.Off, want)
		}
	}
}

// Of a frame that does not fit into its Buf the beginning is received, the tag
// with it as far as it goes.
func TestTagInAShortBuf(t *testing.T) {
	c := wiretest.NewCable(t)
	far := openFar(t, c, "packet:raw")
	sent := tagged(c.Near.MAC, c.Far.MAC, "hello", vlan, vlan5)
	for network, whole := range map[string][]byte{"packet": sent[headerSize:], "packet:raw": sent} {
		near := openNear(t, network)
		for length := range len(whole) + 2 {
			wiretest.Send(t, far, wiretest.Message(sent))
			array := bytes.Repeat([]byte{0xa5}, length+32)
			ms := []transport.Message{{Buf: array[:length:length]}}
			wiretest.RecvInto(t, near, ms)
			m := &ms[0]
			if truncated := m.Flags&transport.Truncated != 0; truncated != (length < len(whole)) {
				t.Errorf("%s: %d bytes in a Buf of %d: Truncated is %v", network, len(whole), length, truncated)
			}
			if !bytes.Equal(array[length:], bytes.Repeat([]byte{0xa5}, 32)) {
				t.Fatalf("%s: Recv wrote beyond a Buf of %d bytes", network, length)
			}
			want := whole[:min(length, len(whole))]
			if m.Off != 0 { // too short for the tag, with the addresses in front of it
				want = sent[:m.N]
				if length >= 16 || network == "packet" && length >= 4 {
					t.Errorf("%s: no tag in a Buf of %d", network, length)
				}
				if network == "packet" {
					want = nil
				}
			}
			if !bytes.Equal(m.Bytes(), want) {
				t.Errorf("%s: in a Buf of %d: % x, want % x", network, length, m.Bytes(), want)
			}
		}
	}
}

func TestFilterAsksForATag(t *testing.T) {
	c := wiretest.NewCable(t)
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 1, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 18},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := only(experiment)
	cfg.Filter = filter
	far := openFar(t, c, "packet:raw")
	for _, network := range networks {
		near := wiretest.Open(t, network, "near", cfg)
		wiretest.Send(t, far, wiretest.Message(frame(c.Near.MAC, c.Far.MAC, experiment, []byte("hello")...)), wiretest.Message(tagged(c.Near.MAC, c.Far.MAC, "hello", vlan, vlan5)))
		if got := wiretest.Recv(t, near, 1)[0]; got.Link.EtherType != vlan {
			t.Errorf("%s: received EtherType %#x, want the tag's", network, got.Link.EtherType)
		}
		wiretest.RecvNone(t, near)
	}
}
