package cmd

import (
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"iomux/transport"
)

// foreign is a network of a module of somebody's own: it is never readable and keeps
// what is sent.
type foreign struct {
	r, w    *os.File
	framing transport.Framing
	opened  transport.Config
	sent    []transport.Message
	stdout  string // of the client
}

func (f *foreign) FD() int                               { return int(f.r.Fd()) }
func (f *foreign) BatchSize() int                        { return 1 }
func (f *foreign) Framing() transport.Framing            { return f.framing }
func (f *foreign) Recv([]transport.Message) (int, error) { return 0, nil }
func (f *foreign) Close() error                          { f.w.Close(); return f.r.Close() }
func (f *foreign) Send(ms []transport.Message) (int, error) {
	m := ms[0]
	m.Buf = append([]byte{}, m.Buf...)
	f.sent = append(f.sent, m)
	return 1, nil
}

// current is what the networks of the tests open.
var current *foreign

func init() {
	open := func(_, _ string, cfg *transport.Config) (transport.Transport, error) {
		if cfg != nil {
			current.opened = *cfg
		}
		return current, nil
	}
	transport.Register("user", open)
	transport.Register("user-packets", open)
}

// runForeign probes through a foreign network, from which no answer comes.
func runForeign(t *testing.T, network, args string) (f *foreign, stderr string, code int) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	current = &foreign{r: r, w: w}
	if network == "user-packets" {
		current.framing = transport.IPPacket
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	current.stdout, stderr, code = runEcho(append([]string{"client", "--network", network, "--count", "1", "--timeout", "1ms"}, strings.Fields(args)...)...)
	return current, stderr, code
}

// A network is told what the user has asked for, and nothing that it would have to
// refuse.
func TestAForeignNetworkIsToldWhatTheUserAsksFor(t *testing.T) {
	f, errs, _ := runForeign(t, "user", "127.0.0.1")
	if !reflect.ValueOf(f.opened).IsZero() || len(f.sent) != 1 || f.sent[0].Local.IsValid() {
		t.Errorf("by itself: %+v, %+v\n%s", f.opened, f.sent, errs)
	}
	f, _, _ = runForeign(t, "user", "--json 127.0.0.1")
	mustContain(t, "begin", f.stdout, `"clock":"user"`) // no time stamps of the kernel
	f, errs, _ = runForeign(t, "user", "--interface line7 --mark 5 -I 192.0.2.9 --ttl 3 --tos 4 198.51.100.1")
	if f.opened.Interface != "line7" || f.opened.Mark != 5 || f.opened.RecvBuffer != 0 {
		t.Errorf("it is opened with %+v\n%s", f.opened, errs)
	}
	if len(f.sent) != 1 {
		t.Fatalf("%d requests\n%s", len(f.sent), errs)
	}
	if m := f.sent[0]; m.Local != netip.MustParseAddr("192.0.2.9") || m.TTL != 3 || m.TOS != 4 || m.Peer.Addr() != netip.MustParseAddr("198.51.100.1") {
		t.Errorf("it sends %+v", m)
	}
}

// IP packets have their source in them, and what carries them is not told.
func TestANetworkOfPacketsIsGivenWholeOnes(t *testing.T) {
	f, errs, _ := runForeign(t, "user-packets", "--interface 192.0.2.9 --pmtudisc do --ttl 3 198.51.100.1")
	if f.opened.Source.IsValid() || len(f.sent) != 1 {
		t.Fatalf("opened with %+v, %d requests\n%s", f.opened, len(f.sent), errs)
	}
	p := f.sent[0].Bytes()
	if len(p) < 20 || p[0] != 0x45 || p[6]&0x40 == 0 || p[8] != 3 || netip.AddrFrom4([4]byte(p[12:16])) != netip.MustParseAddr("192.0.2.9") {
		t.Errorf("it sends % x", p)
	}
}

func TestWhatAForeignNetworkCannotDoIsAnError(t *testing.T) {
	for _, c := range []struct{ network, args, want string }{
		{"user", "--pmtudisc do 127.0.0.1", "--pmtudisc: --network user cannot be told"},
		{"user-packets", "127.0.0.1", "--network user-packets: it carries IP packets, so that --interface must be an address"},
		{"ip4:icmp", "::1", "--network ip4:icmp: the target has an address of the other family"},
		{"ip6:ipv6-icmp", "127.0.0.1", "--network ip6:ipv6-icmp: the target has an address of the other family"},
	} {
		f, errs, code := runForeign(t, c.network, c.args)
		if code != exitError || !strings.Contains(errs, c.want) || len(f.sent) > 0 {
			t.Errorf("%s %s: exit code %d, want %d and %q\n%s", c.network, c.args, code, exitError, c.want, errs)
		}
	}
}
