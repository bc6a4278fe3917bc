package cmd

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/icmp"
)

// threadsOf reads what the threads of a process may do: for each different state, how
// many have it.
func threadsOf(t *testing.T, pid int) map[string]int {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) < 2 {
		t.Fatalf("process %d: %d threads, %v", pid, len(files), err)
	}
	states := map[string]int{}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			continue // a thread that has ended
		}
		state := ""
		for lines := bufio.NewScanner(f); lines.Scan(); {
			key, value, _ := strings.Cut(lines.Text(), ":")
			switch key {
			case "Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs":
				state += key + " " + strings.Join(strings.Fields(value), " ") + "\n"
			}
		}
		f.Close()
		states[state]++
	}
	return states
}

// workerOf is the only child of a process.
func workerOf(t *testing.T, pid int) int {
	t.Helper()
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		var child int
		if b, err := os.ReadFile(file); err == nil {
			if _, err := fmt.Sscan(string(b), &child); err == nil {
				return child
			}
		}
	}
	t.Fatalf("process %d has no child", pid)
	return 0
}

// having is the state of a thread that has certain capabilities.
func having(uid int, capabilities uint64) string {
	u := fmt.Sprintf("%d %[1]d %[1]d %[1]d", uid)
	c := fmt.Sprintf("%016x", capabilities)
	return "Uid " + u + "\nGid " + u + "\nCapInh " + c + "\nCapPrm " + c + "\nCapEff " + c + "\nCapAmb " + c + "\nNoNewPrivs 1\n"
}

func TestServerGivesUpItsPrivileges(t *testing.T) {
	nobody := 65534
	if !mapped(t, uint32(nobody)) {
		nobody = 0 // whom this namespace alone knows
	}
	for args, c := range map[string]struct {
		kernel, tun bool
		uid         int
		keeps       uint64
	}{
		"--quiet":           {uid: nobody},
		"--quiet --loops 3": {uid: nobody},
		"--quiet --network ip4:icmp --network ip6:ipv6-icmp": {uid: nobody},
		"--quiet --user root":                                {uid: 0},
		"--quiet --take-over":                                {uid: nobody, kernel: true},
		"--quiet --tun 10.64.0.0/10 --loops 2 --health true": {uid: nobody, tun: true, keeps: 1 << unix.CAP_NET_ADMIN},
		"--quiet --tun 10.64.0.0/10 -4 -6 --take-over":       {uid: nobody, tun: true, kernel: true, keeps: 1 << unix.CAP_NET_ADMIN},
	} {
		t.Run(args, func(t *testing.T) {
			if strings.Contains(args, "--user") && nobody == 0 {
				t.Skip("this user namespace has no second user to differ from")
			}
			inLab(t, c.kernel)
			if c.tun {
				needTUN(t, c.kernel)
			}
			s := startServer(t, strings.Fields(args)...)
			if strings.Contains(args, "--health") {
				s.awaitLine("health: well")
			}
			pid := s.Process.Pid
			if c.kernel {
				pid = workerOf(t, pid)
			}
			states := threadsOf(t, pid)
			for state, n := range states {
				if want := having(c.uid, c.keeps); state != want && !(c.keeps != 0 && state == strings.Replace(want, fmt.Sprintf("CapAmb %016x", c.keeps), "CapAmb 0000000000000000", 1)) {
					t.Errorf("%d threads have\n%swant\n%s", n, state, want)
				}
			}
			if kernelAnswers(t) {
				t.Error("the kernel answers while the server runs")
			}
			// It still does all of its work.
			host := "127.0.0.1"
			if c.tun {
				host = "10.64.0.1"
			}
			probe(t, "--quiet", host)
			if rest, code := s.signal(syscall.SIGTERM); code != exitOK || !strings.Contains(rest, "1 answered") {
				t.Errorf("exit code %d\n%s%s", code, rest, &s.stderr)
			}
			if got := s.stderr.String(); got != "" {
				t.Errorf("it says %s", got)
			}
			if kernelAnswers(t) != c.kernel {
				t.Errorf("the kernel's replies are %v, and were %v", !c.kernel, c.kernel)
			}
		})
	}
}

func TestServerWithoutPrivilegesIsCalledAsItWasStarted(t *testing.T) {
	inLab(t, true)
	c := echoCommand("server", "--quiet", "--take-over")
	c.Args[0] = "some/where/echo"
	s := start(t, c)
	s.awaitLine("answering")
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", workerOf(t, s.Process.Pid)))
	if err != nil || string(name) != "echo\n" {
		t.Errorf("%q, %v", name, err)
	}
}

func TestServerKeepsItsPrivilegesIfItIsToldTo(t *testing.T) {
	inLab(t, false)
	own := threadsOf(t, os.Getpid())
	s := startServer(t, "--quiet", "--keep-privileges")
	for state := range threadsOf(t, s.Process.Pid) {
		if own[state] == 0 {
			t.Errorf("a thread has\n%swant one of %v", state, own)
		}
	}
}

// elsewhere is a main that has a network of its own, which knows nothing of files that
// are handed over.
func elsewhere() int {
	transport.Register("cable", func(string, string, *transport.Config) (transport.Transport, error) {
		return transport.Open(rawNetwork, "", &transport.Config{Options: icmp.Options{Types: []uint8{8}}})
	})
	return Main()
}

func init() { roles["elsewhere"] = elsewhere }

func TestServerOnANetworkThatCannotBeHandedOverSaysSo(t *testing.T) {
	inLab(t, false)
	s := start(t, inRole("elsewhere", "server", "--quiet", "--network", "cable"))
	mustContain(t, "start", s.awaitLine("answering"), "answering on cable, ")
	probe(t, "--quiet", "127.0.0.1")
	rest, _ := s.signal(syscall.SIGTERM)
	mustContain(t, "summary", rest, "1 answered")
	mustContain(t, "note", s.stderr.String(), "--network cable cannot be handed to a process without privileges, so this one keeps its own")
}

// The parent restores the kernel's replies when the worker is killed.
func TestTakeOverIsRestoredAlsoWhenTheWorkerIsKilled(t *testing.T) {
	inLab(t, true)
	s := startServer(t, "--quiet", "--take-over")
	if err := syscall.Kill(workerOf(t, s.Process.Pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, code := s.end(); code != 128+int(syscall.SIGKILL) {
		t.Errorf("exit code %d", code)
	}
	if !kernelAnswers(t) {
		t.Error("the kernel's replies stay off")
	}
}

func TestServerRefusesAUserThatDoesNotExist(t *testing.T) {
	inLab(t, false)
	p := start(t, echoCommand("server", "--user", "nobody-of-that-name"))
	_, code := p.end()
	mustContain(t, "error", p.stderr.String(), "--user: ", "nobody-of-that-name")
	if code != exitError {
		t.Errorf("exit code %d", code)
	}
}
