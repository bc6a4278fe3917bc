package peers

import (
	"bufio"
	"bytes"
	"embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"iomux/bench/internal/jobs"
)

//go:embed c/*.c
var sources embed.FS

//go:embed c/*.h
var headers embed.FS // what they include

// peer is what programs in C are built with.
type peer struct {
	name     string
	header   string // it is installed if this can be included and the flags are taken
	flags    []string
	packages string // of Debian
}

var (
	libev    = peer{"libev", "ev.h", []string{"-DLIBEV", "-lev"}, "gcc libc6-dev libev-dev"}
	libevent = peer{"libevent", "event2/event.h", []string{"-DLIBEVENT", "-levent_core"}, "gcc libc6-dev libevent-dev"}
	bareC    = peer{"bare-c", "sys/epoll.h", nil, "gcc libc6-dev"}
)

// notInstalled is the error of a peer that this machine lacks.
type notInstalled struct{ peer }

func (e notInstalled) Error() string {
	return fmt.Sprintf("%s: not installed; apt-get install %s", e.name, e.packages)
}

// program is one of c/*.c, built for a peer.
type program struct {
	path  string
	about string // what it was built with, and how
}

// build compiles c/name.c in dir. The error is notInstalled where the compiler
// or the library is missing.
func (p peer) build(dir, name string) (*program, error) {
	if err := p.compile(dir, "installed", fmt.Sprintf("#include <%s>\nint main(void) { return 0; }\n", p.header)); err != nil {
		return nil, notInstalled{p}
	}
	source, err := sources.ReadFile("c/" + name + ".c")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"session.h", "server.h", "load.h"} {
		header, err := headers.ReadFile("c/" + name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), header, 0o600)
		}
		if err != nil {
			return nil, err
		}
	}
	target := name + "-" + p.name
	if err := p.compile(dir, target, string(source)); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, target)
	about, err := exec.Command(path).Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", target, err)
	}
	return &program{path, fmt.Sprintf("%s %s", bytes.TrimSpace(about), strings.Join(p.cflags(), " "))}, nil
}

func (p peer) cflags() []string {
	return append([]string{"-std=gnu11", "-O2", "-pthread"}, p.flags...)
}

func (p peer) compile(dir, target, source string) error {
	cmd := exec.Command("gcc", append([]string{"-x", "c", "-", "-o", target}, p.cflags()...)...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// process is a program that runs, set up and ready for rounds.
type process struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
	end func() error
}

func (p *program) start(args ...string) (*process, error) {
	cmd := exec.Command(p.path, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd, in, bufio.NewReader(out), sync.OnceValue(func() error {
		in.Close()
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%s: %w: %s", cmd, err, bytes.TrimSpace(said.Bytes()))
		}
		return nil
	})}, nil
}

// play has the program play a round.
func (p *process) play(command string) (jobs.Sample, error) {
	var s jobs.Sample
	_, err := fmt.Fprintln(p.in, command)
	if err == nil {
		_, err = fmt.Fscanf(p.out, "%d %d %d\n", &s.Events, &s.Wall, &s.CPU)
	}
	if err != nil {
		if ended := p.close(); ended != nil {
			err = ended
		}
		return jobs.Sample{}, err
	}
	return s, nil
}

// close ends the input, with which the program ends, and reports how it did.
func (p *process) close() error { return p.end() }
