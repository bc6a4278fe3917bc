package unix_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	sys "golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/transporttest"
	"iomux/transport/unix"
)

func local(name string) *transport.Config {
	return &transport.Config{Options: unix.Options{Local: name}}
}

func TestPeersOpenInAnyOrder(t *testing.T) {
	dir := t.TempDir()
	for name, names := range map[string][2]string{
		"path":     {filepath.Join(dir, "a"), filepath.Join(dir, "b")},
		"abstract": {unique("order-a"), unique("order-b")},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, names[1], local(names[0]))
			if n, err := a.Send([]transport.Message{text("early")}); n != 0 || err == nil {
				t.Errorf("Send to nobody = %d, %v, want an error", n, err)
			}
			b := open(t, names[0], local(names[1]))
			send(t, b, "one")
			recv(t, a, "one")
			send(t, a, "two", "three")
			recv(t, b, "two", "three")
		})
	}
}

func TestSendSaysWhyThereIsNoPeer(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	leave(t, stale)
	for _, c := range []struct {
		peer, want string
		is         error
	}{
		{filepath.Join(dir, "none"), "write unixgram " + dir + "/none: connect: no such file or directory", fs.ErrNotExist},
		{stale, "write unixgram " + stale + ": connect: connection refused", syscall.ECONNREFUSED},
		{unique("none"), "write unixgram " + unique("none") + ": connect: connection refused", syscall.ECONNREFUSED},
		{"/dev/null", "write unixgram /dev/null: connect: connection refused", syscall.ECONNREFUSED},
		{"", "write unixgram: sendmmsg: transport endpoint is not connected", syscall.ENOTCONN},
	} {
		tr := open(t, c.peer, nil)
		for range 2 {
			n, err := tr.Send([]transport.Message{text("x")})
			if n != 0 || err == nil || err.Error() != c.want || !errors.Is(err, c.is) {
				t.Errorf("to %q: Send = %d, %v, want %s", c.peer, n, err, c.want)
			}
		}
	}
}

// leave leaves the file of a socket that is closed, as a killed program does.
func leave(t *testing.T, path string) {
	t.Helper()
	fd, err := sys.Socket(sys.AF_UNIX, sys.SOCK_DGRAM, 0)
	if err == nil {
		err = errors.Join(sys.Bind(fd, &sys.SockaddrUnix{Name: path}), sys.Close(fd))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestPeerThatCameBackIsFoundAgain(t *testing.T) {
	names := [2]string{filepath.Join(t.TempDir(), "a"), unique("back")}
	b := open(t, names[0], local(names[1]))
	for _, say := range []string{"one", "two", "three"} {
		a := open(t, names[1], local(names[0]))
		if say != "one" { // b has not noticed that the last a is gone
			if n, err := a.Send([]transport.Message{text("x")}); n != 0 || !errors.Is(err, fs.ErrPermission) {
				t.Errorf("Send to a peer that has another = %d, %v, want fs.ErrPermission", n, err)
			}
		}
		send(t, b, say)
		recv(t, a, say)
		send(t, a, say)
		recv(t, b, say)
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := b.Send([]transport.Message{text("x")}); n != 0 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Send to a peer that is gone = %d, %v, want fs.ErrNotExist", n, err)
	}
}

func TestMessagesComeFromThePeerAlone(t *testing.T) {
	a, b := unique("alone-a"), unique("alone-b")
	open(t, b, local(a))
	open(t, a, local(b)) // connects: a is there
	n, err := open(t, b, nil).Send([]transport.Message{text("x")})
	var refused *transport.PermissionError
	want := "the peer is connected to another socket; if that is gone, the peer finds out when it sends"
	if n != 0 || !errors.Is(err, syscall.EPERM) || !errors.As(err, &refused) || refused.Advice != want {
		t.Errorf("Send to a socket that has another peer: %d, %v", n, err)
	}
}

func TestTransportWithoutPeerReceivesFromAll(t *testing.T) {
	name := unique("server")
	server := open(t, "", local(name))
	one, two := open(t, name, nil), open(t, name, nil)
	send(t, one, "one")
	send(t, two, "two")
	recv(t, server, "one", "two")
}

// Without any name it has one all the same, of the kernel's choice.
func TestTransportWithoutNames(t *testing.T) {
	tr := open(t, "", nil)
	name, err := sys.Getsockname(tr.FD())
	if err != nil {
		t.Fatal(err)
	}
	auto := name.(*sys.SockaddrUnix).Name
	if !strings.HasPrefix(auto, "@") || len(auto) < 2 {
		t.Fatalf("its name is %q", auto)
	}
	send(t, open(t, auto, nil), "hello")
	recv(t, tr, "hello")
}

func TestFileIsThereUntilClose(t *testing.T) {
	t.Chdir(t.TempDir())
	tr := open(t, "", local("socket"))
	info, err := os.Lstat("socket")
	if err != nil || info.Mode()&fs.ModeSocket == 0 {
		t.Fatalf("the file: %v, %v", info, err)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir("/") // a relative name is that of the time of Open
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "socket")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
}

func TestCloseLeavesWhatAnotherPutThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	tr := open(t, "", local(path))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	successor := open(t, "", local(path))
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	send(t, open(t, path, nil), "hello")
	recv(t, successor, "hello")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := successor.Close(); err != nil {
		t.Errorf("Close of a transport whose file is gone: %v", err)
	}
}

func TestFileThatIsInTheWayIsNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	leave(t, path)
	_, err := transport.Open("unixgram", "", local(path))
	want := "open unixgram " + path + ": bind: address already in use (if no program uses it any more, remove the file)"
	if !errors.Is(err, syscall.EADDRINUSE) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}

func TestModeIsThatOfTheFile(t *testing.T) {
	defer sys.Umask(sys.Umask(0o027))
	dir := t.TempDir()
	for mode, want := range map[fs.FileMode]fs.FileMode{0: 0o750, 0o600: 0o600, 0o777: 0o750, 0o002: 0} {
		path := filepath.Join(dir, want.String()+mode.String())
		open(t, "", &transport.Config{Options: unix.Options{Local: path, Mode: mode}})
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("Mode %v: the file has %v, %v, want %v", mode, info.Mode().Perm(), err, want)
		}
	}
}

func TestFileThatMayNotBeWrittenIsErrPermission(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	open(t, "", &transport.Config{Options: unix.Options{Local: path, Mode: 0o002}})
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	var err error
	if e := transporttest.WithoutCapabilities(sys.CAP_DAC_OVERRIDE)(func() {
		_, err = transport.Open("unixgram", path, nil)
	}); e != nil {
		t.Fatal(e)
	}
	want := "open unixgram " + path + ": connect: permission denied: " +
		"binding takes write permission for the folder, connecting for the socket's file"
	if !errors.Is(err, fs.ErrPermission) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// Only one Close removes the file, and none touches one that came later.
func TestCloseFromManyGoroutines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	for range 50 {
		tr := open(t, unique("gone"), local(path))
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { tr.Close() })
			all.Go(func() { // tries to connect
				_, err := tr.Send([]transport.Message{text("x")})
				if err != net.ErrClosed && !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("Send = %v, want net.ErrClosed or ECONNREFUSED", err)
				}
			})
		}
		all.Wait()
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("after Close: %v", err)
		}
	}
}
