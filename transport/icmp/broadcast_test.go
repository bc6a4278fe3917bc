package icmp_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/icmp"
)

// Without Options.Broadcast the kernel sends nothing to a broadcast address, with it the
// message arrives at the other end, and nothing else changes.
func TestBroadcastIsSentWhenItIsAskedFor(t *testing.T) {
	far := cable(t)
	for _, n := range []network{raw4, ping4} {
		for _, to := range []struct {
			name string
			addr netip.Addr
			open func() transport.Transport // what receives it
		}{
			{"loopback", netip.MustParseAddr("127.255.255.255"), func() transport.Transport {
				return open(t, raw4.raw, "", only(request))
			}},
			{"cable", netip.MustParseAddr("192.0.2.255"), func() (tr transport.Transport) {
				if err := far.Do(func() error { tr = open(t, raw4.raw, "", only(request)); return nil }); err != nil {
					t.Fatal(err)
				}
				return tr
			}},
		} {
			t.Run(n.name+"/"+to.name, func(t *testing.T) {
				there := to.open()
				m := message(request, to.addr, 1, 7, pattern(20))
				for range 2 {
					refusing := open(t, n.name, "", n.config(nil))
					if k, err := refusing.Send([]transport.Message{m}); k != 0 || !errors.Is(err, fs.ErrPermission) || !errors.Is(err, unix.EACCES) {
						t.Errorf("Send = %d, %v, want %v", k, err, unix.EACCES)
					}
					recvNone(t, there)

					allowed := open(t, n.name, "", n.config(&transport.Config{Options: icmp.Options{Broadcast: true}}))
					send(t, allowed, m, message(request, n.far, 1, 8, nil))
					if got := recv(t, there, 1)[0]; got.Local != to.addr || got.Flags&transport.Broadcast == 0 || sequence(&got) != 7 || got.N != m.N {
						t.Errorf("number %d of %d bytes came, sent to %v, flags %v; want number 7 of %d to %v", sequence(&got), got.N, got.Local, got.Flags, m.N, to.addr)
					}
					if to.name == "cable" { // the other one
						recv(t, there, 1)
					}
				}
			})
		}
	}
}

// For IPv6 the option is accepted, and changes nothing.
func TestIPv6HasNoBroadcast(t *testing.T) {
	onAll(t, []network{raw6, ping6}, func(t *testing.T, n network) {
		tr := open(t, n.name, "", n.config(&transport.Config{Options: icmp.Options{Broadcast: true}}))
		m := message(n.request, n.loopback, 1, 7, nil)
		send(t, tr, m)
		if n.isPing() {
			recv(t, tr, 1)
		} else {
			recv(t, tr, 2) // the request and its reply
		}
	})
}
