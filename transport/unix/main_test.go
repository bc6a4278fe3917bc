package unix_test

import (
	"fmt"
	"os"
	"testing"
	"unsafe"

	sys "golang.org/x/sys/unix"

	"iomux/transport"
)

// unique is an abstract name of this process.
func unique(name string) string { return fmt.Sprintf("@iomux-test-%d-%s", os.Getpid(), name) }

func numberedName(name string, n int) string { return fmt.Sprintf("%s%d", name, n) }

// numbered is a message of size bytes, each of which differs from its
// neighbours.
func numbered(seq, size int) transport.Message {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(seq + i*7 + i>>8)
	}
	return transport.Message{Buf: b, N: size}
}

func text(s string) transport.Message { return transport.Message{Buf: []byte(s), N: len(s)} }

// disconnect makes a socket leave its peer (connect(2)). If there are messages
// that it has not received, the peer gets ECONNRESET for that.
func disconnect(tr transport.Transport) error {
	none := sys.RawSockaddr{Family: sys.AF_UNSPEC}
	_, _, errno := sys.Syscall(sys.SYS_CONNECT, uintptr(tr.FD()), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none))
	if errno != 0 {
		return errno
	}
	return nil
}

func slots(n int) []transport.Message {
	ms := make([]transport.Message, n)
	for i := range ms {
		ms[i].Buf = make([]byte, 100)
	}
	return ms
}

// recv receives n messages, which must be there, and no more.
func recv(t *testing.T, tr transport.Transport, want ...string) {
	t.Helper()
	ms := slots(len(want) + 1)
	n, err := tr.Recv(ms)
	if n != len(want) || err != nil {
		t.Fatalf("Recv = %d, %v, want %d", n, err, len(want))
	}
	for i := range want {
		if got := string(ms[i].Bytes()); got != want[i] {
			t.Errorf("message %d is %q, want %q", i, got, want[i])
		}
	}
}

// send sends messages, for all of which there is room.
func send(t *testing.T, tr transport.Transport, texts ...string) {
	t.Helper()
	var ms []transport.Message
	for _, s := range texts {
		ms = append(ms, text(s))
	}
	if n, err := tr.Send(ms); n != len(ms) || err != nil {
		t.Fatalf("Send = %d, %v, want %d", n, err, len(ms))
	}
}

func open(t *testing.T, peer string, cfg *transport.Config) transport.Transport {
	t.Helper()
	tr, err := transport.Open("unixgram", peer, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}
