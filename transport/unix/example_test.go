package unix_test

import (
	"fmt"

	"iomux/transport"
	"iomux/transport/unix"
)

// A service answers every message, in place, and its client asks.
func ExamplePair() {
	client, service, err := unix.Pair(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	defer service.Close()

	client.Send([]transport.Message{
		{Buf: []byte("hello"), N: 5},
		{Buf: []byte("world"), N: 5},
	})

	ms := make([]transport.Message, service.BatchSize())
	for i := range ms {
		ms[i].Buf = make([]byte, 64)
	}
	n, _ := service.Recv(ms)
	for i := range ms[:n] {
		ms[i].Reply()
		ms[i].Bytes()[0] -= 'a' - 'A'
	}
	service.Send(ms[:n])

	n, _ = client.Recv(ms)
	for i := range ms[:n] {
		fmt.Printf("%s\n", ms[i].Bytes())
	}
	// Output:
	// Hello
	// World
}
