package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// reading returns what a text says.
func reading(t *testing.T, text string) *results {
	t.Helper()
	r := &results{byName: map[string]*benchmark{}}
	if err := r.read("a.txt", []byte(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

const two = `commit: 0123abc
pkg: iomux/bench
BenchmarkChain/n=100/active=1/backend=epoll-2   10  0 ns/op  900 ns/event  0.5 allocs/event
BenchmarkChain/n=100/active=1/backend=poll-2    10  0 ns/op  1500 ns/event
libev: 4.33
pkg: iomux/bench/peers
BenchmarkServer/Raw/server=echo-2   15  3.5 MB  1.5 x-lesson  1.25 x-lesson-p10  2 x-lesson-p90
BenchmarkInFlight   15  61 B/probe
`

func TestNamesAreTakenApart(t *testing.T) {
	r := reading(t, two)
	var got []string
	for _, b := range r.benchmarks {
		got = append(got, b.String())
	}
	want := []string{"bench Chain/n=100/active=1/backend=epoll", "bench Chain/n=100/active=1/backend=poll",
		"bench/peers Server/Raw/server=echo", "bench/peers InFlight"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("names %q; want %q", got, want)
	}
	b := r.benchmarks[0]
	if b.get("n") != "100" || b.get("backend") != "epoll" || b.get("m") != "" {
		t.Errorf("n=%q, backend=%q, m=%q; want 100, epoll and none", b.get("n"), b.get("backend"), b.get("m"))
	}
}

// The library turns nanoseconds into seconds and megabytes into bytes.
func TestUnitsAreThoseOfTheFile(t *testing.T) {
	r := reading(t, two)
	if got, want := r.benchmarks[0].values, (map[string][]float64{"ns/op": {0}, "ns/event": {900}, "allocs/event": {0.5}}); !reflect.DeepEqual(got, want) {
		t.Errorf("values %v; want %v", got, want)
	}
	if got := r.benchmarks[2].values["MB"]; !reflect.DeepEqual(got, []float64{3.5}) {
		t.Errorf("MB %v; want 3.5", got)
	}
}

func TestLinesOfOneNameAreTogetherAndProcessorsTellThemApart(t *testing.T) {
	r := reading(t, "BenchmarkA/k=1-2 1 5 ns/op\nBenchmarkA/k=1-2 1 7 ns/op\nBenchmarkA/k=1-4 1 9 ns/op\n")
	if len(r.benchmarks) != 2 || !reflect.DeepEqual(r.benchmarks[0].values["ns/op"], []float64{5, 7}) {
		t.Errorf("%d benchmarks, the first with %v; want 2 with 5 and 7", len(r.benchmarks), r.benchmarks[0].values)
	}
}

func TestFactsOfSeveralMachinesAreAllKept(t *testing.T) {
	r := reading(t, two)
	if err := r.read("b.txt", []byte("commit: 4567def\ncommand: go test -bench . ./bench\npkg: iomux/bench\nBenchmarkA 1 5 ns/op\n")); err != nil {
		t.Fatal(err)
	}
	want := []fact{{"commit", []string{"0123abc", "4567def"}}, {"libev", []string{"4.33"}}}
	if !reflect.DeepEqual(r.facts, want) {
		t.Errorf("facts %v; want %v", r.facts, want)
	}
	if want := []string{"go test -bench . ./bench"}; !reflect.DeepEqual(r.commands, want) {
		t.Errorf("commands %q; want %q", r.commands, want)
	}
}

func TestWhatWasSkippedOrFailedIsNoted(t *testing.T) {
	r := reading(t, "BenchmarkA 1 5 ns/op\n--- SKIP: BenchmarkB/n=1\n    a_test.go:1: why\n--- FAIL: BenchmarkC\npanic: no\nPASS\nFAIL\tiomux/bench\t3s\n")
	if want := []string{"--- SKIP: BenchmarkB/n=1", "--- FAIL: BenchmarkC", "panic: no", "FAIL iomux/bench 3s"}; !reflect.DeepEqual(r.notes, want) {
		t.Errorf("notes %q; want %q", r.notes, want)
	}
}

// go test prints the name of a benchmark before it runs, so that what ends it stands
// where its result would be.
func TestABenchmarkThatDidNotEndIsNotedAndTheOthersStay(t *testing.T) {
	for text, want := range map[string]string{
		"BenchmarkB-2   \t--- FAIL: BenchmarkB-2\n    a_test.go:1: why\n": "BenchmarkB-2 --- FAIL: BenchmarkB-2: no result",
		"BenchmarkB-2   \tpanic: no\n":                                    "BenchmarkB-2 panic: no: no result",
		"BenchmarkB-2   \tsignal: interrupt\n":                            "BenchmarkB-2 signal: interrupt: no result",
		"BenchmarkB-2   \tfatal error: all goroutines are asleep\n":       "BenchmarkB-2 fatal error: all goroutines are asleep: no result",
		"BenchmarkB-2   \texit status 2\n":                                "BenchmarkB-2 exit status 2: no result",
		"BenchmarkB-2   \t\n":                                             "BenchmarkB-2: no result",
		"BenchmarkB-2   \t":                                               "BenchmarkB-2: no result",
		"BenchmarkB-2   \t10\t12":                                         "BenchmarkB-2 10 12: no result",
	} {
		r := reading(t, "BenchmarkA 1 5 ns/op\n"+text)
		if len(r.benchmarks) != 1 || len(r.notes) != 1 || r.notes[0] != want {
			t.Errorf("%q: %d benchmarks, notes %q; want 1 and %q", text, len(r.benchmarks), r.notes, want)
		}
	}
}

func TestManyErrorsAreNotAllTold(t *testing.T) {
	err := (&results{byName: map[string]*benchmark{}}).read("a.txt", []byte(strings.Repeat("BenchmarkA 1 x ns/op\n", 1000)))
	if err == nil || !strings.Contains(err.Error(), "a.txt:10:") || strings.Contains(err.Error(), "a.txt:11:") || !strings.Contains(err.Error(), "a.txt: and 990 more") {
		t.Errorf("%v; want the first ten, and how many more there are", err)
	}
}

func TestBadInputIsAnErrorWithItsPlace(t *testing.T) {
	for text, want := range map[string][]string{
		"\nBenchmarkA\tmany\t5 ns/op\n":                          {"a.txt:2", "iteration count", "want"},
		"BenchmarkA 1 five ns/op\n":                              {"a.txt:1", "parsing measurement", "want"},
		"BenchmarkA 1 5\n":                                       {"a.txt:1", "missing units"},
		"BenchmarkA 1\n":                                         {"a.txt:1", "missing measurements"},
		"BenchmarkA/k=1-2 1 NaN ns/op\n":                         {"a.txt:1", "NaN ns/op of BenchmarkA/k=1-2", "zero or more"},
		"BenchmarkA 1 +Inf ns/op\n":                              {"a.txt:1", "+Inf ns/op"},
		"BenchmarkA 1 -4 ns/event\n":                             {"a.txt:1", "-4 ns/event", "zero or more"},
		"BenchmarkA 1 -4 ns/op\n\nBenchmarkB x 1 ns/op\n":        {"a.txt:1", "a.txt:3", "2 errors"},
		"BenchmarkA \t--- FAIL: BenchmarkA\nBenchmarkA 1 x ns\n": {"a.txt:2"},
		"BenchmarkA 1 " + strings.Repeat("9", 400) + " ns/op\n":  {"a.txt:1"},
	} {
		err := (&results{byName: map[string]*benchmark{}}).read("a.txt", []byte(text))
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%.40q: %v; want %q in it", text, err, w)
			}
		}
	}
}

func TestAFileThatIsMissingIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.txt")
	if _, err := readAll([]string{path}); !os.IsNotExist(err) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v; want that %s does not exist", err, path)
	}
}

func TestWhichBenchmarks(t *testing.T) {
	r := reading(t, two)
	for w, want := range map[which]int{
		"bench Chain": 2, "bench Chain/active=1/n=100": 2, "bench Chain/backend=poll": 1, "bench Chain/n=10": 0,
		"bench Cha": 0, "bench/peers Server/Raw": 1, "bench/peers Server/TUN": 0, "bench Server": 0, "bench/peers Chain": 0,
	} {
		if got := len(r.find(w)); got != want {
			t.Errorf("%s: %d; want %d", w, got, want)
		}
	}
	epoll, poll := r.benchmarks[0], r.benchmarks[1]
	if got := r.beside(epoll, "backend=poll"); got != poll {
		t.Errorf("beside %v: %v; want %v", epoll, got, poll)
	}
	for _, setting := range []string{"backend=select", "m=1", "backend=epoll"} {
		if got := r.beside(epoll, setting); got != nil {
			t.Errorf("%v with %s: %v; want none", epoll, setting, got)
		}
	}
}
