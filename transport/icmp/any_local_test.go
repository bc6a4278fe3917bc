package icmp_test

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/icmp"
)

// An IPv6 address that is this host's by a local route only is asked, and answers from
// itself if Options.AnyLocal says that it may.
func TestAnswersFromALocalRoute(t *testing.T) {
	if err := lab(t).AddLocalRoute(netip.MustParsePrefix("2001:db8:7::/48")); err != nil {
		t.Fatal(err)
	}
	asked := netip.MustParseAddr("2001:db8:7::9")
	there := open(t, raw6.raw, "", only(129))
	m := message(129, raw6.loopback, 1, 7, nil)
	m.Local = asked

	refused := open(t, raw6.raw, "", raw6.config(nil))
	if n, err := refused.Send([]transport.Message{m}); n != 0 || !errors.Is(err, unix.EINVAL) {
		t.Errorf("Send = %d, %v, want %v", n, err, unix.EINVAL)
	}
	send(t, open(t, raw6.raw, "", raw6.config(&transport.Config{Options: icmp.Options{AnyLocal: true}})), m)
	if got := recv(t, there, 1)[0]; got.Peer.Addr() != asked {
		t.Errorf("a message from %v came, want one from %v", got.Peer.Addr(), asked)
	}
}
