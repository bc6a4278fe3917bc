package loop_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
	"time"

	"iomux/mux/loop"
)

// kept catches a signal for the length of the test, lest one that the loop does
// not catch ends the process.
func kept(t *testing.T, sig os.Signal) (caught chan os.Signal) {
	caught = make(chan os.Signal, 16)
	signal.Notify(caught, sig)
	t.Cleanup(func() { signal.Stop(caught) })
	return caught
}

func raise(t *testing.T, sig syscall.Signal) {
	t.Helper()
	must(t, syscall.Kill(os.Getpid(), sig))
}

func TestASignalIsDeliveredOnTheLoop(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		kept(t, syscall.SIGUSR1)
		var got []os.Signal // without a lock: the race detector tells if it is another goroutine
		stop := l.Notify(func(sig os.Signal) {
			got = append(got, sig)
			l.Stop()
		}, syscall.SIGUSR1)
		defer stop()
		for range 3 {
			l.Post(func() { raise(t, syscall.SIGUSR1) })
			run(t, l)
		}
		if len(got) != 3 || got[0] != syscall.SIGUSR1 {
			t.Errorf("delivered: %v", got)
		}
	})
}

func TestASignalReachesEveryNotify(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		kept(t, syscall.SIGUSR1)
		left := 3
		for range left {
			l.Notify(func(os.Signal) {
				if left--; left == 0 {
					l.Stop()
				}
			}, syscall.SIGUSR1)
		}
		raise(t, syscall.SIGUSR1)
		run(t, l)
	})
}

func TestAfterStopNoSignalIsDelivered(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		caught := kept(t, syscall.SIGUSR1)
		stop := l.Notify(func(os.Signal) { t.Error("delivered") }, syscall.SIGUSR1)

		// Whether it is on its way to the loop by now or not.
		raise(t, syscall.SIGUSR1)
		<-caught
		runtime.Gosched()
		stop()
		stop()
		raise(t, syscall.SIGUSR1)
		<-caught
		l.AfterFunc(0, l.Stop)
		run(t, l)
	})
}

func TestASignalMayStopItsDelivery(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		caught := kept(t, syscall.SIGUSR1)
		var stop func()
		calls := 0
		stop = l.Notify(func(os.Signal) {
			calls++
			stop()
			l.Stop()
		}, syscall.SIGUSR1)
		for range 3 {
			raise(t, syscall.SIGUSR1)
			<-caught
		}
		run(t, l)
		turn(t, l)
		if calls != 1 {
			t.Errorf("called %d times, want once", calls)
		}
	})
}

func TestCloseEndsTheDeliveryOfSignals(t *testing.T) {
	eachBackend(t, func(t *testing.T, l *loop.Loop) {
		before := runtime.NumGoroutine()
		var stops []func()
		for range 5 {
			stops = append(stops, l.Notify(func(os.Signal) { t.Error("delivered") }, syscall.SIGUSR2))
		}
		stops[1]()
		must(t, l.Close())
		stops[1]()
		stops[2]()
		for runtime.NumGoroutine() > before+1 { // one belongs to os/signal
			runtime.Gosched()
		}
		caught := kept(t, syscall.SIGUSR2)
		raise(t, syscall.SIGUSR2)
		<-caught
	})
}

// The test runs itself, since the usual effect of the signal is to end the
// process.
func TestAfterStopASignalHasItsUsualEffect(t *testing.T) {
	const role = "IOMUX_TEST_SIGNAL"
	if os.Getenv(role) != "" {
		l, _ := simulated(t)
		l.Notify(func(os.Signal) {}, syscall.SIGTERM)()
		raise(t, syscall.SIGTERM)
		select {} // the watchdog of the test that started this one ends it
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	self := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$")
	self.Env = append(os.Environ(), role+"=1")
	out, err := self.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("the signal that nobody wants to hear of any more ends the process with %v\n%s", err, out)
	}
}
