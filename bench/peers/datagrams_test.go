package peers

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iomux/transport/netlab"
)

// eachDatagramServer runs a test for every one.
func eachDatagramServer(t *testing.T, test func(t *testing.T, load *program, s *server)) {
	netlab.Need(t)
	load := built(t, bareC, "load-udp")
	servers, err := newDatagramServers(t.TempDir())
	must(t, err)
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) { test(t, load, s) })
	}
}

// Every datagram of a round is answered, and what that took the server is known.
func TestDatagramServers(t *testing.T) {
	eachDatagramServer(t, func(t *testing.T, load *program, s *server) {
		for _, r := range []requests{{count: 100, window: 1}, {count: 1001, window: 40}, {count: 2000, window: 256, spin: time.Millisecond}} {
			expect(t, running(t, load, s, r).round, r.count)
		}
	})
}

// What a reply is, byte for byte, seen by another than the program that counts them.
func TestReplyOfDatagramServers(t *testing.T) {
	eachDatagramServer(t, func(t *testing.T, load *program, s *server) {
		run := running(t, load, s, requests{count: 1, window: 1})
		expect(t, run.round, 1) // it is ready
		var c net.Conn
		must(t, run.in.Do(func() (err error) { c, err = net.Dial("udp4", "127.0.0.1:7"); return err }))
		defer c.Close()
		must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
		for _, data := range []string{"hello", "", strings.Repeat("x", 1472), "y"} {
			_, err := c.Write([]byte(data))
			must(t, err)
			reply := make([]byte, 2048)
			n, err := c.Read(reply)
			if err != nil || !bytes.Equal(reply[:n], []byte(data)) {
				t.Errorf("reply %.10q of %d bytes, %v; want %.10q of %d", reply[:n], n, err, data, len(data))
			}
		}
	})
}

// What the servers are is told, and which version of gnet.
func TestAboutDatagramServers(t *testing.T) {
	built(t, bareC, "datagrams")
	servers, err := newDatagramServers(t.TempDir())
	must(t, err)
	var about strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&about, "%s: %s\n", s.name, s.about)
	}
	for _, want := range []string{"gnet: v2.", "iomux: go", "goroutine: go", "bare-c: recvmmsg, sendmmsg, epoll, gcc", "bare-c-single: recvfrom, sendto, epoll, gcc"} {
		if !strings.Contains("\n"+about.String(), "\n"+want) {
			t.Errorf("%swant %s", about.String(), want)
		}
	}
	if _, err := builtWith(servers[0].args[0], "no/such/module"); err == nil || !strings.Contains(err.Error(), "is not built with no/such/module") {
		t.Errorf("builtWith: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := newDatagramServers(t.TempDir()); !errors.As(err, new(notInstalled)) {
		t.Errorf("without a compiler: %v; want that it is not installed", err)
	}
}

// A round with a reply that is wrong, missing or one too many does not count. The servers
// are those in C with another sendto.
func TestLoadOfDatagramsNotices(t *testing.T) {
	netlab.Need(t)
	load := built(t, bareC, "load-udp")
	for name, test := range map[string]struct{ sendto, want string }{
		"right":          {"(sendto)(fd, data, n, flags, to, size)", ""},
		"twice":          {"((sendto)(fd, data, n, flags, to, size), (sendto)(fd, data, n, flags, to, size))", "one reply too many"},
		"twice at last":  {"(count++ < 999 ? 0 : (sendto)(fd, data, n, flags, to, size), (sendto)(fd, data, n, flags, to, size))", "one reply too many"},
		"not all":        {"(count++ % 100 ? (sendto)(fd, data, n, flags, to, size) : 0)", " without a reply"},
		"shorter":        {"(sendto)(fd, data, n - 1, flags, to, size)", "a reply of another length"},
		"longer":         {"(sendto)(fd, data, n + 1, flags, to, size)", "a reply of another length"},
		"other data":     {"(data[n - 1]++, (sendto)(fd, data, n, flags, to, size))", "not the reply to a request"},
		"other number":   {"(data[2]++, (sendto)(fd, data, n, flags, to, size))", "one reply too many"},
		"from elsewhere": {"(sendto)(socket(AF_INET, SOCK_DGRAM, 0), data, n, flags, to, size)", "a reply from elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fault := "#define _GNU_SOURCE\n#include <sys/socket.h>\nstatic int count;\nstatic char *data;\n" +
				"#define sendto(fd, d, n, flags, to, size) (data = (d), " + test.sendto + ")\n"
			must(t, os.WriteFile(filepath.Join(dir, "fault.h"), []byte(fault), 0o600))
			p := bareC
			p.flags = []string{"-include", "fault.h"}
			prog, err := p.build(dir, "datagrams")
			must(t, err)
			s := &server{name: name, args: []string{prog.path, "single"}, cpus: 1}
			run, err := s.start(load, requests{count: 1000, window: 100})
			must(t, err)
			defer run.close()
			sample, err := run.round()
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("round: %+v, %v; want %q", sample, err, test.want)
			}
		})
	}
}

// BenchmarkDatagrams compares what a reply costs a server of UDP, with 256 requests
// outstanding and with one.
func BenchmarkDatagrams(b *testing.B) {
	netlab.Need(loud{b})
	dir := b.TempDir()
	load, err := bareC.build(dir, "load-udp")
	if missing(err) {
		return
	}
	must(b, err)
	servers, err := newDatagramServers(dir)
	must(b, err)
	a := &arena{dir: dir, load: load}
	for _, s := range servers {
		a.have(b, s, nil)
	}
	for _, r := range []requests{window(), trip(0)} {
		for _, s := range servers {
			b.Run(fmt.Sprintf("outstanding=%d/server=%s", r.window, s.name), func(b *testing.B) { a.against(b, s, servers[0], r, r) })
		}
	}
}
