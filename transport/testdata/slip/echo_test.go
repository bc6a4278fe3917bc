package slip_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestEchoOverALine has the echo command's server at one end of a line and its
// client at the other.
func TestEchoOverALine(t *testing.T) {
	left, right := cable(t)
	server := echo(t, farAddr.String()+"@"+left, "server", "--network", "slip", "--data", "Hello from server!")
	stdout, err := server.StdoutPipe()
	must(t, err)
	must(t, server.Start())
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); !strings.HasPrefix(line, "answering on slip") {
		t.Fatalf("the server says %q, %v\n%s", line, err, server.Stderr)
	}
	client := echo(t, nearAddr.String()+"@"+right, "client", "--network", "slip",
		"--count", "3", "--interval", "5ms", "--timeout", "20s", "--data", "Hello from client!", farAddr.String())
	out, err := client.Output()
	if err != nil {
		t.Errorf("the client: %v\n%s", err, client.Stderr)
	}
	for _, want := range []string{"on slip", "icmp_seq=3 ttl=64", "Hello from server!", "3 packets transmitted, 3 received, ", "0% packet loss"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the client says nothing of %q:\n%s", want, out)
		}
	}
	must(t, server.Process.Signal(os.Interrupt))
	rest, err := io.ReadAll(lines)
	must(t, err)
	must(t, server.Wait())
	for _, want := range []string{"from 192.0.2.1 to 192.0.2.2: echo request", "Hello from client!", "3 received, 3 answered, 0 corrupt"} {
		if !strings.Contains(string(rest), want) {
			t.Errorf("the server says nothing of %q:\n%s", want, rest)
		}
	}
}

// echo is the echo command at an end of a line.
func echo(t *testing.T, line string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, self, args...)
	c.Env = append(os.Environ(), "BE_ECHO=1", "SLIP_LINE="+line)
	c.Stderr = new(bytes.Buffer)
	return c
}

// cable connects two pseudo-terminals, as socat(1) does, until the end of the
// test.
func cable(t *testing.T) (left, right string) {
	t.Helper()
	var masters [2]*os.File
	var names [2]string
	for i := range masters {
		f, terminal, err := openFar()
		must(t, err)
		masters[i], names[i] = os.NewFile(uintptr(f.master), "master"), terminal
		// While somebody has the terminal open, its master does not hang up.
		fd, err := unix.Open(terminal, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		must(t, err)
		t.Cleanup(func() { unix.Close(fd) })
	}
	for i := range masters {
		copied := make(chan struct{})
		go func() {
			defer close(copied)
			io.Copy(masters[1-i], masters[i])
		}()
		t.Cleanup(func() {
			masters[0].Close()
			masters[1].Close()
			<-copied
		})
	}
	return names[0], names[1]
}
