package prober_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/mux"
	"iomux/transport"
)

const (
	fuzzedID = 0x18d4
	// The cookie of all inputs, in place of which the prober's own is put.
	fuzzedCookie = "\xC0OOKIE\r\n"
	fuzzedProbes = 3
)

// way is how packets come to the prober.
type way struct {
	v6     bool
	framed bool // as IP packets, otherwise as ICMP messages
	queued bool // as what the error queue says of them
}

func wayOf(b byte) way { return way{v6: b&1 != 0, framed: b&2 != 0, queued: b&4 != 0} }

// tape is a transport in simulated time on which what comes is known beforehand.
type tape struct {
	way
	lab     *lab
	queue   []transport.Message
	reports []transport.ErrorReport
	request *request // the first one
	errors  uint64   // that may have come, which are not counted once their probe has ended
	sent    int
}

var (
	_ transport.Identifier    = (*tape)(nil)
	_ transport.Framer        = (*tape)(nil)
	_ transport.ErrorReporter = (*tape)(nil)
)

func (tp *tape) FD() int            { return 7 }
func (tp *tape) BatchSize() int     { return 64 }
func (tp *tape) Close() error       { return nil }
func (tp *tape) Identifier() uint16 { return fuzzedID }
func (tp *tape) Framing() transport.Framing {
	if tp.framed {
		return transport.IPPacket
	}
	return transport.Payload
}

func (tp *tape) Send(ms []transport.Message) (int, error) {
	tp.sent += len(ms)
	if tp.request == nil {
		r, b := newRequest(tp.v6), ms[0].Bytes()
		if !tp.framed {
			b = append(bytes.Clone(r.packet[:r.header()]), b...)
		}
		tp.request = parseRequest(bytes.Clone(b))
	}
	return len(ms), nil
}

func (tp *tape) Recv(ms []transport.Message) (int, error) {
	n := min(len(ms), len(tp.queue))
	for i, m := range tp.queue[:n] {
		b := ms[i].Buf
		ms[i] = m
		if ms[i].Buf, ms[i].N = b, copy(b, m.Buf); ms[i].N < len(m.Buf) {
			ms[i].Flags = transport.Truncated
		}
	}
	tp.queue = tp.queue[n:]
	tp.update()
	return n, nil
}

func (tp *tape) ErrorReports(dst []transport.ErrorReport) (int, uint64, error) {
	n := copy(dst, tp.reports)
	tp.reports = tp.reports[n:]
	tp.update()
	return n, 0, nil
}

func (tp *tape) update() {
	ready := mux.Writable
	if len(tp.queue)+len(tp.reports) > 0 {
		ready |= mux.Readable
	}
	if tp.lab != nil {
		tp.lab.mux.Set(tp.FD(), ready)
	}
}

// deliver has a packet come. If it has the cookie of the inputs it gets the prober's,
// and checksums that were right are right again.
func (tp *tape) deliver(b []byte) {
	b = tp.request.adapt(b)
	from := tp.request.dst
	if tp.mayBeError(b) {
		tp.errors++
	}
	if n := tp.request.header(); len(b) >= n {
		if from = netip.AddrFrom4([4]byte(b[12:])); tp.v6 {
			from = netip.AddrFrom16([16]byte(b[8:]))
		}
		if !tp.framed || tp.queued {
			b = b[n:]
		}
	}
	if !tp.queued {
		tp.queue = append(tp.queue, transport.Message{Buf: b, Peer: netip.AddrPortFrom(from, 0), TTL: 61})
	} else if len(b) >= 2 { // type and code of the error, and what it is about
		r := transport.ErrorReport{Peer: netip.AddrPortFrom(tp.request.dst, 0), From: from, Type: b[0], Code: b[1]}
		r.SetQuote(b[2:])
		tp.reports = append(tp.reports, r)
	}
	tp.update()
}

// mayBeError reports whether a packet may carry an ICMP error.
func (tp *tape) mayBeError(b []byte) bool {
	n := tp.request.header()
	switch {
	case tp.queued || len(b) < n:
		return true
	case tp.framed && tp.v6 && b[6] != 58: // behind extension headers
		return true
	case tp.framed && !tp.v6:
		n = int(b[0]&0xF) * 4
	}
	if n >= len(b) {
		return false
	}
	return tp.v6 && b[n] < 128 || !tp.v6 && b[n] != 0
}

// adapt puts the cookie of the request in the place of that of the inputs.
func (r *request) adapt(b []byte) []byte {
	if !bytes.Contains(b, []byte(fuzzedCookie)) || len(r.data) < cookieSize {
		return bytes.Clone(b)
	}
	n := r.header()
	right := len(b) >= n+4 && onesComplement(r.pseudo(b), b[n:]) == 0
	b = bytes.ReplaceAll(b, []byte(fuzzedCookie), r.data[:cookieSize])
	if right {
		r.seal(b)
	}
	return b
}

// newRequest is the first request of the prober, with the cookie of the inputs.
func newRequest(v6 bool) *request {
	r := &request{v6: v6, src: pick(v6, near4, near6), dst: far(0, v6), id: fuzzedID, seq: 1,
		data: append([]byte(fuzzedCookie), pattern(56)[cookieSize:]...)}
	m := []byte{pick[byte](v6, 8, 128), 0, 0, 0, fuzzedID >> 8, fuzzedID & 0xFF, 0, 1}
	r.packet = r.seal(r.ipTo(r.src, r.dst, pick[byte](v6, 1, 58), append(m, r.data...)))
	return r
}

// records are packets, each behind the time when it comes, in tenths of a second,
// and its length in two bytes.
func record(all []byte, at byte, packet []byte) []byte {
	all = append(all, at)
	return append(binary.BigEndian.AppendUint16(all, uint16(len(packet))), packet...)
}

// nextRecord takes the first packet off.
func nextRecord(all []byte) (at byte, packet, rest []byte, ok bool) {
	if len(all) < 3 {
		return 0, nil, nil, false
	}
	at, n := all[0], int(binary.BigEndian.Uint16(all[1:]))
	n = min(n, len(all)-3)
	return at, all[3:][:n:n], all[3+n:], true
}

// seeds are the answers of the matrix.
func seeds(w way) (all [][]byte) {
	r := newRequest(w.v6)
	for _, in := range inputs() {
		var packets []byte
		for i, answers := range []func(*request) [][]byte{in.now, in.after, in.late} {
			if answers == nil {
				continue
			}
			for n, b := range answers(r) {
				if w.queued { // the type and the code of the error, and what it is about
					if len(b) < 2*r.header()+2*echoHeader {
						continue
					}
					m := b[r.header():]
					b = slices.Concat(b[:r.header()], m[:2], m[echoHeader+r.header():])
				}
				if n < 5 {
					packets = record(packets, [...]byte{1, 11, 40}[i], b)
				}
			}
		}
		all = append(all, packets)
	}
	return all
}

// Whatever comes, each probe ends once, the counters add up, and nothing panics.
func FuzzAnswers(f *testing.F) {
	for bits := range byte(8) {
		for _, packets := range seeds(wayOf(bits)) {
			f.Add(bits, packets)
		}
	}
	f.Fuzz(func(t *testing.T, bits byte, packets []byte) { answered(t, wayOf(bits), packets) })
}

// The fuzzer begins with all that there is: the seeds are what they are in the matrix.
func TestSeedsReachEveryOutcome(t *testing.T) {
	for bits := range byte(8) {
		w := wayOf(bits)
		var all stats.Counts
		for _, packets := range seeds(w) {
			all.Add(answered(t, w, packets))
		}
		for o := range stats.Outcomes {
			possible := o != stats.SendError && o != stats.LocalDrop && o != stats.Reordered
			if w.queued {
				possible = o == stats.ICMPError || o == stats.Forged
			}
			if possible && all.Of[o] == 0 {
				t.Errorf("%+v: no seed has %v", w, o)
			}
		}
	}
}

// answered probes one target three times, a second apart and with a timeout of two
// seconds and a half, while the packets come.
func answered(t *testing.T, w way, packets []byte) stats.Counts {
	t.Helper()
	tp := &tape{way: w}
	var finals [fuzzedProbes + 1]int
	var reported [stats.Outcomes]uint64
	cfg := prober.Config{Targets: list(far(0, w.v6).String()), Count: fuzzedProbes, Interval: time.Second, Timeout: 2500 * ms,
		Data: pattern(56), TargetStats: true,
		Open: func(prober.Opening) (transport.Transport, error) { return tp, nil },
		OnResult: func(r *prober.Result) {
			reported[r.Outcome]++
			if r.Outcome.Final() {
				finals[r.Number]++
			}
			if (r.Target == prober.NoTarget) != (r.Number == 0) || r.Number > fuzzedProbes {
				t.Errorf("%+v", *r)
			}
			if r.RTT < 0 || r.RTT > 30*time.Second {
				t.Errorf("a round-trip time of %v", r.RTT)
			}
		}}
	if w.framed {
		cfg.Source = pick(w.v6, near4, near6)
	}
	lab := newLab(t, cfg)
	tp.lab = lab
	tp.update()
	delivered := uint64(0)
	for {
		at, packet, rest, ok := nextRecord(packets)
		if !ok {
			break
		}
		packets = rest
		delivered++
		lab.mux.At(time.Duration(at)*100*ms, func() {
			if tp.request != nil {
				tp.deliver(packet)
			}
		})
	}
	lab.Start()
	lab.run(30 * time.Second)

	c := lab.Total().Counts()
	if c.Of != reported {
		t.Errorf("%v are counted, %v reported", c.Of, reported)
	}
	if finals != [...]int{0, 1, 1, 1} || c.Finished() != fuzzedProbes || c.Sent != fuzzedProbes || c.InFlight() != 0 || tp.sent != fuzzedProbes || lab.ndones != 1 {
		t.Errorf("the probes ended %v times; %+v, done %d times", finals[1:], c, lab.ndones)
	}
	counted := lab.Stray()
	for o := range stats.Outcomes {
		if o != stats.Timeout {
			counted += c.Of[o]
		}
	}
	if counted > delivered || counted < delivered-tp.errors || c.Of[stats.SendError] != 0 || c.Of[stats.LocalDrop] != 0 {
		t.Errorf("%+v and %d stray of %d packets, %d of them perhaps errors", c, lab.Stray(), delivered, tp.errors)
	}
	target := lab.Target(0).Counts()
	if target.Of[stats.Forged] = c.Of[stats.Forged]; target != c {
		t.Errorf("the target has %+v, all have %+v", target, c)
	}
	return c
}
