package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"
)

func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(histogram{}); n != 512 {
		t.Errorf("a histogram takes %d bytes, want 512", n)
	}
	want := uintptr(168)
	if unsafe.Alignof(Target{}) == 4 { // 386 aligns 64-bit numbers to 4 bytes
		want = 164
	}
	if n := unsafe.Sizeof(Target{}); n != want {
		t.Errorf("a Target takes %d bytes, want %d", n, want)
	}
	if n := NewTotal().hist.ByteSize(); n < 265_000 || n > 275_000 {
		t.Errorf("a Total takes %d bytes, want 270 kB", n)
	}
}

func TestBucketsAreWithinASeventeenth(t *testing.T) {
	near := func(m, exact time.Duration) bool { return 17*(m-exact).Abs() <= exact }
	next := time.Duration(256)
	for i := range octaves * steps {
		width := time.Duration(1) << (i/steps + shortest - stepBits)
		low, high := next, next+width-1
		next += width
		for _, edge := range []time.Duration{low, low + width/2, high} {
			if got := bucket(edge); int(got) != i {
				t.Fatalf("%d is in bucket %d, want %d", edge, got, i)
			}
			if m := middle(i); m < low || m > high || !near(m, edge) {
				t.Errorf("%d stands for %d", m, edge)
			}
		}
	}
	if next != 1<<40 {
		t.Errorf("the last bucket ends at %d", next)
	}
	for rtt, want := range map[time.Duration]uint8{
		math.MinInt64: 0, -1: 0, 0: 0, 255: 0, 256: 0, 287: 0, 288: 1,
		1<<40 - 1: 255, 1 << 40: 255, time.Hour: 255, math.MaxInt64: 255,
	} {
		if got := bucket(rtt); got != want {
			t.Errorf("%d is in bucket %d, want %d", rtt, got, want)
		}
	}
}

func TestRank(t *testing.T) {
	for _, c := range []struct{ thousandths, n, want uint64 }{
		{500, 1, 1}, {500, 2, 1}, {500, 3, 2}, {900, 10, 9}, {900, 11, 10},
		{990, 100, 99}, {990, 101, 100}, {999, 999, 999}, {999, 1000, 999}, {999, 1001, 1000},
		{999, math.MaxUint64, math.MaxUint64 - math.MaxUint64/1000},
	} {
		if got := rank(c.thousandths, c.n); got != c.want {
			t.Errorf("rank(%d, %d) = %d, want %d", c.thousandths, c.n, got, c.want)
		}
	}
}

func TestCounterIsExactUpTo2048(t *testing.T) {
	var c counter
	for n := uint64(1); n <= 2048; n++ {
		if c.advance(math.MaxUint64); c.value() != n {
			t.Fatalf("%d advances count as %d", n, c.value())
		}
	}
	if c.advance(1); c.value() != 2048 {
		t.Errorf("an odd number advances to %d", c.value())
	}
	if c.advance(2); c.value() != 2050 {
		t.Errorf("an even number advances to %d", c.value())
	}
	c = 1<<16 - 1
	if c.advance(0); c != 1<<16-1 || c.value() != 4095<<31-2048 {
		t.Errorf("the end is %d, %d", c, c.value())
	}
}

// The variance grows by step - 1 with each event; the events at a counter's value
// are as many as its step.
func TestCounterDeviation(t *testing.T) {
	var variance, worst float64
	for c := counter(0); c < 1<<16-1; c++ {
		if v := float64(c.value()); v > 0 {
			worst = max(worst, math.Sqrt(variance)/v)
		}
		step := float64((c + 1).value() - c.value())
		variance += step * (step - 1)
	}
	if worst > math.Sqrt(3.0/(1<<14)) || worst < 0.0135 {
		t.Errorf("the relative standard deviation reaches %v", worst)
	}

	// Near a maximum of it, with the numbers that a Target takes.
	const counters, events = 1000, 41_642
	var sum, squares float64
	for i := range uint64(counters) {
		var c counter
		for n := range uint64(events) {
			c.advance(scramble(i<<32 + n))
		}
		e := float64(c.value())/events - 1
		sum += e
		squares += e * e
	}
	mean, deviation := sum/counters, math.Sqrt(squares/counters)
	if math.Abs(mean) > 4*0.0133/math.Sqrt(counters) || deviation < 0.0125 || deviation > 0.014 {
		t.Errorf("%d counters are off by %v in the mean, by %v as standard deviation", counters, mean, deviation)
	}
}

// The first numbers of SplitMix64 with the seed 0.
func TestScrambleIsSplitMix64(t *testing.T) {
	for i, want := range []uint64{0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f} {
		if got := scramble(uint64(i) + 1); got != want {
			t.Errorf("scramble(%d) = %#x, want %#x", i+1, got, want)
		}
	}
}

// distributions make round-trip times.
var distributions = map[string]func(*rand.Rand) time.Duration{
	"constant":  func(*rand.Rand) time.Duration { return 12_345_678 },
	"uniform":   func(r *rand.Rand) time.Duration { return time.Millisecond + time.Duration(r.Int64N(1e8)) },
	"few":       func(r *rand.Rand) time.Duration { return time.Duration(1+r.IntN(5)) * time.Millisecond },
	"one in 50": func(r *rand.Rand) time.Duration { return time.Duration(1+r.IntN(50)/49*99) * time.Millisecond },
	"exponential": func(r *rand.Rand) time.Duration {
		return 20*time.Microsecond + time.Duration(r.ExpFloat64()*1e6)
	},
	"bimodal": func(r *rand.Rand) time.Duration {
		t := 1e6 + r.NormFloat64()*5e4
		if r.IntN(20) == 0 {
			t += 2e8
		}
		return time.Duration(t)
	},
	"1us to 1000s": func(r *rand.Rand) time.Duration {
		return time.Duration(1e3 * math.Pow(1e9, r.Float64()))
	},
}

func TestQuantilesAreThoseOfNearestRank(t *testing.T) {
	for name, draw := range distributions {
		for _, n := range []int{1, 2, 3, 9, 10, 11, 100, 101, 999, 1000, 1001, 2048, 200_000} {
			r := rand.New(rand.NewPCG(uint64(n), 7))
			var target Target
			total := NewTotal()
			times := make([]time.Duration, n)
			for i := range times {
				times[i] = draw(r)
				total.Answer(Reply, times[i], target.Answer(Reply, times[i]))
			}
			slices.Sort(times)
			at := func(share float64) time.Duration {
				return times[min(max(int(math.Ceil(share*float64(n)-1e-6)), 1), n)-1]
			}

			a, b := target.Summary(), total.Summary()
			for i, pair := range [][2]time.Duration{{a.P50, b.P50}, {a.P90, b.P90}, {a.P99, b.P99}, {a.P999, b.P999}} {
				q := float64(quantiles[i]) / 1000
				exact := at(q)
				if got := pair[1]; float64((got - exact).Abs()) >= float64(exact)/1000 {
					t.Errorf("%s, %d times: p%v of a Total is %v, want %v", name, n, 100*q, got, exact)
				}
				slack := 0.0 // of the rank, once counters are not exact
				if n > 2048 {
					slack = 0.06 * q * (1 - q)
				}
				low, high := at(q-slack), at(q+slack)
				if got := pair[0]; 17*got < 16*low || 17*got > 18*high || got < times[0] || got > times[n-1] {
					t.Errorf("%s, %d times: p%v of a Target is %v, want %v to %v", name, n, 100*q, got, low, high)
				}
			}
		}
	}
}

// What the buckets cannot hold goes to the ends, and stays within Min and Max.
func TestQuantilesOutOfRange(t *testing.T) {
	for _, c := range []struct{ short, long time.Duration }{{0, 1}, {0, 200}, {2 * time.Hour, 3 * time.Hour}, {0, 3 * time.Hour}, {0, math.MaxInt64}} {
		var target Target
		total := NewTotal()
		for range 10 {
			total.Answer(Reply, c.short, target.Answer(Reply, c.short))
			total.Answer(Reply, c.long, target.Answer(Reply, c.long))
		}
		for _, s := range []Summary{target.Summary(), total.Summary()} {
			if s.P50 < c.short || s.P50 > s.P90 || s.P90 > s.P99 || s.P99 > s.P999 || s.P999 > c.long {
				t.Errorf("%v and %v: %+v", c.short, c.long, s)
			}
			if c.long >= time.Hour && s.P90 < 17*time.Minute {
				t.Errorf("%v and %v: p90 is %v; the long ones are lost", c.short, c.long, s.P90)
			}
		}
	}
}

// The rank that the library takes from a percentage is the nearest one, also among
// very many times.
func TestRanksOfATotal(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 7, 99, 101, 999, 1001, 1234567, 1e9 + 7, 1e12 + 39, 1e14 + 31} {
		for i, q := range quantiles {
			for below, want := range map[uint64]bool{rank(q, n): true, rank(q, n) - 1: false} {
				total := NewTotal()
				total.times.n, total.times.min, total.times.max = n, 1, 1000
				total.hist.RecordValues(1, int64(below))
				total.hist.RecordValues(1000, int64(n-below))
				s := total.Summary()
				if got := [...]time.Duration{s.P50, s.P90, s.P99, s.P999}[i]; (got == 1) != want {
					t.Errorf("%d of %d times are 1 ns, the quantile of %d thousandths is %d", below, n, q, got)
				}
			}
		}
	}
}
