package unix_test

import (
	"fmt"
	"os"
	"testing"
	"unsafe"

	sys "golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
)

// unique is an abstract name of this process.
func unique(name string) string { return fmt.Sprintf("@iomux-test-%d-%s", os.Getpid(), name) }

func numberedName(name string, n int) string { return fmt.Sprintf("%s%d", name, n) }

func numbered(seq, size int) transport.Message { return wiretest.Message(wiretest.Pattern(seq, size)) }

func text(s string) transport.Message { return wiretest.Message([]byte(s)) }

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

// recv receives n messages, which must be there, and no more.
func recv(t *testing.T, tr transport.Transport, want ...string) {
	t.Helper()
	ms := wiretest.Slots(len(want)+1, 100)
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
	return wiretest.Open(t, "unixgram", peer, cfg)
}
