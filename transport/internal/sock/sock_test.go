package sock

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
)

// The tests use UDP over loopback, which needs no privileges.
type udp struct{}

func (udp) Decode(m *transport.Message, p *Packet)       { DecodeIPv4(m, p) }
func (udp) Encode(m *transport.Message, p *Packet) error { return EncodeIPv4(m, p, netip.Addr{}) }
func (udp) Addr(m *transport.Message) net.Addr           { return net.UDPAddrFromAddrPort(m.Peer) }

var spec = Spec{Network: "udp4", Domain: unix.AF_INET, Type: unix.SOCK_DGRAM, Format: udp{}}

// unstarted opens a bound socket and returns its address.
func unstarted(t *testing.T, cfg *transport.Config) (*Socket, netip.AddrPort) {
	t.Helper()
	s, err := Open(spec, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, option := range []int{unix.IP_PKTINFO, unix.IP_RECVTTL, unix.IP_RECVTOS} {
		if err := s.Set("option", unix.SOL_IP, option, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Bind(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(s.FD())
	if err != nil {
		t.Fatal(err)
	}
	sa := name.(*unix.SockaddrInet4)
	return s, netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
}

func open(t *testing.T, cfg *transport.Config) (*Socket, netip.AddrPort) {
	t.Helper()
	s, addr := unstarted(t, cfg)
	if err := s.Start(cfg); err != nil {
		t.Fatal(err)
	}
	return s, addr
}

func datagram(to netip.AddrPort, payload string) transport.Message {
	return transport.Message{Buf: []byte(payload), N: len(payload), Peer: to}
}

func send(t *testing.T, s *Socket, ms ...transport.Message) {
	t.Helper()
	if n, err := s.Send(ms); n != len(ms) || err != nil {
		t.Fatalf("Send = %d, %v, want %d", n, err, len(ms))
	}
}

// recv receives into ms the messages that must come, and checks that no other
// is there. What is sent on loopback has usually been delivered when Send
// returns.
func recv(t *testing.T, s *Socket, ms ...transport.Message) []transport.Message {
	t.Helper()
	for got := 0; got < len(ms); {
		n, err := s.Recv(ms[got:])
		if err != nil {
			t.Fatalf("Recv: %v", err)
		}
		if n == 0 {
			await(t, s)
		}
		got += n
	}
	if n, err := s.Recv(slots(1)); n != 0 || err != nil {
		t.Fatalf("Recv = %d, %v, want nothing after %d messages", n, err, len(ms))
	}
	return ms
}

// await waits until the socket is readable.
func await(t *testing.T, s *Socket) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(s.FD()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 30_000)
		if err == unix.EINTR {
			continue
		}
		if n == 0 || err != nil {
			t.Fatalf("nothing to receive: poll = %d, %v", n, err)
		}
		return
	}
}

func slots(n int) []transport.Message {
	ms := make([]transport.Message, n)
	for i := range ms {
		ms[i].Buf = make([]byte, 100)
	}
	return ms
}

func TestDatagramThereAndBack(t *testing.T) {
	a, from := open(t, nil)
	b, to := open(t, nil)
	out := datagram(to, "hello")
	out.Local, out.TTL, out.TOS = from.Addr(), 9, 0x10
	send(t, a, out, datagram(to, ""))
	got := recv(t, b, slots(2)...)
	if string(got[0].Bytes()) != "hello" || got[1].N != 0 {
		t.Fatalf("received %q and %q", got[0].Bytes(), got[1].Bytes())
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	want := transport.Message{Buf: got[0].Buf, N: 5, Peer: from, Local: to.Addr(), Ifindex: lo.Index, TTL: 9, TOS: 0x10}
	if !reflect.DeepEqual(got[0], want) {
		t.Errorf("got %+v, want %+v", got[0], want)
	}
	got[0].Reply()
	send(t, b, got[0])
	if back := recv(t, a, slots(1)...)[0]; string(back.Bytes()) != "hello" || back.Peer != to {
		t.Errorf("echoed: %+v", back)
	}
}

func TestMessageInheritsNothingFromTheBatchBefore(t *testing.T) {
	a, _ := open(t, nil)
	b, to := open(t, nil)
	if err := errors.Join(a.Set("IP_TOS", unix.SOL_IP, unix.IP_TOS, 0x20), a.Set("IP_TTL", unix.SOL_IP, unix.IP_TTL, 33)); err != nil {
		t.Fatal(err)
	}
	full, elsewhere, plain := datagram(to, "full"), datagram(to, "elsewhere"), datagram(to, "plain")
	full.Local, full.Ifindex, full.TTL, full.TOS = netip.MustParseAddr("127.0.0.7"), -1, 9, 0x10
	elsewhere.Ifindex = 1 // lo
	for _, c := range []struct {
		send     transport.Message
		from     string
		ttl, tos uint8
	}{
		{full, "127.0.0.7", 9, 0x10},
		{elsewhere, "127.0.0.1", 33, 0x20}, // the defaults of the socket
		{full, "127.0.0.7", 9, 0x10},
		{plain, "127.0.0.1", 33, 0x20},
	} {
		send(t, a, c.send)
		got := recv(t, b, slots(1)...)[0]
		if got.Peer.Addr().String() != c.from || got.TTL != c.ttl || got.TOS != c.tos {
			t.Errorf("%s: received %+v, want from %s, TTL %d, TOS %#x", c.send.Bytes(), got, c.from, c.ttl, c.tos)
		}
	}
}

// An empty call does not even take the pending error of a connected socket.
func TestEmptySliceConsumesNothing(t *testing.T) {
	s, to := open(t, nil)
	gone, nobody := open(t, nil)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	calls := func() {
		t.Helper()
		for name, call := range map[string]func([]transport.Message) (int, error){"Recv": s.Recv, "Send": s.Send} {
			if n, err := call(nil); n != 0 || err != nil {
				t.Errorf("%s(nil) = %d, %v", name, n, err)
			}
		}
	}
	send(t, s, datagram(to, "hello"))
	await(t, s)
	calls()
	recv(t, s, slots(1)...)
	if err := unix.Connect(s.FD(), &unix.SockaddrInet4{Port: int(nobody.Port()), Addr: nobody.Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	send(t, s, datagram(nobody, "hello"))
	await(t, s)
	calls()
	if n, err := s.Recv(slots(1)); n != 0 || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Recv = %d, %v, want ECONNREFUSED", n, err)
	}
}

func TestBatchIsAsLongAsConfigured(t *testing.T) {
	for _, batch := range []int{0, 1, 3, 1024} {
		s, to := open(t, &transport.Config{Batch: batch, RecvBuffer: 4 << 20})
		want := batch
		if batch == 0 {
			want = defaultBatch
		}
		if s.BatchSize() != want {
			t.Errorf("Batch %d: BatchSize() = %d, want %d", batch, s.BatchSize(), want)
		}
		var out []transport.Message
		for range min(want+1, 200) {
			out = append(out, datagram(to, "x"))
		}
		want = min(want, len(out))
		if n, err := s.Send(out); n != want || err != nil {
			t.Errorf("Batch %d: Send of %d = %d, %v, want %d", batch, len(out), n, err, want)
		}
		recv(t, s, slots(want)...)
	}
}

// sendAndWait sends until all has been delivered: what a socket sends to itself
// arrives after what it sent before.
func sendAndWait(t *testing.T, s *Socket, self netip.AddrPort, ms ...transport.Message) {
	t.Helper()
	send(t, s, append(ms, datagram(self, "last"))...)
	recv(t, s, slots(1)...)
}

func TestNothingGetsInBeforeStart(t *testing.T) {
	from, self := open(t, nil)
	s, to := unstarted(t, nil)
	sendAndWait(t, from, self, datagram(to, "early"))
	recv(t, s) // nothing
	if err := s.Start(nil); err != nil {
		t.Fatal(err)
	}
	send(t, from, datagram(to, "late"))
	if got := recv(t, s, slots(1)...)[0]; string(got.Bytes()) != "late" {
		t.Errorf("received %q after Start, want late", got.Bytes())
	}
}

// What came between socket(2) and the first filter is in the queue at Start.
func TestStartThrowsAwayWhatCameBeforeTheFilter(t *testing.T) {
	from, self := open(t, nil)
	filter, err := bpf.Assemble([]bpf.Instruction{ // of datagrams whose first byte is an l
		bpf.LoadAbsolute{Off: 8, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 'l', SkipTrue: 1},
		bpf.RetConstant{Val: math.MaxUint32},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []*transport.Config{nil, {}, {Filter: filter}} {
		s, to := unstarted(t, cfg)
		if err := s.attach([]bpf.RawInstruction{{Op: unix.BPF_RET | unix.BPF_K, K: math.MaxUint32}}); err != nil { // passes all
			t.Fatal(err)
		}
		sendAndWait(t, from, self, datagram(to, "early"), datagram(to, ""), datagram(to, "lost"))
		if err := s.Start(cfg); err != nil {
			t.Fatal(err)
		}
		send(t, from, datagram(to, "late"), datagram(to, "no l"))
		want := []string{"late", "no l"}
		if cfg != nil && cfg.Filter != nil {
			want = want[:1]
		}
		var got []string
		for _, m := range recv(t, s, slots(len(want))...) {
			got = append(got, string(m.Bytes()))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("received %q after Start, want %q", got, want)
		}
	}
}

func TestNothingOfTheCallerIsRetained(t *testing.T) {
	s, to := open(t, nil)
	send(t, s, datagram(to, "one"), datagram(to, "two"))
	recv(t, s, slots(2)...)
	s.Recv(slots(5))                                                                  // would block
	s.Send([]transport.Message{datagram(to, strings.Repeat("x", 1<<16)), {}})         // fails
	s.Send([]transport.Message{datagram(to, "ok"), {Buf: make([]byte, 8), N: 8}, {}}) // the second fails
	for name, b := range map[string]*batch{"Recv": &s.in.batch, "Send": &s.out.batch} {
		for i := range b.iovecs {
			if b.iovecs[i].Base != nil {
				t.Errorf("%s keeps a pointer to buffer %d", name, i)
			}
		}
	}
}

func TestRecvDoesNotBlockOnADescriptorMadeBlocking(t *testing.T) {
	s, _ := open(t, nil)
	if err := unix.SetNonblock(s.FD(), false); err != nil {
		t.Fatal(err)
	}
	recv(t, s) // nothing, or the test would hang
}

func TestErrorsAreOpErrorsRoundSyscallErrors(t *testing.T) {
	s, to := open(t, nil)
	_, sendErr := s.Send([]transport.Message{datagram(to, strings.Repeat("x", 1<<16))})
	_, openErr := Open(Spec{Network: "udp4", Domain: unix.AF_INET, Type: unix.SOCK_DGRAM, Protocol: 254}, nil)
	bad, _ := unstarted(t, nil)
	fd := bad.FD()
	defer bad.fd.Store(int64(fd))
	bad.fd.Store(math.MaxInt32)
	_, recvErr := bad.Recv(slots(1))
	setErr := bad.Set("IP_TTL", unix.SOL_IP, unix.IP_TTL, 1)
	bindErr := bad.Bind(&unix.SockaddrInet4{})
	startErr := bad.Start(nil)
	for _, c := range []struct {
		err      error
		op, call string
		want     syscall.Errno
		addr     net.Addr
	}{
		{sendErr, "write", "sendmmsg", syscall.EMSGSIZE, net.UDPAddrFromAddrPort(to)},
		{recvErr, "read", "recvmmsg", syscall.EBADF, nil},
		{openErr, "open", "socket", syscall.EPROTONOSUPPORT, nil},
		{setErr, "open", "setsockopt IP_TTL", syscall.EBADF, nil},
		{bindErr, "open", "bind", syscall.EBADF, nil},
		{startErr, "open", "recvfrom", syscall.EBADF, nil},
	} {
		want := &net.OpError{Op: c.op, Net: "udp4", Addr: c.addr, Err: &os.SyscallError{Syscall: c.call, Err: c.want}}
		if !reflect.DeepEqual(c.err, error(want)) {
			t.Errorf("the error is %#v, want %v", c.err, want)
		}
	}
}

func TestExplainIsForRefusalsOnly(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EPERM, syscall.EACCES} {
		err := explain(os.NewSyscallError("socket", errno), "CAP_X", "do this")
		var p *transport.PermissionError
		if !errors.As(err, &p) || p.Capability != "CAP_X" || p.Advice != "do this" || !errors.Is(err, fs.ErrPermission) || !errors.Is(err, errno) {
			t.Errorf("explain(%v) = %v", errno, err)
		}
	}
	for _, err := range []error{nil, os.NewSyscallError("socket", syscall.ENOENT)} {
		if got := explain(err, "CAP_X", "do this"); got != err {
			t.Errorf("explain(%v) = %v", err, got)
		}
	}
}

func TestGrantNamesTheProgram(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Grant("CAP_NET_RAW"), "grant it by `sudo setcap cap_net_raw+ep "+program+"`, or run as root"; got != want {
		t.Errorf("Grant = %s, want %s", got, want)
	}
	for path, want := range map[string]string{
		"/usr/bin/echo":  "/usr/bin/echo",
		"/my files/echo": "'/my files/echo'",
		"/it's/$HOME":    `'/it'\''s/$HOME'`,
	} {
		if got := quote(path); got != want {
			t.Errorf("quote(%s) = %s, want %s", path, got, want)
		}
	}
}

// Control messages come from the kernel; but their number and order are not
// ours to choose, and the last may be cut off (MSG_CTRUNC).
func TestDecodeIPv4SkipsWhatItDoesNotKnow(t *testing.T) {
	build := func(p *Packet) {
		p.append(unix.SOL_SOCKET, unix.IP_TTL, 4)[0] = 99 // another level: same number, other meaning
		p.append(unix.SOL_IP, 200, 3)
		p.append(unix.SOL_IP, unix.IP_TTL, 2)[0] = 98 // too short
		copy(p.append(unix.SOL_IP, unix.IP_TOS, 1), []byte{0x10})
		copy(p.append(unix.SOL_IP, unix.IP_TTL, 4), nativeInt(7))
	}
	var p Packet
	build(&p)
	var m transport.Message
	DecodeIPv4(&m, &p)
	if want := (transport.Message{TOS: 0x10, TTL: 7}); !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v, want %+v", m, want)
	}
	for length := range p.controlLen {
		var cut Packet
		build(&cut)
		cut.controlLen = length
		m = transport.Message{}
		DecodeIPv4(&m, &cut)
		if m.TTL != 0 && m.TTL != 7 || m.TOS != 0 && m.TOS != 0x10 || m.Peer.IsValid() {
			t.Errorf("cut off at %d bytes: %+v", length, m)
		}
	}
	for i := range p.controls() { // lengths that lie
		for _, b := range []byte{0, 1, 0x7f, 0xff} {
			var wrong Packet
			build(&wrong)
			wrong.controls()[i] = b
			DecodeIPv4(new(transport.Message), &wrong)
		}
	}
}

func nativeInt(v byte) []byte {
	var p Packet
	if err := EncodeIPv4(&transport.Message{Peer: netip.MustParseAddrPort("127.0.0.1:1"), TTL: v}, &p, netip.Addr{}); err != nil {
		panic(err)
	}
	return bytes.Clone(p.controls()[unix.CmsgLen(0):unix.CmsgLen(4)])
}

func TestBatchThereAndBackAllocatesNothing(t *testing.T) {
	s, to := open(t, nil)
	out, in := make([]transport.Message, 32), slots(32)
	for i := range out {
		out[i] = datagram(to, "hello")
		out[i].Local, out[i].TTL, out[i].TOS = to.Addr(), 9, 0x10
	}
	if n := testing.AllocsPerRun(100, func() {
		send(t, s, out...)
		for got := 0; got < len(in); {
			n, err := s.Recv(in[got:])
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				await(t, s)
			}
			got += n
		}
	}); n != 0 {
		t.Errorf("%v allocations for a batch there and back, want 0", n)
	}
}
