// Package report writes what a prober finds out: for people, in the manner of
// ping(8) for one host (NewPing) or fping(8) for many (NewList), and for programs, as
// JSON (NewJSON) or CSV (NewCSV). A Progress is the bar that shows how far a sweep
// is.
//
//	out := report.NewPing(os.Stdout, report.Options{FlushLines: true})
//	cfg.OnResult = func(r *prober.Result) {
//		if err := out.Result(r); err != nil {
//			l.Stop() // a closed pipe, for instance
//		}
//	}
//	p, err := prober.New(l, cfg)
//	...
//	out.Begin(&report.Run{Targets: cfg.Targets, Target: p.Target, Size: len(cfg.Data)})
//	p.Start()
//	err = l.Run(ctx)
//	out.Summary(&report.Summary{Total: p.Total().Summary()})
//
// Names and error texts may come from anybody. What could disturb a terminal is
// quoted as in Go source, JSON is valid UTF-8 whatever they hold, and no spreadsheet
// takes them for formulas.
//
// A Writer keeps nothing per target or result, and allocates nothing for a result
// but what the text of its error takes.
package report

import (
	"net/netip"
	"time"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
	"iomux/apps/echo/prober/targets"
)

// Writer writes what happens in a run of the prober. Begin comes first, once.
//
// What is written is buffered. The first error of the io.Writer ends the output: the
// method that met it and all later ones return it, and write nothing more.
//
// A Writer is not safe for concurrent use; it belongs to the loop of the prober.
type Writer interface {
	// Begin tells what is about to be probed.
	Begin(*Run) error
	// Result tells of one result. It keeps nothing of it.
	Result(*prober.Result) error
	// Summary tells how things stand, in between or at the end, and flushes.
	Summary(*Summary) error
	// Flush writes what is buffered.
	Flush() error
}

// Hosts are the targets of a run; a *targets.List is one.
type Hosts interface {
	Len() uint64
	At(i uint64) targets.Target
	Counts() targets.Counts
}

// Run says what is about to be probed.
type Run struct {
	Targets Hosts
	// Target holds the statistics of a target, by its index, or returns nil:
	// Prober.Target. With nil there are no statistics for each target.
	Target func(i uint64) *stats.Target
	// Size is that of the data in a probe, in bytes, without the ICMP header.
	Size int
	// Network is which addresses names are resolved to: "ip" (or ""), "ip4" or
	// "ip6".
	Network string
	// Count is the number of rounds; 0 is no limit.
	Count uint64
	// Interval is how long a round takes, Timeout how long an answer may take.
	Interval, Timeout time.Duration
	Retries           int
	// Clock is the one by which round-trip times are to be measured. A Result has
	// its own, and summaries name that of the results.
	Clock prober.Clock
	// Source and Interface are those to send from, if they were chosen.
	Source    netip.Addr
	Interface string
}

// Summary says how things stand.
type Summary struct {
	// Interim: the run goes on.
	Interim bool
	// Elapsed is the time since Begin.
	Elapsed time.Duration
	// Total is about all targets.
	Total stats.Summary
	// Stray and ClockSteps are those of the Prober.
	Stray, ClockSteps uint64
	// Skipped is that of the Prober: broadcast addresses that were not probed.
	Skipped uint64
}

// Options say what to write, and how. The zero value is a sensible choice.
type Options struct {
	// Quiet leaves out the results, so that only the summaries remain.
	Quiet bool
	// Verbose tells more about each result; NewList writes every one even where
	// there is one round.
	Verbose bool
	// Timestamps puts the time in front of each result for people, in seconds since
	// 1970 as ping -D does.
	Timestamps bool
	// Colour marks what is good and what is bad for terminals that show colours
	// (ECMA-48, 8.3.117).
	Colour bool
	// FlushLines writes each line as soon as it is complete, not in blocks of some
	// 32 KiB.
	FlushLines bool

	// Alive and Unreachable make NewList write no more than the names of the hosts
	// that answer, or do not, one per line, as fping -a and -u do. In more than one
	// round a host that answers once is alive, and the summary tells which are not;
	// without a Run.Target the first probe of a host decides, with its retries.
	Alive, Unreachable bool
	// Required makes NewList say no more than whether so many hosts are alive, as
	// fping -x and -X do; 0 is no such number.
	Required uint64

	// Now replaces time.Now for the times of the events.
	Now func() time.Time
}
