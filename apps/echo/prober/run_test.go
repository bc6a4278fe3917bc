package prober_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/transport"
)

// descriptors is how many are open.
func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range d {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			n++
		}
	}
	return n
}

func TestRunYieldsResultsToTheEnd(t *testing.T) {
	kernelReplies(t, true)
	before := descriptors(t)
	done := 0
	n := 0
	for r, err := range prober.Run(context.Background(), prober.Config{Targets: list("127.0.0.1", "::1"), Count: 20, Timeout: patience,
		Data: sixteen, OnResult: func(*prober.Result) { n++ }, OnDone: func() { done++ }}) {
		if err != nil || r.Outcome != stats.Reply {
			t.Fatalf("%+v, %v", r, err)
		}
		n++
	}
	if n != 2*40 || done != 1 {
		t.Errorf("%d results in the range and in OnResult, want 40 in both; done %d times", n, done)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are left open", after-before)
	}
}

func TestRunMayBeRangedOverAgain(t *testing.T) {
	kernelReplies(t, true)
	results := 0
	seq := prober.Run(context.Background(), prober.Config{Targets: list("127.0.0.1"), Count: 1, Timeout: patience,
		OnResult: func(*prober.Result) { results++ }})
	for range 2 {
		for _, err := range seq {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if results != 2 {
		t.Errorf("%d results, want one each time", results)
	}
}

func TestRunEndsWithBreak(t *testing.T) {
	kernelReplies(t, true)
	before := descriptors(t)
	for n := range 3 {
		for _, err := range prober.Run(context.Background(), prober.Config{Targets: list("127.0.0.1-200"), Timeout: patience, Window: 100}) {
			if err != nil {
				t.Fatal(err)
			}
			if n--; n < 0 {
				break
			}
		}
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are left open", after-before)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	kernelReplies(t, true)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var last error
	n := 0
	for _, err := range prober.Run(ctx, prober.Config{Targets: list("127.0.0.1"), Interval: time.Millisecond, Timeout: patience}) {
		if last != nil {
			t.Fatal("there is more after the error")
		}
		if last = err; err == nil {
			if n++; n == 5 {
				cancel()
			}
		}
	}
	if !errors.Is(last, context.Canceled) || n < 5 {
		t.Errorf("it ended with %v after %d results", last, n)
	}
	n = 0
	for _, err := range prober.Run(ctx, prober.Config{Targets: list("127.0.0.1")}) {
		if n++; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d elements with a context that is over", n)
	}
}

func TestRunYieldsTheErrorOfItsConfig(t *testing.T) {
	n := 0
	for r, err := range prober.Run(context.Background(), prober.Config{}) {
		if n++; err == nil || err.Error() != "prober: no targets" || r.Number != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if n != 1 {
		t.Errorf("%d elements", n)
	}
}

// deaf is a transport that cannot receive.
type deaf struct{ transport.Transport }

func (d deaf) Recv([]transport.Message) (int, error) { return 0, errDeaf }

var errDeaf = errors.New("deaf")

func TestRunYieldsAFailure(t *testing.T) {
	kernelReplies(t, true)
	var failures []error
	var last error
	for _, err := range prober.Run(context.Background(), prober.Config{Targets: list("127.0.0.1"), Timeout: patience,
		OnFailure: func(err error) { failures = append(failures, err) },
		Open: func(o prober.Opening) (transport.Transport, error) {
			t, err := prober.OpenSocket(o)
			return deaf{t}, err
		}}) {
		last = err
	}
	if !errors.Is(last, errDeaf) || len(failures) != 1 {
		t.Errorf("%v, and OnFailure got %v", last, failures)
	}
}

func TestRunClosesAllWhenItsCallerPanics(t *testing.T) {
	kernelReplies(t, true)
	before := descriptors(t)
	func() {
		defer func() {
			if recover() != "enough" {
				t.Error("no panic")
			}
		}()
		for range prober.Run(context.Background(), prober.Config{Targets: list("127.0.0.1"), Timeout: patience}) {
			panic("enough")
		}
	}()
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are left open", after-before)
	}
}
