package main

import "net"

// serveGoroutine answers from one goroutine, which waits for the runtime's poller.
func serveGoroutine(ready func()) error {
	a, err := net.ResolveUDPAddr("udp4", address)
	if err != nil {
		return err
	}
	c, err := net.ListenUDP("udp4", a)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetReadBuffer(buffer); err != nil {
		return err
	}
	ready()
	for datagram := make([]byte, size); ; {
		n, from, err := c.ReadFromUDPAddrPort(datagram)
		if err == nil {
			_, err = c.WriteToUDPAddrPort(datagram[:n], from)
		}
		if err != nil {
			return err
		}
	}
}
