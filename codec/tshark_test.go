package codec_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"iomux/codec"
)

// frame is a packet and what tshark is to say of it, by the names that it has for
// the fields. Of what a packet and the one quoted in it both have, there are two.
type frame struct {
	packet []byte
	want   map[string]string
}

func (f *frame) says(field string, value any) {
	text := fmt.Sprint(value)
	if was := f.want[field]; was != "" {
		text = was + "," + text
	}
	f.want[field] = text
}

// generator makes packets with our codecs, from its own pseudo-random numbers.
type generator struct {
	*rand.Rand
	t   *testing.T
	ip4 codec.IPv4
	ip6 codec.IPv6
	c4  codec.ICMPv4
	c6  codec.ICMPv6
	ext codec.Extensions
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (g *generator) v4() netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(g.Uint32()), byte(g.Uint32()), byte(1 + g.IntN(250))})
}

func (g *generator) v6() netip.Addr {
	a := peerV6.As16()
	a[15], a[14], a[9] = byte(1+g.IntN(250)), byte(g.Uint32()), byte(g.Uint32())
	return netip.AddrFrom16(a)
}

// packet4 puts message into an IPv4 packet, and sometimes options in front.
func (g *generator) packet4(f *frame, message []byte) []byte {
	p := codec.Packet{Source: g.v4(), Destination: g.v4(), Protocol: codec.ProtocolICMPv4, TTL: uint8(1 + g.IntN(255)),
		ID: g.Uint32N(1 << 16), DontFragment: g.IntN(2) == 0, Payload: message}
	if g.IntN(8) == 0 {
		p.Options = []byte{1, 7, 7, 4, 0, 0, 0, 0}
	}
	f.says("ip.src", p.Source)
	f.says("ip.dst", p.Destination)
	f.says("ip.ttl", p.TTL)
	f.says("ip.checksum.status", 1)
	return must[[]byte](g.t)(g.ip4.Append(nil, &p))
}

// packet6 puts the message for m into an IPv6 packet, and sometimes extension
// headers in front.
func (g *generator) packet6(f *frame, m *codec.Message) []byte {
	g.c6.Source, g.c6.Destination = g.v6(), g.v6()
	p := codec.Packet{Source: g.c6.Source, Destination: g.c6.Destination, Protocol: codec.ProtocolICMPv6, TTL: uint8(1 + g.IntN(255)),
		FlowLabel: g.Uint32N(1 << 20), Payload: must[[]byte](g.t)(g.c6.Append(nil, m))}
	if g.IntN(8) == 0 {
		p.NextHeader, p.ExtensionHeaders = 0, []byte{60, 0, 1, 4, 0, 0, 0, 0, 58, 0, 1, 4, 0, 0, 0, 0}
	}
	if m.Type == codec.Redirect {
		p.TTL = 255 // or it has not come from the link
	}
	f.says("ipv6.src", p.Source)
	f.says("ipv6.dst", p.Destination)
	f.says("ipv6.hlim", p.TTL)
	return must[[]byte](g.t)(g.ip6.Append(nil, &p))
}

// message returns a message of the type, and says what tshark has of it in front
// of what a packet in it has.
func (g *generator) message(f *frame, typ codec.Type, code uint8, family string) codec.Message {
	m := codec.Message{Type: typ, Code: code}
	number := typ.NumberV4()
	if family == "icmpv6" {
		number = typ.NumberV6()
	}
	f.says(family+".type", number)
	f.says(family+".code", code)
	f.says(family+".checksum.status", 1)
	switch typ {
	case codec.EchoRequest, codec.EchoReply:
		m.ID, m.Seq, m.Data = uint16(g.Uint32()), uint16(g.Uint32()), pattern(1+g.IntN(64))
		if family == "icmp" {
			f.says("icmp.ident", m.ID)
			f.says("icmp.seq", m.Seq)
		} else {
			f.says("icmpv6.echo.identifier", fmt.Sprintf("0x%04x", m.ID))
			f.says("icmpv6.echo.sequence_number", m.Seq)
		}
		f.says("data.data", fmt.Sprintf("%x", m.Data))
	case codec.TimestampRequest, codec.TimestampReply:
		m.ID, m.Seq = uint16(g.Uint32()), uint16(g.Uint32())
		m.Originate, m.Receive, m.Transmit = codec.Timestamp(g.Uint32N(86400e3)), codec.Timestamp(g.Uint32N(86400e3)), codec.Timestamp(g.Uint32N(86400e3))
		f.says("icmp.ident", m.ID)
		f.says("icmp.seq", m.Seq)
		f.says("icmp.originate_timestamp", uint32(m.Originate))
		f.says("icmp.receive_timestamp", uint32(m.Receive))
		f.says("icmp.transmit_timestamp", uint32(m.Transmit))
	case codec.ExtendedEchoRequest, codec.ExtendedEchoReply:
		m.ID, m.Seq, m.Local = uint16(g.Uint32()), uint16(g.Uint32N(256)), g.IntN(2) == 0
		m.Interface = codec.Interface{State: uint8(g.IntN(7)), Active: g.IntN(2) == 0, IPv4: g.IntN(2) == 0, IPv6: g.IntN(2) == 0}
		if family == "icmp" {
			f.says("icmp.ident", m.ID)
		} else {
			f.says("icmpv6.echo.identifier", fmt.Sprintf("0x%04x", m.ID))
		}
		f.says(family+".ext.echo.seq", m.Seq)
		if typ == codec.ExtendedEchoRequest {
			f.says(family+".ext.echo.req.local", number01(m.Local))
			m.Extensions = g.extensions(f, codec.Object{Class: codec.ClassInterfaceID, Type: 2, Data: []byte{0, 0, 0, byte(g.Uint32())}})
			break
		}
		f.says(family+".ext.echo.rsp.state", m.Interface.State)
		f.says(family+".ext.echo.rsp.active", number01(m.Interface.Active))
		f.says(family+".ext.echo.rsp.ipv4", number01(m.Interface.IPv4))
		f.says(family+".ext.echo.rsp.ipv6", number01(m.Interface.IPv6))
	case codec.PacketTooBig:
		m.MTU = g.Uint32()
		f.says("icmpv6.mtu", m.MTU)
	case codec.ParameterProblem:
		m.Pointer = g.Uint32N(256)
		f.says(family+".pointer", m.Pointer)
	case codec.Redirect:
		if family == "icmp" {
			m.Gateway = g.v4()
			f.says("icmp.redir_gw", m.Gateway)
		} else {
			m.Gateway, m.Destination = g.v6(), g.v6()
			f.says("icmpv6.nd.rd.target_address", m.Gateway)
			f.says("icmpv6.rd.na.destination_address", m.Destination)
		}
	case codec.DestinationUnreachable:
		if family == "icmp" && code == codec.FragmentationNeededV4 {
			m.MTU = g.Uint32N(1 << 16)
			f.says("icmp.mtu", m.MTU)
		}
	}
	return m
}

func (g *generator) extensions(f *frame, objects ...codec.Object) []byte {
	f.says("icmp.ext.checksum.status", 1)
	for _, o := range objects {
		f.says("icmp.ext.class", o.Class)
		f.says("icmp.ext.ctype", o.Type)
	}
	return must[[]byte](g.t)(g.ext.Append(nil, &objects))
}

// labels returns extensions of an MPLS label stack of one entry.
func (g *generator) labels(f *frame) []byte {
	label := g.Uint32N(1 << 20)
	f.says("icmp.mpls.label", label)
	f.says("icmp.mpls.ttl", 9)
	return g.extensions(f, codec.Object{Class: codec.ClassMPLS, Type: 1, Data: []byte{byte(label >> 12), byte(label >> 4), byte(label<<4) | 1, 9}})
}

func number01(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// frame4 makes an ICMPv4 packet.
func (g *generator) frame4(typ codec.Type, code uint8) frame {
	var f, inner frame
	f.want, inner.want = map[string]string{}, map[string]string{}
	m := g.message(&f, typ, code, "icmp")
	switch typ {
	case codec.DestinationUnreachable, codec.TimeExceeded, codec.ParameterProblem, codec.Redirect:
		echo := g.message(&inner, codec.EchoRequest, 0, "icmp")
		m.Quote = g.packet4(&inner, must[[]byte](g.t)(g.c4.Append(nil, &echo)))
		if typ == codec.Redirect { // it does not show what follows the header there
			delete(inner.want, "data.data")
		}
		if typ != codec.Redirect && g.IntN(2) == 0 {
			m.Extensions = g.labels(&f)
		}
	}
	f.packet = g.packet4(&f, must[[]byte](g.t)(g.c4.Append(nil, &m)))
	f.quotes(inner, "icmp")
	return f
}

// quotes adds what tshark says of the packet in it; it does not verify the
// checksum there.
func (f *frame) quotes(inner frame, family string) {
	for field, value := range inner.want {
		if field == family+".checksum.status" {
			value = "2"
		}
		f.says(field, value)
	}
}

// frame6 makes an ICMPv6 packet.
func (g *generator) frame6(typ codec.Type, code uint8) frame {
	var f, inner frame
	f.want, inner.want = map[string]string{}, map[string]string{}
	m := g.message(&f, typ, code, "icmpv6")
	switch typ {
	case codec.DestinationUnreachable, codec.TimeExceeded, codec.ParameterProblem, codec.Redirect, codec.PacketTooBig:
		echo := g.message(&inner, codec.EchoRequest, 0, "icmpv6")
		if typ == codec.Redirect { // it takes what fills up the option for another
			echo.Data = pattern(8 * (1 + g.IntN(8)))
			inner.want["data.data"] = fmt.Sprintf("%x", echo.Data)
		}
		m.Quote = g.packet6(&inner, &echo)
		if (typ == codec.DestinationUnreachable || typ == codec.TimeExceeded) && g.IntN(2) == 0 {
			m.Extensions = g.labels(&f)
		}
	}
	f.packet = g.packet6(&f, &m)
	f.quotes(inner, "icmpv6")
	return f
}

// frames makes n packets, of every type and code in turn.
func (g *generator) frames(n int) []frame {
	var makers []func() frame
	add := func(make func(codec.Type, uint8) frame, typ codec.Type, codes uint8) {
		for code := range codes {
			makers = append(makers, func() frame { return make(typ, code) })
		}
	}
	for _, typ := range []codec.Type{codec.EchoRequest, codec.EchoReply, codec.TimestampRequest, codec.TimestampReply, codec.ExtendedEchoRequest} {
		add(g.frame4, typ, 1)
	}
	add(g.frame4, codec.DestinationUnreachable, 16)
	add(g.frame4, codec.TimeExceeded, 2)
	add(g.frame4, codec.ParameterProblem, 3)
	add(g.frame4, codec.Redirect, 4)
	add(g.frame4, codec.ExtendedEchoReply, 5)
	for _, typ := range []codec.Type{codec.EchoRequest, codec.EchoReply, codec.PacketTooBig, codec.Redirect, codec.ExtendedEchoRequest} {
		add(g.frame6, typ, 1)
	}
	add(g.frame6, codec.DestinationUnreachable, 9)
	add(g.frame6, codec.TimeExceeded, 2)
	add(g.frame6, codec.ParameterProblem, 11)
	add(g.frame6, codec.ExtendedEchoReply, 5)
	frames := make([]frame, n)
	for i := range frames {
		frames[i] = makers[i%len(makers)]()
	}
	return frames
}

// Ten thousand messages of every type, as tshark decodes them.
func TestTsharkReadsWhatWeWrite(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed (apt-get install tshark)")
	}
	g := &generator{Rand: rand.New(rand.NewPCG(4, 6)), t: t}
	frames := g.frames(10_000)
	path := filepath.Join(t.TempDir(), "frames.pcap")
	write(t, path, frames)

	fields := map[string]bool{"_ws.malformed": true, "icmp.checksum.status": true, "icmpv6.checksum.status": true}
	for i := range frames {
		for field := range frames[i].want {
			fields[field] = true
		}
	}
	args := []string{"-r", path, "-n", "-o", "ip.check_checksum:TRUE", "-T", "fields", "-E", "separator=|"}
	var names []string
	for field := range fields {
		names = append(names, field)
		args = append(args, "-e", field)
	}
	cmd := exec.CommandContext(t.Context(), tshark, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(frames) {
		t.Fatalf("tshark reads %d packets, want %d", len(lines), len(frames))
	}
	wrong := 0
	for i, line := range lines {
		for j, value := range strings.Split(line, "|") {
			if want := frames[i].want[names[j]]; value != want {
				wrong++
				if wrong <= 10 {
					t.Errorf("packet %d: %s is %q, want %q\n% x", i+1, names[j], value, want, frames[i].packet)
				}
			}
		}
	}
	if wrong > 10 {
		t.Errorf("and %d more", wrong-10)
	}
}

// write writes the packets to a file as pcap-savefile(5) describes it.
func write(t *testing.T, path string, frames []frame) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := pcapgo.NewWriter(file)
	if err := w.WriteFileHeader(1<<16, layers.LinkTypeRaw); err != nil {
		t.Fatal(err)
	}
	for i := range frames {
		n := len(frames[i].packet)
		info := gopacket.CaptureInfo{Timestamp: time.Unix(int64(i), 0), CaptureLength: n, Length: n}
		if err := w.WritePacket(info, frames[i].packet); err != nil {
			t.Fatal(err)
		}
	}
}
