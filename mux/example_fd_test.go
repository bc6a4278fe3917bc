package mux_test

import (
	"fmt"
	"log"
	"net"

	"iomux/mux"
)

// A socket of package net is watched by a Mux.
func ExampleFD() {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	m, err := mux.Open("")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	fd, err := mux.FD(conn)
	if err != nil {
		log.Fatal(err)
	}
	if err := m.Add(fd, mux.Readable, 7); err != nil {
		log.Fatal(err)
	}
	defer m.Remove(fd) // before conn.Close, which has kept conn reachable

	if _, err := conn.WriteTo([]byte("hello"), conn.LocalAddr()); err != nil {
		log.Fatal(err)
	}
	events := make([]mux.Event, 64)
	n, err := m.Wait(events, -1)
	if err != nil {
		log.Fatal(err)
	}
	for _, ev := range events[:n] {
		buf := make([]byte, 64)
		size, err := conn.Read(buf)
		fmt.Printf("%d is %v: %q, %v\n", ev.Token, ev.Ready, buf[:size], err)
	}
	// Output: 7 is readable: "hello", <nil>
}
