package prober

import (
	"math"
	"testing"
	"time"

	"iomux/apps/echo/prober/targets"
)

func hosts(specs ...string) *targets.List {
	l, err := targets.Parse(specs...)
	if err != nil {
		panic(err)
	}
	return l
}

// drive sends all that is due at each time that the schedule names, for so long, and
// returns how many that were, and the most at a time.
func drive(t *testing.T, s *schedule, from, to time.Duration) (sent, most uint64) {
	t.Helper()
	for now := from; now < to && !s.over(); {
		n := s.due(now)
		sent, most = sent+n, max(most, n)
		s.next += n
		if s.over() {
			break
		}
		at := s.when()
		if at <= now {
			t.Fatalf("at %v with %d sent the next is due at %v", now, s.next, at)
		}
		now = at
	}
	return sent, most
}

func TestScheduleHoldsItsRate(t *testing.T) {
	for _, c := range []struct {
		name     string
		cfg      Config
		span     time.Duration
		from     time.Duration // the prober's age at Start
		want     uint64
		together uint64
	}{
		{"a target a second", Config{Targets: hosts("192.0.2.1"), Interval: time.Second}, 1000 * time.Second, 0, 1000, 1},
		{"thirds of a second", Config{Targets: hosts("192.0.2.1-3"), Interval: time.Second}, 100000 * time.Second, 0, 300000, 1},
		{"sevenths", Config{Targets: hosts("192.0.2.1-7"), Interval: time.Second}, 10000 * time.Second, 0, 70000, 1},
		{"after a hundred days", Config{Targets: hosts("192.0.2.1-7"), Interval: time.Second}, 10000 * time.Second, 100 * 24 * time.Hour, 70000, 1},
		{"by rate", Config{Targets: hosts("192.0.2.1"), Rate: 3}, 10000 * time.Second, 0, 30000, 1},
		{"by rate rather than interval", Config{Targets: hosts("192.0.2.1-10"), Rate: 5, Interval: time.Second}, 1000 * time.Second, 0, 5000, 1},
		{"by interval rather than rate", Config{Targets: hosts("192.0.2.1-10"), Rate: 50, Interval: time.Second}, 1000 * time.Second, 0, 10000, 1},
		{"in slots", Config{Targets: hosts("10.0.0.0/16"), Interval: time.Second}, 60 * time.Second, 0, 60 << 16, slotSize},
		{"a target often", Config{Targets: hosts("192.0.2.1"), Interval: time.Millisecond}, 10 * time.Second, 0, 10000, 1},
		{"no target twice at a time", Config{Targets: hosts("192.0.2.1-3"), Interval: time.Millisecond}, 10 * time.Second, 0, 30000, 3},
		{"a target often, at a rate", Config{Targets: hosts("192.0.2.1"), Interval: 2 * time.Millisecond, Rate: 500}, 10 * time.Second, 0, 5000, 1},
		{"until it is over", Config{Targets: hosts("192.0.2.1-10"), Interval: time.Second, Count: 7}, 1000 * time.Second, 0, 70, 1},
		{"as good as never", Config{Targets: hosts("192.0.2.1"), Rate: 1e-300}, 1 << 60, 0, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSchedule(&c.cfg, c.from)
			sent, most := drive(t, &s, c.from, c.from+c.span)
			if sent > c.want || sent+slotSize < c.want || c.together == 1 && sent != c.want {
				t.Errorf("%d sent, want %d", sent, c.want)
			}
			if most > c.together {
				t.Errorf("%d sent at a time, want at most %d", most, c.together)
			}
		})
	}
}

// A hundred days of one clock without a pause are as exact as the first second.
func TestScheduleDoesNotDrift(t *testing.T) {
	s := newSchedule(&Config{Targets: hosts("192.0.2.1-7"), Interval: time.Second}, 0)
	const rounds = 100 * 24 * 3600
	s.next = 7 * rounds
	if at := s.at(s.next); at < rounds*time.Second || at > rounds*time.Second+time.Microsecond {
		t.Errorf("round %d is at %v, want %v", rounds, at, rounds*time.Second)
	}
}

func TestScheduleCatchesNothingUpAfterAStall(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		most uint64
	}{
		{Config{Targets: hosts("192.0.2.1"), Interval: time.Second}, 2},
		{Config{Targets: hosts("10.0.0.0/16"), Interval: time.Second}, 1310 + slotSize}, // 20 ms
		{Config{Targets: hosts("192.0.2.1"), Rate: 1e9}, 1<<16 + slotSize},
	} {
		s := newSchedule(&c.cfg, 0)
		s.next += s.due(0)
		const now = time.Hour
		n := s.due(now)
		if n != c.most {
			t.Errorf("%d are due after a stall, want %d", n, c.most)
		}
		s.next += n
		if n := s.due(now); n != 0 {
			t.Errorf("%d more are due", n)
		}
		if at := s.at(s.next); at <= now || at > now+time.Duration(s.gap)+1 {
			t.Errorf("the next is due at %v", at)
		}
	}
}

func TestScheduleOfVeryMany(t *testing.T) {
	s := newSchedule(&Config{Targets: hosts("2001:db8::/66"), Interval: time.Second, Count: 1 << 40}, 0)
	if s.total != math.MaxUint64 {
		t.Errorf("in all %d, want no end", s.total)
	}
	s.next += s.due(0)
	if n := s.due(time.Hour); n == 0 || n > 1<<16+slotSize {
		t.Errorf("%d are due", n)
	}
}

func TestJitterBeginsWithinAnInterval(t *testing.T) {
	later := 0
	for range 100 {
		s := newSchedule(&Config{Targets: hosts("192.0.2.1"), Interval: time.Second, Jitter: true}, time.Minute)
		if s.due(time.Minute-1) != 0 || s.start < time.Minute || s.start >= time.Minute+time.Second {
			t.Fatalf("starts at %v", s.start)
		}
		if s.start > time.Minute {
			later++
		}
	}
	if later == 0 {
		t.Error("it always begins at once")
	}
}

func TestRetriesAreDueInOrder(t *testing.T) {
	r := newRetries(3, time.Second, 2)
	if w := r.waits; w[0] != 0 || w[1] != time.Second || w[2] != 3*time.Second {
		t.Fatalf("waits %v, want what is left of 1, 2 and 4 s after a timeout of 1 s", w)
	}
	push := func(target uint64, try uint8, now time.Duration) {
		r.push(&probe{target: target, number: 1 << 40, try: try}, now)
	}
	push(1, 2, 0)           // due at 3 s
	push(2, 1, time.Second) // at 2 s
	push(3, 0, time.Second) // at 1 s
	push(4, 1, time.Second) // at 2 s, after the other
	for _, want := range []struct {
		target uint64
		due    time.Duration
		try    uint8
	}{{3, time.Second, 1}, {2, 2 * time.Second, 2}, {4, 2 * time.Second, 2}, {1, 3 * time.Second, 3}} {
		at, queue, ok := r.next()
		if !ok || at != want.due {
			t.Fatalf("next is at %v, %v, want %v", at, ok, want.due)
		}
		if got := r.pop(queue); got.target != want.target || got.try != want.try || got.number != 1<<40 {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if _, _, ok := r.next(); ok || r.n != 0 {
		t.Error("something is left")
	}
}

func TestRetriesKeepNoMemoryOfThoseTaken(t *testing.T) {
	r := newRetries(1, time.Second, 1)
	for i := range uint64(3000) {
		r.push(&probe{target: i}, 0)
	}
	for i := uint64(3000); i < 1e6; i++ {
		r.push(&probe{target: i}, 0)
		if got := r.pop(0).target; got != i-3000 {
			t.Fatalf("%d, want %d", got, i-3000)
		}
	}
	if c := cap(r.queues[0]); c > 1<<15 {
		t.Errorf("room for %d, want what 3,000 need", c)
	}
}

func TestHugeBackoffWaitsADay(t *testing.T) {
	r := newRetries(maxRetries, maxTimeout, 1000)
	for i, w := range r.waits[1:] {
		if w != 24*time.Hour {
			t.Fatalf("try %d waits %v", i+2, w)
		}
	}
}

func TestLedgerFindsProbesByTheirLowBits(t *testing.T) {
	for _, first := range []uint64{0, 1<<16 - 10, 1<<32 - 10, 1<<32 + 1<<16 - 3, 1<<48 - 1} {
		first -= first % pageSize
		l := ledger{first: first, next: first}
		if _, ok := l.latest(0); ok && first == 0 {
			t.Error("there is a probe in an empty ledger")
		}
		if l.byID(uint32(first)) != nil || l.at(first) != nil {
			t.Error("there is a probe in an empty ledger")
		}
		for i := range uint64(70000) {
			if l.add(&probe{target: i}); l.next != first+i+1 {
				t.Fatalf("the next serial number is %d, want %d", l.next, first+i+1)
			}
		}
		for i := range uint64(70000) {
			if p := l.byID(uint32(first + i)); p == nil || p.target != i {
				t.Fatalf("probe %d is %+v by its ID", first+i, p)
			}
			want := first + i // or a later one with this sequence number
			if i+1<<16 < 70000 {
				want += 1 << 16
			}
			if serial, ok := l.latest(uint16(first + i)); !ok || serial != want {
				t.Fatalf("probe %d is %d, %v by its sequence number, want %d", first+i, serial, ok, want)
			}
		}
		if l.at(first-1) != nil || l.at(first+70000) != nil || l.byID(uint32(first+70000)) != nil {
			t.Error("there is a probe that was never added")
		}
		for range 10 {
			l.forget()
		}
		if l.at(first+10*pageSize-1) != nil || l.at(first+10*pageSize).target != 10*pageSize || l.held() != 70000-10*pageSize {
			t.Error("other probes were forgotten than the first ones")
		}
	}
}

func TestLedgerReusesPages(t *testing.T) {
	var l ledger
	for range 100 * pageSize {
		l.add(&probe{})
		if l.held() == 2*pageSize {
			l.forget()
		}
	}
	if n := len(l.pages) + len(l.spare); n > 3 {
		t.Errorf("%d pages, want 3", n)
	}
}

func TestCookiesDiffer(t *testing.T) {
	a, err := newCookies()
	b, err2 := newCookies()
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	seen := map[string]bool{}
	for serial := range uint64(10000) {
		for _, v6 := range []bool{false, true} {
			first := string(a.of(serial, v6))
			if seen[first] = true; first != string(a.of(serial, v6)) {
				t.Error("a cookie changes")
			}
		}
	}
	if len(seen) != 20000 || seen[string(b.of(1, false))] {
		t.Errorf("%d different cookies of 20000 probes, or two probers have the same", len(seen))
	}
}
