package prober_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/codec"
	"iomux/transport"
)

const ms = time.Millisecond

// One probe with a timeout of a second, and what becomes of it.
func TestEveryOutcomeIsReportedAndCountedOnce(t *testing.T) {
	data := []byte("0123456789abcdef")
	// altered is the reply with other data, and a good checksum.
	altered := func(p probe, data []byte) []byte {
		return encode(codec.Echo{Type: codec.EchoReply, ID: p.id, Seq: p.seq, Data: data})
	}
	// damaged is the reply with other bytes, whose checksum stays as it was.
	damaged := func(p probe, change func([]byte)) []byte {
		b := p.reply()
		change(b)
		return b
	}
	const (
		reply   = "10ms 192.0.2.1 reply 1 rtt 10ms"
		other   = "10ms 192.0.2.1 reply 1 rtt 10ms altered"
		timeout = "1s 192.0.2.1 timeout 1"
		done    = "10ms done"
		doneOut = "1s done"
	)
	answered := counts{Sent: 1, Received: 1}
	lost := counts{Sent: 1, Lost: 1}
	hurt := counts{Sent: 1, Received: 1, Altered: 1}

	for _, c := range []struct {
		name           string
		onSend         func(probe)
		log            []string
		counts         counts
		stray, corrupt uint64
	}{
		{name: "reply", counts: answered, log: []string{reply, done},
			onSend: func(p probe) { p.answer(10 * ms) }},
		{name: "no reply", counts: lost, log: []string{timeout, doneOut},
			onSend: func(p probe) {}},
		{name: "duplicates", counts: counts{Sent: 1, Received: 1, Duplicates: 2},
			log: []string{reply, done, "20ms 192.0.2.1 duplicate 1 rtt 20ms", "3s 192.0.2.1 duplicate 1 rtt 3s"},
			onSend: func(p probe) {
				p.answer(10 * ms)
				p.answer(20 * ms)
				p.answer(3 * time.Second)
			}},
		{name: "duplicates in one batch", counts: counts{Sent: 1, Received: 1, Duplicates: 1},
			log: []string{reply, "10ms 192.0.2.1 duplicate 1 rtt 10ms", done},
			onSend: func(p probe) {
				p.answer(10 * ms)
				p.answer(10 * ms)
			}},
		{name: "late", counts: counts{Sent: 1, Lost: 1, Late: 1},
			log:    []string{timeout, doneOut, "1.5s 192.0.2.1 late 1 rtt 1.5s"},
			onSend: func(p probe) { p.answer(1500 * ms) }},
		{name: "late, and again", counts: counts{Sent: 1, Lost: 1, Late: 1, Duplicates: 1},
			log: []string{timeout, doneOut, "2s 192.0.2.1 late 1 rtt 2s", "2.5s 192.0.2.1 duplicate 1 rtt 2.5s"},
			onSend: func(p probe) {
				p.answer(2 * time.Second)
				p.answer(2500 * ms)
			}},
		{name: "just in time", counts: answered, log: []string{"999.999ms 192.0.2.1 reply 1 rtt 999.999ms", "999.999ms done"},
			onSend: func(p probe) { p.answer(time.Second - time.Microsecond) }},

		{name: "first byte of the data altered", counts: hurt, log: []string{other, done},
			onSend: func(p probe) { p.w.deliver(10*ms, p.to, altered(p, append([]byte{'x'}, data[1:]...))) }},
		{name: "last byte of the data altered", counts: hurt, log: []string{other, done},
			onSend: func(p probe) { p.w.deliver(10*ms, p.to, altered(p, append(slices.Clone(data[:15]), 'x'))) }},
		{name: "half of the data", counts: hurt, log: []string{other, done},
			onSend: func(p probe) { p.w.deliver(10*ms, p.to, altered(p, data[:8])) }},
		{name: "none of the data", counts: hurt, log: []string{other, done},
			onSend: func(p probe) { p.w.deliver(10*ms, p.to, altered(p, nil)) }},
		{name: "a byte more of data", counts: hurt, log: []string{other, done},
			onSend: func(p probe) { p.w.deliver(10*ms, p.to, altered(p, append(slices.Clone(data), 0))) }},
		{name: "all the data that fits a packet", counts: hurt, log: []string{other, done},
			onSend: func(p probe) {
				p.w.deliver(10*ms, p.to, altered(p, bytes.Repeat(data, codec.MaxEchoDataV4)[:codec.MaxEchoDataV4]))
			}},
		{name: "a send time from the future in the data", counts: hurt, log: []string{other, done},
			onSend: func(p probe) {
				p.w.deliver(10*ms, p.to, altered(p, binary.BigEndian.AppendUint64(nil, 1<<63-1)))
			}},
		{name: "altered, then unaltered", counts: counts{Sent: 1, Received: 1, Duplicates: 1, Altered: 1},
			log: []string{other, done, "20ms 192.0.2.1 duplicate 1 rtt 20ms"},
			onSend: func(p probe) {
				p.w.deliver(10*ms, p.to, altered(p, nil))
				p.answer(20 * ms)
			}},
		{name: "altered and late", counts: counts{Sent: 1, Lost: 1, Late: 1, Altered: 1},
			log:    []string{timeout, doneOut, "2s 192.0.2.1 late 1 rtt 2s altered"},
			onSend: func(p probe) { p.w.deliver(2*time.Second, p.to, altered(p, nil)) }},

		{name: "bad checksum", counts: lost, corrupt: 1, log: []string{timeout, doneOut},
			onSend: func(p probe) { p.w.deliver(10*ms, p.to, damaged(p, func(b []byte) { b[len(b)-1] ^= 1 })) }},
		{name: "bad checksum, then good", counts: answered, corrupt: 1, log: []string{"20ms 192.0.2.1 reply 1 rtt 20ms", "20ms done"},
			onSend: func(p probe) {
				p.w.deliver(10*ms, p.to, damaged(p, func(b []byte) { b[2] ^= 0x80 }))
				p.answer(20 * ms)
			}},
		{name: "code 7", counts: lost, corrupt: 1, log: []string{timeout, doneOut},
			onSend: func(p probe) {
				p.w.deliver(10*ms, p.to, encode(codec.Echo{Type: codec.EchoReply, Code: 7, ID: p.id, Seq: p.seq, Data: p.data}))
			}},
		{name: "half a header", counts: lost, corrupt: 1, log: []string{timeout, doneOut},
			onSend: func(p probe) { p.w.deliver(10*ms, p.to, p.reply()[:4]) }},
		{name: "nothing", counts: lost, corrupt: 1, log: []string{timeout, doneOut},
			onSend: func(p probe) { p.w.deliver(10*ms, p.to, nil) }},
		{name: "cut short", counts: lost, corrupt: 1, log: []string{timeout, doneOut},
			onSend: func(p probe) { p.w.deliver(10*ms, p.to, p.reply()[:12]) }},

		{name: "from another host", counts: lost, stray: 1, log: []string{timeout, doneOut},
			onSend: func(p probe) { p.w.deliver(10*ms, foreign, p.reply()) }},
		{name: "damaged, from another host", counts: lost, stray: 1, log: []string{timeout, doneOut},
			onSend: func(p probe) { p.w.deliver(10*ms, foreign, damaged(p, func(b []byte) { b[2] ^= 1 })) }},
		{name: "another prober's reply", counts: lost, stray: 1, log: []string{timeout, doneOut},
			onSend: func(p probe) {
				p.w.deliver(10*ms, p.to, encode(codec.Echo{Type: codec.EchoReply, ID: p.id + 1, Seq: p.seq, Data: p.data}))
			}},
		{name: "another prober's reply with code 7", counts: lost, stray: 1, log: []string{timeout, doneOut},
			onSend: func(p probe) {
				p.w.deliver(10*ms, p.to, encode(codec.Echo{Type: codec.EchoReply, Code: 7, ID: p.id + 1, Seq: p.seq}))
			}},
		{name: "sequence numbers that were not sent", counts: answered, stray: 4, log: []string{reply, done},
			onSend: func(p probe) {
				for _, seq := range []uint16{0, 2, 257, 65535} {
					p.w.deliver(5*ms, p.to, encode(codec.Echo{Type: codec.EchoReply, ID: p.id, Seq: seq, Data: p.data}))
				}
				p.answer(10 * ms)
			}},
		{name: "the request itself, which loopback delivers too", counts: answered, stray: 1, log: []string{reply, done},
			onSend: func(p probe) {
				p.w.deliver(5*ms, p.to, encode(codec.Echo{Type: codec.EchoRequest, ID: p.id, Seq: p.seq, Data: p.data}))
				p.answer(10 * ms)
			}},
		{name: "a damaged request", counts: lost, stray: 1, log: []string{timeout, doneOut},
			onSend: func(p probe) { p.w.deliver(10*ms, p.to, damaged(p, func(b []byte) { b[0] = 8 })) }},
		{name: "another ICMP message", counts: lost, stray: 1, log: []string{timeout, doneOut},
			onSend: func(p probe) { p.w.deliver(10*ms, p.to, damaged(p, func(b []byte) { b[0] = 3 })) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab := newLab(t, prober.Config{Count: 1, Data: data})
			lab.wire.onSend = func(p probe) error {
				c.onSend(p)
				return nil
			}
			lab.Start()
			lab.run(time.Minute)
			lab.want(c.log...)
			lab.wantSent("0s 192.0.2.1 1")
			lab.wantCounts(0, c.counts)
			lab.wantRefused(c.stray, c.corrupt)
		})
	}
}

func TestSequenceNumbersThatWereNeverSentAreStray(t *testing.T) {
	lab := newLab(t, prober.Config{}) // of many probes
	for _, seq := range []uint16{0, 2, 8, 9, 65535} {
		lab.wire.deliver(10*ms, hostA, encode(codec.Echo{Type: codec.EchoReply, ID: id, Seq: seq}))
	}
	lab.Start()
	lab.run(500 * ms)
	lab.want()
	lab.wantCounts(0, counts{Sent: 1})
	lab.wantRefused(5, 0)
}

func TestProbesCarryTheIdentifierAndTheData(t *testing.T) {
	for _, size := range []int{0, 1, 56, codec.MaxEchoDataV4} {
		data := bytes.Repeat([]byte{0xa5}, size)
		lab := newLab(t, prober.Config{Count: 2, Data: data})
		lab.wire.header = 0
		lab.wire.onSend = func(p probe) error {
			if p.id != id || !bytes.Equal(p.data, data) {
				t.Errorf("identifier %#x and %d bytes of data, want %#x and %d", p.id, len(p.data), id, size)
			}
			p.answer(ms)
			return nil
		}
		lab.Start()
		lab.run(5 * time.Second)
		lab.wantCounts(0, counts{Sent: 2, Received: 2})
	}
}

func TestWhatTheCallerChangesAfterNewIsNotUsed(t *testing.T) {
	data := []byte("data")
	targets := []netip.Addr{hostA}
	lab := newLab(t, prober.Config{Count: 1, Data: data, Targets: targets})
	data[0], targets[0] = 'x', hostB
	lab.wire.onSend = func(p probe) error {
		p.answer(ms)
		return nil
	}
	lab.Start()
	lab.run(time.Second)
	lab.wantSent("0s 192.0.2.1 1")
	if got := string(lab.wire.sent[0].data); got != "data" {
		t.Errorf("sent %q", got)
	}
	lab.wantCounts(0, counts{Sent: 1, Received: 1})
}

func TestMessageAndEchoOfAResult(t *testing.T) {
	var got []string
	lab := newLab(t, prober.Config{Count: 1, Data: []byte("data"), OnResult: func(r prober.Result) {
		got = append(got, r.Message.Peer.Addr().String(), r.Echo.Type.String(), string(r.Echo.Data), string(r.Message.Bytes()[8:]))
		if r.Echo.ID != id || r.Echo.Seq != 1 || r.Message.Off != 60 {
			t.Errorf("%+v of %+v", r.Echo, r.Message)
		}
	}})
	lab.wire.header = 60 // the longest IP header
	lab.wire.onSend = func(p probe) error {
		p.answer(ms)
		return nil
	}
	lab.Start()
	lab.run(time.Second)
	if want := []string{"192.0.2.1", "echo reply", "data", "data"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSendErrorSkipsOneProbeInTheMiddleOfABatch(t *testing.T) {
	refused := errors.New("refused")
	lab := newLab(t, prober.Config{Count: 2, Targets: []netip.Addr{hostA, hostB, hostC}, Interval: 100 * ms})
	lab.wire.onSend = func(p probe) error {
		if p.to == hostB && p.seq == 1 {
			return refused
		}
		p.answer(10 * ms)
		return nil
	}
	lab.Start()
	lab.run(time.Minute)
	lab.want(
		"0s 192.0.2.2 send error 1: refused",
		"10ms 192.0.2.1 reply 1 rtt 10ms",
		"10ms 192.0.2.3 reply 1 rtt 10ms",
		"110ms 192.0.2.1 reply 2 rtt 10ms",
		"110ms 192.0.2.2 reply 2 rtt 10ms",
		"110ms 192.0.2.3 reply 2 rtt 10ms",
		"110ms done",
	)
	lab.wantSent("0s 192.0.2.1 1", "0s 192.0.2.3 1", "100ms 192.0.2.1 2", "100ms 192.0.2.2 2", "100ms 192.0.2.3 2")
	lab.wantCounts(0, counts{Sent: 2, Received: 2})
	lab.wantCounts(1, counts{Sent: 1, Received: 1, SendErrors: 1})
	lab.wantCounts(2, counts{Sent: 2, Received: 2})
}

func TestReplyToAProbeThatWasNotSentIsStray(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 1})
	lab.wire.onSend = func(p probe) error {
		p.answer(10 * ms)
		return errors.New("refused")
	}
	lab.Start()
	lab.run(time.Minute)
	lab.want("0s 192.0.2.1 send error 1: refused", "0s done")
	lab.wantCounts(0, counts{SendErrors: 1})
	lab.wantRefused(1, 0)
}

func TestTwoTargetsDoNotMixTheirOutcomes(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 3, Targets: []netip.Addr{hostA, hostB}, Interval: 100 * ms, Timeout: 250 * ms})
	lab.wire.onSend = func(p probe) error {
		switch {
		case p.to == hostA: // slow: its replies cross those of B
			p.answer(220 * ms)
		case p.seq == 2: // lost
		case p.seq == 3:
			p.answer(10 * ms)
			p.answer(300 * ms)
		default: // from the wrong one of the two, before and after the right one
			p.w.deliver(p.at+5*ms, hostC, p.reply())
			p.answer(10 * ms)
		}
		return nil
	}
	lab.Start()
	lab.run(time.Minute)
	lab.want(
		"10ms 192.0.2.2 reply 1 rtt 10ms",
		"210ms 192.0.2.2 reply 3 rtt 10ms",
		"220ms 192.0.2.1 reply 1 rtt 220ms",
		"320ms 192.0.2.1 reply 2 rtt 220ms",
		"350ms 192.0.2.2 timeout 2",
		"420ms 192.0.2.1 reply 3 rtt 220ms",
		"420ms done",
		"500ms 192.0.2.2 duplicate 3 rtt 300ms",
	)
	lab.wantCounts(0, counts{Sent: 3, Received: 3})
	lab.wantCounts(1, counts{Sent: 3, Received: 2, Lost: 1, Duplicates: 1})
	lab.wantRefused(1, 0)
}

func TestTargetWrittenAsAnIPv6Address(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 1, Targets: []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.1")}})
	lab.wire.onSend = func(p probe) error {
		p.answer(10 * ms)
		return nil
	}
	lab.Start()
	lab.run(time.Minute)
	lab.wantSent("0s 192.0.2.1 1")
	lab.wantCounts(0, counts{Sent: 1, Received: 1})
}

func TestStatistics(t *testing.T) {
	lab := newLab(t, prober.Config{Count: 8, Interval: 100 * ms, Timeout: 50 * ms})
	if s := lab.Stats(0); s.Loss() != 0 || s.Mean() != 0 || s.Deviation() != 0 {
		t.Errorf("of no probes: loss %v, mean %v, deviation %v", s.Loss(), s.Mean(), s.Deviation())
	}
	lab.wire.onSend = func(p probe) error {
		if p.seq <= 5 {
			p.answer([...]time.Duration{4 * ms, 2 * ms, 5 * ms, 1 * ms, 3 * ms}[p.seq-1])
		} else if p.seq == 6 {
			p.answer(60 * ms) // late: not part of the round-trip times
		} else if p.seq == 8 {
			return errors.New("refused") // neither received nor lost
		}
		return nil
	}
	lab.Start()
	lab.run(620 * ms) // the seventh is under way, the eighth not sent
	if s := lab.Stats(0); s.Loss() != 1.0/6 {
		t.Errorf("loss %v, want a sixth", s.Loss())
	}
	lab.run(time.Minute)
	s := lab.Stats(0)
	if s.Min != 1*ms || s.Max != 5*ms || s.Mean() != 3*ms || s.Deviation() != 1414213*time.Nanosecond || s.Loss() != 2.0/7 {
		t.Errorf("min %v, max %v, mean %v, deviation %v, loss %v", s.Min, s.Max, s.Mean(), s.Deviation(), s.Loss())
	}
}

// The clock goes on while the transport is at work.
func TestRoundTripTimeIsFromBeforeTheSendToAfterTheReceive(t *testing.T) {
	lab := newLab(t, prober.Config{})
	lab.Stop()
	var took time.Duration
	tr := transport.Trace(lab.wire, func(c transport.Call) {
		switch c.Op {
		case "send":
			took += 3 * ms
		case "recv":
			took += 2 * ms
		}
	})
	var rtt time.Duration
	p, err := prober.New(lab.loop, tr, prober.Config{Targets: []netip.Addr{hostA}, ID: id, Count: 1,
		Clock:    func() time.Time { return lab.mux.Clock().Add(took) },
		OnResult: func(r prober.Result) { rtt = r.RTT }})
	if err != nil {
		t.Fatal(err)
	}
	lab.wire.onSend = func(p probe) error {
		p.answer(10 * ms)
		return nil
	}
	p.Start()
	lab.run(time.Second)
	if rtt != 15*ms {
		t.Errorf("the round-trip time is %v, want 15ms", rtt)
	}
}

func TestOutcomeNames(t *testing.T) {
	for o, want := range map[prober.Outcome]string{
		prober.Reply: "reply", prober.Duplicate: "duplicate", prober.Late: "late",
		prober.Timeout: "timeout", prober.SendError: "send error", 9: "Outcome(9)",
	} {
		if o.String() != want {
			t.Errorf("%d is %q, want %q", o, o, want)
		}
	}
}
