package unix_test

import (
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	sys "golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/unix"
)

func TestNetworkIsRegistered(t *testing.T) {
	if !slices.Contains(transport.Networks(), "unixgram") {
		t.Errorf("unixgram is not among %q", transport.Networks())
	}
}

func pair(t *testing.T, cfg *transport.Config) (a, b transport.Transport) {
	t.Helper()
	a, b, err := unix.Pair(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestReceivedMessageHasItsPayloadAndNothingElse(t *testing.T) {
	a, b := pair(t, nil)
	out := text("hello")
	out.TTL, out.TOS, out.Local, out.Ifindex, out.ID = 9, 8, netip.MustParseAddr("192.0.2.1"), 3, 4 // of no meaning here
	if n, err := a.Send([]transport.Message{out}); n != 1 || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
	ms := wiretest.Slots(1, 100)
	if n, err := b.Recv(ms); n != 1 || err != nil {
		t.Fatalf("Recv = %d, %v", n, err)
	}
	m := ms[0]
	if string(m.Bytes()) != "hello" || m.Off != 0 || m.Peer.IsValid() || m.Local.IsValid() || m.TTL != 0 || m.TOS != 0 ||
		m.Ifindex != 0 || m.ID != 0 || m.Flags != 0 || m.Time != (time.Time{}) {
		t.Errorf("received %+v", m)
	}
}

func TestPeerOfAMessageIsRefused(t *testing.T) {
	a, _ := pair(t, nil)
	m := text("hello")
	m.Peer = netip.MustParseAddrPort("192.0.2.1:7")
	const want = "write unixgram: Message.Peer is 192.0.2.1:7: want the zero AddrPort, as the peer was fixed by Open"
	if n, err := a.Send([]transport.Message{m}); n != 0 || err == nil || err.Error() != want {
		t.Errorf("Send = %d, %v, want %s", n, err, want)
	}
}

func TestConfigReachesBothSockets(t *testing.T) {
	cfg := &transport.Config{SendBuffer: 20_000, Batch: 5, Queues: 1}
	a, b := pair(t, cfg)
	for _, tr := range []transport.Transport{a, b} {
		wiretest.Honours(t, tr, cfg)
	}
}

func TestOpenRefusesWhatItCannotHonour(t *testing.T) {
	longest := strings.Repeat("x", 107)
	for _, c := range []struct {
		address string
		cfg     transport.Config
		want    string
	}{
		{"", transport.Config{RecvBuffer: 1}, "Config.RecvBuffer: a UNIX domain socket has none, as what waits counts in the sender's SendBuffer"},
		{"", transport.Config{Interface: "lo"}, "Config.Interface: a UNIX domain socket uses no network interface"},
		{"", transport.Config{Mark: 1}, "Config.Mark: a UNIX domain socket sends no packets that could be marked"},
		{"", transport.Config{Source: netip.IPv6Loopback()}, "Config.Source: a UNIX domain socket has no IP address"},
		{"", transport.Config{Batch: -1}, "Config.Batch is -1: want 1 to 1024, or 0 for 64"},
		{"", transport.Config{SendBuffer: -1}, "Config.SendBuffer is -1: want bytes, or 0 for the system's default"},
		{"", transport.Config{Queues: 2}, "Config.Queues is 2: a socket has one queue, want 0 or 1"},
		{"", transport.Config{Filter: make([]bpf.RawInstruction, 5000)}, "Config.Filter has 5000 instructions: the kernel takes at most 4096"},
		{"", transport.Config{Filter: []bpf.RawInstruction{{Op: 0xffff}}}, "setsockopt SO_ATTACH_FILTER: invalid argument"},
		{"", transport.Config{Options: &unix.Options{}}, "Config.Options is a *unix.Options: want unix.Options"},
		{longest + "x", transport.Config{}, longest + "x: the name has 108 bytes: want 107 at the most; a relative path may be shorter"},
		{"a\x00b", transport.Config{}, "a\x00b: the name has a zero byte: abstract names begin with @"},
		{"@", transport.Config{}, "@: the abstract name is empty: want @ and a name"},
		{"", transport.Config{Options: unix.Options{Local: "@"}}, "@: the abstract name is empty: want @ and a name"},
		{"", transport.Config{Options: unix.Options{Local: "x", Mode: fs.ModeDir | 0o700}}, "x: Options.Mode is drwx------: want permission bits, 0600 for instance"},
		{"", transport.Config{Options: unix.Options{Local: "@x", Mode: 0o600}}, "@x: Options.Mode is -rw-------: only a path has permissions"},
		{"@x", transport.Config{Options: unix.Options{Mode: 0o600}}, "Options.Mode is -rw-------: only a path has permissions"},
		{"", transport.Config{Options: unix.Options{Local: "/nonexistent/x"}}, "/nonexistent/x: bind: no such file or directory"},
	} {
		wiretest.Refused(t, "unixgram", c.address, c.cfg, c.want)
	}
	for _, cfg := range []transport.Config{{RecvBuffer: 1}, {Batch: -1}, {Filter: []bpf.RawInstruction{{Op: 0xffff}}}, {Options: unix.Options{}}} {
		before := wiretest.Descriptors(t)
		if a, b, err := unix.Pair(&cfg); a != nil || b != nil || err == nil {
			t.Errorf("Pair with %+v = %v, %v, %v, want an error", cfg, a, b, err)
		}
		if after := wiretest.Descriptors(t); after != before {
			t.Errorf("Pair: %d descriptors are open, %d before", after, before)
		}
	}
}

// What a peer attaches is not received, and so not open here for ever.
func TestDescriptorsThatAPeerSendsAreNotTaken(t *testing.T) {
	a, b := pair(t, nil)
	before := wiretest.Descriptors(t)
	for range 5 {
		if err := sys.Sendmsg(a.FD(), []byte("x"), sys.UnixRights(0, 1, 2), nil, 0); err != nil {
			t.Fatal(err)
		}
		recv(t, b, "x")
	}
	if after := wiretest.Descriptors(t); after != before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}

func TestFilterSeesThePayload(t *testing.T) {
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 'y', SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	a, b := pair(t, &transport.Config{Filter: filter})
	send(t, a, "no", "yes", "", "y")
	recv(t, b, "yes", "y")
	if n := wiretest.Dropped(t, b); n != 0 {
		t.Errorf("Dropped() = %d, want 0: what a filter keeps out is not counted", n)
	}
}
