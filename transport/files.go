package transport

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Files duplicates the descriptors of a transport, in the order of its queues if
// it has several (Queues() []Transport), for the Config.Files of another process:
// os/exec hands them over as ExtraFiles. They are the caller's to close, and refer
// to the same socket or device as the transport, which stays open until all are
// closed.
//
//	t, err := transport.Open("ip4:icmp", "", nil) // needs CAP_NET_RAW
//	files, err := transport.Files(t)
//	cmd.ExtraFiles = files                         // 3 and up there
//	...                                            // in the other process:
//	t, err := transport.Open("ip4:icmp", "", &transport.Config{
//		Files: []*os.File{os.NewFile(3, "ip4:icmp")}, // needs nothing
//	})
//
// The error is net.ErrClosed after Close, or that of fcntl(2).
func Files(t Transport) ([]*os.File, error) {
	queues := []Transport{t}
	if d, ok := As[interface{ Queues() []Transport }](t); ok {
		queues = d.Queues()
	}
	var files []*os.File
	for i, q := range queues {
		f, err := duplicate(q, fmt.Sprintf("descriptor %d of a transport", i))
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func duplicate(t Transport, name string) (*os.File, error) {
	fd := t.FD()
	if fd < 0 {
		return nil, net.ErrClosed
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
	}
	return os.NewFile(uintptr(dup), name), nil
}

// closeAll closes what is open of these files.
func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close() // nil and closed ones say so, which does not matter here
	}
}
