package prober_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
)

const (
	manyClients = 10
	manyTargets = 1000 // the same for all clients
)

// clients are the ways of having many of them.
var clients = []struct {
	name string
	v6   bool
	open func(prober.Opening) (transport.Transport, error)
}{
	{"raw IPv4", false, prober.OpenSocket},
	{"raw IPv6", true, prober.OpenSocket},
	{"ping IPv4", false, openPing},
	{"ping IPv6", true, openPing},
}

// client is a prober with a loop of its own.
type client struct {
	l       *loop.Loop
	p       *prober.Prober
	id      uint16
	foreign uint64 // answers with data that the client has not sent
	failure error
}

// clientReport is what a client has seen.
type clientReport struct {
	Counts  stats.Counts
	Stray   uint64
	Foreign uint64
}

// newClient makes the client with a number, the data of which nobody else sends.
func newClient(number int, v6 bool, open func(prober.Opening) (transport.Transport, error)) (*client, error) {
	m, err := mux.Open("")
	if err != nil {
		return nil, err
	}
	c := &client{l: loop.New(m)}
	data := bytes.Repeat([]byte{byte(1 + number)}, 56)
	c.p, err = prober.New(c.l, prober.Config{
		Targets: list(pick(v6, "127.64.0.1-127.64.3.232", "fd64::1-fd64::3e8")), Count: 3, Data: data, Timeout: patience,
		Window: 32, // all clients' together fit the queue of the loopback interface
		Open: func(o prober.Opening) (transport.Transport, error) {
			tr, err := open(o)
			c.id = o.Identifier
			if own, ok := transport.As[transport.Identifier](tr); ok {
				c.id = own.Identifier()
			}
			return tr, err
		},
		OnResult: func(r *prober.Result) {
			if len(r.Data) > cookieSize && !bytes.Equal(r.Data[cookieSize:], data[cookieSize:]) {
				c.foreign++
			}
		},
		OnDone:    c.l.Stop,
		OnFailure: func(err error) { c.failure = err; c.l.Stop() },
	})
	if err != nil {
		return nil, errors.Join(err, c.l.Close())
	}
	c.l.Own(c.p)
	return c, nil
}

// run probes all targets and closes the client.
func (c *client) run() (clientReport, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	c.p.Start()
	err := errors.Join(c.l.Run(ctx), c.failure)
	r := clientReport{c.p.Total().Counts(), c.p.Stray(), c.foreign}
	return r, errors.Join(err, c.l.Close())
}

// wantOwn demands that the client has seen all of its own answers and none of the
// others'.
func (r clientReport) wantOwn(t *testing.T, number int) {
	t.Helper()
	want := clientReport{Counts: stats.Counts{Sent: 3 * manyTargets}}
	want.Counts.Of[stats.Reply] = 3 * manyTargets
	if r != want {
		t.Errorf("client %d has %+v, want %+v", number, r, want)
	}
}

// inClientLab sets up the namespace in which the clients are.
func inClientLab(t *testing.T) {
	ns := kernelReplies(t, true)
	if err := ns.SetPingGroups(0, 0); err != nil {
		t.Fatal(err)
	}
	if err := ns.AddLocalRoute(netip.MustParsePrefix("fd64::/64")); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
}

// Ten clients in one process, each with a loop and a goroutine of its own.
func TestTenClientsSeeTheirOwnAnswers(t *testing.T) {
	inClientLab(t)
	for i := range len(clients) + 1 {
		name := "all kinds"
		if i < len(clients) {
			name = clients[i].name
		}
		t.Run(name, func(t *testing.T) {
			var all []*client
			taken := map[uint16]bool{}
			for len(all) < manyClients {
				kind := clients[len(all)%len(clients)]
				if i < len(clients) {
					kind = clients[i]
				}
				c, err := newClient(len(all), kind.v6, kind.open)
				if err != nil {
					t.Fatal(err)
				}
				if taken[c.id] { // by chance, as probers choose those of raw sockets: see below
					c.l.Close()
					continue
				}
				taken[c.id] = true
				all = append(all, c)
			}
			type end struct {
				number int
				report clientReport
				err    error
			}
			begin, ends := make(chan struct{}), make(chan end)
			for i, c := range all {
				go func() {
					<-begin
					r, err := c.run()
					ends <- end{i, r, err}
				}()
			}
			close(begin)
			for range all {
				e := <-ends
				if e.err != nil {
					t.Error(e.err)
				}
				e.report.wantOwn(t, e.number)
			}
		})
	}
}

// clientVariable tells the test binary that it is a client: which kind, and its
// number.
const clientVariable = "IOMUX_PROBER_TEST_CLIENT"

// Ten clients, each a process of its own.
func TestTenProcessesSeeTheirOwnAnswers(t *testing.T) {
	if v := os.Getenv(clientVariable); v != "" {
		beClient(t, v)
		return
	}
	inClientLab(t)
	for kind := range clients {
		if racing && kind > 0 {
			break // it finds no more races in forty processes than in ten
		}
		t.Run(clients[kind].name, func(t *testing.T) {
			var all []*process
			taken := map[uint16]bool{}
			for len(all) < manyClients {
				p := startClient(t, kind, len(all))
				if !taken[p.id] {
					taken[p.id] = true
					all = append(all, p)
				}
			}
			for _, p := range all {
				p.stdin.Close() // begin
			}
			for i, p := range all {
				p.report(t).wantOwn(t, i)
			}
		})
	}
}

// process is a client in another process.
type process struct {
	stdin  io.Closer
	stdout *bufio.Reader
	id     uint16
}

// startClient starts a client that waits for the end of its standard input.
func startClient(t *testing.T, kind, number int) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestTenProcessesSeeTheirOwnAnswers$", "-test.count=1")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", clientVariable, kind, number))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	p := &process{stdin: stdin, stdout: bufio.NewReader(stdout)}
	line, err := p.stdout.ReadString('\n')
	if err == nil {
		_, err = fmt.Sscanf(line, "identifier %d\n", &p.id)
	}
	if err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	return p
}

func (p *process) report(t *testing.T) (r clientReport) {
	t.Helper()
	line, err := p.stdout.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	if err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	return r
}

// beClient is the other process.
func beClient(t *testing.T, what string) {
	var kind, number int
	if _, err := fmt.Sscanf(what, "%d %d", &kind, &number); err != nil {
		t.Fatal(err)
	}
	c, err := newClient(number, clients[kind].v6, clients[kind].open)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("identifier", c.id)
	io.Copy(io.Discard, os.Stdin)
	r, err := c.run()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(b))
}

// sharing is a transport whose identifier is not the prober's own choice.
type sharing struct {
	transport.Transport
	id uint16
}

func (s sharing) Identifier() uint16          { return s.id }
func (s sharing) Unwrap() transport.Transport { return s.Transport }

// Two clients that have chosen the same identifier are offered each other's answers,
// and tell them from their own by the cookies.
func TestClientsThatShareAnIdentifier(t *testing.T) {
	inClientLab(t)
	for _, kind := range clients[:2] {
		t.Run(kind.name, func(t *testing.T) {
			share := func(o prober.Opening) (transport.Transport, error) {
				o.Identifier = 0xBEEF
				tr, err := kind.open(o)
				return sharing{tr, o.Identifier}, err
			}
			l := newLoop(t, "")
			var both []*prober.Prober
			left := 2
			for range 2 {
				both = append(both, newProber(t, l, prober.Config{Targets: list(pick(kind.v6, "127.64.0.1-127.64.3.232", "fd64::1-fd64::3e8")),
					Count: 1, Data: pattern(56), Window: 16, Open: share, OnDone: func() {
						if left--; left == 0 {
							l.Stop()
						}
					}}))
			}
			for _, p := range both {
				p.Start()
			}
			run(t, l)
			for i, p := range both {
				got, want := p.Total().Counts(), stats.Counts{Sent: manyTargets}
				want.Of[stats.Reply] = manyTargets
				// The one that ends first may not have looked at all the other's yet.
				if n := got.Of[stats.Forged]; n == 0 || n > manyTargets {
					t.Errorf("prober %d: %d answers of the other are forged, want up to %d", i, n, manyTargets)
				}
				got.Of[stats.Forged] = 0
				if got != want || p.Stray() != 0 {
					t.Errorf("prober %d: %+v and %d stray, want %+v beside what is forged", i, got, p.Stray(), want)
				}
			}
		})
	}
}
