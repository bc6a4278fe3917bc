package peers

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"iomux/bench/internal/jobs"
)

// built builds a program for a peer, or skips the test where that is not
// installed.
func built(t *testing.T, p peer, name string) *program {
	t.Helper()
	prog, err := p.build(t.TempDir(), name)
	if errors.As(err, new(notInstalled)) {
		t.Skip(err)
	}
	must(t, err)
	return prog
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// started starts a program, which must end well.
func started(t *testing.T, prog *program, args ...string) *process {
	t.Helper()
	p, err := prog.start(args...)
	must(t, err)
	t.Cleanup(func() { must(t, p.close()) })
	return p
}

// expect plays rounds of one kind, each of which must have that many events.
func expect(t *testing.T, play jobs.Round, events int) {
	t.Helper()
	for i := range 3 {
		s, err := play()
		must(t, err)
		if s.Events != events || s.Wall <= 0 || s.CPU <= 0 {
			t.Errorf("round %d: %+v; want %d events in some time", i+1, s, events)
		}
	}
}

func TestChainInC(t *testing.T) {
	for _, peer := range []peer{libev, libevent, bareC} {
		t.Run(peer.name, func(t *testing.T) {
			prog := built(t, peer, "chain")
			for _, flag := range peer.cflags() {
				if !strings.Contains(prog.about, flag) {
					t.Errorf("about = %q, which lacks %s", prog.about, flag)
				}
			}
			for _, active := range []int{1, 3, 10} {
				p := started(t, prog, "10", fmt.Sprint(active), "101")
				expect(t, func() (jobs.Sample, error) { return p.play("round") }, 101+active)

				threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.cmd.Process.Pid))
				if must(t, err); len(threads) != 2 {
					t.Errorf("%d threads; want 2", len(threads))
				}
			}
		})
	}
}

func TestTimersInC(t *testing.T) {
	for _, peer := range []peer{libev, libevent} {
		t.Run(peer.name, func(t *testing.T) {
			prog := built(t, peer, "timers")
			for _, job := range append(slices.Clone(timerJobs), "arm-now") {
				t.Run(job, func(t *testing.T) {
					p := started(t, prog, "1000", "1000000")
					expect(t, func() (jobs.Sample, error) { return p.play(job) }, 1000)
				})
			}
		})
	}
}

// What a program says before it fails is in the error.
func TestProgramFails(t *testing.T) {
	for _, test := range []struct {
		peer      peer
		name      string
		args      []string
		want, bad string
	}{
		{bareC, "chain", []string{"10", "11", "100"}, "usage: chain N ACTIVE WRITES", "more active than there are"},
		{libev, "timers", []string{"0", "1000"}, "usage: timers N WITHIN", "no timers"},
		{libev, "timers", []string{"10", "1000"}, "unknown command play", "no such job"},
	} {
		t.Run(test.bad, func(t *testing.T) {
			p, err := built(t, test.peer, test.name).start(test.args...)
			must(t, err)
			for range 2 {
				if _, err := p.play("play"); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("play: %v; want %q", err, test.want)
				}
			}
		})
	}
}

func TestNotInstalled(t *testing.T) {
	missing := func(p peer, want string) func(*testing.T) {
		return func(t *testing.T) {
			_, err := p.build(t.TempDir(), "chain")
			if !errors.As(err, new(notInstalled)) || err.Error() != want {
				t.Errorf("build: %v; want %s", err, want)
			}
		}
	}
	for _, test := range []struct {
		peer peer
		want string
	}{
		{libev, "libev: not installed; apt-get install gcc libc6-dev libev-dev"},
		{libevent, "libevent: not installed; apt-get install gcc libc6-dev libevent-dev"},
	} {
		t.Run(test.peer.name, func(t *testing.T) {
			p := test.peer
			p.header = "no/such/header.h"
			t.Run("header", missing(p, test.want))
			p = test.peer
			p.flags = []string{"-lno-such-library"}
			t.Run("library", missing(p, test.want))
			t.Setenv("PATH", t.TempDir())
			t.Run("compiler", missing(test.peer, test.want))
		})
	}
}

// A program that does not compile is a bug, not a peer that is not installed.
func TestDoesNotCompile(t *testing.T) {
	built(t, bareC, "chain")
	p := bareC
	p.flags = []string{"-Dserve=?"}
	_, err := p.build(t.TempDir(), "chain")
	if err == nil || errors.As(err, new(notInstalled)) || !strings.Contains(err.Error(), "error: ") {
		t.Errorf("build: %v; want what the compiler says", err)
	}
}
