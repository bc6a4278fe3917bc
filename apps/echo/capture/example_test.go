package capture_test

import (
	"bytes"
	"fmt"
	"io"
	"log"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"iomux/apps/echo/capture"
	"iomux/transport"
)

// An echo request through any transport, and what the file says of it.
func Example() {
	var t transport.Transport = &fake{} // or transport.Open("ip4:icmp", "", nil)
	var file bytes.Buffer               // or os.Create("echo.pcapng")

	w := capture.NewWriter(&file)
	t, err := w.Wrap(t, capture.Options{Name: "ip4:icmp", Payload: capture.ICMPv4})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := t.Send([]transport.Message{message("192.0.2.1", echoRequest(8))}); err != nil {
		log.Fatal(err)
	}
	t.Close()
	if err := w.Close(); err != nil { // and the file
		log.Fatal(err)
	}

	r, err := pcapgo.NewNgReader(&file, pcapgo.NgReaderOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for {
		data, _, err := r.ReadPacketData()
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		p := gopacket.NewPacket(data, r.LinkType(), gopacket.Default)
		ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		icmp := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
		fmt.Println(p.Layer(layers.LayerTypeLinuxSLL).(*layers.LinuxSLL).PacketType, ip.DstIP, icmp.TypeCode, icmp.Seq)
	}
	// Output: outgoing 192.0.2.1 EchoRequest 7
}
