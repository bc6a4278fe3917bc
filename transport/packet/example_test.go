package packet_test

import (
	"fmt"
	"log"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/packet"
)

// Print who talks IPv4 to whom on an interface.
func Example() {
	t, err := transport.Open("packet", "eth0", &transport.Config{
		Options: packet.Options{EtherType: 0x0800, Promiscuous: true},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()

	ms := make([]transport.Message, t.BatchSize())
	for i := range ms {
		ms[i].Buf = make([]byte, 1<<16)
	}
	for {
		unix.Poll([]unix.PollFd{{Fd: int32(t.FD()), Events: unix.POLLIN}}, -1) // or a mux.Mux
		n, err := t.Recv(ms)
		if err != nil {
			log.Fatal(err)
		}
		for i := range ms[:n] {
			if ip := ms[i].Bytes(); len(ip) >= 20 && ip[0]>>4 == 4 {
				fmt.Println(ms[i].Time, ip[12:16], ip[16:20])
			}
		}
	}
}

// Two transports share what an interface receives, each flow going to one.
func ExampleFanout() {
	share := &transport.Config{Options: packet.Options{
		Fanout: packet.Fanout{Group: 1, Mode: packet.Hash},
	}}
	for range 2 {
		t, err := transport.Open("packet:raw", "eth0", share)
		if err != nil {
			log.Fatal(err)
		}
		defer t.Close()
	}
}
