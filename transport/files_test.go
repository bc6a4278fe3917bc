package transport_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// queue is a transport that is a descriptor and nothing else.
type queue struct {
	transport.Transport
	fd int
}

func (q queue) FD() int { return q.fd }

type device struct {
	queue
	all []transport.Transport
}

func (d device) Queues() []transport.Transport { return d.all }

func descriptor(t *testing.T) int {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestFilesAreDuplicatesInTheOrderOfTheQueues(t *testing.T) {
	a, b := queue{fd: descriptor(t)}, queue{fd: descriptor(t)}
	for _, tr := range []transport.Transport{device{a, []transport.Transport{a, b}}, a} {
		files, err := transport.Files(tr)
		want := []int{a.fd, b.fd}[:len(files)]
		if _, many := tr.(device); err != nil || many && len(files) != 2 || !many && len(files) != 1 {
			t.Fatalf("Files(%T) = %v, %v", tr, files, err)
		}
		for i, f := range files {
			var x, y unix.Stat_t
			if err := errors.Join(unix.Fstat(int(f.Fd()), &x), unix.Fstat(want[i], &y)); err != nil {
				t.Fatal(err)
			}
			if x.Ino != y.Ino || int(f.Fd()) == want[i] {
				t.Errorf("file %d is descriptor %d of inode %d, want a duplicate of %d, inode %d", i, f.Fd(), x.Ino, want[i], y.Ino)
			}
			f.Close()
		}
	}
	if _, err := transport.Files(device{a, []transport.Transport{a, queue{fd: -1}}}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("of a closed queue: %v, want %v", err, net.ErrClosed)
	}
}

func TestOpenClosesFilesInAnyCase(t *testing.T) {
	good := errors.New("a transport that failed")
	transport.Register("files-test", func(string, string, *transport.Config) (transport.Transport, error) { return nil, good })
	for network, want := range map[string]error{"files-test": good, "no such network": fs.ErrNotExist} {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := transport.Open(network, "", &transport.Config{Files: []*os.File{f, nil}}); !errors.Is(err, want) {
			t.Errorf("Open: %v, want %v", err, want)
		}
		if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("after Open of %s: Close = %v, want %v", network, err, fs.ErrClosed)
		}
	}
}
