package privilege

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/hashicorp/go-multierror"
	"golang.org/x/sys/unix"
)

// forwarded are the signals that are meant for the work, whoever does it.
var forwarded = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP,
	unix.SIGUSR1, unix.SIGUSR2, unix.SIGTSTP, unix.SIGCONT, unix.SIGWINCH}

// Run starts a worker with fewer privileges, as [Start] does, waits for it, and
// returns its exit code, 128 and the signal's number if a signal ended it (as shells
// have it). It is for what has to be undone with privileges when the worker has ended,
// a setting of the kernel for instance:
//
//	var taken *responder.Takeover
//	code, err := privilege.Run(exec.Command("/proc/self/exe", os.Args[1:]...), &privilege.Config{},
//		func() (err error) { taken, err = responder.TakeOver(); return err },
//		func() error { return taken.Restore() })
//
// The function prepare, which may complete the Config (open the Files, for instance), runs before the worker starts. If
// it succeeds finish runs when the worker has ended, however that was, or if it could not
// be started; after a panic too. No signal comes between them: SIGINT, SIGTERM, SIGQUIT,
// SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP and SIGCONT are passed on from the
// beginning to the end of Run, except those that this process was started to ignore (as
// nohup(1) has it), which the worker ignores as well. If it stops for SIGTSTP this
// process stops too. Either function may be nil. If this process is killed so is the
// worker, and finish does not run.
//
// The worker is a process group of its own, so that what is typed at the terminal
// signals this process only, and the worker gets each signal once.
func Run(cmd *exec.Cmd, c *Config, prepare, finish func() error) (code int, err error) {
	signals := make(chan os.Signal, 64)
	for _, sig := range forwarded {
		if !signal.Ignored(sig) {
			signal.Notify(signals, sig)
		}
	}
	defer signal.Stop(signals)
	if prepare != nil {
		if err := prepare(); err != nil {
			c.closeFiles()
			return 0, err
		}
	}
	if finish != nil {
		defer func() { err = join(err, finish()) }()
	}
	// A worker in the background may write to the terminal, also where `stty tostop`
	// would have it wait: nobody could bring it to the foreground.
	if !signal.Ignored(unix.SIGTTOU) {
		signal.Ignore(unix.SIGTTOU)
		defer signal.Reset(unix.SIGTTOU)
	}
	attr := syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		attr = *cmd.SysProcAttr
	}
	attr.Setpgid = true
	cmd.SysProcAttr = &attr
	err = Start(cmd, c)
	c.closeFiles() // they are the worker's alone, and end with it
	if err != nil {
		return 0, err
	}
	debug.FreeOSMemory() // there is nothing to do for a long time
	ended := make(chan struct{})
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		forward(signals, cmd.Process, ended)
	}()
	err = cmd.Wait()
	close(ended)
	<-gone
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	var exit *exec.ExitError
	switch {
	case !ok, err != nil && !errors.As(err, &exit):
		return 0, fmt.Errorf("privilege: wait for the worker: %w", err)
	case status.Signaled():
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}

func (c *Config) closeFiles() {
	for _, files := range c.Files {
		for _, f := range files {
			f.Close()
		}
	}
}

// forward passes signals on until the process has ended.
func forward(signals <-chan os.Signal, to *os.Process, ended <-chan struct{}) {
	for {
		select {
		case <-ended:
			return
		case sig := <-signals:
			to.Signal(sig) // it fails only if the process has ended
			if sig == unix.SIGTSTP {
				unix.Kill(os.Getpid(), unix.SIGSTOP)
			}
		}
	}
}

// join returns the errors that are not nil.
func join(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return multierror.Append(nil, a, b)
}
