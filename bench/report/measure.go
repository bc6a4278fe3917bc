package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// runs are the commands that measure what the page shows, for the directory of the module.
func runs(count int, peers bool) [][]string {
	bench := func(args ...string) []string {
		return append([]string{"go", "test", "-run", "^$", "-timeout", "2h"}, args...)
	}
	all := [][]string{bench("-bench", ".", "-count", strconv.Itoa(count), "./bench")}
	if peers {
		in := func(args ...string) []string {
			return append([]string{"go", "test", "-C", "bench/peers", "-run", "^$", "-timeout", "2h"}, args...)
		}
		all = append(all,
			in("-bench", "Chain", "-benchtime", "25x"),
			in("-bench", "Timers", "-benchtime", "9x"),
			in("-bench", "Flood|InFlight", "-benchtime", "5x"),
			in("-bench", "Sweep", "-benchtime", "5x", "-sweep.n", "4096,16384,65534,262144,1048576"),
			in("-bench", "Steady", "-benchtime", "3x", "-steady.time", "5s"),
			in("-bench", "Server|Loops|Trip|Rules", "-benchtime", "15x", "-answer.n", "60000"))
	}
	return all
}

// measure runs the commands and writes what they print to results.txt in a directory,
// after what is known of the machine. A command that fails does not keep the others from
// running. The file is "" if there is none.
func measure(ctx context.Context, root string, commands [][]string, out string, stderr io.Writer) (file string, err error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", err
	}
	file = filepath.Join(out, "results.txt")
	saved, err := os.Create(file)
	if err != nil {
		return "", err
	}
	defer saved.Close()
	if _, err := io.WriteString(saved, machine(ctx, root)); err != nil {
		return "", err
	}
	p := newProgress(stderr, len(commands))
	var failures []error
	for i, args := range commands {
		text := strings.Join(quoted(args), " ")
		if _, err := fmt.Fprintf(saved, "command: %s\n", text); err != nil {
			return "", err
		}
		p.begin(i, text)
		err := run(ctx, args, root, io.MultiWriter(saved, p))
		p.end()
		if ctx.Err() != nil {
			return file, fmt.Errorf("interrupted; what was measured before is in %s, for --from", file)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", text, err))
		}
	}
	return file, combine(append(failures, saved.Close())...)
}

// run has a command write to w. It ends with all that it started when the context does.
func run(ctx context.Context, args []string, dir string, w io.Writer) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &said
	err := cmd.Run()
	if text := strings.TrimSpace(said.String()); err != nil && text != "" {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// quoted are arguments as a shell takes them.
func quoted(args []string) []string {
	var all []string
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, "^$|;<> '\"\\%") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		all = append(all, a)
	}
	return all
}

func moduleRoot(ctx context.Context) (string, error) {
	said, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
	path, dir, _ := strings.Cut(strings.TrimSpace(string(said)), " ")
	if err != nil || path+"/" != module {
		return "", fmt.Errorf("the benchmarks run in a directory of the module %s; go list -m said %q (%v)", strings.TrimSuffix(module, "/"), path, err)
	}
	return dir, nil
}

// machine has the lines of configuration that go test does not print.
func machine(ctx context.Context, root string) string {
	var b strings.Builder
	say := func(key, value string) { fmt.Fprintf(&b, "%s: %s\n", key, value) }
	say("date", time.Now().UTC().Format("2006-01-02 15:04 MST"))
	say("commit", commit(ctx, root))
	say("processors", strconv.Itoa(runtime.NumCPU()))
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		say("kernel", unix.ByteSliceToString(u.Sysname[:])+" "+unix.ByteSliceToString(u.Release[:]))
	}
	say("go", runtime.Version())
	return b.String()
}

func commit(ctx context.Context, root string) string {
	git := func(args ...string) (string, error) {
		said, err := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...).Output()
		return strings.TrimSpace(string(said)), err
	}
	id, err := git("rev-parse", "--short", "HEAD")
	if err != nil {
		return "unknown, for git told none"
	}
	if changes, err := git("status", "--porcelain", "--untracked-files=no"); err != nil || changes != "" {
		id += ", with changes"
	}
	return id
}

// progress shows on one line which command runs, for how long, and its last benchmark. Where
// nobody looks, there is a line for each command.
type progress struct {
	w        io.Writer
	width    int // of the terminal, 0 if it is none
	commands int
	which    int
	command  string
	begun    time.Time
	lines    int
	last     string
	partial  []byte
}

func newProgress(w io.Writer, commands int) *progress {
	p := &progress{w: w, commands: commands}
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			p.width = width
		}
	}
	return p
}

func (p *progress) begin(i int, command string) {
	p.which, p.command, p.begun, p.lines, p.last = i+1, command, time.Now(), 0, "building"
	if p.width == 0 {
		fmt.Fprintf(p.w, "%d/%d %s\n", p.which, p.commands, command)
	}
	p.show()
}

// Write takes what a command prints.
func (p *progress) Write(text []byte) (int, error) {
	p.partial = append(p.partial, text...)
	for {
		line, rest, ok := bytes.Cut(p.partial, []byte("\n"))
		if !ok {
			break
		}
		if name, ok := bytes.CutPrefix(line, []byte("Benchmark")); ok {
			p.lines++
			name, _, _ = bytes.Cut(name, []byte(" "))
			name, _, _ = bytes.Cut(name, []byte("\t"))
			p.last = string(name)
		}
		p.partial = append(p.partial[:0], rest...)
	}
	p.show()
	return len(text), nil
}

func (p *progress) show() {
	if p.width == 0 {
		return
	}
	line := fmt.Sprintf("%d/%d  %s  %d results  %s", p.which, p.commands, time.Since(p.begun).Round(time.Second), p.lines, p.last)
	if len(line) >= p.width {
		line = line[:max(0, p.width-1)]
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", line)
}

func (p *progress) end() {
	if p.width == 0 {
		fmt.Fprintf(p.w, "%d/%d %d results in %s\n", p.which, p.commands, p.lines, time.Since(p.begun).Round(time.Second))
		return
	}
	fmt.Fprint(p.w, "\r\x1b[K")
}
