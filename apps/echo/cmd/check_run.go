package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"iomux/apps/echo/check"
	"iomux/transport/netlab"
)

// tooLong is how long nothing takes that goes well.
const tooLong = 90 * time.Second

// atServer runs fn while a server answers at a site, in a network namespace of their
// own: programs that fn starts are in it, if they are started from its goroutine.
func atServer(ctx context.Context, site check.Site, flags []string, fn func() error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	lab, err := netlab.New()
	if err != nil {
		return err
	}
	defer func() { err = join(err, lab.Close()) }()
	if err := lab.SetEchoReplies(false); err != nil {
		return err
	}
	args := []string{"server", "--quiet", "--backend", site.Backend}
	switch {
	case site.On == check.TUN:
		args = append(args, "--tun", site.Prefix().String())
	default:
		if err := lab.AddLocalRoute(site.Prefix()); err != nil {
			return err
		}
		args = append(args, map[bool]string{false: "-4", true: "-6"}[site.IPv6])
	}
	return lab.Do(func() error {
		s, err := startCheckServer(ctx, append(args, flags...))
		if err != nil {
			return err
		}
		return join(fn(), s.stop())
	})
}

// checkServer is a server that answers.
type checkServer struct {
	*exec.Cmd
	out   ready
	ended chan struct{}
	err   error // once it has ended
}

// ready is the output of a server, until it says that it answers.
type ready struct {
	mu       sync.Mutex
	text     bytes.Buffer
	answers  chan struct{}
	answered bool
}

const answering = "answering"

func (r *ready) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.text.Len() < 1<<16 {
		r.text.Write(p)
	}
	if !r.answered && bytes.Contains(r.text.Bytes(), []byte(answering)) {
		r.answered = true
		close(r.answers)
	}
	return len(p), nil
}

func (r *ready) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.TrimSpace(r.text.String())
}

// startCheckServer returns once it answers.
func startCheckServer(ctx context.Context, args []string) (*checkServer, error) {
	ctx, cancel := context.WithTimeout(ctx, tooLong)
	defer cancel()
	s := &checkServer{Cmd: exec.Command("/proc/self/exe", args...), ended: make(chan struct{})}
	s.out.answers = make(chan struct{})
	s.Stdout, s.Stderr = &s.out, &s.out
	// The thread that starts it lives as long as the namespace is in use (netlab).
	s.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.err = s.Wait()
		close(s.ended)
	}()
	select {
	case <-s.out.answers:
		return s, nil
	case <-s.ended:
		return nil, fmt.Errorf("echo %s: %w\n%v", strings.Join(args, " "), errors.Join(s.err, errors.New("it ended before it answered")), &s.out)
	case <-ctx.Done():
		s.Process.Kill()
		<-s.ended
		return nil, fmt.Errorf("echo %s: %w before it answered\n%v", strings.Join(args, " "), ctx.Err(), &s.out)
	}
}

// stop ends it: not by SIGINT, which shells have what runs in the background ignore.
func (s *checkServer) stop() error {
	s.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(tooLong):
		s.Process.Kill()
		<-s.ended
	}
	if s.err != nil {
		return fmt.Errorf("echo %s: %w\n%v", strings.Join(s.Args[1:], " "), s.err, &s.out)
	}
	return nil
}

// runClient runs the client and returns its output.
func runClient(ctx context.Context, args []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, tooLong)
	defer cancel()
	var out, errs bytes.Buffer
	c := exec.CommandContext(ctx, "/proc/self/exe", args...)
	c.Stdout, c.Stderr = &out, &errs
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := c.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == exitUnanswered {
		err = nil // as it must be: not all have answered
	}
	if err == nil && errs.Len() > 0 {
		err = errors.New("it wrote to standard error")
	}
	if err != nil {
		return nil, fmt.Errorf("echo %s: %w\n%s", strings.Join(args, " "), errors.Join(err, ctx.Err()), strings.TrimSpace(errs.String()))
	}
	return out.Bytes(), nil
}
