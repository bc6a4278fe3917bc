package resolve

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"testing/synctest"
)

// hand is a loop that is turned by hand.
type hand chan func()

func (h hand) post(fn func()) { h <- fn }

func (h hand) turn() {
	synctest.Wait()
	for {
		select {
		case fn := <-h:
			fn()
		default:
			return
		}
	}
}

// bench is a Pool with a Lookup that waits to be told.
type bench struct {
	*Pool
	hand
	asked   []string
	release chan struct{}
}

func newBench(workers int) *bench {
	b := &bench{hand: make(hand, 100), release: make(chan struct{}, 100)}
	started := make(chan string, 100)
	lock := make(chan struct{}, 1)
	b.Pool = NewPool(func(ctx context.Context, network, host string) (Answer, error) {
		lock <- struct{}{}
		b.asked = append(b.asked, network+" "+host)
		<-lock
		started <- host
		select {
		case <-b.release:
		case <-ctx.Done():
			return Answer{}, ctx.Err()
		}
		switch host {
		case "empty":
			return Answer{}, nil
		case "bad":
			return Answer{}, errors.New("bad")
		}
		return Answer{Addrs: []netip.Addr{netip.IPv6Loopback()}}, nil
	}, workers, b.hand.post)
	return b
}

func (b *bench) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	got := slices.Sorted(slices.Values(b.asked)) // workers start together
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}

func TestPoolDeliversOnTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(2)
		defer b.Close()
		var got []string
		for _, host := range []string{"good", "bad", "empty"} {
			b.Resolve("ip", host, func(a Answer, err error) {
				got = append(got, fmt.Sprintf("%s %d %v", host, len(a.Addrs), err))
			})
			b.release <- struct{}{}
			synctest.Wait()
		}
		if len(got) > 0 {
			t.Errorf("delivered before the loop has turned: %q", got)
		}
		b.turn()
		want := []string{"good 1 <nil>", "bad 0 bad", "empty 0 lookup empty: no such host"}
		if !slices.Equal(got, want) {
			t.Errorf("delivered %q, want %q", got, want)
		}
	})
}

func TestPoolAsksForAFewAtATimeAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(2)
		defer b.Close()
		var want []string
		for i := range 6 {
			b.Resolve("ip", fmt.Sprint(i), func(Answer, error) {})
			want = append(want, fmt.Sprint("ip ", i))
		}
		for n := 2; n <= 6; n++ {
			b.expect(t, want[:n]...)
			b.release <- struct{}{}
		}
		b.release <- struct{}{}
		b.turn()
		// The workers have ended; there are as many again.
		for i := range 3 {
			b.Resolve("ip4", fmt.Sprint(i), func(Answer, error) {})
		}
		b.expect(t, append(want, "ip4 0", "ip4 1")...)
	})
}

func TestPoolHasOneWorkerAtLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(0)
		defer b.Close()
		b.Resolve("ip", "x", func(Answer, error) {})
		b.expect(t, "ip x")
	})
}

func TestPoolAsksOnceForWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(1)
		defer b.Close()
		delivered := 0
		count := func(Answer, error) { delivered++ }
		b.Resolve("ip", "x", count)
		b.Resolve("ip", "y", count)
		b.expect(t, "ip x")
		b.Resolve("ip", "x", count) // is at work
		b.Resolve("ip", "y", count) // is in the queue
		b.Resolve("ip4", "x", count)
		for range 3 {
			b.release <- struct{}{}
		}
		b.turn()
		if b.expect(t, "ip x", "ip y", "ip4 x"); delivered != 5 {
			t.Errorf("%d delivered, want 5", delivered)
		}
		b.Resolve("ip", "x", func(Answer, error) { b.Resolve("ip", "z", count) })
		b.release <- struct{}{}
		b.turn()
		b.expect(t, "ip x", "ip y", "ip4 x", "ip x", "ip z")
	})
}

// That no goroutine stays is what synctest sees to.
func TestPoolCloseCancelsAndCallsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(2)
		never := func(Answer, error) { t.Error("called after Close") }
		called := 0
		b.Resolve("ip", "first", func(Answer, error) {
			called++
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
		b.Resolve("ip", "first", never)
		b.release <- struct{}{}
		synctest.Wait()
		for i := range 5 {
			b.Resolve("ip", fmt.Sprint(i), never)
		}
		b.turn()
		b.Resolve("ip", "late", never)
		b.turn()
		if b.expect(t, "ip first", "ip 0", "ip 1"); called != 1 {
			t.Errorf("called %d times, want 1", called)
		}
		if err := b.Close(); err != os.ErrClosed {
			t.Errorf("second Close: %v", err)
		}
	})
}
