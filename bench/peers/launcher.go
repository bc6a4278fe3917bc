package peers

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"iomux/transport/netlab"
)

// costs are what a program took from its start to its end.
type costs struct {
	wall, cpu time.Duration
	resident  int64 // bytes, at the most
}

// launcher runs programs and measures what they take.
type launcher struct{ *program }

// newLauncher builds it in dir. The error is notInstalled without a compiler.
func newLauncher(dir string) (launcher, error) {
	p, err := bareC.build(dir, "run")
	return launcher{p}, err
}

// patience bounds every run.
const patience = 10 * time.Minute

// run runs a program in a network namespace and returns all that it says, errors
// last. The error is an *exec.ExitError if it ends with another code than 0.
func (l launcher) run(in *netlab.Namespace, args ...string) (said []byte, c costs, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, c, err
	}
	defer r.Close()
	cmd := exec.CommandContext(ctx, l.path, args...)
	cmd.ExtraFiles = []*os.File{w} // 3
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = in.Do(cmd.Start)
	w.Close()
	if err != nil {
		return nil, c, err
	}
	n, scanErr := fmt.Fscan(r, &c.wall, &c.cpu, &c.resident)
	if err = cmd.Wait(); err == nil && n != 3 {
		err = scanErr
	}
	return append(out.Bytes(), errs.Bytes()...), c, err
}
