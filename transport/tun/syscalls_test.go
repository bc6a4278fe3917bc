package tun_test

import (
	"slices"
	"testing"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
)

// Where a Buf is shorter than the longest packet, the call has to tell what did not
// fit. In a namespace of its own the process that is traced finds no device of this one.
func TestOneReadAndOneWriteForEachPacket(t *testing.T) {
	const batch, size = 32, 36
	for read, room := range map[string]int{"read": 65535, "readv": 65534} {
		t.Run(read, func(t *testing.T) {
			there := newEnd(t)
			tr := there.Open(t, "tun", "", routed4())
			there.Do(t, func() {
				for range batch {
					datagram(t, 10_000, somebody4)
				}
			})
			in := wiretest.Slots(tr.BatchSize(), room)
			out := slices.Repeat([]transport.Message{wiretest.Message(ipv4(experimental, somebody4, kernel4.Addr(), 0, size))}, batch)
			calls := wiretest.SystemCalls(t, func() {
				tr.Recv(in)
				tr.Send(out)
			})
			want := slices.Concat(slices.Repeat([]string{read + " = 36"}, batch), []string{read + " = -1"}, slices.Repeat([]string{"write = 36"}, batch))
			if !slices.Equal(calls, want) {
				t.Errorf("the calls of a batch of %d are %q, want %q", batch, calls, want)
			}
		})
	}
}
