package udp_test

import (
	"fmt"
	"log"
	"net"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/udp"
)

// An echo server, and a client of package net that asks it.
func Example() {
	t, err := transport.Open("udp4", "127.0.0.1:0", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()
	server, _ := transport.As[udp.Conn](t)

	client, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fmt.Fprint(client, "hello")

	unix.Poll([]unix.PollFd{{Fd: int32(t.FD()), Events: unix.POLLIN}}, -1) // or a mux.Mux
	ms := []transport.Message{{Buf: make([]byte, 1500)}}
	n, err := t.Recv(ms)
	if err != nil {
		log.Fatal(err)
	}
	for i := range ms[:n] {
		ms[i].Reply()
	}
	if _, err := t.Send(ms[:n]); err != nil {
		log.Fatal(err)
	}

	answer := make([]byte, 1500)
	k, err := client.Read(answer)
	fmt.Println(string(answer[:k]), err)
	// Output: hello <nil>
}

// Bulk traffic: one message of ten datagrams there, and received as one.
func Example_segments() {
	open := func() udp.Conn {
		t, err := transport.Open("udp4", "127.0.0.1:0", &transport.Config{Options: udp.Options{GRO: true}})
		if err != nil {
			log.Fatal(err)
		}
		return t.(udp.Conn)
	}
	a, b := open(), open()
	defer a.Close()
	defer b.Close()
	if a.GSO() != nil || b.GRO() != nil { // an old kernel: ten messages would come
		fmt.Println("12000 bytes, of 1200 each")
		return
	}
	bulk := transport.Message{Buf: make([]byte, 12_000), N: 12_000, Peer: b.LocalAddr(), Segment: 1200}
	if _, err := a.Send([]transport.Message{bulk}); err != nil {
		log.Fatal(err)
	}

	unix.Poll([]unix.PollFd{{Fd: int32(b.FD()), Events: unix.POLLIN}}, -1)
	ms := []transport.Message{{Buf: make([]byte, 1<<16)}}
	if _, err := b.Recv(ms); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d bytes, of %d each\n", ms[0].N, ms[0].Segment)
	// Output: 12000 bytes, of 1200 each
}
