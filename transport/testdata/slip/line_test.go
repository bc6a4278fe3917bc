package slip_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// pair opens a line until the end of the test.
func pair(t *testing.T) (near transport.Transport, f *far) {
	t.Helper()
	f, terminal, err := openFar()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	near, err = transport.Open("slip", "192.0.2.1@"+terminal, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	return near, f
}

func slots(n int) []transport.Message {
	ms := make([]transport.Message, n)
	for i := range ms {
		ms[i].Buf = make([]byte, 1006)
	}
	return ms
}

func ready(t *testing.T, fd int, events int16) bool {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		_, err := unix.Poll(fds, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return fds[0].Revents != 0
	}
}

// expect receives just these payloads.
func expect(t *testing.T, tr transport.Transport, want ...string) {
	t.Helper()
	ms := slots(len(want) + 1)
	n, err := tr.Recv(ms)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range ms[:n] {
		got = append(got, string(ms[i].Bytes()))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("received %.60q, want %.60q", got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMessageHasWhatItsHeaderHas(t *testing.T) {
	near, f := pair(t)
	p := packet([]byte("hello"), farAddr, nearAddr, 9)
	p[1] = 0x10
	setChecksum(p)
	must(t, f.write(frame(p)))
	ms := slots(1)
	if n, err := near.Recv(ms); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	want := to(farAddr)(0, 0)
	want.Buf, want.Off, want.N = ms[0].Buf, 20, 5
	want.Local, want.TTL, want.TOS = nearAddr, 9, 0x10
	if !reflect.DeepEqual(ms[0], want) || string(ms[0].Bytes()) != "hello" {
		t.Errorf("got %+v\nwant %+v", ms[0], want)
	}

	out := to(farAddr)(0, 5)
	out.Local, out.TTL, out.TOS = nearAddr.Next().Next(), 3, 0x20
	if n, err := near.Send([]transport.Message{out}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := f.Recv(ms); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	m := ms[0]
	if m.Peer.Addr() != out.Local || m.Local != farAddr || m.TTL != out.TTL || m.TOS != out.TOS || !bytes.Equal(m.Bytes(), out.Bytes()) {
		t.Errorf("sent %+v\nas   %+v", out, m)
	}
}

// The kernel looks for the end of a frame, so that half a message wakes nobody.
func TestHalfAFrameIsNotReadable(t *testing.T) {
	near, f := pair(t)
	whole := frame(packet([]byte("one"), farAddr, nearAddr, 64))
	for at := range len(whole) {
		must(t, f.write(whole[:at]))
		if ready(t, near.FD(), unix.POLLIN) {
			t.Errorf("readable after %d of %d bytes", at, len(whole))
		}
		expect(t, near)
		must(t, f.write(whole[at:]))
		if !ready(t, near.FD(), unix.POLLIN) {
			t.Errorf("not readable after %d and the other %d bytes", at, len(whole)-at)
		}
		expect(t, near, "one")
	}
}

// A line feed ends a line of the terminal, but no frame.
func TestLineFeedIsData(t *testing.T) {
	near, f := pair(t)
	for _, text := range []string{"\n", "\n\n", "one\ntwo", strings.Repeat("\n", 900)} {
		must(t, f.write(frame(packet([]byte(text), farAddr, nearAddr, 64))))
		expect(t, near, text)
	}
	whole := frame(packet([]byte("one\ntwo"), farAddr, nearAddr, 64))
	must(t, f.write(whole[:len(whole)-2]))
	expect(t, near)
	if ready(t, near.FD(), unix.POLLIN) {
		t.Error("still readable after a Recv that found no more than a part")
	}
	must(t, f.write(whole[len(whole)-2:]))
	expect(t, near, "one\ntwo")
}

func TestNoiseIsDropped(t *testing.T) {
	near, f := pair(t)
	good := packet([]byte("good"), farAddr, nearAddr, 64)
	flip := func(at int, bits byte) []byte {
		p := bytes.Clone(good)
		p[at] ^= bits
		setChecksum(p)
		return frame(p)
	}
	// As much of a frame as is kept, if it is longer: 2*1006+1 bytes and its end.
	kept := frame(packet(make([]byte, 2013-20-1), farAddr, netip.MustParseAddr("198.51.100.1"), 64)) // one byte is escaped
	if len(kept) != 2013+1 {
		t.Fatalf("the frame has %d bytes", len(kept))
	}
	corrupt := bytes.Clone(good)
	corrupt[8]++
	for what, noise := range map[string][]byte{
		"nothing":                {0xc0, 0xc0, 0xc0},
		"line feeds":             []byte("\n\n\n\xc0"),
		"text":                   []byte("login: \xc0"),
		"an escape alone":        {0xdb, 0xc0},
		"a wrong escape":         append([]byte{0xdb, 'x'}, frame(good)...),
		"a header of 19 bytes":   append(bytes.Clone(good[:19]), 0xc0),
		"a checksum that is off": frame(corrupt),
		"a cut packet":           append(bytes.Clone(good[:22]), 0xc0),
		"a longer packet":        frame(append(bytes.Clone(good), 0)),
		"IP version 6":           flip(0, 0x20),
		"a header of 16 bytes":   flip(0, 0x01),
		"a fragment":             flip(6, 0x20),
		"a later fragment":       flip(7, 0x01),
		"UDP":                    flip(9, 0x10),
		"a packet too long":      frame(packet(bytes.Repeat([]byte("x"), 2*1006), farAddr, nearAddr, 64)),
		"a lie about that":       append(bytes.TrimSuffix(kept, []byte{0xc0}), "and more\xc0"...),
		"an endless frame":       append(bytes.Repeat([]byte("x"), 3000), 0xc0),
		"a frame of line feeds":  append(bytes.Repeat([]byte("\n"), 3000), 0xc0),
	} {
		must(t, f.write(noise))
		ms := slots(1)
		if n, err := near.Recv(ms); n != 0 || err != nil {
			t.Errorf("%s: Recv = %d, %v, %q", what, n, err, ms[0].Bytes())
		}
		must(t, f.write(frame(good)))
		expect(t, near, "good")
	}
}

// What the line had on it when Send begins does not become part of the message.
func TestSendCutsOffWhatWasThere(t *testing.T) {
	near, f := pair(t)
	if n, err := near.Send([]transport.Message{to(farAddr)(0, 5)}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	var got [1]byte
	if _, err := unix.Read(f.master, got[:]); err != nil || got[0] != 0xc0 {
		t.Errorf("a frame begins with %#x, %v, want END", got, err)
	}
}

// fillUp sends until the terminal has taken a part of a frame, and returns the
// messages, of which the last has not been sent.
func fillUp(t *testing.T, near transport.Transport) (out []transport.Message) {
	t.Helper()
	for seq := range 1000 {
		out = append(out, to(farAddr)(seq, 900))
		n, err := near.Send(out[seq:])
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return out
		}
	}
	t.Fatal("the line is never full")
	return nil
}

func TestPartOfAFrameGoesOnWhereItStopped(t *testing.T) {
	for name, giveUp := range map[string]bool{"and its message comes again": false, "although its message does not": true} {
		t.Run(name, func(t *testing.T) {
			near, f := pair(t)
			out := fillUp(t, near)
			rest := out[len(out)-1:]
			if giveUp {
				rest = []transport.Message{to(farAddr)(7, 800)}
				out = append(out, rest...)
			}
			got := slots(len(out) + 1)
			n, part := 0, false
			for n < len(out) {
				m, err := f.Recv(got[n : n+1])
				if err != nil {
					t.Fatal(err)
				}
				if n += m; m > 0 {
					continue
				}
				part = part || len(f.frame) > 0
				sent, err := near.Send(rest)
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[sent:]
			}
			if !part {
				t.Fatal("the terminal took whole frames only: nothing was tested")
			}
			for i := range out {
				if !bytes.Equal(got[i].Bytes(), out[i].Bytes()) {
					t.Errorf("message %d of %d arrived as another", i, len(out))
				}
			}
			if n, err := f.Recv(got[:1]); n != 0 || err != nil || len(f.frame) > 0 {
				t.Errorf("after the last message: %d, %v, and %d bytes of a frame", n, err, len(f.frame))
			}
		})
	}
}

func TestHangUpIsForEver(t *testing.T) {
	near, f := pair(t)
	must(t, f.Close())
	for range 3 {
		if !ready(t, near.FD(), unix.POLLIN) {
			t.Error("not readable")
		}
		n, err := near.Recv(slots(1))
		if n != 0 || !errors.Is(err, io.EOF) && !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), "the line has hung up") {
			t.Errorf("Recv = %d, %v", n, err)
		}
		n, err = near.Send([]transport.Message{to(farAddr)(0, 5)})
		if n != 0 || !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), "the line has hung up") {
			t.Errorf("Send = %d, %v", n, err)
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	const want = "want an IPv4 address and a terminal, 192.0.2.1@/dev/ttyUSB0 for instance"
	for _, c := range []struct {
		address string
		cfg     *transport.Config
		want    string
		is      error
	}{
		{"", nil, "no address and no SLIP_LINE in the environment", nil},
		{"/dev/tty", nil, want, nil},
		{"192.0.2.1@", nil, want, nil},
		{"2001:db8::1@/dev/tty", nil, want, nil},
		{"192.0.2.1@/dev/none", nil, "open slip /dev/none: open: no such file or directory", fs.ErrNotExist},
		{"192.0.2.1@/dev/null", nil, "open slip /dev/null: ioctl: inappropriate ioctl for device (is it a terminal?)", unix.ENOTTY},
		{"192.0.2.1@/dev/null", &transport.Config{Batch: 1}, "a line honours no Config", nil},
	} {
		number := nextDescriptor(t)
		tr, err := transport.Open("slip", c.address, c.cfg)
		if now := nextDescriptor(t); now != number {
			t.Errorf("%q: descriptor %d has been left open", c.address, number)
		}
		var op *net.OpError
		if tr != nil || !errors.As(err, &op) || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%q: %v, want %q", c.address, err, c.want)
		}
	}
}

// nextDescriptor is the lowest number that is free.
func nextDescriptor(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(t, errors.Join(err, unix.Close(fd)))
	return fd
}
