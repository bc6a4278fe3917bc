package responder_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/responder"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
	"iomux/transport/icmp"
)

// One loop serves both sides: a responder in the place of the kernel, and a
// prober that asks it once.
func Example() {
	if err := greet(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// Hello from client!
	// Hello from server!
	// 1 answered
}

func greet() error {
	taken, err := responder.TakeOver()
	if err != nil {
		return err
	}
	defer taken.Restore()
	m, err := mux.Open("")
	if err != nil {
		return err
	}
	l := loop.New(m)
	defer l.Close()

	server, err := transport.Open("ip4:icmp", "", &transport.Config{Options: icmp.Options{Types: []uint8{8}}})
	if err != nil {
		return err
	}
	l.Own(server)
	r, err := responder.New(l, server, responder.Config{
		Data:      []byte("Hello from server!"),
		OnRequest: func(r responder.Request) { fmt.Printf("%s\n", r.Echo.Data) },
	})
	if err != nil {
		return err
	}

	client, err := transport.Open("ip4:icmp", "", &transport.Config{Options: icmp.Options{Types: []uint8{0}}})
	if err != nil {
		return err
	}
	l.Own(client)
	p, err := prober.New(l, client, prober.Config{
		Targets: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Data:    []byte("Hello from client!"),
		Count:   1,
		Timeout: 10 * time.Second,
		OnResult: func(r prober.Result) {
			if r.Outcome == prober.Reply {
				fmt.Printf("%s\n", r.Echo.Data)
			}
		},
		OnDone: l.Stop,
	})
	if err != nil {
		return err
	}
	p.Start()
	if err := l.Run(context.Background()); err != nil {
		return err
	}
	fmt.Println(r.Stats().Answered, "answered")
	return nil
}
