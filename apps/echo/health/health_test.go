package health_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"iomux/apps/echo/health"
)

// watchdog is how long a test waits for what must come.
const watchdog = 30 * time.Second

// change is a call of OnChange.
type change struct {
	well  bool
	cause error
}

// run runs a Checker until the end of the test, and returns what it tells.
func run(t *testing.T, cfg health.Config) <-chan change {
	t.Helper()
	changes := make(chan change, 64)
	cfg.OnChange = func(well bool, cause error) { changes <- change{well, cause} }
	if cfg.Interval == 0 {
		cfg.Interval = time.Millisecond
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = watchdog
	}
	c, err := health.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { defer close(over); c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-over })
	return changes
}

// await returns the next change.
func await(t *testing.T, changes <-chan change) change {
	t.Helper()
	select {
	case c := <-changes:
		if c.well != (c.cause == nil) {
			t.Errorf("well %v with the cause %v", c.well, c.cause)
		}
		return c
	case <-time.After(watchdog):
		t.Fatal("no change")
		return change{}
	}
}

func TestACommandIsWellIfItSucceeds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "well")
	changes := run(t, health.Config{Check: "test -e " + file + " || { echo no file; exit 3; }"})
	c := await(t, changes)
	if c.well || !strings.Contains(c.cause.Error(), "exit status 3: no file") {
		t.Fatalf("without the file: %+v", c)
	}
	for range 2 {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if c := await(t, changes); !c.well {
			t.Fatalf("with the file: %+v", c)
		}
		os.Remove(file)
		if c := await(t, changes); c.well {
			t.Fatal("well without the file")
		}
	}
}

func TestAURLIsWellIfItIsFound(t *testing.T) {
	var status atomic.Int32
	status.Store(204)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		default:
			w.WriteHeader(int(status.Load()))
		}
	}))
	defer server.Close()
	changes := run(t, health.Config{Check: server.URL + "/moved"})
	if c := await(t, changes); !c.well {
		t.Fatalf("status 204 behind a redirection: %+v", c)
	}
	status.Store(503)
	if c := await(t, changes); c.well || !strings.Contains(c.cause.Error(), "503 Service Unavailable") {
		t.Fatalf("status 503: %+v", c)
	}
	status.Store(299)
	if c := await(t, changes); !c.well {
		t.Fatalf("status 299: %+v", c)
	}
	server.Close()
	if c := await(t, changes); c.well {
		t.Fatal("well without a server")
	}
}

func TestAChangeTakesAsManyChecksAsTheThresholdSays(t *testing.T) {
	for _, threshold := range []int{1, 3} {
		// The answers come in this order, and the last one for ever.
		good := []bool{true, false, true, false, false, true, false, false, false, true, true, false, true, true, true}
		want := map[int][]bool{1: {true, false, true, false, true, false, true, false, true}, 3: {false, true}}
		var asked atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n := int(asked.Add(1)); !good[min(n, len(good))-1] {
				w.WriteHeader(500)
			}
		}))
		changes := run(t, health.Config{Check: server.URL, Threshold: threshold})
		for i, well := range want[threshold] {
			if c := await(t, changes); c.well != well {
				t.Errorf("threshold %d, change %d: well %v, want %v", threshold, i, c.well, well)
			}
		}
		for from := asked.Load(); asked.Load() < from+5; { // nothing else comes
			time.Sleep(time.Millisecond)
		}
		if len(changes) > 0 {
			t.Errorf("threshold %d: one change more: %+v", threshold, <-changes)
		}
		server.Close()
	}
}

func TestACommandThatTakesTooLongIsKilledWithItsGroup(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "pid")
	// The child is of the group and outlives the shell, unless the group is killed.
	changes := run(t, health.Config{Interval: time.Hour, Timeout: 200 * time.Millisecond,
		Check: fmt.Sprintf("sleep 1000 & echo $! > %s.new; mv %s.new %s; wait", file, file, file)})
	c := await(t, changes)
	if c.well || !strings.Contains(c.cause.Error(), "no result within 200ms") {
		t.Fatalf("%+v", c)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return // it was killed before it had begun: this machine is slow
	}
	awaitDeath(t, string(b))
}

func TestWhatACommandLeavesBehindIsKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	changes := run(t, health.Config{Interval: time.Hour, Check: "sleep 1000 & echo $! > " + file})
	if c := await(t, changes); !c.well {
		t.Fatalf("%+v", c)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	awaitDeath(t, string(b))
}

// awaitDeath returns when a process has ended.
func awaitDeath(t *testing.T, pid string) {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(pid, &n); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(watchdog); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(end) {
			syscall.Kill(n, syscall.SIGKILL)
			t.Fatalf("process %d lives", n)
		}
	}
}

func TestTheEndOfRunEndsACommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	c, err := health.New(health.Config{Check: "echo $$ > " + file + ".new; mv " + file + ".new " + file + "; exec sleep 1000",
		Interval: time.Hour, OnChange: func(bool, error) { t.Error("a check that was broken off counts") }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { defer close(over); c.Run(ctx) }()
	var pid []byte
	for end := time.Now().Add(watchdog); pid == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
		pid, _ = os.ReadFile(file)
	}
	cancel()
	<-over
	awaitDeath(t, string(pid))
}

func TestConfigsThatCannotBe(t *testing.T) {
	on := func(bool, error) {}
	for want, cfg := range map[string]health.Config{
		"no check":        {Check: " ", OnChange: on},
		"is no URL":       {Check: "http://", OnChange: on},
		"times above 0":   {Check: "true", Interval: -1, OnChange: on},
		"threshold -1":    {Check: "true", Threshold: -1, OnChange: on},
		"OnChange is nil": {Check: "true"},
	} {
		if _, err := health.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error with %q", cfg, err, want)
		}
	}
}
