package bench

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iomux/bench/internal/jobs"
	"iomux/mux"
	"iomux/transport/netlab"
)

var record = flag.Bool("record", false, "TestCosts writes "+costsFile+" instead of comparing with it")

const costsFile = "testdata/costs.txt"

// cost is what a round of a scenario takes.
type cost struct {
	events   int
	syscalls int // uncounted without strace
	allocs   int // uncounted with the race detector
}

const uncounted = -1

// TestCosts is the guard of what nobody sees in a time: a system call more for an
// event, or an allocation. They are counts, the same on every machine, so that they
// are compared with what was recorded, and may not be one more. After a change that is
// worth it:
//
//	go test ./bench -run TestCosts -record
func TestCosts(t *testing.T) {
	want, err := readCosts(costsFile)
	if err != nil && !*record {
		t.Fatal(err)
	}
	got := map[string]cost{}
	for _, s := range recorded() {
		for _, backend := range mux.Backends() {
			name := s.name() + "/backend=" + backend
			t.Run(name, func(t *testing.T) {
				if s.lab {
					netlab.Need(t)
				}
				// What the code takes more it takes each time; a packet that the
				// kernel is late to deliver does not come late three times.
				var c cost
				var complaints []string
				for range 3 {
					if c, err = count(name); err != nil {
						t.Fatal(err)
					}
					if complaints = exceeds(c, want, name); *record || len(complaints) == 0 {
						break
					}
				}
				got[name] = c
				if *record {
					return
				}
				for _, complaint := range complaints {
					t.Error(complaint)
				}
				if c.syscalls == uncounted {
					t.Skip(uncountable())
				}
			})
		}
	}
	if *record && !t.Failed() {
		if all := len(recorded()) * len(mux.Backends()); len(got) != all {
			t.Fatalf("%d of %d costs were counted, and nothing was recorded; want all, without -run TestCosts/...", len(got), all)
		}
		if err := writeCosts(costsFile, got); err != nil {
			t.Fatal(err)
		}
	}
}

// exceeds says in what a cost is more than the recorded one.
func exceeds(c cost, recorded map[string]cost, name string) (complaints []string) {
	was, found := recorded[name]
	if !found {
		return []string{"nothing is recorded; record it with -record"}
	}
	if c.events != was.events {
		return []string{fmt.Sprintf("a round has %d events, the recorded one has %d; record it anew with -record", c.events, was.events)}
	}
	for _, of := range []struct {
		what     string
		now, was int
	}{{"system calls", c.syscalls, was.syscalls}, {"allocations", c.allocs, was.allocs}} {
		if of.now > of.was {
			complaints = append(complaints, fmt.Sprintf("%d %s for %d events, %d are recorded", of.now, of.what, c.events, of.was))
		}
	}
	return complaints
}

// The guard complains of what has grown, and of nothing else.
func TestExceeds(t *testing.T) {
	was := map[string]cost{"job": {100, 300, 1}}
	for _, c := range []struct {
		now  cost
		name string
		want string
	}{
		{cost{100, 300, 1}, "job", ""},
		{cost{100, 299, 0}, "job", ""},
		{cost{100, uncounted, 1}, "job", ""},
		{cost{100, 300, uncounted}, "job", ""},
		{cost{100, 301, 1}, "job", "301 system calls for 100 events, 300 are recorded"},
		{cost{100, uncounted, 2}, "job", "2 allocations for 100 events, 1 are recorded"},
		{cost{100, 301, 2}, "job", "301 system calls for 100 events, 300 are recorded; 2 allocations for 100 events, 1 are recorded"},
		{cost{101, 300, 1}, "job", "a round has 101 events, the recorded one has 100; record it anew with -record"},
		{cost{100, 300, 1}, "other", "nothing is recorded; record it with -record"},
	} {
		if got := strings.Join(exceeds(c.now, was, c.name), "; "); got != c.want {
			t.Errorf("%s %+v: %q, want %q", c.name, c.now, got, c.want)
		}
	}
}

// What is recorded is what there is.
func TestRecorded(t *testing.T) {
	costs, err := readCosts(costsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range recorded() {
		for _, backend := range mux.Backends() {
			delete(costs, s.name()+"/backend="+backend) // TestCosts complains if it is missing
		}
	}
	for name := range costs {
		t.Errorf("%s has %s, which there is no longer; record anew with -record", costsFile, name)
	}
}

// What is written is what is read.
func TestCostsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "costs.txt")
	want := map[string]cost{"b/n=1/backend=epoll": {100, 300, 0}, "a/n=2/backend=poll": {7, 8, 9}}
	if err := writeCosts(file, want); err != nil {
		t.Fatal(err)
	}
	got, err := readCosts(file)
	if err != nil || len(got) != len(want) {
		t.Fatalf("read %v, %v; want %v", got, err, want)
	}
	for name, c := range want {
		if got[name] != c {
			t.Errorf("%s: %+v, want %+v", name, got[name], c)
		}
	}
	for _, c := range []cost{{100, uncounted, 0}, {100, 300, uncounted}} {
		if err := writeCosts(file, map[string]cost{"job": c}); err == nil {
			t.Errorf("%+v was recorded", c)
		}
	}
}

const costsHead = `# What a round of each scenario costs (TestCosts): its events, and the system calls
# and allocations that they take together.
`

func writeCosts(file string, costs map[string]cost) error {
	var lines []string
	for name, c := range costs {
		lines = append(lines, fmt.Sprintf("%-48s %5d events %5d syscalls %5d allocs\n", name, c.events, c.syscalls, c.allocs))
		switch uncounted {
		case c.syscalls:
			return errors.Join(errors.New(name+": system calls were not counted"), uncountable())
		case c.allocs:
			return errors.New("allocations were not counted: the race detector is on")
		}
	}
	slices.Sort(lines)
	return os.WriteFile(file, []byte(costsHead+strings.Join(lines, "")), 0o666)
}

func readCosts(file string) (map[string]cost, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	costs := map[string]cost{}
	for i, line := range strings.Split(string(b), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var name string
		var c cost
		if _, err := fmt.Sscanf(line, "%s %d events %d syscalls %d allocs", &name, &c.events, &c.syscalls, &c.allocs); err != nil {
			return nil, fmt.Errorf("%s:%d: %q: %w", file, i+1, line, err)
		}
		costs[name] = c
	}
	return costs, nil
}

var (
	sayOnce    sync.Once
	knownCosts = map[string]cost{} // by benchmarks, which go one after the other and run several times
)

// reportCost adds to a benchmark what an event costs, counted in another process.
func reportCost(b *testing.B, scenario, backend string) {
	b.Helper()
	reportCostWith(b, 0, scenario, backend)
}

// reportCostWith adds it for loops that may spin. If they do, the system calls are left
// out: how often a loop looks before the other side is through is a matter of time, and
// in lock-step there is something each time.
func reportCostWith(b *testing.B, spin time.Duration, scenario, backend string) {
	b.Helper()
	c := costOf(b, scenario, backend)
	if c.allocs != uncounted {
		b.ReportMetric(float64(c.allocs)/float64(c.events), "allocs/event")
	}
	switch {
	case spin > 0:
	case c.syscalls == uncounted:
		sayOnce.Do(func() { fmt.Println(uncountable()) })
	default:
		b.ReportMetric(float64(c.syscalls)/float64(c.events), "syscalls/event")
	}
}

func costOf(b *testing.B, scenario, backend string) cost {
	b.Helper()
	key := scenario + "/backend=" + backend
	c, known := knownCosts[key]
	if !known {
		var err error
		if c, err = count(key); err != nil {
			b.Fatal(err)
		}
		knownCosts[key] = c
	}
	return c
}

// countedVariable names what a process is to play, and to count for its parent.
const countedVariable = "IOMUX_BENCH_COUNTED"

const (
	unmarked = 1 // rounds that bring all into the state that it stays in
	marked   = 3
)

// count plays a scenario in a process of its own, under strace(1) if there is one.
func count(key string) (cost, error) {
	self, err := os.Executable()
	if err != nil {
		return cost{}, err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return cost{}, err
	}
	defer os.RemoveAll(dir)
	log := filepath.Join(dir, "strace")
	ctx, cancel := context.WithTimeout(context.Background(), straceLimit)
	defer cancel()
	cmd := bounded(exec.CommandContext(ctx, self, os.Args[1:]...))
	traced := uncountable() == nil
	if traced {
		cmd = straced(ctx, log, append([]string{self}, os.Args[1:]...)...)
	}
	// With the race detector the process would sleep for a second at its end.
	cmd.Env = append(os.Environ(), countedVariable+"="+key, "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return cost{}, fmt.Errorf("counting %s: %w\n%s", key, err, &stderr)
	}
	var thread, events, allocs int
	_, report, _ := strings.Cut(string(out), "\n")
	if _, err := fmt.Sscanf(report, "thread %d: %d events, %d allocations", &thread, &events, &allocs); err != nil {
		return cost{}, fmt.Errorf("counting %s: %q: %w", key, out, err)
	}
	c := cost{events, uncounted, allocs}
	if raceDetector {
		c.allocs = uncounted
	}
	if traced {
		trace, err := os.ReadFile(log)
		if err != nil {
			return cost{}, err
		}
		if c.syscalls, err = callsOf(string(trace), thread); err != nil {
			return cost{}, fmt.Errorf("counting %s: %w", key, err)
		}
	}
	return c, nil
}

// counted plays a scenario for the parent process, which watches the marks.
func counted(key string) (exit int) {
	flag.Parse()
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	chainWrites = tracedWrites
	if err := playCounted(key); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func playCounted(key string) error {
	name, backend, _ := strings.Cut(key, "/backend=")
	all := slices.Concat(recorded(), scenarios())
	i := slices.IndexFunc(all, func(s scenario) bool { return s.name() == name })
	if i < 0 {
		return fmt.Errorf("there is no scenario %q", name)
	}
	if err := allowFiles(all[i].files + 100); err != nil {
		return err
	}
	m, err := mux.Open(backend)
	if err != nil {
		return err
	}
	defer m.Close()
	s, err := all[i].open(m)
	if err != nil {
		return err
	}
	defer s.close()
	var allocs []float64
	for i := range unmarked + marked {
		n, err := playOnce(s, i >= unmarked)
		if err != nil {
			return err
		}
		if i >= unmarked {
			allocs = append(allocs, float64(n))
		}
	}
	fmt.Printf("\nthread %d: %d events, %d allocations\n", unix.Gettid(), s.events, int(math.Round(jobs.Median(allocs))))
	return nil
}

// playOnce plays a round and returns the number of its allocations.
func playOnce(s *stage, marks bool) (uint64, error) {
	if s.prepare != nil {
		if err := s.prepare(); err != nil {
			return 0, err
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if marks {
		unix.Write(1, []byte(begin))
	}
	err := s.play()
	if marks {
		unix.Write(1, []byte(end))
	}
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs, err
}
