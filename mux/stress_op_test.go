package mux

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// op is one operation of a script. Every operation is possible in every state, so
// that a script with holes is a script.
type op struct {
	do    string // a call of the Mux, or what is done to a file
	at    int    // place
	want  Interest
	token uint64
	kind  fileKind
	room  int
}

// What is done besides the calls of the Mux and to a file (file.use).
const (
	opSettle = "settle" // many Waits with little room
	opRenew  = "renew"  // what a place names is removed, closed and replaced, as the contract has it
)

// verbs are what a script is made of, each as often as it stands here. A wild
// script also closes and replaces what is registered, which leaves the Mux more
// liberty.
var (
	calm = strings.Fields("add add add modify modify modify modify remove renew renew " +
		"wait wait wait wait wait wait settle wake write write write read read fill fill drain drain hang-up")
	wild = append(strings.Fields("close close open open open dup dup remove"), calm...)
)

// generate returns a script for a number of places. The token of an operation
// differs from every other from first on.
func generate(rng *rand.Rand, places, length int, first uint64) []op {
	verbs := calm
	if rng.IntN(2) == 0 {
		verbs = wild
	}
	var script []op
	for i := range length {
		o := op{do: verbs[rng.IntN(len(verbs))], at: rng.IntN(places), token: first + uint64(i),
			kind: fileKind(rng.IntN(int(fileKinds))), room: 1 + rng.IntN(4)}
		if i < places {
			o.do, o.at = opOpen, i
		}
		o.want = Interest(rng.Uint32()) & (conditions | Oneshot)
		if rng.IntN(4) == 0 {
			o.want |= Edge
		}
		if rng.IntN(30) == 0 {
			o.want |= Hangup
		}
		if rng.IntN(3) == 0 {
			o.room = 2 * places
		}
		script = append(script, o)
	}
	return script
}

func (o op) String() string {
	switch o.do {
	case opAdd, opModify:
		return fmt.Sprintf("place %d: %s %v, token %d", o.at, o.do, o.want, o.token)
	case opOpen, opRenew:
		return fmt.Sprintf("place %d: %s %v", o.at, o.do, o.kind)
	case opWait, opSettle:
		return fmt.Sprintf("%s with room for %d", o.do, o.room)
	case opWake:
		return o.do
	}
	return fmt.Sprintf("place %d: %s", o.at, o.do)
}

// step does one operation.
func (tr *trial) step(o op) error {
	p := tr.places[o.at]
	switch o.do {
	case opAdd, opModify, opRemove:
		return tr.change(p, o)
	case opOpen:
		return tr.openNumber(p, o.kind)
	case opRenew:
		if tr.lives[p.number] != nil {
			if err := tr.change(p, op{do: opRemove}); err != nil {
				return err
			}
		}
		return tr.openNumber(p, o.kind)
	case opClose:
		return tr.closeNumber(p)
	case opWake:
		return tr.m.Wake()
	case opWait:
		_, err := tr.wait(o.room)
		return err
	case opSettle:
		return tr.settle(o.room)
	}
	return tr.use(p, o.do)
}

// run runs a script on a Mux, and then waits until everything must have been
// reported. It returns the number of operations done, and what was wrong with
// the last one.
func run(m Mux, edges bool, places int, script []op) (done int, err error) {
	tr, err := newTrial(m, edges, places)
	if err != nil {
		return 0, err
	}
	defer tr.close()
	for i, o := range script {
		if err := tr.step(o); err != nil {
			return i + 1, fmt.Errorf("%v: %w", o, err)
		}
	}
	return len(script), nil
}

// shrink leaves operations out of a script that fails, in pieces of half of it,
// of a quarter, and so on down to single ones, for as long as it still fails.
func shrink(script []op, fails func([]op) bool) []op {
	for size := len(script) / 2; size > 0; {
		shorter := false
		for at := 0; at < len(script); {
			without := append(append([]op(nil), script[:at]...), script[min(at+size, len(script)):]...)
			if fails(without) {
				script, shorter = without, true
			} else {
				at += size
			}
		}
		if size > 1 || !shorter { // single ones until none can go
			size /= 2
		}
	}
	return script
}
