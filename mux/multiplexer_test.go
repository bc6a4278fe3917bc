package mux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAChangeDuringAWaitOverridesWhatTheKernelFound(t *testing.T) {
	changes := map[string]func(t *testing.T, m Mux, fd int){
		"modified": func(t *testing.T, m Mux, fd int) { must(t, m.Modify(fd, Priority, 2)) },
		"silenced": func(t *testing.T, m Mux, fd int) { must(t, m.Modify(fd, 0, 2)) },
		"removed":  func(t *testing.T, m Mux, fd int) { must(t, m.Remove(fd)) },
		"replaced": func(t *testing.T, m Mux, fd int) {
			must(t, m.Remove(fd))
			must(t, unix.Close(fd))
			r, _ := emptyPipe(t)
			must(t, unix.Dup3(r, fd, unix.O_CLOEXEC))
			must(t, m.Add(fd, Readable, 2))
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, m *multiplexer) {
				fd, other := readablePipe(t), readablePipe(t)
				must(t, m.Add(fd, Readable|Oneshot, 1))
				must(t, m.Add(other, Readable, 9))

				// Wait, taken apart so that the change falls in between.
				m.set.begin(8)
				if errno := m.set.wait(0); errno != 0 {
					t.Fatal(errno)
				}
				change(t, m, fd)
				events := make([]Event, 8)
				m.mu.Lock()
				n := m.set.collect(events)
				m.mu.Unlock()

				if n != 1 || events[0] != (Event{9, Readable}) {
					t.Fatalf("reported: %v, want only what was left alone", events[:n])
				}
				expect(t, m, map[uint64]Interest{9: Readable})
			})
		})
	}
}

func TestAWaitUnderWaySeesEveryChange(t *testing.T) {
	eachBackend(t, func(t *testing.T, m *multiplexer) {
		found := make(chan Event)
		go func() {
			defer close(found)
			for events := make([]Event, 1); ; {
				n, err := m.Wait(events, -1)
				if err != nil {
					return
				}
				for _, ev := range events[:n] {
					found <- ev
				}
			}
		}()
		for token := range uint64(200) {
			untilSleeping(m)
			fd := readablePipe(t)
			must(t, m.Add(fd, 0, 1000))
			must(t, m.Modify(fd, Readable|Oneshot, token))
			if ev := <-found; ev != (Event{token, Readable}) {
				t.Fatalf("reported: %v, want token %d readable", ev, token)
			}
			if token%2 == 0 { // the others stay, spent
				must(t, m.Remove(fd))
			}
			must(t, unix.Close(fd))
		}
		must(t, m.Close())
		for ev := range found {
			t.Errorf("reported besides: %v", ev)
		}
	})
}

func TestRegistrationsSurviveAnyNumberOfChanges(t *testing.T) {
	for _, changes := range []uint64{1<<31 - 2, 1<<31 + 1, 1<<32 - 2, 1<<32 + 1, 1<<33 - 2} {
		t.Run(fmt.Sprint(changes), func(t *testing.T) {
			eachBackend(t, func(t *testing.T, m *multiplexer) {
				old, fd := readablePipe(t), readablePipe(t)
				must(t, m.Add(old, Readable, 1))
				m.table.gen += changes
				must(t, m.Add(fd, Readable|Oneshot, 2))
				for token := range uint64(8) {
					expect(t, m, map[uint64]Interest{1: Readable, 2 + token: Readable})
					expect(t, m, map[uint64]Interest{1: Readable})
					must(t, m.Modify(fd, Readable|Oneshot, 3+token))
				}
			})
		})
	}
}

func TestTheKernelIsNotAskedForWhatIsSilent(t *testing.T) {
	eachBackend(t, func(t *testing.T, m *multiplexer) {
		spent, silent, closed, removed := readablePipe(t), readablePipe(t), readablePipe(t), readablePipe(t)
		must(t, m.Add(spent, Readable|Oneshot, 1))
		must(t, m.Add(silent, Readable, 2))
		must(t, m.Add(closed, Readable, 3))
		must(t, m.Add(removed, Readable, 4))
		expect(t, m, map[uint64]Interest{1: Readable, 2: Readable, 3: Readable, 4: Readable})
		must(t, m.Modify(silent, 0, 2))
		must(t, m.Remove(removed))
		must(t, unix.Close(closed))
		wait(t, m, 64) // some report it
		m.set.begin(64)
		if errno := m.set.wait(0); errno != 0 {
			t.Fatal(errno)
		}
		found := 0
		switch s := m.set.(type) {
		case *epollSet:
			found = s.n
		case *pollSet:
			found = s.n
		case *selectSet:
			found = s.n
			if s.stale {
				t.Error("the kernel is asked for a closed descriptor")
			}
		}
		if found != 0 {
			t.Errorf("the kernel finds %d", found)
		}
	})
}

func TestRegularFiles(t *testing.T) {
	t.Run("are readable and writable and have no priority data", func(t *testing.T) {
		eachBackend(t, func(t *testing.T, m *multiplexer) {
			must(t, m.Add(regularFile(t), Readable|Writable|Priority, 1))
			for range 3 {
				events := make([]Event, 2)
				if n, err := m.Wait(events, -1); n != 1 || err != nil || events[0] != (Event{1, Readable | Writable}) {
					t.Fatalf("Wait = %d, %v: %v", n, err, events[:n])
				}
			}
		})
	})
	t.Run("with Oneshot come once, and again after Modify", func(t *testing.T) {
		eachBackend(t, func(t *testing.T, m *multiplexer) {
			fd := regularFile(t)
			must(t, m.Add(fd, Readable|Oneshot, 1))
			for token := range uint64(3) {
				expect(t, m, map[uint64]Interest{1 + token: Readable})
				expectNothing(t, m)
				must(t, m.Modify(fd, Readable|Oneshot, 2+token))
			}
		})
	})
	t.Run("with Edge come once, and again after Modify", func(t *testing.T) {
		m := openNamed(t, "epoll")
		fd := regularFile(t)
		must(t, m.Add(fd, Writable|Edge, 1))
		expect(t, m, map[uint64]Interest{1: Writable})
		expectNothing(t, m)
		must(t, m.Modify(fd, Readable|Edge, 2))
		expect(t, m, map[uint64]Interest{2: Readable})
		expectNothing(t, m)
	})
	t.Run("with Priority alone are silent, and Wait blocks", func(t *testing.T) {
		eachBackend(t, func(t *testing.T, m *multiplexer) {
			fd := regularFile(t)
			must(t, m.Add(fd, Priority, 1))
			start, timeout := time.Now(), 2*time.Millisecond
			n, err := m.Wait(make([]Event, 1), timeout)
			if took := time.Since(start); n != 0 || err != nil || took < timeout {
				t.Fatalf("Wait = %d, %v after %v", n, err, took)
			}
			must(t, m.Modify(fd, Priority|Readable, 2))
			expect(t, m, map[uint64]Interest{2: Readable})
			must(t, m.Modify(fd, Priority, 3))
			expectNothing(t, m)
		})
	})
	t.Run("leave with Remove", func(t *testing.T) {
		eachBackend(t, func(t *testing.T, m *multiplexer) {
			fd := regularFile(t)
			must(t, m.Add(fd, Readable, 1))
			must(t, m.Remove(fd))
			expectNothing(t, m)
			must(t, m.Add(fd, Writable, 2))
			expect(t, m, map[uint64]Interest{2: Writable})
		})
	})
}

func TestNothingIsRepeatedBeforeTheRestWasReported(t *testing.T) {
	for _, room := range []int{1, 2, 7, 64} {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			eachBackend(t, func(t *testing.T, m *multiplexer) {
				const count = 70 // more than a word of select's bitmaps
				for token := range uint64(count) {
					must(t, m.Add(readablePipe(t), Readable, token))
				}
				last := make(map[uint64]int) // place in the sequence of events
				events := make([]Event, room)
				for place := 0; place < 5*count; {
					n, err := m.Wait(events, 0)
					if n != room || err != nil {
						t.Fatalf("Wait = %d, %v", n, err)
					}
					for _, ev := range events {
						if before, ok := last[ev.Token]; ok && place-before != count {
							t.Fatalf("token %d came again after %d events, want %d", ev.Token, place-before, count)
						}
						last[ev.Token] = place
						place++
					}
				}
			})
		})
	}
}

func TestAlwaysReadyAndOthersShareASmallSlice(t *testing.T) {
	for _, room := range []int{1, 2, 3, 5} {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			eachBackend(t, func(t *testing.T, m *multiplexer) {
				for token := range uint64(3) {
					must(t, m.Add(regularFile(t), Readable, token))
					must(t, m.Add(readablePipe(t), Readable, 10+token))
				}
				const waits = 120
				count := make(map[uint64]int)
				for range waits {
					found := wait(t, m, room)
					if len(found) != room {
						t.Fatalf("Wait leaves room: %v", found)
					}
					for token := range found {
						count[token]++
					}
				}
				for _, token := range []uint64{0, 1, 2, 10, 11, 12} {
					if least := waits * room / 6 / 2; count[token] < least {
						t.Errorf("token %d came %d times, want at least half its share, %d: %v", token, count[token], least, count)
					}
				}
			})
		})
	}
}

func TestEdgesAreNotLostNextToWhatIsAlwaysReady(t *testing.T) {
	for _, room := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			m := openNamed(t, "epoll")
			for token := range uint64(5) {
				must(t, m.Add(regularFile(t), Readable, token))
				must(t, m.Add(readablePipe(t), Readable|Edge, 10+token))
			}
			count := make(map[uint64]int)
			for range 20 {
				for token := range wait(t, m, room) {
					count[token]++
				}
			}
			for token := uint64(10); token < 15; token++ {
				if count[token] != 1 {
					t.Errorf("the edge of token %d came %d times: %v", token, count[token], count)
				}
			}
		})
	}
}

func TestWakeCostsASystemCallOnlyForASleeperAndOnce(t *testing.T) {
	eachBackend(t, func(t *testing.T, m *multiplexer) {
		signals := func() uint64 {
			var count [8]byte
			if _, err := unix.Read(m.waker.fd, count[:]); err != unix.EAGAIN {
				must(t, err)
			}
			return binary.NativeEndian.Uint64(count[:])
		}
		must(t, m.Wake())
		must(t, m.Add(regularFile(t), Readable, 1))
		if n := signals(); n != 0 {
			t.Errorf("%d signals to nobody", n)
		}
		m.sleeping = true
		must(t, m.Wake())
		must(t, m.Wake())
		must(t, m.Add(regularFile(t), Readable, 2))
		if n := signals(); n != 1 {
			t.Errorf("%d signals to one sleeper", n)
		}
	})
}

func TestAWokenWaitStillReportsWhatIsReady(t *testing.T) {
	eachBackend(t, func(t *testing.T, m *multiplexer) {
		must(t, m.Add(readablePipe(t), Readable, 1))
		must(t, m.Wake())
		n, err := m.Wait(make([]Event, 4), -1)
		if n != 1 || err != nil {
			t.Errorf("Wait = %d, %v", n, err)
		}
	})
}

func TestAFailedChangeLeavesTheRegistration(t *testing.T) {
	eachBackend(t, func(t *testing.T, m *multiplexer) {
		fd, file := readablePipe(t), regularFile(t)
		must(t, m.Add(fd, Readable, 1))
		must(t, m.Add(file, Readable, 2))
		for _, fd := range []int{fd, file} {
			if err := m.Modify(fd, Readable|Hangup, 3); !errors.Is(err, syscall.EINVAL) {
				t.Fatalf("Modify with Hangup: %v", err)
			}
			if err := m.Add(fd, Writable, 4); !errors.Is(err, fs.ErrExist) {
				t.Fatalf("Add of what is registered: %v", err)
			}
			kept := duplicate(t, fd)
			must(t, unix.Close(fd))
			if err := m.Modify(fd, Readable, 5); !errors.Is(err, syscall.EBADF) {
				t.Fatalf("Modify of a closed descriptor: %v", err)
			}
			if err := m.Modify(fd, 0, 5); !errors.Is(err, syscall.EBADF) {
				t.Fatalf("Modify of a closed descriptor: %v", err)
			}
			must(t, unix.Dup3(kept, fd, unix.O_CLOEXEC))
		}
		expect(t, m, map[uint64]Interest{1: Readable, 2: Readable})
	})
}

func TestCloseEndsAWaitWithoutALimit(t *testing.T) {
	eachBackend(t, func(t *testing.T, m *multiplexer) {
		ended := make(chan error)
		go func() {
			_, err := m.Wait(make([]Event, 1), -1)
			ended <- err
		}()
		untilSleeping(m)
		must(t, m.Close())
		if err := <-ended; err != os.ErrClosed {
			t.Errorf("Wait: %v", err)
		}
	})
}

func TestTimespecIsNeverTooLongForTheKernel(t *testing.T) {
	for _, timeout := range []time.Duration{0, 1, time.Second - 1, time.Second, longest, longest + 1, 1<<63 - 1} {
		ts := timespec(timeout)
		if got, want := time.Duration(ts.Nano()), min(timeout, longest); got != want {
			t.Errorf("timespec(%d) is %d ns, want %d", timeout, got, want)
		}
	}
}

func TestADescriptorOfTheMultiplexerItselfIsRefused(t *testing.T) {
	eachBackend(t, func(t *testing.T, m *multiplexer) {
		if err := m.Add(m.waker.fd, Readable, 1); !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "belongs to this Mux") {
			t.Errorf("add: %v", err)
		}
		if err := m.Modify(m.waker.fd, Readable, 1); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("modify: %v", err)
		}
		if err := m.Remove(m.waker.fd); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("remove: %v", err)
		}
	})
}

func TestAWaitLooksWithoutBlockingWhereThatPays(t *testing.T) {
	eachBackend(t, func(t *testing.T, m *multiplexer) {
		r, w := emptyPipe(t)
		must(t, m.Add(r, Readable, 1))
		// tries counts how many of some waits looked first.
		tries := func(waits int, sleeps bool) (n int) {
			for range waits {
				if !sleeps {
					write(t, w)
				}
				if m.glance.ahead == 0 {
					n++
				}
				if found, err := m.Wait(make([]Event, 1), time.Nanosecond); (found == 0) != sleeps || err != nil {
					t.Fatalf("Wait = %d, %v", found, err)
				}
				if !sleeps {
					read(t, r)
				}
			}
			return n
		}
		if n := tries(1000, true); n > 16 {
			t.Errorf("%d of 1,000 waits that slept had looked first", n)
		}
		tries(128, false) // notices the load
		if n := tries(1000, false); n != 1000 {
			t.Errorf("%d of 1,000 waits under load looked first", n)
		}
	})
}
