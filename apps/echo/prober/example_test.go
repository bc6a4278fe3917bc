package prober_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	"iomux/apps/echo/prober"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
	"iomux/transport/icmp"
)

// Three probes to two hosts, on a raw socket that receives the replies to them
// and no others.
func Example() {
	m, err := mux.Open("")
	if err != nil {
		log.Fatal(err)
	}
	l := loop.New(m)
	defer l.Close()

	id := prober.NewID()
	filter, err := icmp.EchoReplyFilter(id)
	if err != nil {
		log.Fatal(err)
	}
	t, err := transport.Open("ip4:icmp", "", &transport.Config{Filter: filter})
	if err != nil {
		log.Fatal(err)
	}
	l.Own(t)

	hosts := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}
	p, err := prober.New(l, t, prober.Config{
		Targets:  hosts,
		ID:       id,
		Count:    3,
		Interval: 10 * time.Millisecond,
		Timeout:  10 * time.Second,
		OnResult: func(r prober.Result) {
			if r.Outcome != prober.Reply {
				fmt.Println(hosts[r.Target], r.Outcome, r.Seq)
			}
		},
		OnDone: l.Stop,
	})
	if err != nil {
		log.Fatal(err)
	}
	p.Start()
	if err := l.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	for i, host := range hosts {
		s := p.Stats(i)
		fmt.Printf("%v: %d sent, %d received, %.0f%% lost\n", host, s.Sent, s.Received, 100*s.Loss())
	}
	// Output:
	// 127.0.0.1: 3 sent, 3 received, 0% lost
	// 127.0.0.2: 3 sent, 3 received, 0% lost
}
