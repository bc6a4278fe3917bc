package icmp_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/icmp"
)

func stamped() *transport.Config {
	return &transport.Config{Options: icmp.Options{Stamps: true}, RecvBuffer: 1 << 20}
}

// stamps takes the transmit stamps that Recv has found, none of which is lost.
func stamps(t *testing.T, tr transport.Transport, into []transport.TransmitStamp) []transport.TransmitStamp {
	t.Helper()
	s, ok := transport.As[transport.TransmitStamper](tr)
	if !ok {
		t.Fatalf("%T is no transport.TransmitStamper", tr)
	}
	n, lost, err := s.TransmitStamps(into)
	if lost != 0 || err != nil {
		t.Fatalf("TransmitStamps: %d lost, %v", lost, err)
	}
	return into[:n]
}

// Every message has one stamp, which comes back under its ID and lies between
// the moments before and after it was sent.
func TestEveryMessageHasItsTransmitStamp(t *testing.T) {
	cable(t)
	onAll(t, networks, func(t *testing.T, n network) {
		const total = 100_000
		for via, peer := range map[string]netip.Addr{"loopback": n.loopback, "veth": n.far} {
			t.Run(via, func(t *testing.T) { stampEach(t, open(t, n.name, "", n.config(stamped())), n, peer, total) })
		}
	})
}

func stampEach(t *testing.T, tr transport.Transport, n network, peer netip.Addr, total int) {
	const batch, mask = 64, 0x5eed1234 // so that IDs do not count
	out, in, found := make([]transport.Message, batch), slots(batch, 1500), make([]transport.TransmitStamp, 1000)
	for i := range out {
		out[i] = message(n.request, peer, 1, uint16(i), pattern(56))
	}
	before, seen, missing := make([]time.Time, total), make([]bool, total), total
	collect := func() {
		for n := batch; n > 0; { // or what is received would fill the buffer
			var err error
			if n, err = tr.Recv(in); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range stamps(t, tr, found) {
			i := int(s.ID ^ mask)
			if i >= total || before[i].IsZero() || seen[i] {
				t.Fatalf("a stamp of message %d, which was not sent or has one", i)
			}
			if s.Time.Before(before[i]) || s.Time.After(time.Now()) {
				t.Fatalf("message %d was sent at %v according to its stamp, but after %v", i, s.Time, before[i])
			}
			seen[i] = true
			missing--
		}
	}
	for sent := 0; sent < total; collect() {
		now := time.Now().Round(0) // the clock that the kernel reads
		k := min(batch, total-sent)
		for i := range k {
			out[i].ID, before[sent+i] = uint32(sent+i)^mask, now
		}
		k, err := tr.Send(out[:k])
		if err != nil {
			t.Fatal(err)
		}
		sent += k
	}
	for ; missing > 0; collect() {
		if !poll(t, tr, unix.POLLIN, watchdog) {
			t.Fatalf("%d of %d stamps are missing", missing, total)
		}
	}
}

// Even the first one, although the kernel begins to stamp some time after nobody had
// asked for it.
func TestReceivedMessagesHaveTheirTime(t *testing.T) {
	onAll(t, networks, func(t *testing.T, n network) {
		for range 20 {
			tr := open(t, n.name, "", n.config(stamped()))
			before := time.Now().Round(0)
			send(t, tr, message(n.request, n.loopback, 1, 1, nil))
			if got := recv(t, tr, 1)[0].Time; got.Before(before) || got.After(time.Now()) {
				t.Errorf("received at %v, but sent after %v", got, before)
			}
			tr.Close() // for nobody is to ask for stamps when the next one does
		}
	})
}

func TestStampsAreForThoseWhoAsk(t *testing.T) {
	onAll(t, networks, func(t *testing.T, n network) {
		tr := open(t, n.name, "", n.config(nil))
		m := message(n.request, n.loopback, 1, 1, nil)
		m.ID = 7
		send(t, tr, m)
		if got := recv(t, tr, 1)[0]; !got.Time.IsZero() {
			t.Errorf("Time is %v, want none", got.Time)
		}
		s, _ := transport.As[transport.TransmitStamper](tr)
		if n, lost, err := s.TransmitStamps(make([]transport.TransmitStamp, 1)); n != 0 || lost != 0 || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("TransmitStamps = %d, %d, %v, want errors.ErrUnsupported", n, lost, err)
		}
	})
}

func TestStampsThatNobodyTakesAreCounted(t *testing.T) {
	tr := open(t, raw4.name, "", &transport.Config{Options: icmp.Options{Stamps: true, Types: []uint8{13}}})
	const batch = 32
	out := slices.Repeat([]transport.Message{message(request, loopback, 1, 1, nil)}, batch)
	sent := 0
	for range 300 { // more than a transport keeps
		send(t, tr, out...)
		sent += len(out)
		recvNone(t, tr)
	}
	s := tr.(transport.TransmitStamper)
	n, lost, err := s.TransmitStamps(make([]transport.TransmitStamp, sent))
	if n == 0 || n == sent || n+int(lost) != sent || err != nil {
		t.Errorf("of %d stamps %d were kept and %d lost, %v", sent, n, lost, err)
	}
}

func TestBatchWithStampsAllocatesNothing(t *testing.T) {
	onAll(t, networks, func(t *testing.T, n network) {
		tr := open(t, n.name, "", n.config(stamped()))
		const batch = 32
		out, in, got := slices.Repeat([]transport.Message{message(n.request, n.loopback, 1, 1, pattern(56))}, batch), slots(batch, 1500), make([]transport.TransmitStamp, 2*batch)
		if n := testing.AllocsPerRun(100, func() {
			if sent, err := tr.Send(out); sent != batch || err != nil {
				t.Fatalf("Send = %d, %v", sent, err)
			}
			recvInto(t, tr, in)
			stamps(t, tr, got)
		}); n != 0 {
			t.Errorf("%v allocations for a batch there and back, want 0", n)
		}
	})
}
