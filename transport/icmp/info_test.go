package icmp_test

import (
	"testing"

	"iomux/transport"
	"iomux/transport/icmp"
)

// Where a message was sent to, and the interface, are told unless they are not wanted.
func TestPacketInfoIsOnRequest(t *testing.T) {
	onAll(t, networks, func(t *testing.T, n network) {
		for _, without := range []bool{false, true} {
			tr := open(t, n.name, "", n.config(&transport.Config{Options: icmp.Options{NoPacketInfo: without}}))
			send(t, tr, message(n.request, n.loopback, 1, 1, nil))
			m := recv(t, tr, 1)[0]
			if without && (m.Local.IsValid() || m.Ifindex != 0) || !without && (m.Local != n.loopback || m.Ifindex == 0) {
				t.Errorf("without packet info %v: to %v on interface %d", without, m.Local, m.Ifindex)
			}
			if m.Peer.Addr() != n.loopback {
				t.Errorf("from %v, want %v", m.Peer, n.loopback)
			}
		}
	})
}
