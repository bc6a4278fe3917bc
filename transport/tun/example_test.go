package tun_test

import (
	"fmt"
	"log"
	"net/netip"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/tun"
)

// A device with two queues, each for a goroutine of its own. Closing the device
// closes them both.
func ExampleDevice_Queues() {
	t, err := transport.Open("tun", "lab0", &transport.Config{
		Queues: 2,
		Options: tun.Options{
			Addrs:  []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")},
			Routes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()
	device, _ := transport.As[*tun.Device](t)
	fmt.Println("ping 198.51.100.77 is now heard on", device.Name())
	for _, queue := range device.Queues() {
		go func() {
			ms := make([]transport.Message, queue.BatchSize())
			for i := range ms {
				ms[i].Buf = make([]byte, 1500)
			}
			for {
				unix.Poll([]unix.PollFd{{Fd: int32(queue.FD()), Events: unix.POLLIN}}, -1) // or a mux.Mux
				n, err := queue.Recv(ms)
				if err != nil {
					return
				}
				for i := range ms[:n] {
					fmt.Println("a packet of", ms[i].N, "bytes")
				}
			}
		}()
	}
}
