package queue_test

import (
	"fmt"
	"time"

	"iomux/apps/echo/responder/queue"
)

func Example() {
	const ms = time.Millisecond
	q, err := queue.New[string](2, 4096)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(q.Push(30*ms, "peer A", []byte("held longer")))
	fmt.Println(q.Push(20*ms, "peer B", []byte("overtakes")))
	fmt.Println(q.Push(10*ms, "peer C", []byte("finds no room")))
	for now := 0 * ms; q.Len() > 0; now += 10 * ms {
		for {
			peer, data, ok := q.Pop(now, nil)
			if !ok {
				break
			}
			fmt.Printf("%v: %s to %s\n", now, data, peer)
		}
	}
	fmt.Println(q.Refused(), "refused")
	// Output:
	// true
	// true
	// false
	// 20ms: overtakes to peer B
	// 30ms: held longer to peer A
	// 1 refused
}
