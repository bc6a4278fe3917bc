package transport

import (
	"net/netip"
	"testing"
	"time"
)

// received is a message with every field set, as a transport might deliver it.
func received() Message {
	return Message{
		Buf: []byte("headerpayload."), Off: 6, N: 7,
		Peer:    netip.MustParseAddrPort("192.0.2.1:7"),
		Local:   netip.MustParseAddr("192.0.2.2"),
		Ifindex: 3, TTL: 1, TOS: 0x10,
		Time: time.Unix(1, 0), ID: 4, Segment: 5, Flags: Truncated,
	}
}

func TestBytesIsThePayloadWithoutItsHeader(t *testing.T) {
	m := received()
	if got := string(m.Bytes()); got != "payload" {
		t.Errorf("Bytes() = %q, want %q", got, "payload")
	}
}

func TestReplyKeepsWhatTheAnswerNeedsAndClearsTheRest(t *testing.T) {
	m, was := received(), received()
	m.Reply()
	if string(m.Bytes()) != "payload" || m.Peer != was.Peer || m.Local != was.Local || m.TOS != was.TOS || m.Segment != was.Segment {
		t.Errorf("Reply changed payload, Peer, Local, TOS or Segment: %+v", m)
	}
	if m.Ifindex != 0 || m.TTL != 0 || !m.Time.IsZero() || m.ID != 0 || m.Flags != 0 {
		t.Errorf("Reply left Ifindex, TTL, Time, ID or Flags: %+v", m)
	}
}

func TestReplyKeepsTheInterfaceOfALinkLocalPeer(t *testing.T) {
	for _, peer := range []string{"[fe80::1]:0", "169.254.0.1:0"} {
		m := received()
		m.Peer = netip.MustParseAddrPort(peer)
		m.Reply()
		if m.Ifindex != 3 {
			t.Errorf("Ifindex of a reply to %s = %d, want 3", peer, m.Ifindex)
		}
	}
}

func TestReplyKeepsALinkLayerAddressAndItsInterface(t *testing.T) {
	m := received()
	m.Peer = netip.AddrPort{}
	m.Link = LinkAddr{Addr: [8]byte{2}, Len: 6, EtherType: 0x0800}
	was := m.Link
	m.Reply()
	if m.Link != was || m.Ifindex != 3 {
		t.Errorf("a reply goes to %v on interface %d, want %v on 3", m.Link, m.Ifindex, was)
	}
}

func TestReplyNeverLeavesFromAnAddressOfMany(t *testing.T) {
	for name, change := range map[string]func(*Message){
		"flagged":           func(m *Message) { m.Flags = Broadcast },
		"flagged twice":     func(m *Message) { m.Flags = Broadcast | Truncated },
		"limited broadcast": func(m *Message) { m.Local = netip.MustParseAddr("255.255.255.255") },
		"IPv4 multicast":    func(m *Message) { m.Local = netip.MustParseAddr("224.0.0.1") },
		"IPv6 multicast":    func(m *Message) { m.Local = netip.MustParseAddr("ff02::1") },
	} {
		m := received()
		change(&m)
		m.Reply()
		if m.Local.IsValid() {
			t.Errorf("%s: a reply would leave from %v", name, m.Local)
		}
	}
}
