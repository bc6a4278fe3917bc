package limit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"iomux/apps/echo/responder/limit"
)

const ms = time.Millisecond

var (
	a = netip.MustParseAddr("192.0.2.1")
	b = netip.MustParseAddr("192.0.2.2")
)

func TestABucketHoldsABurstAndFillsAtTheRate(t *testing.T) {
	l := limit.New(10, 3)
	for _, c := range []struct {
		at        time.Duration
		from      netip.Addr
		ask, want int
	}{
		{0, a, 2, 2}, {0, a, 2, 1}, {0, a, 1, 0}, {0, b, 5, 3},
		{99 * ms, a, 1, 0}, {100 * ms, a, 1, 1}, {100 * ms, a, 1, 0},
		{310 * ms, a, 9, 2}, {399 * ms, a, 1, 0}, {400 * ms, a, 1, 1},
		{time.Hour, a, 9, 3}, {time.Hour, b, 3, 3},
		{time.Minute, a, 1, 0}, // a loop whose clock is behind
		{time.Hour + 100*ms, a, 0, 0}, {time.Hour + 100*ms, a, 2, 1},
	} {
		if got := l.Take(c.from, c.ask, c.at); got != c.want {
			t.Errorf("at %v %v takes %d of %d, want %d", c.at, c.from, got, c.ask, c.want)
		}
	}
}

func TestWhatIsGivenBackCanBeTakenAgain(t *testing.T) {
	l := limit.New(10, 3)
	l.Take(a, 3, 0)
	l.Give(a, 2, 0)
	l.Give(b, 2, 0) // who has taken nothing
	if n := l.Take(a, 3, 0); n != 2 {
		t.Errorf("%d, want 2", n)
	}
	if n := l.Take(b, 9, 0); n != 3 {
		t.Errorf("%d, want 3", n)
	}
	l.Give(a, 3, time.Second) // much later, when the bucket is full anyway
	if n := l.Take(a, 9, time.Second); n != 3 {
		t.Errorf("%d, want 3", n)
	}
}

func TestWhoIsASource(t *testing.T) {
	for _, c := range []struct {
		one, other string
		same       bool
	}{
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"::1", "::2", true},
		{"0.0.0.1", "::1", false},
		{"192.0.2.1", "::192.0.2.1", false},
	} {
		l := limit.New(1, 1)
		one, other := netip.MustParseAddr(c.one), netip.MustParseAddr(c.other)
		if l.Take(one, 1, 0) != 1 || l.Take(one, 1, 0) != 0 {
			t.Errorf("%v is not limited", one)
		}
		if same := l.Take(other, 1, 0) == 0; same != c.same {
			t.Errorf("%v and %v: the same %v, want %v", one, other, same, c.same)
		}
	}
	l := limit.New(1, 1)
	if l.Take(netip.Addr{}, 2, 0) != 1 || l.Take(netip.Addr{}, 1, 0) != 0 {
		t.Error("the zero Addr is not limited")
	}
}

func TestNoLimit(t *testing.T) {
	for _, rate := range []int{0, -1} {
		l := limit.New(rate, 5)
		if n := l.Take(a, 1<<30, 0); n != 1<<30 {
			t.Errorf("rate %d: %d", rate, n)
		}
		l.Give(a, 1, 0)
	}
}

func TestExtremes(t *testing.T) {
	for _, c := range []struct{ rate, burst, want int }{
		{1, 0, 1}, {1, -5, 1}, {1, math.MaxInt, 1 << 30}, {1e9, 1, 1}, {math.MaxInt, math.MaxInt, 1 << 30}, {3, 2, 2},
	} {
		l := limit.New(c.rate, c.burst)
		if n := l.Take(a, 1<<30, time.Hour); n != c.want && (c.want < 1<<30 || n < 1e9) {
			t.Errorf("rate %d, burst %d: %d, want %d", c.rate, c.burst, n, c.want)
		}
	}
	// A rate that is no whole number of nanoseconds is not exceeded.
	l := limit.New(3, 1)
	n := 0
	for at := time.Duration(0); at < 1000*time.Second; at += ms / 3 {
		n += l.Take(a, 1, at)
	}
	if n > 3000 || n < 2990 {
		t.Errorf("%d in 1,000 s at 3 a second", n)
	}
}

// However many others there are and whatever is forgotten, nobody gets more than he
// should; and with buckets that are soon full again, nobody gets less.
func TestAFloodChangesNothingForOthers(t *testing.T) {
	for _, c := range []struct {
		rate, burst int
		exact       bool
	}{{1000, 10, true}, {1, 1, false}} {
		l := limit.New(c.rate, c.burst)
		luck := rand.New(rand.NewPCG(1, 2))
		got := 0
		const seconds = 2
		for i := range 1_000_000 {
			now := time.Duration(i) * seconds * time.Second / 1_000_000
			l.Take(netip.AddrFrom4([4]byte{10, byte(luck.Uint32()), byte(luck.Uint32()), byte(luck.Uint32())}), 1, now)
			if i%100 == 0 { // 5,000 a second
				got += l.Take(a, 1, now)
			}
		}
		most := c.rate*seconds + c.burst
		if got > most || c.exact && got < most-1 {
			t.Errorf("rate %d: %d of %d", c.rate, got, most)
		}
	}
}

func TestMemoryIsFixed(t *testing.T) {
	l := limit.New(1, 1)
	if n := testing.AllocsPerRun(5, func() {
		for i := range 100_000 {
			source := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			l.Take(source, 1, time.Duration(i))
			l.Give(source, 1, time.Duration(i))
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Loops together get what one would.
func TestSeveralLoops(t *testing.T) {
	const loops, tries, burst = 4, 20_000, 1000
	l := limit.New(1, burst)
	var got atomic.Int64
	var all sync.WaitGroup
	for range loops {
		all.Go(func() {
			for i := range tries {
				n := l.Take(a, 1, 0)
				if i%3 == 0 && n == 1 {
					l.Give(a, 1, 0)
					n = 0
				}
				got.Add(int64(n))
				runtime.Gosched()
			}
		})
	}
	all.Wait()
	if got.Load() != burst {
		t.Errorf("%d, want %d", got.Load(), burst)
	}
}

func Example() {
	l := limit.New(1000, 2)
	source := netip.MustParseAddr("192.0.2.1")
	fmt.Println(l.Take(source, 3, 0))
	fmt.Println(l.Take(source, 1, 0))
	fmt.Println(l.Take(source, 3, time.Millisecond))
	// Output:
	// 2
	// 0
	// 1
}

func BenchmarkTake(b *testing.B) {
	l := limit.New(1000, 1000)
	b.ReportAllocs()
	for i := range b.N {
		l.Take(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1, time.Duration(i))
	}
}
