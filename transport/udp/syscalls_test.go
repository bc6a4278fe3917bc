package udp_test

import (
	"slices"
	"testing"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
)

// A batch is one system call, whichever way it goes.
func TestSystemCallsOfABatch(t *testing.T) {
	const batch = 32
	for _, p := range pairs {
		a, b := open(t, p.network, "", nil), open(t, p.network, "", nil)
		out := slices.Repeat([]transport.Message{datagram(to(b, p.host), wiretest.Pattern(1, 56))}, batch)
		for _, c := range []struct {
			name, want string
			call       func()
		}{
			{"Send", "sendmmsg = 32", func() { a.Send(out) }},
			{"Recv", "recvmmsg = 32", func() { b.Recv(wiretest.Slots(batch, 100)) }},
		} {
			t.Run(p.network+" "+p.host+"/"+c.name, func(t *testing.T) {
				for wiretest.Dropped(t, b) == 0 { // until there is more than a batch to receive
					wiretest.Send(t, a, out...)
				}
				if calls := wiretest.SystemCalls(t, c.call); !slices.Equal(calls, []string{c.want}) {
					t.Errorf("the calls are %q, want %q alone", calls, c.want)
				}
			})
		}
	}
}
