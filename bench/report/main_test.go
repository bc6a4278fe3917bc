package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSavedResultsBecomeAPageAndPictures(t *testing.T) {
	out := filepath.Join(t.TempDir(), "new", "directory")
	var stdout, stderr bytes.Buffer
	if code := execute([]string{"--out", out, "--from", "testdata/results.txt"}, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("exit code %d, %s", code, &stderr)
	}
	if !strings.HasPrefix(stdout.String(), filepath.Join(out, "index.html")+": ") || !strings.Contains(stdout.String(), "fall short") {
		t.Errorf("said %q", &stdout)
	}
	var want []string
	for _, p := range pictures {
		want = append(want, p.name+".svg")
	}
	want = append(want, "index.html", "tables.md")
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("files %q; want %q", got, want)
	}
}

func TestResultsOfSeveralFilesMeet(t *testing.T) {
	dir := t.TempDir()
	var args []string
	for name, text := range map[string]string{"a": "BenchmarkA 1 5 ns/op\n", "b": "BenchmarkA 1 7 ns/op\n"} {
		args = append(args, filepath.Join(dir, name))
		if err := os.WriteFile(args[len(args)-1], []byte("pkg: p\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	if code := execute([]string{"--out", dir, "--from", args[0], args[1]}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d, %s", code, &stderr)
	}
	page, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil || !strings.Contains(string(page), "6 (5–7)") {
		t.Errorf("%v; want 6 (5–7) on the page", err)
	}
}

func TestTablesCanBePastedAndRunsCompared(t *testing.T) {
	dir := t.TempDir()
	this, other := filepath.Join(dir, "this.txt"), filepath.Join(dir, "other.txt")
	for path, ns := range map[string]string{this: "5", other: "9"} {
		text := "libevent: not installed; apt-get install libevent-dev\npkg: p\nBenchmarkA/k=a|b_c 1 " + ns + " ns/event " + ns + " ns/event-p10 " + ns + ".5 ns/event-p90\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	if code := execute([]string{"--out", dir, "--from", this, "--against", other}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d, %s", code, &stderr)
	}
	const verdict = "0 figures agree within their spread, 1 do not, 0 are not in the other run"
	if !strings.Contains(stdout.String(), verdict) {
		t.Errorf("said %q; want %q", &stdout, verdict)
	}
	tables, err := os.ReadFile(filepath.Join(dir, "tables.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| | lines | ns/event |\n|---|---|---|\n| k=a\\|b\\_c | 1 | 5 (5–5.5) |\n", verdict,
		"| p A/k=a\\|b\\_c | ns/event | 5 (5–5.5) | 9 (9–9.5) |\n", "\n- libevent: not installed; apt-get install libevent-dev\n"} {
		if !strings.Contains(string(tables), want) {
			t.Errorf("no %q in\n%s", want, tables)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil || !strings.Contains(string(page), verdict) || !strings.Contains(string(page), "<li>libevent: not installed; apt-get install libevent-dev</li>") {
		t.Errorf("%v; want the same on the page", err)
	}
}

func TestADirectoryThatCannotBeMadeIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--from", "testdata/results.txt", "--out", file}, {"--from", "testdata/results.txt", "--out", filepath.Join(file, "below")}} {
		var stderr bytes.Buffer
		if code := execute(args, &bytes.Buffer{}, &stderr); code != 1 || !strings.Contains(stderr.String(), file) {
			t.Errorf("%q: exit code %d, %s; want 1 and the name", args, code, &stderr)
		}
	}
}

func TestNoPictureOfOtherResultsStays(t *testing.T) {
	dir := t.TempDir()
	few := filepath.Join(dir, "few.txt")
	if err := os.WriteFile(few, []byte("pkg: iomux/bench\nBenchmarkEchoRoundTrip/spin=0s/backend=epoll 1 9000 p50-ns\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]int{"testdata/results.txt": len(pictures), few: 1} {
		var stderr bytes.Buffer
		for _, file := range []string{"testdata/results.txt", file} {
			if code := execute([]string{"--out", dir, "--from", file}, &bytes.Buffer{}, &stderr); code != 0 {
				t.Fatalf("exit code %d, %s", code, &stderr)
			}
		}
		if got, err := filepath.Glob(filepath.Join(dir, "*.svg")); err != nil || len(got) != want {
			t.Errorf("%s: pictures %q; want %d", file, got, want)
		}
	}
}

func TestWrongUseIsSaid(t *testing.T) {
	dir := t.TempDir()
	empty, bad := filepath.Join(dir, "empty.txt"), filepath.Join(dir, "bad.txt")
	for path, text := range map[string]string{empty: "PASS\n", bad: "BenchmarkA 1 x ns/op\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "out")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--from", empty}, "no results of benchmarks"},
		{[]string{"--from", bad}, bad + ":1: "},
		{[]string{"--from", filepath.Join(dir, "none.txt")}, "no such file"},
		{[]string{empty}, "files are read with --from"},
		{[]string{"--from", dir}, "is a directory"},
		{[]string{"--from", "testdata/results.txt", "--against", empty}, empty + ": no results"},
		{[]string{"--against", empty}, empty + ": no results"}, // before anything runs
		{[]string{"--from", "testdata/results.txt", "--quick"}, "with --from nothing runs"},
		{[]string{"--from", "testdata/results.txt", "--peers=false"}, "with --from nothing runs"},
		{[]string{"--from", ""}, "no such file"},
		{[]string{"--nothing"}, "unknown flag"},
	} {
		var stdout, stderr bytes.Buffer
		if code := execute(append(c.args, "--out", out), &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%q: exit code %d, %s; want 1 and %q", c.args, code, &stderr, c.want)
		}
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("%v; want no directory after errors", err)
	}
}
