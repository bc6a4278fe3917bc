package cmd

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// echoOf is how soon after the first signal another one is taken for the same
// wish: timeout(1) and others signal a process and then its group.
const echoOf = 500 * time.Millisecond

// endings are the signals that end a server, or the demo.
var endings = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}

// onInterrupt calls stop at the first of the signals, and leaves at the second,
// after calling atOnce: a command may be stuck in writing to a terminal that is not
// read. Signals that the process was started to ignore (as
// nohup(1) does) stay ignored. Broken pipes become errors of the write instead of
// ending the process, but not for the programs that it starts. The returned function
// ends the watch.
func onInterrupt(stop, atOnce func(), signals ...os.Signal) (end func()) {
	ch := make(chan os.Signal, 2)
	for _, sig := range signals {
		if !signal.Ignored(sig) {
			signal.Notify(ch, sig)
		}
	}
	// What is caught is the default for the programs that this one starts, unlike what
	// is ignored.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		var first time.Time
		for {
			select {
			case sig := <-ch:
				switch {
				case first.IsZero():
					first = time.Now()
					go stop() // it may have something to trace, and be stuck in that
				case time.Since(first) >= echoOf:
					atOnce()
					os.Exit(128 + int(sig.(syscall.Signal)))
				}
			case <-quit:
				return
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		signal.Stop(broken)
		close(quit)
		<-gone
	}
}
