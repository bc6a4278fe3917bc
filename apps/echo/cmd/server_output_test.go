package cmd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lockedBuffer holds what a process that runs has printed.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// await returns when the text is there.
func (b *lockedBuffer) await(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(watchdog); !strings.Contains(b.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %q in\n%s", text, b.String())
		}
	}
}

// jsonEvent is an event of any type.
type jsonEvent struct {
	Type, Time                   string
	Version                      int
	From, To, Outcome            string
	Size                         *int `json:"size_bytes"`
	ID, Seq, TTL, Rule, Delay_ns *int64
	Counters                     map[string]uint64
	Rates                        map[string]float64
	Interim, Up, Well, OK        *bool
	Cause, Device, Error         string
	Faults                       []struct {
		File, Text   string
		Line, Column int
	}
	Rules   json.RawMessage
	Sources []struct {
		Prefix   string
		Requests uint64
	}
}

// awaitEvent reads up to an event of a type.
func (p *process) awaitEvent(kind string) (e jsonEvent) {
	p.t.Helper()
	line := p.awaitLine(`"type":"` + kind + `"`)
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		p.t.Fatalf("%v: %s", err, line)
	}
	if _, err := time.Parse(time.RFC3339Nano, e.Time); err != nil || e.Version != 1 {
		p.t.Errorf("version %d, time %q", e.Version, e.Time)
	}
	return e
}

func TestServerInJSON(t *testing.T) {
	lab := needTUN(t, false)
	jq := need(t, "jq", "jq")
	file := rulesFile(t, "version: 1\nrules:\n  - name: 'a \" and \\'\n    to: 10.64.0.1\n    loss: 100%\n  - name: late\n    to: 10.64.0.2\n    delay: 1ms\n")
	var log bytes.Buffer
	c := echoCommand("server", "--json", "--tun", "10.64.0.0/10", "--tun-name", "ours0", "--rules", file, "--stats", "10ms")
	p := startTeed(t, c, &log)
	p.awaitEvent("start")
	runEcho("client", "--quiet", "--count", "1", "--timeout", "1ms", "10.64.0.1")
	lost := p.awaitEvent("request")
	if lost.From != "10.127.255.254" || lost.To != "10.64.0.1" || lost.Outcome != "lost" || *lost.Rule != 1 || *lost.Size != 56 || *lost.TTL != 64 || lost.Delay_ns != nil {
		t.Errorf("%+v", lost)
	}
	probe(t, "--quiet", "10.64.0.2")
	if late := p.awaitEvent("request"); late.Outcome != "replied" || *late.Rule != 2 || *late.Delay_ns != 1e6 {
		t.Errorf("%+v", late)
	}
	probe(t, "--quiet", "10.64.0.3")
	if plain := p.awaitEvent("request"); plain.Outcome != "replied" || plain.Rule != nil {
		t.Errorf("%+v", plain)
	}
	for p.awaitEvent("stats").Counters["answered"] < 2 {
	}
	write(t, file, "version: 1\nrules:\n  - loss: 150%\n")
	p.Process.Signal(syscall.SIGHUP)
	if e := p.awaitEvent("reload"); *e.OK || len(e.Faults) != 1 || e.Faults[0].Line != 3 || e.Faults[0].Column != 11 || e.Faults[0].File != file {
		t.Errorf("%+v", e)
	}
	write(t, file, "version: 1\nrules: []\n")
	p.Process.Signal(syscall.SIGHUP)
	if e := p.awaitEvent("reload"); !*e.OK || string(e.Rules) != "0" {
		t.Errorf("%+v", e)
	}
	p.Process.Signal(syscall.SIGUSR1)
	if e := p.awaitEvent("summary"); !*e.Interim {
		t.Errorf("%+v", e)
	}
	lab.SetLink("ours0", false)
	if e := p.awaitEvent("link"); *e.Up || e.Device != "ours0" {
		t.Errorf("%+v", e)
	}
	p.Process.Signal(syscall.SIGTERM)
	e := p.awaitEvent("summary")
	if _, code := p.end(); *e.Interim || code != exitOK {
		t.Errorf("exit code %d, %+v", code, e)
	}
	sum := uint64(0) // as responder.Stats has it
	for _, key := range []string{"answered", "errors", "send_errors", "queued", "corrupt", "ignored", "fragments",
		"silent", "down", "lost", "limited", "throttled", "unwell", "refused"} {
		sum += e.Counters[key]
	}
	if sum != e.Counters["received"] || e.Counters["answered"] != 2 || e.Counters["lost"] != 1 || e.Sources[0].Prefix != "10.127.255.0/24" || e.Sources[0].Requests != 3 {
		t.Errorf("%+v", e)
	}
	// What jq(1) makes of it.
	read := func(filter string) string {
		q := exec.Command(jq, "-cr", filter)
		q.Stdin = bytes.NewReader(log.Bytes())
		return mustRun(t, q)
	}
	if got := read(`select(.type == "start") | .networks, .device, .prefixes, .loops, .rules`); got != "[\"tun\"]\nours0\n[\"10.64.0.0/10\"]\n1\n2\n" {
		t.Errorf("start: %s", got)
	}
	if got := read(`select(.type == "summary" and .interim) | .counters | .received >= 3`); got != "true\n" {
		t.Errorf("interim summary: %s", got)
	}
}

// startTeed starts a program and keeps a copy of what it prints.
func startTeed(t *testing.T, c *exec.Cmd, log *bytes.Buffer) *process {
	t.Helper()
	p := start(t, c)
	p.stdout = bufio.NewReader(io.TeeReader(p.stdout, log))
	return p
}

func TestServerTellsItsRates(t *testing.T) {
	inLab(t, false)
	for _, loops := range []string{"1", "2"} {
		s := startServer(t, "--quiet", "--stats", "10ms", "--loops", loops)
		line := s.awaitLine("/s")
		mustContain(t, "line", line, ":", " 0 received/s, 0 answered/s\n")
		probe(t, "--quiet", "127.0.0.1")
		for !strings.Contains(line, "answered/s") || strings.Contains(line, " 0 answered/s") {
			line = s.awaitLine("/s")
		}
		s.Process.Signal(syscall.SIGUSR1)
		s.awaitLine("--- echo server statistics so far ---")
		s.awaitLine("1 received, 1 answered")
		s.awaitLine("from 127.0.0.0/24: 1 requests")
		rest, code := s.signal(syscall.SIGINT)
		mustContain(t, "summary", rest, "--- echo server statistics ---\n1 received, 1 answered\nfrom 127.0.0.0/24: 1 requests\n")
		if code != exitOK {
			t.Errorf("exit code %d", code)
		}
	}
}

func TestARateTellsWhatIsRareToo(t *testing.T) {
	for _, c := range []struct {
		n       uint64
		seconds float64
		want    string
	}{{0, 1, "0"}, {1, 10, "0.1"}, {1, 86400, "1.2e-05"}, {5, 2, "2.5"}, {3, 1, "3"}, {1234567, 1, "1234567"}, {100, 0.01, "10000"}} {
		if got := perSecond(c.n, c.seconds); got != c.want {
			t.Errorf("%d in %v s: %s, want %s", c.n, c.seconds, got, c.want)
		}
	}
}

func TestServerTellsWhatBecameOfARequest(t *testing.T) {
	inLab(t, false)
	s := startServer(t, "--loss", "100%", "--to", "127.0.0.1")
	runEcho("client", "--quiet", "--count", "1", "--timeout", "1ms", "--data", "Hello from client!", "--size", "18", "127.0.0.1")
	mustContain(t, "line", s.awaitLine("echo request"), "26 bytes from 127.0.0.1 to 127.0.0.1: echo request code=0", " ttl=64 (lost) data: Hello from client!\n")
	probe(t, "--quiet", "127.0.0.2")
	mustContain(t, "line", s.awaitLine("echo request"), " from 127.0.0.1 to 127.0.0.2: echo request code=0", " ttl=64 data: ")
}

func TestServerWritesWhatItSendsAndReceivesToAFile(t *testing.T) {
	inLab(t, false)
	tshark := need(t, "tshark", "tshark")
	for _, args := range []string{"", "--loops 2", "--keep-privileges"} {
		file := filepath.Join(t.TempDir(), "echo.pcapng")
		s := startServer(t, append([]string{"--quiet", "--pcap", file, "--corrupt", "checksum=100%", "--to", "::1"}, strings.Fields(args)...)...)
		probe(t, "--quiet", "127.0.0.1")
		runEcho("client", "--quiet", "--count", "1", "--timeout", "1ms", "::1")
		s.Process.Signal(syscall.SIGUSR1)
		for !strings.Contains(s.awaitLine("received"), "2 received, 2 answered") {
			s.Process.Signal(syscall.SIGUSR1)
		}
		if _, code := s.signal(syscall.SIGTERM); code != exitOK {
			t.Errorf("exit code %d\n%s", code, &s.stderr)
		}
		out := mustRun(t, exec.Command(tshark, "-n", "-r", file, "-T", "fields", "-E", "separator=/s",
			"-e", "icmp.type", "-e", "icmpv6.type", "-e", "icmp.checksum.status", "-e", "icmpv6.checksum.status", "-o", "ip.check_checksum:TRUE"))
		for _, want := range []string{"8  1 \n", "0  1 \n", " 128  1\n", " 129  0\n"} { // the last one is the bad checksum
			if strings.Count(out, want) != 1 {
				t.Errorf("%q: want one packet %q:\n%s", args, want, out)
			}
		}
	}
	for file, want := range map[string]string{"/nonexistent/x": "no such file", "/dev/full": "no space left on device"} {
		p := start(t, echoCommand("server", "--quiet", "--pcap", file))
		_, code := p.end()
		mustContain(t, "error", p.stderr.String(), "--pcap: ", file, want)
		if code != exitError {
			t.Errorf("%s: exit code %d", file, code)
		}
	}
}

func TestServerOutputWritesWholeLines(t *testing.T) {
	inLab(t, false)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := echoCommand("server", "--loops", "3", "-4", "--rate", "0", "--json")
	c.Stdout = w
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	guard(t, c)
	w.Close()
	d := json.NewDecoder(r)
	d.Decode(&jsonEvent{}) // it runs
	go func() {
		runEcho("client", "--quiet", "--count", "3", "--interval", "1ms", "--rate", "0", "--timeout", "30s", "127.0.0.0/24")
		c.Process.Signal(syscall.SIGTERM)
	}()
	n := 0
	for {
		var e jsonEvent
		if err := d.Decode(&e); err != nil {
			t.Errorf("after %d events: %v", n, err)
			break
		}
		if e.Type == "request" {
			n++
		}
		if e.Type == "summary" {
			if got := e.Counters["answered"]; int(got) != n || n != 3*254 && n != 3*256 {
				t.Errorf("%d requests were told, and %d answered", n, got)
			}
			break
		}
	}
	c.Wait()
}
