package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const printed = `printf 'pkg: iomux/bench\nBenchmarkA/n=%d-2\t10\t5 ns/op\n' 1; echo PASS`

func TestWhatCommandsPrintIsSavedAfterTheMachine(t *testing.T) {
	out := filepath.Join(t.TempDir(), "new")
	var stderr bytes.Buffer
	file, err := measure(context.Background(), t.TempDir(), [][]string{{"sh", "-c", printed}, {"echo", "BenchmarkB 1 7 ns/op"}}, out, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	r, err := readAll([]string{file})
	if err != nil || len(r.benchmarks) != 2 || r.benchmarks[0].String() != "bench A/n=1" || len(r.commands) != 2 {
		t.Errorf("%v, %+v; want two benchmarks of two commands", err, r)
	}
	keys := map[string]bool{}
	for _, f := range r.facts {
		keys[f.Key] = f.Values[0] != ""
	}
	for _, key := range []string{"date", "commit", "processors", "kernel", "go"} {
		if !keys[key] {
			t.Errorf("nothing is said about %s: %v", key, r.facts)
		}
	}
	if want := "2/2 echo 'BenchmarkB 1 7 ns/op'\n2/2 1 results in "; !strings.Contains(stderr.String(), want) {
		t.Errorf("progress\n%s; want %q", &stderr, want)
	}
}

func TestACommandThatFailsDoesNotKeepTheOthersFromRunning(t *testing.T) {
	var stderr bytes.Buffer
	file, err := measure(context.Background(), t.TempDir(), [][]string{{"sh", "-c", "echo broken >&2; exit 3"}, {"sh", "-c", printed}}, t.TempDir(), &stderr)
	if err == nil || !strings.Contains(err.Error(), "exit status 3: broken") || !errors.As(err, new(*exec.ExitError)) {
		t.Errorf("%v; want the exit status and what was said", err)
	}
	if !strings.Contains(stderr.String(), "1/2 failed after ") {
		t.Errorf("progress\n%s; want that the first failed", &stderr)
	}
	if r, err := readAll([]string{file}); err != nil || len(r.benchmarks) != 1 {
		t.Errorf("%v; want a result", err)
	}
}

// The command ends only because it is told to.
func TestAnInterruptKeepsWhatWasMeasured(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		os.ReadFile(fifo) // until the command has printed its result
		cancel()
	}()
	file, err := measure(ctx, dir, [][]string{{"sh", "-c", "echo broken >&2; exit 3"},
		{"sh", "-c", printed + "; echo >fifo; exec tail -f /dev/null"}, {"echo", "BenchmarkB 1 7 ns/op"}}, dir, &bytes.Buffer{})
	for _, want := range []string{"exit status 3: broken", "interrupted in the command 2 of 3", "--from " + file + " --out " + dir} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "\nBenchmarkA/n=1-2") || strings.Contains(string(text), "BenchmarkB") {
		t.Errorf("%v, %s; want the first result alone", err, text)
	}
}

// What a command starts has to end with it, as go test's benchmarks do.
func TestAnInterruptReachesTheChildrenOfACommand(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		os.ReadFile(fifo)
		cancel()
	}()
	err := run(ctx, []string{"sh", "-c", `sh -c "echo >fifo; exec tail -f /dev/null"; exit 7`}, dir, &bytes.Buffer{})
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(exit.String(), "interrupt") {
		t.Errorf("%v; want an end by the signal, which the shell takes when its child has ended", err)
	}
}

func TestProgressStaysOnOneLineOfTheTerminal(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, 3)
	p.width = 40
	p.begin(1, "go test")
	for _, part := range []string{"pkg: iomux\nBenchmarkCh", "ain/n=100/backend=epoll-2 \t", " 10 5 ns/op\nBenchmarkA", "/n=1 1 5 ns/op\n"} {
		if n, err := p.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("Write = %d, %v; want %d, nil", n, err, len(part))
		}
	}
	shown := strings.Split(b.String(), "\r\x1b[K")
	if last := shown[len(shown)-1]; !strings.HasPrefix(last, "2/3  ") || !strings.HasSuffix(last, "  2 results  A/n=1") {
		t.Errorf("the last line is %q", last)
	}
	for _, line := range shown {
		if len(line) >= 40 || strings.Contains(line, "\n") {
			t.Errorf("%q does not stay on a line of 40", line)
		}
	}
	p.end(nil)
	if !strings.HasSuffix(b.String(), "\r\x1b[K") {
		t.Error("the line is left behind")
	}
	p.end(errors.New("no"))
	if !strings.HasSuffix(b.String(), "\r\x1b[K2/3 failed after 0s, 2 results: go test\n") {
		t.Errorf("%q; want that it failed", &b)
	}
}

// What is measured quickly is the same, but for what takes long at any size.
func TestCommandsAreOfTheModulesAndMayBeShort(t *testing.T) {
	names := func(commands [][]string) (all []string) {
		for _, args := range commands {
			i := slices.Index(args, "-bench")
			if i < 0 || i+1 >= len(args) {
				t.Fatalf("%q has no -bench", args)
			}
			all = append(all, args[i+1])
		}
		return slices.Compact(all)
	}
	whole, short := runs(true, false), runs(true, true)
	if a, b := names(whole), names(short); !slices.Equal(a, b) {
		t.Errorf("whole: %q; short: %q", a, b)
	}
	for _, args := range short {
		if !slices.Contains(args, "1x") {
			t.Errorf("%q is not short", args)
		}
	}
	if alone := runs(false, false); len(alone) != 1 || !slices.Contains(alone[0], "./bench") {
		t.Errorf("%q without peers; want ./bench alone", alone)
	}
}

func TestCommandsCanBeCopiedIntoAShell(t *testing.T) {
	for _, args := range append(runs(true, false), []string{"go", "a b", "", "it's", "$HOME", "µ*", "a&b", "~"}) {
		text := quoted(args...)
		said, err := exec.Command("sh", "-c", "printf '%s\\n' "+text).Output()
		if err != nil || string(said) != strings.Join(args, "\n")+"\n" {
			t.Errorf("%s\nis %q to a shell (%v); want %q", text, said, err, args)
		}
	}
}
