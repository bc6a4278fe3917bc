package cmd

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/term"

	"iomux/apps/echo/prober/targets"
)

// manyHosts is the number of targets above which it is asked whether that is meant.
const manyHosts = 1 << 24

// list makes the list of targets. It reports everything that is wrong at once.
func (o *clientOptions) list(args []string, stdin io.Reader) (*targets.List, error) {
	if len(args) == 0 && len(o.files) == 0 {
		return nil, errors.New("no target given, want one or more, such as 127.0.0.1, or --file")
	}
	var b targets.Builder
	var errs []error
	for _, a := range args {
		errs = append(errs, b.Add(a))
	}
	for _, a := range o.excludes {
		if err := b.Exclude(a); err != nil {
			errs = append(errs, fmt.Errorf("--%w", err))
		}
	}
	read := func(flag string, names []string, add func(string, io.Reader) error) {
		for _, name := range names {
			if name == "-" {
				errs = append(errs, add("standard input", stdin))
				continue
			}
			f, err := os.Open(name)
			if err != nil {
				errs = append(errs, fmt.Errorf("--%s: %w", flag, err))
				continue
			}
			errs = append(errs, add(name, f))
			f.Close()
		}
	}
	read("file", o.files, b.AddFile)
	read("exclude-file", o.excludeFiles, b.ExcludeFile)
	if err := join(errs...); err != nil {
		return nil, err
	}
	list, err := b.List()
	if err != nil {
		return nil, err
	}
	o.alone = list.Len() == 1 && len(args) == 1 && len(o.files) == 0
	c := list.Counts()
	if o.ipv4 && c.IPv6 > 0 {
		errs = append(errs, fmt.Errorf("--ipv4: there are IPv6 addresses among the targets, %d of them", c.IPv6))
	}
	if o.ipv6 && c.IPv4 > 0 {
		errs = append(errs, fmt.Errorf("--ipv6: there are IPv4 addresses among the targets, %d of them", c.IPv4))
	}
	if o.random {
		list = list.Shuffle(rand.Uint64())
	}
	return list, join(errs...)
}

// confirm asks before very many hosts are probed. The rate is in requests per second,
// 0 for none.
func (o *clientOptions) confirm(n uint64, rate float64, stdin io.Reader, stderr io.Writer) error {
	if n <= manyHosts || o.yes {
		return nil
	}
	what := fmt.Sprintf("%d targets", n)
	if days := float64(n) / rate / (24 * time.Hour).Seconds(); rate > 0 {
		what += fmt.Sprintf(", %.1f days at %v requests per second", days, rate)
	}
	if !terminal(stdin) {
		return fmt.Errorf("%s: want --yes if that is meant", what)
	}
	fmt.Fprintf(stderr, "%s. Go on? [y/N] ", what)
	var answer string
	if fmt.Fscanln(stdin, &answer); answer != "y" && answer != "yes" {
		return exitCode(exitError)
	}
	return nil
}

// terminal reports whether a stream is one.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
