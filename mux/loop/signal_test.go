package loop_test

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"testing"

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
		for range 5 {
			l.Notify(func(os.Signal) { t.Error("delivered") }, syscall.SIGUSR2)
		}
		stop := l.Notify(func(os.Signal) { t.Error("delivered") }, syscall.SIGUSR2)
		must(t, l.Close())
		stop()
		for runtime.NumGoroutine() > before+1 { // one belongs to os/signal
			runtime.Gosched()
		}
		// With nobody to notify, the kernel's default is back; this one is
		// caught by the test alone.
		caught := kept(t, syscall.SIGUSR2)
		raise(t, syscall.SIGUSR2)
		<-caught
	})
}
