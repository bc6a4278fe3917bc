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
	for _, c := range []struct {
		name      string
		server    []string
		client    []string
		says, saw []string // what the client says and the server has seen
		code      int
	}{
		{"the request's data comes back", nil, nil,
			[]string{"icmp_seq=3 ttl=64", " clock=user", "3 packets transmitted, 3 received, 0% packet loss"},
			[]string{"from 192.0.2.1 to 192.0.2.2: echo request", " data: Hello from client!", "3 received, 3 answered\n"}, 0},
		{"other data comes back", []string{"--data", "Hello from server!"}, nil,
			[]string{"icmp_seq=3 ttl=64", "CORRUPT", "3 packets transmitted, 0 received"},
			[]string{" data: Hello from client!", "3 received, 3 answered\n"}, 1},
		{"from another address, with another time to live", nil, []string{"--interface", "192.0.2.77", "--ttl", "9"},
			[]string{" from 192.0.2.77: ", "3 packets transmitted, 3 received, "},
			[]string{"from 192.0.2.77 to 192.0.2.2: echo request", " ttl=9 data: "}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			left, right := cable(t)
			server := echo(t, farAddr.String()+"@"+left, append([]string{"server", "--network", "slip"}, c.server...)...)
			stdout, err := server.StdoutPipe()
			must(t, err)
			must(t, server.Start())
			lines := bufio.NewReader(stdout)
			if line, err := lines.ReadString('\n'); !strings.HasPrefix(line, "answering on slip") {
				t.Fatalf("the server says %q, %v\n%s", line, err, server.Stderr)
			}
			client := echo(t, nearAddr.String()+"@"+right, append([]string{"client", "--network", "slip", "--verbose",
				"--count", "3", "--interval", "5ms", "--timeout", "20s", "--data", "Hello from client!", farAddr.String()}, c.client...)...)
			out, _ := client.Output()
			if code := client.ProcessState.ExitCode(); code != c.code {
				t.Errorf("the client's exit code is %d, want %d\n%s", code, c.code, client.Stderr)
			}
			for _, want := range c.says {
				if !strings.Contains(string(out), want) {
					t.Errorf("the client says nothing of %q:\n%s", want, out)
				}
			}
			if note := client.Stderr.(*bytes.Buffer).String(); !strings.Contains(note, "network slip") {
				t.Errorf("the client says nothing of its network: %s", note)
			}
			must(t, server.Process.Signal(os.Interrupt))
			rest, err := io.ReadAll(lines)
			must(t, err)
			must(t, server.Wait())
			for _, want := range c.saw {
				if !strings.Contains(string(rest), want) {
					t.Errorf("the server says nothing of %q:\n%s", want, rest)
				}
			}
		})
	}
}

// What a line cannot do is an error, not something that is left out.
func TestALineIsNotAskedForWhatItCannotDo(t *testing.T) {
	_, right := cable(t)
	for _, c := range []struct{ flag, value, want string }{
		{"--interface", "eth0", "honours no Config"},
		{"--mark", "1", "honours no Config"},
		{"--pmtudisc", "do", "--pmtudisc: --network slip"},
	} {
		client := echo(t, nearAddr.String()+"@"+right, "client", "--network", "slip", "--count", "1", "--timeout", "1ms",
			c.flag, c.value, farAddr.String())
		client.Run()
		if errs, code := client.Stderr.(*bytes.Buffer).String(), client.ProcessState.ExitCode(); code != 2 || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit code %d, want 2 and %q: %s", c.flag, code, c.want, errs)
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
