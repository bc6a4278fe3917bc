// Command report makes a page of the benchmarks, with pictures:
//
//	go run ./bench/report                              # runs them first, which takes half an hour
//	go run ./bench/report --peers=false --count 1      # those of ./bench alone, once
//	go run ./bench/report --from bench.txt peers.txt   # reads what was saved
//
// In the directory of --out there are then index.html, which needs no other file;
// the pictures once more, as SVG; and, if it ran the benchmarks, results.txt, in the
// format of Go's benchmarks, which --from and benchstat read.
//
// What is saved may come from any go test -bench. The page shows all of it: the
// median of the lines with the same name, and the 10th and the 90th percentile. A
// benchmark that measures its own spread tells it in metrics with the endings -p10 and
// -p90, which count before that of the lines. Goals are rows with a verdict.
//
// The date, the commit, the machine and the versions are lines of configuration in the
// results ("commit: 6d3b584"), and those of another machine stay that machine's. A line
// that is no result of a benchmark, or a number that cannot be, is an error with its
// file and line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/cobra"
)

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

// execute runs one command line and returns its exit code.
func execute(args []string, stdout, stderr io.Writer) int {
	var from, out string
	var count int
	var peers bool
	cmd := &cobra.Command{
		Use:           "report",
		Short:         "Make a page of the benchmarks, with pictures",
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, files []string) error {
			switch {
			case from != "":
				return report(append([]string{from}, files...), out, stdout)
			case len(files) > 0:
				return fmt.Errorf("%s: files are read with --from", files[0])
			case count < 1:
				return fmt.Errorf("--count %d: want 1 or more", count)
			}
			root, err := moduleRoot(cmd.Context())
			if err != nil {
				return err
			}
			file, failed := measure(cmd.Context(), root, runs(count, peers), out, stderr)
			if file == "" || cmd.Context().Err() != nil {
				return failed
			}
			return combine(failed, report([]string{file}, out, stdout))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "read saved results from this file, and from those after it, and run nothing")
	flags.StringVar(&out, "out", "bench-report", "directory to write to")
	flags.IntVar(&count, "count", 3, "how often the benchmarks of ./bench run")
	flags.BoolVar(&peers, "peers", true, "run bench/peers too")
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "report:", err)
		return 1
	}
	return 0
}

// combine returns one failure as itself.
func combine(errs ...error) error {
	var all *multierror.Error
	for _, err := range errs {
		if err != nil {
			all = multierror.Append(all, err)
		}
	}
	if all != nil && len(all.Errors) == 1 {
		return all.Errors[0]
	}
	return all.ErrorOrNil()
}

// report reads results and writes the page and the pictures, and says where.
func report(files []string, out string, stdout io.Writer) error {
	r, err := readAll(files)
	if err != nil {
		return err
	}
	if len(r.benchmarks) == 0 {
		return errors.New("no results of benchmarks in what was read; want lines such as \"BenchmarkWake/backend=epoll-2  1000  331 ns/op\"")
	}
	p, err := newPage(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, f := range p.Figures {
		path := filepath.Join(out, f.Name+".svg")
		if f.SVG == "" { // and none of other results stays
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		if err := os.WriteFile(path, []byte(f.file), 0o644); err != nil {
			return err
		}
	}
	html, err := p.html()
	if err != nil {
		return err
	}
	path := filepath.Join(out, "index.html")
	if err := os.WriteFile(path, html, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %s\n", path, p.Verdict)
	return nil
}
