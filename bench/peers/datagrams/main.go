// Command datagrams is a UDP echo server (RFC 862) on 127.0.0.1, made with iomux, with
// gnet, or with a goroutine on the runtime's poller:
//
//	datagrams iomux|gnet|goroutine
//
// It says when it is ready, by a line, and answers until a signal ends it. Each has one
// loop and a receive buffer of the same size.
package main

import (
	"fmt"
	"os"
)

const (
	address = "127.0.0.1:7"
	size    = 2048      // bytes of a datagram, at most
	buffer  = 200 << 10 // bytes of the receive buffer, below the default net.core.rmem_max, past which root could go
)

var servers = map[string]func(ready func()) error{"iomux": serveIomux, "gnet": serveGnet, "goroutine": serveGoroutine}

func main() {
	if len(os.Args) != 2 || servers[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: datagrams iomux|gnet|goroutine")
		os.Exit(2)
	}
	if err := servers[os.Args[1]](func() { fmt.Println("ready") }); err != nil {
		fmt.Fprintln(os.Stderr, "datagrams:", err)
		os.Exit(1)
	}
}
