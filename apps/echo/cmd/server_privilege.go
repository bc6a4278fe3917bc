package cmd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"

	"golang.org/x/sys/unix"

	"iomux/apps/echo/privilege"
	"iomux/apps/echo/responder"
	"iomux/apps/echo/responder/rules"
	"iomux/transport"
)

// process runs the server as what this process is for: it opens what takes privileges,
// and starts itself again without them.
func (o *serverOptions) process(ctx context.Context, set *rules.Set) error {
	files, started, err := privilege.Inherited()
	if err != nil {
		return err
	}
	if started && len(files) > 0 {
		if err := privilege.Verify(o.kept()...); err != nil {
			return err
		}
		return o.serve(ctx, set, files, os.Stdout, os.Stderr)
	}
	if keep, why := o.keeps(); keep {
		if why != "" && privileged() {
			note(os.Stderr, "%s", why)
		}
		return o.serve(ctx, set, nil, os.Stdout, os.Stderr)
	}
	cfg := &privilege.Config{Keep: o.kept()}
	if cfg.Account, err = o.account(); err != nil {
		return err
	}
	if !o.takeOver {
		if cfg.Files, _, err = o.handOver(); err != nil {
			return err
		}
		return fmt.Errorf("%w; --keep-privileges does without", privilege.Exec(os.Args, cfg))
	}
	// A signal that is late, when all is restored, must not change how this ends.
	late := make(chan os.Signal, 1)
	for _, sig := range endings {
		if !signal.Ignored(sig) {
			signal.Notify(late, sig)
		}
	}
	var kernel kernelReplies
	worker := exec.Command("/proc/self/exe", os.Args[1:]...)
	worker.Args[0] = os.Args[0]
	worker.Stdin, worker.Stdout, worker.Stderr = os.Stdin, os.Stdout, os.Stderr
	code, err := privilege.Run(worker, cfg, func() (err error) {
		var places []responder.Family
		if cfg.Files, places, err = o.handOver(); err != nil {
			return err
		}
		return kernel.leaveToUs(true, places, os.Stderr)
	}, kernel.restore)
	if err == nil && code != exitOK {
		err = exitCode(code)
	}
	return err
}

// kept are the capabilities that the server needs all the time.
func (o *serverOptions) kept() []int {
	if len(o.tun) > 0 { // to restore its routes
		return []int{unix.CAP_NET_ADMIN}
	}
	return nil
}

// keeps reports whether the server goes on as it is, and what is to be told about it.
func (o *serverOptions) keeps() (keep bool, why string) {
	if o.keep {
		return true, ""
	}
	if others := o.others(); len(others) > 0 {
		return true, fmt.Sprintf("--network %s cannot be handed to a process without privileges, so this one keeps its own", others[0])
	}
	return false, ""
}

// privileged reports whether there is anything to give up.
func privileged() bool {
	threads, err := privilege.Threads()
	return os.Geteuid() == 0 || err != nil || len(threads) > 0 && threads[0].Permitted != 0
}

// account is the user to become, nil to stay who this is.
func (o *serverOptions) account() (*privilege.Account, error) {
	name := o.user
	if !o.given("user") {
		if os.Geteuid() != 0 {
			return nil, nil
		}
		name = "nobody"
	}
	a, what, err := privilege.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("--user: %w", err)
	}
	if what != "" && o.given("user") {
		note(os.Stderr, "%s", what)
	}
	return a, nil
}

// handOver opens what takes privileges, for the process that goes on without.
func (o *serverOptions) handOver() (files handed, raw []responder.Family, err error) {
	places, err := o.open(nil, os.Stderr)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			for _, all := range files {
				for _, f := range all {
					f.Close()
				}
			}
			files = nil
		}
	}()
	files, raw = handed{}, families(places)
	add := func(name string, t transport.Transport) error {
		duplicates, err := transport.Files(t)
		files[name] = append(files[name], duplicates...)
		return err
	}
	for _, p := range places {
		defer p.close()
		if p.device != nil {
			if err := add(p.network, p.device); err != nil {
				return files, nil, err
			}
			continue
		}
		for _, t := range p.transports {
			if err := add(p.network, t); err != nil {
				return files, nil, err
			}
		}
		for _, t := range p.forge {
			network := forgeNetwork
			if p.ipv6 {
				network = forgeNetwork6
			}
			if err := add(network, t); err != nil {
				return files, nil, err
			}
		}
	}
	if !o.takeOver {
		var kernel kernelReplies
		if err := kernel.leaveToUs(false, raw, os.Stderr); err != nil {
			return files, nil, err
		}
	}
	if o.rulesFile != "" {
		f, err := os.Open(o.rulesFile)
		if err != nil {
			return files, nil, fmt.Errorf("--rules: %w", err)
		}
		files["rules"] = []*os.File{f}
	}
	if o.pcap != "" {
		f, err := os.Create(o.pcap)
		if err != nil {
			return files, nil, fmt.Errorf("--pcap: %w", err)
		}
		files["pcap"] = []*os.File{f}
	}
	return files, raw, nil
}
