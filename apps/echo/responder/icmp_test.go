package responder_test

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/apps/echo/responder"
	"iomux/codec"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/netlab"
)

// watchdog is how long a test waits for what must come, in milliseconds.
const watchdog = 30_000

var loopback = netip.MustParseAddr("127.0.0.1")

// silentLab is the private namespace that the test runs in, where the kernel does not
// answer.
func silentLab(t *testing.T) *netlab.Namespace {
	t.Helper()
	netlab.Need(t)
	ns, err := netlab.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	if err := ns.SetEchoReplies(false); err != nil {
		t.Fatal(err)
	}
	return ns
}

// open opens a raw socket that receives one ICMP type.
func open(t *testing.T, receives uint8) transport.Transport {
	t.Helper()
	tr, err := transport.Open("ip4:icmp", "", &transport.Config{Options: icmp.Options{Types: []uint8{receives}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

func newLoop(t *testing.T, backend string) *loop.Loop {
	t.Helper()
	m, err := mux.Open(backend)
	if err != nil {
		t.Fatal(err)
	}
	l := loop.New(m)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// respond runs a responder in a goroutine of its own until stop, which returns
// its counts.
func respond(t *testing.T, backend string, cfg responder.Config) (stop func() responder.Stats) {
	t.Helper()
	return serve(t, backend, open(t, 8), cfg)
}

// recv receives one message, which has to come.
func recv(t *testing.T, tr transport.Transport) transport.Message {
	t.Helper()
	ms := []transport.Message{{Buf: make([]byte, 1<<16)}}
	for {
		n, err := tr.Recv(ms)
		if err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			return ms[0]
		}
		fds := []unix.PollFd{{Fd: int32(tr.FD()), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, watchdog); n == 0 && err == nil {
			t.Fatal("nothing came")
		}
	}
}

func send(t *testing.T, tr transport.Transport, ms ...transport.Message) {
	t.Helper()
	if n, err := tr.Send(ms); n != len(ms) || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
}

// to is an echo request to a host.
func to(host netip.Addr, seq uint16, data []byte) transport.Message {
	b := encode(codec.Echo{Type: codec.EchoRequest, ID: 7, Seq: seq, Data: data})
	return transport.Message{Buf: b, N: len(b), Peer: netip.AddrPortFrom(host, 0)}
}

func TestRepliesAreByteExactOnEveryBackend(t *testing.T) {
	silentLab(t)
	pattern := make([]byte, codec.MaxEchoDataV4)
	for i := range pattern {
		pattern[i] = byte(i*7 + i>>8)
	}
	asked := netip.MustParseAddr("127.0.0.5")
	for _, backend := range mux.Backends() {
		for _, own := range [][]byte{nil, []byte("Hello from server!")} {
			stop := respond(t, backend, responder.Config{Data: own})
			client := open(t, 0)
			for seq, size := range []int{0, 1, 56, 1472, len(pattern)} {
				m := to(asked, uint16(seq), pattern[:size])
				m.TTL = 1
				send(t, client, m)

				reply := recv(t, client)
				want := encode(codec.Echo{Type: codec.EchoReply, ID: 7, Seq: uint16(seq), Data: pattern[:size]})
				if own != nil {
					want = encode(codec.Echo{Type: codec.EchoReply, ID: 7, Seq: uint16(seq), Data: own})
				}
				if !bytes.Equal(reply.Bytes(), want) {
					t.Errorf("%s: %d bytes of data are answered by %d bytes %.20q", backend, size, reply.N, reply.Bytes())
				}
				if reply.Peer.Addr() != asked {
					t.Errorf("%s: asked %v, and %v answers", backend, asked, reply.Peer.Addr())
				}
				if reply.TTL != 64 {
					t.Errorf("%s: a request with TTL 1 is answered with TTL %d", backend, reply.TTL)
				}
			}
			if got, want := stop(), (responder.Stats{Received: 5, Answered: 5}); got != want {
				t.Errorf("%s: %+v, want %+v", backend, got, want)
			}
		}
	}
}

func TestCodeComesBack(t *testing.T) {
	silentLab(t)
	respond(t, "", responder.Config{})
	client := open(t, 0)
	b := encode(codec.Echo{Type: codec.EchoRequest, Code: 7, ID: 7, Seq: 1})
	send(t, client, transport.Message{Buf: b, N: len(b), Peer: netip.AddrPortFrom(loopback, 0)})
	reply := recv(t, client)
	if want := encode(codec.Echo{Type: codec.EchoReply, Code: 7, ID: 7, Seq: 1}); !bytes.Equal(reply.Bytes(), want) {
		t.Errorf("the reply is %v, want %v", reply.Bytes(), want)
	}
}

func TestRequestsToManyAreNotAnswered(t *testing.T) {
	silentLab(t)
	stop := respond(t, "", responder.Config{})
	client := open(t, 0)
	if err := unix.SetsockoptInt(client.FD(), unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
		t.Fatal(err)
	}
	multicast := to(netip.MustParseAddr("224.0.0.1"), 2, nil) // all systems
	multicast.Ifindex = 1                                     // loopback
	send(t, client,
		to(netip.MustParseAddr("127.255.255.255"), 1, nil),
		multicast,
		to(loopback, 3, nil),
	)
	if reply := recv(t, client); reply.Bytes()[7] != 3 {
		t.Errorf("request %d is answered, want 3 only", reply.Bytes()[7])
	}
	if got, want := stop(), (responder.Stats{Received: 3, Answered: 1, Ignored: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestDamagedRequestsAreNotAnswered(t *testing.T) {
	silentLab(t)
	stop := respond(t, "", responder.Config{})
	client := open(t, 0)
	damaged := to(loopback, 1, []byte("data"))
	damaged.Buf[8] ^= 1
	send(t, client, damaged, to(loopback, 2, nil))
	if reply := recv(t, client); reply.Bytes()[7] != 2 {
		t.Errorf("request %d is answered, want 2 only", reply.Bytes()[7])
	}
	if got, want := stop(), (responder.Stats{Received: 2, Answered: 1, Corrupt: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestABatchIsOneReceiveAndOneSend(t *testing.T) {
	const requests = 32
	silentLab(t)
	for _, backend := range mux.Backends() {
		l := newLoop(t, backend)
		var calls []string
		tr := transport.Trace(open(t, 8), func(c transport.Call) {
			calls = append(calls, c.Op)
			if c.N != requests || c.Err != nil {
				t.Errorf("%v, want %d messages", c, requests)
			}
		})
		left := requests
		r, err := responder.New(l, tr, responder.Config{OnRequest: func(responder.Request) {
			if left--; left == 0 {
				l.Stop()
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		client := open(t, 0)
		var ms []transport.Message
		for seq := range uint16(requests) {
			ms = append(ms, to(loopback, seq, nil))
		}
		send(t, client, ms...)
		if err := l.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if want := []string{"recv", "send"}; !slices.Equal(calls, want) {
			t.Errorf("%s: the calls are %q, want %q", backend, calls, want)
		}
		for seq := range uint16(requests) {
			if reply := recv(t, client); reply.Bytes()[7] != byte(seq) {
				t.Fatalf("%s: reply to %d, want %d", backend, reply.Bytes()[7], seq)
			}
		}
		if got, want := r.Stats(), (responder.Stats{Received: requests, Answered: requests}); got != want {
			t.Errorf("%s: %+v, want %+v", backend, got, want)
		}
	}
}
