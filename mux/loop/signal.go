package loop

import (
	"os"
	"os/signal"
	"slices"
)

// Notify calls fn on the loop for each of the given signals, or for every
// signal if none is given, as [signal.Notify] does. After stop, which may be
// called more than once, fn is not called again. Signals travel by os/signal
// and Post: signalfd(2) does not see those that Go's runtime takes. After Close
// Notify does nothing.
func (l *Loop) Notify(fn func(os.Signal), sig ...os.Signal) (stop func()) {
	needFunc(fn != nil, "Notify")
	if l.closed {
		return func() {}
	}
	n := &notifier{l: l, ch: make(chan os.Signal, 16), quit: make(chan struct{}), gone: make(chan struct{})}
	l.signals = append(l.signals, n)
	signal.Notify(n.ch, sig...)
	go n.forward(fn)
	return n.stop
}

// notifier forwards signals to the loop.
type notifier struct {
	l       *Loop
	ch      chan os.Signal
	quit    chan struct{}
	gone    chan struct{}
	stopped bool
}

func (n *notifier) forward(fn func(os.Signal)) {
	defer close(n.gone)
	for {
		select {
		case s := <-n.ch:
			n.l.Post(func() {
				if !n.stopped {
					fn(s)
				}
			})
		case <-n.quit:
			return
		}
	}
}

func (n *notifier) stop() {
	if n.stopped {
		return
	}
	n.stopped = true
	signal.Stop(n.ch)
	close(n.quit)
	<-n.gone
	n.l.signals = slices.DeleteFunc(n.l.signals, func(have *notifier) bool { return have == n })
}
