package mux

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// model is what a Mux must do, written down without regard to speed, for
// descriptors whose readiness it is told.
type model struct {
	registered map[int]registration // by descriptor
}

type registration struct {
	token uint64
	want  Interest
	spent bool
}

func (mo *model) add(fd int, want Interest, token uint64) error {
	if err := mo.check(want); err != nil {
		return err
	}
	if _, ok := mo.registered[fd]; ok {
		return fs.ErrExist
	}
	mo.registered[fd] = registration{token: token, want: want}
	return nil
}

func (mo *model) modify(fd int, want Interest, token uint64) error {
	if err := mo.check(want); err != nil {
		return err
	}
	if _, ok := mo.registered[fd]; !ok {
		return fs.ErrNotExist
	}
	mo.registered[fd] = registration{token: token, want: want}
	return nil
}

func (mo *model) remove(fd int) error {
	if _, ok := mo.registered[fd]; !ok {
		return fs.ErrNotExist
	}
	delete(mo.registered, fd)
	return nil
}

func (mo *model) check(want Interest) error {
	if want&(Hangup|Error) != 0 {
		return syscall.EINVAL
	}
	return nil
}

// due is what a Wait with enough room reports.
func (mo *model) due(ready map[int]Interest) map[uint64]Interest {
	due := make(map[uint64]Interest)
	for fd, r := range mo.registered {
		if now := r.want & ready[fd]; now != 0 && !r.spent {
			due[r.token] = now
		}
	}
	return due
}

// reported notes what a Wait has reported.
func (mo *model) reported(token uint64) {
	for fd, r := range mo.registered {
		if r.token == token {
			r.spent = r.want&Oneshot != 0
			mo.registered[fd] = r
		}
	}
}

// pairs is what the operations of a script are made on: reading ends of
// pipes, a socket and regular files.
type pairs struct {
	fds   []int
	other []int            // the writing end, -1 if there is none
	ready map[int]Interest // what each is now
}

func openPairs(t testing.TB) *pairs {
	p := &pairs{ready: make(map[int]Interest)}
	put := func(fd, other int, ready Interest) {
		p.fds, p.other = append(p.fds, fd), append(p.other, other)
		p.ready[fd] = ready
	}
	for range 4 {
		r, w := emptyPipe(t)
		put(r, w, 0)
	}
	s, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	put(descriptor(t, s[0], err), descriptor(t, s[1], err), Writable)
	for range 3 {
		put(regularFile(t), -1, Readable|Writable)
	}
	return p
}

// follow runs a script, two bytes a step, on every backend and on the model.
func follow(t testing.TB, script []byte, gen uint64) {
	p := openPairs(t)
	type run struct {
		*multiplexer
		model
	}
	var runs []run
	for _, name := range []string{"epoll", "poll", "select"} {
		m := openNamed(t, name)
		m.table.gen = gen
		runs = append(runs, run{m, model{make(map[int]registration)}})
	}
	token := uint64(0)
	for step := 0; step+1 < len(script); step += 2 {
		op, arg := script[step], script[step+1]
		at := int(op>>3) % len(p.fds)
		fd := p.fds[at]
		want := Interest(arg) &^ (Edge | 0x80)
		if arg&0xc0 != 0 { // the refused ones are rare
			want &^= Hangup | Error
		}
		token++
		switch op % 8 {
		case 6:
			if p.other[at] >= 0 && p.ready[fd]&Readable == 0 {
				write(t, p.other[at])
				p.ready[fd] |= Readable
			}
			continue
		case 7:
			if p.other[at] >= 0 && p.ready[fd]&Readable != 0 {
				read(t, fd)
				p.ready[fd] &^= Readable
			}
			continue
		}
		for _, r := range runs {
			var got, expected error
			switch op % 8 {
			case 0, 1:
				got, expected = r.Add(fd, want, token), r.add(fd, want, token)
			case 2:
				got, expected = r.Modify(fd, want, token), r.modify(fd, want, token)
			case 3:
				got, expected = r.Remove(fd), r.remove(fd)
			default:
				room := 1 + int(arg)%12
				due, found := r.due(p.ready), wait(t, r, room)
				if len(found) != min(room, len(due)) {
					t.Fatalf("step %d, %s: %d of %v reported in a slice of %d: %v", step/2, r.name, len(found), due, room, found)
				}
				for token, ready := range found {
					if due[token] != ready {
						t.Fatalf("step %d, %s: token %d is %v, want %v", step/2, r.name, token, ready, due[token])
					}
					r.reported(token)
				}
			}
			if !errors.Is(got, expected) {
				t.Fatalf("step %d, %s: error %v, want %v", step/2, r.name, got, expected)
			}
		}
	}
}

func TestBackendsFollowTheModel(t *testing.T) {
	for _, gen := range []uint64{0, 1<<31 - 50, 1<<32 - 50} {
		seed := rand.Uint64()
		script := make([]byte, 4000)
		rng := rand.New(rand.NewPCG(seed, gen))
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		t.Logf("seed %d, generation %d", seed, gen)
		follow(t, script, gen)
	}
}

func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 0xc1, 6, 0, 4, 5}, uint64(0))                                     // add, write, wait
	f.Add([]byte{0, 0xd1, 6, 0, 4, 5, 4, 5, 2, 0xd1, 4, 5}, uint64(1<<32-3))          // oneshot, twice
	f.Add([]byte{40, 0xc1, 48, 0xe1, 56, 0xc1, 4, 0, 4, 0, 43, 0, 4, 0}, uint64(100)) // files
	f.Fuzz(func(t *testing.T, script []byte, gen uint64) {
		follow(t, script[:min(len(script), 2000)], gen>>1) // 2^63 changes are beyond any program
	})
}
