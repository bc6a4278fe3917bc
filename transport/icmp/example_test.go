package icmp_test

import (
	"fmt"
	"log"
	"net/netip"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/icmp"
)

// One echo request through a ping socket, whose checksum and identifier the
// kernel fills in.
func Example() {
	t, err := transport.Open("udp4:icmp", "", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()

	request := []byte{8, 0, 0, 0, 0, 0, 0, 1, 'h', 'e', 'l', 'l', 'o'}
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 0)
	if _, err := t.Send([]transport.Message{{Buf: request, N: len(request), Peer: to}}); err != nil {
		log.Fatal(err)
	}

	unix.Poll([]unix.PollFd{{Fd: int32(t.FD()), Events: unix.POLLIN}}, 1000) // or a mux.Mux
	ms := []transport.Message{{Buf: make([]byte, 1500)}}
	n, err := t.Recv(ms)
	if err != nil {
		log.Fatal(err)
	}
	for i := range ms[:n] {
		fmt.Printf("%v ttl %d: %s\n", ms[i].Peer.Addr(), ms[i].TTL, ms[i].Bytes()[8:])
	}
}

// A raw socket for a prober: it receives the replies to requests with its own
// identifier, and what other hosts report about those requests.
func ExampleProbeFilter() {
	filter, err := icmp.ProbeFilter(0xbeef)
	if err != nil {
		log.Fatal(err)
	}
	t, err := transport.Open("ip4:icmp", "", &transport.Config{Filter: filter, RecvBuffer: 1 << 20})
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()
}

// The round-trip time between the kernel's time stamps of a request and of its
// reply.
func ExampleOptions() {
	t, err := transport.Open("udp6:ipv6-icmp", "", &transport.Config{Options: icmp.Options{Stamps: true, Errors: true}})
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()

	request := []byte{128, 0, 0, 0, 0, 0, 0, 1, 'h', 'e', 'l', 'l', 'o'}
	to := netip.AddrPortFrom(netip.MustParseAddr("::1"), 0)
	if _, err := t.Send([]transport.Message{{Buf: request, N: len(request), Peer: to, ID: 1}}); err != nil {
		log.Fatal(err)
	}

	unix.Poll([]unix.PollFd{{Fd: int32(t.FD()), Events: unix.POLLIN}}, 1000) // or a mux.Mux
	ms := []transport.Message{{Buf: make([]byte, 1500)}}
	n, err := t.Recv(ms) // which also fetches stamps and errors
	if err != nil {
		log.Fatal(err)
	}
	sent := make([]transport.TransmitStamp, 1)
	if s, ok := transport.As[transport.TransmitStamper](t); ok {
		if _, _, err := s.TransmitStamps(sent); err != nil {
			log.Fatal(err) // the kernel has none
		}
	}
	for _, m := range ms[:n] {
		fmt.Println("request", sent[0].ID, "took", m.Time.Sub(sent[0].Time))
	}
	failed := make([]transport.ErrorReport, 1)
	if e, ok := transport.As[transport.ErrorReporter](t); ok {
		n, _, _ := e.ErrorReports(failed)
		for _, f := range failed[:n] {
			fmt.Printf("%v says that %v cannot be reached: %v\n", f.From, f.Peer.Addr(), f.Errno)
		}
	}
}
