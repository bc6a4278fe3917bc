package cmd

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/codec"
	"iomux/mux"
	"iomux/transport"
	"iomux/transport/icmp"
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
				out, errs, code := runEcho("client", "--backend", backend, "--count", "1000", "--interval", "0.2ms",
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
	out, errs, code := runEcho("client", "--count", "2", "--interval", "1ms", "--timeout", "30s", "--size", "100", "127.0.0.1")
	want := regexp.MustCompile(`^PING 127\.0\.0\.1 \(127\.0\.0\.1\) 100\(128\) bytes of data\.
108 bytes from 127\.0\.0\.1: icmp_seq=1 ttl=64 time=[\d.]+ ms
108 bytes from 127\.0\.0\.1: icmp_seq=2 ttl=64 time=[\d.]+ ms

--- 127\.0\.0\.1 ping statistics ---
2 packets transmitted, 2 received, 0% packet loss, time \d+ms
rtt min/avg/max/mdev = `)
	if !want.MatchString(out) || errs != "" || code != exitOK {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

func TestSeveralHostsAreProbedOnceEachInTheMannerOfFping(t *testing.T) {
	inLab(t, true)
	out, errs, code := runEcho("client", "--timeout", "30s", "127.0.0.1", "127.0.0.2", "127.0.0.2")
	for _, want := range []string{`(?m)^127\.0\.0\.1 is alive \([\d.]+ ms\)$`, `(?m)^127\.0\.0\.2 is alive `, `(?m)^ +2 targets$`, `(?m)^ +2 ICMP Echos sent$`} {
		if n := len(regexp.MustCompile(want).FindAllString(out, -1)); n != 1 {
			t.Errorf("%q occurs %d times:\n%s", want, n, out)
		}
	}
	if code != exitOK || errs != "" {
		t.Errorf("exit code %d\n%s", code, errs)
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
	mustContain(t, "client", out, " (DUP!)", "3 received", " duplicates", "0% packet loss")
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// The peer answers with a code other than 0.
func TestACorruptReplyIsNoAnswer(t *testing.T) {
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
		e.Type, e.Code = codec.EchoReply, 7
		b, _ := c.Append(nil, &e)
		n, sendErr := peer.Send([]transport.Message{{Buf: b, N: len(b), Peer: ms[0].Peer}})
		if n != 1 {
			sendErr = fmt.Errorf("Send = %d, %w", n, sendErr)
		}
		answered <- errors.Join(err, sendErr)
	}()
	out, _, code := runEcho("client", "--count", "1", "--timeout", "30s", "127.0.0.1")
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	mustContain(t, "client", out, "CORRUPT", "1 packets transmitted, 0 received, ", "0% packet loss")
	if code != exitUnanswered {
		t.Errorf("exit code %d, want %d", code, exitUnanswered)
	}
}

func TestClientTellsLosses(t *testing.T) {
	inLab(t, false)
	out, _, code := runEcho("client", "--count", "2", "--interval", "1ms", "--timeout", "2ms", "127.0.0.1")
	mustContain(t, "client", out, "no answer for icmp_seq=1: timed out\n", "no answer for icmp_seq=2: timed out\n",
		"2 packets transmitted, 0 received, 100% packet loss")
	mustNotContain(t, "client", out, "rtt")
	if code != exitUnanswered {
		t.Errorf("exit code %d, want %d", code, exitUnanswered)
	}
}

func TestRetriesAreTriedBeforeAHostIsGivenUp(t *testing.T) {
	inLab(t, false)
	out, _, code := runEcho("client", "--retries", "2", "--backoff", "1", "--timeout", "2ms", "--count", "1", "127.0.0.1")
	mustContain(t, "client", out, "timed out, trying again\n", " try=2: timed out, trying again\n", " try=3: timed out\n", "3 packets transmitted")
	if code != exitUnanswered {
		t.Errorf("exit code %d, want %d", code, exitUnanswered)
	}
}

// unroutable is an address to which the private namespace has no route.
const unroutable = "192.0.2.1"

func TestExitCodeTellsWhetherEveryHostAnswered(t *testing.T) {
	inLab(t, true)
	for _, c := range []struct {
		name string
		args string
		want int
	}{
		{"all of them", "127.0.0.1 127.0.0.2", exitOK},
		{"one is there twice", "127.0.0.1 127.0.0.1", exitOK},
		{"one cannot be sent to", "127.0.0.1 192.0.2.1", exitUnanswered},
		{"one is unknown", "127.0.0.1 no-such-host.invalid", exitUnanswered},
		{"none can be sent to", "192.0.2.1 192.0.2.2", exitUnanswered},
		{"several times, all of them", "--count 2 --interval 1ms 127.0.0.1 127.0.0.2", exitOK},
		{"several times, one cannot be sent to", "--count 2 --interval 1ms 127.0.0.1 192.0.2.1", exitUnanswered},
		{"one host", "--count 1 127.0.0.1", exitOK},
		{"one host that cannot be sent to", "--count 1 192.0.2.1", exitUnanswered},
		{"a condition that does not hold", "--fail-if loss>0%,p50>1h 127.0.0.1 127.0.0.2", exitOK},
		{"a condition that holds", "--fail-if sent>=2 127.0.0.1 127.0.0.2", exitUnanswered},
		{"a condition that cannot be judged", "--count 1 --fail-if p50>1h 192.0.2.1", exitUnanswered},
		{"enough of them", "--reachable 1 127.0.0.1 192.0.2.1", exitOK},
		{"not enough of them", "--reachable 2 127.0.0.1 192.0.2.1", exitUnanswered},
		{"enough of them, in a hurry", "--fast-reachable 1 127.0.0.1 192.0.2.1", exitOK},
		{"not enough of them, in a hurry", "--fast-reachable 2 127.0.0.1 192.0.2.1", exitUnanswered},
		{"enough of them, several times", "--reachable 2 --count 3 --interval 1ms 127.0.0.1 127.0.0.2", exitOK},
		{"wrong usage", "--count many 127.0.0.1", exitError},
		{"a system error", "--file /nonexistent", exitError},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errs, code := runEcho(append([]string{"client", "--quiet", "--timeout", "30s"}, strings.Fields(c.args)...)...)
			if code != c.want {
				t.Errorf("exit code %d, want %d\n%s%s", code, c.want, out, errs)
			}
		})
	}
}

func TestAConditionThatHoldsIsNamed(t *testing.T) {
	inLab(t, true)
	_, errs, _ := runEcho("client", "--count", "2", "--interval", "1ms", "--timeout", "30s", "--fail-if", "sent>=1, loss>5%, received==2", "127.0.0.1")
	if want := "echo: --fail-if: sent 2 >= 1\necho: --fail-if: received 2 == 2\n"; errs != want {
		t.Errorf("standard error is %q, want %q", errs, want)
	}
}

func TestNothingSentIsNoLoss(t *testing.T) {
	inLab(t, true)
	out, _, code := runEcho("client", "--count", "1", unroutable)
	mustContain(t, "client", out, "no answer for icmp_seq=1: not sent: ", "network is unreachable", "0 packets transmitted, 0 received, ", "1 not sent")
	mustNotContain(t, "client", out, "packet loss")
	if code != exitUnanswered {
		t.Errorf("exit code %d", code)
	}
}

func TestAsFastAsRepliesCome(t *testing.T) {
	inLab(t, true)
	out, _, code := runEcho("client", "--flood", "--quiet", "--count", "20000", "--timeout", "30s", "127.0.0.1")
	mustContain(t, "client", out, "20000 packets transmitted, 20000 received, 0% packet loss")
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestTraceReportsEveryCall(t *testing.T) {
	inLab(t, true)
	_, errs, code := runEcho("client", "--trace", "--quiet", "--backend", "poll", "--count", "2", "--interval", "1ms",
		"--timeout", "30s", "127.0.0.1")
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}
	mustContain(t, "trace", errs, "poll add(descriptor ", "poll wait(", "send(fd ", "recv(fd ", "[127.0.0.1 ttl 64 64 bytes]",
		"poll remove(descriptor ", "close(fd ", "poll close() = ok")
}

func TestBackendFromTheEnvironment(t *testing.T) {
	inLab(t, true)
	t.Setenv("IOMUX_BACKEND", "select")
	_, errs, _ := runEcho("client", "--verbose", "--count", "1", "--timeout", "30s", "127.0.0.1")
	mustContain(t, "client", errs, "multiplexer select, raw socket for IPv4")
	_, errs, _ = runEcho("client", "--verbose", "--count", "1", "--timeout", "30s", "--backend", "poll", "::1")
	mustContain(t, "client", errs, "multiplexer poll, raw socket for IPv6")
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

func TestWhatIsPrintedOfEachResult(t *testing.T) {
	inLab(t, true)
	for flags, c := range map[string]struct {
		want  string
		lines int
	}{
		"":             {`^64 bytes from 127\.0\.0\.1: icmp_seq=\d ttl=64 time=[\d.]+ ms\n$`, 3},
		"-D":           {`^\[\d{10}\.\d{6}\] 64 bytes from 127\.0\.0\.1: `, 3},
		"-q":           {`icmp_seq`, 0},
		"-v":           {` tos=0 clock=kernel\n$`, 3},
		"--user-clock": {` clock=`, 0},
		"-n":           {`^64 bytes from 127\.0\.0\.1: `, 3},
		"--jitter":     {`^64 bytes from 127\.0\.0\.1: `, 3},
		"--window 1":   {`^64 bytes from 127\.0\.0\.1: `, 3},
	} {
		out, _, code := runEcho(append([]string{"client", "--count", "3", "--interval", "1ms", "--timeout", "30s", "127.0.0.1"}, strings.Fields(flags)...)...)
		want, n := regexp.MustCompile(c.want), 0
		for line := range strings.Lines(out) {
			if want.MatchString(line) {
				n++
			}
		}
		if n != c.lines || code != exitOK || !strings.Contains(out, "3 received") {
			t.Errorf("client %s: exit code %d, %d lines match %s, want %d\n%s", flags, code, n, c.want, c.lines, out)
		}
	}
	out, _, _ := runEcho("client", "--user-clock", "--verbose", "--count", "1", "--timeout", "30s", "127.0.0.1")
	mustContain(t, "client", out, " clock=user\n", ", user clock\n")
}
