package mux

import (
	"errors"
	"fmt"
	"maps"
	"syscall"

	"golang.org/x/sys/unix"
)

// trial is a Mux and what it must do: the model of registrations, extended by
// open and closed numbers, hang-ups and edges. Its methods return as an error what
// the Mux does wrong.
type trial struct {
	m Mux
	model
	lives  map[int]*life // of registrations, by descriptor
	places []*place
	gone   []*file // that no place names any more; duplicates keep some of them open

	edges    bool // the backend has edge-triggering
	orphaned bool // a duplicate keeps open what was closed while registered
	repeats  bool // the backend may look at its edges again, as epoll does to be rid of orphans
}

// place is a number that files are opened under, one after the other.
type place struct {
	number int
	open   bool
	*file  // that it names, or has named last
}

// life is what a registration has besides its interest.
type life struct {
	lost    bool // the number was closed while registered
	reports int  // events since then
	risen   bool // edge: a condition has come up since the last event, or the interest is new
	stirred bool // edge: something has happened since the last event
}

// hasEdges reports whether a backend has edge-triggering.
func hasEdges(open func() (Mux, error)) (bool, error) {
	m, err := open()
	if err != nil {
		return false, err
	}
	defer m.Close()
	w, err := newWaker()
	if err != nil {
		return false, err
	}
	defer w.close()
	err = m.Add(w.fd, Readable|Edge, 1)
	if errors.Is(err, errors.ErrUnsupported) {
		return false, nil
	}
	return true, err
}

// newTrial returns a trial with that many places, none of them open, at
// numbers that nothing else takes meanwhile.
func newTrial(m Mux, edges bool, places int) (*trial, error) {
	const firstNumber = 300
	tr := &trial{m: m, edges: edges, model: model{make(map[int]registration)}, lives: make(map[int]*life)}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	for range places {
		number, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstNumber)
		if err != nil {
			return nil, err
		}
		tr.places = append(tr.places, &place{number: number})
	}
	for _, p := range tr.places {
		unix.Close(p.number)
	}
	return tr, nil
}

// close closes every file.
func (tr *trial) close() {
	for _, p := range tr.places {
		if p.open {
			unix.Close(p.number)
		}
		if p.file != nil {
			p.file.close()
		}
	}
	for _, f := range tr.gone {
		f.close()
	}
}

// change makes one of the calls that change a registration, and compares the
// result with the model's.
func (tr *trial) change(p *place, o op) error {
	var got error
	switch o.do {
	case opAdd:
		got = tr.m.Add(p.number, o.want, o.token)
	case opModify:
		got = tr.m.Modify(p.number, o.want, o.token)
	case opRemove:
		got = tr.m.Remove(p.number)
	}
	expected := tr.refusal(p, o)
	if l := tr.lives[p.number]; l != nil && l.lost && o.do == opModify && expected == nil {
		// The number names another file by now: a mistake that a backend need
		// not notice, and harmless.
		if got == nil {
			return tr.modify(p.number, o.want, o.token)
		}
		return nil
	}
	if expected == nil {
		expected = tr.follow(p, o)
	}
	if !errors.Is(got, expected) {
		return fmt.Errorf("the result is %v, want %v", got, expected)
	}
	return nil
}

// follow makes the same change to the model.
func (tr *trial) follow(p *place, o op) (err error) {
	switch o.do {
	case opAdd:
		err = tr.add(p.number, o.want, o.token)
	case opModify:
		err = tr.modify(p.number, o.want, o.token)
	case opRemove:
		delete(tr.lives, p.number)
		return tr.remove(p.number)
	}
	if err == nil {
		tr.lives[p.number] = &life{risen: true, stirred: true}
	}
	return err
}

// refusal is the error of what is refused before the model is asked.
func (tr *trial) refusal(p *place, o op) error {
	if o.do == opRemove {
		return nil
	}
	_, taken := tr.registered[p.number]
	switch {
	case tr.check(o.want) != nil:
		return syscall.EINVAL
	case o.want&Edge != 0 && !tr.edges:
		return errors.ErrUnsupported
	case taken != (o.do == opModify):
		return nil // the model refuses
	case !p.open:
		return syscall.EBADF
	}
	return nil
}

// closeNumber closes what a place names.
func (tr *trial) closeNumber(p *place) error {
	if !p.open {
		return nil
	}
	tr.lose(p)
	return unix.Close(p.number)
}

// lose notes that a place no longer names its file.
func (tr *trial) lose(p *place) {
	p.open = false
	if l := tr.lives[p.number]; l != nil {
		l.lost, l.reports = true, 0
		if len(p.dups) > 0 {
			tr.orphaned, tr.repeats = true, true
		}
	}
}

// openNumber opens a file at a place, over what it names.
func (tr *trial) openNumber(p *place, kind fileKind) (err error) {
	if p.open {
		tr.lose(p) // and yet the number is never free
	}
	if p.file != nil {
		if len(p.dups) == 0 {
			p.file.close()
		}
		tr.gone = append(tr.gone, p.file)
	}
	p.file, err = openFile(kind, p.number)
	p.open = err == nil
	return err
}

// use does something to the file of a place.
func (tr *trial) use(p *place, verb string) error {
	if !p.open {
		return nil
	}
	l, want := tr.lives[p.number], tr.registered[p.number].want
	before, _ := tr.conditions(p.file, want)
	err := p.use(verb, p.number)
	after, _ := tr.conditions(p.file, want)
	if l != nil {
		l.stirred = true
		l.risen = l.risen || after&^before != 0
	}
	return err
}

// conditions returns what a level-triggered event of f has for somebody with
// that interest, for certain and at the most.
func (tr *trial) conditions(f *file, want Interest) (must, may Interest) {
	ready := f.ready()
	may = want & ready
	must = may
	if ready&(Hangup|Error) != 0 {
		may |= want&(Readable|Writable) | Hangup | Error
		must |= want & Readable
		if ready&Error != 0 || tr.m.Name() != "select" { // see selectSet
			must |= want & Writable
		}
	}
	return must, may
}

// due returns what the next event of a place must have and may have. If it must
// have something, there must be an event.
func (tr *trial) due(p *place) (must, may Interest) {
	r, ok := tr.registered[p.number]
	switch l := tr.lives[p.number]; {
	case !ok || r.spent || r.want&conditions == 0:
		return 0, 0
	case tr.closed(p) && l.reports > 0:
		return 0, 0
	case l.lost: // and its number may name anything
		return 0, r.want&conditions | Hangup | Error
	default:
		must, may = tr.conditions(p.file, r.want)
		if r.want&Edge != 0 && !l.risen {
			must = 0
		}
		if r.want&Edge != 0 && !l.stirred && !tr.repeats {
			may = 0
		}
		return must, may
	}
}

// closed reports whether a place is registered and its number closed, and nothing
// keeps the file open that it named.
func (tr *trial) closed(p *place) bool {
	l := tr.lives[p.number]
	return l != nil && l.lost && !p.open && !tr.orphaned
}

// owed returns what must be reported, by token.
func (tr *trial) owed() map[uint64]*place {
	owed := make(map[uint64]*place)
	for _, p := range tr.places {
		if must, _ := tr.due(p); must != 0 {
			owed[tr.registered[p.number].token] = p
		}
	}
	return owed
}

// disturbed reports whether a Wait may be busy with what was closed while
// registered.
func (tr *trial) disturbed() bool {
	for l := range maps.Values(tr.lives) {
		if l.lost {
			return true
		}
	}
	return tr.orphaned
}

// wait makes a Wait with timeout 0 and compares what it reports with the model.
func (tr *trial) wait(room int) ([]Event, error) {
	events := make([]Event, room)
	n, err := tr.m.Wait(events, 0)
	if err != nil || n < 0 || n > room {
		return nil, fmt.Errorf("Wait = %d, %v", n, err)
	}
	events = events[:n]
	seen := make(map[uint64]bool)
	for _, ev := range events {
		p := tr.find(ev.Token)
		if p == nil {
			return nil, fmt.Errorf("token %d is reported and not registered", ev.Token)
		}
		must, may := tr.due(p)
		switch {
		case seen[ev.Token]:
			return nil, fmt.Errorf("token %d is reported twice in one Wait", ev.Token)
		case may == 0:
			return nil, fmt.Errorf("token %d is reported %v, want nothing", ev.Token, ev.Ready)
		case tr.closed(p) && ev.Ready&Error == 0:
			return nil, fmt.Errorf("token %d, whose number is closed, is reported %v without Error", ev.Token, ev.Ready)
		case must&^ev.Ready != 0 || ev.Ready&^may != 0 || ev.Ready == 0:
			return nil, fmt.Errorf("token %d is reported %v, want at least %v and at most %v", ev.Token, ev.Ready, must, may)
		}
		seen[ev.Token] = true
	}
	if n < room && !tr.disturbed() {
		for token := range tr.owed() {
			if !seen[token] {
				return nil, fmt.Errorf("token %d is not reported, with room for %d more", token, room-n)
			}
		}
	}
	for token := range seen {
		tr.note(token)
	}
	return events, nil
}

// note notes that a registration was reported.
func (tr *trial) note(token uint64) {
	l := tr.lives[tr.find(token).number]
	l.risen, l.stirred = false, false
	l.reports++
	tr.model.reported(token)
}

func (tr *trial) find(token uint64) *place {
	for _, p := range tr.places {
		if r, ok := tr.registered[p.number]; ok && r.token == token {
			return p
		}
	}
	return nil
}

// settle waits with little room until everything must have had its turn.
func (tr *trial) settle(room int) error {
	owed := tr.owed()
	least := 4*len(tr.registered) + 50
	most := least
	if tr.orphaned { // each may come that often before the backend looks
		most += 2 * probeEvery * len(tr.places)
	}
	for seen, idle := 0, 0; idle < 3 && (seen < least || len(owed) > 0 && seen < most); {
		events, err := tr.wait(room)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			idle++
		}
		seen += len(events)
		for _, ev := range events {
			delete(owed, ev.Token)
		}
	}
	for token := range owed {
		return fmt.Errorf("token %d is not reported by any of many Waits", token)
	}
	return nil
}
