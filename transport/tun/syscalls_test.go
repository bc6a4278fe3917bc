package tun_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"iomux/transport"
)

const (
	// traced makes the test binary the program that strace(1) looks at.
	traced = "IOMUX_TUN_TRACED"
	// waiting is the number of packets that it finds.
	waiting = 32
)

func TestOneReadAndOneWriteForEachPacket(t *testing.T) {
	quietly(t)
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	ctx, cancel := context.WithTimeout(t.Context(), watchdog)
	defer cancel()
	c := exec.CommandContext(ctx, strace, "-f", "-o", log, self)
	c.Env = append(os.Environ(), traced+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	c.Stderr = &stderr
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var fd int
	if _, err := fmt.Fscanf(stdout, "descriptor %d\n", &fd); err != nil {
		t.Fatal(err, c.Wait(), &stderr)
	}
	for range waiting {
		datagram(t, 10_000, somebody4)
	}
	fmt.Fprintln(stdin, "go")
	if err := c.Wait(); err != nil {
		t.Fatal(err, &stderr)
	}
	trace, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	for _, call := range regexp.MustCompile(fmt.Sprintf(`(?m)^\d+ +(\w+)\(%d\b`, fd)).FindAllSubmatch(trace, -1) {
		calls = append(calls, string(call[1]))
	}
	at := slices.Index(calls, "readv")
	calls = calls[max(at, 0):]
	want := slices.Concat(slices.Repeat([]string{"readv"}, waiting+1), slices.Repeat([]string{"write"}, waiting), []string{"close"})
	if !slices.Equal(calls, want) {
		t.Errorf("the calls for a batch of %d are %q, want %d readv, %d write and a close", waiting, calls, waiting+1, waiting)
	}
}

// oneBatch receives one batch and sends it back.
func oneBatch() int {
	err := func() error {
		tr, err := transport.Open("tun", "", routed4())
		if err != nil {
			return err
		}
		fmt.Println("descriptor", tr.FD())
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return err
		}
		ms := slots(tr.BatchSize())
		n, err := tr.Recv(ms)
		if n != waiting || err != nil {
			return fmt.Errorf("Recv = %d, %w, want %d", n, err, waiting)
		}
		for i := range ms[:n] {
			turnRound(ms[i].Bytes())
			ms[i].Reply()
		}
		if n, err := tr.Send(ms[:n]); n != waiting || err != nil {
			return fmt.Errorf("Send = %d, %w, want %d", n, err, waiting)
		}
		return tr.Close()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, strings.TrimSpace(err.Error()))
		return 1
	}
	return 0
}
