package cmd

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"iomux/mux"
)

// Every loop has its share, and nothing is answered twice or not at all.
func TestServerSharesTheWorkBetweenLoops(t *testing.T) {
	for _, on := range []string{"raw", "tun"} {
		for _, backend := range mux.Backends() {
			t.Run(on+"/"+backend, func(t *testing.T) {
				inLab(t, false)
				args, targets := []string{}, []string{"127.0.0.0/24", "::1"}
				if on == "tun" {
					needTUN(t, false)
					args, targets = []string{"--tun", "10.64.0.0/10"}, []string{"10.64.0.0/24"}
				}
				s := startServer(t, append(args, "--quiet", "--trace", "--loops", "3", "--rate", "0", "--backend", backend)...)
				out, code := probe(t, append(targets, "--quiet", "--count", "4", "--interval", "1ms", "--rate", "0")...)
				if code != exitOK {
					t.Errorf("exit code %d\n%s", code, out)
				}
				rest, _ := s.signal(syscall.SIGTERM)
				hosts := 4 * 256 // beside them a device receives what the kernel sends everywhere
				if on == "raw" {
					hosts += 4
				}
				if got := regexp.MustCompile(` (\d+) answered`).FindStringSubmatch(rest); got == nil || got[1] != fmt.Sprint(hosts) && got[1] != fmt.Sprint(hosts-8) {
					t.Errorf("want %d answered:\n%s", hosts, rest)
				}
				mustNotContain(t, "summary", rest, "throttled", "corrupt", "errors", "dropped")
				// Each loop has descriptors of its own, and the trace tells them.
				found := map[string]bool{}
				for _, m := range regexp.MustCompile(`recv\(fd (\d+), .*\) = [1-9]`).FindAllStringSubmatch(s.stderr.String(), -1) {
					found[m[1]] = true
				}
				if want := 3 + len(targets) - 1; len(found) < want { // the IPv6 host is one, and on one loop
					t.Errorf("requests came on the descriptors %v, want %d", found, want)
				}
			})
		}
	}
}

func TestServerLimitsTheRateOfASource(t *testing.T) {
	inLab(t, false)
	for rate, answered := range map[string]string{"1": "20 received, 1 answered, 19 throttled\n", "0": "20 received, 20 answered\n"} {
		s := startServer(t, "--quiet", "--rate", rate, "--loops", "2", "-4")
		begin := time.Now()
		runEcho("client", "--quiet", "--count", "20", "--interval", "1us", "--timeout", "100ms", "--window", "64", "127.0.0.1")
		rest, _ := s.signal(syscall.SIGTERM)
		if rate == "0" || time.Since(begin) < time.Second { // later there is another reply
			mustContain(t, "--rate "+rate, rest, answered)
		}
	}
}

func TestServerCountsWhatFindsTheQueueFull(t *testing.T) {
	inLab(t, false)
	s := startServer(t, "--quiet", "--delay", "1h", "--queue", "3", "-4")
	runEcho("client", "--quiet", "--count", "10", "--interval", "1ms", "--timeout", "1ms", "127.0.0.1")
	for !strings.Contains(s.awaitLineAfter(syscall.SIGUSR1, "received"), "10 received") {
	}
	rest, code := s.signal(syscall.SIGTERM)
	mustContain(t, "summary", rest, "10 received, 0 answered, 7 refused, 3 delayed, 3 queued\n")
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// awaitLineAfter sends a signal and reads the line that comes of it.
func (p *process) awaitLineAfter(sig syscall.Signal, text string) string {
	p.t.Helper()
	p.Process.Signal(sig)
	return p.awaitLine(text)
}

// awaitStop returns when all threads of a process have stopped.
func awaitStop(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(watchdog); ; time.Sleep(time.Millisecond) {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		stopped := 0
		for _, file := range files {
			if b, err := os.ReadFile(file); err == nil && strings.Contains(string(b), ") T ") {
				stopped++
			}
		}
		if stopped == len(files) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d threads have stopped", stopped, len(files))
		}
	}
}

func TestServerGoesOnAfterItWasStopped(t *testing.T) {
	for _, args := range [][]string{{}, {"--loops", "2"}, {"--take-over"}} {
		inLab(t, len(args) == 1)
		s := startServer(t, append(args, "--quiet", "--stats", "20ms")...)
		stopped := s.Process.Pid
		if len(args) == 1 {
			stopped = workerOf(t, stopped)
		}
		syscall.Kill(stopped, syscall.SIGSTOP)
		awaitStop(t, stopped)
		if _, _, code := runEcho("client", "--quiet", "--count", "1", "--timeout", "20ms", "127.0.0.1"); code != exitUnanswered {
			t.Errorf("while it is stopped: exit code %d", code)
		}
		s.Process.Signal(syscall.SIGCONT) // which the parent passes on
		if _, code := probe(t, "--quiet", "127.0.0.1"); code != exitOK {
			t.Errorf("when it goes on: exit code %d", code)
		}
		rest, code := s.signal(syscall.SIGTERM)
		mustContain(t, "summary", rest, "2 received, 2 answered\n") // the first one late
		if code != exitOK {
			t.Errorf("exit code %d", code)
		}
	}
}

func TestServerAnswersOnlyWhileACommandSucceeds(t *testing.T) {
	inLab(t, false)
	file := filepath.Join(filepath.Dir(rulesFile(t, "")), "well")
	s := startServer(t, "--quiet", "--health", "test -e "+file, "--health-interval", "5ms", "--health-timeout", "30s")
	mustContain(t, "health", s.awaitLine("health:"), "health: not well, not answering: the command ended with exit status 1")
	if _, _, code := runEcho("client", "--quiet", "--count", "1", "--timeout", "20ms", "127.0.0.1"); code != exitUnanswered {
		t.Errorf("unwell: exit code %d", code)
	}
	for range 2 {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		s.awaitLine("health: well, answering")
		if _, code := probe(t, "--quiet", "127.0.0.1"); code != exitOK {
			t.Errorf("well: exit code %d", code)
		}
		os.Remove(file)
		s.awaitLine("health: not well")
	}
	rest, _ := s.signal(syscall.SIGTERM)
	mustContain(t, "summary", rest, "3 received, 2 answered, 1 unwell\n")
}

// A command may have pipes of its own, which end as everywhere: by SIGPIPE.
func TestACommandOfHealthDoesNotIgnoreBrokenPipes(t *testing.T) {
	inLab(t, false)
	s := startServer(t, "--quiet", "--health", "sed -n 's/^SigIgn:.*\\(.\\)...$/the digit is \\1/p' /proc/self/status; exit 1")
	mustContain(t, "health", s.awaitLine("health:"), "exit status 1: the digit is 0") // of the signals 13 to 16
}

func TestServerAnswersOnlyWhileAURLIsFound(t *testing.T) {
	inLab(t, false)
	var status atomic.Int32
	status.Store(500)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	defer service.Close()
	p := start(t, echoCommand("server", "--quiet", "--json", "--health", service.URL, "--health-interval", "5ms", "--health-timeout", "30s", "--health-threshold", "2"))
	if e := p.awaitEvent("health"); *e.Well || !strings.Contains(e.Cause, "500 Internal Server Error") {
		t.Errorf("%+v", e)
	}
	status.Store(200)
	if e := p.awaitEvent("health"); !*e.Well || e.Cause != "" {
		t.Errorf("%+v", e)
	}
	if _, code := probe(t, "--quiet", "::1"); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	p.signal(syscall.SIGTERM)
}

func TestServerAnswersBroadcastsOnlyIfItIsToldTo(t *testing.T) {
	inLab(t, false)
	for _, told := range []bool{false, true} {
		args, want := []string{"--quiet", "-4"}, "1 received, 0 answered, 1 ignored\n"
		if told {
			args, want = append(args, "--answer-broadcast"), "1 received, 1 answered\n"
		}
		s := startServer(t, args...)
		runEcho("client", "--quiet", "--count", "1", "--timeout", "100ms", "--broadcast", "127.255.255.255")
		rest, _ := s.signal(syscall.SIGTERM)
		mustContain(t, fmt.Sprint("told: ", told), rest, want)
	}
}

func TestServerAndClientSpin(t *testing.T) {
	inLab(t, false)
	s := startServer(t, "--quiet", "--spin", "100us")
	if _, code := probe(t, "--quiet", "--spin", "100us", "127.0.0.1"); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if _, code := s.signal(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// A panic on any of several loops restores the kernel's replies.
func TestAPanicOnAnotherLoopIsOneOfTheServer(t *testing.T) {
	inLab(t, true)
	s := start(t, inRole("panic", "--loops", "3"))
	s.awaitLine("answering")
	runEcho("client", "--quiet", "--count", "1", "--timeout", "1ms", "127.0.0.0/24")
	_, code := s.end()
	mustContain(t, "standard error", s.stderr.String(), "panic: the handler fails")
	if code != 2 || !kernelAnswers(t) {
		t.Errorf("exit code %d, the kernel answers: %v", code, kernelAnswers(t))
	}
}
