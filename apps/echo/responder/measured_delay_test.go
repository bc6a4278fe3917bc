package responder_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"iomux/apps/echo/responder"
	"iomux/apps/echo/responder/internal/outside"
	"iomux/apps/echo/responder/rules"
	"iomux/codec"
	"iomux/transport"
)

// delayCase is a rule, and what it says of delays: the probability that one is at most x
// nanoseconds.
type delayCase struct {
	rule string
	at   func(x float64) float64
}

const milli = float64(time.Millisecond)

func uniformAt(a, b float64) func(float64) float64 {
	return func(x float64) float64 { return min(max((x-a)/(b-a), 0), 1) }
}

// normalAt counts what is below 0 as 0.
func normalAt(mean, deviation float64) func(float64) float64 {
	return func(x float64) float64 {
		if x < 0 {
			return 0
		}
		return math.Erfc((mean-x)/deviation/math.Sqrt2) / 2
	}
}

// paretoAt counts what is above b as b.
func paretoAt(a, shape, b float64) func(float64) float64 {
	return func(x float64) float64 {
		switch {
		case x < a:
			return 0
		case x >= b:
			return 1
		}
		return 1 - math.Pow(a/x, shape)
	}
}

// jittered is what is added to evenly from -j to +j.
func jittered(at func(float64) float64, j float64) func(float64) float64 {
	return func(x float64) float64 {
		if x < 0 {
			return 0
		}
		const steps = 100
		sum := 0.0
		for i := range steps {
			sum += at(x - j + (float64(i)+0.5)*2*j/steps)
		}
		return sum / steps
	}
}

// reordered is what is longer by so much with a probability.
func reordered(at func(float64) float64, p, by float64) func(float64) float64 {
	return func(x float64) float64 { return (1-p)*at(x) + p*at(x-by) }
}

func constantAt(a float64) func(float64) float64 {
	return func(x float64) float64 {
		if x < a {
			return 0
		}
		return 1
	}
}

var delayCases = []delayCase{
	{"delay: 2ms", constantAt(2 * milli)},
	{"delay: 2ms, jitter: 500us", uniformAt(1.5*milli, 2.5*milli)},
	{"delay: 'uniform:1ms,4ms'", uniformAt(1*milli, 4*milli)},
	{"delay: 'uniform:1ms,4ms', jitter: 1ms", jittered(uniformAt(1*milli, 4*milli), 1*milli)},
	{"delay: 'normal:3ms,500us'", normalAt(3*milli, 0.5*milli)},
	{"delay: 'normal:1ms,1ms'", normalAt(1*milli, 1*milli)},
	{"delay: 'normal:3ms,500us', jitter: 2ms", jittered(normalAt(3*milli, 0.5*milli), 2*milli)},
	{"delay: 'pareto:1ms,2.5,20ms'", paretoAt(1*milli, 2.5, 20*milli)},
	{"delay: 'pareto:1ms,1.2,5ms', jitter: 200us", jittered(paretoAt(1*milli, 1.2, 5*milli), 0.2*milli)},
	{"reorder: {probability: 5%, by: 3ms}", reordered(constantAt(0), 0.05, 3*milli)},
	{"delay: 'uniform:1ms,2ms', reorder: {probability: 10%, by: 3ms}", reordered(uniformAt(1*milli, 2*milli), 0.1, 3*milli)},
}

// TestDelaysInSimulatedTime has answers come out to the nanosecond when that was
// decided, and looks at how the delays are spread.
func TestDelaysInSimulatedTime(t *testing.T) {
	for _, c := range delayCases {
		t.Run(c.rule, func(t *testing.T) {
			list := "{" + c.rule + "}"
			oracle := set(t, list).NewDecider(0)
			n := min(*measuredN, 1<<20)
			const gap, burst = 20 * time.Microsecond, 4 // so many come at once
			w := &wire{size: 64, quiet: true}
			delays, sent := make([]time.Duration, n), make([]bool, n)
			decided := make([]time.Duration, n)
			early := 0
			w.onSend = func(m *transport.Message) error {
				b := m.Bytes()
				i := int(binary.BigEndian.Uint32(b[codec.EchoHeaderLen:]))
				if sent[i] {
					t.Errorf("request %d is answered twice", i)
				}
				delays[i], sent[i] = w.mux.Clock().Sub(start)-time.Duration(i/burst)*gap, true
				if delays[i] != decided[i] {
					if early++; early <= 5 {
						t.Errorf("request %d is answered after %v, and %v was decided", i, delays[i], decided[i])
					}
				}
				return nil
			}
			lab := newLab(t, w, responder.Config{Policy: policy(t, list)})
			var arrive func(i int)
			arrive = func(i int) {
				w.queue = w.queue[:0]
				for ; i < n && len(w.queue) < burst; i++ {
					data := append(binary.BigEndian.AppendUint32(nil, uint32(i)), "x"+c.rule...) // so that each case has luck of its own
					e := codec.Echo{Type: codec.EchoRequest, ID: uint16(i >> 16), Seq: uint16(i), Data: data}
					w.queue = append(w.queue, message(peerA, encode(e)))
					d := oracle.Decide(&rules.Packet{From: peerA, To: local, ID: e.ID, Seq: e.Seq, Data: data}, 0)
					decided[i] = d.Delay
				}
				if i < n {
					w.at(time.Duration(i/burst)*gap, func() { arrive(i) })
				}
			}
			w.at(0, func() { arrive(0) })
			lab.run(time.Duration(n)*gap + time.Hour)
			if all := lab.Stats(); all.Answered != uint64(n) || all.Queued != 0 {
				t.Fatalf("%+v, want %d answered", all, n)
			}
			spread(t, delays, c.at)
		})
	}
}

// spread reports delays that are not spread as they should be, by the statistic of
// Kolmogorov and Smirnov, by quantiles and by the mean.
func spread(t *testing.T, delays []time.Duration, at func(float64) float64) {
	t.Helper()
	delays = slices.Clone(delays)
	slices.Sort(delays)
	n := float64(len(delays))
	longest := float64(delays[len(delays)-1])
	if delays[0] == delays[len(delays)-1] {
		if at(longest) != 1 || at(longest-1) != 0 {
			t.Errorf("all delays are %v", delays[0])
		}
		return
	}
	// Each of them is looked at if they are few, and otherwise some.
	far := 0.0
	step := max(len(delays)/5000, 1)
	for i := 0; i < len(delays); i += step {
		x := delays[i]
		first, _ := slices.BinarySearch(delays, x)
		next, _ := slices.BinarySearch(delays, x+1)
		far = max(far, math.Abs(float64(next)/n-at(float64(x))), math.Abs(float64(first)/n-at(float64(x)-1)))
	}
	// Beyond 1.95 it would be one time in a thousand.
	statistic := far * math.Sqrt(n)
	if statistic > 1.95 {
		t.Errorf("the delays are spread otherwise: D = %.5f, times the root of %v: %.2f", far, n, statistic)
	}
	for _, x := range []float64{0.5, 1, 1.5, 1.75, 2, 2.5, 3, 3.5, 4} {
		asked := at(x * milli)
		if asked*(1-asked)*n < 10 {
			continue
		}
		hits, _ := slices.BinarySearch(delays, time.Duration(x*milli)+1)
		near(t, fmt.Sprint("up to ", time.Duration(x*milli)), hits, len(delays), asked)
	}
	// The mean of what is spread like that, and its square, by what is not above x.
	var mean, square, sum float64
	const steps = 20_000
	most := longest * 1.5
	for i := range steps {
		x := (float64(i) + 0.5) * most / steps
		above := (1 - at(x)) * most / steps
		mean += above
		square += 2 * x * above
	}
	for _, d := range delays {
		sum += float64(d)
	}
	errors := (sum/n - mean) / (math.Sqrt(square-mean*mean) / math.Sqrt(n))
	t.Logf("D*sqrt(n) = %.2f; the mean is %v, %+.2f standard errors from %v", statistic, time.Duration(sum/n), errors, time.Duration(mean))
	if !(math.Abs(errors) <= 3) {
		t.Errorf("the mean is %v, which is %+.2f standard errors from %v", time.Duration(sum/n), errors, time.Duration(mean))
	}
}

// lateness asks for delayed answers and returns by how much each was later than it was
// decided, as the kernel has stamped request and answer, in order.
func lateness(t testing.TB, p outside.Place, n int, list ...string) []time.Duration {
	t.Helper()
	set := outside.Rules(t, measuredSeed, list...)
	s := outside.New(t, outside.Config{Place: p, Rules: set, Requests: true})
	oracle := set.NewDecider(1 << 18)
	type asked struct {
		decided        time.Duration
		sent, received time.Time // the first by the program's clock
		answered       bool
	}
	var now map[uint32]*asked
	var all time.Time // when all requests of now had been sent
	var late []time.Duration
	skew := wall()
	var early []string
	got := func(a *outside.Answer) {
		x := now[a.Number]
		if a.Request {
			x.received = a.Time
			return
		}
		// The clock is looked at after the answer has come, and was before its request was
		// sent.
		if by := time.Since(x.sent) - x.decided; by < 0 {
			t.Fatalf("the answer to request %d comes %v early, %v was decided", a.Number, -by, x.decided)
		}
		by := a.Time.Sub(x.received) - x.decided
		x.answered = true
		// Until the kernel has begun to stamp what arrives, which it does some time
		// after it was asked to, a stamp is of when the request was read.
		if x.received.After(all) {
			return
		}
		if by < 0 {
			early = append(early, fmt.Sprintf("the answer to request %d comes %v early by the kernel's stamps, %v was decided", a.Number, -by, x.decided))
		}
		late = append(late, by)
	}
	const window = 32
	for i := 0; i < n; i += window {
		now = make(map[uint32]*asked)
		var rs []outside.Request
		for k := i; k < min(n, i+window); k++ {
			r := outside.Request{To: s.Address(k%len(list), k), Number: uint32(k), Data: []byte("late")}
			d := oracle.Decide(s.Packet(r), 0)
			now[r.Number] = &asked{decided: d.Delay}
			rs = append(rs, r)
		}
		before := time.Now()
		for _, x := range now {
			x.sent = before
		}
		s.Ask(rs...)
		all = time.Now()
		s.Settle(got)
		for number, x := range now {
			if !x.answered || x.received.IsZero() {
				t.Fatalf("request %d: %+v", number, *x)
			}
		}
	}
	if moved := wall() - skew; moved.Abs() > 100*time.Microsecond {
		t.Logf("the wall clock was set meanwhile, by %v, so that stamps of the kernel say little", moved)
	} else {
		for _, e := range early {
			t.Error(e)
		}
	}
	switch {
	case len(late) == 0:
		t.Fatal("no request was stamped when it arrived")
	case len(late) < n:
		t.Logf("%d of %d requests were stamped when they arrived", len(late), n)
	}
	s.Close()
	slices.Sort(late)
	return late
}

// wall is how far the wall clock is ahead of the monotonic one, which began with the
// program.
func wall() time.Duration {
	var all []time.Duration
	for range 15 {
		now := time.Now()
		all = append(all, time.Duration(now.UnixNano())-now.Sub(programStart))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

var programStart = time.Now()

// TestNeverEarly holds answers on real clocks: none comes before what was decided has
// passed since its request was received. How late they come is only told.
func TestNeverEarly(t *testing.T) {
	var list []string
	for _, c := range delayCases {
		list = append(list, c.rule)
	}
	inPlaces(t, func(t *testing.T, p outside.Place) {
		late := lateness(t, p, min(*measuredN, 2000), list...)
		at := func(share float64) time.Duration { return late[int(share*float64(len(late)-1))] }
		t.Logf("late by %v at least, %v in the median, %v in 90 of 100, %v at most", at(0), at(0.5), at(0.9), at(1))
	})
}

// BenchmarkLateness tells by how much answers are later than was decided, from the
// request to the answer as the kernel stamps them, in nanoseconds.
func BenchmarkLateness(b *testing.B) {
	for _, p := range outside.Places {
		b.Run(p.Name, func(b *testing.B) {
			late := lateness(b, p, b.N, "delay: 'uniform:500us,1500us'")
			b.ReportMetric(float64(late[len(late)/2]), "ns-late/median")
			b.ReportMetric(float64(late[len(late)*99/100]), "ns-late/p99")
		})
	}
}
