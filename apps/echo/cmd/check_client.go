package cmd

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"iomux/apps/echo/check"
)

// tools is how many runs of another prober there are at a time, each in a network
// namespace of its own: there probers do not hear what is meant for others.
const tools = 8

// tryClient puts another prober to every fault.
func (o *checkOptions) tryClient(ctx context.Context, dir string, sites []check.Site) (*check.Chair, error) {
	chair := &check.Chair{Command: o.client, Version: o.version(ctx)}
	var groups [][]check.Seat
	for _, site := range sites {
		seats := check.Seats(site)
		for first := range min(tools, len(seats)) {
			var group []check.Seat
			for i := first; i < len(seats); i += tools {
				group = append(group, seats[i])
			}
			groups = append(groups, group)
		}
	}
	var mu sync.Mutex
	err := inParallel(len(groups), tools, func(i int) error {
		file, err := writeRules(dir, i, check.ToolRules(groups[i]))
		if err != nil {
			return err
		}
		return atServer(ctx, groups[i][0].Site, []string{"--rules", file, "--rate", "0"}, func() error {
			for _, seat := range groups[i] {
				answer, err := o.try(ctx, seat)
				if err != nil {
					return err
				}
				mu.Lock()
				chair.Answers = append(chair.Answers, answer)
				mu.Unlock()
			}
			return nil
		})
	})
	chair.Sort()
	return chair, err
}

// tries is how often a prober that takes replies for lost may try.
const tries = 3

// try runs the prober for one fault.
func (o *checkOptions) try(ctx context.Context, seat check.Seat) (check.Answer, error) {
	for n := 1; ; n++ {
		out, exit, killed, err := o.runTool(ctx, seat.Addr.String())
		if err != nil {
			return check.Answer{}, err
		}
		if a := seat.Judge(out, exit, killed); n == tries || !a.Again() {
			return a, nil
		}
	}
}

// runTool runs the prober for an address.
func (o *checkOptions) runTool(ctx context.Context, addr string) (out string, exit int, killed bool, err error) {
	words := make([]string, len(o.words))
	for i, w := range o.words {
		words[i] = w
		if i > 0 {
			words[i] = strings.ReplaceAll(w, "{}", addr)
		}
	}
	return o.runBounded(ctx, words)
}

// runBounded runs the program, which may write anything and need not end.
func (o *checkOptions) runBounded(ctx context.Context, words []string) (out string, exit int, killed bool, err error) {
	bounded, cancel := context.WithTimeout(ctx, o.patience)
	defer cancel()
	c := exec.CommandContext(bounded, o.path, words[1:]...)
	c.Args[0] = words[0]
	var text beginning
	c.Stdout, c.Stderr = &text, &text
	// What it starts ends with it.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = time.Second
	err = c.Run()
	var failed *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", 0, false, ctx.Err()
	case bounded.Err() != nil:
		return text.String(), -1, true, nil
	case errors.As(err, &failed):
		return text.String(), failed.ExitCode(), false, nil
	case errors.Is(err, exec.ErrWaitDelay): // something that it started holds its output
		err = nil
	}
	return text.String(), 0, false, err
}

// beginning keeps the first megabyte of what is written.
type beginning struct{ kept bytes.Buffer }

func (b *beginning) Write(p []byte) (int, error) {
	b.kept.Write(p[:min(len(p), 1<<20-b.kept.Len())])
	return len(p), nil
}

func (b *beginning) String() string { return b.kept.String() }

// versions are the flags by which the probers that can be read tell their version.
var versions = map[string]string{"ping": "-V", "ping6": "-V", "fping": "-v", "fping6": "-v", "nping": "--version"}

// version returns what the prober calls itself, or "".
func (o *checkOptions) version(ctx context.Context) string {
	flag := versions[filepath.Base(o.words[0])]
	if flag == "" {
		return ""
	}
	out, exit, killed, err := o.runBounded(ctx, []string{o.words[0], flag})
	if err != nil || exit != 0 || killed {
		return ""
	}
	first, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	return text([]byte(first))
}
