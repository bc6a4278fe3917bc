package rawip_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/codec"
	"iomux/mux"
	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/netlab"
	_ "iomux/transport/packet"
	_ "iomux/transport/rawip"
)

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

// experiment is a protocol for experiments (RFC 3692).
const experiment = 253

// family is a network with a stranger, whose address no interface has.
type family struct {
	network  string
	stranger netip.Addr
	loopback netip.Addr
	header   int
}

var families = []family{
	{network: "ip4:raw", stranger: netip.MustParseAddr("198.51.100.9"), loopback: netip.MustParseAddr("127.0.0.1"), header: 20},
	{network: "ip6:raw", stranger: netip.MustParseAddr("2001:db8:9::9"), loopback: netip.IPv6Loopback(), header: 40},
}

func (f *family) of(e *wiretest.End) netip.Addr {
	if f.header == 40 {
		return e.Addr6
	}
	return e.Addr4
}

// packet is a packet from a stranger.
func (f *family) packet(to netip.Addr, payload []byte) transport.Message {
	p := codec.Packet{Source: f.stranger, Destination: to, Protocol: experiment, TTL: 9, TOS: 4, Payload: payload}
	var b []byte
	var err error
	if f.header == 40 {
		b, err = new(codec.IPv6).Append(nil, &p)
	} else {
		p.ID, p.DontFragment = 0x1234, true
		b, err = new(codec.IPv4).Append(nil, &p)
	}
	if err != nil {
		panic(err)
	}
	return wiretest.Message(b)
}

// watch opens what sees the packets that come to the far end.
func watch(t *testing.T, c *wiretest.Cable) transport.Transport {
	return c.Far.Open(t, "packet", "far", nil)
}

// next is the next of the packets that the tests send.
func next(t *testing.T, far transport.Transport) []byte {
	t.Helper()
	for {
		b := wiretest.Recv(t, far, 1)[0].Bytes()
		if len(b) >= 20 && (b[0]>>4 == 4 && b[9] == experiment || b[0]>>4 == 6 && b[6] == experiment) {
			return b
		}
	}
}

func TestPacketsLeaveAsTheyAre(t *testing.T) {
	for _, f := range families {
		t.Run(f.network, func(t *testing.T) {
			c := wiretest.NewCable(t)
			tr, far := wiretest.Open(t, f.network, "", nil), watch(t, c)
			if fr, ok := tr.(transport.Framer); !ok || fr.Framing() != transport.IPPacket {
				t.Error("the framing is not transport.IPPacket")
			}
			var sent []transport.Message
			for seq, size := range []int{1, 100, 1500 - f.header, 8} {
				sent = append(sent, f.packet(f.of(&c.Far), wiretest.Pattern(seq, size)))
			}
			before := slices.Clone(sent)
			wiretest.Send(t, tr, sent...)
			if fmt.Sprint(before) != fmt.Sprint(sent) {
				t.Error("Send has changed the messages")
			}
			for i := range sent {
				if got := next(t, far); string(got) != string(sent[i].Bytes()) {
					// A frame may be padded to 60 bytes.
					if !strings.HasPrefix(string(got), string(sent[i].Bytes())) {
						t.Errorf("packet %d arrived as % .64x, want % .64x", i, got, sent[i].Bytes())
					}
				}
			}
		})
	}
}

// Nothing is ever received, and the descriptor never becomes readable, though the
// kernel delivers what is of protocol 255 to sockets of that.
func TestNothingIsReceived(t *testing.T) {
	for _, f := range families {
		wiretest.Lab(t)
		a, b := wiretest.Open(t, f.network, "", nil), wiretest.Open(t, f.network, "", nil)
		m := f.packet(f.loopback, []byte("data"))
		if f.header == 40 {
			m.Buf[6] = unix.IPPROTO_RAW
		} else {
			m.Buf[9] = unix.IPPROTO_RAW
		}
		w := wiretest.Watch(t, a)
		wiretest.Send(t, a, m, f.packet(f.loopback, []byte("data")))
		for _, tr := range []transport.Transport{a, b} {
			wiretest.RecvNone(t, tr)
		}
		w.Silent(mux.Readable)
	}
}

func TestWhatSendRefuses(t *testing.T) {
	for _, f := range families {
		t.Run(f.network, func(t *testing.T) {
			c := wiretest.NewCable(t)
			tr, far := wiretest.Open(t, f.network, "", nil), watch(t, c)
			good := func() transport.Message { return f.packet(f.of(&c.Far), []byte("good")) }
			version := 4
			if f.header == 40 {
				version = 6
			}
			want := fmt.Sprintf("want an IPv%d packet, from its header on", version)
			change := func(fn func(*transport.Message)) transport.Message {
				m := good()
				fn(&m)
				return m
			}
			for _, c := range []struct {
				name string
				m    transport.Message
				want string
			}{
				{"a peer", change(func(m *transport.Message) { m.Peer = netip.AddrPortFrom(f.stranger, 0) }), "want the zero AddrPort, as the packet's header says where it goes"},
				{"nothing", wiretest.Message(nil), want},
				{"half a header", change(func(m *transport.Message) { m.N = f.header - 1 }), want},
				{"another version", change(func(m *transport.Message) { m.Buf[0] = 0x55 }), want},
				{"too much", change(func(m *transport.Message) { m.Buf = append(m.Buf, make([]byte, 1<<17)...); m.N = len(m.Buf) }), want},
				{"longer than the interface takes", f.packet(f.of(&c.Far), make([]byte, 1501-f.header)), "message too long"},
			} {
				n, err := tr.Send([]transport.Message{c.m, good()})
				var op *net.OpError
				if n != 0 || !errors.As(err, &op) || op.Op != "write" || op.Net != f.network || !strings.HasSuffix(err.Error(), c.want) {
					t.Errorf("%s: Send = %d, %v, want %s", c.name, n, err, c.want)
				}
				// Behind others it ends the batch, and is the next one's error.
				if n, err := tr.Send([]transport.Message{good(), c.m, good()}); n != 1 || err != nil {
					t.Errorf("%s: Send = %d, %v, want the first", c.name, n, err)
				}
				next(t, far)
			}
			if f.header == 20 {
				bad := change(func(m *transport.Message) { m.Buf[0] = 0x41 })
				if n, err := tr.Send([]transport.Message{bad}); n != 0 || err == nil {
					t.Errorf("a header of 4 bytes: Send = %d, %v", n, err)
				}
				many := f.packet(netip.MustParseAddr("192.0.2.255"), []byte("data"))
				if n, err := tr.Send([]transport.Message{many}); n != 0 || !errors.Is(err, unix.EACCES) {
					t.Errorf("to a broadcast address: Send = %d, %v", n, err)
				}
				return
			}
			if n, err := tr.Send([]transport.Message{change(func(m *transport.Message) { m.Buf[5]++ })}); n != 0 || err == nil {
				t.Errorf("another length: Send = %d, %v", n, err)
			}
		})
	}
}

// A link-local address needs an interface.
func TestLinkLocal(t *testing.T) {
	f := families[1]
	c := wiretest.NewCable(t)
	tr, far := wiretest.Open(t, f.network, "", nil), watch(t, c)
	var to netip.Addr
	c.Far.Do(t, func() {
		i, err := net.InterfaceByName("far")
		if err != nil {
			t.Fatal(err)
		}
		addrs, err := i.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			if p := netip.MustParsePrefix(a.String()); p.Addr().IsLinkLocalUnicast() {
				to = p.Addr()
			}
		}
	})
	if !to.IsValid() {
		t.Fatal("the far end has no link-local address")
	}
	m := f.packet(to, []byte("data"))
	m.Ifindex = c.Near.Index
	wiretest.Send(t, tr, m)
	if got := next(t, far); !strings.HasPrefix(string(got), string(m.Bytes())) {
		t.Errorf("% x arrived", got)
	}
}

func TestFaults(t *testing.T) {
	for _, f := range families {
		t.Run(f.network, func(t *testing.T) {
			c := wiretest.NewCable(t)
			tr, far := wiretest.Open(t, f.network, "", &transport.Config{SendBuffer: 5000}), watch(t, c)
			m := f.packet(f.of(&c.Far), []byte("data"))
			w := wiretest.Watch(t, tr)
			arrives := func() {
				t.Helper()
				wiretest.Send(t, tr, m)
				next(t, far)
				wiretest.RecvNone(t, tr)
			}
			arrives()
			for range 2 {
				if err := c.SetLink(false); err != nil {
					t.Fatal(err)
				}
				if n, err := tr.Send([]transport.Message{m}); n != 0 || err == nil {
					t.Errorf("with the interface down: Send = %d, %v", n, err)
				}
				wiretest.RecvNone(t, tr)
				if err := c.SetLink(true); err != nil {
					t.Fatal(err)
				}
				arrives()
			}
			release, err := wiretest.Hold(160)
			if err != nil {
				t.Fatal(err)
			}
			for n, tries := 1, 0; n > 0; tries++ {
				if n, err = tr.Send([]transport.Message{m}); err != nil || tries > 1000 {
					t.Fatalf("Send = %d, %v after %d packets, want 0, nil", n, err, tries)
				}
			}
			w.Silent(mux.Readable)
			if err := release(); err != nil {
				t.Fatal(err)
			}
			wiretest.Await(t, tr, unix.POLLOUT)
			wiretest.Drain(t, far)
			arrives()
		})
	}
}

func TestClose(t *testing.T) {
	for _, f := range families {
		wiretest.Lab(t)
		before := wiretest.Descriptors(t)
		for range 50 {
			tr, err := transport.Open(f.network, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for range 2 {
				all.Go(func() {
					for {
						_, err := tr.Send([]transport.Message{f.packet(f.loopback, []byte("data"))})
						_, err2 := tr.Recv(wiretest.Slots(1, 100))
						if err != nil && err2 != nil {
							if !errors.Is(err, net.ErrClosed) || !errors.Is(err2, net.ErrClosed) {
								t.Errorf("%v, %v, want %v", err, err2, net.ErrClosed)
							}
							return
						}
					}
				})
			}
			if err := tr.Close(); err != nil {
				t.Error(err)
			}
			all.Wait()
			if err := tr.Close(); !errors.Is(err, net.ErrClosed) || tr.FD() != -1 {
				t.Errorf("a second Close: %v, descriptor %d", err, tr.FD())
			}
		}
		if after := wiretest.Descriptors(t); after > before {
			t.Errorf("%d descriptors are open, %d before", after, before)
		}
	}
}

func TestWhatOpenRefuses(t *testing.T) {
	wiretest.Lab(t)
	for _, f := range families {
		for _, c := range []struct {
			address string
			cfg     transport.Config
			want    string
		}{
			{address: "192.0.2.1", want: `address 192.0.2.1: want "": each packet has its own addresses`},
			{cfg: transport.Config{Options: 5}, want: "Config.Options is a int: want nil"},
			{cfg: transport.Config{Filter: []bpf.RawInstruction{{Op: 6}}}, want: "Config.Filter: nothing is received"},
			{cfg: transport.Config{RecvBuffer: 1}, want: "Config.RecvBuffer: nothing is received"},
			{cfg: transport.Config{Source: f.stranger}, want: "Config.Source: the packet's header has the source address"},
			{cfg: transport.Config{Batch: -1}, want: "Config.Batch is -1: want 1 to 1024, or 0 for 64"},
		} {
			wiretest.Refused(t, f.network, c.address, c.cfg, c.want)
		}
		cfg := &transport.Config{Batch: 7, SendBuffer: 10_000, Interface: "lo", Mark: 5}
		wiretest.Honours(t, wiretest.Open(t, f.network, "", cfg), cfg)
	}
}

// A batch is a system call.
func TestSystemCallsOfABatch(t *testing.T) {
	for _, f := range families {
		t.Run(f.network, func(t *testing.T) {
			wiretest.Lab(t)
			tr := wiretest.Open(t, f.network, "", nil)
			ms := slices.Repeat([]transport.Message{f.packet(f.loopback, []byte("data"))}, 32)
			calls := wiretest.SystemCalls(t, func() { tr.Send(ms) })
			if want := []string{"sendmmsg = 32"}; !slices.Equal(calls, want) {
				t.Errorf("the calls are %q, want %q", calls, want)
			}
			if n := testing.AllocsPerRun(100, func() { tr.Send(ms) }); n > 0 {
				t.Errorf("%v allocations for a batch", n)
			}
		})
	}
}
