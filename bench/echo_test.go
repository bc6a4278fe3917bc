package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-multierror"

	"iomux/apps/echo/responder"
	"iomux/bench/internal/jobs"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/netlab"
)

// BenchmarkEchoRoundTrip sends a request to the echo server when the reply to the one
// before is there, over raw sockets on loopback, with client and server on a loop
// each. Spin needs two idle processors.
//
// The percentiles are of single round trips.
func BenchmarkEchoRoundTrip(b *testing.B) {
	for _, spin := range []time.Duration{0, 50 * time.Microsecond} {
		b.Run(fmt.Sprintf("spin=%v", spin), func(b *testing.B) {
			eachBackend(b, func(b *testing.B, m mux.Mux) {
				between(b, m, spin, 1, 500)
				reportCostWith(b, spin, echo(1).name(), m.Name())
			})
		})
	}
}

// BenchmarkEchoWindow sends as many requests as replies arrive, so that so many are
// outstanding: what client and server, on a loop each, get through. The percentiles are
// of single round trips, most of which is the time in a queue.
func BenchmarkEchoWindow(b *testing.B) {
	for _, window := range *windowSizes {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			eachBackend(b, func(b *testing.B, m mux.Mux) {
				c := between(b, m, 0, window, max(2048, 8*window))
				b.ReportMetric(1e9/c.Wall(), "packets/s")
				reportCost(b, echo(window).name(), m.Name())
			})
		})
	}
}

// between measures rounds of so many packets there and back, with client and server on
// a goroutine each, and closes both: who counts the costs, of both on one loop, has the
// network to himself.
func between(b *testing.B, m mux.Mux, spin time.Duration, window, packets int) *jobs.Comparison {
	netlab.Need(b)
	if err := silenceKernel(); err != nil {
		b.Fatal(err)
	}
	defer serving(b, m.Name(), spin, window)()
	l := loop.New(m, loop.Spin(spin))
	defer l.Close()
	e, err := newExchange(l, window, packets)
	if err != nil {
		b.Fatal(err)
	}
	var trips jobs.Latencies
	c := rounds(b, func() (jobs.Sample, error) { return jobs.Timed(packets, e.round) }, func() { trips.Add(e.trips) })
	trips.Report(b.ReportMetric)
	return c
}

// silenceKernel leaves the requests to the server.
func silenceKernel() error { return kernelReplies(false) }

// kernelReplies has the kernel answer echo requests, or not.
func kernelReplies(on bool) error {
	lab, err := netlab.Current()
	if err != nil {
		return err
	}
	defer lab.Close()
	return lab.SetEchoReplies(on)
}

// open opens a raw ICMP socket that receives one type, with room for a window of
// packets. (In the kernel's account a small one takes 768 bytes of twice the size.)
func open(receives uint8, window int) (transport.Transport, error) {
	return transport.Open("ip4:icmp", "", &transport.Config{
		RecvBuffer: max(1<<20, window<<10),
		Options:    icmp.Options{Types: []uint8{receives}},
	})
}

// serve has a responder on a loop answer whatever comes.
func serve(l *loop.Loop, window int) error {
	t, err := open(8, window)
	if err != nil {
		return err
	}
	l.Own(t)
	_, err = responder.New(l, t, responder.Config{Policy: responder.NewPolicy(responder.PolicyConfig{Rate: -1})})
	return err
}

// serving runs a responder on a goroutine of its own, until stop.
func serving(b *testing.B, backend string, spin time.Duration, window int) (stop func()) {
	m, err := mux.Open(backend)
	if err != nil {
		b.Fatal(err)
	}
	l := loop.New(m, loop.Spin(spin))
	if err := serve(l, window); err != nil {
		l.Close()
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	return func() {
		l.Stop()
		var all *multierror.Error
		all = multierror.Append(all, <-ended, l.Close())
		if err := all.ErrorOrNil(); err != nil {
			b.Error(err)
		}
	}
}
