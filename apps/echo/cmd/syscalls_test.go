package cmd

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"iomux/apps/echo/responder"
	"iomux/codec"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
	"iomux/transport/icmp"
)

// waitingRequests wait in the server's socket when its loop begins.
const waitingRequests = 32

func TestOneWaitOneReceiveAndOneSendForABatch(t *testing.T) {
	inLab(t, false)
	strace := need(t, "strace", "strace")
	waits := map[string]string{"epoll": "epoll_pwait", "poll": "ppoll", "select": "pselect6"}
	for _, backend := range mux.Backends() {
		t.Run(backend, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "strace")
			c := inRole("lockstep", backend)
			c.Args = append([]string{"strace", "-f", "-o", log, "--", "/proc/self/exe"}, c.Args[1:]...)
			c.Path = strace
			// strace is /proc/self/exe to itself.
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			c.Args[slices.Index(c.Args, "/proc/self/exe")] = self
			stdin, err := c.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			p := start(t, c)
			socket := strings.TrimSpace(strings.TrimPrefix(p.awaitLine("socket "), "socket "))
			sendRequests(t)
			fmt.Fprintln(stdin, "go")
			if rest, code := p.end(); code != 0 {
				t.Fatalf("exit code %d\n%s%s", code, rest, &p.stderr)
			}
			calls := callsOf(t, log, socket)
			want := []string{waits[backend] + " = 1", "recvmmsg = 32", "sendmmsg = 32"}
			if !slices.Equal(calls, want) {
				t.Errorf("the calls for %d waiting requests are %q, want %q", waitingRequests, calls, want)
			}
		})
	}
}

// sendRequests sends the requests to loopback in one batch.
func sendRequests(t *testing.T) {
	t.Helper()
	sender, err := transport.Open("ip4:icmp", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	var ms []transport.Message
	var c codec.EchoV4
	for seq := range waitingRequests {
		b, err := c.Append(nil, &codec.Echo{Type: codec.EchoRequest, ID: 1, Seq: uint16(seq)})
		if err != nil {
			t.Fatal(err)
		}
		ms = append(ms, transport.Message{Buf: b, N: len(b), Peer: netip.MustParseAddrPort("127.0.0.1:0")})
	}
	if n, err := sender.Send(ms); n != len(ms) || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
}

// lockstep is an echo server whose loop does not begin before it is told to, and
// ends with the last of the waiting requests. It leaves marks in the trace.
func lockstep() int {
	err := func() error {
		t, err := transport.Open(rawNetwork, "", &transport.Config{Options: icmp.Options{Types: []uint8{8}}})
		if err != nil {
			return err
		}
		m, err := mux.Open(os.Args[1])
		if err != nil {
			return err
		}
		l := loop.New(m)
		l.Own(t)
		left := waitingRequests
		_, err = responder.New(l, t, responder.Config{OnRequest: func(responder.Request) {
			if left--; left == 0 {
				l.Stop()
			}
		}})
		if err != nil {
			return err
		}
		fmt.Println("socket", t.FD())
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return err
		}
		fmt.Println("begin")
		err = l.Run(context.Background())
		fmt.Println("end")
		return join(err, l.Close())
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitError
	}
	return exitOK
}

// callsOf reads the waits, receptions and transmissions between the marks from
// a trace, without those of Go's own poller, which has an epoll instance too:
// ours is the one that the socket was added to.
func callsOf(t *testing.T, log, socket string) (calls []string) {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(b), `write(1, "begin\n"`)
	between, _, found2 := strings.Cut(after, `write(1, "end\n"`)
	if !found || !found2 {
		t.Fatalf("the marks are missing:\n%s", b)
	}
	// Lines as "123 recvmmsg(6, ... <unfinished ...>" and "123 <... recvmmsg resumed>...) = 32"
	// belong together.
	line := regexp.MustCompile(`(?m)^(\d+) +(?:<\.\.\. )?(\w+)(?:\((\d*).*| resumed.*)$`)
	result := regexp.MustCompile(`= (-?\d+)`)
	ours := ""
	if add := regexp.MustCompile(`epoll_ctl\((\d+), EPOLL_CTL_ADD, ` + socket + `,`).FindStringSubmatch(string(b)); add != nil {
		ours = add[1]
	}
	unfinished := map[string]string{}
	for _, f := range line.FindAllStringSubmatch(between, -1) {
		text, thread, call, fd := f[0], f[1], f[2], f[3]
		if !slices.Contains([]string{"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6",
			"recvmsg", "recvfrom", "recvmmsg", "sendmsg", "sendto", "sendmmsg"}, call) {
			continue
		}
		if strings.Contains(text, "unfinished") {
			unfinished[thread] = fd
			continue
		}
		if fd == "" {
			fd = unfinished[thread]
		}
		if strings.HasPrefix(call, "epoll") && fd != ours {
			continue
		}
		all := result.FindAllStringSubmatch(text, -1)
		if len(all) == 0 {
			t.Fatalf("no result in %q", text)
		}
		calls = append(calls, call+" = "+all[len(all)-1][1])
	}
	return calls
}
