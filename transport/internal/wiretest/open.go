package wiretest

import (
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// Open opens a transport until the end of the test.
func Open(t testing.TB, network, address string, cfg *transport.Config) transport.Transport {
	t.Helper()
	tr, err := transport.Open(network, address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// Refused demands that Open fails with a *net.OpError that says "open", the
// network, an address if it has one, and want, and that no descriptor is left of
// the attempt. It returns the error.
func Refused(t testing.TB, network, address string, cfg transport.Config, want string) error {
	t.Helper()
	before := Descriptors(t)
	tr, err := transport.Open(network, address, &cfg)
	if tr != nil || err == nil {
		t.Fatalf("%s %q: Open = %T, %v, want an error: %s", network, address, tr, err, want)
	}
	if op, ok := err.(*net.OpError); !ok || op.Op != "open" || op.Net != network {
		t.Errorf("the error is %T %v, want a *net.OpError with Op open and Net %s", err, err, network)
	}
	if got := strings.TrimPrefix(err.Error(), "open "+network); got != ": "+want && got != " "+want {
		t.Errorf("got  %s\nwant open %s: %s", err, network, want)
	}
	if after := Descriptors(t); after != before {
		t.Errorf("%s: %d descriptors are open, %d before", err, after, before)
	}
	return err
}

// Honours demands that what the Config says about buffers, mark, interface and
// batches is so.
func Honours(t testing.TB, tr transport.Transport, cfg *transport.Config) {
	t.Helper()
	for _, o := range []struct {
		name         string
		number, want int
	}{
		{"SO_RCVBUF", unix.SO_RCVBUF, 2 * cfg.RecvBuffer}, // socket(7): the kernel doubles it
		{"SO_SNDBUF", unix.SO_SNDBUF, 2 * cfg.SendBuffer},
		{"SO_MARK", unix.SO_MARK, int(cfg.Mark)},
	} {
		if o.want == 0 {
			continue
		}
		if got, err := unix.GetsockoptInt(tr.FD(), unix.SOL_SOCKET, o.number); got != o.want || err != nil {
			t.Errorf("%s is %d, %v, want %d", o.name, got, err, o.want)
		}
	}
	if cfg.Interface != "" {
		if got, err := unix.GetsockoptString(tr.FD(), unix.SOL_SOCKET, unix.SO_BINDTODEVICE); got != cfg.Interface || err != nil {
			t.Errorf("SO_BINDTODEVICE is %q, %v, want %s", got, err, cfg.Interface)
		}
	}
	if got := tr.BatchSize(); cfg.Batch != 0 && got != cfg.Batch {
		t.Errorf("BatchSize() = %d, want %d", got, cfg.Batch)
	}
}
