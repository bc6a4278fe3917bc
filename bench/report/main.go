// Command report makes a page of the benchmarks, with pictures:
//
//	go run ./bench/report                              # runs them first, which takes 25 minutes
//	go run ./bench/report --quick                      # once each and small, in five minutes: not for the figures
//	go run ./bench/report --peers=false                # those of ./bench alone
//	go run ./bench/report --from bench.txt peers.txt   # reads what was saved
//	go run ./bench/report --from a/results.txt --against b/results.txt   # and says where two runs disagree
//
// In the directory of --out there are then index.html, which needs no other file;
// the pictures once more, as SVG; tables.md, the tables in Markdown; and, if it ran the
// benchmarks, results.txt, in the format of Go's benchmarks, which --from and benchstat
// read. Ctrl-C keeps what was measured until then. A command that fails does not keep the
// others from running, and the exit code is 1.
//
// What is saved may come from any go test -bench. The page shows all of it: the
// median of the lines with the same name, and the 10th and the 90th percentile. A
// benchmark that measures its own spread tells it in metrics with the endings -p10 and
// -p90, which count before that of the lines. Goals are rows with a verdict.
//
// The date, the commit, the machine and the versions are lines of configuration in the
// results ("commit: 6d3b584"), and those of another machine stay that machine's. A line
// that is no result of a benchmark, or a number that cannot be, is an error with its
// file and line. What does not fit into a picture is named below it.
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
	"syscall"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/cobra"
)

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

// execute runs one command line and returns its exit code.
func execute(args []string, stdout, stderr io.Writer) int {
	var from, against, out string
	var peers, quick bool
	cmd := &cobra.Command{
		Use:           "report",
		Short:         "Make a page of the benchmarks, with pictures",
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, files []string) error {
			switch {
			case cmd.Flags().Changed("from"):
				if cmd.Flags().Changed("quick") || cmd.Flags().Changed("peers") {
					return errors.New("--quick and --peers say what to run; with --from nothing runs")
				}
				return report(append([]string{from}, files...), against, out, stdout)
			case len(files) > 0:
				return fmt.Errorf("%s: files are read with --from", files[0])
			}
			if against != "" {
				if _, err := readAll([]string{against}); err != nil { // rather than after half an hour
					return err
				}
			}
			root, err := moduleRoot(cmd.Context())
			if err != nil {
				return err
			}
			file, failed := measure(cmd.Context(), root, runs(peers, quick), out, stderr)
			if file == "" || cmd.Context().Err() != nil {
				return failed
			}
			return combine(failed, report([]string{file}, against, out, stdout))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "read saved results from this file, and from those after it, and run nothing")
	flags.StringVar(&out, "out", "bench-report", "directory to write to")
	flags.StringVar(&against, "against", "", "saved results of another run, to say where the two disagree")
	flags.BoolVar(&quick, "quick", false, "run each benchmark once and small: to see that all work, not for the figures")
	flags.BoolVar(&peers, "peers", true, "run bench/peers too")
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
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

// report reads results and writes the page, the pictures and the tables, and says where.
func report(files []string, against, out string, stdout io.Writer) error {
	r, err := readAll(files)
	if err != nil {
		return err
	}
	var other *results
	if against != "" {
		if other, err = readAll([]string{against}); err != nil {
			return err
		}
	}
	p, err := newPage(r)
	if err != nil {
		return err
	}
	if other != nil {
		p.Against = compare(r, other)
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
	path := filepath.Join(out, "index.html")
	for file, write := range map[string]func() ([]byte, error){path: p.html, filepath.Join(out, "tables.md"): p.markdown} {
		text, err := write()
		if err == nil {
			err = os.WriteFile(file, text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "%s: %s\n", path, p.Verdict)
	if p.Against != nil {
		fmt.Fprintf(stdout, "beside %s: %s\n", against, p.Against.Verdict)
	}
	return nil
}
