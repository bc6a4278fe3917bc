// Command soak runs an event loop under load for a long time, on every backend
// in turn, and accounts for everything:
//
//	go run ./bench/soak --duration 5m --descriptors 5000
//
// Pipes, socket pairs, UDP sockets, eventfds and timerfds are watched, made
// readable, closed and replaced all the time, while timers are armed, stopped
// and reset, signals arrive and other goroutines post. Nothing may be lost or
// come twice, early or out of order; no descriptor, goroutine or memory may be
// left over; and when nothing happens, nothing may be used. The exit code is 1 if
// any of it does not hold, and the message has the seed that repeats the
// operations, as far as the clock lets it. Ctrl-C ends it early, with the summary.
package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"iomux/mux"
)

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

// execute runs one command line and returns its exit code.
func execute(args []string, stdout, stderr io.Writer) int {
	c := config{patience: 10_000, kinds: kinds, out: stdout}
	cmd := &cobra.Command{
		Use:           "soak",
		Short:         "Run an event loop under load for a long time, and account for everything",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			backends, err := chosen(c.backend)
			if err != nil {
				return err
			}
			return soakAll(cmd.Context(), backends, c)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&c.backend, "backend", "all", "I/O multiplexer: all, "+strings.Join(mux.Backends(), ", "))
	flags.DurationVar(&c.duration, "duration", time.Minute, "how long, for each backend")
	flags.IntVar(&c.limit, "operations", 0, "end after this many operations instead, for each backend")
	flags.IntVar(&c.descriptors, "descriptors", 5000, "how many descriptors are watched at once")
	flags.Uint64Var(&c.seed, "seed", 0, "of the operations (0: a random one)")
	flags.DurationVar(&c.idle, "idle", 2*time.Second, "how long nothing happens in the end")
	flags.Float64Var(&c.mostCPU, "idle-cpu", 0.01, "part of a processor that may be used meanwhile (0: any)")
	flags.DurationVar(&c.interval, "interval", 10*time.Second, "time between two lines of progress (0: none)")
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "soak:", err)
		return 1
	}
	return 0
}

// chosen returns the backends that a --backend means.
func chosen(name string) ([]string, error) {
	all := mux.Backends()
	switch {
	case name == "all":
		return all, nil
	case slices.Contains(all, name):
		return []string{name}, nil
	}
	return nil, fmt.Errorf("--backend %s: want all, %s", name, strings.Join(all, ", "))
}

// soakAll soaks one backend after the other until one fails, and prints the
// table.
func soakAll(ctx context.Context, backends []string, c config) error {
	switch {
	case c.descriptors < 1:
		return fmt.Errorf("--descriptors %d: want at least 1", c.descriptors)
	case c.duration <= 0 && c.limit == 0:
		return fmt.Errorf("--duration %v: want more than 0", c.duration)
	case c.limit < 0:
		return fmt.Errorf("--operations %d: want more than 0, or 0 to go by --duration", c.limit)
	case c.idle < 0 || c.interval < 0:
		return fmt.Errorf("--idle %v, --interval %v: want no negative time", c.idle, c.interval)
	}
	if err := raiseLimit(c.descriptors); err != nil {
		return err
	}
	if c.seed == 0 {
		c.seed = uint64(rand.Uint32()) + 1
	}
	fmt.Fprintf(c.out, "%d descriptors on %s, seed %d\n", c.descriptors, strings.Join(backends, ", "), c.seed)
	var results []result
	var err error
	for _, c.backend = range backends {
		var r result
		r, err = run(ctx, c)
		results = append(results, r)
		if err != nil || ctx.Err() != nil {
			break
		}
	}
	table(c.out, results)
	return err
}

func table(w io.Writer, results []result) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "backend\ttime\toperations\topened\tevents\ttimers\tsignals\tposts\tlost\tleaks\tidle Waits\tidle CPU\t")
	for _, r := range results {
		fmt.Fprintf(tw, "%s\t%v\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.2f %%\t\n", r.backend, r.took.Round(100*time.Millisecond),
			r.operations, r.opened, r.events, r.timers, r.signalled, r.posts, r.lost, r.leaks, r.idleWaits, 100*r.idleCPU)
	}
	tw.Flush()
}
