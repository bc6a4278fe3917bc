package rules_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"iomux/apps/echo/responder/rules"
)

const ms = time.Millisecond

// packet returns the n-th of packets that all differ, as a prober sends them.
func packet(n int) *rules.Packet {
	data := binary.BigEndian.AppendUint64(nil, uint64(n))
	return &rules.Packet{From: addr("192.0.2.1"), To: addr("10.1.2.3"), ID: 7, Seq: uint16(n), Data: append(data, "the rest of the data is always the same, as it is in ping"...)}
}

// decide returns what a rule decides for a packet.
func decide(t testing.TB, rule string, p *rules.Packet, at time.Duration) rules.Decision {
	t.Helper()
	d := mustParse(t, rule).NewDecider(16)
	return d.Decide(p, at)
}

func TestWithoutARuleTheAnswerIsPlain(t *testing.T) {
	d := decide(t, "- {to: 10.9.0.0/16, loss: 100%}\n", packet(1), 0)
	if want := (rules.Decision{Rule: -1}); !reflect.DeepEqual(d, want) {
		t.Errorf("decision %+v, want %+v", d, want)
	}
	if got := d.AppendData([]byte("x"), []byte("data")); string(got) != "xdata" {
		t.Errorf("data %q", got)
	}
}

func TestWhatIsCertainIsDecided(t *testing.T) {
	for _, c := range []struct {
		rule string
		want func(d *rules.Decision) bool
	}{
		{"{}", func(d *rules.Decision) bool {
			return d.Drop == rules.Answered && d.Delay == 0 && d.Copies == 0 && d.Error == nil
		}},
		{"silent: true", func(d *rules.Decision) bool { return d.Drop == rules.Silent }},
		{"silent: false", func(d *rules.Decision) bool { return d.Drop == rules.Answered }},
		{"loss: 100%", func(d *rules.Decision) bool { return d.Drop == rules.Lost }},
		{"loss: 0%", func(d *rules.Decision) bool { return d.Drop == rules.Answered }},
		{"delay: 20ms", func(d *rules.Decision) bool { return d.Delay == 20*ms && !d.Held }},
		{"{delay: 20ms, reorder: {probability: 100%, by: 50ms}}", func(d *rules.Decision) bool { return d.Delay == 70*ms && d.Held }},
		{"duplicate: 100%", func(d *rules.Decision) bool { return d.Copies == 1 }},
		{"duplicate: 100%,copies=3", func(d *rules.Decision) bool { return d.Copies == 3 }},
		{"{ttl: 7, tos: 0, code: 0}", func(d *rules.Decision) bool {
			return d.TTL == 7 && d.TOS == 0 && d.HasTOS && d.Code == 0 && d.HasCode
		}},
		{"{tos: 0x10, code: 255}", func(d *rules.Decision) bool {
			return d.TOS == 16 && d.HasTOS && d.Code == 255 && d.HasCode && d.TTL == 0
		}},
		{"source: [192.0.2.9, '2001:db8::9']", func(d *rules.Decision) bool { return d.Source == addr("192.0.2.9") }},
		{"source: 2001:db8::9", func(d *rules.Decision) bool { return !d.Source.IsValid() }},
		{"corrupt: {checksum: 100%}", func(d *rules.Decision) bool { return d.Checksum != 0 && d.Checksum != 0xffff && !d.Flip }},
		{"corrupt: {truncate: 100%}", func(d *rules.Decision) bool { return d.Truncate && !d.Lengthen && d.Checksum == 0 }},
		{"corrupt: {lengthen: 100%}", func(d *rules.Decision) bool { return !d.Truncate && d.Lengthen }},
		{"corrupt: {flip: 100%}", func(d *rules.Decision) bool { return !d.Truncate && !d.Lengthen && d.Flip }},
		{"{error: time exceeded, ttl: 9, tos: 8, delay: 5ms, duplicate: 100%}", func(d *rules.Decision) bool {
			return d.Error != nil && d.TTL == 9 && d.TOS == 8 && d.Delay == 5*ms && d.Copies == 1
		}},
		{"{error: 'time exceeded,probability=0%', code: 3}", func(d *rules.Decision) bool { return d.Error == nil && d.Code == 3 }},
	} {
		if d := decide(t, "- "+c.rule+"\n", packet(1), 0); !c.want(&d) || d.Rule != 0 {
			t.Errorf("%s: decision %+v", c.rule, d)
		}
	}
}

func TestErrors(t *testing.T) {
	all := netip.Addr{}
	for _, c := range []struct {
		rule string
		to   string
		want rules.Error
	}{
		{"error: destination unreachable", "10.0.0.1", rules.Error{Type: 3, Code: 0, Quote: -1}},
		{"error: destination unreachable", "fd00::1", rules.Error{Type: 1, Code: 0, Quote: -1}},
		{"error: {type: destination unreachable, code: 13}", "10.0.0.1", rules.Error{Type: 3, Code: 13, Quote: -1}},
		{"error: {type: destination unreachable, code: 13}", "fd00::1", rules.Error{Type: 1, Code: 13, Quote: -1}},
		{"{error: host unreachable, to: 10.0.0.1}", "10.0.0.1", rules.Error{Type: 3, Code: 1, Quote: -1}},
		{"{error: Host-Unreachable, to: 10.0.0.1}", "10.0.0.1", rules.Error{Type: 3, Code: 1, Quote: -1}},
		{"error: port_unreachable", "10.0.0.1", rules.Error{Type: 3, Code: 3, Quote: -1}},
		{"error: port unreachable", "fd00::1", rules.Error{Type: 1, Code: 4, Quote: -1}},
		{"error: ttl exceeded", "10.0.0.1", rules.Error{Type: 11, Code: 0, Quote: -1}},
		{"error: ttl exceeded", "fd00::1", rules.Error{Type: 3, Code: 0, Quote: -1}},
		{"error: administratively prohibited", "10.0.0.1", rules.Error{Type: 3, Code: 13, Quote: -1}},
		{"error: administratively prohibited", "fd00::1", rules.Error{Type: 1, Code: 1, Quote: -1}},
		{"error: packet too big,mtu=1300", "10.0.0.1", rules.Error{Type: 3, Code: 4, Quote: -1, MTU: 1300}},
		{"error: fragmentation needed,mtu=1300", "fd00::1", rules.Error{Type: 2, Code: 0, Quote: -1, MTU: 1300}},
		{"{to: 'fd00::/8', error: {type: 2, mtu: 4294967295}}", "fd00::1", rules.Error{Type: 2, Quote: -1, MTU: math.MaxUint32}},
		{"{to: 10.0.0.0/8, error: {type: 3, code: 4, mtu: 0}}", "10.0.0.1", rules.Error{Type: 3, Code: 4, Quote: -1}},
		{"{to: 10.0.0.0/8, error: 253}", "10.0.0.1", rules.Error{Type: 253, Quote: -1}},
		{"error: {type: source quench, quote: 0}\n  to: 10.0.0.0/8", "10.0.0.1", rules.Error{Type: 4}},
		{"error: {type: parameter problem, quote: 28}", "10.0.0.1", rules.Error{Type: 12, Quote: 28}},
		{"error: {type: redirect, code: 1, from: [192.0.2.3, '2001:db8::3']}", "10.0.0.1", rules.Error{Type: 5, Code: 1, Quote: -1, From: addr("192.0.2.3")}},
		{"error: {type: redirect, code: 1, from: [192.0.2.3, '2001:db8::3']}", "fd00::1", rules.Error{Type: 137, Code: 1, Quote: -1, From: addr("2001:db8::3")}},
	} {
		p := packet(1)
		p.To, p.From = addr(c.to), all
		d := decide(t, "- "+c.rule+"\n", p, 0)
		if d.Error == nil || *d.Error != c.want {
			t.Errorf("%s for %s: %+v, want %+v", c.rule, c.to, d.Error, c.want)
		}
	}
}

// everything leaves everything to luck.
const everything = `
- loss: 10%
  delay: normal:20ms,5ms
  jitter: 1ms
  reorder: 10%,by=30ms
  duplicate: 10%,copies=2
  corrupt: {flip: 10%, checksum: 10%, truncate: 10%, lengthen: 10%}
  error: {type: time exceeded, probability: 10%}
`

// shown is all of a decision that can be seen.
func shown(d rules.Decision) string {
	return fmt.Sprintf("%d %v %v %v %d %+v %d %q", d.Rule, d.Drop, d.Delay, d.Held, d.Copies, d.Error, d.Checksum, d.AppendData(nil, []byte("0123456789abcdef")))
}

func TestDecisionsDoNotDependOnTheOrderOfPackets(t *testing.T) {
	s := mustParse(t, everything)
	const n = 2000
	type seen struct{ packet, time int }
	run := func(order []int) map[seen]string {
		d := s.NewDecider(64 * n) // so that hardly a set of four is full
		times := make(map[int]int)
		out := make(map[seen]string)
		for i, p := range order {
			out[seen{p, times[p]}] = shown(d.Decide(packet(p), time.Duration(i)))
			times[p]++
		}
		return out
	}
	var order []int
	for i := range n {
		order = append(order, i, i, i)
	}
	first := run(order)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	if second := run(order); !reflect.DeepEqual(first, second) {
		t.Error("the decisions differ")
	}
	same := 0
	for i := range n {
		if first[seen{i, 0}] == first[seen{i, 1}] {
			same++
		}
	}
	if same > n/20 { // two losses are the same: 1 %
		t.Errorf("%d of %d packets have the same luck the second time", same, n)
	}
}

// The numbers are those of the day this was written. If they change, so does what a
// seed stands for, on other machines and versions.
func TestDecisionsAreTheSameEverywhere(t *testing.T) {
	p := packet(1)
	for _, c := range []struct {
		seed uint64
		p    rules.Packet
		want uint64
	}{
		{0, rules.Packet{}, 0xb7e7e0533a761a53},
		{42, *p, 0x3221d80ce89bfb6e},
		{43, *p, 0xfa7231922784882b},
	} {
		if got := rules.Hash(c.seed, &c.p); got != c.want {
			t.Errorf("seed %d: %#x, want %#x", c.seed, got, c.want)
		}
	}
	d := mustParse(t, everything).NewDecider(0)
	for i, want := range []string{
		`0 answered 21.148165ms false 0 <nil> 0 "0123456789abcdef"`,
		`0 answered 13.191661ms false 0 <nil> 0 "0123456789abcdef"`,
		`0 answered 21.189861ms false 0 <nil> 0 "0123456789abcdef"`,
		`0 answered 17.730134ms false 0 <nil> 0 "0123456789abcdef"`,
		`0 lost 0s false 0 <nil> 0 "0123456789abcdef"`,
		`0 answered 9.379127ms false 0 <nil> 0 "0123456789abcdef"`,
		`0 answered 21.205571ms false 0 <nil> 0 "0123456789abcdef\x13\x164\x87\x1a\xb4?\xfe\n\x87\x04\xaakԀn\xe9\x1e\xb3\x87\x17Q\xb6O\xe4Vj\xffxà\xc1y\xc0\xc0Zc?vi\xc9~hA2[\x98\rz\xac\xe0\x9c\xe9?\x10\xab\xa7\x84\xd7\xde"`,
		`0 answered 20.513376ms false 0 <nil> 0 "0123456789abcdef"`,
		`0 answered 22.0249ms false 0 <nil> 0 "\xce123456789abcdef"`,
		`0 answered 24.470977ms false 0 <nil> 0 "0123456789abcdef"`,
		`0 answered 16.904962ms false 0 <nil> 0 "0123456789abcdef"`,
		`0 answered 18.076695ms false 0 <nil> 0 "0123456789abcdef"`,
	} {
		if got := shown(d.Decide(packet(i), 0)); got != want {
			t.Errorf("packet %d: %s, want %s", i, got, want)
		}
	}
}

func TestAllOfAPacketAndTheSeedMatter(t *testing.T) {
	base := packet(1)
	numbers := map[uint64]string{rules.Hash(1, base): "base"}
	check := func(what string, seed uint64, change func(p *rules.Packet)) {
		p := *base
		p.Data = slices.Clone(p.Data)
		change(&p)
		n := rules.Hash(seed, &p)
		if other, taken := numbers[n]; taken {
			t.Errorf("%s gives the same number as %s", what, other)
		}
		numbers[n] = what
	}
	check("the seed", 2, func(*rules.Packet) {})
	check("a seed of 64 bits", 1<<63|1, func(*rules.Packet) {})
	check("from", 1, func(p *rules.Packet) { p.From = p.From.Next() })
	check("to", 1, func(p *rules.Packet) { p.To = p.To.Next() })
	check("from and to swapped", 1, func(p *rules.Packet) { p.From, p.To = p.To, p.From })
	check("a higher identifier", 1, func(p *rules.Packet) { p.ID += 256 })
	check("the identifier", 1, func(p *rules.Packet) { p.ID++ })
	check("the sequence number", 1, func(p *rules.Packet) { p.Seq++ })
	check("a higher sequence number", 1, func(p *rules.Packet) { p.Seq += 256 })
	check("no data", 1, func(p *rules.Packet) { p.Data = nil })
	check("a zero more", 1, func(p *rules.Packet) { p.Data = append(p.Data, 0) })
	for i := range base.Data {
		for bit := range 8 {
			check(fmt.Sprintf("bit %d of byte %d", bit, i), 1, func(p *rules.Packet) { p.Data[i] ^= 1 << bit })
		}
	}
	mapped := *base
	mapped.From, mapped.To = netip.AddrFrom16(base.From.As16()), netip.AddrFrom16(base.To.As16())
	if rules.Hash(1, &mapped) != rules.Hash(1, base) {
		t.Error("IPv4 mapped into IPv6 is another address")
	}
}

func TestRepetitions(t *testing.T) {
	t.Run("are counted for each packet", func(t *testing.T) {
		count := rules.Repeats(64)
		for round := range uint32(5) {
			for p := range uint64(64) {
				if got := count(p); got != round {
					t.Fatalf("packet %d was seen %d times, want %d", p, got, round)
				}
			}
		}
	})
	t.Run("of the one seen least recently are forgotten", func(t *testing.T) {
		count := rules.Repeats(4) // one set
		var got []uint32
		for _, p := range []uint64{0, 1, 2, 3, 0, 4, 1, 0, 3, 2} {
			got = append(got, count(p))
		}
		// 4 makes room for itself in place of 1, which makes room in place of 2.
		if want := []uint32{0, 0, 0, 0, 1, 0, 0, 2, 1, 0}; !slices.Equal(got, want) {
			t.Errorf("counts %d, want %d", got, want)
		}
	})
	t.Run("are as in a map while there is room", func(t *testing.T) {
		count := rules.Repeats(4 << 10)
		want := make(map[uint64]uint32)
		rng := rand.New(rand.NewPCG(1, 2))
		for range 20000 {
			p := rng.Uint64N(1000) * 0x9e3779b97f4a7c15
			if got := count(p); got != want[p] {
				t.Fatalf("packet %#x: %d, want %d", p, got, want[p])
			}
			want[p]++
		}
	})
	t.Run("are forgotten with the seed", func(t *testing.T) {
		a, b := mustParse(t, everything), mustParse(t, everything+"  ttl: 5\n")
		other, err := rules.Parse("x", []byte("version: 1\nseed: 5\nrules:"+everything))
		if err != nil {
			t.Fatal(err)
		}
		p := packet(1)
		three := func(sets ...*rules.Set) (out []string) {
			d := a.NewDecider(0)
			for _, s := range sets {
				d.Use(s)
				out = append(out, shown(d.Decide(p, 0)))
			}
			return out
		}
		var want []string
		for d := a.NewDecider(0); len(want) < 3; {
			want = append(want, shown(d.Decide(p, 0)))
		}
		if got := three(a, b, a); !slices.Equal(got, want) {
			t.Errorf("by rules with the same seed %q, want %q", got, want)
		}
		fresh := other.NewDecider(0)
		if got := three(a, other)[1]; got != shown(fresh.Decide(p, 0)) {
			t.Error("rules with another seed remember packets")
		}
	})
}

func TestDamageToData(t *testing.T) {
	data := []byte("0123456789abcdefghijklmnopqrstuvwxyz")
	changed := func(got []byte) (at []int) {
		for i := range got {
			if got[i] != data[i] {
				at = append(at, i)
			}
		}
		return at
	}
	each := func(rule string, check func(got []byte)) {
		t.Helper()
		d := mustParse(t, "- corrupt: "+rule+"\n").NewDecider(0)
		for i := range 2000 {
			dec := d.Decide(packet(i), 0)
			got := dec.AppendData([]byte("in front"), data)
			if !bytes.HasPrefix(got, []byte("in front")) {
				t.Fatalf("%s: %q", rule, got)
			}
			again := dec.AppendData(nil, data)
			if !bytes.Equal(got[8:], again) {
				t.Fatalf("%s: %q, then %q", rule, got[8:], again)
			}
			inPlace := append(make([]byte, 0, 200), data...)
			if inPlace = dec.AppendData(inPlace[:0], inPlace); !bytes.Equal(inPlace, again) {
				t.Fatalf("%s: in place %q, else %q", rule, inPlace, again)
			}
			check(again)
			if rest := dec.AppendData(nil, nil); len(rest) > 0 && !dec.Lengthen {
				t.Fatalf("%s: no data became %q", rule, rest)
			}
		}
	}
	places := make(map[int]int)
	each("{flip: 100%}", func(got []byte) {
		at := changed(got)
		if len(got) != len(data) || len(at) != 1 {
			t.Fatalf("flip: %q", got)
		}
		places[at[0]]++
	})
	if len(places) != len(data) {
		t.Errorf("flip: only %d of %d bytes were ever changed", len(places), len(data))
	}
	for place, want := range map[int][]int{0: {0}, 7: {7}, 35: {35}, 36: nil, -1: {35}, -36: {0}, -37: nil, 65535: nil, -65535: nil} {
		each(fmt.Sprintf("{flip: 100%%, at: %d}", place), func(got []byte) {
			if len(got) != len(data) || !slices.Equal(changed(got), want) {
				t.Fatalf("flip at %d: %q", place, got)
			}
		})
	}
	lengths := make(map[int]int)
	each("{truncate: 100%}", func(got []byte) {
		if !bytes.HasPrefix(data, got) || len(got) == len(data) {
			t.Fatalf("truncate: %q", got)
		}
		lengths[len(got)]++
	})
	if len(lengths) != len(data) {
		t.Errorf("truncate: only %d of %d lengths", len(lengths), len(data))
	}
	clear(lengths)
	each("{lengthen: 100%}", func(got []byte) {
		if !bytes.HasPrefix(got, data) {
			t.Fatalf("lengthen: %q", got)
		}
		lengths[len(got)-len(data)]++
	})
	if len(lengths) != 64 || lengths[0] != 0 || lengths[64] == 0 {
		t.Errorf("lengthen: by %v", lengths)
	}
	each("{truncate: 50%, lengthen: 50%, flip: 100%}", func(got []byte) {
		if len(got) == len(data) {
			t.Fatalf("neither shorter nor longer: %q", got)
		}
	})
}

func TestTimeWindows(t *testing.T) {
	for _, c := range []struct {
		down string
		at   []time.Duration // down from, up from, ...
	}{
		{"from=10s,to=20s", []time.Duration{10 * time.Second, 20 * time.Second}},
		{"to=20s", []time.Duration{0, 20 * time.Second}},
		{"from=20s", []time.Duration{20 * time.Second}},
		{"from=10s,to=20s,every=1m", []time.Duration{10 * time.Second, 20 * time.Second, 70 * time.Second, 80 * time.Second}},
		{"from=10s,every=30s", []time.Duration{10 * time.Second, 30 * time.Second, 40 * time.Second, 60 * time.Second}},
		{"to=10s,every=30s", []time.Duration{0, 10 * time.Second, 30 * time.Second, 40 * time.Second}},
	} {
		d := mustParse(t, "- down: "+c.down+"\n").NewDecider(0)
		for i, at := range c.at {
			want := [2]rules.Drop{rules.Down, rules.Answered}
			if got := d.Decide(packet(1), at).Drop; got != want[i%2] {
				t.Errorf("%s at %v: %v", c.down, at, got)
			}
			if at > 0 {
				if got := d.Decide(packet(1), at-1).Drop; got != want[1-i%2] {
					t.Errorf("%s just before %v: %v", c.down, at, got)
				}
			}
		}
	}
	d := mustParse(t, "- down: [{from: 1s, to: 2s}, {from: 3s, to: 4s}]\n").NewDecider(0)
	var got []rules.Drop
	for s := range 5 {
		got = append(got, d.Decide(packet(1), time.Duration(s)*time.Second).Drop)
	}
	if want := []rules.Drop{0, rules.Down, 0, rules.Down, 0}; !slices.Equal(got, want) {
		t.Errorf("two windows: %v, want %v", got, want)
	}
}

func TestRate(t *testing.T) {
	answers := func(rule string, every time.Duration, n int) (at []int, copies int) {
		d := mustParse(t, "- "+rule+"\n").NewDecider(0)
		for i := range n {
			dec := d.Decide(packet(i), time.Duration(i)*every)
			switch dec.Drop {
			case rules.Answered:
				at = append(at, i)
				copies += dec.Copies
			case rules.Limited:
			default:
				t.Fatalf("%s: %v", rule, dec.Drop)
			}
		}
		return at, copies
	}
	if at, _ := answers("rate: 10,burst=1", 10*ms, 31); !slices.Equal(at, []int{0, 10, 20, 30}) {
		t.Errorf("10 a second and one at once, asked every 10 ms: answers to %d", at)
	}
	if at, _ := answers("rate: 10,burst=3", 10*ms, 31); !slices.Equal(at, []int{0, 1, 2, 10, 20, 30}) {
		t.Errorf("10 a second and three at once, asked every 10 ms: answers to %d", at)
	}
	if at, _ := answers("rate: 10", 0, 100); len(at) != 10 {
		t.Errorf("10 a second, asked at once: %d answers", len(at))
	}
	if at, _ := answers("rate: {replies: 0.5}", 100*ms, 101); !slices.Equal(at, []int{0, 20, 40, 60, 80, 100}) {
		t.Errorf("one in two seconds, asked every 100 ms: answers to %d", at)
	}
	if at, _ := answers("rate: 1000000", time.Microsecond, 1000); len(at) != 1000 {
		t.Errorf("a million a second, asked as often: %d answers of 1000", len(at))
	}
	if at, copies := answers("{duplicate: 100%, rate: 5}", 0, 5); !slices.Equal(at, []int{0, 1, 2}) || copies != 2 {
		t.Errorf("copies count too: answers to %d with %d copies, want three and two", at, copies)
	}
	t.Run("is that of the rule for all loops", func(t *testing.T) {
		s := mustParse(t, "- {to: 10.1.0.0/16, rate: 10}\n- {rate: 10}\n")
		a, b := s.NewDecider(0), s.NewDecider(0)
		n := 0
		for i := range 100 {
			for _, d := range []*rules.Decider{a, b} {
				if d.Decide(packet(i), 0).Drop == rules.Answered {
					n++
				}
			}
		}
		if n != 10 {
			t.Errorf("%d answers, want 10", n)
		}
		p := packet(1)
		p.To = addr("10.2.0.0")
		if a.Decide(p, 0).Drop != rules.Answered {
			t.Error("another rule has no reply left")
		}
	})
	t.Run("holds while loops run at once", func(t *testing.T) {
		s := mustParse(t, "- {rate: 1000, loss: 10%}\n")
		var answered atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				d := s.NewDecider(0)
				for i := range 5000 {
					if dec := d.Decide(packet(i), time.Duration(i%100)*ms); dec.Drop == rules.Answered {
						answered.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if n := answered.Load(); n < 1000 || n > 1099 {
			t.Errorf("%d answers, want 1000 and what 99 ms give at most", n)
		}
	})
	t.Run("does not count what has no answer anyway", func(t *testing.T) {
		d := mustParse(t, "- {rate: 1, down: {to: 1ms}}\n").NewDecider(0)
		for i := range 10 {
			d.Decide(packet(i), 0)
		}
		if got := d.Decide(packet(10), ms).Drop; got != rules.Answered {
			t.Errorf("the first after the time window is %v", got)
		}
	})
	t.Run("holds while the time goes back", func(t *testing.T) {
		d := mustParse(t, "- rate: 10,burst=2\n").NewDecider(0)
		n := 0
		for i := range 20 {
			if d.Decide(packet(i), time.Second-time.Duration(i)*ms).Drop == rules.Answered {
				n++
			}
		}
		if n < 1 || n > 2 {
			t.Errorf("%d answers, want 1 or 2", n)
		}
	})
}

func TestDecideDoesNotAllocate(t *testing.T) {
	for _, rule := range []string{everything + "  rate: 1000\n  down: {from: 30m, to: 31m}\n", "- silent: true\n"} {
		d := mustParse(t, rule).NewDecider(0)
		p := packet(1)
		buf := make([]byte, 0, 2048)
		i := 0
		if n := testing.AllocsPerRun(1000, func() {
			i++
			p.Seq = uint16(i)
			dec := d.Decide(p, time.Duration(i)*ms)
			buf = dec.AppendData(buf[:0], p.Data)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, c := range []struct{ name, rule string }{
		{"reply", "- to: 0.0.0.0/0\n"},
		{"loss", "- loss: 1%\n"},
		{"everything", everything + "  rate: 1000000\n"},
	} {
		for _, size := range []int{56, 1472} {
			b.Run(fmt.Sprintf("%s/bytes=%d", c.name, size), func(b *testing.B) {
				d := mustParse(b, c.rule).NewDecider(0)
				p := packet(1)
				p.Data = make([]byte, size)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					i++
					p.Seq = uint16(i)
					d.Decide(p, time.Duration(i)*time.Microsecond)
				}
			})
		}
	}
}
