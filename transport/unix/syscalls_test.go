package unix_test

import (
	"slices"
	"testing"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
)

// A batch is one system call, whichever way it goes.
func TestSystemCallsOfABatch(t *testing.T) {
	const batch = 32
	for _, kind := range lines {
		if kind.name == "server" {
			continue // whose queue is shorter than the batch
		}
		t.Run(kind.name, func(t *testing.T) {
			l := kind.lay(t)
			wiretest.Send(t, l.a, wiretest.Message(nil)) // connects who has not
			wiretest.Recv(t, l.b, 1)
			out, in := slices.Repeat([]transport.Message{wiretest.Message(wiretest.Pattern(1, 56))}, batch), wiretest.Slots(batch, 100)
			calls := wiretest.SystemCalls(t, func() {
				l.a.Send(out)
				l.b.Recv(in)
			})
			if want := []string{"sendmmsg = 32", "recvmmsg = 32"}; !slices.Equal(calls, want) {
				t.Errorf("the calls are %q, want %q", calls, want)
			}
		})
	}
}
