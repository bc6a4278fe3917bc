package responder_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"iomux/apps/echo/responder/internal/outside"
	"iomux/mux"
)

// seeded are rules that leave everything to luck.
var seeded = []string{
	"loss: 20%, duplicate: {probability: 20%, copies: 2}",
	"corrupt: {flip: 50%, checksum: 20%, truncate: 20%, lengthen: 30%}",
	"error: {type: time exceeded, probability: 50%}, ttl: 9, tos: 8, duplicate: 10%",
	"delay: 'uniform:0s,300us', reorder: {probability: 10%, by: 1ms}, corrupt: {lengthen: 50%}",
	"delay: 'pareto:50us,1.5,2ms', loss: 10%, error: {type: time exceeded, probability: 20%, quote: 60}, source: [192.0.2.9, '2001:db8::9']",
}

// replies are all that comes back, by the number of the request: the bytes of each
// answer from the ICMP header on, in the order of their bytes, with what the IP header
// says. In what errors quote, the kernel has chosen an identification or a flow label
// for the request: those are left out.
type replies map[uint32][]string

// askSeeded sends requests, each several times, in some order, and returns the replies.
func askSeeded(t *testing.T, cfg outside.Config, seed uint64, shuffle *rand.Rand) replies {
	t.Helper()
	const n, times = 150, 3
	cfg.Rules = outside.Rules(t, seed, seeded...)
	s := outside.New(t, cfg)
	var rs []outside.Request
	for i := range n * times {
		for rule := range seeded {
			r := outside.Request{To: s.Address(rule, i%n), Number: uint32(rule)<<16 | uint32(i%n), Data: measuredDataOf(40 + i%n%8)}
			if i%n%2 == 0 {
				r.Number |= 1 << 24 // another identifier, and for two loops perhaps the other one
			}
			rs = append(rs, r)
		}
	}
	if shuffle != nil {
		shuffle.Shuffle(len(rs), func(i, j int) { rs[i], rs[j] = rs[j], rs[i] })
	}
	all := make(replies)
	got := func(a *outside.Answer) {
		message := slices.Clone(a.Message)
		switch {
		case !a.Error:
		case s.Place.V6: // what is quoted of the flow label is of the request
			message[9] &= 0xf0
			clear(message[10:12])
			clear(message[2:4]) // the checksum, with all of that in it
		default: // the identification, and the checksum of the header
			clear(message[12:14])
			clear(message[18:20])
			clear(message[2:4])
		}
		all[a.Number] = append(all[a.Number], fmt.Sprintf("%v %v %d %#x %v %x", a.From, a.To, a.TTL, a.TOS, a.Right, message))
	}
	for part := range slices.Chunk(rs, 32) {
		s.Ask(part...)
		s.Settle(got)
	}
	for i, n := range s.Received() {
		if n < uint64(len(rs)/10) {
			t.Errorf("of %d requests, responder %d of %d has received %d: too few to tell", len(rs), i, max(cfg.Loops, 1), n)
		}
	}
	s.Close()
	for _, answers := range all {
		slices.Sort(answers)
	}
	return all
}

// TestTheSameSeedGivesTheSameBytes compares what comes back whole: twice, on every
// backend, in another order, and with two responders in place of one.
func TestTheSameSeedGivesTheSameBytes(t *testing.T) {
	ran := make(map[bool]replies) // of IPv6
	inPlaces(t, func(t *testing.T, p outside.Place) {
		first := askSeeded(t, outside.Config{Place: p}, measuredSeed, nil)
		same := func(what string, other replies) {
			t.Helper()
			if reflect.DeepEqual(first, other) {
				return
			}
			for number, answers := range first {
				if !slices.Equal(answers, other[number]) {
					t.Errorf("%s: request %#x is answered by\n%q\nand before by\n%q", what, number, other[number], answers)
					return
				}
			}
			t.Errorf("%s: %d requests are answered, and %d before", what, len(other), len(first))
		}
		if before, ok := ran[p.V6]; ok {
			same("on a TUN device", before)
		}
		ran[p.V6] = first
		for _, backend := range mux.Backends() {
			same(backend, askSeeded(t, outside.Config{Place: p, Backend: backend}, measuredSeed, nil))
		}
		same("in another order", askSeeded(t, outside.Config{Place: p}, measuredSeed, rand.New(rand.NewPCG(1, 2))))
		// What is the same comes to the same socket, or queue.
		same("two loops", askSeeded(t, outside.Config{Place: p, Loops: 2}, measuredSeed, nil))
		same("two loops, in another order", askSeeded(t, outside.Config{Place: p, Loops: 2}, measuredSeed, rand.New(rand.NewPCG(3, 4))))
		other := askSeeded(t, outside.Config{Place: p}, measuredSeed+1, nil)
		equal := 0
		for number, answers := range first {
			if slices.Equal(answers, other[number]) {
				equal++
			}
		}
		// Some are plain three times by either seed.
		if equal > len(first)/4 {
			t.Errorf("with another seed %d of %d requests are answered by the same", equal, len(first))
		}
		t.Logf("%d requests are answered; with another seed %d of them by the same", len(first), equal)
	})
}
