package prober_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/apps/echo/prober/targets"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
)

// Three probes to one host, one after the other.
func ExampleRun() {
	hosts, err := targets.Parse("127.0.0.1")
	if err != nil {
		log.Fatal(err)
	}
	cfg := prober.Config{Targets: hosts, Count: 3, Window: 1, Timeout: 10 * time.Second, Data: make([]byte, 56)}
	for r, err := range prober.Run(context.Background(), cfg) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.Addr, r.Number, r.Outcome, r.RTT > 0)
	}
	// Output:
	// 127.0.0.1 1 reply true
	// 127.0.0.1 2 reply true
	// 127.0.0.1 3 reply true
}

// A network at ten thousand probes a second, on a loop that the program has anyway.
func ExampleNew() {
	m, err := mux.Open("")
	if err != nil {
		log.Fatal(err)
	}
	l := loop.New(m)
	defer l.Close()

	hosts, err := targets.Parse("127.0.0.0/24")
	if err != nil {
		log.Fatal(err)
	}
	p, err := prober.New(l, prober.Config{
		Targets: hosts, Count: 2, Rate: 10_000, Timeout: 10 * time.Second, Data: make([]byte, 56),
		OnResult: func(r *prober.Result) {
			if r.Outcome != stats.Reply {
				fmt.Println(r.Addr, r.Outcome)
			}
		},
		OnDone: l.Stop,
	})
	if err != nil {
		log.Fatal(err)
	}
	l.Own(p)
	p.Start()
	if err := l.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	c := p.Total().Counts()
	fmt.Printf("%d sent, %d received, %.0f%% lost\n", c.Sent, c.Received(), 100*c.Loss())
	// Output: 512 sent, 512 received, 0% lost
}

// A transport of one's own: here one that counts what it sends.
func ExampleConfig_open() {
	hosts, err := targets.Parse("127.0.0.1")
	if err != nil {
		log.Fatal(err)
	}
	var counted *counting
	cfg := prober.Config{Targets: hosts, Count: 5, Timeout: 10 * time.Second,
		Open: func(o prober.Opening) (transport.Transport, error) {
			t, err := prober.OpenSocket(o) // or anything else that carries ICMP or IP
			if err != nil {
				return nil, err
			}
			counted = &counting{Transport: t}
			return counted, nil
		}}
	for r, err := range prober.Run(context.Background(), cfg) {
		if err != nil || r.Outcome != stats.Reply {
			log.Fatal(r, err)
		}
	}
	fmt.Println(counted.sent, "sent")
	// Output: 5 sent
}

type counting struct {
	transport.Transport
	sent int
}

// Unwrap has transport.As find what the socket can besides: time stamps, errors, drops.
func (c *counting) Unwrap() transport.Transport { return c.Transport }

func (c *counting) Send(ms []transport.Message) (int, error) {
	n, err := c.Transport.Send(ms)
	c.sent += n
	return n, err
}
