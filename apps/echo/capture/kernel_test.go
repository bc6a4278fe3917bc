package capture_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"iomux/apps/echo/capture"
	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/packet"
	"iomux/transport/udp"
	"iomux/transport/unix"
)

// network is one that carries ICMP.
type network struct {
	name           string
	payload        capture.Payload
	address        string // of the loopback interface
	request, reply byte
	header         int // of its packets
	etherType      uint16
	ping           bool // a ping socket
}

var networks = []network{
	{"ip4:icmp", capture.ICMPv4, "127.0.0.1", 8, 0, 20, 0x0800, false},
	{"udp4:icmp", capture.ICMPv4, "127.0.0.1", 8, 0, 20, 0x0800, true},
	{"ip6:ipv6-icmp", capture.ICMPv6, "::1", 128, 129, 40, 0x86DD, false},
	{"udp6:ipv6-icmp", capture.ICMPv6, "::1", 128, 129, 40, 0x86DD, true},
}

// open opens a transport that receives echo replies only.
func (n *network) open(t *testing.T, address string) transport.Transport {
	cfg := &transport.Config{}
	if !n.ping {
		cfg.Options = icmp.Options{Types: []uint8{n.reply}}
	}
	return open(t, n.name, address, cfg)
}

func (n *network) options() capture.Options {
	return capture.Options{Name: n.name, Payload: n.payload}
}

// echo is an echo request to the loopback interface. The checksum is right where it
// is the program's affair.
func (n *network) echo() transport.Message {
	b := echoRequest(n.request)
	if n.name == "ip4:icmp" {
		b[2], b[3] = 0, 0
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	}
	return message(n.address, b)
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i, c := range b {
		sum += uint32(c) << (8 * (1 - i%2))
	}
	for sum>>16 != 0 {
		sum = sum&0xFFFF + sum>>16
	}
	return ^uint16(sum)
}

// What is in the file is what a packet socket sees on the wire, but for what the
// kernel does not tell: in what is sent the identification, "don't fragment" and the
// IPv6 flow label.
func TestPacketsAreThoseOnTheWire(t *testing.T) {
	lab(t)
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) {
			wire := open(t, "packet", "lo", &transport.Config{Options: packet.Options{EtherType: n.etherType}})
			var file bytes.Buffer
			w := capture.NewWriter(&file)
			tr := wrap(t, w, n.open(t, n.address), n.options())
			m := n.echo()
			m.TTL, m.TOS = 33, 0x28
			send(t, tr, m)
			recv(t, tr, 1)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			seen := recv(t, wire, 2)
			got := read(t, &file)
			if len(got) != 2 {
				t.Fatalf("%d packets are in the file, want the request and the reply", len(got))
			}
			for i := range got {
				was := seen[i].Bytes()
				is, sent := got[i].packet(t)
				if n.name != "ip4:icmp" || sent { // others are received without their header
					was, is = untold(was), untold(is)
				}
				if !bytes.Equal(was, is) || got[i].length != len(got[i].data) || sent != (i == 0) {
					t.Errorf("packet %d\non the wire % x\nin the file % x, of %d bytes; sent %v", i, was, is, got[i].length, sent)
				}
			}
		})
	}
}

// untold is a packet without what the kernel does not tell.
func untold(packet []byte) []byte {
	b := bytes.Clone(packet)
	if b[0]>>4 == 4 {
		clear(b[4:8])
		clear(b[10:12])
	} else {
		b[1] &= 0xF0
		clear(b[2:4])
	}
	return b
}

// One file for all networks of IP, as tshark and tcpdump read it.
func TestOtherProgramsReadTheFile(t *testing.T) {
	lab(t)
	fields := []string{"frame.interface_name", "sll.pkttype",
		"ip.src", "ip.dst", "ip.ttl", "ip.dsfield", "ip.checksum.status",
		"icmp.type", "icmp.checksum.status", "icmp.ident", "icmp.seq",
		"ipv6.src", "ipv6.dst", "ipv6.hlim", "ipv6.tclass",
		"icmpv6.type", "icmpv6.checksum.status", "icmpv6.echo.identifier", "icmpv6.echo.sequence_number",
		"udp.srcport", "udp.dstport", "udp.length", "udp.checksum.status", "data.data", "_ws.malformed"}
	var want []map[string]string
	add := func(name string, sent bool, address, ttl string, tos uint8) map[string]string {
		f := map[string]string{"frame.interface_name": name, "sll.pkttype": "0"}
		if sent {
			f["sll.pkttype"] = "4"
		}
		if netip.MustParseAddr(address).Is4() {
			f["ip.src"], f["ip.dst"], f["ip.ttl"], f["ip.dsfield"], f["ip.checksum.status"] = address, address, ttl, fmt.Sprintf("0x%02x", tos), "1"
		} else {
			f["ipv6.src"], f["ipv6.dst"], f["ipv6.hlim"], f["ipv6.tclass"] = address, address, ttl, fmt.Sprintf("0x%08x", tos)
		}
		want = append(want, f)
		return f
	}

	var file bytes.Buffer
	w := capture.NewWriter(&file)
	for _, n := range networks {
		bare := n.open(t, n.address)
		id := uint16(0xBEEF)
		if p, ok := bare.(transport.Identifier); ok {
			id = p.Identifier()
		}
		tr := wrap(t, w, bare, n.options())
		m := n.echo()
		m.TTL, m.TOS = 33, 0x28
		send(t, tr, m)
		recv(t, tr, 1)
		for _, sent := range []bool{true, false} {
			kind, ttl := n.request, "33"
			if !sent {
				kind, ttl = n.reply, "64"
			}
			f := add(n.name, sent, n.address, ttl, m.TOS)
			f["data.data"] = hex.EncodeToString([]byte("data"))
			if n.payload == capture.ICMPv4 {
				f["icmp.type"], f["icmp.checksum.status"], f["icmp.ident"], f["icmp.seq"] = fmt.Sprint(kind), "1", fmt.Sprint(id), "7"
			} else {
				f["icmpv6.type"], f["icmpv6.checksum.status"], f["icmpv6.echo.identifier"], f["icmpv6.echo.sequence_number"] = fmt.Sprint(kind), "1", fmt.Sprintf("0x%04x", id), "7"
			}
		}
	}
	for _, address := range []string{"127.0.0.1", "::1"} {
		bare := open(t, "udp", net.JoinHostPort(address, "0"), nil)
		if address == "127.0.0.1" { // on an IPv6 socket
			bare = open(t, "udp", ":0", nil)
		}
		local := netip.AddrPortFrom(netip.MustParseAddr(address), bare.(udp.Conn).LocalAddr().Port())
		tr := wrap(t, w, bare, capture.Options{Name: "udp", Payload: capture.UDP, Source: local.Addr()})
		m := message("", []byte("datagram"))
		m.Peer = local
		send(t, tr, m)
		recv(t, tr, 1)
		for _, sent := range []bool{true, false} {
			f := add("udp", sent, address, "64", 0)
			f["udp.srcport"], f["udp.dstport"], f["udp.length"], f["udp.checksum.status"] = fmt.Sprint(local.Port()), fmt.Sprint(local.Port()), "16", "1"
			f["data.data"] = hex.EncodeToString([]byte("datagram"))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	if text := tcpdump(t, file.Bytes()); strings.Count(text, "\n") != len(want) {
		t.Errorf("tcpdump reads\n%s\nwant %d packets", text, len(want))
	}
	if text := tcpdump(t, file.Bytes(), "outbound"); strings.Count(text, "\n") != len(want)/2 {
		t.Errorf("tcpdump takes for sent\n%s\nwant %d packets", text, len(want)/2)
	}
	got := tshark(t, file.Bytes(), fields...)
	if len(got) != len(want) {
		t.Fatalf("tshark reads %d packets, want %d", len(got), len(want))
	}
	for i := range want {
		for j, field := range fields {
			if value := want[i][field]; got[i][j] != value {
				t.Errorf("packet %d of %s: %s is %q, want %q", i, want[i]["frame.interface_name"], field, got[i][j], value)
			}
		}
	}
}

// The packets of a link layer, IP and others, and opaque ones.
func TestOtherLinkTypes(t *testing.T) {
	lab(t)
	var file bytes.Buffer
	w := capture.NewWriter(&file)
	frames := wrap(t, w, open(t, "packet:raw", "lo", nil), capture.Options{Name: "frames"})
	below := wrap(t, w, open(t, "packet", "lo", nil), capture.Options{Name: "below"})
	a, b, err := unix.Pair(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	local := wrap(t, w, a, capture.Options{Name: "local", Payload: capture.Opaque})
	defer local.Close()

	n := networks[0]
	send(t, n.open(t, ""), n.echo())
	recv(t, frames, 2)
	recv(t, below, 2)
	send(t, local, message("", []byte{}))
	m := message("", unhex(t, "0001 0800 0604 0001 020000000001 C0000201 000000000000 C0000202"))
	m.Link = transport.LinkAddr{Addr: [8]byte{2, 5: 9}, Len: 6, EtherType: 0x0806}
	send(t, below, m)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range tshark(t, file.Bytes(), "frame.interface_name", "frame.encap_type", "ip.src", "icmp.type", "sll.pkttype", "sll.src.eth", "arp.opcode", "frame.len") {
		got = append(got, strings.Join(line, " "))
	}
	want := []string{ // 1 is Ethernet, 25 Linux cooked, 45 the first of the user's
		"frames 1 127.0.0.1 8    46",
		"frames 1 127.0.0.1 0    46",
		"below 25 127.0.0.1 8 0 00:00:00:00:00:00  48",
		"below 25 127.0.0.1 0 0 00:00:00:00:00:00  48",
		"local 45      0",
		"below 25   4  1 44",
	}
	if !slices.Equal(got, want) {
		t.Errorf("tshark reads\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Times are the kernel's where there are such, and an answer never seems to precede
// its request.
func TestTimes(t *testing.T) {
	lab(t)
	for _, stamps := range []bool{false, true} {
		var file bytes.Buffer
		w := capture.NewWriter(&file)
		options := icmp.Options{Types: []uint8{0}, Stamps: stamps}
		tr := wrap(t, w, open(t, "ip4:icmp", "", &transport.Config{Options: options}), networks[0].options())
		begin := time.Now()
		var kernel []time.Time
		for range 20 {
			send(t, tr, networks[0].echo())
			kernel = append(kernel, recv(t, tr, 1)[0].Time)
		}
		end := time.Now()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		last := begin.Round(0)
		for i, r := range read(t, &file) {
			if r.at.Before(last) || r.at.After(end) {
				t.Errorf("stamps %v: packet %d is of %v, after one of %v and in a run that ended %v", stamps, i, r.at, last, end)
			}
			last = r.at
			if stamps && i%2 == 1 && !r.at.Equal(kernel[i/2]) {
				t.Errorf("packet %d is of %v, the kernel received it %v", i, r.at, kernel[i/2])
			}
		}
	}
}
