package cmd

import (
	"os"
	"os/signal"
	"syscall"
)

// onInterrupt calls stop at the first signal that asks to end, and leaves at
// the second, after calling atOnce: a command may be stuck in writing to a
// terminal that is not read. Broken pipes become errors of the write instead of
// ending the process. The returned function ends the watch.
func onInterrupt(stop, atOnce func()) (end func()) {
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	signal.Ignore(syscall.SIGPIPE)
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for stopped := false; ; stopped = true {
			select {
			case sig := <-ch:
				if stopped {
					atOnce()
					os.Exit(128 + int(sig.(syscall.Signal)))
				}
				stop()
			case <-quit:
				return
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		signal.Reset(syscall.SIGPIPE)
		close(quit)
		<-gone
	}
}
