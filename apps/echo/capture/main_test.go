package capture_test

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"iomux/apps/echo/capture"
	"iomux/transport"
	"iomux/transport/netlab"
)

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

// fake is a transport that hands out messages and takes all that are sent, a batch
// of 4 at a time.
type fake struct {
	in  []transport.Message // to be received
	err error               // of Recv and Send
}

func (*fake) FD() int        { return -1 }
func (*fake) BatchSize() int { return 4 }
func (*fake) Close() error   { return nil }

func (f *fake) Recv(ms []transport.Message) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n := copy(ms[:min(4, len(ms))], f.in)
	f.in = f.in[n:]
	return n, nil
}

func (f *fake) Send(ms []transport.Message) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return min(4, len(ms)), nil
}

// framed is a fake with a framing.
type framed struct {
	fake
	framing transport.Framing
}

func (f *framed) Framing() transport.Framing { return f.framing }

// owned is a fake whose identifier is the kernel's.
type owned struct {
	fake
	identifier uint16
}

func (o *owned) Identifier() uint16 { return o.identifier }

// record is a packet in a file.
type record struct {
	data   []byte
	length int // how long it was
	at     time.Time
	name   string // of the interface
	link   layers.LinkType
}

// packet is the IP packet behind a link-layer header, and whether it was sent.
func (r record) packet(t testing.TB) (packet []byte, sent bool) {
	t.Helper()
	if r.link != layers.LinkTypeLinuxSLL || len(r.data) < 16 {
		t.Fatalf("a packet of link type %v: % x", r.link, r.data)
	}
	return r.data[16:], r.data[1] == unix.PACKET_OUTGOING
}

// read reads a whole file.
func read(t testing.TB, file io.Reader) (records []record) {
	t.Helper()
	r, err := pcapgo.NewNgReader(file, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	for {
		data, info, err := r.ReadPacketData()
		if err == io.EOF {
			return records
		}
		if err != nil {
			t.Fatalf("after %d packets: %v", len(records), err)
		}
		i, err := r.Interface(info.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) != info.CaptureLength {
			t.Fatalf("%d bytes were captured, and %d are there", info.CaptureLength, len(data))
		}
		records = append(records, record{data, info.Length, info.Timestamp, i.Name, i.LinkType})
	}
}

// wrap wraps a transport, which has to be possible.
func wrap(t testing.TB, w *capture.Writer, tr transport.Transport, o capture.Options) transport.Transport {
	t.Helper()
	c, err := w.Wrap(tr, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// through returns the file of a transport that receives some messages, in batches, and
// then sends others.
func through(t testing.TB, f *fake, tr transport.Transport, o capture.Options, received, sent []transport.Message) []record {
	t.Helper()
	var file bytes.Buffer
	w := capture.NewWriter(&file)
	c := wrap(t, w, tr, o)
	f.in = received
	for got := 0; got < len(received); {
		n, err := c.Recv(make([]transport.Message, 4))
		if n == 0 || err != nil {
			t.Fatalf("Recv = %d, %v", n, err)
		}
		got += n
	}
	for len(sent) > 0 {
		n, err := c.Send(sent)
		if n == 0 || err != nil {
			t.Fatalf("Send = %d, %v", n, err)
		}
		sent = sent[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return read(t, &file)
}

// message is one with a payload, from or to a peer.
func message(peer string, payload []byte) transport.Message {
	m := transport.Message{Buf: payload, N: len(payload)}
	if peer != "" {
		m.Peer = netip.AddrPortFrom(netip.MustParseAddr(peer), 0)
	}
	return m
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// lab is the private namespace that the test runs in, where everybody may open ping
// sockets.
func lab(t *testing.T) *netlab.Namespace {
	t.Helper()
	netlab.Need(t)
	ns, err := netlab.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	if err := ns.SetPingGroups(0, 0); err != nil {
		t.Fatal(err)
	}
	return ns
}

// open opens a transport until the end of the test.
func open(t *testing.T, network, address string, cfg *transport.Config) transport.Transport {
	t.Helper()
	tr, err := transport.Open(network, address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// watchdog is how long a test waits for what must come, in milliseconds.
const watchdog = 30_000

// recv receives n messages, which have to come.
func recv(t *testing.T, tr transport.Transport, n int) []transport.Message {
	t.Helper()
	ms := make([]transport.Message, n)
	for i := range ms {
		ms[i].Buf = make([]byte, 2048)
	}
	for got := 0; got < n; {
		k, err := tr.Recv(ms[got:])
		if err != nil {
			t.Fatalf("Recv: %v", err)
		}
		if got += k; k > 0 {
			continue
		}
		fds := []unix.PollFd{{Fd: int32(tr.FD()), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, watchdog); err != nil && err != unix.EINTR || err == nil && n == 0 {
			t.Fatalf("%d messages came, want %d (%v)", got, n, err)
		}
	}
	return ms
}

// send sends one message.
func send(t *testing.T, tr transport.Transport, m transport.Message) {
	t.Helper()
	if n, err := tr.Send([]transport.Message{m}); n != 1 || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
}

// echoRequest has a bad checksum, a sequence number of 7 and some data.
func echoRequest(kind byte) []byte {
	return append([]byte{kind, 0, 0xAB, 0xCD, 0xBE, 0xEF, 0, 7}, "data"...)
}

// onDisk writes a file for programs to read.
func onDisk(t *testing.T, file []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "echo.pcapng")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tshark returns what tshark reads in a file: some fields of each packet.
func tshark(t *testing.T, file []byte, fields ...string) [][]string {
	t.Helper()
	args := []string{"-r", onDisk(t, file), "-n", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-T", "fields", "-E", "separator=|"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	var lines [][]string
	for line := range strings.Lines(output(t, exec.CommandContext(t.Context(), need(t, "tshark"), args...))) {
		lines = append(lines, strings.Split(strings.TrimSuffix(line, "\n"), "|"))
	}
	return lines
}

// tcpdump returns what tcpdump reads in a file, a line for each packet that passes the
// filter.
func tcpdump(t *testing.T, file []byte, filter ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), need(t, "tcpdump"), append([]string{"-n", "-r", onDisk(t, file)}, filter...)...)
	if users, _ := os.ReadFile("/proc/self/uid_map"); !bytes.Contains(users, []byte("4294967295")) {
		// As root it becomes another user, but this user namespace has not all of them.
		one := func(id int) []syscall.SysProcIDMap {
			return []syscall.SysProcIDMap{{ContainerID: 1, HostID: id, Size: 1}}
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: one(os.Getuid()), GidMappings: one(os.Getgid())}
	}
	return output(t, cmd)
}

// need returns where a program is.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed (apt-get install %[1]s)", program)
	}
	return path
}

// output returns what a program prints.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &stderr)
	}
	return string(out)
}

// wait waits until there is something to receive, or room to send.
func wait(tr transport.Transport, readable bool) {
	events := int16(unix.POLLOUT)
	if readable {
		events = unix.POLLIN
	}
	unix.Poll([]unix.PollFd{{Fd: int32(tr.FD()), Events: events}}, watchdog)
}

// disconnect makes a UNIX domain socket leave its peer (connect(2)).
func disconnect(fd int) error {
	none := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none))
	if errno != 0 {
		return errno
	}
	return nil
}
