package responder_test

import (
	"context"
	"fmt"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/targets"
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

	hosts, err := targets.Parse("127.0.0.1")
	if err != nil {
		return err
	}
	p, err := prober.New(l, prober.Config{
		Targets: hosts,
		Data:    []byte("Hello from client!"), Verbatim: true,
		Count:   1,
		Timeout: 10 * time.Second,
		OnResult: func(r *prober.Result) { // Corrupt, as the data is not what was sent
			fmt.Printf("%s\n", r.Data)
		},
		OnDone: l.Stop,
	})
	if err != nil {
		return err
	}
	l.Own(p)
	p.Start()
	if err := l.Run(context.Background()); err != nil {
		return err
	}
	fmt.Println(r.Stats().Answered, "answered")
	return nil
}
