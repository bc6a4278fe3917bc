package responder_test

import (
	"bytes"
	"testing"
	"time"

	"iomux/apps/echo/responder"
	"iomux/apps/echo/responder/internal/outside"
)

// fate is what became of one request.
type fate struct {
	soon, late int // answers before and after the clock was moved on
	errors     int // of these
	wrong      int // with a wrong checksum
	flipped    int // with another byte, in what there is of the data
	place      int // which
	shorter    int
	longer     int
	length     int  // of the data in the end
	odd        bool // an answer is something else altogether
}

// look adds an answer to a request with data.
func (f *fate) look(s *outside.Site, a *outside.Answer, r outside.Request, late bool) {
	if late {
		f.late++
	} else {
		f.soon++
	}
	f.odd = f.odd || a.From != r.To || a.To != s.Client
	if !a.Right {
		f.wrong++
	}
	if a.Error {
		f.errors++
		f.odd = f.odd || !bytes.HasSuffix(a.Data(), r.Data)
		return
	}
	data := a.Data()
	f.length = len(data)
	if len(data) < len(r.Data) {
		f.shorter++
	}
	if len(data) > len(r.Data) {
		f.longer++
	}
	differ := 0
	for i := range min(len(data), len(r.Data)) {
		if data[i] != r.Data[i] {
			differ++
			f.place = i
		}
	}
	if differ == 1 {
		f.flipped++
	}
	f.odd = f.odd || differ > 1 || a.Message[1] != 0
}

// tally counts the requests to a rule by their fate.
type tally struct {
	lost, twice, held, errors, wrong, flipped, shorter, longer int
	odd                                                        int // with an answer that is something else
	other                                                      int // with another number of answers, or answers that differ
}

// TestLuckFromOutside measures every key of a rule that leaves something to luck, each
// by a rule of its own, in one run. It also sees that a rule does nothing else.
func TestLuckFromOutside(t *testing.T) {
	const (
		loss = iota
		again
		duplicate
		reorder
		flip
		checksum
		truncate
		lengthen
		complain
		both
		rules
	)
	list := [rules]string{
		loss:      "loss: 1%",
		again:     "loss: 1%", // twice as many, as it is the rarest
		duplicate: "duplicate: {probability: 2%, copies: 2}",
		reorder:   "reorder: {probability: 5%, by: 1s}",
		flip:      "corrupt: {flip: 3%}",
		checksum:  "corrupt: {checksum: 2%}",
		truncate:  "corrupt: {truncate: 4%}",
		lengthen:  "corrupt: {lengthen: 6%}",
		complain:  "error: {type: port unreachable, probability: 10%}",
		both:      "loss: 30%, duplicate: 20%, corrupt: {truncate: 50%, lengthen: 50%}",
	}
	inPlaces(t, func(t *testing.T, p outside.Place) {
		clock := outside.NewClock()
		s := outside.New(t, outside.Config{Place: p, Rules: outside.Rules(t, measuredSeed, list[:]...), Clock: clock})
		n := *measuredN
		// So many requests to each rule are dealt with at a time. What is held then is
		// still there when all the others have been answered, and comes when the clock is
		// moved on.
		const chunk = 128
		var fates [chunk][rules]fate
		var late bool
		base := 0
		bufs := make([][]byte, chunk*rules)
		for i := range bufs {
			bufs[i] = make([]byte, 32)
		}
		request := func(i int) outside.Request {
			rule, number := i%rules, base+i/rules
			return outside.Request{To: s.Address(rule, number), Number: uint32(rule<<20 | number&0xfffff), Data: measuredData(bufs[i], number)}
		}
		got := func(a *outside.Answer) {
			rule, at := int(a.Number>>20), int(a.Number&0xfffff)-base&0xfffff
			if rule >= rules || at >= chunk {
				t.Fatalf("an answer to request %d, which is not under way", a.Number)
			}
			fates[at][rule].look(s, a, request(at*rules+rule), late)
		}
		var count [rules]tally
		var flips, lengths, more mean
		for ; base < n; base += chunk {
			size := min(chunk, n-base)
			fates, late = [chunk][rules]fate{}, false
			s.Exchange(size*rules, request, got)
			s.Settle(got)
			late = true
			s.Step(time.Second)
			s.Settle(got)
			for i := range size {
				for rule := range rules {
					f, c := &fates[i][rule], &count[rule]
					answers := f.soon + f.late
					copies := 1
					if rule == duplicate {
						copies = 2
					}
					switch answers {
					case 0:
						c.lost++
					case 1:
					case 1 + copies:
						c.twice++
					default:
						c.other++
					}
					for _, x := range []struct{ is, sum *int }{
						{&f.late, &c.held}, {&f.errors, &c.errors}, {&f.wrong, &c.wrong}, {&f.flipped, &c.flipped},
						{&f.shorter, &c.shorter}, {&f.longer, &c.longer},
					} {
						switch *x.is {
						case 0:
						case answers:
							*x.sum++
						default: // a copy is another
							c.other++
						}
					}
					if f.odd {
						c.odd++
					}
					switch {
					case rule == flip && f.flipped > 0:
						flips.add(f.place)
					case rule == truncate && f.shorter > 0:
						lengths.add(f.length)
					case rule == lengthen && f.longer > 0:
						more.add(f.length - 32)
					}
				}
			}
		}
		near(t, list[loss], count[loss].lost+count[again].lost, 2*n, 0.01)
		near(t, list[duplicate], count[duplicate].twice, n, 0.02)
		near(t, list[reorder], count[reorder].held, n, 0.05)
		near(t, list[flip], count[flip].flipped, n, 0.03)
		near(t, list[checksum], count[checksum].wrong, n, 0.02)
		near(t, list[truncate], count[truncate].shorter, n, 0.04)
		near(t, list[lengthen], count[lengthen].longer, n, 0.06)
		near(t, list[complain], count[complain].errors, n, 0.10)
		c := &count[both]
		answered := n - c.lost
		near(t, "loss of 30% among others", c.lost, n, 0.30)
		near(t, "twice, of what is answered", c.twice, answered, 0.20)
		near(t, "shorter, of what is answered", c.shorter, answered, 0.50)
		if c.shorter+c.longer != answered {
			t.Errorf("%d of %d answers are as long as they should be", answered-c.shorter-c.longer, answered)
		}
		flips.even(t, "the byte that is flipped", 0, 31)
		lengths.even(t, "what truncation leaves", 0, 31)
		more.even(t, "what is appended", 1, 64)

		all := s.Stats()
		want := responder.Stats{Received: all.Received, Ignored: all.Ignored}
		want.Lost = uint64(count[loss].lost + count[again].lost + count[both].lost)
		want.Duplicated = uint64(2*count[duplicate].twice + count[both].twice)
		want.Errors = uint64(count[complain].errors)
		want.Delayed = uint64(count[reorder].held)
		want.Damaged = uint64(count[flip].flipped + count[checksum].wrong + count[truncate].shorter + count[lengthen].longer + answered)
		want.Answered = all.Received - all.Ignored - want.Lost - want.Errors
		if all != want {
			t.Errorf("the counts are %+v, seen was %+v", all, want)
		}
		// What was asked is as it was measured; and nothing else happened.
		count[loss].lost, count[again].lost, count[duplicate].twice, count[reorder].held, count[flip].flipped = 0, 0, 0, 0, 0
		count[checksum].wrong, count[truncate].shorter, count[lengthen].longer, count[complain].errors = 0, 0, 0, 0
		c.lost, c.twice, c.shorter, c.longer = 0, 0, 0, 0
		for rule, c := range count {
			if c != (tally{}) {
				t.Errorf("%s: besides, there are %+v", list[rule], c)
			}
		}
		s.Close()
	})
}

// TestLuckOfOnePacket measures what becomes of a packet that comes again and again, as
// that of a prober does whose requests do not differ.
func TestLuckOfOnePacket(t *testing.T) {
	inPlaces(t, func(t *testing.T, p outside.Place) {
		s := outside.New(t, outside.Config{Place: p, Rules: outside.Rules(t, measuredSeed, "loss: 10%, duplicate: 10%"), Clock: outside.NewClock()})
		n, answers := *measuredN, 0
		r := outside.Request{To: s.Address(0, 1), Data: []byte("always the same")}
		got := func(*outside.Answer) { answers++ }
		s.Exchange(n, func(int) outside.Request { return r }, got)
		s.Settle(got)
		all := s.Stats()
		near(t, "lost", int(all.Lost), n, 0.1)
		near(t, "twice, of what is answered", answers-(n-int(all.Lost)), n-int(all.Lost), 0.1)
		s.Close()
	})
}
