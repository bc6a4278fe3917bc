package cmd

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/codec"
	"iomux/mux"
	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/netlab"
)

func TestClientGetsEveryReplyFromTheKernelAndFromTheServer(t *testing.T) {
	for _, backend := range mux.Backends() {
		for _, responder := range []string{"kernel", "server"} {
			t.Run(backend+"/"+responder, func(t *testing.T) {
				inLab(t, responder == "kernel")
				if responder == "server" {
					s := startServer(t, "--quiet", "--backend", backend)
					defer s.signal(syscall.SIGINT)
				}
				// No reply is late by the machine's being slow.
				out, errs, code := runEcho("client", "--backend", backend, "--count", "1000", "--interval", "1ms",
					"--timeout", "30s", "127.0.0.1")
				mustContain(t, "client", out, "1000 packets transmitted, 1000 received, 0% packet loss")
				if code != exitOK || errs != "" {
					t.Errorf("exit code %d\n%s", code, errs)
				}
				for seq := 1; seq <= 1000; seq++ {
					if line := fmt.Sprintf("icmp_seq=%d ttl=64 time=", seq); strings.Count(out, line) != 1 {
						t.Fatalf("%q occurs %d times", line, strings.Count(out, line))
					}
				}
			})
		}
	}
}

func TestClientPrintsInTheMannerOfPing(t *testing.T) {
	inLab(t, true)
	out, errs, code := runEcho("client", "--count", "2", "--interval", "1ms", "--timeout", "30s", "--size", "100", "--backend", "epoll", "127.0.0.1")
	want := regexp.MustCompile(`^PING 127\.0\.0\.1 \(127\.0\.0\.1\) 100 bytes of data, on ip4:icmp, multiplexer epoll
108 bytes from 127\.0\.0\.1: icmp_seq=1 ttl=64 time=\d+\.\d{3} ms
108 bytes from 127\.0\.0\.1: icmp_seq=2 ttl=64 time=\d+\.\d{3} ms

--- 127\.0\.0\.1 ping statistics ---
2 packets transmitted, 2 received, 0% packet loss, time \d+ms
rtt min/avg/max/mdev = \d+\.\d{3}/\d+\.\d{3}/\d+\.\d{3}/\d+\.\d{3} ms
$`)
	if !want.MatchString(out) || errs != "" || code != exitOK {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

func TestClientTellsDuplicates(t *testing.T) {
	lab := inLab(t, false)
	s := startServer(t, "--quiet")
	defer s.signal(syscall.SIGINT)
	setReplies(t, lab, true) // now both answer
	// The second reply may come after the first has ended the run, but not after
	// the last of three.
	out, _, code := runEcho("client", "--count", "3", "--interval", "100ms", "--timeout", "30s", "127.0.0.1")
	mustContain(t, "client", out, " (DUP!)", "3 received", " duplicates, 0% packet loss")
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// The peer answers with a code other than 0, and then as it should.
func TestClientTellsCorruptReplies(t *testing.T) {
	inLab(t, false)
	peer, err := transport.Open(rawNetwork, "", &transport.Config{Options: icmp.Options{Types: []uint8{8}}})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	answered := make(chan error, 1)
	go func() {
		unix.Poll([]unix.PollFd{{Fd: int32(peer.FD()), Events: unix.POLLIN}}, int(watchdog.Milliseconds()))
		ms := []transport.Message{{Buf: make([]byte, 256)}}
		if n, err := peer.Recv(ms); n != 1 {
			answered <- fmt.Errorf("Recv = %d, %w", n, err)
			return
		}
		var c codec.EchoV4
		var e codec.Echo
		err := c.Decode(ms[0].Bytes(), &e)
		e.Type = codec.EchoReply
		var replies []transport.Message
		for _, e.Code = range []uint8{7, 0} {
			b, _ := c.Append(nil, &e)
			replies = append(replies, transport.Message{Buf: b, N: len(b), Peer: ms[0].Peer})
		}
		n, sendErr := peer.Send(replies)
		if n != len(replies) {
			sendErr = fmt.Errorf("Send = %d, %w", n, sendErr)
		}
		answered <- errors.Join(err, sendErr)
	}()
	out, _, code := runEcho("client", "--count", "1", "--timeout", "30s", "127.0.0.1")
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	mustContain(t, "client", out, "1 received, 0% packet loss", "\n1 corrupt replies, not counted above: ")
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestClientTellsLosses(t *testing.T) {
	inLab(t, false)
	out, _, code := runEcho("client", "--count", "2", "--interval", "1ms", "--timeout", "2ms", "127.0.0.1")
	mustContain(t, "client", out, "no reply from 127.0.0.1: icmp_seq=1\n", "no reply from 127.0.0.1: icmp_seq=2\n",
		"2 packets transmitted, 0 received, 100% packet loss")
	if strings.Contains(out, "rtt") {
		t.Errorf("round-trip times of nothing:\n%s", out)
	}
	if code != exitUnanswered {
		t.Errorf("exit code %d, want %d", code, exitUnanswered)
	}
}

func TestExitCodeTellsWhetherEveryHostAnswered(t *testing.T) {
	inLab(t, true)
	args := []string{"client", "--quiet", "--count", "1", "--timeout", "30s"}
	for _, c := range []struct {
		name  string
		hosts []string
		want  int
		says  string
	}{
		{"all of them", []string{"127.0.0.1", "127.0.0.2"}, exitOK, ""},
		{"one is there twice", []string{"127.0.0.1", "127.0.0.1"}, exitOK, "1 of the hosts have the address of another one"},
		{"one cannot be sent to", []string{"127.0.0.1", "192.0.2.1"}, exitUnanswered, ""},
		{"one is a broadcast address", []string{"127.0.0.1", "127.255.255.255"}, exitUnanswered, ""},
		{"one is no IPv4 address", []string{"127.0.0.1", "::1"}, exitError, "::1: an IPv6 address"},
		{"one is no host", []string{"0.0.0.0"}, exitError, "0.0.0.0: the address of no host"},
		{"one is unknown", []string{"127.0.0.1", "no-such-host.invalid"}, exitError, "no-such-host.invalid"},
		{"none is given", nil, exitError, "no host given"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errs, code := runEcho(append(args, c.hosts...)...)
			if code != c.want || !strings.Contains(errs, c.says) || errs != "" && c.says == "" {
				t.Errorf("exit code %d, want %d\n%s%s", code, c.want, out, errs)
			}
		})
	}
}

func TestUsageErrorsSayWhatWouldBeRight(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"client --count -1 h", "--count -1: want a positive number"},
		{"client --interval 0s h", "--interval 0s: want a positive duration"},
		{"client --timeout -1s h", "--timeout -1s: want a positive duration"},
		{"client --interval soon h", "want a duration such as 200ms"},
		{"client --size 65508 h", "--size 65508: want 0 to 65507 bytes"},
		{"client --backend kqueue 127.0.0.1", "usable here: epoll, poll, select"},
		{"client --interval 1us --timeout 1h 127.0.0.1", "65536 sequence numbers"},
		{"client --network nosuch 127.0.0.1", "known: ip4:icmp"},
		{"server now", "unknown command"},
		{"server --network udp4:icmp", "a ping socket receives no echo requests"},
		{"nosuch", "unknown command"},
		{"client --nosuch", "unknown flag"},
	} {
		out, errs, code := runEcho(strings.Fields(c.args)...)
		if code != exitError || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%s: exit code %d, want %d and %q\n%s%s", c.args, code, exitError, c.want, out, errs)
		}
	}
}

func TestDurationsWithoutAUnitAreSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{"0.2": 200 * time.Millisecond, "3": 3 * time.Second, "15ms": 15 * time.Millisecond} {
		var s seconds
		if err := s.Set(text); err != nil || time.Duration(s) != want {
			t.Errorf("%s is %v, %v; want %v", text, time.Duration(s), err, want)
		}
	}
}

func TestNothingSentIsNoLoss(t *testing.T) {
	inLab(t, true)
	out, _, code := runEcho("client", "--count", "1", "192.0.2.1")
	mustContain(t, "client", out, "not sent to 192.0.2.1: icmp_seq=1: ", "0 packets transmitted, 0 received, 1 not sent, time ")
	if code != exitUnanswered {
		t.Errorf("exit code %d", code)
	}
}

func TestInterruptedClientSumsUp(t *testing.T) {
	inLab(t, true)
	p := start(t, echoCommand("client", "--interval", "1ms", "--timeout", "30s", "127.0.0.1"))
	p.awaitLine("icmp_seq=3 ")
	rest, code := p.signal(syscall.SIGINT)
	mustContain(t, "client", rest, "--- 127.0.0.1 ping statistics ---", " 0% packet loss", "rtt min/avg/max/mdev")
	if code != exitOK {
		t.Errorf("exit code %d\n%s", code, &p.stderr)
	}
}

func TestClientUsesAPingSocketWithoutTheCapability(t *testing.T) {
	netlab.Need(t)
	// run runs the client in a namespace of its own, which allows no ping sockets
	// before prepare does.
	run := func(t *testing.T, prepare func(*netlab.Namespace) error) (out string, code int) {
		lab, err := netlab.New()
		if err != nil {
			t.Fatal(err)
		}
		defer lab.Close()
		if err := prepare(lab); err != nil {
			t.Fatal(err)
		}
		lab.Do(func() error {
			out, code = withoutCapability(t, unix.CAP_NET_RAW,
				"client", "--count", "3", "--interval", "1ms", "--timeout", "30s", "127.0.0.1")
			return nil
		})
		return out, code
	}
	t.Run("where the system allows one", func(t *testing.T) {
		out, code := run(t, func(lab *netlab.Namespace) error { return lab.SetPingGroups(0, 0) })
		mustContain(t, "client", out, "on udp4:icmp", "icmp_seq=3 ttl=64", "3 packets transmitted, 3 received, 0% packet loss")
		if code != exitOK {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("where it allows none", func(t *testing.T) {
		out, code := run(t, func(*netlab.Namespace) error { return nil })
		mustContain(t, "error", out, "CAP_NET_RAW", "setcap cap_net_raw+ep ", "net.ipv4.ping_group_range")
		if code != exitError {
			t.Errorf("exit code %d, want %d", code, exitError)
		}
	})
}

func TestTraceReportsEveryCall(t *testing.T) {
	inLab(t, true)
	_, errs, code := runEcho("client", "--trace", "--quiet", "--backend", "poll", "--count", "1", "--timeout", "30s", "127.0.0.1")
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}
	mustContain(t, "trace", errs, "poll add(descriptor ", "poll wait(", "send(fd ", "recv(fd ", "[127.0.0.1 ttl 64 64 bytes]",
		"poll remove(descriptor ", "close(fd ", "poll close() = ok")
}

func TestBackendFromTheEnvironment(t *testing.T) {
	inLab(t, true)
	t.Setenv("IOMUX_BACKEND", "select")
	out, _, _ := runEcho("client", "--count", "1", "--timeout", "30s", "127.0.0.1")
	mustContain(t, "client", out, "multiplexer select")
	out, _, _ = runEcho("client", "--count", "1", "--timeout", "30s", "--backend", "poll", "127.0.0.1")
	mustContain(t, "client", out, "multiplexer poll")
}

func TestClosedOutputEndsTheClient(t *testing.T) {
	inLab(t, true)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := echoCommand("client", "--interval", "1ms", "127.0.0.1")
	c.Stdout = w
	p := &strings.Builder{}
	c.Stderr = p
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	guard(t, c)
	w.Close()
	r.Close()
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != exitError || !strings.Contains(p.String(), "broken pipe") {
		t.Errorf("exit code %d: %s", code, p)
	}
}

func TestTextOfAPeerCannotDisturbTheTerminal(t *testing.T) {
	for in, want := range map[string]string{
		"Hello from client!":     "Hello from client!",
		"Grüße":                  "Grüße",
		"":                       "",
		"a\nb":                   `"a\nb"`,
		"\x1b[2J":                `"\x1b[2J"`,
		"\u202egnp.exe":          `"\u202egnp.exe"`,
		"\xff\x00":               `"\xff\x00"`,
		strings.Repeat("x", 300): strings.Repeat("x", 256) + " and 44 more bytes",
	} {
		if got := text([]byte(in)); got != want {
			t.Errorf("text(%q) = %s, want %s", in, got, want)
		}
	}
}
