package targets_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-multierror"

	"iomux/apps/echo/prober/targets"
)

// list returns the list of specs with blanks between them; those that begin with a
// ! are excluded.
func list(t testing.TB, specs string) *targets.List {
	t.Helper()
	l, err := build(t, specs).List()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func build(t testing.TB, specs string) *targets.Builder {
	t.Helper()
	var b targets.Builder
	for _, spec := range strings.Fields(specs) {
		add := b.Add
		if without, ok := strings.CutPrefix(spec, "!"); ok {
			spec, add = without, b.Exclude
		}
		if err := add(spec); err != nil {
			t.Fatal(err)
		}
	}
	return &b
}

func all(l *targets.List) string {
	var texts []string
	for i := range l.Len() {
		texts = append(texts, l.At(i).String())
	}
	return strings.Join(texts, " ")
}

func TestTargetsComeInTheOrderOfBeingAdded(t *testing.T) {
	for _, c := range []struct {
		specs, want string
		counts      targets.Counts
	}{
		{"192.0.2.7", "192.0.2.7", targets.Counts{IPv4: 1}},
		{"b 10.0.0.2-3 ::5 a 10.0.0.0", "b 10.0.0.2 10.0.0.3 ::5 a 10.0.0.0",
			targets.Counts{IPv4: 3, IPv6: 1, Names: 2}},
		{"fe80::2%b fe80::2%a fe80::2 fe80::1%b", "fe80::2%b fe80::2%a fe80::2 fe80::1%b", targets.Counts{IPv6: 4}},
		// What is added again stays where it was.
		{"10.0.0.2 10.0.0.0-3 10.0.0.2", "10.0.0.2 10.0.0.0 10.0.0.1 10.0.0.3",
			targets.Counts{IPv4: 4, Duplicates: 2}},
		{"Host.example. a HOST.example A.", "Host.example. a", targets.Counts{Names: 2, Duplicates: 2}},
		{"fe80::1%a fe80::1%a", "fe80::1%a", targets.Counts{IPv6: 1, Duplicates: 1}},
		{"10.0.0.1 ::ffff:10.0.0.1", "10.0.0.1", targets.Counts{IPv4: 1, Duplicates: 1}},
		// Neighbours are one block only if nothing comes between them.
		{"10.0.0.1 10.0.0.2 a 10.0.0.3 ::1 10.0.0.4", "10.0.0.1 10.0.0.2 a 10.0.0.3 ::1 10.0.0.4",
			targets.Counts{IPv4: 4, IPv6: 1, Names: 1}},
		// The highest addresses have none after them.
		{"255.255.255.254-255 0.0.0.0 255.255.255.255", "255.255.255.254 255.255.255.255 0.0.0.0",
			targets.Counts{IPv4: 3, Duplicates: 1}},
		{"255.255.255.255 255.255.255.253-255 0.0.0.1", "255.255.255.255 255.255.255.253 255.255.255.254 0.0.0.1",
			targets.Counts{IPv4: 4, Duplicates: 1}},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff :: ::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff :: ::1",
			targets.Counts{IPv6: 3}},
		// Excludes hold for what was added before and after.
		{"10.0.0.0-3 !10.0.0.1-2 10.0.0.2", "10.0.0.0 10.0.0.3", targets.Counts{IPv4: 2, Duplicates: 1, Excluded: 2}},
		{"10.0.0.0-9 !10.0.0.2 !10.0.0.5-7 !10.0.0.6 !10.0.0.9-20", "10.0.0.0 10.0.0.1 10.0.0.3 10.0.0.4 10.0.0.8",
			targets.Counts{IPv4: 5, Excluded: 5}},
		{"255.255.255.250/29 !255.255.255.249-255", "255.255.255.248", targets.Counts{IPv4: 1, Excluded: 7}},
		{"10.0.0.1 ::1 fe80::1%a a !::/0", "10.0.0.1 a", targets.Counts{IPv4: 1, Names: 1, Excluded: 2}},
		{"10.0.0.1 ::1 !0.0.0.0/0", "::1", targets.Counts{IPv6: 1, Excluded: 1}},
		{"fe80::1%a fe80::1%b fe80::1 !fe80::1%a", "fe80::1%b fe80::1", targets.Counts{IPv6: 2, Excluded: 1}},
		{"fe80::1%a fe80::2%b !fe80::1", "fe80::2%b", targets.Counts{IPv6: 1, Excluded: 1}},
		{"a b !A.", "b", targets.Counts{Names: 1, Excluded: 1}},
		// More are counted than there can be.
		{"::1 2000::/66 2000::/66 2000:0:0:1::/66 2000:0:0:2::/66 2000:0:0:3::/66 2000:0:0:4::/66 !2000::/16", "::1",
			targets.Counts{IPv6: 1, Duplicates: 1 << 62, Excluded: math.MaxUint64}},
	} {
		l := list(t, c.specs)
		if got := all(l); got != c.want {
			t.Errorf("%s: %s, want %s", c.specs, got, c.want)
		}
		if l.Counts() != c.counts {
			t.Errorf("%s: %+v, want %+v", c.specs, l.Counts(), c.counts)
		}
	}
}

func TestTooManyTargets(t *testing.T) {
	var b targets.Builder
	for _, c := range []struct{ spec, want string }{
		{"2001:db8::/32", `target "2001:db8::/32": it has 2^96 addresses and there can be 2^63-1 targets; write a block of /66 or longer, or a shorter range`},
		{"::/0", `target "::/0": it has 2^128 addresses and there can be 2^63-1 targets; write a block of /66 or longer, or a shorter range`},
		{"2001::-2001::7fff:ffff:ffff:ffff", `target "2001::-2001::7fff:ffff:ffff:ffff": it has 2^63 addresses and there can be 2^63-1 targets; write a block of /66 or longer, or a shorter range`},
		{"2001::-2001::8000:0:0:0", `target "2001::-2001::8000:0:0:0": it has 9223372036854775809 addresses and there can be 2^63-1 targets; write a block of /66 or longer, or a shorter range`},
		{"::ffff:0:0/90", `target "::ffff:0:0/90": it has IPv4 addresses mapped into IPv6, ::ffff:0:0/96, and others; write the IPv4 addresses by themselves`},
		{"::fffe:ffff:ffff-::ffff:0:0", `target "::fffe:ffff:ffff-::ffff:0:0": it has IPv4 addresses mapped into IPv6, ::ffff:0:0/96, and others; write the IPv4 addresses by themselves`},
		{"::ffff:ffff:ffff-::1:0:0:0", `target "::ffff:ffff:ffff-::1:0:0:0": it has IPv4 addresses mapped into IPv6, ::ffff:0:0/96, and others; write the IPv4 addresses by themselves`},
	} {
		if err := b.Add(c.spec); err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	if _, err := b.List(); err == nil {
		t.Error("what was refused was added")
	}

	l := list(t, "2001::-2001::7fff:ffff:ffff:fffe")
	if l.Len() != math.MaxInt64 {
		t.Errorf("Len = %d", l.Len())
	}
	last := l.At(math.MaxInt64 - 1).Addr
	if i, ok := l.Index(last); last.String() != "2001::7fff:ffff:ffff:fffe" || !ok || i != math.MaxInt64-1 {
		t.Errorf("At = %s, Index = %d, %v", last, i, ok)
	}
	s := l.Shuffle(1)
	if i, ok := s.Index(s.At(123).Addr); !ok || i != 123 {
		t.Errorf("Index = %d, %v", i, ok)
	}

	_, err := build(t, "2001::-2001::7fff:ffff:ffff:fffe 10.0.0.1").List()
	const want = "there are 2^63 targets and there can be 2^63-1; add smaller blocks or exclude more"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestNoTargetIsAnError(t *testing.T) {
	var none, files targets.Builder
	for _, name := range []string{"a.txt", "b.txt"} {
		if err := files.AddFile(name, strings.NewReader("# nothing\n")); err != nil {
			t.Fatal(err)
		}
	}
	const right = "add an address, a name, a block such as 192.0.2.0/24 or a range such as 192.0.2.10-20"
	for _, c := range []struct {
		b    *targets.Builder
		want string
	}{
		{&none, "there is no target; " + right},
		{&files, "there is no target in a.txt, b.txt; " + right},
		{build(t, "10.0.0.0/30 a !A !10.0.0.0/8"), "no target is left: all that were added, 5, are excluded; exclude less or add others"},
		{build(t, "10.0.0.0/30 !10.0.0.0/8"), "no target is left: all that were added, 4, are excluded; exclude less or add others"},
		{build(t, "0.0.0.0/0 !0.0.0.0/0"), "no target is left: all that were added, 2^32, are excluded; exclude less or add others"},
	} {
		if l, err := c.b.List(); l != nil || err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

func TestIndexOutOfRangePanics(t *testing.T) {
	l := list(t, "10.0.0.0/30")
	for _, l := range []*targets.List{l, l.Shuffle(1)} {
		for _, i := range []uint64{4, math.MaxUint64} {
			func() {
				defer func() {
					if want := fmt.Sprintf("targets: index out of range [%d] with length 4", i); recover() != want {
						t.Errorf("At(%d) did not panic with %q", i, want)
					}
				}()
				l.At(i)
			}()
		}
	}
}

func TestAllOfIPv4(t *testing.T) {
	l := list(t, "0.0.0.0/0 !10.0.0.0/8").Shuffle(7)
	if l.Len() != 1<<32-1<<24 {
		t.Fatalf("Len = %d", l.Len())
	}
	for i := uint64(0); i < l.Len(); i += 1e6 + 3 {
		a := l.At(i).Addr
		if back, ok := l.Index(a); !ok || back != i || a.As4()[0] == 10 {
			t.Fatalf("At(%d) = %s, Index = %d, %v", i, a, back, ok)
		}
	}
}

func TestIndexAndExcluded(t *testing.T) {
	l := list(t, "10.0.0.0/29 ::1 a fe80::1%b fe80::1%a !10.0.0.4 !fe80::2 !fe80::3%a")
	for _, c := range []struct {
		addr     string
		index    int // -1: none
		excluded bool
	}{
		{"10.0.0.0", 0, false}, {"10.0.0.3", 3, false}, {"10.0.0.5", 4, false}, {"10.0.0.7", 6, false},
		{"::1", 7, false}, {"fe80::1%b", 9, false}, {"fe80::1%a", 10, false}, {"::ffff:10.0.0.3", 3, false},
		{"10.0.0.4", -1, true}, {"::ffff:10.0.0.4", -1, true}, {"10.0.0.8", -1, false}, {"9.255.255.255", -1, false},
		{"::", -1, false}, {"::2", -1, false}, {"::1%a", -1, false}, {"1::1", -1, false},
		{"fe80::1", -1, false}, {"fe80::1%c", -1, false},
		{"fe80::2", -1, true}, {"fe80::2%x", -1, true}, {"fe80::3", -1, false}, {"fe80::3%a", -1, true},
	} {
		a := netip.MustParseAddr(c.addr)
		if i, ok := l.Index(a); ok != (c.index >= 0) || ok && i != uint64(c.index) || !ok && i != 0 {
			t.Errorf("Index(%s) = %d, %v, want %d", a, i, ok, c.index)
		}
		if l.Excluded(a) != c.excluded {
			t.Errorf("Excluded(%s) = %v", a, !c.excluded)
		}
	}
	if i, ok := l.Index(netip.Addr{}); ok || l.Excluded(netip.Addr{}) {
		t.Errorf("the zero address has index %d", i)
	}
}

func TestBuilderMayGoOn(t *testing.T) {
	b := build(t, "10.0.0.9 10.0.0.1 !a !fe80::1%a")
	first, err := b.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, add := range []error{b.Add("10.0.0.10"), b.Add("10.0.0.2"), b.Exclude("10.0.0.9"), b.Exclude("fe80::2%a")} {
		if add != nil {
			t.Fatal(add)
		}
	}
	second, err := b.List()
	if err != nil {
		t.Fatal(err)
	}
	if all(first) != "10.0.0.9 10.0.0.1" || all(second) != "10.0.0.1 10.0.0.10 10.0.0.2" ||
		first.Excluded(netip.MustParseAddr("fe80::2%a")) {
		t.Errorf("%s, then %s", all(first), all(second))
	}
}

func TestShuffle(t *testing.T) {
	l := list(t, "10.0.0.0/24 a ::/122")
	a, b := l.Shuffle(1), l.Shuffle(2)
	if all(a) == all(l) || all(a) == all(b) {
		t.Error("the order is not random")
	}
	if all(a) != all(l.Shuffle(1)) || all(b.Shuffle(1)) != all(a) {
		t.Error("a seed has several orders")
	}
	if a.Len() != l.Len() || a.Counts() != l.Counts() {
		t.Error("the targets are others")
	}
	for _, l := range []*targets.List{l, a, b, list(t, "a").Shuffle(3)} {
		isPermutation(t, l)
	}
}

func isPermutation(t *testing.T, l *targets.List) {
	t.Helper()
	seen := map[targets.Target]bool{}
	for i := range l.Len() {
		target := l.At(i)
		seen[target] = true
		if j, ok := l.Index(target.Addr); ok != target.Addr.IsValid() || ok && j != i {
			t.Fatalf("At(%d) = %v, Index = %d, %v", i, target, j, ok)
		}
	}
	if uint64(len(seen)) != l.Len() {
		t.Fatalf("%d of %d targets", len(seen), l.Len())
	}
}

// Every order of a few targets comes up about as often, and of many each is
// everywhere.
func TestShuffleIsEven(t *testing.T) {
	few := list(t, "a b c d")
	orders := map[string]int{}
	const seeds = 24_000
	for seed := range uint64(seeds) {
		orders[all(few.Shuffle(seed))]++
	}
	for order, n := range orders {
		if n < 800 || n > 1200 { // 1000 expected, deviation 31
			t.Errorf("%s: %d", order, n)
		}
	}
	if len(orders) != 24 {
		t.Errorf("%d orders of 24", len(orders))
	}

	many := list(t, "10.0.0.0-10.0.3.231") // 1000
	quarters := [4][4]int{}
	for seed := range uint64(100) {
		l := many.Shuffle(seed)
		for i := range l.Len() {
			from, _ := many.Index(l.At(i).Addr)
			quarters[i/250][from/250]++
		}
	}
	for _, row := range quarters {
		for _, n := range row {
			if n < 5900 || n > 6600 { // 6250 expected
				t.Errorf("of quarter to quarter: %v", quarters)
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	l := list(t, "10.0.0.0/8 a 2001:db8::/100 fe80::1%a !10.1.0.0/16 !fe80::9%a")
	for _, l := range []*targets.List{l, l.Shuffle(1)} {
		i := uint64(0)
		if n := testing.AllocsPerRun(1000, func() {
			a := l.At(i % l.Len()).Addr
			l.Index(a)
			l.Excluded(a)
			i += 12_345_677
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { l.Shuffle(1) }); n > 1 {
		t.Errorf("Shuffle: %v allocations", n)
	}
}

func TestListIsSafeForConcurrentUse(t *testing.T) {
	l := list(t, "10.0.0.0/24 a fe80::1%a !10.0.0.1 !fe80::9%a")
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			l := l.Shuffle(seed)
			for i := range l.Len() {
				a := l.At(i).Addr
				l.Index(a)
				l.Excluded(a)
			}
		})
	}
	wg.Wait()
}

// random returns lines of different IPv4 addresses in no order.
func random(n int) string {
	var text []byte
	for i := range uint32(n) {
		k := i * 2654435761 // odd, so each is different
		text = netip.AddrFrom4([4]byte{byte(k >> 24), byte(k >> 16), byte(k >> 8), byte(k)}).AppendTo(text)
		text = append(text, '\n')
	}
	return string(text)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A million addresses that are no neighbours take 16 bytes each, and a block takes
// nothing to speak of.
func TestMemory(t *testing.T) {
	const n = 1_000_000
	text := random(n)
	before := heap()
	l := func() *targets.List {
		var b targets.Builder
		if err := b.AddFile("random", strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		l, err := b.List()
		if err != nil {
			t.Fatal(err)
		}
		return l
	}()
	used := int64(heap() - before)
	t.Logf("%d bytes for %d targets", used, l.Len())
	if l.Len() != n || used > 16*n+128<<10 { // and what else the runtime does
		t.Errorf("%d targets take %d bytes", l.Len(), used)
	}
	runtime.KeepAlive(text)
	runtime.KeepAlive(l)

	before = heap()
	l = list(t, "10.0.0.0/8").Shuffle(1)
	if used := int64(heap() - before); used > 128<<10 {
		t.Errorf("a /8 takes %d bytes", used)
	}
	runtime.KeepAlive(l)
}

// FuzzList compares lists with a model that expands everything, over the few
// addresses and names that the specs of this test have.
func FuzzList(f *testing.F) {
	f.Add([]byte{0, 0, 15, 1, 3, 7, 0x80, 4, 5}, uint64(1))
	f.Add([]byte{2, 0, 15, 2, 4, 15, 3, 0, 9, 0x82, 3, 4, 0x83, 1, 2}, uint64(2))
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		ops := make([]byte, 3*(1+r.IntN(14)))
		for i := range ops {
			ops[i] = byte(r.UintN(256))
			if i%3 == 0 && r.UintN(3) > 0 {
				ops[i] &= 0x7f
			}
		}
		f.Add(ops, r.Uint64())
	}
	f.Fuzz(func(t *testing.T, ops []byte, seed uint64) {
		if len(ops) > 120 {
			return
		}
		var b targets.Builder
		var given []targets.Target
		excluded := map[targets.Target]bool{}
		for ; len(ops) >= 3; ops = ops[3:] {
			spec, meant := smallSpec(ops)
			if ops[0]&0x80 == 0 {
				if err := b.Add(spec); err != nil {
					t.Fatal(err)
				}
				given = append(given, meant...)
				continue
			}
			if err := b.Exclude(spec); err != nil {
				t.Fatal(err)
			}
			for _, m := range meant {
				excluded[m] = true
			}
		}
		isExcluded := func(m targets.Target) bool {
			return excluded[m] || excluded[targets.Target{Addr: m.Addr.WithZone(""), Name: m.Name}]
		}
		var want []targets.Target
		var counts targets.Counts
		seen := map[targets.Target]bool{}
		for _, m := range given {
			switch {
			case seen[m]:
				counts.Duplicates++
			case isExcluded(m):
				counts.Excluded++
			default:
				want = append(want, m)
				switch {
				case m.Name != "":
					counts.Names++
				case m.Addr.Is4():
					counts.IPv4++
				default:
					counts.IPv6++
				}
			}
			seen[m] = true
		}
		l, err := b.List()
		if len(want) == 0 {
			if err == nil {
				t.Fatalf("%s, want no target", all(l))
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var got []targets.Target
		for i := range l.Len() {
			got = append(got, l.At(i))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("\n%v, want\n%v", got, want)
		}
		if l.Counts() != counts {
			t.Fatalf("%+v, want %+v", l.Counts(), counts)
		}
		shuffled := l.Shuffle(seed)
		isPermutation(t, shuffled)
		for kind := range byte(5) {
			_, universe := smallSpec([]byte{kind, 0, 15})
			for _, m := range universe {
				if !m.Addr.IsValid() {
					continue
				}
				i, ok := l.Index(m.Addr)
				if k := slices.Index(want, m); ok != (k >= 0) || ok && i != uint64(k) {
					t.Fatalf("Index(%v) = %d, %v, want %d", m, i, ok, k)
				}
				j, ok := shuffled.Index(m.Addr)
				if ok != slices.Contains(want, m) || ok && shuffled.At(j) != m {
					t.Fatalf("shuffled: Index(%v) = %d, %v", m, j, ok)
				}
				if l.Excluded(m.Addr) != isExcluded(m) {
					t.Fatalf("Excluded(%v) = %v", m, !isExcluded(m))
				}
			}
		}
	})
}

// smallSpec returns the spec that three bytes stand for, and what it means: a range
// at the bottom or the top of a family, or one host.
func smallSpec(op []byte) (string, []targets.Target) {
	first, last := min(op[1]%16, op[2]%16), max(op[1]%16, op[2]%16)
	at := func(i byte) netip.Addr { return netip.AddrFrom4([4]byte{0, 0, 0, i}) }
	switch op[0] & 0x7f % 6 {
	case 1:
		at = func(i byte) netip.Addr { return netip.AddrFrom4([4]byte{255, 255, 255, 240 + i}) }
	case 2:
		at = func(i byte) netip.Addr { // across the middle of the 128 bits
			var b [16]byte
			binary.BigEndian.PutUint64(b[:], 0xfe80<<48+uint64(i/8))
			binary.BigEndian.PutUint64(b[8:], uint64(i)-8)
			return netip.AddrFrom16(b)
		}
	case 3:
		at = func(i byte) netip.Addr {
			var b [16]byte
			for k := range b {
				b[k] = 255
			}
			b[15] -= 15 - i
			return netip.AddrFrom16(b)
		}
	case 4:
		a := netip.AddrFrom16([16]byte{0xfe, 0x80, 8: 0xff, 9: 0xff, 10: 0xff, 11: 0xff, 12: 0xff, 13: 0xff, 14: 0xff, 15: 0xf8 + first%8})
		a = a.WithZone(string('a' + rune(last%2)))
		return a.String(), []targets.Target{{Addr: a}}
	case 5:
		name := string('g' + rune(first))
		return name, []targets.Target{{Name: name}}
	}
	var meant []targets.Target
	for i := first; i <= last; i++ {
		meant = append(meant, targets.Target{Addr: at(i)})
	}
	if first == last {
		return at(first).String(), meant
	}
	return at(first).String() + "-" + at(last).String(), meant
}

func TestParseTellsAllThatIsWrong(t *testing.T) {
	for _, c := range []struct {
		specs []string
		want  []string // of the error
	}{
		{[]string{"192.0.2.1", "host.example"}, nil},
		{[]string{"192.0.2.1", "192.0.2.7:80"}, []string{"192.0.2.7:80"}},
		{[]string{"192.0.2.20-10", "192.0.2.1", "192.0.2.7:80"}, []string{"192.0.2.20-10", "192.0.2.7:80"}},
		{nil, []string{"no target"}},
	} {
		l, err := targets.Parse(c.specs...)
		if (err == nil) != (c.want == nil) || (l == nil) != (err != nil) {
			t.Errorf("Parse(%q) = %v, %v", c.specs, l, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("Parse(%q): %v does not tell of %s", c.specs, err, want)
			}
		}
		var several *multierror.Error
		if errors.As(err, &several) != (len(c.want) > 1) {
			t.Errorf("Parse(%q) returns a %T", c.specs, err)
		}
	}
}
