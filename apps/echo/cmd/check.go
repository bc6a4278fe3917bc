package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"iomux/apps/echo/check"
	"iomux/mux"
	"iomux/transport/netlab"
)

// exitFailed is the exit code of a check that something failed.
const exitFailed = 1

// checkOptions are the flags of the check, as they were given.
type checkOptions struct {
	ipv4, ipv6     bool
	on, backends   []string
	client         string
	words          []string // of client
	path           string   // of its first word
	patience       time.Duration
	json, markdown bool
}

func checkCommand() *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check",
		Short: "Put the client, or another prober, to every fault of the server",
		Long: `Run the client against a server that does everything wrong which its rules can
do, one fault at a time, and print what the client must say of it, what it said, and
whether that is right: over IPv4 and IPv6, on raw sockets and on a TUN device, with
every multiplexer.

With --client it is another prober that is tried, such as ping or fping, and the table
tells how it fares with each fault: whether what it tells is right, wrong (a damaged reply
is counted as a good one, for instance), or whether it did not notice. Then the server
answers on a TUN device or, where there is none, on a raw socket, unless --on says
otherwise, and faults are left out of which nobody can say what is right without knowing
how fast the prober asks.

The command has words with blanks between them, and {} stands for the address. No shell
reads it: what has quotation marks, pipes or variables belongs into a script. It should
end by itself: ping takes -c 3, for instance. The numbers are read of ping (iputils), fping
and nping; of others there are the exit code and the last line. One that takes replies for
lost is tried twice more, as the machine may have been busy.

All of it happens in network namespaces of its own: no privilege is needed, but for
TUN devices where /dev/net/tun is root's alone, and no packet leaves the machine.

Exit codes: 0 if everything is as it must be, or the prober could be tried, 1 if not, 2 on
a usage or system error, 141 if nobody reads the output any more.`,
		Example: `  ./echo check
  ./echo check -4 --on raw --backend poll --json
  ./echo check --client 'ping -c 3 -i 0.2 -W 1 {}'
  ./echo check --client 'fping -c 3 -p 200 -t 1000 {}' --markdown`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(c.Flags().Changed); err != nil {
				return err
			}
			if netlab.Inside() {
				return o.run(c.Flags().Changed, c.OutOrStdout())
			}
			code, err := netlab.Reexec()
			if err == nil && code != exitOK {
				err = exitCode(code)
			}
			return err
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.BoolVarP(&o.ipv4, "ipv4", "4", false, "IPv4 only")
	f.BoolVarP(&o.ipv6, "ipv6", "6", false, "IPv6 only")
	f.StringSliceVar(&o.on, "on", []string{check.Raw, check.TUN}, "`place` where the server answers: raw sockets, a TUN device, or both")
	f.StringSliceVar(&o.backends, "backend", mux.Backends(), "`names` of the I/O multiplexers of the server and the client")
	f.StringVar(&o.client, "client", "", "try this `command` in place of the client; {} is the address")
	o.patience = 30 * time.Second
	f.Var((*seconds)(&o.patience), "client-timeout", "longest time that the command may take for a fault")
	f.BoolVar(&o.json, "json", false, "print newline-delimited JSON")
	f.BoolVar(&o.markdown, "markdown", false, "print a table in Markdown")
	return c
}

// shell are the characters that would mean something to a shell.
const shell = "'\"\\|&;<>()$`*?"

// check reports everything that is wrong with the flags.
func (o *checkOptions) check(given func(string) bool) error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for _, on := range o.on {
		refuse(on != check.Raw && on != check.TUN, "--on %s: want raw, tun or both with a comma", on)
	}
	for _, b := range o.backends {
		refuse(!slices.Contains(mux.Backends(), b), "--backend %s: there are %s", b, strings.Join(mux.Backends(), ", "))
	}
	refuse(len(o.on) == 0, "--on: want raw, tun or both")
	refuse(len(o.backends) == 0, "--backend: want one of %s", strings.Join(mux.Backends(), ", "))
	refuse(o.json && o.markdown, "--json and --markdown: want one of them")
	refuse(given("client-timeout") && !given("client"), "--client-timeout: want --client too")
	refuse(o.patience <= 0 || o.patience > time.Hour, "--client-timeout %v: want a time above 0 and up to 1h", o.patience)
	if given("client") {
		errs = append(errs, o.checkClient())
	}
	return join(errs...)
}

func (o *checkOptions) checkClient() error {
	o.words = strings.Fields(o.client)
	switch {
	case strings.ContainsAny(o.client, shell):
		return fmt.Errorf("--client %q: no shell reads it, so write a script for what has any of %s", o.client, shell)
	case len(o.words) == 0:
		return errors.New("--client: want a command such as 'ping -c 3 {}'")
	case strings.Contains(o.words[0], "{}"):
		return fmt.Errorf("--client %q: want a command before {}, such as 'ping -c 3 {}'", o.client)
	case !strings.Contains(strings.Join(o.words[1:], " "), "{}"):
		return fmt.Errorf("--client %q: want {} where the address belongs, such as 'ping -c 3 {}'", o.client)
	}
	path, err := exec.LookPath(o.words[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return fmt.Errorf("--client: %w", err)
	}
	o.path = path
	return nil
}

// sites returns the sites that are asked for and can be had, and what cannot.
func (o *checkOptions) sites(given func(string) bool) (sites []check.Site, leftOut []string, err error) {
	on := slices.Clone(o.on)
	slices.Sort(on)
	on = slices.Compact(on)
	if slices.Contains(on, check.TUN) {
		if why := noTUN(); why != nil {
			if given("on") {
				return nil, nil, fmt.Errorf("--on tun: %w", why)
			}
			leftOut = append(leftOut, fmt.Sprintf("TUN devices: %v", why))
			on = slices.DeleteFunc(on, func(s string) bool { return s == check.TUN })
		}
	}
	backends := slices.Clone(o.backends)
	if o.client != "" {
		if !given("on") {
			on = on[len(on)-1:] // tun, if there is any
		}
		if !given("backend") {
			backends = backends[:1]
		}
	}
	for _, ipv6 := range []bool{false, true} {
		if o.ipv4 != o.ipv6 && o.ipv6 != ipv6 {
			continue
		}
		for _, on := range on {
			for _, b := range backends {
				sites = append(sites, check.Site{IPv6: ipv6, On: on, Backend: b})
			}
		}
	}
	return sites, leftOut, nil
}

// noTUN returns why no TUN device can be had, or nil.
func noTUN() error {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// run checks, in a private network namespace.
func (o *checkOptions) run(given func(string) bool, w io.Writer) error {
	sites, leftOut, err := o.sites(given)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	end := onInterrupt(cancel, func() {}, endings...)
	defer end()
	dir, err := os.MkdirTemp("", "echo-check")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	if o.client != "" {
		chair, err := o.tryClient(ctx, dir, sites)
		if err = orInterrupted(ctx, err); err != nil {
			return err
		}
		chair.LeftOut = leftOut
		return o.write(w, chair)
	}
	matrix, err := checkAll(ctx, dir, sites, (*check.Part).Rules)
	if err = orInterrupted(ctx, err); err != nil {
		return err
	}
	matrix.LeftOut = leftOut
	if err := o.write(w, matrix); err != nil {
		return err
	}
	if matrix.Failed() > 0 {
		return exitCode(exitFailed)
	}
	return nil
}

// orInterrupted returns what ended a check: what failed because of a signal is not told.
func orInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

// write writes what came out, in the form that is asked for.
func (o *checkOptions) write(w io.Writer, what interface {
	WriteText(io.Writer) error
	WriteMarkdown(io.Writer) error
	WriteJSON(io.Writer) error
}) error {
	write := what.WriteText
	switch {
	case o.json:
		write = what.WriteJSON
	case o.markdown:
		write = what.WriteMarkdown
	}
	err := write(w)
	if errors.Is(err, syscall.EPIPE) {
		return exitCode(128 + int(syscall.SIGPIPE)) // as if the signal had ended it
	}
	return err
}

// together is how many servers run at a time: they mostly wait.
const together = 24

// checkAll runs the client at all sites, against servers with these rules.
func checkAll(ctx context.Context, dir string, sites []check.Site, rules func(*check.Part) []byte) (*check.Matrix, error) {
	var parts []check.Part
	for _, s := range sites {
		parts = append(parts, check.Parts(s)...)
	}
	order := make([]int, len(parts)) // what takes long comes first
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(parts[b].Takes, parts[a].Takes) })
	rows := make([][]check.Row, len(parts))
	err := inParallel(len(parts), together, func(i int) error {
		i = order[i]
		p := &parts[i]
		file, err := writeRules(dir, i, rules(p))
		if err != nil {
			return err
		}
		return atServer(ctx, p.Site, append([]string{"--rules", file}, p.Server...), func() error {
			out, err := runClient(ctx, p.ClientArgs())
			if err == nil {
				rows[i], err = p.Judge(out)
			}
			return err
		})
	})
	return &check.Matrix{Rows: slices.Concat(rows...)}, err
}

func writeRules(dir string, n int, text []byte) (file string, err error) {
	file = filepath.Join(dir, fmt.Sprintf("rules%d.yaml", n))
	return file, os.WriteFile(file, text, 0o600)
}

// inParallel calls fn with 0 to n-1, some at a time, and returns all errors.
func inParallel(n, together int, fn func(i int) error) error {
	errs := make([]error, n)
	slots := make(chan struct{}, together)
	var all sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = fn(i)
		})
	}
	all.Wait()
	return join(errs...)
}
