package capture_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"iomux/apps/echo/capture"
	"iomux/transport"
	"iomux/transport/unix"
)

// full is a disk with room for so many bytes.
type full struct {
	room int
	file bytes.Buffer
	late int // calls after the first error
	over bool
}

var errFull = errors.New("the disk is full")

func (f *full) Write(b []byte) (int, error) {
	if f.over {
		f.late++
	}
	n := min(len(b), f.room)
	f.room -= n
	f.file.Write(b[:n])
	if n < len(b) {
		f.over = true
		return n, errFull
	}
	return n, nil
}

// Wherever writing fails, Recv and Send go on as if nothing had happened. The file ends
// there, and Close says why.
func TestWritingFails(t *testing.T) {
	synctest.Test(t, writingFails) // all at the same time, so that files are equal
}

func writingFails(t *testing.T) {
	payload := make([]byte, 30_000) // so that the buffer is full now and then
	m := message("192.0.2.1", payload)
	use := func(w *capture.Writer) error {
		f := &fake{in: []transport.Message{m, m, m, m, m, m}}
		c, err := w.Wrap(f, capture.Options{Name: "test", Payload: capture.ICMPv4})
		if err != nil {
			if errors.Is(w.Close(), errFull) {
				return err
			}
			t.Fatal("Wrap fails, and Close does not")
		}
		for range 3 {
			if n, err := c.Recv(make([]transport.Message, 2)); n != 2 || err != nil {
				t.Fatalf("Recv = %d, %v, want 2", n, err)
			}
			if n, err := c.Send([]transport.Message{m, m, m}); n != 3 || err != nil {
				t.Fatalf("Send = %d, %v, want 3", n, err)
			}
		}
		return w.Close()
	}
	var whole bytes.Buffer
	if err := use(capture.NewWriter(&whole)); err != nil {
		t.Fatal(err)
	}
	if n := len(read(t, bytes.NewReader(whole.Bytes()))); n != 15 {
		t.Fatalf("%d packets are in the file, want 15", n)
	}
	for _, room := range []int{0, 1, 50, 100, 150, 30_000, 65_536, 65_537, 200_000, whole.Len() - 1, whole.Len()} {
		disk := &full{room: room}
		err := use(capture.NewWriter(disk))
		if room == whole.Len() {
			if err != nil {
				t.Errorf("Close: %v, with enough room", err)
			}
			continue
		}
		if !errors.Is(err, errFull) || !strings.HasPrefix(err.Error(), "capture: ") {
			t.Errorf("room for %d bytes: the error is %v, want %v", room, err, errFull)
		}
		if got := disk.file.Bytes(); disk.late > 0 || !bytes.Equal(got, whole.Bytes()[:room]) {
			t.Errorf("room for %d bytes: %d bytes are in the file, and there were %d attempts later", room, len(got), disk.late)
		}
	}
}

func TestErrorsOfTheTransportArePassedOn(t *testing.T) {
	var file bytes.Buffer
	w := capture.NewWriter(&file)
	failed := errors.New("failed")
	c := wrap(t, w, &fake{err: failed}, capture.Options{Payload: capture.ICMPv4})
	ms := []transport.Message{message("192.0.2.1", nil)}
	if n, err := c.Recv(ms); n != 0 || err != failed {
		t.Errorf("Recv = %d, %v, want 0, %v", n, err, failed)
	}
	if n, err := c.Send(ms); n != 0 || err != failed {
		t.Errorf("Send = %d, %v, want 0, %v", n, err, failed)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if n := len(read(t, &file)); n != 0 {
		t.Errorf("%d packets are in the file, want none", n)
	}
}

// Only what was sent is in the file.
func TestShortSend(t *testing.T) {
	f := &fake{}
	var sent []transport.Message
	for i := range 6 { // more than a batch
		sent = append(sent, message("192.0.2.1", []byte{byte(i)}))
	}
	var file bytes.Buffer
	w := capture.NewWriter(&file)
	c := wrap(t, w, f, capture.Options{Payload: capture.Opaque})
	if n, err := c.Send(sent); n != 4 || err != nil {
		t.Fatalf("Send = %d, %v, want the batch of 4", n, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for _, r := range read(t, &file) {
		got = append(got, r.data...)
	}
	if !bytes.Equal(got, []byte{0, 1, 2, 3}) {
		t.Errorf("the messages %v are in the file, want the first 4", got)
	}
}

// A file without a packet, or without a transport, is a file.
func TestEmptyFile(t *testing.T) {
	for _, wrapped := range []bool{false, true} {
		var file bytes.Buffer
		w := capture.NewWriter(&file)
		if wrapped {
			wrap(t, w, &fake{}, capture.Options{Payload: capture.ICMPv4})
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if n := len(read(t, bytes.NewReader(file.Bytes()))); n != 0 {
			t.Errorf("%d packets are in the file, want none", n)
		}
		if text := tcpdump(t, file.Bytes()); text != "" {
			t.Errorf("tcpdump reads %s", text)
		}
	}
}

func TestAfterClose(t *testing.T) {
	var file bytes.Buffer
	w := capture.NewWriter(&file)
	m := message("192.0.2.1", make([]byte, 60_000)) // two are more than is buffered
	f := &fake{in: []transport.Message{m, m}}
	c := wrap(t, w, f, capture.Options{Payload: capture.ICMPv4})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	length := file.Len()
	if n, err := c.Recv(make([]transport.Message, 2)); n != 2 || err != nil {
		t.Errorf("Recv = %d, %v, want 2", n, err)
	}
	if n, err := c.Send([]transport.Message{m, m}); n != 2 || err != nil {
		t.Errorf("Send = %d, %v, want 2", n, err)
	}
	_, err := w.Wrap(f, capture.Options{Payload: capture.ICMPv4})
	for call, err := range map[string]error{"Close": w.Close(), "Flush": w.Flush(), "Wrap": err} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s after Close: %v, want %v", call, err, os.ErrClosed)
		}
	}
	if file.Len() != length {
		t.Error("something was written after Close")
	}
}

// What is flushed can be read while the capture goes on, from the first on.
func TestFlush(t *testing.T) {
	var file bytes.Buffer
	w := capture.NewWriter(&file)
	c := wrap(t, w, &fake{}, capture.Options{Payload: capture.ICMPv4})
	for i := range 3 {
		if n := len(read(t, bytes.NewReader(file.Bytes()))); n != i {
			t.Errorf("%d packets are in the file, want %d", n, i)
		}
		c.Send([]transport.Message{message("192.0.2.1", echoRequest(8))})
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWrapRefusesWhatItCannotWrite(t *testing.T) {
	for want, c := range map[string]struct {
		tr transport.Transport
		o  capture.Options
	}{
		"capture: Options.Payload is 0, and the transport has no framing: want ICMPv4, ICMPv6, UDP or Opaque": {&fake{}, capture.Options{}},
		"capture: Options.Payload is 5, and the transport has no framing: want ICMPv4, ICMPv6, UDP or Opaque": {&framed{}, capture.Options{Payload: capture.Opaque + 1}},
		"capture: the transport has the framing 3: want transport.Payload, IPPacket or Ethernet":              {&framed{framing: 3}, capture.Options{Payload: capture.ICMPv4}},
		`capture: Options.Name is "aaaaaaaaaaaaaaaaaaaa"...: want at most 200 bytes of UTF-8`:                 {&fake{}, capture.Options{Name: strings.Repeat("a", 201), Payload: capture.ICMPv4}},
		`capture: Options.Name is "\xff"...: want at most 200 bytes of UTF-8`:                                 {&fake{}, capture.Options{Name: "\xff", Payload: capture.ICMPv4}},
	} {
		w := capture.NewWriter(io.Discard)
		if tr, err := w.Wrap(c.tr, c.o); tr != nil || err == nil || err.Error() != want {
			t.Errorf("Wrap = %v, %v, want nil, %s", tr, err, want)
		}
		if _, err := w.Wrap(&fake{}, capture.Options{Name: strings.Repeat("a", 200), Payload: capture.ICMPv4}); err != nil {
			t.Errorf("Wrap afterwards: %v", err)
		}
	}
}

// The optional interfaces of a transport are still found, and it is the same one.
func TestCapturedTransportIsTheTransport(t *testing.T) {
	inner := &owned{identifier: 0xBEEF}
	c := wrap(t, capture.NewWriter(io.Discard), inner, capture.Options{Payload: capture.ICMPv4})
	if i, ok := transport.As[transport.Identifier](c); !ok || i.Identifier() != 0xBEEF {
		t.Error("the identifier is not found")
	}
	if _, ok := transport.As[transport.Framer](c); ok {
		t.Error("there is a framing")
	}
	if c.FD() != -1 || c.BatchSize() != 4 || c.Close() != nil {
		t.Error("FD, BatchSize or Close is another")
	}
}

// Transports that share a file receive and send at the same time. Nothing gets lost
// or mixed up.
func TestConcurrentUse(t *testing.T) {
	const pairs, rounds = 3, 300
	var file bytes.Buffer
	w := capture.NewWriter(&file)
	var wg sync.WaitGroup
	for p := range pairs {
		a, b, err := unix.Pair(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		c := wrap(t, w, a, capture.Options{Name: fmt.Sprint(p), Payload: capture.Opaque})
		defer c.Close()
		for _, job := range []func(i int){
			func(i int) { sendAll(c, p, "sent", i) },
			func(i int) { sendAll(b, p, "received", i) },
			func(int) { receiveOne(c) },
			func(int) { receiveOne(b) },
			func(int) { w.Flush() },
		} {
			wg.Go(func() {
				for i := range rounds {
					job(i)
				}
			})
		}
	}
	wg.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	next := map[string]int{}
	for _, r := range read(t, &file) {
		var p, i int
		var direction string
		if _, err := fmt.Sscan(string(r.data), &p, &direction, &i); err != nil {
			t.Fatalf("the packet %q: %v", r.data, err)
		}
		kind := fmt.Sprint(p, direction)
		if r.name != fmt.Sprint(p) || next[kind] != i {
			t.Fatalf("the packet %q of interface %s comes, want number %d", r.data, r.name, next[kind])
		}
		next[kind]++
	}
	if len(next) != 2*pairs {
		t.Errorf("packets of %d kinds are in the file, want %d", len(next), 2*pairs)
	}
	for kind, n := range next {
		if n != rounds {
			t.Errorf("%d packets %s are in the file, want %d", n, kind, rounds)
		}
	}
}

// sendAll sends one message, however full the queue is.
func sendAll(tr transport.Transport, p int, direction string, i int) {
	m := message("", fmt.Appendf(nil, "%d %s %d", p, direction, i))
	for n := 0; n == 0; {
		var err error
		if n, err = tr.Send([]transport.Message{m}); err != nil {
			panic(err)
		}
		if n == 0 {
			wait(tr, false)
		}
	}
}

func receiveOne(tr transport.Transport) {
	ms := []transport.Message{{Buf: make([]byte, 100)}}
	for n := 0; n == 0; {
		var err error
		if n, err = tr.Recv(ms); err != nil {
			panic(err)
		}
		if n == 0 {
			wait(tr, true)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	for _, p := range []capture.Payload{capture.ICMPv4, capture.ICMPv6, capture.UDP, capture.Opaque} {
		peer := "192.0.2.1"
		if p == capture.ICMPv6 {
			peer = "2001:db8::1"
		}
		m := message(peer, echoRequest(8))
		f := &fake{}
		in := []transport.Message{m, m, m, m}
		c := wrap(t, capture.NewWriter(io.Discard), f, capture.Options{Payload: p})
		ms := make([]transport.Message, 4)
		if n := testing.AllocsPerRun(1000, func() {
			f.in = in
			c.Recv(ms)
			c.Send(ms)
		}); n != 0 {
			t.Errorf("payload %d: %v allocations for a Recv and a Send of 4, want 0", p, n)
		}
	}
}
