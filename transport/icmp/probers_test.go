package icmp_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/icmp"
)

// Two probers run flat out in one namespace. With their filters each gets all
// of its own replies and nothing else: what is in flight fits the receive buffer
// and the queue of the loopback interface, so nothing may be dropped.
func TestTwoProbersAtFullRateLoseNothing(t *testing.T) {
	filters := map[string]func(uint16) ([]bpf.RawInstruction, error){raw4.name: icmp.EchoReplyFilter, raw6.name: icmp.EchoReplyFilter6}
	onAll(t, []network{raw4, raw6}, func(t *testing.T, n network) {
		identifiers := []uint16{0xa0a0, 0xb0b0}
		var probers []transport.Transport
		for _, id := range identifiers {
			filter, err := filters[n.name](id)
			if err != nil {
				t.Fatal(err)
			}
			probers = append(probers, open(t, n.name, "", &transport.Config{Filter: filter, RecvBuffer: 1 << 20}))
		}
		start, results := make(chan struct{}), make(chan error)
		for i, id := range identifiers {
			go func() {
				<-start
				results <- probe(probers[i], n, id)
			}()
		}
		close(start)
		for range probers {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		for i, tr := range probers {
			recvNone(t, tr)
			if lost := dropped(t, tr); lost != 0 {
				t.Errorf("identifier %#x: %d packets were dropped", identifiers[i], lost)
			}
		}
	})
}

// probe sends 50,000 echo requests to the kernel, of which 64 are under way at
// the most, and demands the reply to each, once.
func probe(tr transport.Transport, n network, id uint16) error {
	const total, window = 50_000, 64
	out, in := make([]transport.Message, window), slots(window, 200)
	for i := range out {
		out[i] = message(n.request, n.loopback, id, uint16(i), pattern(56))
	}
	seen := make([]bool, total)
	for sent, got := 0, 0; got < total; {
		batch := out[:min(window-(sent-got), total-sent)]
		for i := range batch {
			b := batch[i].Bytes()
			binary.BigEndian.PutUint32(b[icmpHeader:], uint32(sent+i))
			setChecksum(b)
		}
		k, err := tr.Send(batch)
		if err != nil {
			return fmt.Errorf("identifier %#x: Send after %d: %w", id, sent, err)
		}
		sent += k
		if k, err = tr.Recv(in); err != nil {
			return fmt.Errorf("identifier %#x: Recv after %d: %w", id, got, err)
		}
		for i := range in[:k] {
			b := in[i].Bytes()
			if len(b) != icmpHeader+56 || b[0] != n.reply || identifier(&in[i]) != id {
				return fmt.Errorf("identifier %#x: received %x", id, b)
			}
			number := binary.BigEndian.Uint32(b[icmpHeader:])
			if number >= uint32(sent) || seen[number] {
				return fmt.Errorf("identifier %#x: a reply to request %d, which was not sent or has one", id, number)
			}
			seen[number] = true
		}
		if got += k; k > 0 {
			continue
		}
		fds := []unix.PollFd{{Fd: int32(tr.FD()), Events: unix.POLLIN}}
		if ready, err := unix.Poll(fds, watchdog); ready == 0 || err != nil && err != unix.EINTR {
			return fmt.Errorf("identifier %#x: %d of %d replies came: poll = %d, %w", id, got, sent, ready, err)
		}
	}
	return nil
}
