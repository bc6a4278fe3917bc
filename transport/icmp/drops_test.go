package icmp_test

import (
	"errors"
	"net"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/net/bpf"

	"iomux/transport"
	"iomux/transport/icmp"
)

func dropped(t *testing.T, tr transport.Transport) uint32 {
	t.Helper()
	d, ok := transport.As[transport.DropCounter](tr)
	if !ok {
		t.Fatalf("%T is no transport.DropCounter", tr)
	}
	n, err := d.Dropped()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// received counts what is there.
func received(t *testing.T, tr transport.Transport) (n int) {
	t.Helper()
	for in := slots(64, 200); ; {
		got, err := tr.Recv(in)
		if err != nil {
			t.Fatal(err)
		}
		if got == 0 {
			return n
		}
		n += got
	}
}

// A prober whose socket is small, and takes the replies to another one's
// requests as well, loses its own. A filter on the identifier keeps those out.
func TestProbersSideBySide(t *testing.T) {
	silenceKernel(t)
	filters := map[string]func(uint16) ([]bpf.RawInstruction, error){raw4.name: icmp.ProbeFilter, raw6.name: icmp.ProbeFilter6}
	onAll(t, []network{raw4, raw6}, func(t *testing.T, n network) {
		const own, foreign, load = 1, 2, 100
		filter, err := filters[n.name](own)
		if err != nil {
			t.Fatal(err)
		}
		bare := open(t, n.name, "", &transport.Config{RecvBuffer: 1, Options: icmp.Options{Types: []uint8{n.reply}}})
		filtered := open(t, n.name, "", &transport.Config{RecvBuffer: 1, Filter: filter})
		peer := open(t, n.name, "", &transport.Config{Options: icmp.Options{Types: []uint8{n.request}}})
		send(t, peer, slices.Repeat([]transport.Message{message(n.reply, n.loopback, foreign, 1, nil)}, load)...)
		send(t, peer, message(n.reply, n.loopback, own, 1, nil))

		if got := recv(t, filtered, 1)[0]; identifier(&got) != own {
			t.Errorf("the filter passes identifier %d", identifier(&got))
		}
		recvNone(t, filtered)
		if lost := dropped(t, filtered); lost != 0 {
			t.Errorf("with a filter %d packets were dropped", lost)
		}
		got := received(t, bare)
		if lost := int(dropped(t, bare)); lost == 0 || got+lost != load+1 {
			t.Errorf("without a filter %d packets were received and %d dropped, want %d in all", got, lost, load+1)
		}
	})
}

func TestDroppedRepliesAreCounted(t *testing.T) {
	onAll(t, []network{ping4, ping6}, func(t *testing.T, n network) {
		tr := open(t, n.name, "", &transport.Config{RecvBuffer: 1})
		const load = 100
		send(t, tr, slices.Repeat([]transport.Message{message(n.request, n.loopback, 1, 1, nil)}, load)...)
		got := received(t, tr)
		if lost := int(dropped(t, tr)); lost == 0 || got+lost != load {
			t.Errorf("%d packets were received and %d dropped, want %d in all", got, lost, load)
		}
		tr.Close()
		if _, err := tr.(transport.DropCounter).Dropped(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Dropped after Close: %v, want net.ErrClosed", err)
		}
	})
}

// What is too long for the interface goes in fragments, unless that is refused.
func TestDontFragment(t *testing.T) {
	cable(t)
	onAll(t, networks, func(t *testing.T, n network) {
		for _, refuse := range []bool{false, true} {
			tr := open(t, n.name, "", n.config(&transport.Config{Options: icmp.Options{DontFragment: refuse}}))
			long, fits := message(n.request, n.far, 1, 1, pattern(1500)), message(n.request, n.far, 1, 1, pattern(1400))
			got, err := tr.Send([]transport.Message{long})
			if refuse && (got != 0 || !errors.Is(err, syscall.EMSGSIZE)) || !refuse && (got != 1 || err != nil) {
				t.Errorf("DontFragment is %v: Send = %d, %v", refuse, got, err)
			}
			if !refuse {
				recv(t, tr, 1)
			}
			send(t, tr, fits)
			recv(t, tr, 1)
		}
	})
}
