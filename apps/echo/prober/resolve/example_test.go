package resolve_test

import (
	"context"
	"fmt"
	"log"

	"iomux/apps/echo/prober/resolve"
	"iomux/mux"
	"iomux/mux/loop"
)

// A loop learns addresses without waiting for them, and asks again in time.
func ExamplePool() {
	m, err := mux.Open("")
	if err != nil {
		log.Fatal(err)
	}
	l := loop.New(m)
	defer l.Close()

	names := resolve.NewPool(resolve.System(), 16, l.Post)
	l.Own(names) // closed with the loop
	var ask func()
	ask = func() {
		names.Resolve("ip4", "127.0.0.1", func(a resolve.Answer, err error) {
			if err != nil {
				fmt.Println(err)
			} else {
				fmt.Println(a.Addrs)
			}
			l.AfterFunc(a.Refresh(), ask)
			l.Stop() // this is only an example
		})
	}
	ask()
	if err := l.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: [127.0.0.1]
}
