package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
)

func TestTraceReportsEachCallAndItsResult(t *testing.T) {
	failed := errors.New("failed")
	for _, c := range []struct {
		op      string
		offered int
		call    func(Transport, []Message) (int, error)
	}{
		{"recv", 3, Transport.Recv},
		{"send", 3, Transport.Send},
		{"close", 0, func(tr Transport, _ []Message) (int, error) { return 0, tr.Close() }},
	} {
		for _, result := range []fake{{fd: 5, n: 2}, {fd: 5}, {fd: 5, err: failed}} {
			if c.op == "close" {
				result.n = 0
			}
			ms := make([]Message, 3)
			var calls []Call
			n, err := c.call(Trace(&result, func(c Call) { calls = append(calls, c) }), ms)
			if n != result.n || err != result.err {
				t.Errorf("%s = %d, %v, want %d, %v", c.op, n, err, result.n, result.err)
			}
			if len(calls) != 1 {
				t.Fatalf("%s: %d reports, want 1", c.op, len(calls))
			}
			got := calls[0]
			if got.Op != c.op || got.FD != 5 || got.Offered != c.offered || got.N != result.n || got.Err != result.err {
				t.Errorf("%s reported as %+v, want fd 5, offered %d, n %d, error %v", c.op, got, c.offered, result.n, result.err)
			}
			if len(got.Messages) != result.n || result.n > 0 && &got.Messages[0] != &ms[0] {
				t.Errorf("%s reported %d messages, want the first %d of the caller's", c.op, len(got.Messages), result.n)
			}
			if got.Start.After(result.called) || got.Start.Add(got.Took).Before(result.called) {
				t.Errorf("%s reported from %v for %v, called at %v", c.op, got.Start, got.Took, result.called)
			}
		}
	}
}

func TestTraceIsTheTransport(t *testing.T) {
	tr := Trace(&fake{fd: 5}, func(Call) {})
	if tr.FD() != 5 || tr.BatchSize() != 8 {
		t.Errorf("FD and BatchSize are %d and %d, want 5 and 8", tr.FD(), tr.BatchSize())
	}
}

func TestTraceAllocatesNothing(t *testing.T) {
	reports := 0
	tr := Trace(&fake{n: 32}, func(c Call) { reports += c.N })
	ms := make([]Message, 32)
	if n := testing.AllocsPerRun(100, func() {
		tr.Recv(ms)
		tr.Send(ms)
	}); n != 0 {
		t.Errorf("%v allocations for a Recv and a Send, want 0", n)
	}
}

func TestCallString(t *testing.T) {
	echo := Message{Peer: netip.MustParseAddrPort("127.0.0.1:0"), TTL: 64, N: 27}
	for want, c := range map[string]Call{
		"recv(fd 5, 64 messages) = 0":                                           {Op: "recv", FD: 5, Offered: 64},
		"recv(fd 5, 1 message) = 1 [127.0.0.1 ttl 64 27 bytes]":                 {Op: "recv", FD: 5, Offered: 1, N: 1, Messages: []Message{echo}},
		"send(fd 5, 2 messages) = 2 [127.0.0.1 ttl 64 27 bytes, 0 bytes]":       {Op: "send", FD: 5, Offered: 2, N: 2, Messages: []Message{echo, {}}},
		"send(fd 5, 2 messages) = failed":                                       {Op: "send", FD: 5, Offered: 2, Err: errors.New("failed")},
		"close(fd 5) = ok":                                                      {Op: "close", FD: 5},
		"close(fd -1) = failed":                                                 {Op: "close", FD: -1, Err: errors.New("failed")},
		"recv(fd 5, 1 message) = 1 [[::1]:7 8 bytes truncated broadcast]":       {Op: "recv", FD: 5, Offered: 1, N: 1, Messages: []Message{{Peer: netip.MustParseAddrPort("[::1]:7"), N: 8, Flags: Truncated | Broadcast}}},
		"recv(fd 5, 1 message) = 1 [02:00:00:00:00:01 8 bytes]":                 {Op: "recv", FD: 5, Offered: 1, N: 1, Messages: []Message{{Link: LinkAddr{Addr: [8]byte{2, 5: 1}, Len: 6}, N: 8}}},
		"recv(fd 5, 1 message) = 1 [02:00:00:00:00:00:00:01 8 bytes broadcast]": {Op: "recv", FD: 5, Offered: 1, N: 1, Messages: []Message{{Link: LinkAddr{Addr: [8]byte{2, 7: 1}, Len: 20}, N: 8, Flags: Broadcast}}},
	} {
		if got := c.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func ExampleTrace() {
	var t Transport = &fake{fd: 5, n: 1}
	t = Trace(t, func(c Call) { fmt.Println(c) })
	t.Recv([]Message{{Peer: netip.MustParseAddrPort("127.0.0.1:0"), TTL: 64, N: 27}, {}})
	t.Close()
	// Output:
	// recv(fd 5, 2 messages) = 1 [127.0.0.1 ttl 64 27 bytes]
	// close(fd 5) = ok
}
