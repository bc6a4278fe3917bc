package udp_test

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/udp"
)

func files(t *testing.T, tr transport.Transport) []*os.File {
	t.Helper()
	all, err := transport.Files(tr)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A socket that listens on a port, a privileged one say, is used under the same
// address or under none, and goes on where it was.
func TestASocketThatListensIsAdopted(t *testing.T) {
	for network, address := range map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0", "udp": "[::1]:0"} {
		first := wiretest.Open(t, network, address, &transport.Config{Options: udp.Options{GRO: true}})
		local := func(tr transport.Transport) netip.AddrPort {
			c, _ := transport.As[udp.Conn](tr)
			return c.LocalAddr()
		}
		where := local(first)
		for _, address := range []string{"", where.String()} {
			second := wiretest.Open(t, network, address, &transport.Config{Files: files(t, first)})
			if got := local(second); got != where {
				t.Errorf("%s %q: it listens on %v, want %v", network, address, got, where)
			}
			m := wiretest.Message([]byte("to itself"))
			m.Peer = where
			wiretest.Send(t, second, m)
			wiretest.Recv(t, second, 1)
			second.Close()
		}
		other := netip.AddrPortFrom(where.Addr(), where.Port()^1).String()
		if tr, err := transport.Open(network, other, &transport.Config{Files: files(t, first)}); err == nil || !strings.Contains(err.Error(), "bind") {
			t.Errorf("%s: %v, %v, want the error of bind(2) for another port", network, tr, err)
		}
	}
}
