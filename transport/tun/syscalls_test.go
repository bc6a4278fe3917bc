package tun_test

import (
	"slices"
	"testing"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
)

// In a namespace of its own the process that is traced finds no device of this one.
func TestOneReadAndOneWriteForEachPacket(t *testing.T) {
	const batch, size = 32, 36
	there := newEnd(t)
	tr := there.Open(t, "tun", "", routed4())
	there.Do(t, func() {
		for range batch {
			datagram(t, 10_000, somebody4)
		}
	})
	in := wiretest.Slots(tr.BatchSize(), size)
	out := slices.Repeat([]transport.Message{wiretest.Message(ipv4(experimental, somebody4, kernel4.Addr(), 0, size))}, batch)
	calls := wiretest.SystemCalls(t, func() {
		tr.Recv(in)
		tr.Send(out)
	})
	want := slices.Concat(slices.Repeat([]string{"readv = 36"}, batch), []string{"readv = -1"}, slices.Repeat([]string{"write = 36"}, batch))
	if !slices.Equal(calls, want) {
		t.Errorf("the calls of a batch of %d are %q, want %q", batch, calls, want)
	}
}
