package privilege_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/apps/echo/privilege"
)

// parent runs a worker between two lines.
func parent() error {
	p, err := readPlan()
	if err != nil {
		return err
	}
	os.Setenv(roleVariable, p.Role)
	cmd := exec.Command("/proc/self/exe")
	cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
	if p.User == "unstartable" {
		cmd = exec.Command("/nowhere")
	}
	code, err := privilege.Run(cmd, &privilege.Config{},
		func() error {
			fmt.Println("prepared", os.Getpid())
			if p.User == "unprepared" {
				return errors.New("unprepared")
			}
			return nil
		},
		func() error { fmt.Println("finished"); return nil })
	fmt.Println("code", code)
	return err
}

// worker says which signals it gets, and ends as it is told to.
func worker() error {
	if err := privilege.Verify(); err != nil {
		return err
	}
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT)
	fmt.Println("working", os.Getpid())
	go func() {
		for sig := range signals {
			fmt.Println("got", int(sig.(unix.Signal)))
		}
	}()
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	switch line = strings.TrimSpace(line); line {
	case "panic":
		panic("as told")
	case "kill":
		unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	}
	code, err := strconv.Atoi(line)
	if err != nil {
		return err
	}
	os.Exit(code)
	return nil
}

// job is a parent and its worker.
type job struct {
	t       *testing.T
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	lines   *bufio.Scanner
	workers int // its number
}

func startJob(t *testing.T, p plan) *job {
	t.Helper()
	j := &job{t: t, cmd: places[1].command(t, "parent", p)}
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a shell starts it
	j.cmd.Stderr = nil
	var err error
	if j.stdin, err = j.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := j.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	j.lines = bufio.NewScanner(stdout)
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if j.cmd.ProcessState == nil {
			j.cmd.Process.Kill()
			j.cmd.Wait()
		}
	})
	j.want(fmt.Sprint("prepared ", j.cmd.Process.Pid))
	return j
}

func (j *job) line() string {
	j.lines.Scan()
	return j.lines.Text()
}

func (j *job) want(lines ...string) {
	j.t.Helper()
	for _, want := range lines {
		if got := j.line(); got != want {
			j.t.Fatalf("the line is %q, want %q", got, want)
		}
	}
}

func (j *job) working() {
	j.t.Helper()
	if n, _ := fmt.Sscanf(j.line(), "working %d", &j.workers); n != 1 {
		j.t.Fatal("the worker does not work")
	}
}

// ended demands that there is no more to read, which is so when both have ended.
func (j *job) ended() {
	j.t.Helper()
	if j.lines.Scan() {
		j.t.Errorf("one more line: %q", j.lines.Text())
	}
	j.cmd.Wait()
}

func TestHoweverTheWorkerEndsFinishRuns(t *testing.T) {
	for told, code := range map[string]int{"0": 0, "7": 7, "kill": 137, "panic": 2} {
		t.Run(told, func(t *testing.T) {
			j := startJob(t, plan{Role: "worker"})
			j.working()
			fmt.Fprintln(j.stdin, told)
			j.want("finished", fmt.Sprint("code ", code))
			j.ended()
		})
	}
	t.Run("killed by somebody else", func(t *testing.T) {
		j := startJob(t, plan{Role: "worker"})
		j.working()
		unix.Kill(j.workers, unix.SIGKILL)
		j.want("finished", "code 137")
		j.ended()
	})
	t.Run("never started", func(t *testing.T) {
		j := startJob(t, plan{Role: "worker", User: "unstartable"})
		j.want("finished", "code 0")
		j.ended()
	})
	t.Run("not prepared", func(t *testing.T) {
		j := startJob(t, plan{Role: "worker", User: "unprepared"})
		j.want("code 0") // there is nothing to finish
		j.ended()
	})
}

func TestSignalsReachTheWorkerOnce(t *testing.T) {
	j := startJob(t, plan{Role: "worker"})
	j.working()
	for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT} {
		unix.Kill(j.cmd.Process.Pid, sig)
		j.want(fmt.Sprint("got ", int(sig)))
	}
	// A terminal, and timeout(1), signal the whole group.
	unix.Kill(-j.cmd.Process.Pid, unix.SIGINT)
	j.want(fmt.Sprint("got ", int(unix.SIGINT)))
	if group, err := unix.Getpgid(j.workers); err != nil || group != j.workers {
		t.Errorf("the worker is of the group %d, %v, want one of its own: it would get such a signal twice", group, err)
	}
	fmt.Fprintln(j.stdin, "0")
	j.want("finished", "code 0")
	j.ended()
}

func TestStoppedTogetherAndContinuedTogether(t *testing.T) {
	j := startJob(t, plan{Role: "worker"})
	j.working()
	unix.Kill(j.cmd.Process.Pid, unix.SIGTSTP)
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, j.cmd.Process.Pid, &info, unix.WSTOPPED, nil); err != nil {
		t.Fatal(err)
	}
	// The worker has its signal already, before the parent stopped.
	fmt.Fprintln(j.stdin, "0")
	unix.Kill(j.cmd.Process.Pid, unix.SIGCONT)
	for {
		if line := j.line(); line == "finished" {
			break
		} else if line != fmt.Sprint("got ", int(unix.SIGCONT)) {
			t.Fatalf("the line is %q", line)
		}
	}
	j.want("code 0")
	j.ended()
}

func TestTheWorkerEndsWithItsParent(t *testing.T) {
	j := startJob(t, plan{Role: "worker"})
	j.working()
	unix.Kill(j.cmd.Process.Pid, unix.SIGKILL)
	j.ended() // with the worker, whose end of the pipe it is
	if err := unix.Kill(j.workers, 0); err == nil {
		t.Log("it is a zombie for a moment")
	}
}

func TestTheParentIsSmall(t *testing.T) {
	j := startJob(t, plan{Role: "worker"})
	j.working()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", j.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var rss int
	for line := range strings.Lines(string(b)) {
		fmt.Sscanf(line, "RssAnon: %d", &rss)
	}
	t.Logf("%d kB are its own", rss)
	if rss == 0 || rss > 32<<10 {
		t.Errorf("the parent has %d kB of its own, want less than 32 MiB", rss)
	}
	fmt.Fprintln(j.stdin, "0")
	j.want("finished", "code 0")
	j.ended()
}
