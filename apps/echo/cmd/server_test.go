package cmd

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"iomux/apps/echo/responder"
	"iomux/transport"
	"iomux/transport/netlab"

	"golang.org/x/sys/unix"
)

func TestServerRefusesWhileTheKernelAnswers(t *testing.T) {
	inLab(t, true)
	_, errs, code := runEcho("server")
	if code != exitError {
		t.Errorf("exit code %d, want %d", code, exitError)
	}
	mustContain(t, "error", errs, "net.ipv4.icmp_echo_ignore_all=0", "twice", "--take-over", "sysctl")
}

func TestServerAnswersWithTheDataOfTheRequestOrItsOwn(t *testing.T) {
	inLab(t, false)
	for _, c := range []struct {
		name string
		args []string
		want string // what the client makes of it, as other data than it has sent is no answer
		code int
	}{
		{"the request's", nil, "26 bytes from 127.0.0.1: icmp_seq=1 ttl=64 time=", exitOK},
		{"its own", []string{"--data", "Hello from server!"}, "(CORRUPT: altered data, wrong data byte #11)", exitUnanswered},
		{"none", []string{"--data", ""}, "8 bytes from 127.0.0.1: icmp_seq=1 ", exitUnanswered},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t, c.args...)
			out, errs, code := runEcho("client", "--count", "1", "--timeout", "30s", "--data", "Hello from client!", "127.0.0.1")
			if code != c.code {
				t.Errorf("client: exit code %d, want %d\n%s%s", code, c.code, out, errs)
			}
			mustContain(t, "client", out, c.want)
			if altered := strings.Contains(out, "CORRUPT") || strings.Contains(out, "TRUNCATED"); altered != (c.args != nil) {
				t.Errorf("other data: %v\n%s", altered, out)
			}
			rest, code := s.signal(syscall.SIGINT)
			if code != exitOK {
				t.Errorf("server: exit code %d\n%s", code, &s.stderr)
			}
			mustContain(t, "server", rest, "26 bytes from 127.0.0.1 to 127.0.0.1: echo request code=0",
				" ttl=64 data: Hello from client!\n", "1 received, 1 answered")
		})
	}
}

func TestQuietServerPrintsNoRequests(t *testing.T) {
	inLab(t, false)
	s := startServer(t, "--quiet")
	runEcho("client", "--count", "1", "127.0.0.1")
	rest, _ := s.signal(syscall.SIGTERM)
	if strings.Contains(rest, "echo request") || !strings.Contains(rest, "1 answered") {
		t.Errorf("printed:\n%s", rest)
	}
}

// kernelReplies reads the setting that the server takes over.
func kernelAnswers(t *testing.T) bool {
	t.Helper()
	answers, err := responder.KernelReplies(responder.IPv4)
	if six, err := responder.KernelReplies(responder.IPv6); err != nil || six != answers {
		t.Errorf("the kernel answers IPv4: %v, IPv6: %v (%v)", answers, six, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return answers
}

func TestTakeOverIsRestoredOnEveryWayOut(t *testing.T) {
	lab := inLab(t, true)
	for _, found := range []bool{true, false} {
		for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
			t.Run(fmt.Sprintf("replies %v, %v", found, sig), func(t *testing.T) {
				setReplies(t, lab, found)
				s := startServer(t, "--take-over")
				if kernelAnswers(t) {
					t.Error("the kernel answers while the server runs")
				}
				if _, code := s.signal(sig); code != exitOK {
					t.Errorf("exit code %d\n%s", code, &s.stderr)
				}
				if kernelAnswers(t) != found {
					t.Errorf("the kernel's replies were %v and are %v", found, !found)
				}
			})
		}
	}
	setReplies(t, lab, true)

	t.Run("a panic in a handler", func(t *testing.T) {
		s := start(t, inRole("panic"))
		s.awaitLine("answering")
		runEcho("client", "--count", "1", "--timeout", "1ms", "127.0.0.1")
		s.end()
		mustContain(t, "standard error", s.stderr.String(), "panic: the handler fails")
		if !kernelAnswers(t) {
			t.Error("the kernel's replies stay off")
		}
	})

	t.Run("a second signal while the output is stuck", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		c := echoCommand("server", "--take-over")
		c.Stdout = w
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		guard(t, c)
		buf := make([]byte, 1)
		r.Read(buf) // it runs
		fill(t, w)
		runEcho("client", "--count", "1", "--timeout", "1ms", "127.0.0.1") // to be printed, which blocks
		signalUntilItEnds(c, syscall.SIGINT)
		w.Close()
		if code := c.ProcessState.ExitCode(); code != 128+int(syscall.SIGINT) {
			t.Errorf("exit code %d", code)
		}
		if !kernelAnswers(t) {
			t.Error("the kernel's replies stay off")
		}
	})

	t.Run("nobody reads the output", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c := echoCommand("server", "--take-over")
		c.Stdout = w
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		guard(t, c)
		w.Close()
		buf := make([]byte, 1)
		r.Read(buf) // it runs
		r.Close()
		runEcho("client", "--count", "1", "--timeout", "1ms", "127.0.0.1") // to be printed
		c.Wait()
		if code := c.ProcessState.ExitCode(); code != 128+int(syscall.SIGPIPE) { // as of the client
			t.Errorf("exit code %d", code)
		}
		if !kernelAnswers(t) {
			t.Error("the kernel's replies stay off")
		}
	})

	t.Run("SIGKILL, and the next start says so and restores it", func(t *testing.T) {
		s := startServer(t, "--take-over")
		s.signal(syscall.SIGKILL)
		if kernelAnswers(t) {
			t.Fatal("nobody was there to restore it, and yet the kernel answers")
		}
		next := startServer(t)
		next.signal(syscall.SIGINT)
		mustContain(t, "standard error", next.stderr.String(),
			fmt.Sprintf("a server was killed before it could restore it (process %d was the first to take over); it was 0", s.Process.Pid), "--take-over")
		if kernelAnswers(t) {
			t.Error("a server without --take-over has changed the setting")
		}
		next = startServer(t, "--take-over")
		next.signal(syscall.SIGINT)
		mustContain(t, "standard error", next.stderr.String(), "a server was killed before it could restore it")
		if !kernelAnswers(t) {
			t.Error("the kernel's replies stay off")
		}
	})
}

func TestSignalsThatWereIgnoredStayIgnored(t *testing.T) {
	inLab(t, false)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := echoCommand()
	c.Path, c.Args = "/bin/sh", []string{"sh", "-c", `trap "" HUP; exec "$0" server`, self} // as nohup does
	s := start(t, c)
	s.awaitLine("answering")
	s.Process.Signal(syscall.SIGHUP)
	runEcho("client", "--quiet", "--count", "1", "--timeout", "30s", "127.0.0.1")
	s.awaitLine("echo request")
	if _, code := s.signal(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// timeout(1) signals a process and then its group.
func TestASignalThatComesTwiceEndsOnce(t *testing.T) {
	inLab(t, false)
	s := startServer(t)
	s.Process.Signal(syscall.SIGTERM)
	rest, code := s.signal(syscall.SIGINT)
	mustContain(t, "server", rest, "--- echo server statistics ---")
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// fill fills a pipe, so that the next write to it blocks.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	// Opened again, as non-blocking is a flag of the open file, and who else writes to
	// it is to block.
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", w.Fd()), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Fatal(err)
	}
	for n := size; n > 0; n /= 2 {
		for {
			if _, err := unix.Write(fd, make([]byte, n)); err != nil {
				break
			}
		}
	}
}

// panicking is a server whose output panics at the first request.
func panicking() int {
	return Run(append([]string{"server", "--take-over"}, os.Args[1:]...), panicWriter{}, os.Stderr)
}

type panicWriter struct{}

func (panicWriter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "echo request") {
		panic("the handler fails")
	}
	return os.Stdout.Write(p)
}

func TestServerWithoutThePrivilegeSaysWhatIsMissing(t *testing.T) {
	inLab(t, true)
	t.Run("CAP_NET_RAW", func(t *testing.T) {
		out, code := withoutCapability(t, unix.CAP_NET_RAW, "server", "--take-over")
		if code != exitError {
			t.Errorf("exit code %d, want %d", code, exitError)
		}
		mustContain(t, "error", out, "CAP_NET_RAW", "setcap cap_net_raw")
		if !kernelAnswers(t) {
			t.Error("the kernel's replies are off")
		}
	})
	t.Run("CAP_NET_ADMIN", func(t *testing.T) {
		// User 0 owns the setting and needs no capability, so this takes another.
		const nobody = 65534
		if !mapped(t, nobody) {
			t.Skip("this user namespace has no second user, which takes CAP_SETUID where it was made")
		}
		c := echoCommand("server", "--take-over")
		c.SysProcAttr = &syscall.SysProcAttr{
			Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
			AmbientCaps: []uintptr{unix.CAP_NET_RAW},
		}
		p := start(t, c)
		if _, code := p.end(); code != exitError {
			t.Errorf("exit code %d, want %d", code, exitError)
		}
		mustContain(t, "error", p.stderr.String(), "--take-over", "CAP_NET_ADMIN", "setcap cap_net_admin")
		if !kernelAnswers(t) {
			t.Error("the kernel's replies are off")
		}
	})
}

// mapped reports whether the user namespace has that user.
func mapped(t *testing.T, uid uint32) bool {
	t.Helper()
	f, err := os.Open("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		var inside, outside, n uint32
		if _, err := fmt.Fscan(f, &inside, &outside, &n); err != nil {
			return false
		}
		if uid >= inside && uid-inside < n {
			return true
		}
	}
}

// withoutCapability runs the echo command without a capability and returns all
// that it prints.
func withoutCapability(t *testing.T, capability uintptr, args ...string) (output string, code int) {
	t.Helper()
	var out strings.Builder
	c := echoCommand(args...)
	c.Stdout, c.Stderr = &out, &out
	if err := netlab.WithoutCapabilities(c, capability); err != nil {
		t.Fatal(err)
	}
	guard(t, c)
	c.Wait()
	return out.String(), c.ProcessState.ExitCode()
}

func TestServerOnAnotherNetworkLeavesTheKernelAlone(t *testing.T) {
	transport.Register("test", func(network, _ string, _ *transport.Config) (transport.Transport, error) {
		return nil, os.ErrInvalid
	})
	if _, errs, code := runEcho("server", "--network", "test"); code != exitError || !strings.Contains(errs, os.ErrInvalid.Error()) {
		t.Errorf("exit code %d, %s", code, errs)
	}
	if _, errs, code := runEcho("server", "--network", "nosuch"); code != exitError || !strings.Contains(errs, "known: ip4:icmp") {
		t.Errorf("exit code %d, %s", code, errs)
	}
}
