// Package capture writes what transports receive and send to a file that
// tcpdump(8), tshark(1) and Wireshark read, in the pcapng format.
//
// It is for seeing what a program saw, on any transport: nothing is sniffed, so
// that no privilege is needed, and packets of other programs do not come in.
//
//	f, err := os.Create("echo.pcapng")
//	if err != nil {
//		return err
//	}
//	w := capture.NewWriter(f)
//	t, err := transport.Open("udp4:icmp", "", nil)
//	if err != nil {
//		return err
//	}
//	t, err = w.Wrap(t, capture.Options{Name: "udp4:icmp", Payload: capture.ICMPv4})
//	if err != nil {
//		return err
//	}
//	// ... use t as before; [transport.As] finds what it found before ...
//	t.Close()
//	return errors.Join(w.Close(), f.Close())
//
// Any number of transports can share a file, each of which is an interface in it. All
// that carry IP, whole or as ICMP or UDP, have the link-layer type that `tcpdump -i any`
// has, LINKTYPE_LINUX_SLL: it tells what was sent from what was received (packet
// type 4, "outbound" in pcap-filter(7)). tcpdump refuses a file with several
// link-layer types, which the others read.
//
// # What is in the file
//
// Messages are written when they have been received or sent, whole and in the order
// in which the calls end. The time of one received is its own if it has one (the
// kernel's), else that of the end of Recv; of one sent it is that of the beginning of
// Send. So an answer may stand in front of its request, but its time is not earlier;
// reordercap(1) sorts by time.
//
// IP packets and Ethernet frames are written as they are, and so is what a raw
// socket for IPv4 received with its header. Otherwise the header is made from the
// Message. What the kernel puts in and does not tell is missing there: the
// identification and the flag "don't fragment" are 0, and of a message sent the
// source address is unspecified (0.0.0.0 or ::) if neither the message nor
// Options.Source nor the address that the socket is bound to says it. The time to
// live of a message sent with the default is shown as 64, and as 1 to a multicast
// group, which are Linux's own.
//
// What the kernel changes in a message sent is shown as on the wire as far as that
// is known: the identifier of a ping socket ([transport.Identifier]) with the checksum
// that goes with it, and ICMPv6 checksums, which are computed for the addresses in the
// file. Messages received, and the checksums in IPv4 messages sent through a raw
// socket, are shown with their mistakes; an ICMPv6 message received looks wrong also if
// nothing says which address it was sent to (icmp.Options.NoPacketInfo). Of UDP the
// checksum is always computed. A message with a Segment is written as the datagrams that
// it is made of. What was Truncated is marked as longer than what was captured.
//
// # Errors
//
// The file is written to from within Recv and Send, 64 KiB at a time: an [io.Writer]
// that blocks holds them up. They never fail for it. After the first error nothing
// more is written, and Close returns it. What a program has not written when it is
// killed is lost; Flush writes what there is.
package capture

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"iomux/codec"
	"iomux/transport"
)

// Options say what cannot be found out about a transport. The zero value serves
// for transports that carry IP packets or Ethernet frames ([transport.Framer]).
type Options struct {
	// Name is that of the interface in the file, the network of the transport for
	// instance. It has at most 200 bytes of UTF-8.
	Name string
	// Payload is what the messages are of a transport whose framing is
	// [transport.Payload]. It is not looked at for others.
	Payload Payload
	// Source is our address in messages that have no Local:
	// [transport.Config].Source. The zero Addr is what the socket is bound to.
	Source netip.Addr
}

// Payload is what the messages of a transport without framing are.
type Payload uint8

const (
	// ICMPv4 messages, in IPv4 packets: "ip4:icmp", "udp4:icmp".
	ICMPv4 Payload = iota + 1
	// ICMPv6 messages, in IPv6 packets: "ip6:ipv6-icmp", "udp6:ipv6-icmp".
	ICMPv6
	// UDP is the data of UDP datagrams, in IPv4 or IPv6 packets as the Peer says.
	UDP
	// Opaque is anything else; it is written without addresses (LINKTYPE_USER0).
	Opaque
)

// Limits, in bytes.
const (
	maxName    = 200
	bufferSize = 64 << 10
	// maxCapture is the longest packet that tcpdump and Wireshark read
	// (MAXIMUM_SNAPLEN in libpcap). Of longer ones the beginning is written.
	maxCapture = 256 << 10
)

// Writer writes a file. Its methods may be called from any goroutine.
type Writer struct {
	mu     sync.Mutex
	out    *bufio.Writer
	ng     *pcapgo.NgWriter // nil before the first interface
	err    error            // the first error of writing
	closed bool

	// To make headers with, used again for each message.
	cooked []byte
	packet []byte
	fields codec.Packet
	ip4    codec.IPv4
	ip6    codec.IPv6
}

// NewWriter returns a Writer of a file that is still empty. The first Wrap begins to
// write.
func NewWriter(w io.Writer) *Writer {
	return &Writer{out: bufio.NewWriterSize(w, bufferSize)}
}

// Wrap returns t with what it receives and sends from now on written to the file.
// The caller uses the result in place of t; [transport.As] still finds the optional
// interfaces of t.
//
// The error says that the Options do not suit t, or that the file could not be
// written; t is then as it was. After Close it is [os.ErrClosed].
func (w *Writer) Wrap(t transport.Transport, o Options) (transport.Transport, error) {
	if len(o.Name) > maxName || !utf8.ValidString(o.Name) {
		return nil, fmt.Errorf("capture: Options.Name is %.20q...: want at most %d bytes of UTF-8", o.Name, maxName)
	}
	c := &captured{Transport: t, w: w, source: o.Source}
	link, err := c.recognize(o.Payload)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, fmt.Errorf("capture: %w", os.ErrClosed)
	}
	c.id = w.add(o.Name, link)
	if err := w.flush(); err != nil {
		return nil, err
	}
	return c, nil
}

// Flush writes what is still buffered, and returns the first error so far. After
// Close it is [os.ErrClosed].
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fmt.Errorf("capture: %w", os.ErrClosed)
	}
	return w.flush()
}

// Close completes the file, and returns the first error that there was in writing
// it. It does not close the [io.Writer]. Wrapped transports go on, and write
// nothing more. A second Close returns [os.ErrClosed].
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fmt.Errorf("capture: %w", os.ErrClosed)
	}
	if w.ng == nil { // without an interface nothing reads it
		w.add("", layers.LinkTypeLinuxSLL)
	}
	err := w.flush()
	w.closed = true
	return err
}

// add adds an interface to the file and returns its number.
func (w *Writer) add(name string, link layers.LinkType) (id int) {
	if w.err != nil {
		return 0
	}
	i := pcapgo.NgInterface{Name: name, LinkType: link}
	if w.ng != nil {
		id, w.err = w.ng.AddInterface(i)
		return id
	}
	w.ng, w.err = pcapgo.NewNgWriterInterface(w.out, i, pcapgo.NgWriterOptions{
		SectionInfo: pcapgo.NgSectionInfo{Application: "iomux echo"},
	})
	return 0
}

func (w *Writer) flush() error {
	if w.err == nil {
		w.err = w.out.Flush()
	}
	if w.err == nil {
		return nil
	}
	return fmt.Errorf("capture: %w", w.err)
}

// write writes a packet that is length bytes long, and data the beginning of it, unless
// writing has failed or is over.
func (w *Writer) write(id int, at time.Time, data []byte, length int) {
	if w.err != nil || w.closed {
		return
	}
	data = data[:min(len(data), maxCapture)]
	w.err = w.ng.WritePacket(gopacket.CaptureInfo{
		Timestamp: at, CaptureLength: len(data), Length: length, InterfaceIndex: id,
	}, data)
}

// captured is a transport whose messages are written to the file.
type captured struct {
	transport.Transport
	w          *Writer
	id         int // the interface
	form       form
	source     netip.Addr // of messages without a Local, the zero Addr if unknown
	port       uint16     // our UDP port, 0 if unknown
	identifier uint16     // of a ping socket
	identified bool       // there is one
}

// Unwrap returns the transport that was wrapped: see [transport.As].
func (c *captured) Unwrap() transport.Transport { return c.Transport }

func (c *captured) Recv(ms []transport.Message) (int, error) {
	n, err := c.Transport.Recv(ms)
	if n > 0 {
		now := time.Now()
		c.w.mu.Lock()
		for i := range ms[:n] {
			at := ms[i].Time
			if at.IsZero() {
				at = now
			}
			c.record(&ms[i], false, at)
		}
		c.w.mu.Unlock()
	}
	return n, err
}

func (c *captured) Send(ms []transport.Message) (int, error) {
	now := time.Now()
	n, err := c.Transport.Send(ms)
	if n > 0 {
		c.w.mu.Lock()
		for i := range ms[:n] {
			c.record(&ms[i], true, now)
		}
		c.w.mu.Unlock()
	}
	return n, err
}
