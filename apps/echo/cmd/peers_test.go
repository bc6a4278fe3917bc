package cmd

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"iomux/mux"
)

// The echo server as Debian's tools see it, on every backend.
func TestPeersSeeEveryReplyOnceAndUnaltered(t *testing.T) {
	inLab(t, false)
	ping := need(t, "ping", "iputils-ping")
	fping := need(t, "fping", "fping")
	nping := need(t, "nping", "nmap")
	tshark := need(t, "tshark", "tshark")
	const host = "127.0.0.1"
	for _, backend := range mux.Backends() {
		t.Run(backend, func(t *testing.T) {
			s := startServer(t, "--quiet", "--rate", "0", "--backend", backend)
			seen := startSniffer(t, tshark)

			out := mustRun(t, exec.Command(ping, "-c", "20", "-l", "20", host))
			mustContain(t, "ping", out, "20 packets transmitted, 20 received, 0% packet loss")
			mustNotContain(t, "ping", out, "DUP!", "wrong data byte", "duplicates", "errors")

			out = mustRun(t, exec.Command(ping, "-c", "1", "-s", "1400", "-p", "a5", host))
			mustContain(t, "ping -s 1400", out, "1408 bytes from 127.0.0.1", " 0% packet loss")
			mustNotContain(t, "ping -s 1400", out, "DUP!", "wrong data byte", "duplicates", "errors")

			out = mustRun(t, exec.Command(fping, "-c", "5", "-p", "10", "-t", "20000", host))
			mustContain(t, "fping", out, "xmt/rcv/%loss = 5/5/0%")
			mustNotContain(t, "fping", out, "duplicate")

			out = mustRun(t, exec.Command(nping, "--icmp", "-c", "5", "--delay", "10ms", host))
			mustContain(t, "nping", out, "Raw packets sent: 5")
			if got := len(regexp.MustCompile(`(?m)^RCVD .*Echo reply`).FindAllString(out, -1)); got != 5 {
				t.Errorf("nping received %d replies, want 5:\n%s", got, out)
			}

			requests, replies := seen.stop()
			if want := 20 + 1 + 5 + 5; requests != want || replies != want {
				t.Errorf("tshark saw %d requests and %d replies, want %d", requests, replies, want)
			}
			rest, _ := s.signal(syscall.SIGINT)
			mustContain(t, "server", rest, " answered\n") // and nothing else
			mustNotContain(t, "server", rest, "corrupt", "ignored", "throttled", "errors")
		})
	}
}

func mustNotContain(t *testing.T, what, got string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(got, text) {
			t.Errorf("%s has %q:\n%s", what, text, got)
		}
	}
}

// sniffer is tshark on the loopback interface.
type sniffer struct {
	*process
	requests, replies int
}

// The sizes of the data of these pings tell where in the capture they are.
const (
	firstMark = iota + 1
	beginMark
	endMark
)

// startSniffer returns once tshark sees packets: it says that it captures some
// time before it does.
func startSniffer(t *testing.T, tshark string) *sniffer {
	t.Helper()
	c := &sniffer{process: start(t, exec.Command(tshark, "-i", "lo", "-l", "-n", "-o", "ip.check_checksum:TRUE",
		"-T", "fields", "-e", "icmp.type", "-e", "icmp.checksum.status", "-e", "ip.checksum.status",
		"-e", "_ws.malformed", "-e", "data.len", "-f", "icmp"))}
	seen, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for {
			select {
			case <-seen:
				return
			default:
				mark(firstMark)
			}
		}
	}()
	c.next()
	close(seen)
	<-stopped
	c.readTo(beginMark)
	c.requests, c.replies = 0, 0
	return c
}

func mark(size int) {
	runEcho("client", "--quiet", "--count", "1", "--timeout", "30s", "--size", fmt.Sprint(size), "127.0.0.1")
}

// readTo sends a mark and reads up to the reply to it.
func (c *sniffer) readTo(size int) {
	c.t.Helper()
	mark(size)
	for marks := 0; marks < 2; {
		if c.next() == fmt.Sprint(size) {
			marks++
		}
	}
}

// next reads one packet and checks it. It returns the length of its data.
func (c *sniffer) next() (data string) {
	c.t.Helper()
	line := strings.TrimRight(c.awaitLine("\t"), "\n")
	f := strings.Split(line, "\t")
	const good = "1"
	if len(f) != 5 || f[1] != good || f[2] != good || f[3] != "" {
		c.t.Errorf("tshark marks a packet: type %q, checksums %q, malformed %q", f[0], f[1:3], f[3:])
	}
	switch f[0] {
	case "8":
		c.requests++
	case "0":
		c.replies++
	}
	return f[len(f)-1]
}

// stop returns what has been captured since the start.
func (c *sniffer) stop() (requests, replies int) {
	c.t.Helper()
	c.readTo(endMark)
	c.signal(syscall.SIGTERM)
	return c.requests - 1, c.replies - 1
}
