package packet_test

import (
	"net"
	"slices"
	"testing"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
)

// A batch is a system call each way, and one finds that there are no more.
// Nothing is asked about an interface that needs no hardware address, be it named
// by every message.
func TestSystemCallsOfABatch(t *testing.T) {
	const batch = 32
	for _, c := range []struct{ network, address string }{{"packet", "lo"}, {"packet:raw", "lo"}, {"packet", ""}} {
		t.Run(c.network+":"+c.address, func(t *testing.T) {
			wiretest.Lab(t)
			lo, err := net.InterfaceByName("lo")
			if err != nil {
				t.Fatal(err)
			}
			m := experimental(c.network, wiretest.End{}, wiretest.End{}, []byte("hello"))
			m.Ifindex = lo.Index
			if c.address == "" {
				m.Link.Len = 0
			}
			in, out := wiretest.Slots(batch, 100), slices.Repeat([]transport.Message{m}, batch)
			// The kernel delivers to the last that was opened first.
			beside, tr := wiretest.Open(t, c.network, c.address, only(experiment)), wiretest.Open(t, c.network, c.address, only(experiment))
			wiretest.Send(t, tr, out...)
			wiretest.Recv(t, beside, batch)
			calls := wiretest.SystemCalls(t, func() {
				tr.Recv(in)
				tr.Recv(in)
				tr.Send(out)
			})
			if want := []string{"recvmmsg = 32", "recvmmsg = -1", "sendmmsg = 32"}; !slices.Equal(calls, want) {
				t.Errorf("the calls of a batch are %q, want %q", calls, want)
			}
		})
	}
}
