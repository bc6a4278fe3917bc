package health

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a pipe is read on when the command is over: what it has started
// may have left its process group and hold it open.
const patience = time.Second

// execute runs a command. Whatever its end is, what is left of its process group is
// killed.
func execute(ctx context.Context, command string) error {
	var said tail
	c := exec.Command("/bin/sh", "-c", command)
	c.Stdout, c.Stderr = &said, &said
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.WaitDelay = patience
	if err := c.Start(); err != nil {
		return err
	}
	// It stays a zombie until Wait, so that the number of its group is not another's.
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			err := unix.Waitid(unix.P_PID, c.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
			if err != unix.EINTR {
				return
			}
		}
	}()
	select {
	case <-over:
	case <-ctx.Done():
	}
	unix.Kill(-c.Process.Pid, unix.SIGKILL)
	<-over
	err := c.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return nil
	}
	if text := strings.TrimSpace(string(said)); text != "" {
		return fmt.Errorf("%v: %s", status(c.ProcessState), text)
	}
	return errors.New(status(c.ProcessState))
}

func status(s *os.ProcessState) string { return "the command ended with " + s.String() }

// tail keeps the end of what is written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	const longest = 256
	*t = append(*t, p[max(0, len(p)-longest):]...)
	if n := len(*t); n > longest {
		*t = append((*t)[:0], (*t)[n-longest:]...)
	}
	return len(p), nil
}
