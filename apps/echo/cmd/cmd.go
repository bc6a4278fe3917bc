// Package cmd is the echo command: server, client, demo and check.
//
// A main of one's own that imports a transport has it in every command, by the
// option --network:
//
//	package main
//
//	import (
//		"os"
//
//		"iomux/apps/echo/cmd"
//		_ "example.org/serial" // registers the network "serial"
//	)
//
//	func main() { os.Exit(cmd.Main()) }
package cmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
)

// Exit codes.
const (
	exitOK         = 0
	exitUnanswered = 1 // a host did not answer
	exitError      = 2 // wrong usage, or the system refused
)

// Main runs the command line of the process and returns its exit code.
func Main() int { return run(os.Args[1:], os.Stdout, os.Stderr, true) }

// Run runs one command line and returns its exit code. The process stays what it is: a
// server that Run runs keeps the privileges of the process, which [Main] gives up.
func Run(args []string, stdout, stderr io.Writer) int { return run(args, stdout, stderr, false) }

// run runs a command line; alone says that it is what the process is for.
func run(args []string, stdout, stderr io.Writer, alone bool) int {
	root := &cobra.Command{
		Use:           "echo",
		Short:         "Answer and send ICMP echo requests",
		Long:          "Answer and send ICMP echo requests, many at a time, on one event loop.\n\nExit codes: 0 if every host answered, 1 if one did not, 2 on a usage or system error.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(serverCommand(alone), clientCommand(), demoCommand(), checkCommand())

	err := root.Execute()
	var code exitCode
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(stderr, "echo:", strings.TrimSpace(err.Error()))
	return exitError
}

// exitCode is the error of a command that has said everything there is to say.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// common are the options that every command has.
type common struct {
	backend string
	trace   bool
	spin    time.Duration // 0 without --spin
}

func (o *common) flags(c *cobra.Command) {
	c.Flags().StringVar(&o.backend, "backend", "",
		"`name` of the I/O multiplexer: "+strings.Join(mux.Backends(), ", ")+" (default $IOMUX_BACKEND, else the first that works)")
}

func (o *common) traceFlag(c *cobra.Command) {
	c.Flags().BoolVar(&o.trace, "trace", false, "report every call of the multiplexer and the transport on standard error")
}

// spinFlag is for commands that wait for packets.
func (o *common) spinFlag(c *cobra.Command) {
	c.Flags().Var((*seconds)(&o.spin), "spin", "ask for so long whether there is a packet before sleeping, such as 50us; it costs a core")
}

// openLoop opens the backend, and reports its calls if report is not nil.
func (o *common) openLoop(report func(mux.Call)) (*loop.Loop, error) {
	var opts []loop.Option
	switch {
	case o.spin < 0 || o.spin > time.Second:
		return nil, fmt.Errorf("--spin %v: want a time up to 1s", o.spin)
	case o.spin > 0:
		opts = append(opts, loop.Spin(o.spin))
	}
	m, err := mux.Open(o.backend)
	if err != nil {
		return nil, err
	}
	o.backend = m.Name()
	if report != nil {
		m = mux.Trace(m, report)
	}
	return loop.New(m, opts...), nil
}

// tracer returns the reports for --trace, or nil without it.
func (o *common) tracer(w io.Writer) (func(mux.Call), func(transport.Call)) {
	if !o.trace {
		return nil, nil
	}
	return func(c mux.Call) { fmt.Fprintln(w, c) }, func(c transport.Call) { fmt.Fprintln(w, c) }
}

// traced reports the transport's calls if report is not nil.
func traced(t transport.Transport, report func(transport.Call)) transport.Transport {
	if report == nil {
		return t
	}
	return transport.Trace(t, report)
}
