package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/mux"
)

// short is a soak that ends by itself after a number of operations.
func short(backend string, seed uint64) config {
	return config{backend: backend, descriptors: 500, seed: seed, limit: 20_000, idle: 20 * time.Millisecond,
		patience: 30_000, out: io.Discard, kinds: kinds}
}

func TestEverythingIsAccountedFor(t *testing.T) {
	for _, name := range mux.Backends() {
		t.Run(name, func(t *testing.T) {
			c := short(name, 1)
			r, err := run(context.Background(), c)
			if err != nil {
				t.Fatal(err)
			}
			if r.lost != 0 || r.leaks != 0 || r.idleWaits > 5 {
				t.Errorf("%d lost, %d leaks, %d Waits while idle", r.lost, r.leaks, r.idleWaits)
			}
			if r.operations < c.limit || r.opened <= 2*c.descriptors || r.events < c.limit/4 ||
				r.timers == 0 || r.signalled == 0 || r.posts == 0 {
				t.Errorf("something did not take part: %+v", r)
			}
		})
	}
}

func TestDefectsAreFound(t *testing.T) {
	forever := make(chan struct{})
	defer close(forever)
	for name, defect := range map[string]struct {
		change func(*config)
		says   string
	}{
		"an event in 500 is lost": {
			func(c *config) { c.wrap = func(m mux.Mux) mux.Mux { return &lossy{Mux: m} } },
			"lost: 0 timers, 0 signals, 0 posts, "},
		"an event in 500 comes twice": {
			func(c *config) { c.wrap = func(m mux.Mux) mux.Mux { return &stutters{Mux: m} } },
			"the event is stale"},
		"a descriptor stays open": {
			func(c *config) { c.kinds = []kind{{"leaky pipe", openLeaky}} },
			"descriptors are open, want "},
		"a number is lost": {
			func(c *config) { c.kinds = []kind{{"lossy pipe", openSkipping}} },
			"read number 2, want 1"},
		"a timerfd expires on its own": {
			func(c *config) { c.kinds = []kind{{"clock", openUnasked}} },
			"times, want 0"},
		"a goroutine stays": {
			func(c *config) { c.wrap = func(m mux.Mux) mux.Mux { go func() { <-forever }(); return m } },
			"goroutines run after the end"},
		"silence is a busy loop": {
			func(c *config) { c.wrap = func(m mux.Mux) mux.Mux { return busy{m} } },
			"Waits returned while nothing happened"},
		"silence costs too much": {
			func(c *config) { c.mostCPU = 1e-9 },
			"of a processor were used while nothing happened"},
		"a source does not open": {
			func(c *config) { c.kinds = []kind{{"none", func() (source, error) { return nil, unix.ENOSYS }}} },
			"open none: function not implemented"},
	} {
		t.Run(name, func(t *testing.T) {
			c := short("epoll", 7)
			c.patience = 500
			defect.change(&c)
			r, err := run(context.Background(), c)
			if err == nil {
				t.Fatalf("nothing is found: %+v", r)
			}
			for _, says := range []string{"epoll, seed 7: ", defect.says} {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("%v\nwant: %q", err, says)
				}
			}
		})
	}
}

// lossy loses events for good: of a Oneshot or an Edge they do not come again.
type lossy struct {
	mux.Mux
	count int
}

func (m *lossy) Wait(events []mux.Event, timeout time.Duration) (int, error) {
	n, err := m.Mux.Wait(events, timeout)
	if m.count += n; m.count > 500 && n > 0 {
		m.count = 0
		n--
	}
	return n, err
}

type stutters struct {
	mux.Mux
	count int
	again []mux.Event
}

func (m *stutters) Wait(events []mux.Event, timeout time.Duration) (int, error) {
	if n := copy(events, m.again); n > 0 {
		m.again = nil
		return n, nil
	}
	n, err := m.Mux.Wait(events, timeout)
	if m.count += n; m.count > 500 && n > 0 {
		m.count, m.again = 0, []mux.Event{events[0]}
	}
	return n, err
}

type busy struct{ mux.Mux }

func (m busy) Wait(events []mux.Event, timeout time.Duration) (int, error) {
	return m.Mux.Wait(events, 0)
}

type leaky struct{ source }

func openLeaky() (source, error) {
	s, err := openPipe()
	return leaky{s}, err
}

func (s leaky) close() (int, error) {
	p := s.source.(*numbered)
	p.w = p.r
	return p.close()
}

type skipping struct{ source }

func openSkipping() (source, error) {
	s, err := openPipe()
	return skipping{s}, err
}

func (s skipping) poke() error {
	p := s.source.(*numbered)
	if p.sent == 1 {
		p.sent++
	}
	return p.poke()
}

func openUnasked() (source, error) {
	s, err := openTimerfd()
	if err == nil {
		err = s.poke()
		s.(*expiry).armed = 0
	}
	return s, err
}

// onWrite calls a function when something is printed that contains a text.
type onWrite struct {
	bytes.Buffer
	text string
	do   func()
}

func (w *onWrite) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(w.text)) {
		w.do()
	}
	return w.Buffer.Write(p)
}

func TestAnInterruptEndsItWithTheSummary(t *testing.T) {
	out := &onWrite{text: " operations, ", do: sync.OnceFunc(func() {
		if err := unix.Kill(unix.Getpid(), unix.SIGINT); err != nil {
			t.Error(err)
		}
	})}
	var stderr strings.Builder
	args := strings.Fields("--duration 1h --descriptors 50 --interval 1ms --idle 1h --seed 3")
	if code := execute(args, out, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	said := out.String()
	table := said[strings.Index(said, "backend"):]
	if strings.Count(table, "\n") != 2 || !strings.Contains(table, "epoll") {
		t.Errorf("the summary is not the one of the first backend:\n%s", said)
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--backend epoll --operations 100 --descriptors 20 --idle 0 --idle-cpu 0", 0, "idle CPU"},
		{"--operations 100 --descriptors 20 --idle 0 --idle-cpu 0 --seed 5", 0, "20 descriptors on epoll, poll, select, seed 5"},
		{"--backend kqueue", 1, "soak: --backend kqueue: want all, epoll, poll, select"},
		{"--descriptors 0", 1, "soak: --descriptors 0: want at least 1"},
		{"--duration 0", 1, "soak: --duration 0s: want more than 0"},
		{"--operations -1", 1, "soak: --operations -1: want more than 0, or 0 to go by --duration"},
		{"--idle -1s", 1, "soak: --idle -1s, --interval 10s: want no negative time"},
		{"--descriptors 2000000000", 1, "or use --descriptors "},
		{"now", 1, "unknown command"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out bytes.Buffer
			if code := execute(strings.Fields(c.args), &out, &out); code != c.code || !strings.Contains(out.String(), c.says) {
				t.Errorf("exit code %d, want %d, and %q in:\n%s", code, c.code, c.says, out.String())
			}
		})
	}
}

func TestTheLimitOfOpenFilesIsExplained(t *testing.T) {
	want := "5000 descriptors to watch need 10100 open files, and the hard limit is 4096: raise it (ulimit -Hn 10100 as root; "
	if err := tooMany(5000, 10100, 4096); !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "or use --descriptors 1998") {
		t.Error(err)
	}
}
