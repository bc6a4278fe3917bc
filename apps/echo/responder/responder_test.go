package responder_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/apps/echo/responder"
	"iomux/codec"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
)

// Of three messages, the one in the middle.
func TestWhatIsAnsweredAndWhereTheRestIsCounted(t *testing.T) {
	change := func(m transport.Message, fn func([]byte)) transport.Message {
		fn(m.Buf)
		return m
	}
	flagged := func(m transport.Message, flags transport.Flags) transport.Message {
		m.Flags = flags
		return m
	}
	good := func() transport.Message { return request(peerB, 2, "data") }
	reply := message(peerB, encode(codec.Echo{Type: codec.EchoReply, ID: 7, Seq: 2}))
	answered := responder.Stats{Received: 3, Answered: 3}
	ignored := responder.Stats{Received: 3, Answered: 2, Ignored: 1}
	corrupt := responder.Stats{Received: 3, Answered: 2, Corrupt: 1}
	for _, c := range []struct {
		name    string
		message transport.Message
		stats   responder.Stats
		reply   string // "" for none
	}{
		{"a request", good(), answered, "192.0.2.12 2 0 data"},
		{"a request without data", request(peerB, 2, ""), answered, "192.0.2.12 2 0 "},
		{"a request with a code, which comes back", message(peerB, encode(codec.Echo{Type: codec.EchoRequest, Code: 7, ID: 7, Seq: 2, Data: []byte("data")})),
			answered, "192.0.2.12 2 7 data"},

		{"a reply", reply, ignored, ""},
		{"a message of another type", change(good(), func(b []byte) { b[0] = 13 }), ignored, ""},
		{"a request to a broadcast or multicast address", flagged(good(), transport.Broadcast), ignored, ""},
		{"a damaged request to a broadcast or multicast address", flagged(change(good(), func(b []byte) { b[2] ^= 1 }), transport.Broadcast), ignored, ""},
		{"a truncated message of another type", flagged(change(good(), func(b []byte) { b[0] = 13 }), transport.Truncated), ignored, ""},

		{"a bad checksum", change(good(), func(b []byte) { b[2] ^= 1 }), corrupt, ""},
		{"a damaged first byte of data", change(good(), func(b []byte) { b[8] ^= 1 }), corrupt, ""},
		{"a damaged last byte of data", change(good(), func(b []byte) { b[len(b)-1] ^= 0x80 }), corrupt, ""},
		{"a request cut short", message(peerB, good().Buf[:10]), corrupt, ""},
		{"half a header", message(peerB, good().Buf[:4]), corrupt, ""},
		{"nothing", message(peerB, nil), corrupt, ""},
		{"a truncated request, though its checksum is good", flagged(good(), transport.Truncated), corrupt, ""},
	} {
		for _, data := range [][]byte{nil, []byte("Hello from server!")} {
			t.Run(fmt.Sprintf("%s, own data %v", c.name, data != nil), func(t *testing.T) {
				var requests []string
				lab := newLab(t, &wire{size: 64}, responder.Config{Data: data, OnRequest: func(r responder.Request) {
					requests = append(requests, fmt.Sprintf("%v %d %d %s", r.Message.Peer.Addr(), r.Echo.Seq, r.Echo.Code, r.Echo.Data))
					if r.Message.TTL != 1 || r.Echo.Type != codec.EchoRequest || r.Echo.ID != 7 {
						t.Errorf("request %+v in %+v", r.Echo, r.Message)
					}
				}})
				lab.wire.queue = []transport.Message{request(peerA, 1, "before"), c.message, request(peerC, 3, "after")}
				lab.wire.update()
				lab.run(time.Second)

				want := []string{"192.0.2.11 1 0 before", "192.0.2.13 3 0 after"}
				if c.reply != "" {
					want = slices.Insert(want, 1, c.reply)
				}
				if !slices.Equal(requests, want) {
					t.Errorf("OnRequest was called with %q, want %q", requests, want)
				}
				if data != nil { // only that is other
					for i := range want {
						f := strings.SplitN(want[i], " ", 4)
						want[i] = strings.Join(append(f[:3], string(data)), " ")
					}
				}
				lab.wantReplies(want...)
				lab.wantStats(c.stats)
				lab.wantCalls("recv 3", fmt.Sprint("send ", c.stats.Answered))
			})
		}
	}
}

func TestReplyGoesBackTheWayTheRequestCame(t *testing.T) {
	for _, data := range [][]byte{nil, []byte("own")} {
		lab := newLab(t, &wire{size: 64}, responder.Config{Data: data})
		lab.wire.queue = []transport.Message{request(peerA, 1, "data")}
		lab.wire.update()
		lab.run(time.Second)
		if len(lab.wire.sent) != 1 {
			t.Fatalf("%d replies", len(lab.wire.sent))
		}
		m := lab.wire.sent[0]
		m.Buf, m.Off, m.N = nil, 0, 0
		// From the address that was asked, with the default TTL although the
		// request had its last, with its TOS.
		want := transport.Message{Peer: netip.AddrPortFrom(peerA, 0), Local: local, TOS: 0x10}
		if fmt.Sprintf("%+v", m) != fmt.Sprintf("%+v", want) {
			t.Errorf("the reply is %+v, want %+v", m, want)
		}
	}
}

func TestDataIsByteExact(t *testing.T) {
	pattern := make([]byte, codec.MaxEchoDataV4)
	for i := range pattern {
		pattern[i] = byte(i*7 + i>>8)
	}
	for _, in := range []int{0, 1, 56, 1472, len(pattern)} {
		for _, own := range []int{-1, 0, 1, 56, 1472, len(pattern)} {
			var cfg responder.Config
			want := string(pattern[:in])
			if own >= 0 {
				cfg.Data = bytes.Repeat([]byte{0xa5}, own)
				want = string(cfg.Data)
			}
			lab := newLab(t, &wire{size: 2}, cfg)
			// Something longer before, of which nothing may remain.
			lab.wire.queue = []transport.Message{request(peerA, 1, strings.Repeat("x", len(pattern))), request(peerA, 2, "y"), request(peerB, 3, string(pattern[:in]))}
			lab.wire.update()
			lab.run(time.Second)
			if n := len(lab.wire.sent); n != 3 {
				t.Fatalf("%d replies", n)
			}
			if got := string(lab.wire.sent[2].Bytes()[codec.EchoHeaderLen:]); got != want {
				t.Errorf("a request with %d bytes is answered by %d bytes %.20q, want %d bytes %.20q", in, len(got), got, len(want), want)
			}
		}
	}
}

func TestDataThatTheCallerChangesAfterNewIsNotUsed(t *testing.T) {
	data := []byte("own")
	lab := newLab(t, &wire{size: 1}, responder.Config{Data: data})
	data[0] = 'x'
	lab.wire.queue = []transport.Message{request(peerA, 1, "data")}
	lab.wire.update()
	lab.run(time.Second)
	lab.wantReplies("192.0.2.11 1 0 own")
}

func TestWhatDoesNotFitABatchComesNext(t *testing.T) {
	lab := newLab(t, &wire{size: 2}, responder.Config{})
	bad := request(peerB, 2, "bad")
	bad.Buf[8] = 'x'
	lab.wire.queue = []transport.Message{request(peerA, 1, "a"), request(peerA, 2, "b"), bad, request(peerA, 3, "c"), request(peerA, 4, "d")}
	lab.wire.update()
	lab.run(time.Second)
	lab.wantCalls("recv 2", "send 2", "recv 2", "send 1", "recv 1", "send 1")
	lab.wantReplies("192.0.2.11 1 0 a", "192.0.2.11 2 0 b", "192.0.2.11 3 0 c", "192.0.2.11 4 0 d")
}

// What is not answered gives its place in the batch to what is; each place must
// keep a buffer of its own.
func TestBatchesAfterOneWithGapsAreIntact(t *testing.T) {
	lab := newLab(t, &wire{size: 4}, responder.Config{})
	for round := range uint16(5) {
		lab.wire.queue = append(lab.wire.queue,
			message(peerA, nil), request(peerA, round, "a"), message(peerB, nil), request(peerB, round, "b"),
			request(peerA, round, "c"), request(peerB, round, "d"), request(peerC, round, "e"), message(peerC, nil))
	}
	lab.wire.update()
	lab.run(time.Second)
	var want []string
	for round := range 5 {
		for _, reply := range []string{"192.0.2.11 %d 0 a", "192.0.2.12 %d 0 b", "192.0.2.11 %d 0 c", "192.0.2.12 %d 0 d", "192.0.2.13 %d 0 e"} {
			want = append(want, fmt.Sprintf(reply, round))
		}
	}
	lab.wantReplies(want...)
}

func TestTheMuxIsToldOfChangesOnly(t *testing.T) {
	lab := newLab(t, &wire{size: 1}, responder.Config{})
	for i := range 10 {
		lab.wire.queue = append(lab.wire.queue, request(peerA, uint16(i), ""))
	}
	lab.wire.room = 5
	lab.wire.update()
	lab.wire.at(10*ms, func() { lab.wire.room = unlimited })
	lab.run(time.Second)
	if len(lab.wire.sent) != 10 || lab.modifies != 2 {
		t.Errorf("%d replies and %d changes, want 10 and 2", len(lab.wire.sent), lab.modifies)
	}
}

func TestNothingToAnswerIsNothingToSend(t *testing.T) {
	lab := newLab(t, &wire{size: 2}, responder.Config{})
	lab.wire.queue = []transport.Message{message(peerA, nil)}
	lab.wire.update()
	lab.run(time.Second)
	lab.wantCalls("recv 1")
}

func TestABlockedSendIsContinuedAndNothingReceivedMeanwhile(t *testing.T) {
	lab := newLab(t, &wire{size: 3}, responder.Config{})
	lab.wire.queue = []transport.Message{request(peerA, 1, "a"), request(peerB, 2, "b"), request(peerC, 3, "c")}
	lab.wire.room = 1
	lab.wire.update()
	lab.wire.at(10*ms, func() { lab.wire.queue = append(lab.wire.queue, request(peerA, 4, "d")) })
	lab.wire.at(20*ms, func() { lab.wire.room = 1 })
	lab.wire.at(30*ms, func() { lab.wire.room = unlimited })

	lab.run(15 * ms)
	lab.wantCalls("recv 3", "send 1", "send 0")
	lab.wantStats(responder.Stats{Received: 3, Answered: 1, Queued: 2})
	lab.run(time.Second)
	lab.wantCalls("recv 3", "send 1", "send 0", "send 1", "send 0", "send 1", "recv 1", "send 1")
	lab.wantReplies("192.0.2.11 1 0 a", "192.0.2.12 2 0 b", "192.0.2.13 3 0 c", "192.0.2.11 4 0 d")
	lab.wantStats(responder.Stats{Received: 4, Answered: 4})
}

func TestSendErrorSkipsThatReplyOnly(t *testing.T) {
	for _, refused := range []netip.Addr{peerA, peerB, peerC} {
		lab := newLab(t, &wire{size: 3}, responder.Config{})
		lab.wire.onSend = func(m *transport.Message) error {
			if m.Peer.Addr() == refused {
				return errors.New("refused")
			}
			return nil
		}
		lab.wire.queue = []transport.Message{request(peerA, 1, "a"), request(peerB, 2, "b"), request(peerC, 3, "c")}
		lab.wire.update()
		lab.run(time.Second)
		var want []string
		for i, reply := range []string{"192.0.2.11 1 0 a", "192.0.2.12 2 0 b", "192.0.2.13 3 0 c"} {
			if refused != [...]netip.Addr{peerA, peerB, peerC}[i] {
				want = append(want, reply)
			}
		}
		lab.wantReplies(want...)
		lab.wantStats(responder.Stats{Received: 3, Answered: 2, SendErrors: 1})
	}
}

// An interface may be down for minutes. Each try is 16 turns of the loop at first, and
// then, with pauses from 10 ms to a second, less than two a second.
func TestReceptionThatKeepsFailingIsTriedSeldomAndGoesOn(t *testing.T) {
	lab := newLab(t, &wire{size: 1}, responder.Config{})
	lab.wire.recvErrs = slices.Repeat([]error{unix.ENETDOWN}, 1000)
	lab.wire.update()
	lab.run(10 * time.Minute)
	tries := lab.Stats().RecvErrors
	if want := uint64(16 + 7 + 598); tries != want { // 10, 20, ... 640 ms, then every second
		t.Errorf("%d tries in ten minutes, want %d", tries, want)
	}
	lab.wire.queue = []transport.Message{request(peerA, 1, "a"), request(peerA, 2, "b")}
	lab.wire.recvErrs = nil
	lab.wire.update()
	lab.run(10*time.Minute + time.Second)
	lab.wantReplies("192.0.2.11 1 0 a", "192.0.2.11 2 0 b")
	lab.wantStats(responder.Stats{Received: 2, Answered: 2, RecvErrors: tries})
	if lab.failures != nil {
		t.Errorf("failures: %v", lab.failures)
	}
}

func TestAnswersAreSentThoughReceptionFails(t *testing.T) {
	lab := newLab(t, &wire{size: 2}, responder.Config{Policy: policy(t, "{to: 0.0.0.0/0, delay: 30ms}")})
	lab.wire.queue = []transport.Message{request(peerA, 1, "a"), request(peerA, 2, "b")}
	lab.wire.update()
	lab.wire.at(10*ms, func() { lab.wire.recvErrs = slices.Repeat([]error{unix.ENETDOWN}, 16+3) })
	lab.wire.at(20*ms, func() { lab.wire.room = 1 })
	lab.wire.at(25*ms, func() { lab.wire.room = 1 })
	lab.wire.at(50*ms, func() { lab.wire.room = unlimited })
	lab.run(time.Second)
	lab.wantReplies("192.0.2.11 1 0 a", "192.0.2.11 2 0 b")
	lab.wantStats(responder.Stats{Received: 2, Answered: 2, Delayed: 2, RecvErrors: 19})
}

func TestATransportThatIsGoneIsToldOnceAndLeftAlone(t *testing.T) {
	for _, gone := range []error{unix.EBADFD, unix.EBADF, net.ErrClosed} {
		for _, tell := range []bool{true, false} {
			cfg := responder.Config{}
			told := 0
			if tell {
				cfg.OnFailure = func(err error) {
					if told++; !errors.Is(err, gone) {
						t.Errorf("OnFailure(%v)", err)
					}
				}
			}
			w := &wire{size: 1}
			lab := newLab(t, w, cfg)
			if !tell {
				lab.Stop()
				var err error
				if lab.Responder, err = responder.New(lab.loop, w, cfg); err != nil {
					t.Fatal(err)
				}
			}
			w.recvErrs = slices.Repeat([]error{&net.OpError{Op: "read", Err: os.NewSyscallError("readv", gone)}}, 1000)
			w.update()
			lab.run(time.Hour)
			lab.wantStats(responder.Stats{RecvErrors: 1})
			lab.wantCalls("recv error")
			if tell && told != 1 {
				t.Errorf("OnFailure was called %d times", told)
			}
		}
	}
}

func TestReceptionThatFailsNowAndThenGoesOn(t *testing.T) {
	lab := newLab(t, &wire{size: 1}, responder.Config{})
	for i := range 10 {
		lab.wire.at(time.Duration(i)*ms, func() {
			lab.wire.recvErrs = slices.Repeat([]error{errors.New("passing")}, 10)
			lab.wire.queue = append(lab.wire.queue, request(peerA, uint16(i), ""))
		})
	}
	lab.run(time.Second)
	lab.wantStats(responder.Stats{Received: 10, Answered: 10, RecvErrors: 100})
	if lab.failures != nil {
		t.Errorf("failures: %v", lab.failures)
	}
}

func TestStopEndsEverything(t *testing.T) {
	t.Run("in OnRequest", func(t *testing.T) {
		for _, room := range []int{0, unlimited} {
			var lab *responder.Responder
			seen := 0
			l := newLab(t, &wire{size: 3}, responder.Config{OnRequest: func(r responder.Request) {
				if seen++; seen == 2 {
					if err := lab.Stop(); err != nil {
						t.Error(err)
					}
				}
			}})
			lab = l.Responder
			l.wire.queue = []transport.Message{request(peerA, 1, "a"), request(peerB, 2, "b"), request(peerC, 3, "c"), request(peerC, 4, "d")}
			l.wire.room = room
			l.wire.update()
			l.run(time.Second)
			l.wantCalls("recv 3")
			if seen != 2 || l.failures != nil {
				t.Errorf("%d requests seen, failures %v", seen, l.failures)
			}
		}
	})
	t.Run("while a send is blocked", func(t *testing.T) {
		lab := newLab(t, &wire{size: 3}, responder.Config{})
		lab.wire.queue = []transport.Message{request(peerA, 1, "a"), request(peerB, 2, "b")}
		lab.wire.room = 1
		lab.wire.update()
		lab.run(10 * ms)
		if err := lab.Stop(); err != nil {
			t.Error(err)
		}
		if err := lab.Stop(); err != nil {
			t.Errorf("a second Stop: %v", err)
		}
		lab.wire.room = unlimited
		lab.wire.update()
		lab.run(time.Second)
		lab.wantReplies("192.0.2.11 1 0 a")
		if lab.failures != nil {
			t.Errorf("failures: %v", lab.failures)
		}
	})
}

// stubborn is a Mux that changes nothing.
type stubborn struct{ mux.Mux }

func (stubborn) Modify(int, mux.Interest, uint64) error { return errors.New("no change") }

func TestTheMuxFailingIsAFailure(t *testing.T) {
	lab := newLab(t, &wire{size: 3}, responder.Config{})
	lab.Stop()
	l := loop.New(stubborn{lab.mux}, loop.Clock(lab.mux.Clock))
	_, err := responder.New(l, lab.wire, responder.Config{OnFailure: func(err error) { lab.failures = append(lab.failures, err) }})
	if err != nil {
		t.Fatal(err)
	}
	lab.wire.queue = []transport.Message{request(peerA, 1, "a")}
	lab.wire.room = 0
	lab.wire.update()
	lab.mux.At(time.Second, l.Stop)
	if err := l.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(lab.failures) != 1 || lab.failures[0].Error() != "no change" {
		t.Errorf("failures: %v, want one", lab.failures)
	}
}

// framed is a transport whose messages begin with an Ethernet header.
type framed struct{ transport.Transport }

func (framed) Framing() transport.Framing { return transport.Ethernet }

func TestWhatNewRefuses(t *testing.T) {
	lab := newLab(t, &wire{size: 1}, responder.Config{})
	refused := func(what string, r *responder.Responder, err error, text string) {
		t.Helper()
		if r != nil || err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: New = %v, %v", what, r, err)
		}
	}
	r, err := responder.New(lab.loop, lab.wire, responder.Config{Data: make([]byte, codec.MaxEchoDataV4+1)})
	refused("too much data", r, err, "responder: 65508 bytes of data, at most 65507 fit a packet")
	r, err = responder.New(lab.loop, transport.Trace(framed{lab.wire}, func(transport.Call) {}), responder.Config{})
	refused("a transport of frames", r, err, "responder: the transport carries frames; one that carries bare ICMP or IP packets is needed")
	r, err = responder.New(lab.loop, lab.wire, responder.Config{QueueItems: -1})
	refused("no room", r, err, "responder: room for -1 delayed answers, want 1 to 16777216, or 0 for 65536")
	r, err = responder.New(lab.loop, lab.wire, responder.Config{QueueBytes: 1<<30 + 1})
	refused("much room", r, err, "responder: room for 1073741825 bytes of delayed answers, want 1 to 1073741824, or 0 for 16777216")
	r, err = responder.New(lab.loop, lab.wire, responder.Config{Forge: lab.wire})
	refused("a Forge of bare messages", r, err, "responder: Config.Forge carries no IP packets; one that does is needed, ip4:raw for instance")
	r, err = responder.New(lab.loop, lab.wire, responder.Config{})
	refused("a transport that is watched already", r, err, "")
	if !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	lab.loop.Close()
	r, err = responder.New(lab.loop, lab.wire, responder.Config{})
	refused("a closed loop", r, err, "")
	if !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

// AllocsPerRun over whole runs of the loop, with thousands of batches in each.
func TestNoAllocationPerBatch(t *testing.T) {
	const batches = 5000
	bad := request(peerB, 1, "data")
	bad.Buf[8] = 'x'
	batch := []transport.Message{request(peerA, 1, "data"), bad, message(peerB, nil), message(peerB, make([]byte, 8)),
		message(peerB, append([]byte{13}, make([]byte, 8)...)), request(peerC, 2, "more data")}
	for _, data := range [][]byte{nil, []byte("Hello from server!")} {
		var w *wire
		left := 0
		var stop func()
		lab := newLab(t, &wire{size: len(batch), quiet: true}, responder.Config{Policy: policy(t, ""), Data: data, OnRequest: func(r responder.Request) {
			if r.Echo.Seq != 1 {
				return
			}
			if left--; left == 0 {
				stop()
			}
			w.queue = batch // the next one is there already
		}})
		w, stop = lab.wire, lab.loop.Stop
		w.queue = batch
		w.update()
		run := func() {
			left = batches
			if err := lab.loop.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if n := testing.AllocsPerRun(5, run); n > 20 { // of Run itself
			t.Errorf("own data %v: %v allocations in %d batches", data != nil, n, batches)
		}
		const n = 6 * batches // one run more than counted, to warm up
		lab.wantStats(responder.Stats{Received: 6 * n, Answered: 2 * n, Corrupt: 3 * n, Ignored: n})
	}
}
