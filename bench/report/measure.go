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
	"unicode"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// runs are the commands that measure what the page shows, for the directory of the module.
func runs(peers, quick bool) [][]string {
	command := func(whole, short string, where ...string) []string {
		args := append(append([]string{"go", "test"}, where...), "-run", "^$", "-timeout", "1h")
		if quick {
			whole = short
		}
		return append(args, strings.Fields(whole)...)
	}
	all := [][]string{command("-bench . -benchtime 0.3s -count 3 ./bench", "-bench . -benchtime 1x ./bench")}
	if !peers {
		return all
	}
	for _, c := range [][2]string{
		{"-bench Chain -benchtime 13x", "-bench Chain -benchtime 1x"},
		{"-bench Timers -benchtime 5x -timers.n 1000000", "-bench Timers -benchtime 1x"},
		{"-bench Sweep -benchtime 5x -sweep.n 4096,16384,65534,262144", "-bench Sweep -benchtime 1x -sweep.n 4096,65534"},
		{"-bench Sweep -benchtime 3x -sweep.n 1048576", ""},
		{"-bench Scan -benchtime 3x -scan.n 32768", "-bench Scan -benchtime 1x"},
		{"-bench Flood -benchtime 5x -flood.n 200000", "-bench Flood -benchtime 1x"},
		{"-bench Steady -benchtime 3x -steady.time 3s", "-bench Steady -benchtime 1x"},
		{"-bench InFlight -benchtime 3x", "-bench InFlight -benchtime 1x"},
		{"-bench Server|Loops|Trip|Rules -benchtime 15x -answer.n 60000", "-bench Server|Loops|Trip|Rules -benchtime 1x -answer.n 5000"},
		{"-bench Datagrams -benchtime 15x -answer.n 60000", "-bench Datagrams -benchtime 1x -answer.n 5000"},
	} {
		if args := command(c[0], c[1], "-C", "bench/peers"); !quick || c[1] != "" {
			all = append(all, args)
		}
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
		text := quoted(args...)
		if _, err := fmt.Fprintf(saved, "command: %s\n", text); err != nil {
			return "", err
		}
		p.begin(i, text)
		err := run(ctx, args, root, io.MultiWriter(saved, p))
		if ctx.Err() != nil {
			p.end(nil)
			return file, combine(append(failures, saved.Close(), fmt.Errorf("interrupted in the command %d of %d; what was measured is in %s, and go run ./bench/report --from %s --out %s makes a page of it",
				i+1, len(commands), file, quoted(file), quoted(out)))...)
		}
		p.end(err)
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
	if ctx.Err() != nil { // what did not end by SIGINT
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	if text := strings.TrimSpace(said.String()); err != nil && text != "" {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// quoted are arguments as a shell takes them.
func quoted(args ...string) string {
	var all []string
	for _, a := range args {
		if a == "" || strings.ContainsFunc(a, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_./,=:+@", r)
		}) {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		all = append(all, a)
	}
	return strings.Join(all, " ")
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

// end leaves a line behind if the command failed: it may take long until all have ended.
func (p *progress) end(failed error) {
	if p.width > 0 {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	switch {
	case failed != nil:
		fmt.Fprintf(p.w, "%d/%d failed after %s, %d results: %s\n", p.which, p.commands, time.Since(p.begun).Round(time.Second), p.lines, p.command)
	case p.width == 0:
		fmt.Fprintf(p.w, "%d/%d %d results in %s\n", p.which, p.commands, p.lines, time.Since(p.begun).Round(time.Second))
	}
}
