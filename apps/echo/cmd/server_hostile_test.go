package cmd

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	plague "iomux/apps/echo/internal/hostile"
	"iomux/transport"
	"iomux/transport/netlab"
	_ "iomux/transport/packet"
)

var hostileTime = flag.Duration("hostile.time", 2*time.Second, "how long a server is under hostile traffic, in each of the tests")

// attack is a server with somebody who sends it anything, and sees all that it sends.
type attack struct {
	t       *testing.T
	s       *process
	traffic *plague.Traffic
	link    string // by which the packets go
	mac     []byte // of the server's end; none on a TUN device
	in      transport.Transport
	seen    transport.Transport // what the server sends
	batch   []transport.Message
	slots   []transport.Message

	sent     uint64
	refused  uint64 // by the link, ENOBUFS
	single   bool   // one packet with each call: of several, nobody tells which was refused
	asked    map[uint16]uint64
	acked    uint64 // what was sent before the last ping that was answered
	pings    uint64
	answered uint64
	replies  uint64 // of all kinds
	seq      uint16
}

// The honest ask from these, so many that none of them comes to the rate of a source.
var (
	honest4 = netip.MustParsePrefix("203.0.113.0/24")
	honest6 = netip.MustParsePrefix("2001:db8:113::/48")
)

var (
	target4 = netip.MustParseAddr("198.18.0.77")
	target6 = netip.MustParseAddr("fd00:64::77")
)

const (
	honestData = "an honest ping"
	honestID   = 0x4f4b
)

func (a *attack) open(link string, filter []bpf.RawInstruction) transport.Transport {
	a.t.Helper()
	tr, err := transport.Open("packet", link, &transport.Config{RecvBuffer: 64 << 20, Filter: filter})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { tr.Close() })
	return tr
}

// begin opens what the attack needs, in the namespace that it comes from.
func (a *attack) begin() {
	a.in, a.seen = a.open(a.link, []bpf.RawInstruction{{Op: unix.BPF_RET}}), a.open(a.link, nil)
	for range 64 {
		a.batch = append(a.batch, transport.Message{Buf: make([]byte, 0, 1<<16)})
		a.slots = append(a.slots, transport.Message{Buf: make([]byte, 1<<16+16)})
	}
	a.batch = a.batch[:0]
	a.asked = map[uint16]uint64{}
}

// send has a packet sent, with others.
func (a *attack) send(p []byte) {
	i := len(a.batch)
	a.batch = a.batch[:i+1]
	m := &a.batch[i]
	*m = transport.Message{Buf: append(m.Buf[:0], p...), N: len(p)}
	m.Link.EtherType = unix.ETH_P_IP
	if p[0]>>4 == 6 {
		m.Link.EtherType = unix.ETH_P_IPV6
	}
	m.Link.Len = uint8(copy(m.Link.Addr[:], a.mac))
	if len(a.batch) == cap(a.batch) {
		a.flush()
	}
}

func (a *attack) flush() {
	for ms := a.batch; len(ms) > 0; {
		offered := ms
		if a.single {
			offered = ms[:1]
		}
		n, err := a.in.Send(offered)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			a.refused++
			n = 1
		case err != nil:
			a.t.Fatalf("a packet of %d bytes, % x: %v", ms[0].N, ms[0].Bytes()[:min(ms[0].N, 48)], err)
		case n == 0:
			awaitFD(a.t, a.in, unix.POLLOUT, watchdog)
		default:
			a.sent += uint64(n)
		}
		ms = ms[n:]
	}
	a.batch = a.batch[:0]
}

// awaitFD waits for a condition, and reports whether it came.
func awaitFD(t *testing.T, tr transport.Transport, events int16, d time.Duration) bool {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(tr.FD()), Events: events}}
	for end := time.Now().Add(d); ; {
		n, err := unix.Poll(fds, max(int(time.Until(end).Milliseconds()), 0))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatal(os.NewSyscallError("poll", err))
		}
		return n > 0
	}
}

// ping sends an honest request.
func (a *attack) ping(v6 bool) {
	a.seq++
	a.pings++
	from, to := honest4.Addr(), target4
	b := from.AsSlice()
	b[3] = byte(1 + a.seq%200)
	if v6 {
		from, to = honest6.Addr(), target6
		b = from.AsSlice()
		b[7], b[15] = byte(a.seq%200), 1
	}
	from, _ = netip.AddrFromSlice(b)
	a.send(plague.Request(nil, from, to, honestID, a.seq, []byte(honestData)))
	a.flush()
	a.asked[a.seq] = a.sent
}

// look reads what the server has sent, which is there already or comes within d, and judges it.
func (a *attack) look(d time.Duration) bool {
	a.t.Helper()
	n := 0
	for end := time.Now().Add(d); n == 0; {
		var err error
		if n, err = a.seen.Recv(a.slots); err != nil {
			a.t.Fatal(err)
		}
		if n == 0 && (d <= 0 || !awaitFD(a.t, a.seen, unix.POLLIN, time.Until(end))) {
			return false
		}
	}
	for i := range a.slots[:n] {
		b := a.slots[i].Bytes()
		if a.mac != nil && !isReply(b) {
			continue // what the kernel says
		}
		a.replies++
		r, err := a.traffic.Reply(b)
		switch {
		case err != nil:
			a.t.Errorf("the server has sent: %v", err)
		case honest4.Contains(r.To) || honest6.Contains(r.To):
			at, asked := a.asked[r.Seq]
			if !asked || r.ID != honestID || string(r.Data) != honestData || r.From != target4 && r.From != target6 {
				a.t.Errorf("an honest ping is answered wrong or twice: %+v", r)
			}
			delete(a.asked, r.Seq)
			a.acked = max(a.acked, at)
			a.answered++
		case len(r.Data) > int(r.ID):
			a.t.Errorf("a reply has %d bytes of data, its request had %d: %+v", len(r.Data), r.ID, r)
		}
	}
	return true
}

// isReply tells echo replies from what the kernel sends itself.
func isReply(b []byte) bool {
	switch {
	case len(b) >= 28 && b[0]>>4 == 4:
		whole := b[6]&0x3f|b[7] == 0 // the kernel sends fragments where somebody has forged a small path MTU
		return whole && b[9] == 1 && b[4*int(b[0]&15)] == 0
	case len(b) >= 48 && b[0]>>4 == 6:
		return b[6] == 58 && b[40] == 129
	}
	return false
}

// settle waits until every honest ping is answered.
func (a *attack) settle() {
	a.t.Helper()
	for len(a.asked) > 0 {
		if !a.look(watchdog) {
			a.t.Fatalf("%d honest pings are not answered, of %d; %d packets were sent, %d of the server's not looked at, %v\n%s",
				len(a.asked), a.pings, a.sent, unseen(a.t, a.seen), a.counters(), &a.s.stderr)
		}
	}
}

// through pings until one gets through: what comes to a queue that is full finds no room
// until the server has taken something out.
func (a *attack) through() {
	a.t.Helper()
	for end := time.Now().Add(watchdog); time.Now().Before(end); {
		a.ping(false)
		last := a.seq
		for a.look(time.Second) {
			if _, waiting := a.asked[last]; !waiting {
				return
			}
		}
	}
	a.t.Fatalf("no honest ping gets through: %v\n%s", a.counters(), &a.s.stderr)
}

// window sends some packets and a ping of each family, and waits for the answers to those.
func (a *attack) window(n int, next func() []byte) {
	a.t.Helper()
	for range n {
		a.send(next())
	}
	a.ping(false)
	a.ping(true)
	a.settle()
}

// counters are those of the server now.
func (a *attack) counters() map[string]uint64 {
	a.t.Helper()
	if err := a.s.Process.Signal(syscall.SIGUSR1); err != nil {
		a.t.Fatal(err)
	}
	return a.summary()
}

// moment is how far everything was when nothing was on its way.
type moment struct {
	counters map[string]uint64
	sent     uint64
}

func (a *attack) moment() moment { return moment{a.counters(), a.sent + a.refused} }

// counted waits until everything that was sent since the mark is counted, as the answers
// to honest pings tell of one family only, and returns how many were received and dropped.
func (a *attack) counted(since moment) (c map[string]uint64, came, drops uint64) {
	a.t.Helper()
	for end := time.Now().Add(watchdog); ; {
		c = a.counters()
		came, drops = c["received"]-since.counters["received"], c["kernel_drops"]-since.counters["kernel_drops"]
		if came+drops >= a.sent+a.refused-since.sent || time.Now().After(end) {
			return c, came, drops
		}
	}
}

func (a *attack) summary() map[string]uint64 {
	a.t.Helper()
	var e struct{ Counters map[string]uint64 }
	if err := json.Unmarshal([]byte(a.s.awaitLine(`"summary"`)), &e); err != nil {
		a.t.Fatal(err)
	}
	return e.Counters
}

// accounted is what became of the messages that the server has received.
func accountedFor(c map[string]uint64) (n uint64) {
	for _, key := range []string{"answered", "errors", "send_errors", "queued", "corrupt", "ignored", "fragments",
		"silent", "down", "lost", "limited", "throttled", "unwell", "refused"} {
		n += c[key]
	}
	return n
}

// check demands that all is accounted for, and that the kernel has dropped nothing unseen.
func (a *attack) check(c map[string]uint64) {
	a.t.Helper()
	if c["received"] != accountedFor(c) {
		a.t.Errorf("%d messages were received and %d are accounted for: %v", c["received"], accountedFor(c), c)
	}
	if n := unseen(a.t, a.seen); n > 0 {
		a.t.Errorf("%d packets of the server were not looked at", n)
	}
}

func unseen(t *testing.T, tr transport.Transport) uint32 {
	t.Helper()
	d, ok := transport.As[transport.DropCounter](tr)
	if !ok {
		t.Fatal("no drop counter")
	}
	n, err := d.Dropped()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// resident is the memory of the server, in bytes.
func (a *attack) resident() int {
	a.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", a.s.Process.Pid))
	if err != nil {
		a.t.Fatalf("the server is gone: %v\n%s", err, &a.s.stderr)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		a.t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// run is the attack: of everything in turn, then of floods below and above what the
// server can do. mixed is whether the floods are of both families.
func (a *attack) run(room int, mixed bool) {
	t := a.t
	const window = 256
	any := func() []byte { p, _ := a.traffic.Next(); return p }
	flood := func() []byte { return a.traffic.Flood(mixed && a.sent%2 == 0, 56) }
	a.window(0, nil) // so that neighbours are known
	for range 40 {   // as much as it takes for all tables to be in use
		a.window(window, any)
		a.window(window, flood)
	}
	before := a.resident()

	// Everything, and all replies are looked at.
	end := time.Now().Add(*hostileTime / 2)
	for rounds := 0; rounds < 20 || time.Now().Before(end); rounds++ {
		a.window(window, any)
	}
	c := a.counters()
	a.check(c)
	t.Logf("of everything: %d packets, %d replies, %d honest pings, all answered: %v", a.sent, a.replies, a.answered, c)
	if c["kernel_drops"] > 0 && mixed { // on a raw IPv6 socket bad checksums are among them
		t.Errorf("the kernel has dropped %d packets, though never more than %d were on their way", c["kernel_drops"], window+2)
	}
	for _, key := range []string{"corrupt", "ignored", "answered"} {
		if c[key] == 0 {
			t.Errorf("nothing was counted as %s: %v", key, c)
		}
	}

	// From here on only the replies to the honest are looked at.
	a.seen.Close()
	a.seen = a.open(a.link, honestFilter)
	for a.look(0) {
	}
	start := a.moment()
	began, first := time.Now(), a.sent
	for rounds := 0; rounds < 50 || time.Since(began) < *hostileTime/16; rounds++ {
		for a.sent-a.acked > 3*window {
			if !a.look(watchdog) {
				t.Fatal("an honest ping is not answered while the capacity is measured")
			}
		}
		for range window {
			a.send(flood())
		}
		a.ping(false)
	}
	a.settle()
	capacity := float64(a.sent-first) / time.Since(began).Seconds()

	// 80 % of that by the clock, but never more on their way than there is room for:
	// where the server gets no processor, it is given time.
	began, first = time.Now(), a.sent
	rate := 0.8 * capacity
	for time.Since(began) < *hostileTime/4 || a.sent-first < 20*window {
		due := first + uint64(rate*time.Since(began).Seconds())
		if a.sent >= due || a.sent-a.acked > uint64(room)*8/10 {
			a.look(time.Millisecond)
			continue
		}
		for range min(due-a.sent, window) {
			a.send(flood())
		}
		a.ping(false)
	}
	a.settle()
	c, _, _ = a.counted(start)
	a.check(c)
	t.Logf("capacity %.0f packets/s; at %.0f %% of it all of %d honest pings were answered", capacity,
		100*float64(a.sent-first)/time.Since(began).Seconds()/capacity, a.pings)
	if n := c["kernel_drops"] - start.counters["kernel_drops"]; n > 0 {
		t.Errorf("%d packets were dropped below the capacity", n)
	}

	// Above it: as fast as the sender can, and more than there is room for while the
	// server stands still. Each packet is counted, by the server or by the kernel.
	above80 := a.moment()
	began = time.Now()
	a.single = true
	above := func(n int) {
		for i := range n {
			a.send(flood())
			if i%window == 0 {
				a.ping(false)
				for a.look(0) {
				}
			}
		}
		a.flush()
	}
	for rounds := 0; rounds < 10 || time.Since(began) < *hostileTime/8; rounds++ {
		above(8 * window)
	}
	a.s.Process.Signal(syscall.SIGSTOP)
	above(2 * room)
	a.s.Process.Signal(syscall.SIGCONT)
	a.through()
	lost := len(a.asked)
	clear(a.asked)
	c, came, drops := a.counted(above80)
	sent := a.sent + a.refused - above80.sent
	a.check(c)
	t.Logf("above it: %d sent, %d received, %d dropped by the kernel, %d of the honest pings among these", sent, came, drops, lost)
	if drops < uint64(room)/2 {
		t.Errorf("%d packets were dropped, though there was no room for many more", drops)
	}
	if extra := int64(came+drops) - int64(sent); extra < 0 || extra > window { // the kernel sends some of its own, and may bring late what another processor took before
		t.Errorf("%d packets were sent, %d were received and %d counted as dropped", sent, came, drops)
	}
	if uint64(lost) > drops {
		t.Errorf("%d honest pings are lost, and %d packets were dropped", lost, drops)
	}

	after := a.resident()
	t.Logf("resident memory: %d KiB when warm, %d KiB after %d packets", before>>10, after>>10, a.sent)
	if after > before+8<<20 {
		t.Errorf("the memory has grown from %d to %d bytes", before, after)
	}
	a.s.Process.Signal(syscall.SIGTERM)
	c = a.summary()
	a.check(c)
	if _, code := a.s.end(); code != exitOK || a.s.stderr.Len() > 0 {
		t.Errorf("exit code %d\n%s", code, &a.s.stderr)
	}
}

// honestFilter passes what is for the honest, and IPv6 altogether.
var honestFilter = func() []bpf.RawInstruction {
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 4, SkipTrue: 4},
		bpf.LoadAbsolute{Off: 16, Size: 4},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 8},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 203<<16 | 113, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		panic(err)
	}
	return raw
}()

// startLong starts a server that may run longer than other tests.
func startLong(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: echoCommand(append([]string{"server"}, args...)...), t: t}
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout, p.Stderr = bufio.NewReader(stdout), &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(2*watchdog+2**hostileTime, func() { p.Process.Signal(syscall.SIGABRT) })
	t.Cleanup(func() {
		late.Stop()
		if p.ProcessState == nil {
			p.Process.Kill()
			p.Wait()
		}
	})
	p.awaitLine(`"start"`)
	return p
}

// Ten minutes of it are -hostile.time 10m.
func TestServerOnATUNDeviceUnderHostileTraffic(t *testing.T) {
	tunAttack(t, func(a *attack) { a.run(tunQueueLen, true) })
}

func TestServerOnRawSocketsUnderHostileTraffic(t *testing.T) {
	rawAttack(t, func(a *attack, _ *netlab.Namespace) { a.run(5000, false) })
}

// victimNamespace is a network namespace of a server's own.
func victimNamespace(t *testing.T) *netlab.Namespace {
	t.Helper()
	netlab.Need(t)
	ns, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	setReplies(t, ns, false)
	return ns
}

// tunAttack runs an attack on a server on a TUN device called victim, in its namespace.
func tunAttack(t *testing.T, run func(*attack), args ...string) {
	t.Helper()
	ns := victimNamespace(t)
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		t.Skip(err) // which an ordinary user may not open
	} else {
		f.Close()
	}
	err := ns.Do(func() error {
		// The kernel must not complain to the server about the replies.
		for _, p := range prefixList("0.0.0.0/0", "::/0") {
			if err := ns.AddRoute(netlab.Route{Prefix: p, Type: unix.RTN_BLACKHOLE}); err != nil {
				return err
			}
		}
		a := &attack{t: t, link: "victim", traffic: plague.New(plague.Config{Seed: 1,
			To: prefixList("198.18.0.0/15", "fd00:64::/32"), From: prefixList("100.64.0.0/12", "fd00:65::/32")})}
		a.s = startLong(t, append([]string{"--tun", "198.18.0.0/15,fd00:64::/32", "--tun-name", "victim", "--tun-address", "none", "--quiet", "--json"}, args...)...)
		a.begin()
		run(a)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rawAttack runs an attack on a server on raw sockets, in another namespace than its own
// and through a cable by which all answers go back. The server's end is called near.
func rawAttack(t *testing.T, run func(*attack, *netlab.Namespace), args ...string) {
	t.Helper()
	ns, far := victimNamespace(t), victimNamespace(t)
	a := &attack{t: t, link: "far", traffic: plague.New(plague.Config{Seed: 2, MTU: 1500,
		To: prefixList("198.18.0.0/15", "fd00:64::77/128"), From: prefixList("100.64.0.0/12", "fd00:65::/32"),
		Victims: []netip.Addr{netip.MustParseAddr("192.0.2.255"), netip.MustParseAddr("192.0.2.0")},
		Own:     []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("198.18.0.1"), target6}})}
	err := netlab.Veth(netlab.End{In: ns, Name: "near", Addrs: prefixList("192.0.2.1/24", "2001:db8::1/64")},
		netlab.End{In: far, Name: "far", Addrs: prefixList("192.0.2.2/24", "2001:db8::2/64")})
	if err != nil {
		t.Fatal(err)
	}
	err = ns.Do(func() error {
		near, err := net.InterfaceByName("near")
		if err != nil {
			return err
		}
		a.mac = near.HardwareAddr
		// An IPv6 socket sends from addresses of an interface only.
		if err := errors.Join(ns.AddLocalRoute(netip.MustParsePrefix("198.18.0.0/15")), ns.AddAddr("near", netip.PrefixFrom(target6, 128)), routeBack(ns)); err != nil {
			return err
		}
		a.s = startLong(t, append([]string{"-4", "-6", "--quiet", "--json"}, args...)...)
		return nil
	})
	if err == nil {
		err = far.Do(func() error {
			a.begin()
			run(a, ns)
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// routeBack sends all answers through the cable.
func routeBack(ns *netlab.Namespace) error {
	return errors.Join(
		ns.AddRoute(netlab.Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.2"), Link: "near"}),
		ns.AddRoute(netlab.Route{Prefix: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("2001:db8::2"), Link: "near"}))
}

func prefixList(texts ...string) (all []netip.Prefix) {
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}
