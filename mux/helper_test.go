package mux

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// eachBackend runs test on a fresh Mux of every backend of this package.
func eachBackend(t *testing.T, test func(t *testing.T, m *multiplexer)) {
	for _, name := range []string{"epoll", "poll", "select"} {
		t.Run(name, func(t *testing.T) { test(t, openNamed(t, name)) })
	}
}

func openNamed(t testing.TB, name string) *multiplexer {
	t.Helper()
	m, err := Open(name)
	must(t, err)
	t.Cleanup(func() { m.Close() })
	return m.(*multiplexer)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// descriptor has fd closed after the test, unless the test closes it.
func descriptor(t testing.TB, fd int, err error) int {
	t.Helper()
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// emptyPipe returns the ends of a pipe, which do not block.
func emptyPipe(t testing.TB) (r, w int) {
	t.Helper()
	var p [2]int
	err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC)
	return descriptor(t, p[0], err), descriptor(t, p[1], err)
}

// readablePipe returns the reading end of a pipe that holds one byte, at a
// number that nothing else takes when it is closed.
func readablePipe(t testing.TB) (r int) {
	t.Helper()
	var p [2]int
	must(t, unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
	defer unix.Close(p[0])
	write(t, descriptor(t, p[1], nil))
	return duplicate(t, p[0])
}

// fresh counts the numbers that duplicate has given away.
var fresh int

// duplicate returns another descriptor of the same open file, at a number that
// was not in use lately and is far above what else the test opens.
func duplicate(t testing.TB, fd int) int {
	t.Helper()
	fresh++
	number, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 600+fresh%400)
	return descriptor(t, number, err)
}

func regularFile(t testing.TB) int {
	t.Helper()
	fd, err := unix.Open(filepath.Join(t.TempDir(), "file"), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	return descriptor(t, fd, err)
}

func write(t testing.TB, fd int) {
	t.Helper()
	_, err := unix.Write(fd, []byte{'x'})
	must(t, err)
}

func read(t testing.TB, fd int) {
	t.Helper()
	_, err := unix.Read(fd, make([]byte, 1))
	must(t, err)
}

// wait returns what a Wait with room for that many events finds without
// blocking, and fails if a token comes twice.
func wait(t testing.TB, m Mux, room int) map[uint64]Interest {
	t.Helper()
	events := make([]Event, room)
	n, err := m.Wait(events, 0)
	must(t, err)
	found := make(map[uint64]Interest)
	for _, ev := range events[:n] {
		if _, ok := found[ev.Token]; ok {
			t.Fatalf("one Wait reports token %d twice: %v", ev.Token, events[:n])
		}
		found[ev.Token] = ev.Ready
	}
	return found
}

func expect(t testing.TB, m Mux, want map[uint64]Interest) {
	t.Helper()
	if got := wait(t, m, 64); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("Wait reports %v, want %v", got, want)
	}
}

func expectNothing(t testing.TB, m Mux) {
	t.Helper()
	expect(t, m, map[uint64]Interest{})
}

// untilSleeping returns when a goroutine is about to block in Wait, or does.
func untilSleeping(m *multiplexer) {
	for {
		m.mu.Lock()
		sleeping := m.sleeping
		m.mu.Unlock()
		if sleeping {
			return
		}
		runtime.Gosched()
	}
}

// epollHolds returns how many registrations the kernel has in an epoll
// instance besides the waker's.
func epollHolds(t *testing.T, s *epollSet) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/self/fdinfo/%d", s.fd))
	must(t, err)
	defer f.Close()
	n := -1
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if strings.HasPrefix(sc.Text(), "tfd:") {
			n++
		}
	}
	return n
}
